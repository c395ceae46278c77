//! Several processes that work as one: who they are, how they find and trust each other, and when one counts as lost.
//!
//! Every pair of processes has two connections: one for the data of the dataflow, which timely reads and writes, and a
//! [`links::Links`] one for everything else, on which each side is heard at least once a second. Both begin with the
//! same [`handshake`]. Once all are there nobody listens any more, so nobody can join a cluster that runs: a process
//! that is lost ends all the others, and a supervisor starts them together.

pub mod connect;
pub mod fate;
mod frame;
pub mod handshake;
pub mod hosts;
pub mod links;

use std::net::TcpStream;
use std::sync::Arc;

use self::hosts::Host;
use self::links::Links;

/// A setting that must be the same in every process: its flag, and its value as messages show it.
pub type Agreement = Vec<(String, String)>;

/// Which process this is, and of which cluster.
#[derive(Clone, Debug)]
pub struct ClusterSettings {
    /// This process; its line in `hosts`.
    pub process: usize,
    /// Where each process listens during the start. At least two.
    pub hosts: Vec<Host>,
    /// What proves that a process belongs to the cluster; none only between processes of one machine.
    pub secret: Option<Secret>,
}

/// The shared secret. Its bytes are in no message and in no `Debug` output.
#[derive(Clone)]
pub struct Secret(Vec<u8>);

/// The shortest secret in bytes: whoever listens in can try short ones out at leisure.
pub const SHORTEST_SECRET: usize = 16;

impl Secret {
    /// A secret of this text, white space around it left out.
    pub fn new(text: &str) -> Result<Secret, ClusterError> {
        let text = text.trim();
        if text.len() < SHORTEST_SECRET {
            return Err(ClusterError::Settings(format!(
                "the cluster's secret is shorter than {SHORTEST_SECRET} bytes: make a long random one, for example with \
                 `openssl rand -hex 32`, and give it to every process"
            )));
        }
        Ok(Secret(text.as_bytes().to_vec()))
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

/// Why processes did not become a cluster.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// A setting is wrong, or differs between processes (exit code 2).
    #[error("{0}")]
    Settings(String),
    /// A process did not come, or an address cannot be used (exit code 3).
    #[error("{0}")]
    Unavailable(String),
}

/// The connections of one process to all others.
pub struct Cluster {
    /// This process.
    pub process: usize,
    /// How many there are.
    pub processes: usize,
    /// By process, for timely; none for this one.
    pub data: Vec<Option<TcpStream>>,
    /// For everything else.
    pub links: Links,
}

impl Cluster {
    /// Connects this process with all others.
    ///
    /// # Errors
    /// [`ClusterError::Settings`] when another process has other settings, [`ClusterError::Unavailable`] when one has
    /// not come within [`connect::START_WITHIN`], or this one's address cannot be used.
    pub fn form(settings: &ClusterSettings, agreement: &Agreement) -> Result<Cluster, ClusterError> {
        let connections = connect::connect(settings, agreement, connect::START_WITHIN)?;
        let refused =
            |error: std::io::Error| ClusterError::Unavailable(format!("using the cluster's sockets: {error}"));
        Ok(Cluster {
            process: settings.process,
            processes: settings.hosts.len(),
            data: connections.data,
            links: Links::start(connections.control, Arc::new(fate::lost)).map_err(refused)?,
        })
    }
}
