//! A token bucket, as two times.

/// Nanoseconds of a monotonic clock.
pub(super) type Nanos = u64;

/// Least number of requests that a full bucket accepts at once.
const MIN_BURST: u64 = 10;
/// Parts of a [`Share`].
const PARTS: u64 = 1_000_000_000;
const SECOND_NS: u64 = 1_000_000_000;

/// A worker's share of an installation's limits, in billionths, rounded down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share(u64);

impl Share {
    /// The whole limit: of the only worker.
    pub const ALL: Self = Self(PARTS);

    /// The share of a worker that serves these partitions of `partitions`, each beside other workers:
    /// `workers` has the number of workers of each, its own included. The shares of all workers add
    /// up to one, whatever partitions each of them serves.
    #[must_use]
    pub fn of(workers: impl Iterator<Item = usize>, partitions: u16) -> Self {
        let each = |workers| {
            let workers = u64::try_from(workers).unwrap_or(u64::MAX).max(1);
            PARTS / workers.saturating_mul(u64::from(partitions.max(1)))
        };
        let sum: u64 = workers.map(each).sum();
        Self(sum.clamp(1, PARTS))
    }
}

/// The rate of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Time until a bucket has room for one more request.
    interval_ns: Nanos,
    /// Time until an empty bucket is full.
    window_ns: Nanos,
}

impl Rate {
    /// The share of a rate per second; `None` for 0, no limit. A full bucket accepts the requests of
    /// one second at once, at least ten.
    #[must_use]
    pub fn per_second(number: u32, Share(parts): Share) -> Option<Self> {
        let product = u64::from(number) * parts;
        if product == 0 {
            return None;
        }
        let interval_ns = (SECOND_NS * PARTS).div_ceil(product);
        let burst = (product / PARTS).max(MIN_BURST);
        Some(Self {
            interval_ns,
            window_ns: burst * interval_ns,
        })
    }
}

/// A bucket. It is full if it has not been used for long: then it equals a new one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bucket {
    /// The time at which it is full again.
    full_at: Nanos,
    /// The latest time at which a throttled request was invited to come back.
    promised: Nanos,
}

impl Bucket {
    pub(super) const fn is_full(&self, now: Nanos) -> bool {
        self.full_at <= now && self.promised <= now
    }

    /// Whether it accepts a request.
    pub(super) fn accepts(&self, rate: Rate, now: Nanos) -> bool {
        self.accepts_after(rate, now) == 0
    }

    /// The time after which it accepts a request, if it gets none meanwhile.
    pub(super) fn accepts_after(&self, rate: Rate, now: Nanos) -> Nanos {
        let full_at = self.full_after_one(rate, now);
        full_at.saturating_sub(now + rate.window_ns)
    }

    /// Counts a request.
    pub(super) fn take(&mut self, rate: Rate, now: Nanos) {
        self.full_at = self.full_after_one(rate, now);
    }

    /// The time at which it is full again if it accepts a request now. At a higher rate than before,
    /// or if the clock went back, it is empty at most.
    fn full_after_one(&self, rate: Rate, now: Nanos) -> Nanos {
        self.full_at.clamp(now, now + rate.window_ns) + rate.interval_ns
    }

    /// The time to wait until it accepts a request that it has not accepted now. Each caller gets a
    /// time of its own, one interval after the other. `None` if the times reach further ahead than
    /// the bucket takes to fill.
    pub(super) fn promise(&mut self, rate: Rate, now: Nanos) -> Option<Nanos> {
        let end = now + rate.window_ns;
        let at = self.promised.clamp(now, end) + rate.interval_ns;
        if at > end {
            return None;
        }
        self.promised = at;
        Some(at - now)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: Nanos = 1_000_000;

    fn rate(number: u32) -> Rate {
        Rate::per_second(number, Share::ALL).unwrap()
    }

    /// Requests at these times; the number that is accepted.
    fn accepted(bucket: &mut Bucket, rate: Rate, times: impl Iterator<Item = Nanos>) -> usize {
        let accept = |&now: &Nanos| {
            let accepts = bucket.accepts(rate, now);
            if accepts {
                bucket.take(rate, now);
            }
            accepts
        };
        times.filter(accept).count()
    }

    #[test]
    fn a_full_bucket_accepts_the_requests_of_a_second_at_once_and_at_least_ten() {
        for (number, burst) in [(1, 10), (10, 10), (11, 11), (1_000, 1_000)] {
            let mut bucket = Bucket::default();
            let times = std::iter::repeat_n(7 * MS, 5_000);
            assert_eq!(accepted(&mut bucket, rate(number), times), burst);
        }
    }

    #[test]
    fn an_empty_bucket_accepts_one_request_per_interval() {
        let mut bucket = Bucket::default();
        let rate = rate(100);
        accepted(&mut bucket, rate, std::iter::repeat_n(0, 100));
        assert!(!bucket.accepts(rate, 10 * MS - 1));
        let ten_seconds = (1..=10_000).map(|n| n * MS);
        assert_eq!(accepted(&mut bucket, rate, ten_seconds), 1_000);
        assert!(!bucket.is_full(10_000 * MS + 999 * MS));
        assert!(bucket.is_full(10_000 * MS + 1_000 * MS));
    }

    #[test]
    fn a_caller_that_waits_for_retry_after_is_accepted() {
        let mut bucket = Bucket::default();
        let rate = rate(2);
        accepted(&mut bucket, rate, std::iter::repeat_n(0, 10));
        let waits: Vec<_> = (0..12).map(|_| bucket.promise(rate, 0)).collect();
        let expected = (1..=10).map(|n| Some(n * 500 * MS)).chain([None, None]);
        assert!(waits.iter().copied().eq(expected), "{waits:?}");
        let times = waits.into_iter().flatten();
        assert_eq!(accepted(&mut bucket, rate, times), 10);
    }

    #[test]
    fn a_flood_gets_as_many_promises_as_the_rate() {
        let mut bucket = Bucket::default();
        let rate = rate(100);
        let flood = (0..10_000).map(|n| n * MS);
        let promised = flood.filter(|&now| bucket.promise(rate, now).is_some());
        // Those of one second at first, then those of ten seconds.
        assert_eq!(promised.count(), 100 + 999);
    }

    #[test]
    fn a_bucket_whose_rate_changes_is_empty_at_most() {
        let mut bucket = Bucket::default();
        accepted(&mut bucket, rate(1), std::iter::repeat_n(0, 10));
        assert_eq!(bucket.accepts_after(rate(1_000), MS), MS);
        assert_eq!(bucket.accepts_after(rate(100), MS), 10 * MS);
        // A clock that goes back throttles no caller for longer.
        let later = Bucket {
            full_at: u64::MAX / 2,
            promised: u64::MAX / 2,
        };
        assert_eq!(later.accepts_after(rate(1_000), 2 * MS), MS);
    }

    #[test]
    fn shares_of_all_workers_add_up_to_one() {
        assert_eq!(Share::of([1].into_iter(), 1), Share::ALL);
        assert_eq!(Share::of([4, 4].into_iter(), 2), Share(PARTS / 4));
        // One worker for both partitions, one for the first, two for the second.
        let shares = [vec![2, 3], vec![2], vec![3], vec![3]];
        let sum: u64 = shares.map(|of| Share::of(of.into_iter(), 2).0).iter().sum();
        assert!((PARTS - 4..=PARTS).contains(&sum), "{sum}");
        assert_eq!(Share::of([].into_iter(), 1), Share(1));
        let third = Rate::per_second(300, Share::of([3].into_iter(), 1)).unwrap();
        assert!(third.interval_ns.abs_diff(10 * MS) < 10);
        assert_eq!(Rate::per_second(0, Share::ALL), None);
    }

    proptest! {
        #[test]
        fn no_interval_has_more_requests_than_the_burst_and_its_rate(
            number in 1_u32..2_000,
            gaps in prop::collection::vec(0..50 * MS, 1..400),
        ) {
            let rate = rate(number);
            let mut bucket = Bucket::default();
            let mut now = 0;
            let mut accepted = Vec::new();
            for gap in gaps {
                now += gap;
                if bucket.accepts(rate, now) {
                    bucket.take(rate, now);
                    accepted.push(now);
                }
            }
            for (from, &start) in accepted.iter().enumerate() {
                for (until, &end) in accepted.iter().enumerate().skip(from) {
                    let most = (rate.window_ns + end - start) / rate.interval_ns;
                    prop_assert!(((until - from) as u64) < most.max(1));
                }
            }
        }

        #[test]
        fn callers_that_wait_are_accepted_at_their_time_whatever_came_before(
            number in 1_u32..2_000,
            before in prop::collection::vec((0..500 * MS, 1_usize..50), 1..40),
            callers in 1_usize..100,
        ) {
            let rate = rate(number);
            let mut bucket = Bucket::default();
            let mut now = 0;
            for (gap, requests) in before {
                now += gap;
                accepted(&mut bucket, rate, std::iter::repeat_n(now, requests));
            }
            accepted(&mut bucket, rate, std::iter::repeat_n(now, 5_000));
            let waits: Vec<_> = (0..callers).map_while(|_| bucket.promise(rate, now)).collect();
            prop_assert!(waits.len() >= callers.min(9));
            let times = waits.iter().map(|wait| now + wait);
            prop_assert_eq!(accepted(&mut bucket, rate, times), waits.len());
        }
    }
}
