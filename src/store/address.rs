//! Which store, and how it is to be used: `--store mongodb` or `--store sqlite:FILE`.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ::mongodb::options::{ConnectionString, HostInfo};

use super::mongodb::{MongoReader, MongoStore};
use super::retry::Report;
use super::sqlite::{SqliteReader, SqliteStore};
use super::{Store, StoreError, StoreReader, StoreScan};

/// A `--store`, `--mongo-uri` or `--database` that cannot be used. The text is one line without secrets.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct AddressError(String);

/// Where a store is. `Display` and `Debug` show hosts and names, never credentials or options.
#[derive(Clone, PartialEq, Eq)]
pub enum StoreAddress {
    /// A MongoDB deployment.
    MongoDb {
        /// The connection string; may hold a password.
        uri: String,
        /// The database that holds the collections.
        database: String,
    },
    /// One SQLite file.
    Sqlite {
        /// The file; made when a store is opened, never when a reader is.
        path: PathBuf,
    },
}

/// How a store is to be used.
#[derive(Clone)]
pub struct StoreOptions {
    /// raw_data older than this, by its `timestamp`, may go; absent keeps it for ever.
    pub raw_ttl: Option<Duration>,
    /// How long transient failures are retried before [`StoreError::Unavailable`].
    pub timeout: Duration,
    /// Hears of every retry.
    pub report: Report,
    /// Use guarded writes even where the server offers transactions, as on a standalone server.
    pub guarded_writes: bool,
    /// SQLite: whether a commit is there as a whole or not at all, and stays when the power fails. Without it a crash can
    /// damage the file: for measuring what it costs, and nothing else.
    pub journal: bool,
}

impl StoreOptions {
    /// The default of `timeout`: long enough for an election or a server's restart.
    pub const TIMEOUT: Duration = Duration::from_secs(300);
    /// `timeout` of [`StoreAddress::open_reader`]: somebody is waiting for the answer.
    pub const READ_TIMEOUT: Duration = Duration::from_secs(10);
}

impl Default for StoreOptions {
    fn default() -> StoreOptions {
        StoreOptions {
            raw_ttl: None,
            timeout: StoreOptions::TIMEOUT,
            report: Arc::new(|_| ()),
            guarded_writes: false,
            journal: true,
        }
    }
}

impl StoreAddress {
    /// Reads `--store` (`mongodb` or `sqlite:FILE`); `uri` and `database` are `--mongo-uri` and `--database`,
    /// and matter to `mongodb` alone.
    pub fn parse(store: &str, uri: &str, database: &str) -> Result<StoreAddress, AddressError> {
        if let Some(path) = store.strip_prefix("sqlite:") {
            if path.is_empty() {
                return Err(AddressError("--store sqlite: lacks the file; write --store sqlite:FILE".into()));
            }
            // SQLite takes these for databases that are gone with the process.
            if path.starts_with(':') || path.starts_with("file:") {
                return Err(AddressError(format!("--store sqlite:{path} is no file; write a path such as ./{path}")));
            }
            return Ok(StoreAddress::Sqlite { path: path.into() });
        }
        if store != "mongodb" {
            return Err(AddressError(format!("--store \"{store}\" is unknown; it is mongodb or sqlite:FILE")));
        }
        const FORBIDDEN: &str = "/\\. \"$*<>:|?\0";
        if database.is_empty() || database.len() > 63 || database.contains(|letter| FORBIDDEN.contains(letter)) {
            return Err(AddressError(format!(
                "--database {database:?} is no name for a MongoDB database: 1 to 63 bytes, none of / \\ . \" $ * < > : | ? \
                 or space"
            )));
        }
        if let Err(error) = ConnectionString::parse(uri) {
            // The driver's words may quote what it could not read, which may be a password.
            let reason = if uri.contains(['@', '?']) { String::new() } else { format!(" ({})", error.kind) };
            return Err(AddressError(format!(
                "--mongo-uri (MONGO_URI) cannot be read{reason}; write mongodb://[user:password@]host:port/[?options], with \
                 : / ? # [ ] @ % inside user or password percent-encoded"
            )));
        }
        Ok(StoreAddress::MongoDb { uri: uri.into(), database: database.into() })
    }

    /// Opens the store for writing, with the default options.
    pub fn open(&self) -> Result<Box<dyn Store>, StoreError> {
        self.open_with(StoreOptions::default())
    }

    /// Opens the store for writing. Connects, but writes nothing yet.
    pub fn open_with(&self, options: StoreOptions) -> Result<Box<dyn Store>, StoreError> {
        Ok(match self {
            StoreAddress::MongoDb { .. } => Box::new(MongoStore::open(self, options)?),
            StoreAddress::Sqlite { path } => Box::new(SqliteStore::open(path, options)?),
        })
    }

    /// Opens the store for reading, on connections of its own.
    pub fn open_reader(&self) -> Result<Box<dyn StoreReader>, StoreError> {
        self.open_reader_with(StoreOptions { timeout: StoreOptions::READ_TIMEOUT, ..StoreOptions::default() })
    }

    /// [`StoreAddress::open_reader`] with options; `raw_ttl` means nothing to a reader.
    pub fn open_reader_with(&self, options: StoreOptions) -> Result<Box<dyn StoreReader>, StoreError> {
        Ok(match self {
            StoreAddress::MongoDb { .. } => Box::new(MongoReader::open(self, options)?),
            StoreAddress::Sqlite { path } => Box::new(SqliteReader::open(path)?),
        })
    }

    /// Opens the store for going over all that it holds.
    pub fn open_scan(&self, options: StoreOptions) -> Result<Box<dyn StoreScan>, StoreError> {
        Ok(match self {
            StoreAddress::MongoDb { .. } => Box::new(MongoReader::open(self, options)?),
            StoreAddress::Sqlite { path } => Box::new(SqliteReader::open(path)?),
        })
    }
}

impl fmt::Display for StoreAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreAddress::Sqlite { path } => write!(f, "sqlite:{}", path.display()),
            StoreAddress::MongoDb { uri, database } => {
                // Printed from its parsed parts: no slip in a URI can let a password through.
                match ConnectionString::parse(uri).map(|parsed| parsed.host_info) {
                    Ok(HostInfo::HostIdentifiers(hosts)) => {
                        let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
                        write!(f, "mongodb://{}/{database}", hosts.join(","))
                    }
                    Ok(HostInfo::DnsRecord(host)) => write!(f, "mongodb+srv://{host}/{database}"),
                    _ => write!(f, "mongodb://(unreadable)/{database}"),
                }
            }
        }
    }
}

impl fmt::Debug for StoreAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreAddress({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mongodb(uri: &str) -> Result<StoreAddress, AddressError> {
        StoreAddress::parse("mongodb", uri, "kafka_pipeline")
    }

    #[test]
    fn both_kinds_are_read_and_shown() {
        let sqlite = StoreAddress::parse("sqlite:/tmp/a b.db", "", "").unwrap();
        assert_eq!(sqlite, StoreAddress::Sqlite { path: "/tmp/a b.db".into() });
        assert_eq!(sqlite.to_string(), "sqlite:/tmp/a b.db");
        let default = mongodb("mongodb://localhost:27017/").unwrap();
        assert_eq!(default.to_string(), "mongodb://localhost:27017/kafka_pipeline");
    }

    #[test]
    fn nothing_secret_is_shown() {
        for uri in [
            "mongodb://ann:s3cret@db1:27017,db2:27018/admin?replicaSet=rs0&authSource=s3cret",
            "mongodb+srv://ann:s3cret@cluster.example.org/?tls=true",
            "mongodb://ann:s3cret%40@db1/",
        ] {
            let address = mongodb(uri).unwrap();
            for shown in [address.to_string(), format!("{address:?}")] {
                assert!(!shown.contains("s3cret") && !shown.contains("ann"), "{shown}");
                assert!(shown.contains("db1:27017") || shown.contains("cluster.example.org"), "{shown}");
            }
        }
    }

    #[test]
    fn an_unreadable_uri_is_refused_without_quoting_it() {
        for uri in [
            "mongodb://ann:s3/cret@db1:27017/",
            "mongodb://ann:s3cret@db1:port/",
            "mongodb://ann:s3cret?@db1/",
            "s3cret",
            "http://ann:s3cret@db1/",
            "mongodb://db1/?tlsCertificateKeyFilePassword=s3cret&tls=false",
        ] {
            let refused = mongodb(uri).unwrap_err().to_string();
            assert!(!refused.contains("s3"), "{refused}");
            let shown = StoreAddress::MongoDb { uri: uri.into(), database: "d".into() }.to_string();
            assert!(!shown.contains("s3"), "{shown}");
        }
        assert!(mongodb("mongodb://db1:port/").unwrap_err().to_string().contains("port"));
    }

    #[test]
    fn what_cannot_be_an_address_is_refused() {
        for (store, database) in [("sqlite:", "d"), ("postgres", "d"), ("mongodb", ""), ("mongodb", "a.b"), ("", "d")] {
            assert!(StoreAddress::parse(store, "mongodb://localhost/", database).is_err(), "{store} {database}");
        }
        assert!(StoreAddress::parse("mongodb", "mongodb://localhost/", &"d".repeat(64)).is_err());
    }
}
