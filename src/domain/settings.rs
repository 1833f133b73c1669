//! The settings of an installation. Each partition's log contains them, numbered, and they take
//! effect at their offset.

use serde::{Deserialize, Serialize};

use super::{MAX_KEY_BYTES, Rules, Throttling};

/// Maximum time of a request in its queue, in milliseconds, redeliveries included.
pub const REQUEST_QUEUE_MS: u64 = 10_000;
/// Maximum time from a decision to the arrival of its reply, in milliseconds.
const REPLY_MS: u64 = 10_000;
/// The time for which rules version 1 stores a refusal, in milliseconds.
const FIRST_REFUSAL_MS: u64 = 30_000;

/// Settings of the rules, equal on all replicas at the same offset.
///
/// They are stored in the log. Fields of later versions are ignored, missing fields get their
/// default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// The number of the change, from 1 on. Of two entries with the same number, the first one in
    /// the log takes effect.
    pub number: u64,
    /// The number of the version of the rules. A worker does not serve a log with an unsupported
    /// version, because replicas with different rules would give different answers.
    #[serde(default = "first_version")]
    pub rules: u32,
    /// Time after its last heartbeat until a stream expires, in milliseconds: 1 s to 24 h.
    pub ttl_ms: u64,
    /// Interval of heartbeats, in milliseconds: 100 ms to less than the TTL.
    pub heartbeat_every_ms: u64,
    /// Maximum age of a stream, in milliseconds: 0 for none, else 1 s to 30 days. A
    /// stream that is older ends at its next heartbeat or at the next `init` of its account.
    pub max_stream_age_ms: u64,
    /// Maximum number of an account's active streams: 1 to 1,000.
    pub max_streams_per_account: u32,
    /// Maximum number of an account's tombstones and active streams together: 1 to 1,000. At the
    /// maximum, no stream starts until tombstones expire.
    pub max_tombstones_per_account: u32,
    /// Maximum number of an account's stored refusals: 1 to 1,000.
    pub max_refusals_per_account: u32,
    /// Number of streams and tombstones of one partition from which on new streams are refused. A
    /// soft limit, see [`crate::domain::CapacityChange`].
    pub max_streams_per_partition: u64,
    /// The soft limit for one tenant in one partition.
    pub max_streams_per_tenant: u64,
    /// Interval of each partition's snapshots, in milliseconds: 1 s to 24 h. The log's retention
    /// must be at least three times as long.
    pub snapshot_every_ms: u64,
    /// Limits of requests per second.
    pub throttling: Throttling,
    /// Number of partitions of the topology: 1 to 64. It never changes.
    pub partitions: u16,
    /// Metadata keys whose values are counted for each tenant: at most 4, each of 1 to 64 bytes,
    /// without duplicates. No decision depends on them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub count_by: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            number: 1,
            rules: Rules::NEWEST.number(),
            ttl_ms: 90_000,
            heartbeat_every_ms: 30_000,
            max_stream_age_ms: 0,
            max_streams_per_account: 100,
            max_tombstones_per_account: 1_000,
            max_refusals_per_account: 100,
            max_streams_per_partition: 5_000_000,
            max_streams_per_tenant: 5_000_000,
            snapshot_every_ms: 120_000,
            throttling: Throttling::default(),
            partitions: 1,
            count_by: Vec::new(),
        }
    }
}

/// The version of settings that state none.
const fn first_version() -> u32 {
    Rules::V1.number()
}

impl Settings {
    /// The longest TTL: 24 h.
    pub const MAX_TTL_MS: u64 = 86_400_000;

    /// The highest maximum age of a stream: 30 days.
    pub const MAX_AGE_MS: u64 = 30 * 86_400_000;

    /// The maximum number of partitions.
    pub const MAX_PARTITIONS: u16 = 64;

    /// The maximum number of metadata keys whose values are counted.
    pub const MAX_COUNT_BY: usize = 4;

    /// The rules in force; version 1 if the number is not supported.
    #[must_use]
    pub fn rules(&self) -> Rules {
        Rules::of(self.rules).unwrap_or(Rules::V1)
    }

    /// The maximum age of a stream, in milliseconds, if there is one.
    #[must_use]
    pub fn max_age_ms(&self) -> Option<u64> {
        let limits = self.max_stream_age_ms > 0 && self.rules().limit_age();
        limits.then_some(self.max_stream_age_ms)
    }

    /// The interval of ticks for a TTL: a twentieth of the TTL, at most 1 s.
    #[must_use]
    pub fn interval_for(ttl_ms: u64) -> u64 {
        (ttl_ms / 20).min(1_000)
    }

    /// The interval of ticks, in milliseconds.
    #[must_use]
    pub fn interval_ms(&self) -> u64 {
        Self::interval_for(self.ttl_ms)
    }

    /// The validity of a proposal, in milliseconds of log time: 10 s, or the TTL if it is shorter.
    #[must_use]
    pub fn request_ms(&self) -> u64 {
        self.ttl_ms.min(10_000)
    }

    /// The validity of a tombstone, in milliseconds of log time: the TTL, or the time for which an
    /// `init` of the stream may still arrive, if it is longer.
    #[must_use]
    pub fn tombstone_ms(&self) -> u64 {
        self.ttl_ms.max(self.latest_open_ms())
    }

    /// The longest time from the publication of an `init` to its decision, in milliseconds of log
    /// time. With several partitions, an `init` may also have waited in the intake.
    fn latest_open_ms(&self) -> u64 {
        let queues = if self.partitions > 1 { 2 } else { 1 };
        queues * REQUEST_QUEUE_MS + self.request_ms()
    }

    /// The time for which a refusal is stored, in milliseconds of log time.
    ///
    /// An acknowledged reply does not make it superfluous: the broker does not repeat the request
    /// any more, but its player may have repeated it before the reply arrived, up to 10 s after
    /// the decision. Such a copy must get the same decision, since its player has stopped waiting
    /// and would not play. It is decided at most [`Self::latest_open_ms`] later.
    #[must_use]
    pub fn refusal_ms(&self) -> u64 {
        if self.rules().derive_refusal_time() {
            REPLY_MS + self.latest_open_ms()
        } else {
            FIRST_REFUSAL_MS
        }
    }

    /// The minimum retention of the log, in milliseconds: ten times the TTL, or three times the
    /// interval of snapshots if that is longer.
    #[must_use]
    pub fn least_retention_ms(&self) -> u64 {
        let by_snapshots = self.snapshot_every_ms.saturating_mul(3);
        self.ttl_ms.saturating_mul(10).max(by_snapshots)
    }

    fn counts_by_few_keys(&self) -> bool {
        let keys = &self.count_by;
        let is_first = |n: usize, key: &String| !keys[..n].contains(key);
        keys.len() <= Self::MAX_COUNT_BY
            && keys
                .iter()
                .enumerate()
                .all(|(n, key)| (1..=MAX_KEY_BYTES).contains(&key.len()) && is_first(n, key))
    }

    /// Checks the ranges of all settings.
    ///
    /// # Errors
    /// One text for each setting that is out of its range. It begins with the setting's name, as in
    /// `topology set --NAME`.
    pub fn check(&self) -> Result<(), Vec<String>> {
        let mut errors = Vec::new();
        let mut must = |holds: bool, setting: &str, must_be: &str| {
            if !holds {
                errors.push(format!("{setting} must be {must_be}"));
            }
        };
        let is_per_account = |n: u32| (1..=1_000).contains(&n);
        let is_per_many = |n: u64| (1..=1_000_000_000).contains(&n);
        let rules = self.rules();
        let ttl = (1_000..=Self::MAX_TTL_MS).contains(&self.ttl_ms);
        must(ttl, "ttl", "1s to 24h");
        must(
            (100..self.ttl_ms).contains(&self.heartbeat_every_ms),
            "heartbeat-every",
            "at least 100ms and less than the ttl",
        );
        must(Rules::of(self.rules).is_some(), "rules", "1 or 2");
        let age = (1_000..=Self::MAX_AGE_MS).contains(&self.max_stream_age_ms);
        must(
            self.max_stream_age_ms == 0 || (age && rules.limit_age()),
            "max-stream-age",
            "0s for none, or 1s to 30days, which needs rules 2",
        );
        let streams = is_per_account(self.max_streams_per_account);
        must(streams, "max-streams-per-account", "1 to 1000");
        let tombstones = self.max_tombstones_per_account;
        must(
            is_per_account(tombstones) && tombstones >= self.max_streams_per_account,
            "max-tombstones-per-account",
            "1 to 1000, and at least max-streams-per-account",
        );
        let refusals = is_per_account(self.max_refusals_per_account);
        must(refusals, "max-refusals-per-account", "1 to 1000");
        let partition = is_per_many(self.max_streams_per_partition);
        must(partition, "max-streams-per-partition", "1 to 1000000000");
        let tenant = is_per_many(self.max_streams_per_tenant);
        must(tenant, "max-streams-per-tenant", "1 to 1000000000");
        let snapshots = (1_000..=86_400_000).contains(&self.snapshot_every_ms);
        must(snapshots, "snapshot-every", "1s to 24h");
        let partitions = (1..=Self::MAX_PARTITIONS).contains(&self.partitions);
        must(partitions, "partitions", "1 to 64");
        must(
            self.counts_by_few_keys(),
            "count-by",
            "at most 4 different metadata keys, each of 1 to 64 bytes",
        );
        let max = Throttling::MAX_PER_SECOND;
        let limited = format!("0 for no limit, or 1 to {max}, which needs rules 2");
        for (setting, limit) in self.throttling.by_name() {
            let holds = limit == 0 || (limit <= max && rules.throttle());
            must(holds, setting, &limited);
        }
        if errors.is_empty() {
            Ok(())
        } else {
            Err(errors)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_in_range() {
        assert_eq!(Settings::default().check(), Ok(()));
    }

    #[test]
    fn every_mistake_is_reported_at_once() {
        let wrong = Settings {
            ttl_ms: 10,
            heartbeat_every_ms: 20,
            max_streams_per_account: 0,
            ..Settings::default()
        };
        let errors = wrong.check().unwrap_err();
        let names = errors.iter().filter_map(|error| error.split(' ').next());
        let names: Vec<_> = names.collect();
        assert_eq!(names, ["ttl", "heartbeat-every", "max-streams-per-account"]);
    }

    #[test]
    fn a_tombstone_outlives_every_request_that_may_still_open_its_stream() {
        let settings = |ttl_ms, partitions| Settings {
            ttl_ms,
            partitions,
            ..Settings::default()
        };
        assert_eq!(settings(90_000, 4).tombstone_ms(), 90_000);
        assert_eq!(settings(2_000, 1).tombstone_ms(), 12_000);
        assert_eq!(settings(2_000, 4).tombstone_ms(), 22_000);
    }

    #[test]
    fn a_refusal_outlives_every_repetition_that_was_sent_before_its_reply() {
        let stored = |ttl_ms, partitions, rules| {
            let settings = Settings {
                ttl_ms,
                partitions,
                rules,
                ..Settings::default()
            };
            settings.refusal_ms()
        };
        assert_eq!(stored(90_000, 1, 2), 30_000);
        assert_eq!(stored(90_000, 4, 2), 40_000);
        assert_eq!(stored(2_000, 1, 2), 22_000);
        assert_eq!(stored(2_000, 4, 1), 30_000);
    }

    #[test]
    fn settings_of_old_logs_without_a_version_have_the_first_one() {
        let old: Settings = serde_json::from_str(r#"{"number":3,"ttl_ms":60000}"#).unwrap();
        assert_eq!((old.rules(), old.ttl_ms), (Rules::V1, 60_000));
        assert_eq!(Settings::default().rules(), Rules::V2);
    }

    #[test]
    fn a_maximum_age_is_one_second_to_30_days_and_needs_rules_2() {
        let with = |rules, max_stream_age_ms| Settings {
            rules,
            max_stream_age_ms,
            ..Settings::default()
        };
        let day = 86_400_000;
        assert_eq!(with(2, day).check(), Ok(()));
        assert_eq!(
            (with(2, day).max_age_ms(), with(2, 0).max_age_ms()),
            (Some(day), None)
        );
        assert_eq!(with(1, day).max_age_ms(), None);
        for wrong in [with(1, day), with(2, 999), with(2, 31 * day)] {
            let errors = wrong.check().unwrap_err();
            assert!(errors[0].starts_with("max-stream-age must be "));
        }
        assert_eq!(with(3, 0).check().unwrap_err()[0], "rules must be 1 or 2");
    }

    #[test]
    fn at_most_four_different_metadata_keys_are_counted() {
        let with = |keys: &[&str]| Settings {
            count_by: keys.iter().map(|&key| key.to_owned()).collect(),
            ..Settings::default()
        };
        let long = "k".repeat(64);
        for good in [&["channel"][..], &["a", "b", "c", "d"], &[&long]] {
            assert_eq!(with(good).check(), Ok(()));
        }
        let longer = "k".repeat(65);
        for wrong in [
            &["a", "b", "c", "d", "e"][..],
            &["a", "a"],
            &[""],
            &[&longer],
        ] {
            let errors = with(wrong).check().unwrap_err();
            assert!(errors[0].starts_with("count-by must be "));
        }
        // Not in the entries of installations that count none.
        let none = serde_json::to_string(&Settings::default()).unwrap();
        assert!(!none.contains("count_by"));
    }

    #[test]
    fn the_interval_is_a_twentieth_of_the_ttl_and_a_second_at_most() {
        assert_eq!(Settings::interval_for(2_000), 100);
        assert_eq!(Settings::interval_for(90_000), 1_000);
    }
}
