//! The MongoDB store: a collection per collection, one transaction per commit.
//!
//! ```text
//! MongoStore  ── write.rs, commit.rs ──┐                                  ┌── read.rs ── MongoReader
//!   (one, fenced)                      ├── connect.rs, bson.rs, raw_value.rs, fault.rs ──┤   (many)
//!                                      └──────────── server ──────────────┘
//! ```
//!
//! The driver is asynchronous and its futures must not be dropped midway, so each connection owns a small runtime,
//! spawns every piece of work there, and waits for it from the outside with a deadline.
//!
//! Which protocol is used depends on the server. A replica set (one node is enough) or a sharded cluster has
//! transactions: a commit is seen whole or not at all. A standalone server has none: writes are guarded by
//! `epoch < e` and `progress` comes last, so a commit can be repeated after a crash, but readers may see part of one.

mod bson;
mod commit;
mod connect;
mod fault;
mod raw_value;
mod read;
mod scan;
mod write;

pub(super) use self::read::MongoReader;
pub(super) use self::write::MongoStore;
