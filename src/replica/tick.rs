//! Ticks, and the other entries that a replica appends.

use super::{Effect, Fault, Mono, Now, Phase, Replica};
use crate::domain::{EntryId, Internal, InternalEntry, LogTime, WorkerState};

impl<T> Replica<T> {
    /// Records the outcome of an own entry: `Ok` once the broker has confirmed it.
    pub fn appended(&mut self, seq: u64, outcome: Result<(), ()>, now: Now) {
        if outcome.is_ok() {
            return self.liveness.confirmed(seq, now.mono);
        }
        match self.phase {
            // The next tick appends another marker.
            Phase::CatchingUp { marker } if marker == Some(seq) => {
                self.phase = Phase::CatchingUp { marker: None };
            }
            _ => self.append_failed(seq, now),
        }
    }

    /// Appends a tick, and does periodic work. Call it every interval.
    ///
    /// # Errors
    /// [`Fault::AnotherLog`] and [`Fault::Silent`]: the log must be attached again.
    pub fn tick(&mut self, now: Now) -> Result<(), Fault> {
        let interval_ms = self.interval_ms();
        if self.liveness.ticked_late(now.mono, interval_ms) {
            // Another replica has become the leader meanwhile.
            self.step_back(now);
        }
        let silent = self.liveness.is_silent(now.mono, interval_ms);
        match self.phase {
            Phase::Detached => return Ok(()),
            // The log ends before the last applied entry.
            _ if silent && self.position.awaits_anchor => {
                return Err(self.start_over(Fault::AnotherLog));
            }
            _ if silent => return Err(Fault::Silent),
            Phase::CatchingUp { marker: None } => {
                self.attached(now);
                return Ok(());
            }
            Phase::CatchingUp { .. } => return Ok(()),
            Phase::Serving => {}
        }
        self.decide_leader(now);
        let settings = self.settings.clone();
        self.append(now, Internal::Tick(settings));
        self.watch_capacity(now);
        self.local_queues.tick(now.mono);
        if self.leads() {
            self.record_announced(now);
            self.unbind_abandoned(now);
        }
        self.local_queues.forget_deleted(now.mono);
        self.maintain_requests(now);
        self.accounts.housekeep();
        Ok(())
    }

    /// Unbinds the local queues whose workers have ended. One worker does it, the leader. Other
    /// workers remember the queues until RabbitMQ has deleted them, in case they lead next.
    fn unbind_abandoned(&mut self, now: Now) {
        let interval_ms = self.interval_ms();
        let abandoned = self.local_queues.take_abandoned(now.mono, interval_ms);
        if !abandoned.is_empty() {
            self.effects.push(Effect::Unbind(abandoned));
        }
    }

    /// Records the outcome of an announcement; outcomes arrive in order.
    pub fn announced(&mut self, number: u64, outcome: Result<(), ()>) {
        match outcome {
            Ok(()) => self.announcements.confirmed(number),
            Err(()) => self.announcements.failed(number),
        }
        self.announce();
    }

    /// Number of lifecycle events that were dropped because too many were buffered.
    #[must_use]
    pub const fn announcements_lost(&self) -> u64 {
        self.announcements.lost()
    }

    /// Number of buffered lifecycle events, whose publication the log does not record.
    #[must_use]
    pub fn unannounced(&self) -> usize {
        self.announcements.waiting()
    }

    /// Publishes the next lifecycle events, up to the maximum of unconfirmed ones.
    pub(super) fn announce(&mut self) {
        if !self.leads() || !self.has_caught_up() {
            return;
        }
        while let Some((number, announcement)) = self.announcements.next() {
            let announcement = Box::new(announcement);
            self.effects.push(Effect::Announce {
                number,
                announcement,
            });
        }
    }

    /// Records the published events in the log, for the successor.
    pub(super) fn record_announced(&mut self, now: Now) {
        if let Some(up_to) = self.announcements.to_record() {
            self.append(now, Internal::Announced { up_to });
        }
        self.announcements.try_again();
        self.announce();
    }

    /// Appends an own entry and returns its number.
    pub(super) fn append(&mut self, now: Now, body: Internal) -> u64 {
        let writer_state = match self.phase {
            Phase::Serving => Some(WorkerState {
                estimate: self.read_estimate(now.mono),
                wall: now.wall,
                candidate_from: self.leadership.candidate_from(),
                leads: self.leads(),
                unannounced: self.unannounced() as u64,
                local_queue: self.local_queue,
            }),
            _ => None,
        };
        self.append_at(now, writer_state, body)
    }

    /// Appends an own entry with this state.
    pub(super) fn append_at(
        &mut self,
        now: Now,
        writer_state: Option<WorkerState>,
        body: Internal,
    ) -> u64 {
        self.seq += 1;
        self.liveness.appended(self.seq, now.mono);
        self.effects.push(Effect::Append(InternalEntry {
            entry_id: EntryId {
                writer: self.writer,
                seq: self.seq,
            },
            writer_state,
            body,
        }));
        self.seq
    }

    /// The estimate of log time.
    pub(super) fn read_estimate(&mut self, now: Mono) -> LogTime {
        let interval_ms = self.interval_ms();
        self.clock.now().map_or_else(LogTime::default, |log| {
            self.estimate.read(now, log, interval_ms)
        })
    }

    /// Appends the changes of the soft limits, if this replica leads.
    fn watch_capacity(&mut self, now: Now) {
        let changed = std::mem::take(&mut self.accounts.indexes.counts.changed);
        let (true, Some(settings), Some(log)) = (self.leads(), &self.settings, self.clock.now())
        else {
            return self.capacity.unwatch();
        };
        let counts = &self.accounts.indexes.counts;
        let counted = counts.by_tenant.keys().cloned();
        let limit = settings.max_streams_per_tenant;
        self.capacity.watch(limit, changed, counted);
        let records = counts.totals.records;
        let of_tenant = |name: &str| counts.of_tenant(name).records;
        for change in self.capacity.due(settings, log, records, of_tenant) {
            self.append(now, Internal::Capacity(change));
        }
    }
}
