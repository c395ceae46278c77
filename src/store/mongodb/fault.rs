//! What went wrong, whether to try again, and what to tell whoever runs tillflow.

use ::mongodb::error::{
    Error, ErrorKind, RETRYABLE_ERROR, RETRYABLE_WRITE_ERROR, TRANSIENT_TRANSACTION_ERROR,
    UNKNOWN_TRANSACTION_COMMIT_RESULT, WriteFailure,
};

use crate::store::StoreError;

/// An `_id` (or other unique key) that is there already.
pub(super) const DUPLICATE_KEY: i32 = 11_000;
/// A collection that is there already.
pub(super) const NAMESPACE_EXISTS: i32 = 48;
/// An index of the same name with other options.
pub(super) const INDEX_CONFLICTS: [i32; 2] = [85, 86];
const UNAUTHORIZED: i32 = 13;
const AUTHENTICATION_FAILED: i32 = 18;

/// Server codes that time heals: host unreachable or not found, network timeout, lock timeouts, a time limit, an
/// exceeded wait, shutting down, stepping down, elections, interruptions, write conflicts, lost snapshots and
/// transactions, and a write concern that was not met in time.
const TRANSIENT_CODES: [i32; 27] = [
    6, 7, 24, 46, 50, 64, 89, 91, 112, 117, 133, 134, 189, 202, 225, 239, 246, 251, 262, 9001, 10058, 10107, 11600,
    11601, 11602, 13435, 13436,
];

/// A failed piece of work.
#[derive(Debug)]
pub(super) enum Fault {
    /// The driver's or the server's error.
    Driver(Box<Error>),
    /// One write of a command that was otherwise accepted.
    Write {
        /// The server's code.
        code: i32,
        /// The server's words.
        message: String,
    },
    /// An error of our own, final as it is.
    Store(StoreError),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        Fault::Driver(Box::new(error))
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Fault {
        Fault::Store(error)
    }
}

impl From<::mongodb::bson::error::Error> for Fault {
    fn from(error: ::mongodb::bson::error::Error) -> Fault {
        Fault::Store(StoreError::Unreadable(format!("MongoDB gave a document that is no BSON: {error}")))
    }
}

impl Fault {
    pub(super) fn code(&self) -> Option<i32> {
        match self {
            Fault::Write { code, .. } => Some(*code),
            Fault::Store(_) => None,
            Fault::Driver(error) => match error.kind.as_ref() {
                ErrorKind::Command(command) => Some(command.code),
                ErrorKind::Write(WriteFailure::WriteError(write)) => Some(write.code),
                ErrorKind::Write(WriteFailure::WriteConcernError(concern)) => Some(concern.code),
                _ => None,
            },
        }
    }

    fn labelled(&self, label: &str) -> bool {
        matches!(self, Fault::Driver(error) if error.contains_label(label))
    }

    /// Whether a transaction that failed so may be repeated at once, for it certainly did not commit.
    pub(super) fn certainly_not_committed(&self) -> bool {
        self.labelled(TRANSIENT_TRANSACTION_ERROR) && !self.labelled(UNKNOWN_TRANSACTION_COMMIT_RESULT)
    }

    /// Whether the outcome of a commit is unknown in a way that asking again may resolve.
    pub(super) fn commit_may_be_asked_again(&self) -> bool {
        self.labelled(UNKNOWN_TRANSACTION_COMMIT_RESULT)
    }

    /// Whether the same may succeed a little later.
    pub(super) fn transient(&self) -> bool {
        let labels =
            [TRANSIENT_TRANSACTION_ERROR, UNKNOWN_TRANSACTION_COMMIT_RESULT, RETRYABLE_WRITE_ERROR, RETRYABLE_ERROR];
        if labels.iter().any(|label| self.labelled(label)) {
            return true;
        }
        match self {
            Fault::Driver(error) => match error.kind.as_ref() {
                ErrorKind::Io(_) | ErrorKind::ConnectionPoolCleared { .. } | ErrorKind::ServerSelection { .. } => true,
                _ => self.code().is_some_and(|code| TRANSIENT_CODES.contains(&code)),
            },
            Fault::Write { code, .. } => TRANSIENT_CODES.contains(code),
            Fault::Store(_) => false,
        }
    }

    /// The one line that says what was attempted, on what, and what to do. `shown` is the redacted address.
    pub(super) fn into_error(self, attempted: &str, shown: &str) -> StoreError {
        match self {
            Fault::Store(error) => error,
            other => StoreError::Unavailable(format!(
                "cannot {attempted} {shown}: {}; {}",
                one_line(&other.reason()),
                other.advice()
            )),
        }
    }

    fn reason(&self) -> String {
        match self {
            Fault::Write { code, message } => format!("{message} (code {code})"),
            Fault::Store(error) => error.to_string(),
            Fault::Driver(error) => match error.kind.as_ref() {
                ErrorKind::Command(command) => {
                    format!("{} (code {} {})", command.message, command.code, command.code_name)
                }
                ErrorKind::Authentication { message, .. } => format!("not let in: {message}"),
                // Its text is the whole topology; what a person wants is why no server is usable.
                ErrorKind::ServerSelection { message, .. } => match first_cause(message) {
                    Some(cause) => format!("no usable server: {cause}"),
                    None => "no usable server answered in time".into(),
                },
                kind => kind.to_string(),
            },
        }
    }

    fn advice(&self) -> &'static str {
        match self.code() {
            Some(UNAUTHORIZED) => "grant the user of --mongo-uri the role readWrite on this database",
            Some(AUTHENTICATION_FAILED) => "check user, password and authSource of --mongo-uri (MONGO_URI)",
            Some(_) => "see the server's log",
            None => match self {
                Fault::Driver(error) => match error.kind.as_ref() {
                    ErrorKind::Authentication { .. } => {
                        "check user, password and authSource of --mongo-uri (MONGO_URI)"
                    }
                    ErrorKind::ServerSelection { .. } | ErrorKind::Io(_) | ErrorKind::ConnectionPoolCleared { .. } => {
                        "check that it runs and that --mongo-uri (MONGO_URI) names it; for a replica set whose member \
                         names this machine cannot resolve, add directConnection=true"
                    }
                    ErrorKind::DnsResolve { .. } => "check the host name in --mongo-uri (MONGO_URI)",
                    ErrorKind::InvalidTlsConfig { .. } | ErrorKind::InvalidArgument { .. } => {
                        "check the options of --mongo-uri (MONGO_URI)"
                    }
                    ErrorKind::IncompatibleServer { .. } => "use MongoDB 4.4 or newer",
                    _ => "see the server's log",
                },
                _ => "see the server's log",
            },
        }
    }
}

/// The first server's error in the driver's description of a topology.
fn first_cause(message: &str) -> Option<&str> {
    let (_, after) = message.split_once("Error: Kind: ")?;
    let end = after.find(", labels:").unwrap_or(after.len());
    Some(&after[..end])
}

/// Foreign text without control characters, of a length that fits a line.
fn one_line(text: &str) -> String {
    let line: String = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    match line.char_indices().nth(400) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_is_found_in_a_topology() {
        let message = "Server selection timeout: No available servers. Topology: { Type: Unknown, Servers: [ { Address: \
                       h:1, Type: Unknown, Error: Kind: I/O error: Connection refused (os error 111), labels: {} } ] }";
        assert_eq!(first_cause(message), Some("I/O error: Connection refused (os error 111)"));
        assert_eq!(first_cause("Server selection timeout"), None);
    }

    #[test]
    fn foreign_text_stays_on_one_line() {
        assert_eq!(one_line("a\nb\u{1b}c"), "a b c");
        assert_eq!(one_line(&"ä".repeat(500)).chars().count(), 401);
    }

    #[test]
    fn a_write_conflict_passes_and_a_refusal_does_not() {
        let write = |code| Fault::Write { code, message: String::new() };
        assert!(write(112).transient());
        assert!(!write(UNAUTHORIZED).transient());
        assert!(!write(DUPLICATE_KEY).transient());
        assert!(!write(112).certainly_not_committed());
    }
}
