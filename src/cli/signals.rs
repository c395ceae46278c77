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
const PIPELINE: [&str; 14] = [
    "main",
    "timely:",
    "tillflow-commit",
    "tillflow-checkpoint",
    "tillflow-compare",
    "tillflow-scan",
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
        fate::connection_panicked(name, message.unwrap_or_default());
        default(panic);
        if PIPELINE.iter().any(|ours| name.starts_with(ours)) {
            eprintln!(
                "error: a bug in tillflow ended it (in thread {name}); what is committed stays exact, start it again"
            );
            low_level::exit(70);
        }
    }));
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Names the thread that is to panic, and with which words.
    const THREAD: &str = "TILLFLOW_TEST_PANIC_THREAD";
    const WORDS: &str = "TILLFLOW_TEST_PANIC_WORDS";

    /// Exit code of a process that has survived a panic.
    const SURVIVED: i32 = 99;

    /// Not a test of its own: what the processes do that the next one starts.
    #[test]
    fn panics_when_told_to() {
        let (Ok(name), Ok(words)) = (std::env::var(THREAD), std::env::var(WORDS)) else { return };
        exit_on_panic();
        let thread = std::thread::Builder::new().name(name).spawn(move || panic!("{words}")).expect("a thread");
        assert!(thread.join().is_err());
        std::process::exit(SURVIVED);
    }

    #[test]
    fn a_panic_ends_the_process_unless_pages_alone_suffer() {
        let cases = [
            ("timely:work-0", "any", 70),
            ("tillflow-commit", "any", 70),
            ("tillflow-read-sales", "any", 70),
            ("tillflow-lag", "any", 70),
            ("tillflow-mongodb", "any", 70),
            ("tillflow-cluster-control", "any", 70),
            ("tillflow-watchdog", "any", 70),
            ("timely:recv-1", "any", 70),
            ("timely:recv-1", "timely communication error: reading data: socket closed", 3),
            ("timely:send-2", "timely communication error: writing data: Broken pipe (os error 32)", 3),
            ("http-handler-1", "any", SURVIVED),
            ("dashboard-reader", "any", SURVIVED),
            ("tillflow-status", "any", SURVIVED),
        ];
        for (thread, words, code) in cases {
            let begun = Instant::now();
            let output = Command::new(std::env::current_exe().expect("this program"))
                .args(["--exact", "cli::signals::tests::panics_when_told_to", "--nocapture"])
                .env(THREAD, thread)
                .env(WORDS, words)
                .output()
                .expect("it starts");
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(code), "{thread}: {said}");
            assert!(begun.elapsed() < Duration::from_secs(2), "{thread}: {:?}", begun.elapsed());
            if code == 3 {
                let process = thread.rsplit('-').next().unwrap_or_default();
                assert!(said.contains(&format!("error: process {process} of the cluster was lost")), "{said}");
                assert!(!said.contains("panicked"), "{said}");
            }
        }
    }
}
