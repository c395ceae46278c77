//! The fault matrix: what happens to a pipeline on a bad day, and what its documents are afterwards.
//!
//! A row is a test named by its number in the matrix. The oracle in `tests/oracle` judges every document after each
//! fault. `TILLFLOW_FAULTS=long` runs the long form, `TILLFLOW_FAULTS_SEED` a seed again, and
//! `TILLFLOW_FAULTS_REPORT` names a file that gets a line of JSON for each row. `./test.sh` runs the short form with all other
//! tests, `./test.sh faults` it alone, `./test.sh faults --long` the long one.

mod attacks;
mod backlog;
mod broker;
mod clusters;
mod crashes;
mod files;
mod gone;
mod held;
mod inputs;
mod limits;
mod memory;
mod mutants;
mod owners;
mod points;
mod proxy;
mod row;
mod services;
mod signals;
mod simulation;
mod sink;
mod soak;
mod steady;
// The pipeline's tests use more of it than these do.
#[allow(dead_code)]
#[path = "../pipeline/support/mod.rs"]
mod support;
mod upgrades;
mod world;
