//! One open event stream: at most one message on its way at a time, so a slow reader costs nothing.

use std::io::{self, ErrorKind, Write};
use std::time::{Duration, Instant};

/// Streams that may be open at once; one more is told to poll instead.
pub(super) const STREAM_LIMIT: usize = 64;
/// A quiet stream gets a comment this often: that is how proxies keep it and a dead client is noticed.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// A client that takes nothing for this long is dropped.
const STALL_LIMIT: Duration = Duration::from_secs(5);
/// After which time a browser asks again, in milliseconds.
const RETRY_MS: u32 = 2000;

/// The stream is over: the client is gone or too slow.
#[derive(Debug)]
pub(super) struct Gone;

/// What one client was told and what it still has to take.
#[derive(Debug)]
pub(super) struct Stream {
    pending: Vec<u8>,
    sent: usize,
    told: u64,
    stalled_since: Option<Instant>,
    next_heartbeat: Instant,
}

impl Stream {
    /// A stream that begins with `head` and with the epoch of this moment.
    pub(super) fn open(head: Vec<u8>, epoch: u64, now: Instant) -> Stream {
        let mut pending = head;
        pending.extend_from_slice(format!("retry: {RETRY_MS}\n\n").as_bytes());
        push_event(&mut pending, epoch);
        Stream { pending, sent: 0, told: epoch, stalled_since: None, next_heartbeat: now + HEARTBEAT }
    }

    /// Sends what is due, as far as `socket` takes it. Epochs that pass while the client is slow are left out:
    /// the next message tells the last one.
    pub(super) fn advance(&mut self, socket: &mut impl Write, epoch: u64, now: Instant) -> Result<(), Gone> {
        loop {
            while self.sent < self.pending.len() {
                match socket.write(&self.pending[self.sent..]) {
                    Ok(0) => return Err(Gone),
                    Ok(count) => {
                        self.sent += count;
                        self.stalled_since = None;
                        self.next_heartbeat = now + HEARTBEAT;
                    }
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        let since = *self.stalled_since.get_or_insert(now);
                        return if now.duration_since(since) >= STALL_LIMIT { Err(Gone) } else { Ok(()) };
                    }
                    Err(_) => return Err(Gone),
                }
            }
            self.pending.clear();
            self.sent = 0;
            if epoch > self.told {
                self.told = epoch;
                push_event(&mut self.pending, epoch);
            } else if now >= self.next_heartbeat {
                self.pending.extend_from_slice(b": hb\n\n");
            } else {
                return Ok(());
            }
        }
    }

    /// Whether `epoch` is news that could be sent now.
    pub(super) fn wants(&self, epoch: u64) -> bool {
        epoch > self.told && self.stalled_since.is_none()
    }

    /// When there is something to do even if nothing happens.
    pub(super) fn next_deadline(&self) -> Instant {
        match self.stalled_since {
            Some(since) => since + STALL_LIMIT,
            None => self.next_heartbeat,
        }
    }
}

fn push_event(out: &mut Vec<u8>, epoch: u64) {
    // Writing to a vector cannot fail.
    let _: io::Result<()> = write!(out, "id: {epoch}\nevent: epoch\ndata: {{\"epoch\":{epoch}}}\n\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A socket that takes `room` bytes and then would block.
    #[derive(Default)]
    struct Client {
        taken: Vec<u8>,
        room: usize,
    }

    impl Write for Client {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = bytes.len().min(self.room);
            if count == 0 {
                return Err(ErrorKind::WouldBlock.into());
            }
            self.room -= count;
            self.taken.extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn event(epoch: u64) -> String {
        format!("id: {epoch}\nevent: epoch\ndata: {{\"epoch\":{epoch}}}\n\n")
    }

    #[test]
    fn tells_the_epoch_at_once_then_each_new_one_and_a_heartbeat() {
        let start = Instant::now();
        let mut client = Client { room: usize::MAX, ..Client::default() };
        let mut stream = Stream::open(b"head\r\n\r\n".to_vec(), 3, start);
        stream.advance(&mut client, 3, start).unwrap();
        stream.advance(&mut client, 4, start + Duration::from_secs(1)).unwrap();
        stream.advance(&mut client, 4, start + Duration::from_secs(15)).unwrap();
        stream.advance(&mut client, 4, start + Duration::from_secs(16)).unwrap();
        stream.advance(&mut client, 4, start + Duration::from_secs(17)).unwrap();
        let expected = format!("head\r\n\r\nretry: 2000\n\n{}{}: hb\n\n", event(3), event(4));
        assert_eq!(String::from_utf8(client.taken).unwrap(), expected);
    }

    #[test]
    fn an_older_epoch_is_never_told_after_a_newer_one() {
        let now = Instant::now();
        let mut client = Client { room: usize::MAX, ..Client::default() };
        let mut stream = Stream::open(Vec::new(), 9, now);
        assert!(!stream.wants(8) && stream.wants(10));
        stream.advance(&mut client, 8, now).unwrap();
        assert_eq!(String::from_utf8(client.taken).unwrap(), format!("retry: 2000\n\n{}", event(9)));
    }

    #[test]
    fn a_slow_client_skips_epochs_and_is_dropped_in_the_end() {
        let start = Instant::now();
        let mut client = Client { room: 20, ..Client::default() };
        let mut stream = Stream::open(Vec::new(), 1, start);
        for epoch in 1..100 {
            stream.advance(&mut client, epoch, start + Duration::from_millis(epoch * 10)).unwrap();
        }
        assert!(stream.pending.len() < 100, "epochs must not pile up");
        client.room = usize::MAX;
        stream.advance(&mut client, 100, start + Duration::from_secs(2)).unwrap();
        assert_eq!(
            String::from_utf8(client.taken.clone()).unwrap(),
            format!("retry: 2000\n\n{}{}", event(1), event(100))
        );

        client.room = 0;
        stream.advance(&mut client, 101, start + Duration::from_secs(3)).unwrap();
        assert_eq!(stream.next_deadline(), start + Duration::from_secs(8));
        assert!(!stream.wants(102), "it has not taken the one before yet");
        stream.advance(&mut client, 101, start + Duration::from_secs(7)).unwrap();
        assert!(stream.advance(&mut client, 101, start + Duration::from_secs(8)).is_err());
    }
}
