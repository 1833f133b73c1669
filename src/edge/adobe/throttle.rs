//! Throttling as on Adobe's pages: bounds of requests per minute for each session and account.

use std::{
    hash::Hash,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use moka::sync::Cache;
use tokio::time::Instant;

/// The length of a window, which begins with its first request.
const WINDOW: Duration = Duration::from_secs(60);
/// Largest number of windows. The least used ones are dropped first; their keys start new windows.
const MOST_WINDOWS: u64 = 100_000;

/// Counts requests by key in windows.
pub struct Windows<K: Hash + Eq + Send + Sync + 'static>(Cache<K, Arc<Window>>);

struct Window {
    ends: Instant,
    requests: AtomicU32,
}

impl<K: Hash + Eq + Send + Sync + 'static> Default for Windows<K> {
    fn default() -> Self {
        let windows = Cache::builder().max_capacity(MOST_WINDOWS);
        Self(windows.time_to_live(2 * WINDOW).build())
    }
}

impl<K: Hash + Eq + Send + Sync + 'static> Windows<K> {
    /// Counts a request at `now`. A window admits `most`.
    ///
    /// # Errors
    /// The time until the window ends, if the request exceeds the limit.
    pub fn admit(&self, key: K, most: u32, now: Instant) -> Result<(), Duration> {
        let entry = self.0.entry(key).and_upsert_with(|before| match before {
            Some(entry) if entry.value().ends > now => entry.into_value(),
            _ => Arc::new(Window {
                ends: now + WINDOW,
                requests: AtomicU32::new(0),
            }),
        });
        let window = entry.into_value();
        let before = window.requests.fetch_add(1, Ordering::Relaxed);
        if before < most {
            Ok(())
        } else {
            // Saturates instead of wrapping around in a flood.
            window.requests.store(most, Ordering::Relaxed);
            Err(window.ends - now)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_begins_with_its_first_request_and_lasts_a_minute() {
        let (windows, began) = (Windows::default(), Instant::now());
        let at = Duration::from_secs;
        let admit = |session, now| windows.admit(session, 200, began + now);
        for _ in 0..50 {
            assert_eq!(admit("session1", at(10)), Ok(()));
        }
        for _ in 0..150 {
            assert_eq!(admit("session1", at(50)), Ok(()));
        }
        assert_eq!(admit("session1", at(50)), Err(at(20)));
        assert_eq!(admit("session2", at(50)), Ok(()));
        assert_eq!(admit("session1", at(61)), Err(at(9)));
        assert_eq!(admit("session1", at(70)), Ok(()));
    }
}
