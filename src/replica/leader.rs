//! A replica that becomes the leader of its partition, or steps back.

use super::{Effect, Now, Phase, Replica};
use crate::domain::{Internal, WorkerState};

impl<T> Replica<T> {
    /// Whether this replica leads its partition.
    #[must_use]
    pub const fn leads(&self) -> bool {
        self.leadership.leads()
    }

    /// Announces the shutdown of the worker in the log, so that the successor does not wait.
    /// Consumed requests are still answered.
    pub fn leave(&mut self, now: Now) {
        if !self.has_caught_up() {
            return;
        }
        if self.leads() {
            self.record_announced(now);
        }
        self.leadership.end();
        self.decide_leader(now);
        self.append(now, Internal::Tick(self.settings.clone()));
    }

    /// Lets another candidate lead, if there is one: this replica stalled, or cannot perform a
    /// leader's tasks.
    pub fn step_back(&mut self, now: Now) {
        if self.leadership.postpone(self.seq) {
            self.decide_leader(now);
        }
    }

    /// Decides whether this replica leads, after any change that can affect the decision.
    pub(super) fn decide_leader(&mut self, now: Now) {
        let (live, interval_ms) = (self.is_live(now.mono), self.interval_ms());
        if !self.leadership.decide(live, now.mono, interval_ms) {
            return;
        }
        let leads = self.leads();
        self.effects.push(Effect::Leads(leads));
        if leads {
            self.announcements.begin();
            self.announce();
        }
    }

    /// Records the local queue of an entry's writer, and that an entry of another writer was applied
    /// if the entry is recent. While catching up, only entries of a leader count as recent, and only
    /// if they are as recent as this replica's outage.
    pub(super) fn observe_writer(&mut self, writer: u64, writer_state: &WorkerState, now: Now) {
        let recent = match self.phase {
            Phase::Serving => true,
            _ => writer_state.leads && self.leadership.has_observed(),
        };
        // Also while catching up: a worker that starts unbinds the queues of those that were killed.
        if let Some(queue) = writer_state.local_queue {
            self.local_queues.seen(queue, now.mono);
        }
        if writer != self.writer && recent {
            let serves = writer_state.candidate_from.is_some();
            self.workers.seen(writer, serves, now.mono);
            self.leadership
                .seen(writer, writer_state.candidate_from, now.mono);
            self.decide_leader(now);
        }
    }
}
