//! Starts the workers of this process, alone or as its share of a cluster's, and waits for them.

use std::net::TcpStream;
use std::sync::Arc;

use differential_dataflow::trace::ExertionLogic;
use timely::communication::allocator::zero_copy::initialize::initialize_networking_from_sockets;
use timely::communication::allocator::{AllocatorBuilder, ProcessBuilder};
use timely::communication::{Hooks, WorkerGuards};

use super::EngineError;
use super::shared::Shared;
use super::worker;

/// This process's number, and its connection with each other process.
pub(super) type Sockets = (usize, Vec<Option<TcpStream>>);

/// Updates that an arrangement merges at a time without new ones.
const EFFORT: usize = 1 << 15;

/// Updates of an arrangement that may stay in small batches, whatever they cancel.
const LOOSE: usize = 1 << 8;

/// How much an arrangement merges when no updates make it. What leaves memory does so by its negation, and neither is gone
/// before their batches are merged. Merges that have begun are ended; another one begins when the small batches together
/// are half as large as the largest, so that an update is merged a few times on average and no more.
///
/// `layers` are the batches by size: their place, how many there are (2 while they are merged), and their length.
fn effort(layers: &[(usize, usize, usize)]) -> Option<usize> {
    let is_merging = layers.iter().any(|(_, count, _)| *count > 1);
    let largest = layers.iter().map(|(.., length)| *length).max().unwrap_or(0);
    let others = layers.iter().map(|(.., length)| *length).sum::<usize>() - largest;
    (is_merging || others > LOOSE && others * 2 > largest).then_some(EFFORT)
}

/// Runs the workers to their end; an error when one of them panicked.
pub(super) fn run(shared: &Arc<Shared>, sockets: Option<Sockets>) -> Result<(), EngineError> {
    let for_workers = Arc::clone(shared);
    let run = move |worker: &mut _| worker::run(worker, &for_workers);
    let threads = shared.options.workers;
    let mut config = timely::Config::process(threads);
    config.worker.set::<ExertionLogic>(String::from("differential/default_exert_logic"), Arc::new(effort));
    let Some((process, sockets)) = sockets else {
        let guards = timely::execute(config, run).map_err(EngineError::Bug)?;
        return all_ended(&panics(guards));
    };
    let hooks = Hooks::default();
    let local = ProcessBuilder::new_typed_vector(threads, hooks.refill.clone(), hooks.spill.clone());
    let (builders, network) = initialize_networking_from_sockets(local, sockets, process, threads, hooks)
        .map_err(|error| EngineError::Bug(format!("using the cluster's sockets: {error}")))?;
    let builders = builders.into_iter().map(AllocatorBuilder::Tcp).collect();
    let guards = timely::execute::execute_from(builders, Box::new(()), config.worker, run).map_err(EngineError::Bug)?;
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
