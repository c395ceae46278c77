//! `tillflow init`.

use clap::Args;

use super::CliError;
use super::options::{KafkaArgs, StoreArgs};
use crate::source::kafka::{KafkaSource, Layout};

/// Creates topics, collections and indexes; safe to repeat.
#[derive(Debug, Args)]
pub(super) struct InitArgs {
    /// Partitions of a topic that is created
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(i32).range(1..=1000))]
    partitions: i32,
    /// Replicas of a topic that is created
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(i32).range(1..=9))]
    replication_factor: i32,
    #[command(flatten)]
    kafka: KafkaArgs,
    #[command(flatten)]
    store: StoreArgs,
}

pub(super) fn run(args: &InitArgs) -> Result<(), CliError> {
    let address = args.store.address()?;
    let layout = Layout { partitions: args.partitions, replication_factor: args.replication_factor };
    for (topic, created) in KafkaSource::new(args.kafka.settings())?.create_topics(layout)? {
        tracing::info!("topic {topic}: {}", if created { "created" } else { "there already" });
    }
    address.open()?.init()?;
    tracing::info!("{address}: collections and indexes are there");
    Ok(())
}
