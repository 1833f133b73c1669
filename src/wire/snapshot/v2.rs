//! The second format: the first one, and behind a trailer what the replica had counted. What is
//! here never changes; a change is a `v3`.

use serde::{Deserialize, Serialize};

use super::{Part, PartContent, v1};
use crate::domain::{Durations, Tally};

/// Lists, in the order of [`Tally`]'s fields: a later version may know more reasons.
#[derive(Serialize, Deserialize)]
struct TallyV2 {
    entries: [u64; 9],
    admitted: u64,
    refusals: Vec<u64>,
    stopped: DurationsV2,
    replaced: DurationsV2,
    expired: DurationsV2,
    bad: Vec<u64>,
}

#[derive(Serialize, Deserialize)]
struct DurationsV2 {
    counts: Vec<u64>,
    sum_ms: u64,
}

/// Appends a part to `plain`.
pub(super) fn encode(part: &Part, plain: Vec<u8>) -> Vec<u8> {
    let mut plain = v1::encode(part, plain);
    if let PartContent::Trailer(trailer) = &part.content {
        let tally = tally_v2(&trailer.tally);
        plain = postcard::to_extend(&tally, plain).expect("numbers and lists always encode");
    }
    plain
}

/// `None` where it is damaged.
pub(super) fn decode(plain: &[u8]) -> Option<Part> {
    let (mut part, mut rest) = v1::take(plain)?;
    if let PartContent::Trailer(trailer) = &mut part.content {
        let tally: TallyV2;
        (tally, rest) = postcard::take_from_bytes(rest).ok()?;
        trailer.tally = tally.decode()?;
    }
    rest.is_empty().then_some(part)
}

fn tally_v2(tally: &Tally) -> TallyV2 {
    TallyV2 {
        entries: [
            tally.refreshed,
            tally.started,
            tally.heartbeat_stopped,
            tally.dropped,
            tally.ended,
            tally.stop_unchanged,
            tally.opened,
            tally.refused,
            tally.late,
        ],
        admitted: tally.admitted,
        refusals: tally.refusals.into(),
        stopped: durations_v2(&tally.stopped),
        replaced: durations_v2(&tally.replaced),
        expired: durations_v2(&tally.expired),
        bad: tally.bad.into(),
    }
}

fn durations_v2(durations: &Durations) -> DurationsV2 {
    DurationsV2 {
        counts: durations.counts.into(),
        sum_ms: durations.sum_ms,
    }
}

impl TallyV2 {
    fn decode(&self) -> Option<Tally> {
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
        Some(Tally {
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

impl DurationsV2 {
    fn decode(&self) -> Option<Durations> {
        Some(Durations {
            counts: counts(&self.counts)?,
            sum_ms: self.sum_ms,
        })
    }
}

/// A list that may be shorter than those of today. `None` where it is longer.
fn counts<const N: usize>(list: &[u64]) -> Option<[u64; N]> {
    let mut counts = [0; N];
    counts.get_mut(..list.len())?.copy_from_slice(list);
    Some(counts)
}
