//! Admission, naively: a partition's whole history is kept, and every question is answered by reading it again.

use std::collections::BTreeMap;

use super::Facts;
use crate::admission::{AdmissionSettings, Decision};
use crate::inputs::StockCandidate;
use crate::records::{Activity, Millis, Outcome, Reason, Sale, StockLevel, Topic};

/// What was read of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Given {
    /// A row of `sales`.
    Sale(Sale),
    /// A row of `user_activity`.
    Activity(Activity),
    /// A row of `inventory`.
    StockLevel(StockLevel),
    /// No value, and perhaps a key.
    Tombstone(Option<Vec<u8>>),
    /// A value that cannot be read.
    Unreadable(Reason),
}

/// A record of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What was read of it.
    pub given: Given,
    /// Its offset.
    pub offset: i64,
    /// Absent where Kafka gave none.
    pub kafka_timestamp: Option<Millis>,
}

/// A record, what became of it, and the partition clock before it.
#[derive(Clone, Debug)]
struct Entry {
    record: Record,
    decision: Decision,
    clock: Option<Millis>,
}

/// Every record that a partition has given, in offset order.
#[derive(Clone, Debug)]
pub struct History {
    topic: Topic,
    partition: i32,
    settings: AdmissionSettings,
    entries: Vec<Entry>,
    /// What is dated before this is late, whatever was given: its windows had left memory at the first record.
    late_before: Option<Millis>,
    /// Where in `entries` each transaction_id or product_id is spoken of.
    mentions: BTreeMap<Vec<u8>, Vec<usize>>,
}

impl History {
    /// That of a partition which has given no record. What is dated before `late_before`, if there is such an instant, is
    /// late.
    pub fn new(topic: Topic, partition: i32, settings: AdmissionSettings, late_before: Option<Millis>) -> History {
        History { topic, partition, settings, entries: Vec::new(), late_before, mentions: BTreeMap::new() }
    }

    /// The greatest event time of an accepted or correcting record so far; at least where nothing earlier can come.
    pub fn clock(&self) -> Option<Millis> {
        let least = self.late_before.filter(|_| self.topic != Topic::Inventory);
        self.greatest().max(least.map(|least| least + self.settings.correction_window))
    }

    fn greatest(&self) -> Option<Millis> {
        let last = self.entries.last()?;
        match (last.decision.outcome, event_time(&last.record.given)) {
            (Outcome::Accepted | Outcome::Correction, Some(at)) => Some(last.clock.map_or(at, |clock| clock.max(at))),
            _ => last.clock,
        }
    }

    /// Adds the partition's next record, and says what becomes of it.
    pub fn add(&mut self, record: Record) -> Decision {
        let decision = self.decide(&record);
        let clock = self.clock();
        let id = match &record.given {
            Given::Sale(sale) => Some(sale.transaction_id.as_bytes()),
            Given::StockLevel(level) => Some(level.product_id.as_bytes()),
            Given::Tombstone(key) => key.as_deref(),
            Given::Activity(_) | Given::Unreadable(_) => None,
        };
        if let Some(id) = id {
            self.mentions.entry(id.to_vec()).or_default().push(self.entries.len());
        }
        self.entries.push(Entry { record, decision, clock });
        decision
    }

    /// The outcome table, row by row.
    fn decide(&self, record: &Record) -> Decision {
        let because = |outcome, reason| Decision { outcome, reason: Some(reason) };
        let plain = |outcome| Decision { outcome, reason: None };

        // rejected
        match &record.given {
            Given::Unreadable(reason) => return because(Outcome::Rejected, *reason),
            Given::Tombstone(key) => {
                let has_key = key.as_ref().is_some_and(|key| !key.is_empty());
                if self.topic == Topic::UserActivity || !has_key {
                    return because(Outcome::Rejected, Reason::NullValue);
                }
            }
            _ => {}
        }
        if let Some(at) = event_time(&record.given) {
            // late
            let can_be_late = matches!(record.given, Given::Sale(_) | Given::Activity(_));
            if can_be_late && self.clock().is_some_and(|clock| at < clock - self.settings.correction_window) {
                return because(Outcome::Late, Reason::Late);
            }
            // quarantined
            if record.kafka_timestamp.is_some_and(|kafka| at > kafka + self.settings.max_future) {
                return because(Outcome::Quarantined, Reason::FutureTimestamp);
            }
        }
        match &record.given {
            Given::Tombstone(_) => plain(Outcome::Cancelled),
            Given::Sale(sale) => match self.known(sale.transaction_id.as_bytes()) {
                Some(row) if row == sale => plain(Outcome::Duplicate),
                Some(_) => plain(Outcome::Correction),
                None => plain(Outcome::Accepted),
            },
            _ => plain(Outcome::Accepted),
        }
    }

    /// The entries that speak of an id and had an effect.
    fn effects(&self, id: &[u8]) -> impl DoubleEndedIterator<Item = (usize, &Entry)> {
        let at = self.mentions.get(id).map_or(&[][..], Vec::as_slice);
        at.iter().map(|index| (*index, &self.entries[*index])).filter(|(_, entry)| {
            matches!(entry.decision.outcome, Outcome::Accepted | Outcome::Correction | Outcome::Cancelled)
        })
    }

    fn can_be_corrected(&self, row: &Sale, clock: Option<Millis>) -> bool {
        clock.is_none_or(|clock| row.timestamp >= clock - self.settings.correction_window)
    }

    /// The current row of a transaction that is known.
    fn known(&self, id: &[u8]) -> Option<&Sale> {
        match &self.effects(id).next_back()?.1.record.given {
            Given::Sale(row) if self.can_be_corrected(row, self.clock()) => Some(row),
            _ => None,
        }
    }

    /// Adds what the partition's records amount to.
    pub fn add_facts(&self, facts: &mut Facts) {
        if !self.entries.is_empty() {
            facts.clocks.insert((self.topic, self.partition), self.clock());
        }
        for (index, entry) in self.entries.iter().enumerate() {
            *facts.outcomes.entry((entry.decision.outcome, entry.decision.reason)).or_default() += 1;
            if !matches!(entry.decision.outcome, Outcome::Accepted | Outcome::Correction) {
                continue;
            }
            match &entry.record.given {
                Given::Sale(sale) if self.sale_is_in_force(index, sale) => {
                    facts.sales.push(sale.clone());
                    facts.sales_partitions.push(self.partition);
                }
                Given::Activity(activity) => facts.activities.push(activity.clone()),
                Given::StockLevel(level) if !self.is_cancelled_after(index, level.product_id.as_bytes()) => {
                    let (partition, offset) = (self.partition, entry.record.offset);
                    facts.stock.push(StockCandidate { level: level.clone(), partition, offset });
                }
                _ => {}
            }
        }
    }

    /// Whether the row still counts: the next record that had an effect on its transaction_id, if there is one, did
    /// not find it known.
    fn sale_is_in_force(&self, index: usize, row: &Sale) -> bool {
        let next = self.effects(row.transaction_id.as_bytes()).find(|(later, _)| *later > index);
        next.is_none_or(|(_, next)| match next.decision.outcome {
            Outcome::Accepted => true,
            Outcome::Cancelled => !self.can_be_corrected(row, next.clock),
            _ => false,
        })
    }

    fn is_cancelled_after(&self, index: usize, product: &[u8]) -> bool {
        self.effects(product).any(|(later, entry)| later > index && entry.decision.outcome == Outcome::Cancelled)
    }
}

fn event_time(given: &Given) -> Option<Millis> {
    match given {
        Given::Sale(sale) => Some(sale.timestamp),
        Given::Activity(activity) => Some(activity.timestamp),
        Given::StockLevel(level) => Some(level.last_updated),
        Given::Tombstone(_) | Given::Unreadable(_) => None,
    }
}
