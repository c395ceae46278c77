//! How a process of a cluster ends when another one does.
//!
//! A process whose peer is lost ends at once with exit code 3: what it had not committed is read again, and waiting
//! would be for ever. Nothing is tidied up, because whatever would do so may be what waits.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use signal_hook::low_level;

/// How long the reason that a peer gives may take to arrive after its connections have closed.
const REASON_WITHIN: Duration = Duration::from_millis(500);

/// Whether this process is ending by its own reason, which is then the one to tell.
static ENDING: OnceLock<Box<dyn Fn() -> bool + Send + Sync>> = OnceLock::new();

/// Registers how to find out whether this process is ending by a reason of its own; the first one counts.
pub fn ask_whether_ending(ending: impl Fn() -> bool + Send + Sync + 'static) {
    let _ = ENDING.set(Box::new(ending));
}

fn is_ending() -> bool {
    ENDING.get().is_some_and(|ending| ending())
}

/// Ends this process because `process` was lost, unless it is ending by itself.
pub fn lost(process: usize, how: &str) {
    let deadline = Instant::now() + REASON_WITHIN;
    while Instant::now() < deadline {
        if is_ending() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    end(&format!(
        "process {process} of the cluster was lost ({how}): this one cannot go on without it. What is committed stays \
         exact; start all processes again"
    ));
}

/// Ends this process because `process` has said why it ends.
pub fn told(process: usize, why: &str) {
    if !is_ending() {
        end(&format!("process {process} of the cluster ended: {why}"));
    }
}

fn end(words: &str) -> ! {
    static ENDED: AtomicBool = AtomicBool::new(false);
    // Several threads find out about one loss.
    while ENDED.swap(true, Ordering::SeqCst) {
        std::thread::park();
    }
    eprintln!("error: {words}");
    low_level::exit(3)
}

/// To be called when a thread has panicked, before it unwinds. Returns unless that was one of timely's that lost its
/// connection.
pub fn connection_panicked(thread: &str, message: &str) {
    let process = thread.strip_prefix("timely:recv-").or_else(|| thread.strip_prefix("timely:send-"));
    let Some(process) = process.and_then(|process| process.parse().ok()) else { return };
    if message.starts_with("timely communication error") {
        lost(process, message.rsplit(": ").next().unwrap_or(message));
    }
    // Whatever goes wrong here while this process ends is a consequence. To unwind would make the workers panic, too.
    while is_ending() {
        std::thread::park();
    }
}
