//! The program from end to end, as its users start it: a real broker, real stores, signals, pages.
//!
//! What the stores hold at the end is judged by the oracle in `tests/oracle`, which shares no code with the program.
//! `KAFKA_BOOTSTRAP_SERVERS`, `MONGO_URI` and `TILLFLOW_TEST_PYTHON` name the services and a Python that has the
//! packages of `tests/requirements.txt`.

mod checkpoints;
mod cluster;
mod equal;
mod losses;
mod pages;
mod partitions;
mod refusals;
mod restarts;
mod support;
