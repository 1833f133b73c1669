//! The leader of a partition: the replica that announces, writes snapshots and sets the wall time.
//! Each replica decides from the log alone whether it leads.
//!
//! A worker's state contains the offset from which on its writer is a candidate: that of an own
//! marker which it has read back. Offsets are unique, so replicas agree on their order, independent
//! of clocks. A replica leads while its own markers return in time, and no candidate with a lower
//! offset has appended anything for three intervals. The intervals also elapse while a replica is
//! detached: after a longer outage of the log, the first replica to return leads at once. Two
//! replicas may lead for a moment, which only causes repetitions.

use super::Mono;

/// Number of intervals without an entry of the leader until the next candidate leads.
const SILENT_INTERVALS: u64 = 3;
/// Maximum number of candidates with lower offsets, above the number of workers of a partition.
const MAX_PRECEDING: usize = 64;

/// Whether this replica is a candidate for leader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Candidacy {
    /// No candidate: the replica has not caught up, or shuts down.
    #[default]
    No,
    /// A candidate as soon as a marker after this one is read back.
    After(u64),
    /// A candidate from this offset on.
    From(u64),
}

/// Another candidate, with a lower offset.
#[derive(Clone, Copy, Debug)]
struct Preceding {
    writer: u64,
    seen: Mono,
}

/// A replica's view of the candidates.
#[derive(Debug, Default)]
pub(super) struct Leadership {
    candidacy: Candidacy,
    preceding: Vec<Preceding>,
    /// When the replica began to observe other candidates.
    observes_since: Option<Mono>,
    leads: bool,
}

impl Leadership {
    pub(super) const fn leads(&self) -> bool {
        self.leads
    }

    /// The offset of the candidacy, for the state of a worker.
    pub(super) const fn candidate_from(&self) -> Option<u64> {
        match self.candidacy {
            Candidacy::From(offset) => Some(offset),
            Candidacy::No | Candidacy::After(_) => None,
        }
    }

    /// Starts the candidacy of a replica that has caught up with its own marker at `offset`.
    pub(super) fn begin(&mut self, offset: u64, now: Mono) {
        self.candidacy = Candidacy::From(offset);
        self.observes_since.get_or_insert(now);
    }

    /// Whether other candidates were observed before the log was detached. The entries since then
    /// show who led meanwhile; those of a first replay are too old for that.
    pub(super) const fn has_observed(&self) -> bool {
        self.observes_since.is_some()
    }

    /// Ends the candidacy: the worker shuts down.
    pub(super) const fn end(&mut self) {
        self.candidacy = Candidacy::No;
    }

    /// Ends the candidacy and the leadership: the log is detached.
    pub(super) const fn detach(&mut self) {
        self.end();
        self.leads = false;
    }

    /// Postpones the candidacy until a marker after `seq` is read back. Returns false if there is
    /// no candidacy.
    pub(super) const fn postpone(&mut self, seq: u64) -> bool {
        let is_candidate = matches!(self.candidacy, Candidacy::From(_));
        if is_candidate {
            self.candidacy = Candidacy::After(seq);
        }
        is_candidate
    }

    /// Records that the marker `seq` was read back at `offset`.
    pub(super) const fn read_back(&mut self, seq: u64, offset: u64, now: Mono) {
        if let Candidacy::After(last) = self.candidacy
            && seq > last
        {
            self.candidacy = Candidacy::From(offset);
            self.observes_since = Some(now);
        }
    }

    /// Records that an entry of another writer was applied.
    pub(super) fn seen(&mut self, writer: u64, candidate_from: Option<u64>, now: Mono) {
        let precedes = match (candidate_from, self.candidacy) {
            (Some(other), Candidacy::From(own)) => other < own,
            (Some(_), Candidacy::No | Candidacy::After(_)) => true,
            (None, _) => false,
        };
        let known = self.preceding.iter().position(|e| e.writer == writer);
        match (known, precedes) {
            (Some(at), true) => self.preceding[at].seen = now,
            (Some(at), false) => drop(self.preceding.swap_remove(at)),
            (None, true) if self.preceding.len() < MAX_PRECEDING => {
                self.preceding.push(Preceding { writer, seen: now });
            }
            (None, _) => {}
        }
    }

    /// Decides whether this replica leads. Returns whether the decision changed.
    pub(super) fn decide(&mut self, live: bool, now: Mono, interval_ms: u64) -> bool {
        let patience_ms = SILENT_INTERVALS * interval_ms;
        self.preceding
            .retain(|candidate| now.ms_since(candidate.seen) < patience_ms);
        let leads = live
            && self.candidate_from().is_some()
            && self.preceding.is_empty()
            && self
                .observes_since
                .is_none_or(|since| now.ms_since(since) >= patience_ms);
        std::mem::replace(&mut self.leads, leads) != leads
    }

    /// Ends the observation of other candidates.
    #[cfg(test)]
    pub(super) const fn stop_observing(&mut self) {
        self.observes_since = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: u64 = 100;

    const fn ms(n: u64) -> Mono {
        Mono(n * 1_000)
    }

    fn candidate(offset: u64) -> Leadership {
        let mut it = Leadership::default();
        it.begin(offset, ms(0));
        it
    }

    fn leads(it: &mut Leadership, now: u64) -> bool {
        it.decide(true, ms(now), INTERVAL);
        it.leads()
    }

    #[test]
    fn a_replica_that_is_alone_leads_after_three_intervals() {
        let mut it = candidate(7);
        assert!(!leads(&mut it, 299));
        assert!(leads(&mut it, 300));
        it.decide(false, ms(301), INTERVAL);
        assert!(!it.leads(), "its markers are not read back");
    }

    #[test]
    fn a_lower_offset_leads_until_it_is_silent_or_leaves() {
        let mut it = candidate(7);
        it.seen(1, Some(6), ms(200));
        it.seen(2, Some(8), ms(490));
        assert!(!leads(&mut it, 499));
        assert!(leads(&mut it, 500));
        it.seen(1, Some(6), ms(510));
        assert!(!leads(&mut it, 510), "it had only been paused");
        it.seen(1, None, ms(520));
        assert!(leads(&mut it, 520));
    }

    #[test]
    fn only_the_next_candidate_succeeds_a_leader_that_shuts_down() {
        let mut it = candidate(7);
        it.seen(1, Some(5), ms(300));
        it.seen(2, Some(6), ms(300));
        it.seen(1, None, ms(310));
        assert!(!leads(&mut it, 310));
    }

    #[test]
    fn a_replica_that_steps_back_is_a_candidate_from_a_later_offset() {
        let mut it = candidate(7);
        assert!(leads(&mut it, 300));
        it.candidacy = Candidacy::After(20);
        assert!(!leads(&mut it, 310));
        assert_eq!(it.candidate_from(), None);
        it.read_back(20, 90, ms(320));
        assert_eq!(it.candidate_from(), None);
        it.read_back(21, 95, ms(330));
        assert_eq!(it.candidate_from(), Some(95));
        it.seen(2, Some(8), ms(340));
        assert!(!leads(&mut it, 630));
        assert!(leads(&mut it, 640), "no other candidate is left");
    }

    #[test]
    fn a_replica_that_returns_leads_at_once_unless_another_led_meanwhile() {
        let mut it = candidate(7);
        it.seen(1, Some(6), ms(900));
        assert!(!leads(&mut it, 1_000));
        it.detach();
        it.begin(90, ms(1_100));
        assert!(!leads(&mut it, 1_100), "the last leader may return as well");
        assert!(leads(&mut it, 1_200));
        it.detach();
        assert!(!it.leads());
        it.seen(2, Some(95), ms(1_900));
        it.begin(99, ms(1_900));
        assert!(!leads(&mut it, 2_199));
        assert!(leads(&mut it, 2_200));
    }

    #[test]
    fn the_number_of_stored_candidates_is_bounded() {
        let mut it = candidate(7_000);
        (0..1_000).for_each(|writer| it.seen(writer, Some(writer), ms(1)));
        assert_eq!(it.preceding.len(), MAX_PRECEDING);
        assert!(leads(&mut it, 301));
    }
}
