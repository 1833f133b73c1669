//! The settings of an installation. Each partition's log contains them, numbered, and they take
//! effect at their offset.

use serde::{Deserialize, Serialize};

/// The version of the rules in [`crate::domain`]. A worker does not serve a log whose settings
/// have another version, because replicas with different rules would give different answers.
pub const RULES_VERSION: u32 = 1;

/// Maximum time of a request in its queue, in milliseconds, redeliveries included.
pub const REQUEST_QUEUE_MS: u64 = 10_000;

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
    /// The version of the rules: [`RULES_VERSION`].
    pub rules: u32,
    /// Time after its last heartbeat until a stream expires, in milliseconds: 1 s to 24 h.
    pub ttl_ms: u64,
    /// Interval of heartbeats, in milliseconds: 100 ms to less than the TTL.
    pub heartbeat_every_ms: u64,
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
    /// Number of partitions of the topology: 1 to 64. It never changes.
    pub partitions: u16,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            number: 1,
            rules: RULES_VERSION,
            ttl_ms: 90_000,
            heartbeat_every_ms: 30_000,
            max_streams_per_account: 100,
            max_tombstones_per_account: 1_000,
            max_refusals_per_account: 100,
            max_streams_per_partition: 5_000_000,
            max_streams_per_tenant: 5_000_000,
            snapshot_every_ms: 120_000,
            partitions: 1,
        }
    }
}

/// A setting that is out of its range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{setting} must be {must_be}")]
pub struct SettingsError {
    /// The setting's name, as in `topology set --NAME`.
    pub setting: &'static str,
    /// The range, in words.
    pub must_be: &'static str,
}

impl Settings {
    /// The longest TTL: 24 h.
    pub const MAX_TTL_MS: u64 = 86_400_000;

    /// The maximum number of partitions.
    pub const MAX_PARTITIONS: u16 = 64;

    /// The interval of ticks for a TTL: a twentieth of the TTL, at most 1 s.
    #[must_use]
    pub const fn interval_for(ttl_ms: u64) -> u64 {
        let twentieth = ttl_ms / 20;
        if twentieth < 1_000 { twentieth } else { 1_000 }
    }

    /// The interval of ticks, in milliseconds.
    #[must_use]
    pub const fn interval_ms(&self) -> u64 {
        Self::interval_for(self.ttl_ms)
    }

    /// The validity of a proposal, in milliseconds of log time: 10 s, or the TTL if it is shorter.
    #[must_use]
    pub const fn request_ms(&self) -> u64 {
        if self.ttl_ms < 10_000 {
            self.ttl_ms
        } else {
            10_000
        }
    }

    /// The validity of a tombstone, in milliseconds of log time: the TTL, or the time for which an
    /// `init` of the stream may still arrive, if it is longer. With several partitions, an `init`
    /// may also have waited in the intake.
    #[must_use]
    pub const fn tombstone_ms(&self) -> u64 {
        let queues = if self.partitions > 1 { 2 } else { 1 };
        let latest_open_ms = queues * REQUEST_QUEUE_MS + self.request_ms();
        if self.ttl_ms > latest_open_ms {
            self.ttl_ms
        } else {
            latest_open_ms
        }
    }

    /// The minimum retention of the log, in milliseconds: ten times the TTL, or three times the
    /// interval of snapshots if that is longer.
    #[must_use]
    pub const fn least_retention_ms(&self) -> u64 {
        let (by_ttl, by_snapshots) = (
            self.ttl_ms.saturating_mul(10),
            self.snapshot_every_ms.saturating_mul(3),
        );
        if by_ttl > by_snapshots {
            by_ttl
        } else {
            by_snapshots
        }
    }

    /// Checks the ranges of all settings.
    ///
    /// # Errors
    /// One [`SettingsError`] for each setting that is out of its range.
    pub fn check(&self) -> Result<(), Vec<SettingsError>> {
        let mut errors = Vec::new();
        let mut must = |holds: bool, setting, must_be| {
            if !holds {
                errors.push(SettingsError { setting, must_be });
            }
        };
        let (per_account, per_many) = (1..=1_000, 1..=1_000_000_000);
        let per_tombstones = self.max_streams_per_account..=1_000;
        must(
            (1_000..=Self::MAX_TTL_MS).contains(&self.ttl_ms),
            "ttl",
            "1s to 24h",
        );
        must(
            self.heartbeat_every_ms >= 100 && self.heartbeat_every_ms < self.ttl_ms,
            "heartbeat-every",
            "at least 100ms and less than the ttl",
        );
        must(
            per_account.contains(&self.max_streams_per_account),
            "max-streams-per-account",
            "1 to 1000",
        );
        must(
            per_account.contains(&self.max_tombstones_per_account)
                && per_tombstones.contains(&self.max_tombstones_per_account),
            "max-tombstones-per-account",
            "1 to 1000, and at least max-streams-per-account",
        );
        must(
            per_account.contains(&self.max_refusals_per_account),
            "max-refusals-per-account",
            "1 to 1000",
        );
        must(
            per_many.contains(&self.max_streams_per_partition),
            "max-streams-per-partition",
            "1 to 1000000000",
        );
        must(
            per_many.contains(&self.max_streams_per_tenant),
            "max-streams-per-tenant",
            "1 to 1000000000",
        );
        must(
            (1_000..=86_400_000).contains(&self.snapshot_every_ms),
            "snapshot-every",
            "1s to 24h",
        );
        must(
            (1..=Self::MAX_PARTITIONS).contains(&self.partitions),
            "partitions",
            "1 to 64",
        );
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
        let names: Vec<_> = errors.iter().map(|e| e.setting).collect();
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
    fn the_interval_is_a_twentieth_of_the_ttl_and_a_second_at_most() {
        assert_eq!(Settings::interval_for(2_000), 100);
        assert_eq!(Settings::interval_for(90_000), 1_000);
    }
}
