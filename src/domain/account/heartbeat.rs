//! Heartbeats.

use super::Account;
use crate::domain::{
    Heartbeat, LifecycleEvent, Metadata, MetadataError, MetadataPatch, Moment, RefusedReason,
    StopCause,
};

/// The outcome of a heartbeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeartbeatOutcome {
    /// The stream stays active.
    Refreshed {
        /// The player does not use the interval or the TTL in force: send it both.
        outdated: bool,
        /// The effect of its metadata.
        metadata: MetadataOutcome,
    },
    /// The stream was not known, and is active now.
    Started {
        /// The player does not use the interval in force: send it.
        outdated: bool,
        /// The effect of its metadata.
        metadata: MetadataOutcome,
    },
    /// The stream stays stopped, or was stopped by its age.
    Stopped(StopCause),
    /// The heartbeat would start a stream beyond a limit of the account or of the partition.
    Dropped(RefusedReason),
}

/// The effect of a heartbeat's metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetadataOutcome {
    /// The stream's metadata stays.
    Kept,
    /// The stream has new metadata.
    Changed,
    /// The heartbeat's metadata is not acceptable, or would exceed a limit with the stream's.
    Ignored,
}

impl HeartbeatOutcome {
    /// The effect of its metadata.
    #[must_use]
    pub const fn metadata(&self) -> MetadataOutcome {
        match self {
            Self::Refreshed { metadata, .. } | Self::Started { metadata, .. } => *metadata,
            Self::Stopped(_) | Self::Dropped(_) => MetadataOutcome::Kept,
        }
    }

    /// Whether the heartbeat counts, but not its metadata.
    #[must_use]
    pub const fn ignores_metadata(&self) -> bool {
        matches!(self.metadata(), MetadataOutcome::Ignored)
    }
}

impl Account {
    /// Applies a heartbeat. It never resurrects a stopped stream. It starts an unknown stream,
    /// because the stream is playing. Appends the resulting lifecycle events to `events`.
    pub fn heartbeat(
        &mut self,
        moment: &Moment,
        heartbeat: &Heartbeat,
        events: &mut Vec<LifecycleEvent>,
    ) -> HeartbeatOutcome {
        let id = heartbeat.stream;
        if let Some(tombstone) = self.tombstone_mut(id, moment.now) {
            tombstone.renew(moment);
            return HeartbeatOutcome::Stopped(tombstone.cause());
        }
        let (every_ms, patch) = (heartbeat.every_ms, heartbeat.metadata.as_ref());
        if let Some(stream) = self.active_mut(id, moment.now) {
            if stream.is_too_old(moment) {
                return HeartbeatOutcome::Stopped(self.end_too_old(moment, id, events));
            }
            let outdated = stream.refresh(moment, every_ms);
            let metadata = change(moment, &mut stream.metadata, patch);
            return HeartbeatOutcome::Refreshed { outdated, metadata };
        }
        if self.count(moment.now) >= moment.settings.max_streams_per_account as usize
            || self.room(moment) == 0
        {
            return HeartbeatOutcome::Dropped(RefusedReason::AccountCap);
        }
        if moment.full {
            return HeartbeatOutcome::Dropped(RefusedReason::OverCapacity);
        }
        let mut first = Metadata::default();
        let metadata = change(moment, &mut first, patch);
        self.start(moment, id, false, first, events);
        let outdated =
            every_ms.is_some_and(|ms| u64::from(ms) != moment.settings.heartbeat_every_ms);
        HeartbeatOutcome::Started { outdated, metadata }
    }
}

/// Changes metadata by that of a heartbeat.
fn change(
    moment: &Moment,
    metadata: &mut Metadata,
    patch: Option<&MetadataPatch>,
) -> MetadataOutcome {
    let Some(patch) = patch else {
        return MetadataOutcome::Kept;
    };
    let changed = if moment.settings.rules().merge_metadata() {
        patch.apply(metadata)
    } else {
        replaced(patch, metadata)
    };
    match changed {
        Ok(None) => MetadataOutcome::Kept,
        Ok(Some(changed)) => {
            *metadata = changed;
            MetadataOutcome::Changed
        }
        Err(_) => MetadataOutcome::Ignored,
    }
}

/// The result of replacing all metadata, or `None` if it is equal.
fn replaced(patch: &MetadataPatch, metadata: &Metadata) -> Result<Option<Metadata>, MetadataError> {
    let new = patch.set().ok_or(MetadataError::Value)?;
    Ok((new != metadata).then(|| new.clone()))
}
