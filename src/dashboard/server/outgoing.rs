//! An answer on its way: given to the client as fast as that one takes it, but not slower than is fair.

use std::io::{ErrorKind, Write};
use std::time::{Duration, Instant};

/// A client must take some of its answer this often...
const STALL_LIMIT: Duration = Duration::from_secs(5);
/// ...and all of it at this rate or faster, in bytes per second.
const RATE: u64 = 64 * 1024;

/// The bytes and how many of them the client has.
pub(super) struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
    stalled_at: Instant,
    over_at: Instant,
}

/// How far an answer has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sending {
    /// The client has not taken all of it yet.
    Going,
    /// It is with the client, or with the system on its way there.
    Done,
    /// The client is gone or too slow.
    Failed,
}

impl Outgoing {
    pub(super) fn new(bytes: Vec<u8>, now: Instant) -> Outgoing {
        let over_at = now + STALL_LIMIT + Duration::from_secs(bytes.len() as u64 / RATE);
        Outgoing { bytes, sent: 0, stalled_at: now + STALL_LIMIT, over_at }
    }

    /// Bytes that are kept for it.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// When the client has been too slow.
    pub(super) fn deadline(&self) -> Instant {
        self.stalled_at.min(self.over_at)
    }

    /// Sends what `socket` takes.
    pub(super) fn advance(&mut self, socket: &mut impl Write, now: Instant) -> Sending {
        while self.sent < self.bytes.len() {
            match socket.write(&self.bytes[self.sent..]) {
                Ok(0) => return Sending::Failed,
                Ok(count) => {
                    self.sent += count;
                    self.stalled_at = now + STALL_LIMIT;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return if now >= self.deadline() { Sending::Failed } else { Sending::Going };
                }
                Err(_) => return Sending::Failed,
            }
        }
        Sending::Done
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    /// A socket that takes `room` bytes and then would block.
    struct Client {
        taken: usize,
        room: usize,
    }

    impl Write for Client {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = bytes.len().min(self.room);
            if count == 0 {
                return Err(ErrorKind::WouldBlock.into());
            }
            self.room -= count;
            self.taken += count;
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    const LENGTH: usize = 16 * 1024 * 1024;

    /// How long a client is served, and how much it gets, that takes `piece` bytes every `pause`.
    fn serve(piece: usize, pause: Duration) -> (Sending, Duration, usize) {
        let start = Instant::now();
        let mut now = start;
        let mut client = Client { taken: 0, room: 0 };
        let mut answer = Outgoing::new(vec![0; LENGTH], start);
        loop {
            client.room = piece;
            match answer.advance(&mut client, now) {
                Sending::Going => now += pause,
                end => return (end, now - start, client.taken),
            }
        }
    }

    #[test]
    fn a_reader_that_keeps_the_rate_gets_everything() {
        let (end, _, taken) = serve(128 * 1024, Duration::from_secs(1));
        assert_eq!((end, taken), (Sending::Done, LENGTH));
        assert_eq!(serve(LENGTH, Duration::from_secs(1)).0, Sending::Done);
    }

    #[test]
    fn a_reader_that_stops_is_cut_off_after_five_seconds() {
        let (end, took, taken) = serve(0, Duration::from_millis(100));
        assert_eq!((end, took, taken), (Sending::Failed, STALL_LIMIT, 0));
    }

    #[test]
    fn a_reader_that_drips_is_cut_off_by_its_rate() {
        let start = Instant::now();
        let allowed = Outgoing::new(vec![0; LENGTH], start).over_at - start;
        assert_eq!(allowed, Duration::from_secs(5 + 256));
        let mut client = Client { taken: 0, room: 0 };
        let mut answer = Outgoing::new(vec![0; LENGTH], start);
        for second in 0..allowed.as_secs() {
            client.room = 1;
            assert_eq!(answer.advance(&mut client, start + Duration::from_secs(second)), Sending::Going);
        }
        assert_eq!(answer.advance(&mut client, start + allowed), Sending::Failed);
    }
}
