//! The dashboard from request to bytes, over a store in memory.

mod api;
mod epochs;
mod fixture;
mod pages;
mod preview;
mod shop;
