//! Starts the workers of this process, alone or as its share of a cluster's, and waits for them.

use std::net::TcpStream;
use std::sync::Arc;

use timely::WorkerConfig;
use timely::communication::allocator::zero_copy::initialize::initialize_networking_from_sockets;
use timely::communication::allocator::{AllocatorBuilder, ProcessBuilder};
use timely::communication::{Hooks, WorkerGuards};

use super::EngineError;
use super::worker::{self, Shared};

/// This process's number, and its connection with each other process.
pub(super) type Sockets = (usize, Vec<Option<TcpStream>>);

/// Runs the workers to their end; an error when one of them panicked.
pub(super) fn run(shared: &Arc<Shared>, sockets: Option<Sockets>) -> Result<(), EngineError> {
    let for_workers = Arc::clone(shared);
    let run = move |worker: &mut _| worker::run(worker, &for_workers);
    let threads = shared.options.workers;
    let Some((process, sockets)) = sockets else {
        let guards = timely::execute(timely::Config::process(threads), run).map_err(EngineError::Bug)?;
        return all_ended(&panics(guards));
    };
    let hooks = Hooks::default();
    let local = ProcessBuilder::new_typed_vector(threads, hooks.refill.clone(), hooks.spill.clone());
    let (builders, network) = initialize_networking_from_sockets(local, sockets, process, threads, hooks)
        .map_err(|error| EngineError::Bug(format!("using the cluster's sockets: {error}")))?;
    let builders = builders.into_iter().map(AllocatorBuilder::Tcp).collect();
    let guards = timely::execute::execute_from(builders, Box::new(()), WorkerConfig::default(), run)
        .map_err(EngineError::Bug)?;
    let panics = panics(guards);
    if shared.has_failed() || !panics.is_empty() {
        // The others go on until they hear of it; their data has nobody to go to, and nobody waits for them.
        std::mem::forget(network);
    } else {
        // Waits until the workers of all processes have ended, so that no connection breaks under one that has not.
        drop(network);
    }
    all_ended(&panics)
}

/// What those said that panicked.
fn panics(guards: WorkerGuards<()>) -> Vec<String> {
    guards.join().into_iter().filter_map(Result::err).collect()
}

fn all_ended(panics: &[String]) -> Result<(), EngineError> {
    if panics.is_empty() {
        return Ok(());
    }
    Err(EngineError::Bug(format!("a worker panicked: {}", panics.join("; "))))
}
