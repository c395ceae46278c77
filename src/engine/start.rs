//! How a run begins: what the store holds and the source has, whether they fit together, and where to go on from.

use std::collections::BTreeSet;

use tillflow_dataflows::records::Millis;

use super::alerts::AlertBook;
use super::checkpoint::{Folder, Found, Restored};
use super::plan::{self, Circumstances, Left, Plan};
use super::{EngineError, EngineOptions, fingerprint, now, shown};
use crate::configuration::Configuration;
use crate::source::Source;
use crate::store::{Acceptance, Accepted, Fingerprints, Offsets, Origin, Progress, Store};

/// What a run goes on from.
pub(super) struct Start {
    pub(super) progress: Progress,
    pub(super) plan: Plan,
    pub(super) alerts: AlertBook,
    /// Where checkpoints are kept, if they are.
    pub(super) folder: Option<Folder>,
    pub(super) restored: Restored,
    pub(super) configuration: Configuration,
}

impl Start {
    /// Takes the store over, unless going on would lose or falsify data. `folder` opens where checkpoints are, if they are
    /// kept; `lineage` names the store's history if it has no name yet.
    pub(super) fn of(
        options: &EngineOptions,
        source: &dyn Source,
        store: &mut dyn Store,
        folder: impl FnOnce() -> Result<Option<Folder>, EngineError>,
        lineage: &str,
    ) -> Result<Start, EngineError> {
        store.init()?;
        let configuration = options.configuration(source);
        // A start that is refused must leave an instance that runs alone, so it is planned before the fence is taken. How
        // far the source reaches is asked for afterwards: what that instance commits meanwhile would else lie beyond it.
        let (found, origin) = store.peek()?;
        let mut partitions = source.discover()?;
        let (mut replaced, mut fingerprints) = (BTreeSet::new(), Fingerprints::new());
        if let Some(found) = &found {
            fingerprints = fingerprint::counted(store.fingerprints()?, &found.offsets);
            replaced = fingerprint::find_other_records(source, &partitions, &fingerprints)?;
        }
        let folder = folder()?;
        let nothing = BTreeSet::new();
        let circumstances = Circumstances {
            partitions: &[],
            others: &nothing,
            configuration: &configuration,
            accepted: &options.accepted,
            instance: &options.instance,
            lineage,
            now: now(),
        };
        let checkpoints = folder.as_ref().map(Folder::checkpoints).unwrap_or_default();
        if let Some(folder) = &folder {
            plan::check_folder(folder, origin.as_ref())?;
        }
        if let Some(progress) = &found {
            let left = Left { progress, origin: origin.as_ref(), fingerprints: &fingerprints };
            let checkpoint = usable(&checkpoints, left, &configuration).next().map(|it| it.1);
            plan::plan(
                left,
                checkpoint,
                Circumstances { partitions: &partitions, others: &replaced, ..circumstances },
            )?;
        }
        crate::fault::point("start.planned");
        let (progress, origin) = store.acquire(&options.instance)?;
        crate::fault::point("start.fenced");
        if found.map(|found| found.offsets).unwrap_or_default() != progress.offsets {
            partitions = source.discover()?;
        }
        tracing::info!(epoch = progress.epoch, fence = progress.fence, guarantee = %store.guarantee(), "store opened");
        // Another instance may have committed since.
        let fingerprints = store.fingerprints()?;
        let left = Left { progress: &progress, origin: origin.as_ref(), fingerprints: &fingerprints };
        let (plan, restored) = restore(
            folder.as_ref(),
            &checkpoints,
            left,
            Circumstances { partitions: &partitions, others: &replaced, ..circumstances },
        )?;
        // Whether their first records are late may have been another matter in a run that read and did not count them, and
        // there may be other records by now.
        for ((topic, partition), from) in plan.uncounted() {
            store.forget_raw(topic, partition, from)?;
        }
        for accepted in &plan.accepted {
            tracing::warn!("going on without what is lost, as accepted by {}", accepted.what);
        }
        let known = if crate::fault::mutant("alerts_are_forgotten") { Vec::new() } else { store.alerts()? };
        let alerts = AlertBook::load(known, progress.as_of)?;
        crate::fault::point("start.loaded");
        Ok(Start { progress, plan, alerts, folder, restored, configuration })
    }
}

/// Those of the checkpoints that a start can go on from: of this store's history, made with these settings, and not ahead
/// of what it holds. The newest first.
fn usable<'a>(
    checkpoints: &'a [Found],
    left: Left<'a>,
    configuration: &Configuration,
) -> impl Iterator<Item = (&'a Found, Offsets)> {
    let lineage = left.origin.map(|origin| origin.lineage.clone()).unwrap_or_default();
    let counted = left.progress.offsets.clone();
    let configuration = configuration.text();
    checkpoints.iter().filter_map(move |found| {
        let mut offsets = found.manifest.offsets()?;
        if let Some(origin) = left.origin {
            pass_over_losses(&mut offsets, origin, found.manifest.made_at)?;
        }
        let is_behind = crate::fault::mutant("checkpoints_may_be_ahead")
            || offsets.iter().all(|(place, next)| counted.get(place).is_some_and(|counted| next <= counted));
        let is_ours = found.manifest.lineage == lineage && found.manifest.configuration == configuration;
        if !is_ours {
            tracing::debug!(id = found.id(), "a checkpoint is left out: it is another store's, or of other settings");
        }
        (is_ours && is_behind).then_some((found, offsets))
    })
}

/// Moves the offsets of a checkpoint past what was accepted as lost since it was made. None if it cannot go on from there:
/// it is of a topic that is gone, from before its last record.
fn pass_over_losses(offsets: &mut Offsets, origin: &Origin, made_at: Millis) -> Option<()> {
    for Accepted { what, at, .. } in origin.accepted.iter().filter(|accepted| accepted.at >= made_at) {
        let place = what.place();
        let Some(next) = offsets.get(&place).copied() else { continue };
        match what {
            Acceptance::Loss { from, to, .. } if next == *from => drop(offsets.insert(place, to + 1)),
            Acceptance::Gone { next: gone, .. } if next == *gone => match origin.offsets.get(&place) {
                Some(begun) => drop(offsets.insert(place, *begun)),
                None => drop(offsets.remove(&place)),
            },
            Acceptance::Gone { .. } => return None,
            other => tracing::debug!(%other, at, "not in the way of the checkpoint"),
        }
    }
    Some(())
}

/// Plans a run from the newest checkpoint that is whole, or from the beginning, and gives what that checkpoint holds.
fn restore(
    folder: Option<&Folder>,
    checkpoints: &[Found],
    left: Left<'_>,
    circumstances: Circumstances<'_>,
) -> Result<(Plan, Restored), EngineError> {
    for (found, offsets) in usable(checkpoints, left, circumstances.configuration) {
        let Some(folder) = folder else { break };
        let shards = match folder.load(found) {
            Ok(shards) => shards,
            Err(error) => {
                tracing::warn!("a checkpoint in {} is left out: {error}", folder.shown());
                continue;
            }
        };
        // The store went back, and on without it: partitions may have begun that give what this one lacks.
        let decided = left.origin.and_then(|origin| origin.expiring_before);
        if shards.iter().any(|shard| shard.expired > decided) {
            tracing::warn!("a checkpoint in {} is left out: it lacks windows that the store may need", folder.shown());
            continue;
        }
        let plan = plan::plan(left, Some(offsets), circumstances)?;
        let made_at = found.manifest.made_at;
        let restored = Restored::of(shards, |place| plan.goes_on(place, made_at));
        let made_at = shown(Some(made_at));
        tracing::info!(%made_at, "going on from a checkpoint");
        return Ok((plan, restored));
    }
    Ok((plan::plan(left, None, circumstances)?, Restored::default()))
}
