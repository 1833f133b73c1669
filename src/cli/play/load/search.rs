//! The search for the highest rate that holds: doubling, then halving the gap.

/// The first rate to try.
const START: u32 = 1_000;
/// The lowest rate to try.
const LEAST: u32 = 10;
/// The highest rate to try, above the capacity of any broker.
pub(super) const MOST: u32 = 1_000_000;

/// State of the search.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Search {
    /// The highest rate that held.
    pub(super) held: Option<u32>,
    failed: Option<u32>,
}

impl Search {
    /// The rate to try next; `None` once the highest is found to within five percent.
    pub(super) fn next(self) -> Option<u32> {
        match (self.held, self.failed) {
            (None, None) => Some(START),
            (Some(held), None) => (held < MOST).then(|| held.saturating_mul(2).min(MOST)),
            (None, Some(failed)) => Some(failed / 2).filter(|rate| *rate >= LEAST),
            (Some(held), Some(failed)) => {
                let gap = failed.saturating_sub(held);
                (gap > held / 20 && gap > 1).then_some(held + gap / 2)
            }
        }
    }

    pub(super) fn note(&mut self, rate: u32, holds: bool) {
        *(if holds {
            &mut self.held
        } else {
            &mut self.failed
        }) = Some(rate);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The result of a search if all rates up to `limit` hold, and the tried rates.
    fn find(limit: u32) -> (Option<u32>, Vec<u32>) {
        let (mut search, mut tried) = (Search::default(), Vec::new());
        while let Some(rate) = search.next() {
            assert!(tried.len() < 40, "it does not end: {tried:?}");
            tried.push(rate);
            search.note(rate, rate <= limit);
        }
        (search.held, tried)
    }

    #[test]
    fn the_highest_rate_is_found_to_within_five_percent() {
        for limit in [15, 37, 999, 1_000, 1_001, 23_456, 870_000] {
            let (held, tried) = find(limit);
            let held = held.unwrap_or_else(|| panic!("nothing held below {limit}: {tried:?}"));
            assert!(held <= limit, "{held} of {limit}");
            let short = f64::from(limit - held) / f64::from(held);
            assert!(short <= 0.05 || limit - held <= 1, "{held} of {limit}");
        }
    }

    #[test]
    fn the_search_doubles_the_rate_and_then_halves_the_gap() {
        let (held, tried) = find(5_100);
        assert_eq!(
            tried,
            [1_000, 2_000, 4_000, 8_000, 6_000, 5_000, 5_500, 5_250]
        );
        assert_eq!(held, Some(5_000));
    }

    #[test]
    fn the_search_ends_if_no_rate_or_every_rate_holds() {
        let (held, tried) = find(0);
        assert_eq!((held, tried.last()), (None, Some(&15)));
        assert_eq!(find(u32::MAX).0, Some(MOST));
    }
}
