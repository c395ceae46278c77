//! The connections on which processes tell each other what is not data, and notice that one is gone.
//!
//! Each side says something at least every second. One that is silent for [`SILENT`] is lost, as is one whose
//! connection ends without a goodbye: it was killed, stopped, or cannot be reached.

use std::io::{self, ErrorKind};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};

use super::frame;

/// How often each side is heard.
const BEAT: Duration = Duration::from_secs(1);

/// After so long without a word a process counts as lost.
pub const SILENT: Duration = Duration::from_secs(12);

/// How long a word may take to be sent. A few seconds of words fit into what lies between two processes.
const SEND_WITHIN: Duration = Duration::from_secs(5);

/// The longest word in bytes.
const LONGEST: usize = 64 << 20;

const WORD: u8 = 1;
const HEARTBEAT: u8 = 2;
const GOODBYE: u8 = 3;

/// What is done when a process is lost: which one, and how that showed.
pub type Lost = Arc<dyn Fn(usize, &str) + Send + Sync>;

/// The connections to all other processes.
pub struct Links {
    shared: Arc<Shared>,
    words: Receiver<(usize, Vec<u8>)>,
}

struct Shared {
    /// By process; none for this one.
    streams: Vec<Option<Mutex<TcpStream>>>,
    /// By process: it has said goodbye.
    left: Vec<AtomicBool>,
    closing: AtomicBool,
    lost: Lost,
}

impl Links {
    /// Begins to listen and to be heard on connections, by process. `lost` is called when a process is lost.
    pub fn start(connections: Vec<Option<TcpStream>>, lost: Lost) -> io::Result<Links> {
        let (sender, words) = crossbeam_channel::unbounded();
        let mut listening = Vec::new();
        for (process, stream) in connections.iter().enumerate() {
            if let Some(stream) = stream {
                stream.set_write_timeout(Some(SEND_WITHIN))?;
                listening.push((process, stream.try_clone()?));
            }
        }
        let left = connections.iter().map(|_| AtomicBool::new(false)).collect();
        let streams = connections.into_iter().map(|stream| stream.map(Mutex::new)).collect();
        let shared = Arc::new(Shared { streams, left, closing: AtomicBool::new(false), lost });
        for (process, stream) in listening {
            let (shared, sender) = (Arc::clone(&shared), sender.clone());
            let listen = move || shared.listen(process, stream, &sender);
            std::thread::Builder::new().name(format!("tillflow-cluster-{process}")).spawn(listen)?;
        }
        let beating = Arc::downgrade(&shared);
        let beat = move || {
            while let Some(shared) = beating.upgrade() {
                if shared.closing.load(Ordering::SeqCst) {
                    return;
                }
                shared.tell_all(&[HEARTBEAT]);
                drop(shared);
                std::thread::sleep(BEAT);
            }
        };
        std::thread::Builder::new().name(String::from("tillflow-cluster-beat")).spawn(beat)?;
        Ok(Links { shared, words })
    }

    /// What the others have told, in the order in which each told it.
    pub fn words(&self) -> &Receiver<(usize, Vec<u8>)> {
        &self.words
    }

    /// Tells one process. One that cannot be told is lost.
    pub fn tell(&self, process: usize, word: &[u8]) {
        self.shared.tell(process, &[&[WORD], word].concat());
    }

    /// Tells every other process.
    pub fn tell_all(&self, word: &[u8]) {
        self.shared.tell_all(&[&[WORD], word].concat());
    }

    /// Says goodbye: from here on this process's end, and that of the others, is expected.
    pub fn close(&self) {
        self.shared.closing.store(true, Ordering::SeqCst);
        self.shared.tell_all(&[GOODBYE]);
    }
}

impl Shared {
    fn tell_all(&self, frame: &[u8]) {
        for process in 0..self.streams.len() {
            self.tell(process, frame);
        }
    }

    fn tell(&self, process: usize, frame: &[u8]) {
        let Some(stream) = &self.streams[process] else { return };
        let mut stream = stream.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = frame::write(&mut *stream, frame) {
            // Half a frame may be on its way: nothing can follow it.
            let _ = stream.shutdown(Shutdown::Both);
            drop(stream);
            self.lose(process, &how(&error));
        }
    }

    /// Hands words over until the other side says goodbye or is lost.
    fn listen(&self, process: usize, mut stream: TcpStream, words: &Sender<(usize, Vec<u8>)>) {
        loop {
            match frame::read(&mut stream, LONGEST, Instant::now() + SILENT) {
                Ok(frame) => match frame.split_first() {
                    Some((&WORD, word)) => {
                        // Nobody listens any more: this process is ending.
                        let _ = words.send((process, word.to_vec()));
                    }
                    Some((&HEARTBEAT, [])) => {}
                    Some((&GOODBYE, [])) => return self.left[process].store(true, Ordering::SeqCst),
                    _ => return self.lose(process, "it said what nobody understands"),
                },
                Err(error) => return self.lose(process, &how(&error)),
            }
        }
    }

    fn lose(&self, process: usize, how: &str) {
        if !self.closing.load(Ordering::SeqCst) && !self.left[process].load(Ordering::SeqCst) {
            (self.lost)(process, how);
        }
    }
}

fn how(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::TimedOut | ErrorKind::WouldBlock => {
            format!("it was silent for {} s", SILENT.as_secs())
        }
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::NotConnected => {
            String::from("its connection closed")
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::TcpListener;

    use super::*;

    /// A process with one link, what it says is lost, and the other end of the link.
    fn linked() -> (Links, Receiver<String>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let near = TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection");
        let (far, _) = listener.accept().expect("a connection");
        let (sender, lost) = crossbeam_channel::unbounded();
        let tell = move |process: usize, how: &str| sender.send(format!("{process}: {how}")).expect("a listener");
        (Links::start(vec![None, Some(near)], Arc::new(tell)).expect("links"), lost, far)
    }

    #[test]
    fn words_arrive_in_order_and_beats_are_heard() {
        let (links, lost, mut far) = linked();
        for word in [&b"one"[..], b"", b"three"] {
            frame::write(&mut far, &[&[WORD], word].concat()).expect("sent");
            frame::write(&mut far, &[HEARTBEAT]).expect("sent");
        }
        let heard: Vec<_> = (0..3).map(|_| links.words().recv_timeout(BEAT * 5).expect("a word")).collect();
        assert_eq!(heard, [(1, b"one".to_vec()), (1, Vec::new()), (1, b"three".to_vec())]);
        links.tell(1, b"four");
        let mut said = Vec::new();
        while said.iter().filter(|frame: &&Vec<u8>| **frame == [HEARTBEAT]).count() < 3 {
            said.push(frame::read(&mut far, 100, Instant::now() + BEAT * 3).expect("a beat"));
        }
        assert!(said.contains(&[&[WORD], &b"four"[..]].concat()));
        assert!(lost.is_empty());
    }

    #[test]
    fn a_connection_that_closes_without_a_goodbye_is_a_loss() {
        let (_links, lost, far) = linked();
        drop(far);
        assert_eq!(lost.recv_timeout(BEAT * 3).expect("a loss"), "1: its connection closed");
    }

    #[test]
    fn a_goodbye_is_none() {
        let (links, lost, mut far) = linked();
        frame::write(&mut far, &[GOODBYE]).expect("sent");
        drop(far);
        // Long enough for several heartbeats that nobody takes.
        assert!(lost.recv_timeout(BEAT * 3).is_err());
        drop(links);
        let (links, lost, mut far) = linked();
        links.close();
        while frame::read(&mut far, 100, Instant::now() + BEAT * 3).expect("a word") != [GOODBYE] {}
        drop(far);
        assert!(lost.recv_timeout(BEAT * 3).is_err());
    }

    #[test]
    fn silence_is_a_loss() {
        let (_links, lost, _far) = linked();
        let begun = Instant::now();
        assert_eq!(
            lost.recv_timeout(SILENT * 2).expect("a loss"),
            format!("1: it was silent for {} s", SILENT.as_secs())
        );
        assert!(begun.elapsed() >= SILENT);
    }

    #[test]
    fn garbage_and_absurd_lengths_are_a_loss() {
        for bytes in [(1u64 << 62).to_be_bytes().to_vec(), [&1u64.to_be_bytes()[..], &[77]].concat()] {
            let (_links, lost, mut far) = linked();
            far.write_all(&bytes).expect("sent");
            lost.recv_timeout(BEAT * 3).expect("a loss");
        }
    }
}
