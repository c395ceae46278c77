//! The SQLite store: one file, a table per collection, one transaction per commit.
//!
//! ```text
//! SqliteStore  ── write.rs ──┐                       ┌── read.rs ── SqliteReader
//!   (one, fenced)            ├── schema.rs, cell.rs ─┤     (many, each with a connection)
//!                            └────────  FILE  ───────┘
//! ```
//!
//! The journal is a write-ahead log, so readers never wait for the writer nor it for them, and each reader sees
//! the last commit before its read began. `synchronous=FULL` syncs that log at every commit: what `commit`
//! acknowledged survives the loss of power. With NORMAL the last commits could vanish behind the back of a
//! running instance, which then would be fenced by its own past.

mod cell;
mod read;
mod rows;
mod scan;
mod schema;
mod write;

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

pub(super) use self::read::SqliteReader;
pub(super) use self::write::SqliteStore;
use super::StoreError;

/// How long SQLite itself waits for another process that writes, before the store's own retries.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Statements kept compiled per connection: more than one program asks in different ways.
const STATEMENTS: usize = 128;

/// Opens the file with what both sides want.
fn connect(path: &Path, flags: OpenFlags) -> Result<Connection, StoreError> {
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)
        .map_err(|error| failure("open", path, &error))?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection
        .busy_timeout(BUSY_TIMEOUT)
        // 32 MiB of pages; a commit's pages and a dashboard's answers fit.
        .and_then(|()| connection.pragma_update(None, "cache_size", -32_768))
        .map_err(|error| failure("open", path, &error))?;
    Ok(connection)
}

/// What stops a piece of work inside a transaction.
enum Stop {
    Sqlite(rusqlite::Error),
    Store(StoreError),
}

impl From<rusqlite::Error> for Stop {
    fn from(error: rusqlite::Error) -> Stop {
        Stop::Sqlite(error)
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Stop {
        Stop::Store(error)
    }
}

impl Stop {
    fn into_error(self, attempted: &str, path: &Path) -> StoreError {
        match self {
            Stop::Sqlite(error) => failure(attempted, path, &error),
            Stop::Store(error) => error,
        }
    }
}

/// What an error of SQLite means to whoever runs tillflow.
fn failure(attempted: &str, path: &Path, error: &rusqlite::Error) -> StoreError {
    let file = path.display();
    let advice = match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            return StoreError::Unreadable(format!(
                "cannot {attempted} SQLite store {file}: {error}; it is no SQLite database or is damaged: name another \
                 file, or restore this one"
            ));
        }
        Some(ErrorCode::DiskFull) => "make room on its disk and start again: what was committed is whole",
        Some(ErrorCode::CannotOpen) => "check that its folder exists and may be written to",
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::AuthorizationForStatementDenied) => {
            "check the permissions of the file and its folder"
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "another process holds its write lock: end that process's transaction"
        }
        Some(ErrorCode::SystemIoFailure) => "check its disk",
        _ => "see the log for what came before",
    };
    StoreError::Unavailable(format!("cannot {attempted} SQLite store {file}: {error}; {advice}"))
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// Which file a path names at this moment, so that one that was replaced or removed is noticed: an open
/// connection would go on with the old one unseen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileIdentity(#[cfg(unix)] u64, #[cfg(unix)] u64);

impl FileIdentity {
    #[cfg(unix)]
    fn of(path: &Path) -> Option<FileIdentity> {
        use std::os::unix::fs::MetadataExt as _;
        let metadata = std::fs::metadata(path).ok()?;
        Some(FileIdentity(metadata.dev(), metadata.ino()))
    }

    /// Elsewhere an open file cannot be replaced.
    #[cfg(not(unix))]
    fn of(path: &Path) -> Option<FileIdentity> {
        path.exists().then_some(FileIdentity())
    }
}
