//! `tillflow run`.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clap::Args;

use super::CliError;
use super::cluster::{ClusterArgs, agreement};
use super::options::{
    AdmissionArgs, KafkaArgs, ListenArgs, OnOff, SourceAddress, StoreArgs, ViewArgs, default_workers, workers,
};
use super::serve::{Pages, serve};
use super::signals::{enforce_stop, stop_flag};
use super::terminal::StatusLine;
use crate::cluster::{Cluster, ClusterSettings};
use crate::engine::{CheckpointOptions, EngineOptions, OperatorTimes, Run};
use crate::metrics::Metrics;
use crate::source::Source;
use crate::status::{Problem, Status};
use crate::store::{Acceptance, StoreAddress, StoreOptions};

/// The pipeline: source -> dataflow -> store, with the dashboard beside it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    tillflow run\n  \
    tillflow run --source ndjson:data --store sqlite:shop.sqlite --until-caught-up --no-dashboard\n  \
    tillflow run -b broker:9093 -X security.protocol=SSL --workers 4\n  \
    tillflow run --processes 2 --process 0 --hosts hosts.txt   (and --process 1 on the other machine)")]
pub(super) struct RunArgs {
    /// `kafka`, or `ndjson:DIR` for user_activity.ndjson, sales.ndjson and inventory.ndjson in that folder
    #[arg(long, value_name = "SOURCE", default_value = "kafka")]
    source: SourceAddress,
    /// With ndjson: lines name their partition, offset, timestamp and key
    #[arg(long)]
    envelope: bool,
    /// Worker threads
    #[arg(short, long, value_name = "N", env = "TILLFLOW_WORKERS", default_value_t = default_workers(), value_parser = workers)]
    workers: usize,
    /// Milliseconds of records that make a commit
    #[arg(long, value_name = "MS", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    tick_ms: u64,
    /// Stop cleanly once everything present at the start is committed
    #[arg(long)]
    until_caught_up: bool,
    /// The folder of checkpoints; it belongs to one store [default: FILE.state beside a SQLite file, else
    /// tillflow-state/DATABASE]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// The least time from one checkpoint to the next
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = humantime::parse_duration)]
    checkpoint_interval: Duration,
    /// Keep every record in raw_data
    #[arg(long, value_enum, default_value = "on")]
    raw_data: OnOff,
    /// Let raw_data older than this, by event time, go
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    raw_data_ttl: Option<Duration>,
    /// Go on although these records were never counted and are gone; a start that is refused says the range; repeatable
    #[arg(long, value_name = "TOPIC/PARTITION:FROM-TO", value_parser = accept_loss)]
    accept_loss: Vec<Acceptance>,
    /// Go on although this partition, counted up to the offset NEXT, is gone or was created anew; repeatable
    #[arg(long, value_name = "TOPIC/PARTITION:NEXT", value_parser = accept_gone)]
    accept_gone: Vec<Acceptance>,
    /// Serve no pages
    #[arg(long)]
    no_dashboard: bool,
    /// Count how long each operator of the graph runs, for /metrics, and say at the end which took longest; costs a little
    #[arg(long)]
    operator_times: bool,
    #[command(flatten)]
    views: ViewArgs,
    #[command(flatten)]
    kafka: KafkaArgs,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    admission: AdmissionArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
    #[command(flatten)]
    listen: ListenArgs,
}

pub(super) fn run(args: &RunArgs) -> Result<(), CliError> {
    if args.envelope && args.source == SourceAddress::Kafka {
        return Err(CliError::Settings(String::from("--envelope goes with --source ndjson:DIR only")));
    }
    let cluster = args.cluster.settings()?;
    let stop = stop_flag()?;
    let begun = enforce_stop(&stop);
    let status = Arc::new(Status::default());
    let metrics = Arc::new(Metrics::default());
    let views = args.views.set()?;
    let address = args.store.address()?;
    let source = args.source.open(&args.kafka, args.envelope, args.admission.timezone)?;
    let options = EngineOptions {
        workers: args.workers,
        tick: Duration::from_millis(args.tick_ms),
        raw_data: args.raw_data == OnOff::On,
        until_caught_up: args.until_caught_up,
        admission: args.admission.settings(),
        timezone: args.admission.timezone,
        instance: instance(),
        views,
        checkpoints: Some(CheckpointOptions {
            folder: args.state.clone().unwrap_or_else(|| state_folder(&address)),
            interval: args.checkpoint_interval,
        }),
        accepted: args.accept_loss.iter().chain(&args.accept_gone).copied().collect(),
    };
    let operator_times = args.operator_times.then(|| Arc::new(OperatorTimes::default()));
    if let Some(settings) = cluster.as_ref().filter(|settings| settings.process > 0) {
        let cluster = form(settings, &options, source.as_ref())?;
        begun.store(true, Ordering::SeqCst);
        let line = StatusLine::start(Arc::clone(&status), args.until_caught_up);
        let run = Run { options, source, status, metrics, stop, operator_times };
        let result = run.follow(cluster);
        drop(line);
        tell_times(&run);
        result?;
        tracing::info!("stopped, process 0 has committed all");
        return Ok(());
    }
    let (told, counted, has_begun) = (Arc::clone(&status), Arc::clone(&metrics), Arc::clone(&begun));
    let mut store = address.open_with(StoreOptions {
        raw_ttl: args.raw_data_ttl,
        report: Arc::new(move |problem: Option<&str>| {
            if problem.is_some() {
                counted.store_retried();
            }
            told.update(|status| {
                let since = status.store_problem.as_ref().map(|known| known.since);
                if let (Some(problem), None, false) = (problem, since, has_begun.load(Ordering::SeqCst)) {
                    // Later the status line tells of it.
                    tracing::warn!("waiting for the store: {problem}");
                }
                status.store_problem = problem.map(|text| Problem {
                    since: since.unwrap_or_else(|| chrono::Utc::now().timestamp_millis()),
                    text: text.to_owned(),
                });
            });
        }),
        guarded_writes: crate::fault::limit("guarded_writes", 0) == 1,
        ..StoreOptions::default()
    })?;
    store.init()?;
    let pages = match args.no_dashboard {
        true => None,
        false => Some(serve(
            &args.listen,
            Pages {
                address: &address,
                status: &status,
                metrics: &metrics,
                timezone: args.admission.timezone,
                added: &options.views.added,
                alone: false,
            },
        )?),
    };
    // Whoever has the store keeps it until there is a cluster that could take it over.
    let cluster = cluster.map(|settings| form(&settings, &options, source.as_ref())).transpose()?;
    begun.store(true, Ordering::SeqCst);
    let line = StatusLine::start(Arc::clone(&status), args.until_caught_up);
    let run = Run { options, source, status, metrics, stop, operator_times };
    let result = match cluster {
        Some(cluster) => run.lead(store, cluster),
        None => run.alone(store),
    };
    drop(line);
    tell_times(&run);
    if let Some(pages) = pages {
        pages.stop();
    }
    let summary = result?;
    tracing::info!(
        records = summary.records,
        commits = summary.commits,
        epoch = summary.epoch,
        "stopped, all committed"
    );
    Ok(())
}

/// Says which operators took longest, if that was asked for.
fn tell_times(run: &Run) {
    if let Some(times) = &run.operator_times {
        // Asked for by name, so it is not a log line that a level could hide.
        eprintln!("{}", times.summary());
    }
}

fn accept_loss(text: &str) -> Result<Acceptance, String> {
    Acceptance::parse_loss(text).ok_or_else(|| String::from("write it as the refusal has it, like sales/0:100-250"))
}

fn accept_gone(text: &str) -> Result<Acceptance, String> {
    Acceptance::parse_gone(text).ok_or_else(|| String::from("write it as the refusal has it, like sales/0:251"))
}

/// Where the checkpoints of a store are, unless somebody says otherwise.
fn state_folder(address: &StoreAddress) -> PathBuf {
    match address {
        StoreAddress::Sqlite { path } => {
            let mut folder = path.clone().into_os_string();
            folder.push(".state");
            folder.into()
        }
        StoreAddress::MongoDb { database, .. } => PathBuf::from("tillflow-state").join(database),
    }
}

/// Waits for the other processes.
fn form(settings: &ClusterSettings, options: &EngineOptions, source: &dyn Source) -> Result<Cluster, CliError> {
    tracing::info!("process {} of {}: waiting for the others", settings.process, settings.hosts.len());
    let cluster = Cluster::form(settings, &agreement(options, source))?;
    tracing::info!("all {} processes are there", cluster.processes);
    Ok(cluster)
}

/// A name for this run that no other has.
pub(super) fn instance() -> String {
    let started = chrono::Utc::now().format("%Y%m%dT%H%M%S%.3fZ");
    format!("{started}-{}-{:08x}", std::process::id(), rand::random::<u32>())
}
