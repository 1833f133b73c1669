//! A bounded map from streams to values that expire.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::stream_key::StreamKey;

/// A bounded map from streams to values, each with a TTL.
///
/// A new value enters the young generation. When the young generation holds half of the bound, or
/// when each value of the old generation has expired, the old generation is dropped and the young
/// one becomes old. So the most recent half of the bound is always kept, and no search for expired
/// values is needed. A general cache costs ten times as much per heartbeat.
pub(super) struct Recent<V>(Mutex<Generations<V>>);

struct Generations<V> {
    young: Generation<V>,
    old: Generation<V>,
    /// Largest number of values in a generation.
    most: usize,
}

struct Generation<V> {
    values: HashMap<StreamKey, (V, Instant), BuildHasherDefault<Hashed>>,
    /// The time at which all values have expired.
    ends: Option<Instant>,
}

impl<V: Clone> Recent<V> {
    /// Creates a map of at most `most` values.
    pub(super) fn new(most: usize) -> Self {
        Self(Mutex::new(Generations::new(most)))
    }

    fn lock(&self) -> MutexGuard<'_, Generations<V>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores a value that expires after `ttl`.
    pub(super) fn put(&self, key: StreamKey, value: V, ttl: Duration) {
        let now = Instant::now();
        self.lock().put(key, value, ttl, now);
    }

    /// Returns the value of a stream, unless it has expired.
    pub(super) fn get(&self, key: StreamKey) -> Option<V> {
        self.lock().get(key, Instant::now()).cloned()
    }

    /// Removes the value of a stream.
    pub(super) fn remove(&self, key: StreamKey) {
        self.lock().remove(key);
    }

    /// The number of values, including expired ones that are not dropped yet.
    pub(super) fn len(&self) -> usize {
        self.lock().len(Instant::now())
    }
}

impl<V> Generations<V> {
    fn new(most: usize) -> Self {
        Self {
            young: Generation::default(),
            old: Generation::default(),
            most: most / 2,
        }
    }

    fn put(&mut self, key: StreamKey, value: V, ttl: Duration, now: Instant) {
        self.rotate(now);
        let ends = now + ttl;
        if self.young.values.insert(key, (value, ends)).is_none() {
            self.old.values.remove(&key);
        }
        self.young.ends = self.young.ends.max(Some(ends));
    }

    fn get(&self, key: StreamKey, now: Instant) -> Option<&V> {
        let young = self.young.values.get(&key);
        let (value, ends) = young.or_else(|| self.old.values.get(&key))?;
        (now < *ends).then_some(value)
    }

    fn remove(&mut self, key: StreamKey) {
        self.young.values.remove(&key);
        self.old.values.remove(&key);
    }

    fn len(&mut self, now: Instant) -> usize {
        self.rotate(now);
        self.young.values.len() + self.old.values.len()
    }

    /// Drops the old generation if the young one is full, or if all values of the old one have
    /// expired.
    fn rotate(&mut self, now: Instant) {
        let is_full = self.young.values.len() >= self.most;
        let has_expired = self.old.ends.is_none_or(|ends| ends <= now);
        if is_full || has_expired {
            std::mem::swap(&mut self.young, &mut self.old);
            self.young.values.clear();
            self.young.ends = None;
        }
    }
}

impl<V> Default for Generation<V> {
    fn default() -> Self {
        Self {
            values: HashMap::default(),
            ends: None,
        }
    }
}

/// Uses the hash that a [`StreamKey`] contains.
#[derive(Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{AccountId, StreamId, Tenant};

    const TTL: Duration = Duration::from_secs(60);

    fn key(n: u128) -> StreamKey {
        let (acme, alice) = (Tenant::new("acme"), AccountId::new("alice"));
        let stream = StreamId(uuid::Uuid::from_u128(n));
        StreamKey::new(&acme.unwrap(), &alice.unwrap(), stream)
    }

    #[test]
    fn a_value_expires_its_ttl_after_it_was_last_stored() {
        let (mut recent, now) = (Generations::new(100), Instant::now());
        let almost = TTL - Duration::from_millis(1);
        recent.put(key(1), "one", TTL, now);
        recent.put(key(2), "two", TTL * 3, now);
        assert_eq!(recent.get(key(1), now + almost), Some(&"one"));
        let now = now + almost;
        recent.put(key(1), "new", TTL, now);
        assert_eq!(recent.get(key(1), now + almost), Some(&"new"));
        assert_eq!(recent.get(key(1), now + TTL), None);
        assert_eq!(recent.get(key(2), now + TTL), Some(&"two"));
        recent.remove(key(2));
        assert_eq!(recent.get(key(2), now), None);
        assert_eq!(recent.get(key(3), now), None);
    }

    #[test]
    fn an_expired_value_is_dropped_within_another_ttl() {
        let (mut recent, now) = (Generations::new(1_000), Instant::now());
        for n in 0..10 {
            recent.put(key(n), (), TTL, now + TTL * n as u32 / 10);
        }
        assert_eq!(recent.len(now + TTL - Duration::from_millis(1)), 10);
        assert!(recent.len(now + TTL * 2) < 10);
        recent.len(now + TTL * 3);
        assert_eq!(recent.len(now + TTL * 4), 0);
    }

    #[test]
    fn the_map_is_bounded_and_keeps_its_most_recent_half() {
        let (mut recent, now) = (Generations::new(100), Instant::now());
        for n in 1..1_000 {
            recent.put(key(n), n, TTL, now);
            // A value that is stored repeatedly is kept too.
            recent.put(key(0), n, TTL, now);
            assert!(recent.len(now) <= 100, "{n}");
            for n in n.saturating_sub(48).max(1)..=n {
                assert_eq!(recent.get(key(n), now), Some(&n));
            }
            assert_eq!(recent.get(key(0), now), Some(&n));
        }
    }
}
