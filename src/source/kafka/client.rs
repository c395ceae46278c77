//! How consumers are made, and how librdkafka's errors are put into words.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;
use tillflow_dataflows::records::Topic;

use super::{ANSWER_WITHIN, KafkaSettings};
use crate::source::SourceError;

/// With no broker connected for so long, nobody is expected to come.
const DOWN_FOR: Duration = Duration::from_secs(3);

/// Properties on which exactness rests. A user who sets one is told so.
const OURS: [(&str, &str); 8] = [
    // Offsets live in the store, in the transaction of what they produced.
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    // A start offset that is gone is an error, not a jump.
    ("auto.offset.reset", "error"),
    // Aborted transactions never count.
    ("isolation.level", "read_committed"),
    // "Everything read" is an event; offsets may have gaps.
    ("enable.partition.eof", "true"),
    ("allow.auto.create.topics", "false"),
    ("log.queue", "false"),
    ("group.instance.id", ""),
];

/// Defaults that a user may change with `-X`.
const DEFAULTS: [(&str, &str); 9] = [
    ("check.crcs", "true"),
    // A partition that comes while running is found within one of these.
    ("topic.metadata.refresh.interval.ms", "10000"),
    ("socket.keepalive.enable", "true"),
    ("reconnect.backoff.max.ms", "1000"),
    // The default of 1 s would be a pause whenever the local queue was full.
    ("fetch.queue.backoff.ms", "5"),
    ("fetch.wait.max.ms", "100"),
    ("fetch.message.max.bytes", "2097152"),
    ("queued.min.messages", "30000"),
    ("client.id", "tillflow"),
];

/// How long a consumer may take to end before it is left to librdkafka.
const CLOSED_WITHIN: Duration = Duration::from_secs(5);

/// Remembers what troubles the whole client, because metadata calls only say "timed out".
#[derive(Clone, Default)]
pub(super) struct Context {
    trouble: Arc<Mutex<Trouble>>,
}

#[derive(Default)]
struct Trouble {
    /// The last error that says why.
    cause: Option<(RDKafkaErrorCode, String)>,
    /// Since when no broker is connected.
    down_since: Option<Instant>,
}

impl Context {
    fn trouble(&self) -> MutexGuard<'_, Trouble> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether asking on is of no use.
    fn is_hopeless(&self) -> bool {
        use RDKafkaErrorCode::{Authentication, SSL, SaslAuthenticationFailed};
        let trouble = self.trouble();
        matches!(trouble.cause, Some((Authentication | SSL | SaslAuthenticationFailed, _)))
            || trouble.down_since.is_some_and(|since| since.elapsed() >= DOWN_FOR)
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(target: "librdkafka", ?level, facility, "{message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", %error, "{reason}");
        let mut trouble = self.trouble();
        match error.rdkafka_error_code() {
            // It follows each error of the last broker, and says less.
            Some(code @ RDKafkaErrorCode::AllBrokersDown) => {
                trouble.down_since.get_or_insert_with(Instant::now);
                trouble.cause.get_or_insert_with(|| (code, String::from(reason)));
            }
            Some(code) => trouble.cause = Some((code, String::from(reason))),
            None => {}
        }
    }
}

impl ConsumerContext for Context {}

/// Makes consumers.
pub(super) struct Client {
    settings: KafkaSettings,
}

impl Client {
    pub(super) fn new(settings: KafkaSettings) -> Result<Client, SourceError> {
        for (name, value) in &settings.properties {
            if let Some((_, ours)) = OURS.iter().find(|(ours, _)| ours == name)
                && value != ours
            {
                return Err(SourceError::Settings(format!(
                    "-X {name} cannot be set: tillflow's exactness rests on {name}={ours}"
                )));
            }
        }
        Ok(Client { settings })
    }

    pub(super) fn settings(&self) -> &KafkaSettings {
        &self.settings
    }

    pub(super) fn topic_name(&self, topic: Topic) -> String {
        format!("{}{}", self.settings.topic_prefix, topic.name())
    }

    /// A consumer that only asks the brokers. It is in no group, so that nothing waits when it is dropped.
    pub(super) fn asker(&self) -> Result<BaseConsumer<Context>, SourceError> {
        let mut config = self.config(1);
        config.remove("group.id");
        create(&config)
    }

    /// A consumer of the group that so many partitions will be assigned to, or none. To be [closed](close) before it is
    /// dropped.
    pub(super) fn consumer_of(&self, partitions: usize) -> Result<BaseConsumer<Context>, SourceError> {
        create(&self.config(partitions))
    }

    fn config(&self, partitions: usize) -> ClientConfig {
        let mut config = ClientConfig::new();
        for (name, value) in DEFAULTS {
            config.set(name, value);
        }
        // librdkafka bounds each partition's queue by itself.
        let each = self.settings.queue_bytes / 1024 / partitions.max(1);
        config.set("queued.max.messages.kbytes", each.max(1024).to_string());
        config.set("bootstrap.servers", &self.settings.bootstrap_servers);
        config.set("group.id", &self.settings.group_id);
        for (name, value) in &self.settings.properties {
            config.set(name, value);
        }
        for (name, value) in OURS.iter().filter(|(_, value)| !value.is_empty()) {
            config.set(*name, *value);
        }
        if crate::fault::mutant("lost_offsets_are_skipped") {
            config.set("auto.offset.reset", "latest");
        }
        config
    }

    /// What an administrating client needs to reach the brokers.
    pub(super) fn admin_config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.settings.bootstrap_servers);
        for (name, value) in &self.settings.properties {
            config.set(name, value);
        }
        config
    }

    /// What brokers and topics there are.
    pub(super) fn metadata(&self, attempt: &str, consumer: &BaseConsumer<Context>) -> Result<Metadata, SourceError> {
        let begun = Instant::now();
        let mut patience = Duration::from_secs(1);
        loop {
            let left = ANSWER_WITHIN.saturating_sub(begun.elapsed()).max(Duration::from_millis(100));
            match consumer.fetch_metadata(None, patience.min(left)) {
                Ok(metadata) => return Ok(metadata),
                Err(error) => {
                    // Errors of the client as a whole are told to whoever polls it, one at a time.
                    for _ in 0..100 {
                        let _ = consumer.poll(Duration::ZERO);
                    }
                    if begun.elapsed() >= ANSWER_WITHIN || consumer.context().is_hopeless() {
                        return Err(self.unavailable(attempt, &error, consumer));
                    }
                }
            }
            patience *= 3;
        }
    }

    /// Puts a failed call into words.
    pub(super) fn unavailable(
        &self,
        attempt: &str,
        error: &KafkaError,
        consumer: &BaseConsumer<Context>,
    ) -> SourceError {
        let servers = &self.settings.bootstrap_servers;
        let cause = consumer.context().trouble().cause.clone();
        let problem = match cause {
            Some((code, text)) => explain_code(Some(code), &text),
            None => explain(error, &error.to_string()),
        };
        SourceError::Unavailable(format!("{attempt} on the Kafka brokers at {servers}: {problem}"))
    }
}

fn create(config: &ClientConfig) -> Result<BaseConsumer<Context>, SourceError> {
    config.create_with_context(Context::default()).map_err(|error| match &error {
        KafkaError::ClientConfig(_, problem, name, value) => {
            // librdkafka repeats the value, which may be a secret in the wrong place.
            let problem = problem.replace(&format!("\"{value}\""), "");
            let problem =
                if value.is_empty() || !problem.contains(value.as_str()) { problem.as_str() } else { "refused" };
            SourceError::Settings(format!("-X {name}: {problem} (its value is not shown)"))
        }
        other => SourceError::Settings(format!("making a Kafka client: {other}")),
    })
}

/// Ends a consumer that nobody reads from any more. rdkafka does it as well when one is dropped, but looks whether it has
/// ended every 100 ms only, and each start and each end of a run would wait for that.
pub(super) fn close(consumer: &BaseConsumer<Context>) {
    let begun = Instant::now();
    if consumer.close_queue().is_ok() {
        while !consumer.closed() && begun.elapsed() < CLOSED_WITHIN {
            let _ = consumer.poll(Duration::from_millis(1));
        }
    }
}

/// What an error means and what to do about it.
pub(super) fn explain(error: &KafkaError, cause: &str) -> String {
    explain_code(error.rdkafka_error_code(), cause)
}

fn explain_code(code: Option<RDKafkaErrorCode>, cause: &str) -> String {
    let advice = match code {
        Some(RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::GroupAuthorizationFailed) => {
            "the brokers refuse this user: check the ACLs"
        }
        Some(RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SaslAuthenticationFailed) => {
            "the brokers refuse the credentials: check -X security.protocol, sasl.mechanism, sasl.username and \
             sasl.password"
        }
        Some(RDKafkaErrorCode::SSL) => "check -X security.protocol and the ssl.* properties",
        Some(RDKafkaErrorCode::UnknownTopicOrPartition) => "create the topics with `tillflow init`",
        Some(RDKafkaErrorCode::Resolve) => "check the host name, and the brokers' advertised.listeners",
        _ => {
            "start a broker (`docker compose up -d --wait kafka`), name it with --bootstrap-servers or \
             KAFKA_BOOTSTRAP_SERVERS, or try `tillflow demo`, which needs none"
        }
    };
    format!("{cause}; {advice}")
}
