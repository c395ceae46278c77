//! What a checkpoint says of itself.

use serde::{Deserialize, Serialize};
use tillflow_dataflows::records::{Millis, Topic};

use crate::store::Offsets;

/// The version of the layout of manifests and shards, and of what chunks hold. Raised whenever one of them changes.
pub(super) const FORMAT: u32 = 4;

/// A whole checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::engine) struct Manifest {
    /// [`FORMAT`].
    pub(super) format: u32,
    /// The store's history that it belongs to.
    pub(in crate::engine) lineage: String,
    /// The settings that it was made with.
    pub(in crate::engine) configuration: String,
    /// The run that made it.
    pub(super) instance: String,
    /// When it was complete.
    pub(in crate::engine) made_at: Millis,
    /// The next offset of each partition, by topic and number.
    pub(super) offsets: Vec<(String, i32, i64)>,
    /// Its shards.
    pub(super) shards: Vec<ShardObject>,
}

/// A shard as an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ShardObject {
    /// Its name within the checkpoint.
    pub(super) name: String,
    /// Its length.
    pub(super) bytes: usize,
    /// CRC-32 of its bytes.
    pub(super) crc: u32,
}

impl Manifest {
    /// The records below these offsets are in it, and no others. Absent if one of the topics is not known.
    pub(in crate::engine) fn offsets(&self) -> Option<Offsets> {
        let place =
            |(topic, partition, next): &(String, i32, i64)| Some(((Topic::from_name(topic)?, *partition), *next));
        self.offsets.iter().map(place).collect()
    }

    /// Offsets as a manifest has them.
    pub(super) fn listed(offsets: &Offsets) -> Vec<(String, i32, i64)> {
        offsets.iter().map(|((topic, partition), next)| (topic.name().to_owned(), *partition, *next)).collect()
    }
}
