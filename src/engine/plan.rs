//! Where each partition is begun, and when beginning would lose or falsify data.
//!
//! What a user may reasonably accept is refused with the flag that accepts it. A loss can be accepted where the numbers
//! stay what they say they are without the records that are gone; where they are needed to know the numbers again,
//! nothing can be accepted.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use tillflow_dataflows::records::{Millis, Topic};

use super::checkpoint::Folder;
use super::{EngineError, fingerprint, shown};
use crate::configuration::Configuration;
use crate::source::{Assignment, PartitionInfo};
use crate::store::{Acceptance, Accepted, Fingerprints, Offsets, Origin, Progress};

/// A partition as a run reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Planned {
    pub(super) assignment: Assignment,
    /// Below this offset records are committed already.
    pub(super) committed: i64,
    /// Where it ended when the run began, if that is known.
    pub(super) end: Option<i64>,
    /// If it began when windows had left memory: what it gives that is dated before this is late. (Without transactions
    /// also if only a commit that was cut off says so: what that one left behind is then what comes again.)
    pub(super) late_before: Option<Millis>,
}

/// The worker that reads a partition which came after the start. It follows from the partition alone, so that workers
/// agree in whatever order they hear of several.
pub(super) fn taker((topic, partition): (Topic, i32), workers: usize) -> usize {
    (topic as usize + usize::try_from(partition).unwrap_or(0)) % workers
}

/// What to read, and what of it is committed already.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// Every partition there is.
    pub(super) partitions: Vec<Planned>,
    /// Whether records below `committed` must be read again before anything is written.
    pub(super) rebuild: bool,
    /// The store's offsets; every partition of `partitions` has one.
    pub(super) committed: Offsets,
    /// The last counted records.
    pub(super) fingerprints: Fingerprints,
    /// The store's origin from now on.
    pub(super) origin: Origin,
    /// Whether the store has another one, so that this one is to be written with the next commit.
    pub(super) origin_is_news: bool,
    /// What this run accepts that the store does not know of yet.
    pub(super) accepted: Vec<Accepted>,
}

impl Plan {
    /// Whether a partition is read on where it ended in a checkpoint of that time: it is there, and not since accepted as
    /// gone.
    pub(super) fn goes_on(&self, place: (Topic, i32), made_at: Millis) -> bool {
        let is_there = self.partitions.iter().any(|planned| planned.assignment.place() == place);
        let was_gone = self.origin.accepted.iter().any(|Accepted { what, at, .. }| {
            *at >= made_at && what.place() == place && matches!(what, Acceptance::Gone { .. })
        });
        is_there && !was_gone
    }

    /// From which offset on nothing of a partition is counted, where what an earlier run read there may not be what there
    /// is to be read: where nothing is counted at all, nor ever was, and where the partition is accepted as gone.
    pub(super) fn uncounted(&self) -> impl Iterator<Item = ((Topic, i32), i64)> {
        let places = self.partitions.iter().map(|planned| (planned.assignment.place(), planned.committed));
        let begins = places.filter(|(place, committed)| self.origin.offsets.get(place) == Some(committed));
        let was_other = |place| self.origin.accepted.iter().any(|accepted| accepted.what.place() == place);
        let gone = self.accepted.iter().filter_map(|accepted| match accepted.what {
            Acceptance::Gone { topic, partition, next } => Some(((topic, partition), next)),
            Acceptance::Loss { .. } => None,
        });
        begins.filter(move |(place, _)| !was_other(*place)).map(|(place, _)| (place, 0)).chain(gone)
    }
}

/// What a plan is made of beside what the store holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Circumstances<'a> {
    /// What the source has.
    pub(super) partitions: &'a [PartitionInfo],
    /// The partitions that have another record where the last counted one was.
    pub(super) others: &'a BTreeSet<(Topic, i32)>,
    /// The settings of this run.
    pub(super) configuration: &'a Configuration,
    /// What its user accepts.
    pub(super) accepted: &'a [Acceptance],
    /// Its name.
    pub(super) instance: &'a str,
    /// The name of the store's history, if it has none yet.
    pub(super) lineage: &'a str,
    /// The time, for what is accepted.
    pub(super) now: Millis,
}

/// What the store holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Left<'a> {
    pub(super) progress: &'a Progress,
    pub(super) origin: Option<&'a Origin>,
    pub(super) fingerprints: &'a Fingerprints,
}

/// What stands in the way of one partition.
enum Obstacle {
    /// Nothing helps but what the words say.
    Final(String),
    /// The flag helps.
    Acceptable(String, Acceptance),
}

/// Plans a run over what the source has, for a store as it was left.
///
/// `checkpoint`: the offsets that a checkpoint has the state of.
pub(super) fn plan(
    left: Left<'_>,
    checkpoint: Option<Offsets>,
    circumstances: Circumstances<'_>,
) -> Result<Plan, EngineError> {
    let Circumstances { partitions, configuration, instance, lineage, now, .. } = circumstances;
    let found: BTreeMap<_, _> = partitions.iter().map(|info| ((info.topic, info.partition), info)).collect();
    let Progress { epoch, offsets: counted, .. } = left.progress;
    let rebuild = *epoch > 0;
    let mut origin = match left.origin {
        Some(origin) => origin.clone(),
        None if rebuild => {
            return Err(EngineError::Refused(String::from(
                "the store has progress but no record of where it began, so its numbers cannot be continued: use an \
                 empty store (another --database or SQLite file)",
            )));
        }
        None => Origin::default(),
    };
    let mut committed = Offsets::new();
    let mut accepted = Vec::new();
    if rebuild {
        check_configuration(&origin, configuration)?;
        if checkpoint.is_none() {
            check_acceptances(&origin)?;
        }
        let needed =
            |place| checkpoint.as_ref().and_then(|it| it.get(&place).copied()).unwrap_or(begun(&origin, place));
        let obstacles = counted.iter().filter_map(|(place, next)| {
            let info = found.get(place).copied();
            Some((*place, obstacle(*place, *next, needed(*place), info, circumstances.others)?))
        });
        let obstacles: Vec<_> = obstacles.collect();
        for used in settle(&obstacles, &origin, circumstances.accepted)? {
            let place = used.place();
            accepted.push(Accepted { what: used, at: now, by: instance.to_owned(), begun: begun(&origin, place) });
        }
        committed.clone_from(counted);
        for Accepted { what, begun, .. } in &accepted {
            let place = what.place();
            match found.get(&place) {
                Some(info) => {
                    let next = committed.insert(place, info.low);
                    // What is counted stays counted from where it began; without any it begins here.
                    if next == Some(*begun) || matches!(what, Acceptance::Gone { .. }) {
                        origin.offsets.insert(place, info.low);
                    }
                }
                // When it comes back it is a new one.
                None => {
                    committed.remove(&place);
                    origin.offsets.remove(&place);
                }
            }
            if committed.get(&place) <= origin.offsets.get(&place) {
                // It is yet to give its first record.
                origin.late_before.remove(&place);
            }
        }
        origin.accepted.extend(accepted.iter().cloned());
    } else if let Some(acceptance) = circumstances.accepted.first() {
        return Err(EngineError::Settings(format!(
            "{acceptance} does not fit: nothing is counted yet, so nothing can be lost; leave it out"
        )));
    }

    let mut planned = Vec::new();
    for (key, info) in &found {
        let begun = *origin.offsets.entry(*key).or_insert(info.low);
        let is_accepted = accepted.iter().any(|accepted| accepted.what.place() == *key);
        let saved = checkpoint.as_ref().and_then(|checkpoint| checkpoint.get(key).copied());
        let start = match saved {
            // What was accepted as lost is not in it either.
            Some(_) if is_accepted => committed.get(key).copied().unwrap_or(info.low),
            Some(next) => next,
            None => begun,
        };
        planned.push(Planned {
            assignment: Assignment { topic: key.0, partition: key.1, start },
            committed: *committed.entry(*key).or_insert(start),
            end: info.high,
            late_before: origin.late_before.get(key).copied(),
        });
    }
    origin.configuration = configuration.text();
    if origin.lineage.is_empty() {
        origin.lineage = lineage.to_owned();
    }
    Ok(Plan {
        partitions: planned,
        rebuild,
        fingerprints: fingerprint::counted(left.fingerprints.clone(), &committed),
        committed,
        origin_is_news: left.origin != Some(&origin),
        origin,
        accepted,
    })
}

/// Refuses a state folder that belongs to another store. (One store has one source: another one is refused with the
/// other settings.)
pub(super) fn check_folder(folder: &Folder, origin: Option<&Origin>) -> Result<(), EngineError> {
    let Some(owner) = folder.owner()? else { return Ok(()) };
    let whose = match origin {
        Some(origin) if origin.lineage == owner.lineage => return Ok(()),
        Some(_) => "store",
        None => "store; this one is empty",
    };
    Err(EngineError::Refused(format!(
        "the state folder {} belongs to another {whose}: name another folder with --state, or remove this one if its \
         store is gone",
        folder.shown()
    )))
}

/// Where the state behind a partition's numbers begins: records from there on are read again.
fn begun(origin: &Origin, place: (Topic, i32)) -> i64 {
    origin.offsets.get(&place).copied().unwrap_or(0)
}

fn check_configuration(origin: &Origin, configuration: &Configuration) -> Result<(), EngineError> {
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
    if differences.is_empty() {
        return Ok(());
    }
    Err(EngineError::Refused(format!(
        "the store was filled with other settings, and its numbers would mix two meanings: {}. Run with the store's \
         settings, or use an empty store (another --database or SQLite file)",
        differences.join("; ")
    )))
}

/// Refuses where numbers stand in the store that no source has the records of any more.
fn check_acceptances(origin: &Origin) -> Result<(), EngineError> {
    match origin.accepted.iter().find(|accepted| accepted.cannot_be_read_again()) {
        None => Ok(()),
        Some(Accepted { what, at, .. }) => Err(EngineError::Refused(format!(
            "the store goes on from records that are gone ({what}, accepted at {}), and the state behind its numbers \
             would have to be rebuilt from them: use an empty store (another --database or SQLite file)",
            shown(Some(*at))
        ))),
    }
}

/// Whether a partition that the store knows can be read on; if not, what is in the way.
fn obstacle(
    place: (Topic, i32),
    next: i64,
    begun: i64,
    info: Option<&PartitionInfo>,
    others: &BTreeSet<(Topic, i32)>,
) -> Option<Obstacle> {
    let (topic, partition) = place;
    let words = format!("{} partition {partition}", topic.name());
    let is_counted = next > begun;
    let gone = |what: String| {
        Some(match is_counted {
            true => Obstacle::Final(format!(
                "{words} {what}, and the state behind the store's numbers is rebuilt from offsets {begun} to {}: \
                 restore the topic, or use an empty store (another --database or SQLite file)",
                next - 1
            )),
            false => Obstacle::Acceptable(
                format!("{words} {what}; what the store counts of it below offset {next} can stay as it is"),
                Acceptance::Gone { topic, partition, next },
            ),
        })
    };
    let Some(info) = info else { return gone(String::from("is gone")) };
    if let Some(high) = info.high.filter(|high| *high < next) {
        return gone(format!(
            "ends before offset {next}, up to which the store counts it (at {high}): the topic was truncated or \
             created anew"
        ));
    }
    if others.contains(&place) {
        return gone(format!(
            "has other records than those which the store counts below offset {next}: the topic was created anew, or \
             truncated and written again"
        ));
    }
    if is_counted && info.low > begun {
        return Some(Obstacle::Final(format!(
            "{words}: offsets {begun} to {} are no longer there, and the state behind the store's numbers is rebuilt \
             from them: keep the topic's records longer (retention.ms, retention.bytes), or use an empty store",
            info.low - 1
        )));
    }
    (info.low > next).then(|| {
        let (from, to) = (next, info.low - 1);
        Obstacle::Acceptable(
            format!("{words}: offsets {from} to {to} were never counted and are no longer there"),
            Acceptance::Loss { topic, partition, from, to },
        )
    })
}

/// Which of the flags are used. Refused unless they accept everything that is in the way, and each of them something.
fn settle(
    obstacles: &[((Topic, i32), Obstacle)],
    origin: &Origin,
    flags: &[Acceptance],
) -> Result<Vec<Acceptance>, EngineError> {
    let finals: Vec<&str> = obstacles
        .iter()
        .filter_map(|(_, obstacle)| match obstacle {
            Obstacle::Final(words) => Some(words.as_str()),
            Obstacle::Acceptable(..) => None,
        })
        .collect();
    if !finals.is_empty() {
        return Err(EngineError::Refused(finals.join("; ")));
    }
    let acceptable = || {
        obstacles.iter().filter_map(|(place, obstacle)| match obstacle {
            Obstacle::Acceptable(words, flag) => Some((*place, words, *flag)),
            Obstacle::Final(_) => None,
        })
    };
    for flag in flags {
        // One that was used before is left on a command line that is started again and again.
        if origin.accepted.iter().any(|known| known.what == *flag) || acceptable().any(|(.., fits)| fits == *flag) {
            continue;
        }
        let instead = acceptable().find(|(place, ..)| *place == flag.place());
        return Err(EngineError::Settings(match instead {
            Some((_, words, fits)) => format!("{flag} does not fit: {words}; what accepts exactly this is {fits}"),
            None => format!("{flag} does not fit: no such records are missing; leave it out"),
        }));
    }
    let missing: Vec<_> = acceptable().filter(|(.., flag)| !flags.contains(flag)).collect();
    if missing.is_empty() {
        return Ok(acceptable().map(|(.., flag)| flag).collect());
    }
    let words: Vec<&str> = missing.iter().map(|(_, words, _)| words.as_str()).collect();
    let flags: Vec<String> = missing.iter().map(|(.., flag)| flag.to_string()).collect();
    Err(EngineError::Refused(format!(
        "{}. Restore the topic, or accept this, which the store then remembers, with {}",
        words.join("; "),
        flags.join(" ")
    )))
}

#[cfg(test)]
mod tests;
