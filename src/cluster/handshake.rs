//! The first words on a connection between two processes, by which each proves that it knows the secret.
//!
//! ```text
//!  acceptor -> connector   greeting: magic, protocol, 32 random bytes
//!  connector -> acceptor   introduction (who, to whom, what for, 32 random bytes), proof
//!  acceptor -> connector   verdict, proof
//!  connector -> acceptor   settings, proof
//!  acceptor -> connector   verdict, proof
//! ```
//!
//! A proof is HMAC-SHA256 by the secret over its own label and every word before it, so that none can be used a second
//! time, in another place or by the other side. Nothing is believed before its proof: whoever does not know the secret
//! can make a handshake fail, and nothing else. What follows the handshake is neither encrypted nor proved.

use std::io::{self, ErrorKind};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Agreement, ClusterSettings, frame};

/// How long one handshake may take.
pub const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);

/// Raised when what processes say to each other changes.
const PROTOCOL: u16 = 2;

const MAGIC: &[u8; 8] = b"TILLFLOW";

/// The longest message of a stranger, in bytes.
const STRANGERS_MOST: usize = 4 << 10;

/// The longest message of somebody who has proved to know the secret.
const FRIENDS_MOST: usize = 1 << 20;

const PROOF: usize = 32;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Purpose {
    /// The dataflow's.
    Data,
    /// Everything else.
    Control,
}

/// Who connects, to whom, and what for.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Introduction {
    version: String,
    from: usize,
    to: usize,
    purpose: Purpose,
    /// A digest of all addresses: which cluster is meant.
    cluster: String,
    random: [u8; 32],
}

#[derive(Debug, Serialize, Deserialize)]
enum Verdict {
    Accepted,
    /// And why, in a line.
    Refused(String),
}

/// How a handshake ended that did not end well.
#[derive(Debug)]
pub enum Failure {
    /// The other side broke off, was silent, said what nobody understands, or does not know the secret. It may have
    /// been a stranger, or a process that was just starting: worth another try.
    Again(String),
    /// Another process of this cluster has other settings. Trying again does not help.
    Different(String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Again(match error.kind() {
            ErrorKind::TimedOut => String::from("it said nothing for too long"),
            // What a process does to one that does not know its secret.
            ErrorKind::UnexpectedEof => String::from("it broke off: do both have the same secret?"),
            _ => error.to_string(),
        })
    }
}

fn unreadable(what: &str) -> Failure {
    Failure::Again(format!("its {what} cannot be understood: is it a tillflow of this version?"))
}

/// What both sides have said so far, under the secret.
struct Transcript {
    mac: Hmac<Sha256>,
}

impl Transcript {
    fn new(settings: &ClusterSettings) -> Transcript {
        let key = settings.secret.as_ref().map_or(&[][..], |secret| &secret.0);
        // HMAC takes keys of any length.
        let mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("a key of any length");
        Transcript { mac }
    }

    /// Lengths keep words apart that would otherwise run into each other.
    fn say(&mut self, label: &str, words: &[u8]) {
        for part in [label.as_bytes(), words] {
            self.mac.update(&(part.len() as u64).to_be_bytes());
            self.mac.update(part);
        }
    }

    fn send(&mut self, stream: &mut TcpStream, label: &str, words: &impl Serialize) -> Result<(), Failure> {
        let words = serde_json::to_vec(words).map_err(io::Error::from)?;
        self.say(label, &words);
        let proof = self.mac.clone().finalize().into_bytes();
        frame::write(stream, &[&words, &proof[..]].concat())?;
        Ok(())
    }

    fn receive<T: for<'de> Deserialize<'de>>(
        &mut self,
        stream: &mut TcpStream,
        label: &str,
        most: usize,
        deadline: Instant,
    ) -> Result<T, Failure> {
        let words = frame::read(stream, most, deadline)?;
        let (words, proof) = words.split_last_chunk::<PROOF>().ok_or_else(|| unreadable(label))?;
        self.say(label, words);
        // Compares in constant time.
        if self.mac.clone().verify_slice(proof).is_err() {
            return Err(Failure::Again(String::from("it does not know the secret")));
        }
        serde_json::from_slice(words).map_err(|_| unreadable(label))
    }
}

/// The digest that stands for a cluster: every address, in order.
fn cluster_id(settings: &ClusterSettings) -> String {
    let mut digest = Sha256::new();
    for host in &settings.hosts {
        digest.update(host.to_string());
        digest.update("\n");
    }
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The connecting side, to process `to`.
pub fn connect(
    stream: &mut TcpStream,
    settings: &ClusterSettings,
    agreement: &Agreement,
    to: usize,
    purpose: Purpose,
) -> Result<(), Failure> {
    let deadline = Instant::now() + HANDSHAKE_WITHIN;
    stream.set_write_timeout(Some(HANDSHAKE_WITHIN))?;
    let mut greeting = [0; 42];
    frame::read_exact(stream, &mut greeting, deadline)?;
    if !greeting.starts_with(MAGIC) {
        return Err(Failure::Again(String::from("what listens there is no tillflow")));
    }
    if greeting[8..10] != PROTOCOL.to_be_bytes() {
        return Err(Failure::Again(String::from("it is another version of tillflow: run the same everywhere")));
    }
    let mut said = Transcript::new(settings);
    said.say("greeting", &greeting);
    let introduction = Introduction {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        from: settings.process,
        to,
        purpose,
        cluster: cluster_id(settings),
        random: rand::random(),
    };
    said.send(stream, "introduction", &introduction)?;
    heed(said.receive(stream, "first verdict", STRANGERS_MOST, deadline)?)?;
    said.send(stream, "settings", agreement)?;
    heed(said.receive(stream, "second verdict", FRIENDS_MOST, deadline)?)?;
    done(stream)
}

fn heed(verdict: Verdict) -> Result<(), Failure> {
    match verdict {
        Verdict::Accepted => Ok(()),
        Verdict::Refused(why) => Err(Failure::Different(why)),
    }
}

/// The accepting side: who connected, and what for.
pub fn accept(
    stream: &mut TcpStream,
    settings: &ClusterSettings,
    agreement: &Agreement,
) -> Result<(usize, Purpose), Failure> {
    let deadline = Instant::now() + HANDSHAKE_WITHIN;
    stream.set_write_timeout(Some(HANDSHAKE_WITHIN))?;
    let random: [u8; 32] = rand::random();
    let greeting = [&MAGIC[..], &PROTOCOL.to_be_bytes(), &random].concat();
    io::Write::write_all(stream, &greeting)?;
    let mut said = Transcript::new(settings);
    said.say("greeting", &greeting);
    let guest: Introduction = said.receive(stream, "introduction", STRANGERS_MOST, deadline)?;
    if let Some(why) = unwelcome(&guest, settings) {
        said.send(stream, "first verdict", &Verdict::Refused(why.clone()))?;
        // Not an end of ours: without a secret anybody on this machine can say this.
        return Err(Failure::Again(why));
    }
    said.send(stream, "first verdict", &Verdict::Accepted)?;
    let theirs: Agreement = said.receive(stream, "settings", FRIENDS_MOST, deadline)?;
    let differences = differences(settings.process, agreement, guest.from, &theirs);
    if !differences.is_empty() {
        let why = format!("the processes of a cluster need the same settings: {}", differences.join("; "));
        said.send(stream, "second verdict", &Verdict::Refused(why.clone()))?;
        return Err(Failure::Different(why));
    }
    said.send(stream, "second verdict", &Verdict::Accepted)?;
    done(stream)?;
    Ok((guest.from, guest.purpose))
}

/// Why this guest is not one that is waited for.
fn unwelcome(guest: &Introduction, settings: &ClusterSettings) -> Option<String> {
    let (me, processes) = (settings.process, settings.hosts.len());
    if guest.version != env!("CARGO_PKG_VERSION") {
        let (theirs, ours) = (&guest.version, env!("CARGO_PKG_VERSION"));
        Some(format!("process {} runs tillflow {theirs}, process {me} {ours}: run the same everywhere", guest.from))
    } else if guest.cluster != cluster_id(settings) {
        let text = "processes have other --hosts than process";
        Some(format!("{text} {me}: give every process of a cluster the same file and --processes"))
    } else if guest.to != me {
        Some(format!("process {} was looked for where process {me} listens: check --process and --hosts", guest.to))
    } else if guest.from <= me || guest.from >= processes {
        let from = guest.from;
        Some(format!("process {from} connected to process {me} of {processes}: is one number given to two processes?"))
    } else {
        None
    }
}

/// The settings of which two processes have different values.
fn differences(me: usize, ours: &Agreement, guest: usize, theirs: &Agreement) -> Vec<String> {
    let value = |settings: &Agreement, flag: &str| {
        let found = settings.iter().find(|(known, _)| known == flag);
        found.map_or_else(|| String::from("none"), |(_, value)| value.clone())
    };
    let mut flags: Vec<&str> = ours.iter().map(|(flag, _)| flag.as_str()).collect();
    flags.extend(theirs.iter().map(|(flag, _)| flag.as_str()).filter(|flag| !ours.iter().any(|(it, _)| it == flag)));
    let differ = |flag: &str| {
        let (ours, theirs) = (value(ours, flag), value(theirs, flag));
        (ours != theirs).then(|| format!("{flag}: process {me} has {ours}, process {guest} {theirs}"))
    };
    flags.into_iter().filter_map(differ).collect()
}

/// Leaves no time limit of the handshake on the connection.
fn done(stream: &TcpStream) -> Result<(), Failure> {
    stream.set_read_timeout(None)?;
    stream.set_write_timeout(None)?;
    Ok(())
}

#[cfg(test)]
mod tests;
