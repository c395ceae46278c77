//! The dashboard's server under attack, over real sockets on loopback: everything is bounded in count and time.

mod attacks;
mod descriptors;
mod service;
mod streams;
mod support;
