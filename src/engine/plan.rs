//! Where each partition is begun, and when beginning would lose or falsify data.

use std::collections::BTreeMap;

use super::EngineError;
use crate::configuration::Configuration;
use crate::source::{Assignment, PartitionInfo};
use crate::store::{Offsets, Origin, Progress};

/// What to read, and what of it is committed already.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// Every partition and where it begins.
    pub(super) assignments: Vec<Assignment>,
    /// Whether records below `committed` must be read again before anything is written.
    pub(super) rebuild: bool,
    /// The store's offsets; every partition of `assignments` has one.
    pub(super) committed: Offsets,
    /// The origin to write with the next commit, if it is news.
    pub(super) origin: Option<Origin>,
}

/// Plans a run over `partitions`, for a store that was left at `progress`.
pub(super) fn plan(
    partitions: &[PartitionInfo],
    progress: &Progress,
    origin: Option<&Origin>,
    configuration: &Configuration,
) -> Result<Plan, EngineError> {
    let found: BTreeMap<_, _> = partitions.iter().map(|info| ((info.topic, info.partition), info)).collect();
    let rebuild = progress.epoch > 0;
    if rebuild {
        let Some(origin) = origin else {
            return Err(EngineError::Refused(String::from(
                "the store has progress but no record of where it began, so its numbers cannot be continued: use an \
                 empty store (another --database or SQLite file)",
            )));
        };
        let differences = match Configuration::parse(&origin.configuration) {
            Err(unknown) => vec![format!("this version does not understand the store's settings: {unknown}")],
            Ok(store) => {
                let mut differences = configuration.differences(&store);
                if store.source != configuration.source {
                    let (theirs, ours) = (store.source, &configuration.source);
                    differences.insert(0, format!("--source: the store has {theirs}, this run {ours}"));
                }
                differences
            }
        };
        if !differences.is_empty() {
            return Err(EngineError::Refused(format!(
                "the store was filled with other settings, and its numbers would mix two meanings: {}. Run with the \
                 store's settings, or use an empty store (another --database or SQLite file)",
                differences.join("; ")
            )));
        }
        for ((topic, partition), next) in &progress.offsets {
            let place = format!("{} partition {partition}", topic.name());
            let Some(info) = found.get(&(*topic, *partition)) else {
                return Err(EngineError::Refused(format!(
                    "{place} is gone, but the store counts its records below offset {next}: restore the topic, or \
                     use an empty store"
                )));
            };
            let begun = origin.offsets.get(&(*topic, *partition)).copied().unwrap_or(0);
            if info.low > begun && *next > begun {
                return Err(EngineError::Refused(format!(
                    "{place}: offsets {begun} to {} are no longer there, and the state behind the store's numbers is \
                     rebuilt from them: keep the topic's records longer (retention.ms, retention.bytes), or use an \
                     empty store",
                    info.low - 1
                )));
            }
            if info.high.is_some_and(|high| high < *next) {
                return Err(EngineError::Refused(format!(
                    "{place} ends before offset {next}, up to which the store counts it: the topic was truncated or \
                     created anew. Restore it, or use an empty store"
                )));
            }
        }
    }

    let mut starts = origin.map(|origin| origin.offsets.clone()).unwrap_or_default();
    let mut committed = Offsets::new();
    let mut assignments = Vec::new();
    for (key, info) in &found {
        let start = *starts.entry(*key).or_insert(info.low);
        committed.insert(*key, progress.offsets.get(key).copied().unwrap_or(start));
        assignments.push(Assignment { topic: key.0, partition: key.1, start });
    }
    let planned = Origin { offsets: starts, configuration: configuration.text() };
    let origin = (origin != Some(&planned)).then_some(planned);
    Ok(Plan { assignments, rebuild, committed, origin })
}

#[cfg(test)]
mod tests {
    use tillflow_dataflows::records::Topic;

    use super::*;

    fn info(low: i64, high: i64) -> PartitionInfo {
        PartitionInfo { topic: Topic::Sales, partition: 0, low, high: Some(high) }
    }

    fn progress(epoch: u64, next: i64) -> Progress {
        Progress {
            epoch,
            as_of: None,
            offsets: Offsets::from([((Topic::Sales, 0), next)]),
            committed_at: None,
            instance: String::new(),
            fence: 1,
        }
    }

    fn configuration(source: &str) -> Configuration {
        Configuration { source: source.into(), timezone: "UTC".into(), ..Configuration::default() }
    }

    fn origin(start: i64) -> Origin {
        Origin { offsets: Offsets::from([((Topic::Sales, 0), start)]), configuration: configuration("kafka").text() }
    }

    #[test]
    fn a_first_run_begins_at_what_is_there() {
        let empty = Progress { offsets: Offsets::new(), ..progress(0, 0) };
        let plan = plan(&[info(7, 9)], &empty, None, &configuration("kafka")).unwrap();
        assert_eq!(plan.assignments[0].start, 7);
        assert_eq!(plan.committed[&(Topic::Sales, 0)], 7);
        assert!(!plan.rebuild && plan.origin.is_some());
    }

    #[test]
    fn a_later_run_reads_again_from_where_the_first_began() {
        let plan = plan(&[info(7, 99)], &progress(3, 50), Some(&origin(7)), &configuration("kafka")).unwrap();
        assert_eq!((plan.assignments[0].start, plan.committed[&(Topic::Sales, 0)]), (7, 50));
        assert!(plan.rebuild && plan.origin.is_none());
    }

    #[test]
    fn what_would_lose_or_falsify_is_refused() {
        let other_views = Configuration { views: Some(Vec::new()), ..configuration("kafka") };
        let cases: [(&[PartitionInfo], Configuration, &str); 5] = [
            (&[info(8, 99)], configuration("kafka"), "no longer there"),
            (&[info(7, 49)], configuration("kafka"), "truncated"),
            (&[], configuration("kafka"), "is gone"),
            (&[info(7, 99)], configuration("other"), "--source: the store has kafka, this run other"),
            (&[info(7, 99)], other_views, "--views: the store has all"),
        ];
        for (partitions, configuration, words) in cases {
            let error = plan(partitions, &progress(3, 50), Some(&origin(7)), &configuration).unwrap_err();
            assert!(matches!(&error, EngineError::Refused(text) if text.contains(words)), "{error}");
        }
    }
}
