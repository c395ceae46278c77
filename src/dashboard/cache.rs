//! Answers that were given already: however many look at an epoch, it is rendered about once.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::message::{Body, Response};

/// The most answers that are kept; the oldest makes room.
const ANSWERS_MAX: usize = 64;
/// A longer body is not kept, so that all of them stay below 16 MiB.
const BYTES_MAX: usize = 256 * 1024;

struct Kept {
    epoch: u64,
    key: String,
    response: Response,
}

/// The answers, the oldest first.
#[derive(Default)]
pub struct Cache {
    kept: Mutex<VecDeque<Kept>>,
}

impl Cache {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Kept>> {
        // Whole answers only: what a panicking holder left behind is usable.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer to `key` (everything that it depends on beside the epoch), made if it is not there. Only
    /// answers that have a validator and are of exactly that epoch are kept. Two that miss at once both make it; it comes out the same.
    pub fn get_or(&self, epoch: u64, key: &str, make: impl FnOnce() -> Response) -> Response {
        if let Some(kept) = self.lock().iter().find(|kept| kept.epoch == epoch && kept.key == key) {
            return kept.response.clone();
        }
        let response = make();
        let small = matches!(&response.body, Body::Bytes(bytes) if bytes.len() <= BYTES_MAX);
        if response.etag.is_some() && response.epoch == Some(epoch) && small {
            let mut kept = self.lock();
            kept.push_back(Kept { epoch, key: key.to_owned(), response: response.clone() });
            if kept.len() > ANSWERS_MAX {
                kept.pop_front();
            }
        }
        response
    }
}
