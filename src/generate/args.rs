//! The flags of `tillflow generate`.

use std::path::PathBuf;
use std::str::FromStr;

use chrono::{DateTime, NaiveDate, NaiveDateTime};
use tillflow_dataflows::records::Millis;

use super::generator::Shares;

/// Where the records go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The three topics.
    Kafka,
    /// Three files in this folder.
    Ndjson(PathBuf),
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Target, String> {
        match text.split_once(':') {
            None if text == "kafka" => Ok(Target::Kafka),
            Some(("ndjson", folder)) if !folder.is_empty() => Ok(Target::Ndjson(folder.into())),
            _ => Err("it is `kafka`, or `ndjson:` and a folder".to_owned()),
        }
    }
}

/// The flags of `tillflow generate`, but for those of the Kafka connection.
#[derive(Clone, Debug, clap::Args)]
pub struct GenerateArgs {
    /// Records per second, in real time; 0 = as fast as it goes
    #[arg(long, value_name = "RECORDS", default_value_t = 100.0, value_parser = rate)]
    pub rate: f64,

    /// Stop after so many records [default: 100000 with --rate 0, otherwise no end]
    #[arg(long, value_name = "RECORDS")]
    pub count: Option<u64>,

    /// With --rate 0: records per second of event time, as the mean of a day
    #[arg(long, value_name = "RECORDS", default_value_t = 200.0, value_parser = rate)]
    pub density: f64,

    /// Same seed and same start = same bytes
    #[arg(long, default_value_t = 1)]
    pub seed: u64,

    /// Instant of the first record, such as 2026-01-15T10:30:00Z; without an offset it is UTC. Kafka deletes records
    /// that are older than the topic's retention, whenever they were sent
    /// [default: now; with --rate 0 so early that the last record is of now]
    #[arg(long, value_name = "TIME", value_parser = instant)]
    pub start: Option<Millis>,

    /// Share of records that send a known sale again with the same content (0 to 1)
    #[arg(long, value_name = "SHARE", default_value_t = Shares::default().duplicates, value_parser = share)]
    pub duplicates: f64,

    /// Share of records that send a known sale again with other content
    #[arg(long, value_name = "SHARE", default_value_t = Shares::default().corrections, value_parser = share)]
    pub corrections: f64,

    /// Share of records that cancel a known sale (a key without a value)
    #[arg(long, value_name = "SHARE", default_value_t = Shares::default().cancellations, value_parser = share)]
    pub cancellations: f64,

    /// Share of records that are dated 49 to 120 hours before the clock
    #[arg(long, value_name = "SHARE", default_value_t = Shares::default().late, value_parser = share)]
    pub late: f64,

    /// Share of records that cannot be used: no JSON, missing fields, wrong types, dates to come …
    #[arg(long, value_name = "SHARE", default_value_t = Shares::default().corrupt, value_parser = share)]
    pub corrupt: f64,

    /// Where to: `kafka`, or `ndjson:DIR` for user_activity.ndjson, sales.ndjson and inventory.ndjson in that folder
    #[arg(long, value_name = "TARGET", default_value = "kafka")]
    pub to: Target,

    /// With ndjson: write each record with its partition, offset, Kafka timestamp and key. Plain lines are values
    /// alone; a cancellation, and a record dated in the future, cannot be told so and is left out
    #[arg(long)]
    pub envelope: bool,
}

impl GenerateArgs {
    /// The shares of trouble together.
    pub fn shares(&self) -> Shares {
        Shares {
            duplicates: self.duplicates,
            corrections: self.corrections,
            cancellations: self.cancellations,
            late: self.late,
            corrupt: self.corrupt,
        }
    }
}

fn rate(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|rate: &f64| rate.is_finite() && *rate >= 0.0).ok_or_else(|| "not a rate".to_owned())
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "not a number from 0 to 1".to_owned())
}

fn instant(text: &str) -> Result<Millis, String> {
    if let Ok(instant) = DateTime::parse_from_rfc3339(text) {
        return Ok(instant.timestamp_millis());
    }
    let zoneless = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"]
        .into_iter()
        .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())
        .or_else(|| text.parse::<NaiveDate>().ok()?.and_hms_opt(0, 0, 0));
    zoneless
        .map(|time| time.and_utc().timestamp_millis())
        .ok_or_else(|| "not a time such as 2026-01-15T10:30:00Z".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: GenerateArgs,
    }

    fn parse(flags: &str) -> Result<GenerateArgs, clap::Error> {
        Command::try_parse_from(std::iter::once("generate").chain(flags.split_whitespace())).map(|all| all.args)
    }

    #[test]
    fn defaults_are_the_documented_ones() {
        let args = parse("").expect("no flag is needed");
        assert_eq!((args.rate, args.count, args.seed, args.start), (100.0, None, 1, None));
        assert_eq!(args.shares(), Shares::default());
        assert_eq!(args.to, Target::Kafka);
    }

    #[test]
    fn a_start_is_read_with_and_without_an_offset() {
        let start = |text: &str| parse(&format!("--start {text}")).map(|args| args.start);
        assert_eq!(start("2024-01-15T10:30:00Z").expect("UTC"), Some(1_705_314_600_000));
        assert_eq!(start("2024-01-15T12:30:00+02:00").expect("an offset"), Some(1_705_314_600_000));
        assert_eq!(start("2024-01-15T10:30:00.25").expect("none"), Some(1_705_314_600_250));
        assert_eq!(start("2024-01-15").expect("a date"), Some(1_705_276_800_000));
        assert!(start("noon").is_err());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for flags in
            ["--late 1.5", "--late -1", "--corrupt x", "--rate NaN", "--rate -2", "--to file:x", "--to ndjson:"]
        {
            assert!(parse(flags).is_err(), "{flags}");
        }
        assert_eq!(parse("--to ndjson:a:b").expect("a folder").to, Target::Ndjson("a:b".into()));
    }
}
