//! Header and trailer of a copy of a replica.

use super::{Counters, LogTime, Mark, Settings, Tenant, WallShift};

/// The state of a replica at the start of a copy.
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

/// The state of a replica at the end of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotTrailer {
    /// E: the copy is valid only if the log reaches up to here.
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
    /// Counters of the entries up to E.
    pub counters: Counters,
}
