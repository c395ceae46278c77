//! tillflow: Kafka in, incremental views out; every number belongs to one instant.

pub mod cli;
pub mod cluster;
pub mod codec;
pub mod configuration;
pub mod dashboard;
pub mod document;
pub mod engine;
pub mod fault;
pub mod generate;
pub mod metrics;
pub mod partitioner;
pub mod source;
pub mod status;
pub mod store;
pub mod verify;
pub mod views;
