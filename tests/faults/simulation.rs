//! F36: seeds of the simulation of commits and recovery, and the guards that it has to miss.

use tillflow::engine::simulation::{Account, Missing, run};

use crate::row::{Row, times};

#[test]
fn f36_simulation_seeds() {
    let mut row = Row::begin("F36", "simulated instances die, take over, sleep; the store goes back in time");
    let seeds = times(30_000, 1_000_000);
    let mut sum = Account::default();
    for turn in 0..u64::from(seeds) {
        // The first seed alone is what is printed; the others follow from it.
        let seed = row.seed.wrapping_add(turn);
        let account = run(seed, Missing::Nothing).unwrap_or_else(|violation| {
            panic!("seed {seed} (TILLFLOW_FAULTS_SEED={seed} begins with it): {violation}")
        });
        if turn % 100 == 0 {
            assert_eq!(run(seed, Missing::Nothing), Ok(account), "seed {seed} does not replay identically");
        }
        sum.lives += account.lives;
        sum.commits += account.commits;
        sum.deaths += account.deaths;
        sum.fenced += account.fenced;
        sum.rollbacks += account.rollbacks;
        sum.checkpoints += account.checkpoints;
        sum.restores += account.restores;
    }
    row.count("seeds", u64::from(seeds));
    for (what, number) in [
        ("lives", sum.lives),
        ("commits", sum.commits),
        ("deaths", sum.deaths),
        ("fenced", sum.fenced),
        ("rollbacks", sum.rollbacks),
        ("checkpoints", sum.checkpoints),
        ("restores", sum.restores),
    ] {
        assert!(number > 0, "no {what} in {seeds} seeds");
        row.count(what, number);
    }
}

#[test]
fn f36_simulation_misses_each_guard() {
    let mut row = Row::begin("F36", "the simulation's own mutants");
    for missing in [
        Missing::CompareAndSet,
        Missing::Instance,
        Missing::WholeCommits,
        Missing::DurableRawData,
        Missing::KnownOutcomes,
        Missing::CheckpointsBehind,
        Missing::OffsetsOfCheckpoints,
    ] {
        let found = (0..20_000).map(|turn| row.seed.wrapping_add(turn)).find(|seed| run(*seed, missing).is_err());
        let seed = found.unwrap_or_else(|| panic!("nobody noticed that {missing:?} is missing"));
        let violation = run(seed, missing).expect_err("the same seed gives the same");
        assert_eq!(run(seed, missing), Err(violation), "seed {seed} does not replay identically");
        row.count("mutants caught", 1);
    }
}
