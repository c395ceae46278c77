//! The pure part of tillflow: records, admission, and the incremental views.
//!
//! No I/O, no clock, no randomness, no thread, no hash-map order in any result: the same records give the
//! same rows for any batching, any interleaving of partitions, and any number of workers.
//!
//! Where to look: a number is wrong, [`views`]; a record's outcome is wrong, [`admission`]; memory,
//! [`arrangements`]; what depends on event time, [`clock`].

pub mod added;
pub mod admission;
pub mod arrangements;
pub mod assembly;
pub mod cells;
pub mod clock;
pub mod feed;
pub mod fields;
pub mod group_by;
pub mod inputs;
mod intern;
pub mod measures;
pub mod operators;
#[cfg(feature = "oracle")]
pub mod oracle;
pub mod outputs;
pub mod records;
pub mod state;
pub mod time;
pub mod views;
