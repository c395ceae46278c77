//! `--operator-times`, through the whole program.

use std::process::{Command, Output};

fn tillflow(arguments: &[&str]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_tillflow")).args(arguments).output().expect("the program starts");
    assert!(output.status.success(), "{output:?}");
    output
}

#[test]
fn the_end_says_which_operators_took_longest_and_what_they_hold() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let source = format!("ndjson:{}", path("records"));
    tillflow(&["generate", "-q", "--to", &source, "--envelope", "--rate", "0", "--count", "5000"]);
    for (store, workers, flags) in [("plain", "1", vec![]), ("timed", "2", vec!["--operator-times"])] {
        let store = format!("sqlite:{}", path(store));
        let run = ["run", "-q", "--source", &source, "--envelope", "--store", &store, "--until-caught-up"];
        let output = tillflow(&[&run[..], &["--no-dashboard", "--workers", workers], &flags].concat());
        let said = String::from_utf8(output.stderr).expect("text");
        if flags.is_empty() {
            assert_eq!(said, "", "nothing is said that nobody asked for");
            continue;
        }
        let mut lines = said.lines();
        let head: Vec<&str> = lines.next().expect("a head").split_whitespace().collect();
        assert_eq!(head, ["seconds", "share", "most", "records", "operator"], "{said}");
        let seconds: Vec<f64> = lines
            .clone()
            .filter_map(|line| line.contains('%').then(|| line.split_whitespace().next()?.parse().ok())?)
            .collect();
        assert!(seconds.len() > 10 && seconds.is_sorted_by(|a, b| a >= b) && seconds[0] > 0.0, "{said}");
        // The one that holds the most takes its time, whatever the machine does.
        let held = lines.find_map(|line| line.strip_suffix("  Live activity")).expect(&said);
        let records: u64 = held.split_whitespace().last().expect("a number").parse().expect(&said);
        assert!(records > 1_000, "{said}");
    }
}
