//! Processes with direct reply-tos: those whose replies are safe to publish, and those that must be
//! probed first.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use tokio::time::Instant;

use crate::broker::direct::Process;

/// Most processes waiting to be probed. Their requests stay unacknowledged, so the number leaves
/// room within a worker's prefetch for other requests.
const MAX_PROBED: usize = 32;
/// Time for which replies to a process are dropped after one has closed the connection.
const UNSOUND_FOR: Duration = Duration::from_secs(1);
const MAX_UNSOUND: usize = 1_024;
const MAX_SOUND: usize = 16_384;

#[derive(Default)]
pub(super) struct Processes {
    /// Processes with a confirmed reply.
    sound: HashSet<Process>,
    /// Processes waiting to be probed.
    probed: HashSet<Process>,
    /// Processes whose reply closed the connection, with the time.
    unsound: HashMap<Process, Instant>,
}

impl Processes {
    pub(super) fn is_sound(&self, process: Process) -> bool {
        self.sound.contains(&process)
    }

    /// Records that a reply to `process` may have closed the connection.
    pub(super) fn suspect(&mut self, process: Process) {
        self.sound.remove(&process);
    }

    pub(super) fn none_is_probed(&mut self) {
        self.probed.clear();
    }

    pub(super) fn may_probe(&mut self, process: Process) -> bool {
        let is_unsound = |at: &Instant| at.elapsed() < UNSOUND_FOR;
        if self.unsound.get(&process).is_some_and(is_unsound) {
            return false;
        }
        if self.probed.contains(&process) {
            return true;
        }
        self.probed.len() < MAX_PROBED && self.probed.insert(process)
    }

    pub(super) fn mark_unsound(&mut self, process: Process) {
        self.probed.remove(&process);
        if self.unsound.len() >= MAX_UNSOUND {
            self.unsound.clear();
        }
        self.unsound.insert(process, Instant::now());
    }

    /// Records that a reply to `process` was confirmed. Returns whether it is the first one.
    pub(super) fn mark_sound(&mut self, process: Process) -> bool {
        if self.sound.len() >= MAX_SOUND {
            self.sound.clear();
        }
        self.probed.remove(&process);
        self.sound.insert(process)
    }
}
