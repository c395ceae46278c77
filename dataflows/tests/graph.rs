//! The graph's operators against a committed list, so that an operator or an arrangement more shows in review.
//!
//! `UPDATE_EXPECT=1 cargo test --release -p tillflow-dataflows --test graph` writes the list anew.

mod support;

use std::fmt::Write as _;
use std::sync::atomic::AtomicBool;

use support::log::Log;
use support::samples::graph;
use support::{build, finish};
use tillflow_dataflows::assembly::parts;
use tillflow_dataflows::feed::Feed;
use tillflow_dataflows::state::State;

#[test]
fn the_operators_are_those_of_the_list() {
    let found = timely::execute_directly(|worker| {
        let log = Log::start(worker);
        let mut feed = Feed::new(parts(&graph()));
        build(worker, &mut feed, &graph(), &mut State::new(), |_row, _tick, _change| {});
        drop(feed);
        finish(worker, &AtomicBool::new(false));
        Log::flush(worker);
        let log = log.borrow();
        let mut operators: Vec<_> = log.operators.iter().collect();
        operators.sort_by_key(|(_, (address, _))| address.clone());
        let mut text = String::from(
            "# Operators by address; \"arranged\" marks those that keep a trace. Written by UPDATE_EXPECT=1.\n",
        );
        for (id, (address, name)) in operators {
            let address: Vec<String> = address.iter().map(ToString::to_string).collect();
            let arranged = if log.updates.contains_key(id) { "arranged" } else { "" };
            writeln!(text, "{:<8} {arranged:<9} {name}", address.join(".")).expect("a string takes it");
        }
        text
    });
    support::expect_file("graph.txt", &found);
}
