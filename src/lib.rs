//! tillflow: Kafka in, incremental views out; every number belongs to one instant.

pub mod dashboard;
pub mod document;
pub mod generate;
pub mod partitioner;
pub mod status;
pub mod store;
