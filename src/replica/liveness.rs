//! The freshness of a replica: the age of the last marker that was read back.

use std::collections::VecDeque;

use super::Mono;

/// Maximum number of stored markers. A replica with more pending markers is not live, whichever is
/// read back next.
const MAX_PENDING: usize = 10_000;
/// Number of intervals for which the state is fresh after a marker was appended.
pub(super) const FRESH_INTERVALS: u64 = 3;
/// Time for which the broker may confirm entries without delivering any, in milliseconds.
const SILENCE_MS: u64 = 5_000;

#[derive(Clone, Copy, Debug)]
struct PendingMarker {
    seq: u64,
    at: Mono,
    confirmed: Option<Mono>,
}

/// The markers of a replica, and when they were appended, confirmed and read back.
///
/// A marker that is read back proves that the replica has applied every entry that was in
/// the log when it appended the marker. Other entries prove nothing: they may come from a socket's
/// buffer.
#[derive(Debug, Default)]
pub(super) struct Liveness {
    pending: VecDeque<PendingMarker>,
    /// When the last marker that was read back was appended.
    last_read_back: Option<Mono>,
    /// When the log last delivered an entry.
    delivered: Mono,
    /// When the replica last ticked.
    ticked: Option<Mono>,
}

impl Liveness {
    pub(super) fn appended(&mut self, seq: u64, at: Mono) {
        if self.pending.len() == MAX_PENDING {
            self.pending.pop_front();
        }
        self.pending.push_back(PendingMarker {
            seq,
            at,
            confirmed: None,
        });
    }

    pub(super) fn confirmed(&mut self, seq: u64, at: Mono) {
        if let Ok(i) = self.pending.binary_search_by_key(&seq, |w| w.seq) {
            self.pending[i].confirmed = Some(at);
        }
    }

    pub(super) fn read_back(&mut self, seq: u64) {
        while let Some(first) = self.pending.front()
            && first.seq <= seq
        {
            if first.seq == seq {
                self.last_read_back = Some(first.at);
            }
            self.pending.pop_front();
        }
    }

    /// Drops the pending markers of a lost connection.
    pub(super) fn reset(&mut self) {
        *self = Self {
            ticked: self.ticked,
            ..Self::default()
        };
    }

    /// Records that the log has delivered an entry of any kind.
    pub(super) const fn delivered(&mut self, now: Mono) {
        self.delivered = now;
    }

    /// Records a tick. Returns true if the worker had stalled. Entries may then wait in its
    /// buffers, so the log does not count as silent.
    pub(super) fn ticked_late(&mut self, now: Mono, interval_ms: u64) -> bool {
        let last = self.ticked.replace(now);
        let late = last.is_some_and(|last| now.ms_since(last) > 5 * interval_ms);
        if late {
            self.delivered = now;
        }
        late
    }

    /// Whether the broker confirms entries and delivers none.
    pub(super) fn is_silent(&self, now: Mono, interval_ms: u64) -> bool {
        let still_ms = now.ms_since(self.delivered);
        self.missing_ms(now).unwrap_or(0).min(still_ms) > SILENCE_MS.max(5 * interval_ms)
    }

    /// Whether a marker was read back that was appended less than three intervals ago.
    pub(super) fn is_live(&self, now: Mono, interval_ms: u64) -> bool {
        self.last_read_back
            .is_some_and(|at| now.ms_since(at) < FRESH_INTERVALS * interval_ms)
    }

    /// Milliseconds since the last marker that was read back was appended.
    pub(super) fn lag_ms(&self, now: Mono) -> Option<u64> {
        self.last_read_back.map(|at| now.ms_since(at))
    }

    /// Milliseconds since the broker confirmed the oldest marker that it has not delivered.
    fn missing_ms(&self, now: Mono) -> Option<u64> {
        let confirmed = self.pending.iter().find_map(|w| w.confirmed)?;
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
    fn liveness_depends_on_when_a_marker_was_appended() {
        let mut liveness = Liveness::default();
        assert!(!liveness.is_live(ms(0), 100));
        liveness.appended(1, ms(0));
        liveness.appended(2, ms(50));
        liveness.read_back(1);
        assert!(liveness.is_live(ms(299), 100));
        assert!(!liveness.is_live(ms(300), 100));
        liveness.read_back(2);
        assert!(liveness.is_live(ms(300), 100));
        assert_eq!(liveness.lag_ms(ms(300)), Some(250));
    }

    #[test]
    fn a_confirmed_marker_that_is_not_delivered_is_noticed() {
        let mut liveness = Liveness::default();
        liveness.appended(1, ms(0));
        assert_eq!(liveness.missing_ms(ms(9_000)), None);
        liveness.confirmed(1, ms(1_000));
        assert_eq!(liveness.missing_ms(ms(9_000)), Some(8_000));
        liveness.read_back(1);
        assert_eq!(liveness.missing_ms(ms(9_000)), None);
    }
}
