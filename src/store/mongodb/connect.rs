//! A connection: options, the runtime that the driver works on, and waiting for it.

use std::future::Future;
use std::time::{Duration, Instant};

use ::mongodb::bson::doc;
use ::mongodb::options::{ClientOptions, ReadConcern, ReadPreference, SelectionCriteria, WriteConcern};
use ::mongodb::{Client, Database};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

use super::fault::Fault;
use crate::store::retry::Backoff;
use crate::store::{Report, StoreAddress, StoreError, StoreOptions};

/// How long the driver looks for a usable server before an attempt counts as failed.
const SELECTION_TIMEOUT: Duration = Duration::from_secs(5);
/// How long opening may take in all.
const OPEN_TIMEOUT: Duration = Duration::from_secs(15);
/// After so long without an answer the silence is reported, again and again.
const SILENCE: Duration = Duration::from_secs(5);
/// Pieces of a stream that wait for whoever takes them; with more the server waits.
const STREAMED: usize = 2;
/// How long a dropped connection waits for its sessions to be ended on the server.
const FAREWELL: Duration = Duration::from_millis(500);

/// The whole deployment's promise for what is acknowledged: it survives an election and the loss of power.
pub(super) fn durable() -> WriteConcern {
    WriteConcern::builder().w(Some(::mongodb::options::Acknowledgment::Majority)).journal(Some(true)).build()
}

pub(super) struct Connection {
    /// Absent only while it is dropped.
    runtime: Option<Runtime>,
    pub(super) client: Client,
    pub(super) database: Database,
    /// The address as it may be shown.
    pub(super) shown: String,
    /// Whether commits are transactions; guarded writes otherwise.
    pub(super) transactions: bool,
    timeout: Duration,
    report: Report,
    /// Why nothing more is tried: a piece of work never answered and may still have its effect.
    abandoned: Option<String>,
}

impl Connection {
    pub(super) fn open(address: &StoreAddress, settings: &StoreOptions) -> Result<Connection, StoreError> {
        let shown = address.to_string();
        let StoreAddress::MongoDb { uri, database } = address else {
            return Err(StoreError::Unavailable(format!("{shown} is no MongoDB store")));
        };
        let attempted = "connect to MongoDB at";
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("tillflow-mongodb")
            .enable_all()
            .build()
            .map_err(|error| StoreError::Unavailable(format!("cannot start a thread for {shown}: {error}")))?;
        let (uri, name) = (uri.clone(), database.clone());
        let connecting = runtime.spawn(async move {
            let client = Client::with_options(options(&uri).await?)?;
            let hello = client.database(&name).run_command(doc! { "hello": 1 }).await?;
            let transactions = hello.contains_key("setName") || hello.get_str("msg").is_ok_and(|msg| msg == "isdbgrid");
            Ok::<_, ::mongodb::error::Error>((client.database(&name), client, transactions))
        });
        let connected = runtime.block_on(async { tokio::time::timeout(OPEN_TIMEOUT, connecting).await });
        let opened = match connected {
            Ok(Ok(Ok(opened))) => Ok(opened),
            Ok(Ok(Err(error))) => Err(Fault::from(error).into_error(attempted, &shown)),
            Ok(Err(_)) => Err(StoreError::Unavailable(format!("cannot {attempted} {shown}: the driver gave up"))),
            Err(_) => Err(StoreError::Unavailable(format!(
                "cannot {attempted} {shown}: no answer within {} s; check that it runs",
                OPEN_TIMEOUT.as_secs()
            ))),
        };
        let (database, client, transactions) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                runtime.shutdown_background();
                return Err(error);
            }
        };
        Ok(Connection {
            runtime: Some(runtime),
            client,
            database,
            shown,
            transactions: transactions && !settings.guarded_writes,
            timeout: settings.timeout,
            report: settings.report.clone(),
            abandoned: None,
        })
    }

    /// Whether this connection is of no use any more.
    pub(super) fn is_abandoned(&self) -> bool {
        self.abandoned.is_some()
    }

    /// What work runs on, while this connection is of use.
    fn runtime(&self) -> Result<&Runtime, StoreError> {
        if let Some(why) = &self.abandoned {
            return Err(StoreError::Unavailable(why.clone()));
        }
        let closed = || StoreError::Unavailable(format!("the connection to {} is closed", self.shown));
        self.runtime.as_ref().ok_or_else(closed)
    }

    pub(super) fn backoff(&self) -> Backoff {
        Backoff::new(self.timeout, self.report.clone())
    }

    /// Runs `work` to its end on the runtime, for as long as `backoff` has left, but at least [`SILENCE`]. Work that
    /// does not answer is never dropped; it is left alone, and this connection is used no more.
    pub(super) fn run<T: Send + 'static>(
        &mut self,
        attempted: &str,
        backoff: &mut Backoff,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let runtime = self.runtime()?;
        let mut working = runtime.spawn(work);
        let begun = Instant::now();
        let limit = backoff.left().max(SILENCE);
        let why = loop {
            let patience = SILENCE.min(limit.saturating_sub(begun.elapsed()));
            match runtime.block_on(async { tokio::time::timeout(patience, &mut working).await }) {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(_)) => break format!("cannot {attempted} {}: the driver gave up; see the log", self.shown),
                Err(_) => {
                    let waited = begun.elapsed();
                    let silent = format!("cannot {attempted} {}: no answer for {} s", self.shown, waited.as_secs());
                    if waited >= limit {
                        break format!("{silent}; check the server and the network");
                    }
                    backoff.report(&silent);
                }
            }
        };
        self.abandoned = Some(why.clone());
        Err(StoreError::Unavailable(why))
    }

    /// Runs what `work` makes, once, and gives what it sends as it comes. Between two pieces it may be silent for as
    /// long as the time limit; after that it is left alone, and this connection is used no more.
    pub(super) fn stream<Item: Send + 'static, T: Send + 'static, W>(
        &mut self,
        attempted: &str,
        work: impl FnOnce(&Connection, mpsc::Sender<Item>) -> W,
        mut give: impl FnMut(Item),
    ) -> Result<Result<T, Fault>, StoreError>
    where
        W: Future<Output = Result<T, Fault>> + Send + 'static,
    {
        let runtime = self.runtime()?;
        let (sender, mut receiver) = mpsc::channel(STREAMED);
        let working = runtime.spawn(work(self, sender));
        let limit = self.timeout.max(SILENCE);
        let why = loop {
            match runtime.block_on(async { tokio::time::timeout(limit, receiver.recv()).await }) {
                Ok(Some(item)) => give(item),
                // The sender is gone with the work.
                Ok(None) => match runtime.block_on(async { tokio::time::timeout(limit, working).await }) {
                    Ok(Ok(answer)) => return Ok(answer),
                    Ok(Err(_)) => break format!("cannot {attempted} {}: the driver gave up; see the log", self.shown),
                    Err(_) => break format!("cannot {attempted} {}: no answer for {} s", self.shown, limit.as_secs()),
                },
                Err(_) => {
                    break format!(
                        "cannot {attempted} {}: no answer for {} s; check the server and the network",
                        self.shown,
                        limit.as_secs()
                    );
                }
            }
        };
        self.abandoned = Some(why.clone());
        Err(StoreError::Unavailable(why))
    }

    /// Runs what `work` makes until it succeeds, fails for good, or the time limit is over.
    pub(super) fn retry<T: Send + 'static, W: Future<Output = Result<T, Fault>> + Send + 'static>(
        &mut self,
        attempted: &str,
        backoff: &mut Backoff,
        work: impl Fn(&Connection) -> W,
    ) -> Result<T, StoreError> {
        loop {
            let next = work(self);
            match self.run(attempted, backoff, next)? {
                Ok(answer) => {
                    backoff.succeeded();
                    return Ok(answer);
                }
                Err(fault) => self.again(attempted, backoff, fault)?,
            }
        }
    }

    /// Waits before the next attempt, if there is to be one after `fault`.
    pub(super) fn again(&self, attempted: &str, backoff: &mut Backoff, fault: Fault) -> Result<(), StoreError> {
        let transient = fault.transient();
        let error = fault.into_error(attempted, &self.shown);
        if transient && backoff.wait(&error.to_string()) { Ok(()) } else { Err(error) }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let Some(runtime) = self.runtime.take() else { return };
        if self.abandoned.is_none() {
            let farewell = runtime.spawn(self.client.clone().shutdown().into_future());
            let _ = runtime.block_on(async { tokio::time::timeout(FAREWELL, farewell).await });
        }
        runtime.shutdown_background();
    }
}

/// The URI's options, with those that the protocol depends on set whatever it says.
async fn options(uri: &str) -> Result<ClientOptions, ::mongodb::error::Error> {
    let mut options = ClientOptions::parse(uri).await?;
    options.app_name.get_or_insert_with(|| "tillflow".into());
    options.server_selection_timeout = Some(SELECTION_TIMEOUT);
    options.write_concern = Some(durable());
    options.read_concern = Some(ReadConcern::majority());
    options.selection_criteria = Some(SelectionCriteria::ReadPreference(ReadPreference::Primary));
    Ok(options)
}
