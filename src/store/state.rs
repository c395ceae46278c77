//! `pipeline_state` as documents: what `progress`, `origin` and `fingerprints` look like in either store.

use std::collections::BTreeMap;

use std::sync::Arc;

use tillflow_dataflows::records::Topic;

use super::{Acceptance, Accepted, Fingerprint, Fingerprints, Offsets, Origin, Progress, StoreError};
use crate::document::{Collection, Document, FieldName, Fields, Value};

/// The `_id` of the progress document.
pub(super) const PROGRESS: &str = "progress";
/// The `_id` of the origin document.
pub(super) const ORIGIN: &str = "origin";
/// The `_id` of the document with the last consumed records.
pub(super) const FINGERPRINTS: &str = "fingerprints";

/// What an instance holds: its fence, and the epoch that it found or committed last. Both are counters, and count the
/// same again in a store that went back behind an instance: so its name counts, too.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) fence: i64,
    pub(super) epoch: u64,
    pub(super) instance: Arc<str>,
}

impl Held {
    /// What it means that `progress` did not match `self`: `commit_epoch` is there already by our own hand, or we
    /// are fenced.
    pub(super) fn judge(&self, commit_epoch: u64, found: Option<&Progress>) -> Result<(), StoreError> {
        let ours = |found: &Progress| found.fence == self.fence && *found.instance == *self.instance;
        Err(StoreError::Fenced(match found {
            Some(found) if ours(found) && found.epoch == commit_epoch => return Ok(()),
            Some(found) if !ours(found) => format!(
                "instance \"{}\" took the store over (fence {}, ours was {}); this one must stop",
                found.instance, found.fence, self.fence
            ),
            Some(found) => format!(
                "the store is at epoch {} where this instance left it at {}: it was restored or changed by another hand; \
                 start again",
                found.epoch, self.epoch
            ),
            None => "the store's progress is gone: it was emptied or replaced while in use; start again".into(),
        }))
    }
}

/// Where the raw documents of a partition are: `_id`s from the first up to the second.
pub(super) fn raw_ids(topic: Topic, partition: i32) -> (String, String) {
    let before = format!("{}|{partition}", topic.name());
    // "}" follows "|".
    (format!("{before}|"), format!("{before}}}"))
}

/// `epoch` as the stores keep it. Epochs count commits and stay far below the bound of an Int64.
pub(super) fn epoch_to_stored(epoch: u64) -> Result<i64, StoreError> {
    i64::try_from(epoch).map_err(|_| StoreError::Unreadable(format!("epoch {epoch} is beyond what a store can hold")))
}

pub(super) fn progress_document(progress: &Progress) -> Result<Document, StoreError> {
    let mut fields: Fields = vec![("epoch".into(), Value::Int(epoch_to_stored(progress.epoch)?))];
    if let Some(as_of) = progress.as_of {
        fields.push(("as_of".into(), Value::Time(as_of)));
    }
    fields.push(("offsets".into(), offsets_to_value(&progress.offsets)));
    if let Some(committed_at) = progress.committed_at {
        fields.push(("committed_at".into(), Value::Time(committed_at)));
    }
    fields.push(("instance".into(), Value::Text(progress.instance.clone())));
    fields.push(("fence".into(), Value::Int(progress.fence)));
    Ok(Document { collection: Collection::PipelineState, id: PROGRESS.into(), fields })
}

pub(super) fn progress_from(document: &Document) -> Result<Progress, StoreError> {
    let epoch = match document.get("epoch") {
        Some(Value::Int(epoch)) => u64::try_from(*epoch).map_err(|_| unreadable(document, "epoch"))?,
        _ => return Err(unreadable(document, "epoch")),
    };
    let Some(Value::Int(fence)) = document.get("fence") else { return Err(unreadable(document, "fence")) };
    let instance = match document.get("instance") {
        Some(Value::Text(instance)) => instance.clone(),
        None => String::new(),
        Some(_) => return Err(unreadable(document, "instance")),
    };
    Ok(Progress {
        epoch,
        as_of: time(document, "as_of")?,
        offsets: offsets_from(document)?,
        committed_at: time(document, "committed_at")?,
        instance,
        fence: *fence,
    })
}

/// `fence` is that of the instance that writes it.
pub(super) fn origin_document(origin: &Origin, fence: i64) -> Document {
    let mut fields: Fields = vec![
        ("fence".into(), Value::Int(fence)),
        ("offsets".into(), offsets_to_value(&origin.offsets)),
        ("configuration".into(), Value::Text(origin.configuration.clone())),
    ];
    if !origin.lineage.is_empty() {
        fields.push(("lineage".into(), Value::Text(origin.lineage.clone())));
    }
    if !origin.accepted.is_empty() {
        let accepted = origin.accepted.iter().map(|Accepted { what, at, by, begun }| {
            Value::Document(vec![
                ("what".into(), Value::Text(what.to_string())),
                // Not a time: inside a list, SQLite would not tell it from a number.
                ("at_ms".into(), Value::Int(*at)),
                ("by".into(), Value::Text(by.clone())),
                ("begun".into(), Value::Int(*begun)),
            ])
        });
        fields.push(("accepted".into(), Value::List(accepted.collect())));
    }
    if !origin.late_before.is_empty() {
        fields.push(("late_before_ms".into(), by_partition(&origin.late_before, |before| Value::Int(*before))));
    }
    if let Some(before) = origin.expiring_before {
        fields.push(("expiring_before".into(), Value::Time(before)));
    }
    Document { collection: Collection::PipelineState, id: ORIGIN.into(), fields }
}

pub(super) fn origin_from(document: &Document) -> Result<Origin, StoreError> {
    let Some(Value::Text(configuration)) = document.get("configuration") else {
        return Err(unreadable(document, "configuration"));
    };
    let lineage = match document.get("lineage") {
        Some(Value::Text(lineage)) => lineage.clone(),
        None => String::new(),
        Some(_) => return Err(unreadable(document, "lineage")),
    };
    let accepted = match document.get("accepted") {
        Some(Value::List(accepted)) => accepted
            .iter()
            .map(accepted_from)
            .collect::<Option<Vec<Accepted>>>()
            .ok_or_else(|| unreadable(document, "accepted"))?,
        None => Vec::new(),
        Some(_) => return Err(unreadable(document, "accepted")),
    };
    let late_before = match document.get("late_before_ms") {
        Some(_) => numbers_by_partition(document, "late_before_ms")?,
        None => BTreeMap::new(),
    };
    let offsets = offsets_from(document)?;
    let expiring_before = time(document, "expiring_before")?;
    Ok(Origin { offsets, configuration: configuration.clone(), lineage, accepted, late_before, expiring_before })
}

fn accepted_from(value: &Value) -> Option<Accepted> {
    let Value::Document(fields) = value else { return None };
    let field = |name: &str| fields.iter().find(|(field, _)| field == name).map(|(_, value)| value);
    let (Some(Value::Text(what)), Some(Value::Int(at)), Some(Value::Text(by)), Some(Value::Int(begun))) =
        (field("what"), field("at_ms"), field("by"), field("begun"))
    else {
        return None;
    };
    Some(Accepted { what: Acceptance::parse(what)?, at: *at, by: by.clone(), begun: *begun })
}

pub(super) fn fingerprints_document(fingerprints: &Fingerprints, epoch: u64) -> Result<Document, StoreError> {
    let of_partition = |fingerprint: &Fingerprint| {
        Value::Document(vec![
            ("offset".into(), Value::Int(fingerprint.offset)),
            ("crc".into(), Value::Int(i64::from(fingerprint.crc))),
        ])
    };
    let fields = vec![
        ("epoch".into(), Value::Int(epoch_to_stored(epoch)?)),
        ("records".into(), by_partition(fingerprints, of_partition)),
    ];
    Ok(Document { collection: Collection::PipelineState, id: FINGERPRINTS.into(), fields })
}

pub(super) fn fingerprints_from(document: &Document) -> Result<Fingerprints, StoreError> {
    read_by_partition(document, "records", |value| {
        let Value::Document(fields) = value else { return None };
        let field = |name: &str| match fields.iter().find(|(field, _)| field == name) {
            Some((_, Value::Int(number))) => Some(*number),
            _ => None,
        };
        Some(Fingerprint { offset: field("offset")?, crc: u32::try_from(field("crc")?).ok()? })
    })
}

/// `{topic: {partition: next offset}}`.
pub(super) fn offsets_to_value(offsets: &Offsets) -> Value {
    by_partition(offsets, |next| Value::Int(*next))
}

fn offsets_from(document: &Document) -> Result<Offsets, StoreError> {
    numbers_by_partition(document, "offsets")
}

fn numbers_by_partition(document: &Document, field: &str) -> Result<BTreeMap<(Topic, i32), i64>, StoreError> {
    read_by_partition(document, field, |value| match value {
        Value::Int(number) => Some(*number),
        _ => None,
    })
}

/// `{topic: {partition: value}}`.
fn by_partition<T>(values: &BTreeMap<(Topic, i32), T>, of_partition: impl Fn(&T) -> Value) -> Value {
    let mut topics: Fields = Vec::new();
    for ((topic, partition), value) in values {
        let partition = (FieldName::from(partition.to_string()), of_partition(value));
        match topics.last_mut() {
            Some((name, Value::Document(partitions))) if name == topic.name() => partitions.push(partition),
            _ => topics.push((topic.name().into(), Value::Document(vec![partition]))),
        }
    }
    Value::Document(topics)
}

fn read_by_partition<T>(
    document: &Document,
    field: &str,
    read: impl Fn(&Value) -> Option<T>,
) -> Result<BTreeMap<(Topic, i32), T>, StoreError> {
    let Some(Value::Document(topics)) = document.get(field) else { return Err(unreadable(document, field)) };
    let mut values = BTreeMap::new();
    for (name, partitions) in topics {
        let (Some(topic), Value::Document(partitions)) = (Topic::from_name(name), partitions) else {
            return Err(unreadable(document, field));
        };
        for (partition, value) in partitions {
            let (Ok(partition), Some(value)) = (partition.parse::<i32>(), read(value)) else {
                return Err(unreadable(document, field));
            };
            values.insert((topic, partition), value);
        }
    }
    Ok(values)
}

fn time(document: &Document, field: &str) -> Result<Option<i64>, StoreError> {
    match document.get(field) {
        None => Ok(None),
        Some(Value::Time(millis)) => Ok(Some(*millis)),
        Some(_) => Err(unreadable(document, field)),
    }
}

fn unreadable(document: &Document, field: &str) -> StoreError {
    StoreError::Unreadable(format!(
        "pipeline_state's document \"{}\" has no readable \"{field}\": it was not written by this version of tillflow; \
         use another database or file, or restore it from a backup",
        document.id
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offsets() -> Offsets {
        Offsets::from([
            ((Topic::Sales, 0), 10),
            ((Topic::Sales, 12), 7),
            ((Topic::Inventory, 1), 0),
            ((Topic::UserActivity, 2), i64::MAX),
        ])
    }

    #[test]
    fn progress_survives_the_way_through_a_document() {
        for as_of in [None, Some(1_700_000_000_123)] {
            let progress = Progress {
                epoch: 12,
                as_of,
                offsets: offsets(),
                committed_at: as_of,
                instance: "host-1".into(),
                fence: 3,
            };
            assert_eq!(progress_from(&progress_document(&progress).unwrap()).unwrap(), progress);
        }
    }

    #[test]
    fn origin_survives_the_way_through_a_document() {
        let older = Origin { offsets: offsets(), configuration: "source=kafka".into(), ..Origin::default() };
        let accepted = |what, at| Accepted { what, at, by: "host-1".into(), begun: 3 };
        let loss = Acceptance::Loss { topic: Topic::Sales, partition: 2, from: 0, to: 99 };
        let gone = Acceptance::Gone { topic: Topic::UserActivity, partition: 0, next: 7 };
        let origin = Origin {
            lineage: "0f".into(),
            accepted: vec![accepted(loss, 1_700_000_000_123), accepted(gone, 1_700_000_000_124)],
            late_before: BTreeMap::from([((Topic::Sales, 12), 1_700_000_000_000), ((Topic::UserActivity, 2), 0)]),
            expiring_before: Some(1_700_000_000_125),
            ..older.clone()
        };
        for origin in [older, origin] {
            assert_eq!(origin_from(&origin_document(&origin, 3)).unwrap(), origin);
        }
    }

    #[test]
    fn fingerprints_survive_the_way_through_a_document() {
        let fingerprints = Fingerprints::from([
            ((Topic::Sales, 0), Fingerprint { offset: 9, crc: u32::MAX }),
            ((Topic::Inventory, 12), Fingerprint { offset: i64::MAX - 1, crc: 0 }),
        ]);
        let mut document = fingerprints_document(&fingerprints, 3).unwrap();
        assert_eq!(fingerprints_from(&document).unwrap(), fingerprints);
        document.fields[1].1 = Value::Document(vec![(
            "sales".into(),
            Value::Document(vec![("0".into(), Value::Document(vec![("offset".into(), Value::Int(1))]))]),
        )]);
        assert!(matches!(fingerprints_from(&document), Err(StoreError::Unreadable(_))));
    }

    #[test]
    fn a_topic_that_is_not_ours_is_refused() {
        let mut document = origin_document(&Origin { offsets: offsets(), ..Origin::default() }, 3);
        document.fields[1].1 = Value::Document(vec![("orders".into(), Value::Document(Vec::new()))]);
        assert!(matches!(origin_from(&document), Err(StoreError::Unreadable(_))));
    }

    #[test]
    fn an_epoch_below_zero_is_refused() {
        let fields = vec![("epoch".into(), Value::Int(-1)), ("fence".into(), Value::Int(1))];
        let document = Document { collection: Collection::PipelineState, id: PROGRESS.into(), fields };
        assert!(matches!(progress_from(&document), Err(StoreError::Unreadable(_))));
    }
}
