//! The folder of checkpoints: objects with names, in a directory (or whatever else `object_store` speaks to).

use std::path::Path as FilePath;
use std::sync::Arc;

use bytes::Bytes;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _, PutPayload};
use serde::{Deserialize, Serialize};
use tokio::runtime::{Builder, Runtime};

use super::manifest::{FORMAT, Manifest};
use super::shard::Shard;
use crate::engine::EngineError;
use crate::store::StoreError;

/// The object that says whose folder it is.
const OWNER: &str = "tillflow.json";
/// What all checkpoints are under.
const CHECKPOINTS: &str = "checkpoints";

/// Whose a folder is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::engine) struct Owner {
    /// The store's history.
    pub(in crate::engine) lineage: String,
    /// The source's identity.
    pub(in crate::engine) source: String,
}

/// A checkpoint that is there.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Found {
    /// Its name; later ones come later in order.
    pub(super) id: String,
    pub(in crate::engine) manifest: Manifest,
}

impl Found {
    /// Its name.
    pub(in crate::engine) fn id(&self) -> &str {
        &self.id
    }
}

/// A folder.
pub(in crate::engine) struct Folder {
    objects: Arc<dyn ObjectStore>,
    runtime: Runtime,
    shown: String,
}

impl Folder {
    /// Opens a folder, and makes it if it is not there.
    pub(in crate::engine) fn open(path: &FilePath) -> Result<Folder, EngineError> {
        let shown = path.display().to_string();
        let unavailable = |error: &dyn std::fmt::Display| {
            EngineError::Store(StoreError::Unavailable(format!(
                "cannot open the state folder {shown}: {error}; check its permissions and its disk, or name another with \
                 --state"
            )))
        };
        std::fs::create_dir_all(path).map_err(|error| unavailable(&error))?;
        let objects = LocalFileSystem::new_with_prefix(path).map_err(|error| unavailable(&error))?;
        // A checkpoint that is complete must not lose its shards with the power.
        let objects = Arc::new(objects.with_fsync(true).with_automatic_cleanup(true));
        Folder::of(objects, shown.clone()).map_err(|error| unavailable(&error))
    }

    /// That of objects which are kept wherever `shown` says.
    pub(in crate::engine) fn of(objects: Arc<dyn ObjectStore>, shown: String) -> std::io::Result<Folder> {
        Ok(Folder { objects, runtime: Builder::new_current_thread().build()?, shown })
    }

    /// The folder as messages have it.
    pub(in crate::engine) fn shown(&self) -> &str {
        &self.shown
    }

    /// Whose it is; nobody's when it is new.
    pub(in crate::engine) fn owner(&self) -> Result<Option<Owner>, EngineError> {
        match self.read(&Path::from(OWNER)) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| {
                EngineError::Refused(format!(
                    "the state folder {} does not say whose it is ({OWNER}: {error}): name another with --state, or remove \
                     it if nothing in it matters",
                    self.shown
                ))
            }),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(EngineError::Store(StoreError::Unavailable(format!(
                "cannot read {OWNER} in the state folder {}: {error}; check its permissions and its disk",
                self.shown
            )))),
        }
    }

    /// Writes down whose it is.
    pub(super) fn claim(&self, owner: &Owner) -> Result<(), String> {
        let text = serde_json::to_vec(owner).map_err(|error| error.to_string())?;
        self.write(&Path::from(OWNER), text.into())
    }

    /// Every whole checkpoint that this version understands, the newest first. What is damaged is left out: an older one
    /// does as well.
    pub(in crate::engine) fn checkpoints(&self) -> Vec<Found> {
        let mut found: Vec<Found> = Vec::new();
        for id in self.ids() {
            match self.manifest(&id) {
                Ok(Some(manifest)) => found.push(Found { id, manifest }),
                Ok(None) => {}
                Err(error) => tracing::warn!("the checkpoint {id} in {} is left out: {error}", self.shown),
            }
        }
        found.reverse();
        found
    }

    /// The names of all checkpoints, whole or not, in order.
    pub(super) fn ids(&self) -> Vec<String> {
        let under = Path::from(CHECKPOINTS);
        match self.runtime.block_on(self.objects.list_with_delimiter(Some(&under))) {
            Ok(list) => {
                let mut ids: Vec<String> =
                    list.common_prefixes.iter().filter_map(|path| path.filename().map(str::to_owned)).collect();
                ids.sort();
                ids
            }
            Err(error) => {
                tracing::warn!("cannot list the checkpoints in {}: {error}", self.shown);
                Vec::new()
            }
        }
    }

    /// The manifest of a checkpoint, if it has one that this version understands.
    fn manifest(&self, id: &str) -> Result<Option<Manifest>, String> {
        let list = self.runtime.block_on(self.objects.list_with_delimiter(Some(&within(id)))).map_err(words)?;
        let name = |path: &Path| path.filename().map(str::to_owned);
        let Some(name) = list.objects.iter().filter_map(|object| name(&object.location)).find(|name| is_manifest(name))
        else {
            return Ok(None);
        };
        let bytes = self.read(&within(id).join(name.as_str())).map_err(words)?;
        if name != manifest_name(crc32fast::hash(&bytes)) {
            return Err(format!("{name} is damaged"));
        }
        let format: Format = serde_json::from_slice(&bytes).map_err(|error| format!("{name}: {error}"))?;
        if format.format != FORMAT {
            tracing::info!("the checkpoint {id} has format {}, this version makes {FORMAT}", format.format);
            return Ok(None);
        }
        serde_json::from_slice(&bytes).map(Some).map_err(|error| format!("{name}: {error}"))
    }

    /// The shards of a checkpoint, each whole.
    pub(in crate::engine) fn load(&self, found: &Found) -> Result<Vec<Shard>, String> {
        let shard = |object: &super::manifest::ShardObject| {
            let bytes = self.read(&within(&found.id).join(object.name.as_str())).map_err(words)?;
            if bytes.len() != object.bytes || crc32fast::hash(&bytes) != object.crc {
                return Err(format!("{} is damaged", object.name));
            }
            Shard::decode(&bytes).map_err(|error| format!("{}: {error}", object.name))
        };
        found.manifest.shards.iter().map(shard).collect()
    }

    /// Writes an object of a checkpoint.
    pub(super) fn write_part(&self, id: &str, name: &str, payload: PutPayload) -> Result<(), String> {
        self.write(&within(id).join(name), payload)
    }

    /// Makes a checkpoint whole.
    pub(super) fn write_manifest(&self, id: &str, manifest: &Manifest) -> Result<(), String> {
        let bytes = serde_json::to_vec_pretty(manifest).map_err(|error| error.to_string())?;
        self.write_part(id, &manifest_name(crc32fast::hash(&bytes)), bytes.into())
    }

    /// Removes a checkpoint, its manifest first.
    pub(super) fn remove(&self, id: &str) -> Result<(), String> {
        let list = self.runtime.block_on(self.objects.list_with_delimiter(Some(&within(id)))).map_err(words)?;
        let mut parts: Vec<Path> = list.objects.into_iter().map(|object| object.location).collect();
        parts.sort_by_key(|path| !path.filename().is_some_and(is_manifest));
        for part in parts {
            self.runtime.block_on(self.objects.delete(&part)).map_err(words)?;
            crate::fault::point("checkpoint.removing");
        }
        Ok(())
    }

    fn read(&self, path: &Path) -> Result<Bytes, object_store::Error> {
        self.runtime.block_on(async { self.objects.get(path).await?.bytes().await })
    }

    fn write(&self, path: &Path, payload: PutPayload) -> Result<(), String> {
        self.runtime.block_on(self.objects.put(path, payload)).map(drop).map_err(words)
    }
}

/// What every manifest has.
#[derive(Deserialize)]
struct Format {
    format: u32,
}

fn within(id: &str) -> Path {
    Path::from(CHECKPOINTS).join(id)
}

fn manifest_name(crc: u32) -> String {
    format!("manifest-{crc:08x}.json")
}

fn is_manifest(name: &str) -> bool {
    name.starts_with("manifest-")
}

fn words(error: object_store::Error) -> String {
    error.to_string()
}
