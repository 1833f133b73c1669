//! Lifecycle events, buffered until they are published.
//!
//! Every replica buffers every event until the log records its publication. The leader publishes,
//! and its successor continues from the recorded position. So no event is missing, and repetitions
//! are identical.

use std::collections::{BTreeMap, VecDeque};

use crate::domain::Announcement;

/// Maximum number of buffered events. Beyond it, the oldest are dropped.
pub const MAX_UNANNOUNCED: usize = 100_000;
/// Capacity that is buffered even without events.
const MIN_CAPACITY: usize = 1_024;
/// Maximum number of unconfirmed events.
const MAX_UNCONFIRMED: u64 = 256;

/// Buffered events in the order of the log, numbered from the first one of this replica.
#[derive(Debug, Default)]
pub(super) struct Announcements {
    buffered: VecDeque<Announcement>,
    /// Further events of the entry at this offset will be added; `None` if no entry is incomplete.
    open: Option<u64>,
    /// Events of entries after `open`, by offset, until that entry is complete.
    later: BTreeMap<u64, Vec<Announcement>>,
    later_count: usize,
    /// The number of the first buffered event.
    first: u64,
    /// Offset up to which the log records the publication of all events.
    announced: Option<u64>,
    /// Offset of the last entry whose events the snapshot includes.
    known_to: Option<u64>,
    /// The number of the next event to be published by this replica.
    next: u64,
    /// Offset added to an event's number per attempt, so that late confirms of an earlier attempt
    /// are ignored.
    attempt_offset: u64,
    /// All events below this number that this replica has published are confirmed.
    confirmed: u64,
    /// The broker has not accepted an event. Publishing continues at the next tick.
    paused: bool,
    lost: u64,
}

impl Announcements {
    /// Restores the events of a snapshot that ended at `end`.
    pub(super) fn restored(announced: Option<u64>, end: u64, buffered: Vec<Announcement>) -> Self {
        Self {
            buffered: buffered.into(),
            announced,
            known_to: Some(end),
            ..Self::default()
        }
    }

    pub(super) fn add(&mut self, announcement: Announcement) {
        let offset = Some(announcement.offset);
        if offset <= self.known_to || offset <= self.announced {
            return;
        }
        if self.waiting() >= MAX_UNANNOUNCED && !self.buffered.is_empty() {
            self.drop_first();
            self.lost += 1;
        }
        if self.open.is_none_or(|open| announcement.offset <= open) {
            self.buffered.push_back(announcement);
        } else if self.waiting() < MAX_UNANNOUNCED {
            self.later_count += 1;
            let later = self.later.entry(announcement.offset).or_default();
            later.push(announcement);
        } else {
            self.lost += 1;
        }
    }

    /// Sets the entry at `open` whose further events follow; `None` if all events of applied
    /// entries have been added.
    pub(super) fn more_to_come(&mut self, open: Option<u64>) {
        self.open = open;
        while let Some(first) = self.later.first_entry()
            && open.is_none_or(|open| *first.key() <= open)
        {
            let events = first.remove();
            self.later_count -= events.len();
            self.buffered.extend(events);
        }
    }

    /// Removes the events up to this offset, whose publication the log records.
    pub(super) fn announced(&mut self, up_to: u64) {
        self.announced = self.announced.max(Some(up_to));
        while self.buffered.front().is_some_and(|a| a.offset <= up_to) {
            self.drop_first();
        }
        while let Some(first) = self.later.first_entry()
            && *first.key() <= up_to
        {
            self.later_count -= first.remove().len();
        }
        if self.buffered.len() < self.buffered.capacity() / 8 {
            self.buffered.shrink_to(MIN_CAPACITY);
        }
    }

    fn drop_first(&mut self) {
        self.buffered.pop_front();
        self.first += 1;
        self.next = self.next.max(self.first);
        self.confirmed = self.confirmed.max(self.first);
    }

    /// Starts over with the first buffered event.
    pub(super) const fn begin(&mut self) {
        self.again_from(self.first);
        self.confirmed = self.first;
        self.paused = false;
    }

    const fn again_from(&mut self, number: u64) {
        self.attempt_offset += self.next - number;
        self.next = number;
    }

    /// Returns the number of the event of an announcement. For an announcement of an earlier
    /// attempt, this is `None` or the number of an event that is already confirmed, so its outcome
    /// has no effect.
    fn event_of(&self, announcement: u64) -> Option<u64> {
        let number = announcement.checked_sub(self.attempt_offset)?;
        (number < self.next).then_some(number)
    }

    /// The next event to publish, with the number of the announcement.
    pub(super) fn next(&mut self) -> Option<(u64, Announcement)> {
        if self.paused || self.next - self.confirmed >= MAX_UNCONFIRMED {
            return None;
        }
        let next = self
            .buffered
            .get(usize::try_from(self.next - self.first).ok()?)?;
        let number = self.next;
        self.next += 1;
        Some((number + self.attempt_offset, next.clone()))
    }

    /// Records that the broker has confirmed an announcement. Outcomes arrive in order.
    pub(super) fn confirmed(&mut self, announcement: u64) {
        if self.event_of(announcement) == Some(self.confirmed) {
            self.confirmed += 1;
        }
    }

    /// Records that the broker has not accepted an announcement. To keep the order, publishing
    /// continues with the same event, after [`Self::try_again`].
    pub(super) fn failed(&mut self, announcement: u64) {
        if let Some(number) = self.event_of(announcement)
            && number >= self.confirmed
        {
            self.again_from(number);
            self.paused = true;
        }
    }

    /// Continues publishing after a failure.
    pub(super) const fn try_again(&mut self) {
        self.paused = false;
    }

    /// Returns the last offset whose events are all published, if the log does not record it yet.
    pub(super) fn to_record(&self) -> Option<u64> {
        let count = usize::try_from(self.confirmed - self.first).ok()?;
        let beyond = self.buffered.get(count).map(|a| a.offset);
        let confirmed = self.buffered.range(..count).rev();
        let mut whole = confirmed
            .map(|a| a.offset)
            .filter(|&o| Some(o) != beyond && Some(o) != self.open);
        whole.next()
    }

    pub(super) const fn cursor(&self) -> Option<u64> {
        self.announced
    }

    pub(super) fn buffered(&self) -> impl Iterator<Item = &Announcement> {
        self.buffered.iter()
    }

    pub(super) fn waiting(&self) -> usize {
        self.buffered.len() + self.later_count
    }

    pub(super) const fn lost(&self) -> u64 {
        self.lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        AccountId, AccountKey, LifecycleEvent, LifecycleEventKind, Metadata, RefusedReason,
        StreamId, Tenant, WallTime,
    };

    fn at(offset: u64) -> Announcement {
        Announcement {
            offset,
            key: AccountKey::new(
                &Tenant::new("acme").unwrap(),
                &AccountId::new("alice").unwrap(),
            ),
            count: 0,
            event: LifecycleEvent {
                stream: StreamId::generate(),
                at: WallTime(0),
                kind: LifecycleEventKind::Refused {
                    reason: RefusedReason::Stopped,
                    max_active: None,
                },
                metadata: Metadata::default(),
            },
        }
    }

    fn keeping(offsets: &[u64]) -> Announcements {
        let mut buffered = Announcements::default();
        for &offset in offsets {
            buffered.add(at(offset));
        }
        buffered
    }

    fn taken(buffered: &mut Announcements) -> Vec<u64> {
        std::iter::from_fn(|| buffered.next().map(|(_, a)| a.offset)).collect()
    }

    #[test]
    fn an_entry_counts_as_announced_once_all_its_events_are_confirmed() {
        let mut buffered = keeping(&[1, 3, 3, 4]);
        assert_eq!(taken(&mut buffered), [1, 3, 3, 4]);
        assert_eq!(buffered.to_record(), None);
        for (number, up_to) in [(0, 1), (1, 1), (2, 3), (3, 4)] {
            buffered.confirmed(number);
            assert_eq!(buffered.to_record(), Some(up_to));
        }
        buffered.announced(3);
        assert_eq!(buffered.to_record(), Some(4));
        buffered.announced(4);
        assert_eq!(
            (buffered.to_record(), buffered.buffered().count()),
            (None, 0)
        );
    }

    #[test]
    fn a_rejected_event_and_all_later_ones_are_announced_again() {
        let mut buffered = keeping(&[1, 2, 3]);
        taken(&mut buffered);
        buffered.confirmed(0);
        buffered.failed(1);
        assert!(taken(&mut buffered).is_empty());
        buffered.try_again();
        assert_eq!(taken(&mut buffered), [2, 3]);
        buffered.failed(2); // of the first try
        buffered.confirmed(2);
        assert_eq!(
            (buffered.to_record(), taken(&mut buffered).len()),
            (Some(1), 0)
        );
        buffered.confirmed(3);
        buffered.confirmed(4);
        assert_eq!(buffered.to_record(), Some(3));
    }

    #[test]
    fn a_successor_announces_all_events_without_a_recorded_publication() {
        let mut buffered = keeping(&[1, 2, 3]);
        taken(&mut buffered);
        buffered.confirmed(0);
        buffered.confirmed(1);
        buffered.announced(1);
        buffered.begin();
        assert_eq!(taken(&mut buffered), [2, 3]);
    }

    #[test]
    fn a_restored_replica_adds_only_events_after_the_snapshot() {
        let mut buffered = Announcements::restored(Some(1), 5, vec![at(4)]);
        buffered.add(at(5));
        buffered.add(at(6));
        assert_eq!(taken(&mut buffered), [4, 6]);
    }

    #[test]
    fn unconfirmed_and_buffered_events_are_bounded() {
        let offsets: Vec<u64> = (0..MAX_UNANNOUNCED as u64 + 10).collect();
        let mut buffered = keeping(&offsets);
        assert_eq!(buffered.lost(), 10);
        assert_eq!(taken(&mut buffered).len() as u64, MAX_UNCONFIRMED);
        buffered.confirmed(10);
        assert_eq!(taken(&mut buffered).len(), 1);
    }
}
