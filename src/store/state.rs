//! `pipeline_state` as documents: what `progress` and `origin` look like in either store.

use std::sync::Arc;

use tillflow_dataflows::records::Topic;

use super::{Offsets, Origin, Progress, StoreError};
use crate::document::{Collection, Document, Fields, Value};

/// The `_id` of the progress document.
pub(super) const PROGRESS: &str = "progress";
/// The `_id` of the origin document.
pub(super) const ORIGIN: &str = "origin";

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

pub(super) fn origin_document(origin: &Origin) -> Document {
    let fields = vec![
        ("offsets".into(), offsets_to_value(&origin.offsets)),
        ("configuration".into(), Value::Text(origin.configuration.clone())),
    ];
    Document { collection: Collection::PipelineState, id: ORIGIN.into(), fields }
}

pub(super) fn origin_from(document: &Document) -> Result<Origin, StoreError> {
    let Some(Value::Text(configuration)) = document.get("configuration") else {
        return Err(unreadable(document, "configuration"));
    };
    Ok(Origin { offsets: offsets_from(document)?, configuration: configuration.clone() })
}

/// `{topic: {partition: next offset}}`.
pub(super) fn offsets_to_value(offsets: &Offsets) -> Value {
    let mut topics: Fields = Vec::new();
    for ((topic, partition), next) in offsets {
        let partition = (partition.to_string(), Value::Int(*next));
        match topics.last_mut() {
            Some((name, Value::Document(partitions))) if name == topic.name() => partitions.push(partition),
            _ => topics.push((topic.name().into(), Value::Document(vec![partition]))),
        }
    }
    Value::Document(topics)
}

fn offsets_from(document: &Document) -> Result<Offsets, StoreError> {
    let Some(Value::Document(topics)) = document.get("offsets") else { return Err(unreadable(document, "offsets")) };
    let mut offsets = Offsets::new();
    for (name, partitions) in topics {
        let (Some(topic), Value::Document(partitions)) = (Topic::from_name(name), partitions) else {
            return Err(unreadable(document, "offsets"));
        };
        for (partition, next) in partitions {
            let (Ok(partition), Value::Int(next)) = (partition.parse::<i32>(), next) else {
                return Err(unreadable(document, "offsets"));
            };
            offsets.insert((topic, partition), *next);
        }
    }
    Ok(offsets)
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
        let origin = Origin { offsets: offsets(), configuration: "source=kafka".into() };
        assert_eq!(origin_from(&origin_document(&origin)).unwrap(), origin);
    }

    #[test]
    fn a_topic_that_is_not_ours_is_refused() {
        let mut document = origin_document(&Origin { offsets: offsets(), configuration: String::new() });
        document.fields[0].1 = Value::Document(vec![("orders".into(), Value::Document(Vec::new()))]);
        assert!(matches!(origin_from(&document), Err(StoreError::Unreadable(_))));
    }

    #[test]
    fn an_epoch_below_zero_is_refused() {
        let fields = vec![("epoch".into(), Value::Int(-1)), ("fence".into(), Value::Int(1))];
        let document = Document { collection: Collection::PipelineState, id: PROGRESS.into(), fields };
        assert!(matches!(progress_from(&document), Err(StoreError::Unreadable(_))));
    }
}
