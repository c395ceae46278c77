//! A row of the fault matrix: its size, its seed, what it counted, and the account that it leaves.

use std::io::Write as _;
use std::time::{Duration, Instant};

/// Whether the long form is asked for (`TILLFLOW_FAULTS=long`).
pub fn is_long() -> bool {
    match std::env::var("TILLFLOW_FAULTS").as_deref() {
        Ok("long") => true,
        Ok("short" | "") | Err(_) => false,
        Ok(other) => panic!("TILLFLOW_FAULTS={other}: short or long"),
    }
}

/// How many times, in the short form and in the long one; `TILLFLOW_FAULTS_TIMES` is another number for all rows that
/// run.
pub fn times(short: u32, long: u32) -> u32 {
    match std::env::var("TILLFLOW_FAULTS_TIMES") {
        Ok(number) => number.parse().unwrap_or_else(|_| panic!("TILLFLOW_FAULTS_TIMES={number}: a number")),
        Err(_) if is_long() => long,
        Err(_) => short,
    }
}

/// Chance that a seed decides (SplitMix64).
#[derive(Clone)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.below(to - from + 1))
    }
}

/// One row that runs.
pub struct Row {
    id: &'static str,
    fault: &'static str,
    pub seed: u64,
    pub dice: Dice,
    begun: Instant,
    counts: Vec<(String, u64)>,
}

impl Row {
    /// Begins a row. Its seed is printed; `TILLFLOW_FAULTS_SEED` gives it again.
    pub fn begin(id: &'static str, fault: &'static str) -> Row {
        let seed = match std::env::var("TILLFLOW_FAULTS_SEED") {
            Ok(seed) => seed.parse().unwrap_or_else(|_| panic!("TILLFLOW_FAULTS_SEED={seed}: a number")),
            Err(_) => u64::from(rand::random::<u32>()),
        };
        eprintln!("{id}: seed {seed} (TILLFLOW_FAULTS_SEED={seed} gives it again)");
        Row { id, fault, seed, dice: Dice::new(seed), begun: Instant::now(), counts: Vec::new() }
    }

    pub fn count(&mut self, what: &str, number: u64) {
        match self.counts.iter_mut().find(|(name, _)| name == what) {
            Some((_, known)) => *known += number,
            None => self.counts.push((what.to_owned(), number)),
        }
    }

    /// Keeps the greatest.
    pub fn at_most(&mut self, what: &str, number: u64) {
        match self.counts.iter_mut().find(|(name, _)| name == what) {
            Some((_, known)) => *known = number.max(*known),
            None => self.counts.push((what.to_owned(), number)),
        }
    }
}

/// Leaves the account: one line of JSON in the file that `TILLFLOW_FAULTS_REPORT` names.
impl Drop for Row {
    fn drop(&mut self) {
        let passed = !std::thread::panicking();
        let counts: serde_json::Map<String, serde_json::Value> =
            self.counts.iter().map(|(name, number)| (name.clone(), (*number).into())).collect();
        let account = serde_json::json!({
            "row": self.id,
            "fault": self.fault,
            "seed": self.seed,
            "counts": counts,
            "seconds": self.begun.elapsed().as_secs(),
            "passed": passed,
        });
        eprintln!("{account}");
        if let Ok(path) = std::env::var("TILLFLOW_FAULTS_REPORT") {
            let file = std::fs::OpenOptions::new().create(true).append(true).open(&path);
            if let Err(error) = file.and_then(|mut file| writeln!(file, "{account}")) {
                eprintln!("{path}: {error}");
            }
        }
    }
}
