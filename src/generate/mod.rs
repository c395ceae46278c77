//! Realistic sample data for the three topics, to Kafka or to files.
//!
//! ```text
//! dice ─► shop (sessions, sales, stock) ─► Generator (+ duplicates, corrections, …) ─► ndjson files | Kafka
//!                        pace (event time) ──┘                    run (wall clock) ──┘
//! ```
//!
//! [`Generator`] is pure: seed and start decide every byte. Only [`run`] reads a clock, and only the two sinks do
//! input or output.

mod args;
mod catalogue;
mod corrupt;
mod dice;
mod generator;
mod kafka;
mod ndjson;
mod pace;
mod respell;
mod rows;
mod run;
mod sessions;
mod shop;
mod stock;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

pub use args::{GenerateArgs, Target};
pub use generator::{GeneratedRecord, Generator, GeneratorOptions, Kind, Shares};
pub use kafka::{KafkaOptions, KafkaSink, send_to_kafka};
pub use ndjson::NdjsonSink;
pub use pace::{Pace, Throttle};
pub use run::{Summary, run};

/// Why nothing, or not everything, was generated. Each is one line without secrets.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// A setting is out of range or does not go with another (exit code 2).
    #[error("generate: {0}")]
    Settings(String),
    /// A file that would be written is there already (exit code 2).
    #[error("generate: {path} exists and is not written over: remove it or name another folder", path = .0.display())]
    Exists(PathBuf),
    /// A file cannot be written (exit code 3).
    #[error("generate: writing {path}: {source}", path = path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A property of the client is refused (exit code 2).
    #[error("generate: the Kafka property {property}: {problem}")]
    Property {
        /// Its name; its value may be a secret.
        property: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// No broker answers (exit code 3).
    #[error(
        "generate: asking Kafka at {servers} for its topics: {problem}; is the broker running and is \
         --bootstrap-servers (KAFKA_BOOTSTRAP_SERVERS) its address?"
    )]
    Unreachable {
        /// The bootstrap servers.
        servers: String,
        /// What the client says.
        problem: String,
    },
    /// The cluster lacks a topic (exit code 3).
    #[error("generate: Kafka at {servers} has no topic {topic}: create it with `tillflow init`")]
    MissingTopic {
        /// The bootstrap servers.
        servers: String,
        /// The topic's full name.
        topic: String,
    },
    /// A record was not taken (exit code 3).
    #[error("generate: sending to the topic {topic} of Kafka at {servers}: {problem}")]
    Delivery {
        /// The bootstrap servers.
        servers: String,
        /// The topic's full name.
        topic: String,
        /// What the broker or the client says.
        problem: String,
    },
}

impl GenerateError {
    /// The program's exit code for it.
    pub const fn exit_code(&self) -> u8 {
        match self {
            GenerateError::Settings(_) | GenerateError::Exists(_) | GenerateError::Property { .. } => 2,
            GenerateError::Write { .. }
            | GenerateError::Unreachable { .. }
            | GenerateError::MissingTopic { .. }
            | GenerateError::Delivery { .. } => 3,
        }
    }
}
