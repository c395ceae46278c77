//! The pure part of tillflow: records, admission, and the incremental views.
//!
//! No I/O, no clock, no randomness, no thread, no hash-map order in any result: the same records give the
//! same rows for any batching, any interleaving of partitions, and any number of workers.

pub mod records;
