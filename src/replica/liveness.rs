//! Is this replica's copy fresh? It is as fresh as its own last mark that came back.

use std::collections::VecDeque;

use super::Mono;

/// Most own marks remembered that have not come back: a replica that is so far behind is not live
/// whatever comes back next.
const MOST_MARKS: usize = 10_000;
/// How long the broker may confirm entries without delivering any, in milliseconds.
const SILENCE_MS: u64 = 5_000;

#[derive(Clone, Copy, Debug)]
struct Written {
    seq: u64,
    at: Mono,
    confirmed: Option<Mono>,
}

/// Follows a replica's own marks through the log: written, confirmed, read back.
///
/// A mark that comes back proves that everything which was in the log when it was written has been
/// applied. Entries that merely arrive prove nothing: they may be old ones from a socket's buffer.
#[derive(Debug, Default)]
pub(super) struct Liveness {
    written: VecDeque<Written>,
    /// When the last mark that came back had been written.
    back: Option<Mono>,
    /// When the log last delivered an entry.
    delivered: Mono,
    /// When the replica last ticked.
    ticked: Option<Mono>,
}

impl Liveness {
    pub(super) fn wrote(&mut self, seq: u64, at: Mono) {
        if self.written.len() == MOST_MARKS {
            self.written.pop_front();
        }
        self.written.push_back(Written {
            seq,
            at,
            confirmed: None,
        });
    }

    pub(super) fn confirmed(&mut self, seq: u64, at: Mono) {
        if let Ok(i) = self.written.binary_search_by_key(&seq, |w| w.seq) {
            self.written[i].confirmed = Some(at);
        }
    }

    pub(super) fn came_back(&mut self, seq: u64) {
        while let Some(first) = self.written.front()
            && first.seq <= seq
        {
            if first.seq == seq {
                self.back = Some(first.at);
            }
            self.written.pop_front();
        }
    }

    /// A new connection: what the old one did not bring back counts no more.
    pub(super) fn reset(&mut self) {
        *self = Self {
            ticked: self.ticked,
            ..Self::default()
        };
    }

    /// The log has delivered an entry, whatever it was.
    pub(super) const fn delivered(&mut self, now: Mono) {
        self.delivered = now;
    }

    /// The replica ticks. Returns true if the worker had stalled: entries delivered meanwhile still
    /// wait in its buffers, so the log is not silent yet.
    pub(super) fn ticked_late(&mut self, now: Mono, interval_ms: u64) -> bool {
        let last = self.ticked.replace(now);
        let late = last.is_some_and(|last| now.ms_since(last) > 5 * interval_ms);
        if late {
            self.delivered = now;
        }
        late
    }

    /// The broker confirms entries and delivers none.
    pub(super) fn is_silent(&self, now: Mono, interval_ms: u64) -> bool {
        let still_ms = now.ms_since(self.delivered);
        self.missing_ms(now).unwrap_or(0).min(still_ms) > SILENCE_MS.max(5 * interval_ms)
    }

    /// A mark that was written less than three intervals ago has come back.
    pub(super) fn is_live(&self, now: Mono, interval_ms: u64) -> bool {
        self.back
            .is_some_and(|at| now.ms_since(at) < 3 * interval_ms)
    }

    /// How long ago the last mark that came back was written, in milliseconds.
    pub(super) fn lag_ms(&self, now: Mono) -> Option<u64> {
        self.back.map(|at| now.ms_since(at))
    }

    /// How long the oldest confirmed mark has been missing, in milliseconds: the broker has it,
    /// and does not deliver it.
    fn missing_ms(&self, now: Mono) -> Option<u64> {
        let confirmed = self.written.iter().find_map(|w| w.confirmed)?;
        Some(now.ms_since(confirmed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(n: u64) -> Mono {
        Mono(n * 1_000)
    }

    #[test]
    fn a_replica_is_live_by_when_its_mark_was_written_not_by_when_it_came_back() {
        let mut liveness = Liveness::default();
        assert!(!liveness.is_live(ms(0), 100));
        liveness.wrote(1, ms(0));
        liveness.wrote(2, ms(50));
        liveness.came_back(1);
        assert!(liveness.is_live(ms(299), 100));
        assert!(!liveness.is_live(ms(300), 100));
        liveness.came_back(2);
        assert!(liveness.is_live(ms(300), 100));
        assert_eq!(liveness.lag_ms(ms(300)), Some(250));
    }

    #[test]
    fn a_confirmed_mark_that_does_not_come_back_is_noticed() {
        let mut liveness = Liveness::default();
        liveness.wrote(1, ms(0));
        assert_eq!(liveness.missing_ms(ms(9_000)), None);
        liveness.confirmed(1, ms(1_000));
        assert_eq!(liveness.missing_ms(ms(9_000)), Some(8_000));
        liveness.came_back(1);
        assert_eq!(liveness.missing_ms(ms(9_000)), None);
    }
}
