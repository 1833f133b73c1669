//! The leader of a partition: the replica that announces, writes snapshots and keeps the time that
//! is shown. Each replica decides from the log alone whether it leads.
//!
//! A reading contains the offset from which on its writer is a candidate: that of an own marker
//! which it has read back. Offsets are unique, so replicas agree on their order, independent of
//! clocks. A replica leads while its own markers return in time, and no candidate with a lower
//! offset has appended anything for three intervals. Two replicas may lead for a moment, which only
//! causes repetitions.

use super::{Effect, Mono, Now, Phase, Replica};
use crate::domain::{Internal, Reading};

/// A leader that is silent for this many intervals is succeeded.
const SILENT_INTERVALS: u64 = 3;
/// Most writers remembered that stand from lower offsets; more workers than follow one partition.
const MOST_ELDERS: usize = 64;

/// Whether this replica stands for leader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stands {
    /// Not caught up, or leaving.
    #[default]
    No,
    /// From the next own mark on that was written behind this one.
    Behind(u64),
    /// From this offset on.
    From(u64),
}

/// Another writer that stands from a lower offset.
#[derive(Clone, Copy, Debug)]
struct Elder {
    writer: u64,
    heard: Mono,
}

/// A replica's view of the candidates.
#[derive(Debug, Default)]
pub(super) struct Leadership {
    stands: Stands,
    elders: Vec<Elder>,
    /// When the replica began to listen for others.
    listens_since: Option<Mono>,
    leads: bool,
}

impl Leadership {
    pub(super) const fn leads(&self) -> bool {
        self.leads
    }

    /// The offset to carry in readings.
    pub(super) const fn stands_from(&self) -> Option<u64> {
        match self.stands {
            Stands::From(offset) => Some(offset),
            Stands::No | Stands::Behind(_) => None,
        }
    }

    /// Starts the candidacy of a replica that has caught up with its own marker at `offset`.
    /// Earlier entries do not prove that their writers are alive.
    pub(super) fn begin(&mut self, offset: u64, now: Mono) {
        *self = Self {
            stands: Stands::From(offset),
            listens_since: Some(now),
            ..Self::default()
        };
    }

    /// The own mark `seq` came back at `offset`.
    pub(super) const fn came_back(&mut self, seq: u64, offset: u64, now: Mono) {
        if let Stands::Behind(last) = self.stands
            && seq > last
        {
            self.stands = Stands::From(offset);
            self.listens_since = Some(now);
        }
    }

    /// Another writer's entry was applied.
    pub(super) fn heard(&mut self, writer: u64, stands_from: Option<u64>, now: Mono) {
        let elder = match (stands_from, self.stands) {
            (Some(other), Stands::From(own)) => other < own,
            (Some(_), Stands::No | Stands::Behind(_)) => true,
            (None, _) => false,
        };
        let known = self.elders.iter().position(|e| e.writer == writer);
        match (known, elder) {
            (Some(at), true) => self.elders[at].heard = now,
            (Some(at), false) => drop(self.elders.swap_remove(at)),
            (None, true) if self.elders.len() < MOST_ELDERS => {
                self.elders.push(Elder { writer, heard: now });
            }
            (None, _) => {}
        }
    }

    /// Decides anew. Returns whether it changed.
    fn judge(&mut self, live: bool, now: Mono, interval_ms: u64) -> bool {
        let patience_ms = SILENT_INTERVALS * interval_ms;
        self.elders
            .retain(|elder| now.ms_since(elder.heard) < patience_ms);
        let leads = live
            && self.stands_from().is_some()
            && self.elders.is_empty()
            && self
                .listens_since
                .is_none_or(|since| now.ms_since(since) >= patience_ms);
        std::mem::replace(&mut self.leads, leads) != leads
    }

    /// Has listened for long enough.
    #[cfg(test)]
    pub(super) const fn has_listened(&mut self) {
        self.listens_since = None;
    }
}

impl<T> Replica<T> {
    /// This replica leads its partition.
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
        self.leadership.stands = Stands::No;
        self.judge_leader(now);
        self.append(now, Internal::Tick(self.settings.clone()));
    }

    /// Lets others lead that follow the log, if there are any: this replica stood still, or cannot
    /// do what leaders do.
    pub fn step_back(&mut self, now: Now) {
        if let Stands::From(_) = self.leadership.stands {
            self.leadership.stands = Stands::Behind(self.seq);
            self.judge_leader(now);
        }
    }

    /// Decides whether this replica leads, after whatever may have changed it.
    pub(super) fn judge_leader(&mut self, now: Now) {
        let (live, interval_ms) = (self.is_live(now.mono), self.interval_ms());
        if !self.leadership.judge(live, now.mono, interval_ms) {
            return;
        }
        let leads = self.leads();
        self.effects.push(Effect::Leads(leads));
        if leads {
            self.announcements.begin();
            self.announce();
        }
    }

    /// Another writer's entry was applied, while this replica serves.
    pub(super) fn hear_of(&mut self, writer: u64, reading: &Reading, now: Now) {
        if writer != self.writer && matches!(self.phase, Phase::Serving) {
            self.leadership.heard(writer, reading.stands_from, now.mono);
            self.judge_leader(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: u64 = 100;

    const fn ms(n: u64) -> Mono {
        Mono(n * 1_000)
    }

    fn standing(offset: u64) -> Leadership {
        let mut it = Leadership::default();
        it.begin(offset, ms(0));
        it
    }

    fn leads(it: &mut Leadership, now: u64) -> bool {
        it.judge(true, ms(now), INTERVAL);
        it.leads()
    }

    #[test]
    fn a_replica_that_is_alone_leads_after_three_intervals() {
        let mut it = standing(7);
        assert!(!leads(&mut it, 299));
        assert!(leads(&mut it, 300));
        it.judge(false, ms(301), INTERVAL);
        assert!(!it.leads(), "its own marks do not come back");
    }

    #[test]
    fn a_lower_offset_leads_until_it_is_silent_or_leaves() {
        let mut it = standing(7);
        it.heard(1, Some(6), ms(200));
        it.heard(2, Some(8), ms(490));
        assert!(!leads(&mut it, 499));
        assert!(leads(&mut it, 500));
        it.heard(1, Some(6), ms(510));
        assert!(!leads(&mut it, 510), "it had only been paused");
        it.heard(1, None, ms(520));
        assert!(leads(&mut it, 520));
    }

    #[test]
    fn a_leaving_leader_is_succeeded_by_the_next_candidate_alone() {
        let mut it = standing(7);
        it.heard(1, Some(5), ms(300));
        it.heard(2, Some(6), ms(300));
        it.heard(1, None, ms(310));
        assert!(!leads(&mut it, 310));
    }

    #[test]
    fn a_replica_that_steps_back_stands_from_a_later_offset() {
        let mut it = standing(7);
        assert!(leads(&mut it, 300));
        it.stands = Stands::Behind(20);
        assert!(!leads(&mut it, 310));
        assert_eq!(it.stands_from(), None);
        it.came_back(20, 90, ms(320));
        assert_eq!(it.stands_from(), None);
        it.came_back(21, 95, ms(330));
        assert_eq!(it.stands_from(), Some(95));
        it.heard(2, Some(8), ms(340));
        assert!(!leads(&mut it, 630));
        assert!(leads(&mut it, 640), "no other candidate is left");
    }

    #[test]
    fn no_more_elders_are_remembered_than_workers_can_be() {
        let mut it = standing(7_000);
        (0..1_000).for_each(|writer| it.heard(writer, Some(writer), ms(1)));
        assert_eq!(it.elders.len(), MOST_ELDERS);
        assert!(leads(&mut it, 301));
    }
}
