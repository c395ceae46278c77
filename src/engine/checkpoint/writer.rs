//! The thread that writes checkpoints.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};
use object_store::PutPayload;
use tillflow_dataflows::records::Millis;

use super::folder::{Folder, Owner};
use super::manifest::{FORMAT, Manifest, ShardObject};
use super::schedule::Schedule;
use super::shard::Shard;
use crate::engine::now;
use crate::metrics::Metrics;
use crate::store::Offsets;

/// How many whole checkpoints are kept: where the store goes back behind the newest, an older one may do.
const KEPT: usize = 3;

/// How often it is looked whether the store has got as far as a checkpoint.
const LOOK: Duration = Duration::from_millis(200);

/// How far the store is, and whether it will get any further.
#[derive(Debug, Default)]
pub(in crate::engine) struct Written {
    reached: Mutex<(Offsets, bool)>,
    changed: Condvar,
}

impl Written {
    /// The store has committed the records below `offsets`.
    pub(in crate::engine) fn reach(&self, offsets: &Offsets) {
        self.reached.lock().unwrap_or_else(PoisonError::into_inner).0.clone_from(offsets);
        self.changed.notify_all();
    }

    /// Nothing will be committed any more.
    pub(in crate::engine) fn end(&self) {
        self.reached.lock().unwrap_or_else(PoisonError::into_inner).1 = true;
        self.changed.notify_all();
    }

    /// Waits until the store has committed the records below `offsets`; false if it never will.
    fn wait(&self, offsets: &Offsets) -> bool {
        let mut reached = self.reached.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let is_reached =
                offsets.iter().all(|(place, next)| reached.0.get(place).is_some_and(|committed| committed >= next));
            if is_reached || reached.1 {
                return is_reached;
            }
            reached = self.changed.wait_timeout(reached, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// What writes checkpoints.
pub(in crate::engine) struct Writer {
    pub(in crate::engine) folder: Folder,
    pub(in crate::engine) owner: Owner,
    pub(in crate::engine) configuration: String,
    pub(in crate::engine) instance: String,
    pub(in crate::engine) workers: usize,
    pub(in crate::engine) schedule: Arc<Schedule>,
    pub(in crate::engine) written: Arc<Written>,
    pub(in crate::engine) metrics: Arc<Metrics>,
}

impl Writer {
    /// Writes what the workers send, until they have ended. A checkpoint that cannot be written is said and left out: the
    /// next one may be, and until then a start reads more again.
    pub(in crate::engine) fn run(self, shards: &Receiver<Shard>) {
        let mut claimed = false;
        let mut waiting: Vec<Shard> = Vec::new();
        loop {
            let shard = match shards.recv_timeout(LOOK) {
                Ok(shard) => shard,
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            // Those of a checkpoint that was abandoned; one may come late.
            if waiting.first().is_some_and(|known| known.tick > shard.tick) {
                continue;
            }
            waiting.retain(|known| known.tick == shard.tick);
            waiting.push(shard);
            if waiting.len() < self.workers {
                continue;
            }
            let shards = std::mem::take(&mut waiting);
            let tick = shards[0].tick;
            let result = self.write(shards, &mut claimed);
            let took = self.schedule.finished(tick);
            match result {
                Ok(true) => self.metrics.checkpointed(took),
                Ok(false) => {}
                Err(error) => tracing::warn!("cannot write a checkpoint into {}: {error}", self.folder.shown()),
            }
        }
    }

    /// Writes a checkpoint, unless the store will not get as far or nobody waits for it any more. Leaves nothing of one that
    /// does not become whole.
    fn write(&self, shards: Vec<Shard>, claimed: &mut bool) -> Result<bool, String> {
        let made_at = now();
        // The time first: later ones come later in order.
        let id = format!("{made_at:015}-{}", self.instance.replace(|c: char| !c.is_ascii_alphanumeric(), "-"));
        let is_whole = self.write_parts(&id, made_at, shards, claimed);
        if is_whole == Ok(true) {
            self.prune(&id);
            crate::fault::point("checkpoint.pruned");
        } else if let Err(error) = self.folder.remove(&id) {
            tracing::warn!("cannot remove what is left of {id} from {}: {error}", self.folder.shown());
        }
        is_whole
    }

    fn write_parts(&self, id: &str, made_at: Millis, shards: Vec<Shard>, claimed: &mut bool) -> Result<bool, String> {
        let mut objects = Vec::new();
        let mut offsets = Offsets::new();
        for (place, shard) in shards.into_iter().enumerate() {
            if self.schedule.is_given_up() {
                return Ok(false);
            }
            offsets.extend(
                shard.partitions.iter().filter_map(|(saved, next)| Some(((saved.topic, saved.number), (*next)?))),
            );
            let (name, pieces) = (format!("shard-{place}"), shard.encode());
            let mut crc = crc32fast::Hasher::new();
            pieces.iter().for_each(|piece| crc.update(piece));
            let payload = PutPayload::from_iter(pieces);
            objects.push(ShardObject { name: name.clone(), bytes: payload.content_length(), crc: crc.finalize() });
            self.folder.write_part(id, &name, payload)?;
            crate::fault::point("checkpoint.shard");
        }
        if !self.written.wait(&offsets) {
            return Ok(false);
        }
        crate::fault::point("checkpoint.reached");
        if !*claimed {
            self.folder.claim(&self.owner)?;
            *claimed = true;
            crate::fault::point("checkpoint.claimed");
        }
        let manifest = Manifest {
            format: FORMAT,
            lineage: self.owner.lineage.clone(),
            configuration: self.configuration.clone(),
            instance: self.instance.clone(),
            made_at,
            offsets: Manifest::listed(&offsets),
            shards: objects,
        };
        self.folder.write_manifest(id, &manifest)?;
        crate::fault::point("checkpoint.whole");
        Ok(true)
    }

    /// Removes what is older than the last few checkpoints.
    fn prune(&self, newest: &str) {
        let kept: Vec<String> = self.folder.checkpoints().into_iter().take(KEPT).map(|found| found.id).collect();
        let oldest = kept.iter().map(String::as_str).min().unwrap_or(newest);
        for id in self.folder.ids() {
            // What is between the kept ones and not whole may be another instance's, which is just being made. What is
            // before them and not whole was left by one that was killed.
            if id.as_str() < oldest
                && let Err(error) = self.folder.remove(&id)
            {
                tracing::warn!("cannot remove the checkpoint {id} from {}: {error}", self.folder.shown());
            }
        }
    }
}
