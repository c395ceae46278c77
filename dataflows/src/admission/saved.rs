//! What a partition remembers, saved between two of its records.

use serde::{Deserialize, Serialize};

use super::sales::KnownSales;
use super::stock::CurrentLevels;
use super::{AdmissionSettings, Fact, Memory, Partition};
use crate::records::{Millis, Topic};
use crate::state::{Chunk, ChunkError};

/// A partition's admission as it was between two of its records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedPartition {
    /// Its topic.
    pub topic: Topic,
    /// Its number.
    pub number: i32,
    /// Whether it has given a record, be it one that moved no clock: as long as such a partition has no clock, no window
    /// is final. One that is gone gives none before it is there again; what it remembers is kept until then.
    pub has_given: bool,
    /// Its clock.
    pub clock: Option<Millis>,
    /// What it remembers.
    pub memory: Vec<Chunk>,
}

impl Partition {
    /// Everything that decides what becomes of the records to come.
    pub fn save(&self) -> SavedPartition {
        let mut memory = Vec::new();
        let mut give = |chunk| memory.push(chunk);
        let topic = match &self.memory {
            Memory::Sales(known) => {
                known.save(&mut give);
                Topic::Sales
            }
            Memory::Activity => Topic::UserActivity,
            Memory::Inventory(levels) => {
                levels.save(&mut give);
                Topic::Inventory
            }
        };
        SavedPartition { topic, number: self.number, has_given: self.has_given, clock: self.clock, memory }
    }

    /// A partition that goes on where another one was saved. Emits the stock candidates in force: the graph gets them from
    /// here and from nowhere else.
    pub fn restore(
        saved: &SavedPartition,
        settings: AdmissionSettings,
        emit: &mut impl FnMut(Fact<'_>),
    ) -> Result<Partition, ChunkError> {
        let SavedPartition { topic, number, has_given, clock, memory } = saved;
        let memory = match topic {
            Topic::Sales => Memory::Sales(KnownSales::restore(memory)?),
            Topic::UserActivity => Memory::Activity,
            Topic::Inventory => Memory::Inventory(CurrentLevels::restore(memory, *number, emit)?),
        };
        Ok(Partition { number: *number, settings, has_given: *has_given, clock: *clock, memory })
    }
}
