//! The pages, charts and API over what the store holds.

pub mod message;
pub mod server;
