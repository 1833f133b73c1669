//! The moment of log time at which the rules decide.

use super::{LogTime, Settings, WallShift};

/// The moment at which an entry is applied.
#[derive(Clone, Copy, Debug)]
pub struct Moment<'a> {
    /// Log time.
    pub now: LogTime,
    /// Offset from log time to wall time.
    pub shift: WallShift,
    /// The settings in force.
    pub settings: &'a Settings,
    /// The partition, or the account's tenant in it, accepts no new stream.
    pub full: bool,
}
