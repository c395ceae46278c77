//! What the server counts about itself.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts for `/metrics`. Shared: the server writes it, whoever renders the metrics reads it.
#[derive(Debug, Default)]
pub struct HttpCounters {
    answered: [AtomicU64; 4],
    refused: AtomicU64,
    restarts: AtomicU64,
    streams_open: AtomicU64,
    connections_open: AtomicU64,
}

/// One moment of [`HttpCounters`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HttpCounts {
    /// Answers by status class: 2xx, 3xx, 4xx, 5xx, in this order (`http_requests_total`).
    pub answered: [u64; 4],
    /// Connections closed without an answer: silent, cut off, or pushed out by newer ones.
    pub refused: u64,
    /// Times the inner server or the guard's own loop was built anew.
    pub restarts: u64,
    /// Event streams that are open now.
    pub streams_open: u64,
    /// All connections that are open now, the event streams included.
    pub connections_open: u64,
}

impl HttpCounters {
    /// Names of the status classes, in the order of [`HttpCounts::answered`].
    pub const CLASSES: [&'static str; 4] = ["2xx", "3xx", "4xx", "5xx"];

    /// The counts as of now.
    pub fn read(&self) -> HttpCounts {
        HttpCounts {
            answered: std::array::from_fn(|class| self.answered[class].load(Ordering::Relaxed)),
            refused: self.refused.load(Ordering::Relaxed),
            restarts: self.restarts.load(Ordering::Relaxed),
            streams_open: self.streams_open.load(Ordering::Relaxed),
            connections_open: self.connections_open.load(Ordering::Relaxed),
        }
    }

    pub(super) fn count_answer(&self, status: u16) {
        let class = usize::from(status / 100).clamp(2, 5) - 2;
        self.answered[class].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_restart(&self) {
        self.restarts.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn set_open(&self, connections: usize, streams: usize) {
        self.connections_open.store(connections as u64, Ordering::Relaxed);
        self.streams_open.store(streams as u64, Ordering::Relaxed);
    }
}
