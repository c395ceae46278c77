//! Signals and panics: how a process ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::{flag, low_level};

use super::CliError;
use crate::cluster::fate;

/// How long a stop may take before the process ends without its last epoch, which the next start reads again.
const STOP_WITHIN: Duration = Duration::from_secs(9);

/// A flag that the first SIGINT or SIGTERM sets; a second one ends the process at once with 130.
///
/// Others may set the flag, too: a signal after that is still the first one.
pub(super) fn stop_flag() -> Result<Arc<AtomicBool>, CliError> {
    let stop = Arc::new(AtomicBool::new(false));
    let asked = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // In this order: the first signal finds the flag unset and only sets it.
        flag::register_conditional_shutdown(signal, 130, Arc::clone(&asked))
            .and_then(|_| flag::register(signal, Arc::clone(&asked)))
            .and_then(|_| flag::register(signal, Arc::clone(&stop)))
            .map_err(|error| CliError::System(format!("listening for signals: {error}")))?;
    }
    Ok(stop)
}

/// Ends the process when a stop takes too long: a store that is away must not keep it. Until the flag that is returned
/// is set there is nothing to commit, and it ends at once.
pub(super) fn enforce_stop(stop: &Arc<AtomicBool>) -> Arc<AtomicBool> {
    let stop = Arc::clone(stop);
    let begun = Arc::new(AtomicBool::new(false));
    let has_begun = Arc::clone(&begun);
    let watch = move || {
        let mut asked: Option<Instant> = None;
        loop {
            std::thread::sleep(Duration::from_millis(100));
            if stop.load(Ordering::SeqCst) && !has_begun.load(Ordering::SeqCst) {
                tracing::info!("stopped before anything was read");
                low_level::exit(0);
            }
            if stop.load(Ordering::SeqCst) && asked.get_or_insert_with(Instant::now).elapsed() > STOP_WITHIN {
                eprintln!(
                    "error: the store did not take the last epoch within {} s of being asked to stop; what it lacks is \
                     read again at the next start",
                    STOP_WITHIN.as_secs()
                );
                low_level::exit(3);
            }
        }
    };
    // Without the thread a stop may take longer; that is all.
    let _ = std::thread::Builder::new().name("tillflow-stop".into()).spawn(watch);
    begun
}

/// Makes the first SIGINT or SIGTERM end the process at once with 130: for work that leaves nothing behind.
pub(super) fn end_at_once(words: &'static str) -> Result<(), CliError> {
    let failed = |error: std::io::Error| CliError::System(format!("listening for signals: {error}"));
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM]).map_err(failed)?;
    let wait = move || {
        if signals.forever().next().is_some() {
            eprintln!("error: {words}");
            low_level::exit(130);
        }
    };
    std::thread::Builder::new().name("tillflow-signals".into()).spawn(wait).map(|_| ()).map_err(failed)
}

/// The threads, by the beginnings of their names, without which a run would stand still or say what is not so. The
/// others, which build pages and show the status, may fail alone.
const PIPELINE: [&str; 11] = [
    "main",
    "timely:",
    "tillflow-commit",
    "tillflow-mongodb",
    "tillflow-read",
    "tillflow-lag",
    "tillflow-generate",
    "tillflow-cluster",
    "tillflow-watchdog",
    "tillflow-stop",
    "tillflow-signals",
];

/// Makes a panic in a thread of the pipeline end the process with 70: the other workers would wait for it for ever.
///
/// timely panics when it loses a connection. That is no bug, and ends the process as the loss of a peer.
pub(super) fn exit_on_panic() {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or_default();
        let payload = panic.payload();
        let message = payload.downcast_ref::<String>().map(String::as_str).or(payload.downcast_ref::<&str>().copied());
        if fate::connection_panicked(name, message.unwrap_or_default()) {
            return;
        }
        default(panic);
        if PIPELINE.iter().any(|ours| name.starts_with(ours)) {
            eprintln!(
                "error: a bug in tillflow ended it (in thread {name}); what is committed stays exact, start it again"
            );
            low_level::exit(70);
        }
    }));
}
