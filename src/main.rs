//! The `tillflow` program.

fn main() {}
