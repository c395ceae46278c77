//! `tillflow generate`.

use std::io::IsTerminal;

use clap::Args;

use super::CliError;
use super::options::KafkaArgs;
use super::signals::stop_flag;
use super::terminal::bar;
use crate::generate::{self, GenerateArgs};

/// Realistic sample data, to Kafka or to files.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    tillflow generate --rate 50\n  \
    tillflow generate --rate 0 --count 1000000\n  \
    tillflow generate --rate 0 --count 50000 --to ndjson:data --envelope")]
pub(super) struct GenerateCommand {
    #[command(flatten)]
    generate: GenerateArgs,
    #[command(flatten)]
    kafka: KafkaArgs,
}

pub(super) fn run(args: &GenerateCommand) -> Result<(), CliError> {
    let stop = stop_flag()?;
    let line = std::io::stderr().is_terminal().then(|| bar(args.generate.count, "generating"));
    let result = generate::run(&args.generate, &args.kafka.producer(), &stop, |records| {
        if let Some(line) = &line {
            line.set_position(records);
        }
    });
    if let Some(line) = line {
        line.finish_and_clear();
    }
    // Not within the message: what is not said is not evaluated.
    let summary = result?;
    tracing::info!("{summary}");
    Ok(())
}
