//! What frames a copy of a replica.

use super::{Counters, LogTime, Mark, Settings, Tenant, WallShift};

/// What a replica knew when a copy of it began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotHeader {
    /// S: the log is read on from here.
    pub start: u64,
    /// The mark of the entry at S: the log is the same one if it holds that very entry there.
    pub mark: Mark,
    /// The oldest entry of the log that the replica had seen, or the one it was restored from.
    pub first: u64,
    /// Log time.
    pub now: LogTime,
    /// How it is shown.
    pub shift: WallShift,
    /// The settings in force.
    pub settings: Settings,
    /// The partition takes no new stream.
    pub full: bool,
    /// Tenants that may begin no new stream.
    pub full_tenants: Vec<Tenant>,
}

/// What a replica knew when a copy of it was complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotTrailer {
    /// E: the copy serves only where the log reaches up to here.
    pub end: u64,
    /// The last marked entry up to E, which the log must still hold: a broker that lost its last
    /// entries may have taken others since.
    pub last: u64,
    /// Its mark.
    pub last_mark: Mark,
    /// A checksum of the entries behind that one, up to E.
    pub trail: u32,
    /// Up to here the lifecycle had been announced.
    pub announced: Option<u64>,
    /// What the entries up to E have come to.
    pub counters: Counters,
}
