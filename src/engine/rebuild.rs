//! What reading the committed records again has given so far, and whether it is what the store was filled with.

use differential_dataflow::consolidation::consolidate;
use tillflow_dataflows::outputs::{Row, RowBody, RowKey};
use tillflow_dataflows::records::Millis;
use tillflow_dataflows::time::Diff;

use super::correction::RowsInForce;
use super::drain::TickBatch;
use super::ingest::Note;
use super::plan::Planned;
use super::{EngineError, shown};
use crate::store::Offsets;

/// The state of a rebuild.
#[derive(Debug)]
pub(super) struct Rebuild {
    rows: RowsInForce,
    /// By partition: the offset after the last record that has been read.
    offsets: Offsets,
}

impl Rebuild {
    /// A rebuild that reads from where each partition is assigned.
    pub(super) fn new(partitions: &[Planned]) -> Rebuild {
        let offsets = partitions.iter().map(|it| (it.assignment.place(), it.assignment.start)).collect();
        Rebuild { rows: RowsInForce::new(), offsets }
    }

    /// Takes note of a tick whose effects are in the store already.
    pub(super) fn listen(&mut self, batch: TickBatch) {
        self.change(batch.rows);
        for note in batch.notes {
            if let Note::Consumed(consumed) = note {
                self.offsets.insert((consumed.topic, consumed.partition), consumed.next);
            }
        }
    }

    fn change(&mut self, rows: Vec<(Row, Diff)>) {
        change(&mut self.rows, rows);
    }

    /// Ends the rebuild; returns the rows in force.
    ///
    /// Refused when the source did not give again what the store counts: every partition up to the committed offset,
    /// and clocks that make the same `as_of`. Going on would mix the numbers of two logs.
    pub(super) fn finish(self, committed: &Offsets, as_of: Option<Millis>) -> Result<RowsInForce, EngineError> {
        let short = |(place, read): (&_, &i64)| committed.get(place).is_some_and(|next| read < next);
        if let Some((place @ (topic, partition), read)) = self.offsets.iter().find(|it| short(*it)) {
            return Err(EngineError::Refused(format!(
                "{} partition {partition}: records from offset {read} to {} are no longer there, but the store counts \
                 them: restore the topic, or use an empty store",
                topic.name(),
                committed[place] - 1
            )));
        }
        let found = match self.rows.get(&RowKey::AsOf) {
            Some(RowBody::Instant(instant)) => Some(*instant),
            _ => None,
        };
        if found != as_of {
            return Err(EngineError::Refused(format!(
                "the records below the committed offsets are not the ones that the store counts: they end at {}, the \
                 store at {}. Was a topic created anew? Restore it, or use an empty store",
                shown(found),
                shown(as_of)
            )));
        }
        Ok(self.rows)
    }
}

/// Applies the row changes of some ticks.
pub(super) fn change(rows: &mut RowsInForce, mut changes: Vec<(Row, Diff)>) {
    consolidate(&mut changes);
    for ((key, body), difference) in changes {
        // Sorted by key, then body: the addition of a key's new row can come before or after the retraction of its old
        // one, so the retraction must name what it takes.
        if difference > 0 {
            rows.insert(key, body);
        } else if rows.get(&key) == Some(&body) {
            rows.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use tillflow_dataflows::records::Topic;

    use super::*;
    use crate::source::Assignment;

    fn rebuild(next: [i64; 2], as_of: Option<Millis>) -> Rebuild {
        let planned = |partition| {
            let assignment = Assignment { topic: Topic::Sales, partition, start: 7 };
            Planned { assignment, committed: 7, end: None, late_before: None }
        };
        let mut rebuild = Rebuild::new(&[planned(0), planned(1)]);
        rebuild.offsets.extend((0..).zip(next).map(|(partition, next)| ((Topic::Sales, partition), next)));
        rebuild.rows.extend(as_of.map(|as_of| (RowKey::AsOf, RowBody::Instant(as_of))));
        rebuild
    }

    fn committed(next: [i64; 2]) -> Offsets {
        (0..).zip(next).map(|(partition, next)| ((Topic::Sales, partition), next)).collect()
    }

    #[test]
    fn what_was_counted_has_to_be_read_again() {
        assert!(rebuild([20, 7], Some(5)).finish(&committed([20, 7]), Some(5)).is_ok());
        let cases = [
            (rebuild([20, 7], Some(5)), committed([20, 9]), Some(5), "partition 1: records from offset 7 to 8"),
            (rebuild([19, 7], Some(5)), committed([20, 7]), Some(5), "partition 0: records from offset 19 to 19"),
            (rebuild([20, 7], Some(4)), committed([20, 7]), Some(5), "end at 1970-01-01T00:00:00.004Z"),
            (rebuild([20, 7], None), committed([20, 7]), Some(5), "end at no time"),
        ];
        for (rebuild, committed, as_of, words) in cases {
            let error = rebuild.finish(&committed, as_of).unwrap_err();
            assert!(matches!(&error, EngineError::Refused(text) if text.contains(words)), "{error}");
        }
    }
}
