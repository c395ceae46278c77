//! Flags that several commands share.

use std::io::Read as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use chrono_tz::Tz;
use clap::Args;
use tillflow_dataflows::admission::AdmissionSettings;
use tillflow_dataflows::outputs::Selection;
use tillflow_dataflows::records::Millis;

use super::CliError;
use crate::generate::KafkaOptions;
use crate::source::kafka::{KafkaSettings, KafkaSource};
use crate::source::ndjson::NdjsonSource;
use crate::source::{Source, SourceError};
use crate::store::{AddressError, StoreAddress};
use crate::views::ViewSet;
use crate::views::file::FILE_MAX;

/// Bytes that one reader's queues hold together.
const QUEUE_BYTES: usize = 128 << 20;

/// Where records come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SourceAddress {
    Kafka,
    Ndjson(PathBuf),
}

impl FromStr for SourceAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<SourceAddress, String> {
        match text.split_once(':') {
            None if text == "kafka" => Ok(SourceAddress::Kafka),
            Some(("ndjson", folder)) if !folder.is_empty() => Ok(SourceAddress::Ndjson(folder.into())),
            _ => Err(String::from("it is `kafka`, or `ndjson:` and a folder")),
        }
    }
}

impl SourceAddress {
    /// The source there. An envelope, and a zone for times without one, are those of lines.
    pub(super) fn open(&self, kafka: &KafkaArgs, envelope: bool, timezone: Tz) -> Result<Arc<dyn Source>, SourceError> {
        Ok(match self {
            SourceAddress::Kafka => Arc::new(KafkaSource::new(kafka.settings())?),
            SourceAddress::Ndjson(folder) => Arc::new(NdjsonSource::new(folder, envelope, timezone)),
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum OnOff {
    On,
    Off,
}

/// More views.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Views")]
pub(super) struct ViewFileArgs {
    /// More views: group-bys in a TOML file
    #[arg(long, value_name = "FILE")]
    view_file: Option<PathBuf>,
}

impl ViewFileArgs {
    /// Every built-in view, and those of the file.
    pub(super) fn set(&self) -> Result<ViewSet, CliError> {
        self.beside(Selection::all())
    }

    fn beside(&self, selection: Selection) -> Result<ViewSet, CliError> {
        let refused = |error| CliError::Settings(format!("--view-file: {}, {error}", self.shown()));
        ViewSet::new(selection, self.text()?).map_err(refused)
    }

    fn text(&self) -> Result<Option<String>, CliError> {
        let read = |path: &PathBuf| {
            let file = std::fs::File::open(path)?;
            let mut bytes = Vec::new();
            file.take(FILE_MAX as u64 + 1).read_to_end(&mut bytes)?;
            if bytes.len() > FILE_MAX {
                return Err(std::io::Error::other(format!("it is longer than {FILE_MAX} bytes")));
            }
            String::from_utf8(bytes).map_err(|_| std::io::Error::other("it is not UTF-8"))
        };
        let failed = |error| CliError::Settings(format!("--view-file: reading {}: {error}", self.shown()));
        self.view_file.as_ref().map(read).transpose().map_err(failed)
    }

    fn shown(&self) -> String {
        self.view_file.as_ref().map_or_else(String::new, |path| path.display().to_string())
    }
}

/// What is maintained.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Views")]
pub(super) struct ViewArgs {
    /// Maintain only these of the built-in views: types of documents, names of metrics, kinds of alerts, with commas
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    views: Option<Vec<String>>,
    #[command(flatten)]
    file: ViewFileArgs,
}

impl ViewArgs {
    pub(super) fn set(&self) -> Result<ViewSet, CliError> {
        let selection = match &self.views {
            None => Selection::all(),
            Some(names) => Selection::of(names.iter().map(|name| name.trim()).filter(|name| !name.is_empty()))
                .map_err(|name| {
                    let known: Vec<&str> = Selection::names().collect();
                    CliError::Settings(format!("--views: there is no view {name:?}; there are {}", known.join(", ")))
                })?,
        };
        self.file.beside(selection)
    }
}

/// How Kafka is reached.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Kafka")]
pub(super) struct KafkaArgs {
    /// Brokers, host:port with commas
    #[arg(short, long, value_name = "SERVERS", env = "KAFKA_BOOTSTRAP_SERVERS", default_value = "localhost:9092")]
    pub(super) bootstrap_servers: String,
    /// Consumer group whose offsets are written for lag tools (never read)
    #[arg(long, value_name = "GROUP", env = "KAFKA_GROUP_ID", default_value = "data_processor_group")]
    pub(super) group_id: String,
    /// In front of the topic names in Kafka
    #[arg(long, value_name = "PREFIX", env = "KAFKA_TOPIC_PREFIX", default_value = "", hide_default_value = true)]
    pub(super) topic_prefix: String,
    /// Any librdkafka property; repeatable
    #[arg(short = 'X', value_name = "KEY=VALUE", value_parser = property)]
    pub(super) properties: Vec<(String, String)>,
}

fn property(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.to_owned())),
        _ => Err(String::from("write it as KEY=VALUE")),
    }
}

impl KafkaArgs {
    pub(super) fn settings(&self) -> KafkaSettings {
        KafkaSettings {
            bootstrap_servers: self.bootstrap_servers.clone(),
            group_id: self.group_id.clone(),
            topic_prefix: self.topic_prefix.clone(),
            properties: self.properties.clone(),
            queue_bytes: QUEUE_BYTES,
        }
    }

    pub(super) fn producer(&self) -> KafkaOptions {
        KafkaOptions {
            bootstrap_servers: self.bootstrap_servers.clone(),
            topic_prefix: self.topic_prefix.clone(),
            properties: self.properties.clone(),
        }
    }
}

/// Which store.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Store")]
pub(super) struct StoreArgs {
    /// `mongodb`, or `sqlite:FILE`
    #[arg(long, value_name = "STORE", env = "TILLFLOW_STORE", default_value = "mongodb")]
    pub(super) store: String,
    /// MongoDB connection string
    #[arg(
        long,
        value_name = "URI",
        env = "MONGO_URI",
        hide_env_values = true,
        default_value = "mongodb://localhost:27017/"
    )]
    pub(super) mongo_uri: String,
    /// MongoDB database
    #[arg(long, value_name = "NAME", env = "MONGO_DATABASE", default_value = "kafka_pipeline")]
    pub(super) database: String,
}

impl StoreArgs {
    pub(super) fn address(&self) -> Result<StoreAddress, AddressError> {
        StoreAddress::parse(&self.store, &self.mongo_uri, &self.database)
    }
}

/// What decides a record's outcome.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Records")]
pub(super) struct AdmissionArgs {
    /// How long after an event its partition still takes corrections; older sales and activities are late
    #[arg(long, value_name = "DURATION", default_value = "48h", value_parser = duration)]
    pub(super) correction_window: Duration,
    /// How far after its Kafka timestamp a record may be dated
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = duration)]
    pub(super) max_future: Duration,
    /// IANA zone of times that name none
    #[arg(long, value_name = "ZONE", default_value = "UTC", value_parser = zone)]
    pub(super) timezone: Tz,
}

/// The longest window that makes sense of event times from 1970 to 9999.
const LONGEST: Duration = Duration::from_secs(366 * 86_400);

fn duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|error| format!("{error}; write 48h, 10m or 30s"))?;
    if duration > LONGEST { Err(String::from("at most 366 days")) } else { Ok(duration) }
}

fn zone(text: &str) -> Result<Tz, String> {
    text.parse().map_err(|_| String::from("not an IANA time zone such as Europe/Berlin"))
}

impl AdmissionArgs {
    pub(super) fn settings(&self) -> AdmissionSettings {
        AdmissionSettings { correction_window: millis(self.correction_window), max_future: millis(self.max_future) }
    }
}

fn millis(duration: Duration) -> Millis {
    Millis::try_from(duration.as_millis()).unwrap_or(Millis::MAX)
}

/// Where the pages are.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Dashboard")]
pub(super) struct ListenArgs {
    /// Address of the dashboard; anything but loopback has no protection of its own
    #[arg(long, value_name = "ADDR", env = "TILLFLOW_LISTEN", default_value = "127.0.0.1:8501")]
    pub(super) listen: SocketAddr,
    /// Host names, beside the address itself, under which browsers may ask for it; repeatable
    #[arg(long, value_name = "NAME")]
    pub(super) allow_host: Vec<String>,
    /// Seconds that a page goes at the longest without asking again
    #[arg(
        long,
        value_name = "SECONDS",
        env = "DASHBOARD_REFRESH_INTERVAL",
        default_value_t = 30,
        value_parser = clap::value_parser!(u64).range(1..=3600)
    )]
    pub(super) refresh_interval: u64,
}

/// Worker threads when none are asked for: as many as there are processors, up to 8.
pub(super) fn default_workers() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(8)
}

/// Reads `--workers`.
pub(super) fn workers(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(workers @ 1..=256) => Ok(workers),
        _ => Err(String::from("a number from 1 to 256")),
    }
}
