//! How long, and in which rhythm, a store tries again, and who hears of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

/// Told about every retry: what went wrong (one line, no secret), and `None` once it went through after all.
/// Called on the thread that uses the store; must return at once.
pub type Report = Arc<dyn Fn(Option<&str>) + Send + Sync>;

/// Waits that double from [`Backoff::FIRST`] to [`Backoff::LONGEST`], shortened at random so that several
/// instances do not come back in step, until a time limit.
pub(super) struct Backoff {
    deadline: Instant,
    next: Duration,
    report: Report,
    troubled: bool,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(10);
    const LONGEST: Duration = Duration::from_secs(1);

    pub(super) fn new(limit: Duration, report: Report) -> Backoff {
        Backoff { deadline: Instant::now() + limit, next: Backoff::FIRST, report, troubled: false }
    }

    /// What is left of the time limit.
    pub(super) fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Reports `problem` without waiting.
    pub(super) fn report(&mut self, problem: &str) {
        self.troubled = true;
        (self.report)(Some(problem));
    }

    /// Reports `problem` and waits; false when the time limit is over, without waiting.
    pub(super) fn wait(&mut self, problem: &str) -> bool {
        self.report(problem);
        let left = self.left();
        if left.is_zero() {
            return false;
        }
        std::thread::sleep(self.next.mul_f64(rand::random_range(0.5..1.0)).min(left));
        self.next = (self.next * 2).min(Backoff::LONGEST);
        true
    }

    /// Reports that the trouble is over, if there was any.
    pub(super) fn succeeded(&self) {
        if self.troubled {
            (self.report)(None);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn every_retry_is_reported_and_so_is_its_end() {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let report: Report = {
            let heard = Arc::clone(&heard);
            Arc::new(move |problem| heard.lock().unwrap().push(problem.map(str::to_owned)))
        };
        let mut backoff = Backoff::new(Duration::from_secs(60), report);
        assert!(backoff.wait("no answer"));
        backoff.succeeded();
        assert_eq!(*heard.lock().unwrap(), [Some("no answer".to_owned()), None]);
    }

    #[test]
    fn the_limit_ends_it() {
        let mut backoff = Backoff::new(Duration::from_millis(60), Arc::new(|_| ()));
        let begun = Instant::now();
        while backoff.wait("no answer") {}
        assert!(begun.elapsed() >= Duration::from_millis(60));
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
}
