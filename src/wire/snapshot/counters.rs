//! Counters of the log since its first entry.

use serde::{Deserialize, Serialize};

use crate::domain::{Counters, Durations};

/// Lists in the order of [`Counters`]'s fields, as later versions may add reasons.
#[derive(Serialize, Deserialize)]
pub(super) struct StoredCounters {
    entries: [u64; 9],
    admitted: u64,
    refusals: Vec<u64>,
    stopped: StoredDurations,
    replaced: StoredDurations,
    expired: StoredDurations,
    bad: Vec<u64>,
}

#[derive(Serialize, Deserialize)]
struct StoredDurations {
    counts: Vec<u64>,
    sum_ms: u64,
}

pub(super) fn store_counters(counters: &Counters) -> StoredCounters {
    StoredCounters {
        entries: [
            counters.refreshed,
            counters.started,
            counters.heartbeat_stopped,
            counters.dropped,
            counters.ended,
            counters.stop_unchanged,
            counters.opened,
            counters.refused,
            counters.late,
        ],
        admitted: counters.admitted,
        refusals: counters.refusals.into(),
        stopped: store_durations(&counters.stopped),
        replaced: store_durations(&counters.replaced),
        expired: store_durations(&counters.expired),
        bad: counters.bad.into(),
    }
}

fn store_durations(durations: &Durations) -> StoredDurations {
    StoredDurations {
        counts: durations.counts.into(),
        sum_ms: durations.sum_ms,
    }
}

impl StoredCounters {
    pub(super) fn decode(&self) -> Option<Counters> {
        let [
            refreshed,
            started,
            heartbeat_stopped,
            dropped,
            ended,
            stop_unchanged,
            opened,
            refused,
            late,
        ] = self.entries;
        Some(Counters {
            refreshed,
            started,
            heartbeat_stopped,
            dropped,
            ended,
            stop_unchanged,
            opened,
            refused,
            late,
            admitted: self.admitted,
            refusals: counts(&self.refusals)?,
            stopped: self.stopped.decode()?,
            replaced: self.replaced.decode()?,
            expired: self.expired.decode()?,
            bad: counts(&self.bad)?,
        })
    }
}

impl StoredDurations {
    fn decode(&self) -> Option<Durations> {
        Some(Durations {
            counts: counts(&self.counts)?,
            sum_ms: self.sum_ms,
        })
    }
}

/// Converts a list, which may be shorter than `N`. `None` if it is longer.
fn counts<const N: usize>(list: &[u64]) -> Option<[u64; N]> {
    let mut counts = [0; N];
    counts.get_mut(..list.len())?.copy_from_slice(list);
    Some(counts)
}
