//! Arguments of the topology's commands.

use std::{ops::RangeInclusive, time::Duration};

use super::throttling::ThrottlingArgs;
use crate::{
    broker::topology::Retention,
    cli::{mistakes::Mistakes, output::duration},
    domain::Settings,
    worker::Declaration,
};

/// Settings of an installation. Others keep their value or get the default.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct SettingsArgs {
    /// Time after its last heartbeat until a stream expires [default: 90s]
    #[arg(long, env = "STREAMWATCH_TTL", value_name = "DURATION")]
    ttl: Option<String>,
    /// Interval of heartbeats [default: a third of the TTL]
    #[arg(long, env = "STREAMWATCH_HEARTBEAT_EVERY", value_name = "DURATION")]
    heartbeat_every: Option<String>,
    /// Longest age of a stream, 0s for none; a stream that is older ends at its next heartbeat
    /// [default: 0s]
    #[arg(long, env = "STREAMWATCH_MAX_STREAM_AGE", value_name = "DURATION")]
    max_stream_age: Option<String>,
    /// Version of the rules, which cannot be lowered; all workers must support it [default: 2]
    #[arg(long, env = "STREAMWATCH_RULES", value_name = "VERSION")]
    rules: Option<String>,
    /// Most active streams of one account [default: 100]
    #[arg(long, env = "STREAMWATCH_MAX_STREAMS_PER_ACCOUNT", value_name = "N")]
    max_streams_per_account: Option<String>,
    /// Most active and stopped streams of one account together [default: 1000]
    #[arg(long, env = "STREAMWATCH_MAX_TOMBSTONES_PER_ACCOUNT", value_name = "N")]
    max_tombstones_per_account: Option<String>,
    /// Most stored refusals of one account [default: 100]
    #[arg(long, env = "STREAMWATCH_MAX_REFUSALS_PER_ACCOUNT", value_name = "N")]
    max_refusals_per_account: Option<String>,
    /// Approximate capacity of one partition, in streams [default: 5000000]
    #[arg(long, env = "STREAMWATCH_MAX_STREAMS_PER_PARTITION", value_name = "N")]
    max_streams_per_partition: Option<String>,
    /// Approximate capacity of one tenant in one partition, in streams [default: 5000000]
    #[arg(long, env = "STREAMWATCH_MAX_STREAMS_PER_TENANT", value_name = "N")]
    max_streams_per_tenant: Option<String>,
    /// Interval of snapshots of each partition [default: 2m]
    #[arg(long, env = "STREAMWATCH_SNAPSHOT_EVERY", value_name = "DURATION")]
    snapshot_every: Option<String>,
    /// Metadata keys whose values are counted for each tenant, at most 4, separated by commas; empty
    /// for none [default: none]
    #[arg(long, env = "STREAMWATCH_COUNT_BY", value_name = "KEYS")]
    count_by: Option<String>,
    #[command(flatten)]
    throttling: ThrottlingArgs,
}

/// Arguments of a declaration.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct DeclareArgs {
    #[command(flatten)]
    pub(super) settings: SettingsArgs,
    #[command(flatten)]
    retention: RetentionArgs,
    /// Accept MQTT devices: bind RabbitMQ's MQTT exchange; --mqtt=false unbinds it [default:
    /// unchanged]
    #[arg(
        long,
        env = "STREAMWATCH_MQTT",
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    mqtt: Option<bool>,
}

/// Retention of logs and snapshots.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct RetentionArgs {
    /// Retention of the log: at least ten TTLs, and three times --snapshot-every [default: 4h, or
    /// the minimum if it is longer]
    #[arg(long, env = "STREAMWATCH_RETENTION", value_name = "DURATION")]
    retention: Option<String>,
    /// Bytes of the log to keep per partition, whatever its age [default: 34359738368]
    #[arg(long, env = "STREAMWATCH_LOG_BYTES", value_name = "BYTES")]
    log_bytes: Option<String>,
    /// Bytes per segment of the log; RabbitMQ deletes whole segments [default: 67108864]
    #[arg(long, env = "STREAMWATCH_SEGMENT_BYTES", value_name = "BYTES")]
    segment_bytes: Option<String>,
    /// Bytes of snapshots to keep per partition, at least three snapshots [default: 2147483648]
    #[arg(long, env = "STREAMWATCH_SNAPSHOT_BYTES", value_name = "BYTES")]
    snapshot_bytes: Option<String>,
}

impl SettingsArgs {
    /// Returns `base` with these settings, or notes the mistakes.
    pub(super) fn check(&self, mut base: Settings, mistakes: &mut Mistakes) -> Settings {
        let ms = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
        if let Some(ttl) = mistakes.duration_if("--ttl (STREAMWATCH_TTL)", self.ttl.as_deref()) {
            let a_third = base.heartbeat_every_ms == base.ttl_ms / 3;
            base.ttl_ms = ms(ttl);
            // Keeps an operator's choice.
            if a_third {
                base.heartbeat_every_ms = base.ttl_ms / 3;
            }
        }
        let every = self.heartbeat_every.as_deref();
        if let Some(every) = mistakes.duration_if("--heartbeat-every", every) {
            base.heartbeat_every_ms = ms(every);
        }
        let age = self.max_stream_age.as_deref();
        if let Some(age) = mistakes.duration_if("--max-stream-age", age) {
            base.max_stream_age_ms = ms(age);
        }
        if let Some(rules) = mistakes.check_if::<u32>("--rules", self.rules.as_deref()) {
            base.rules = rules;
        }
        let every = self.snapshot_every.as_deref();
        if let Some(every) = mistakes.duration_if("--snapshot-every", every) {
            base.snapshot_every_ms = ms(every);
        }
        if let Some(keys) = &self.count_by {
            let keys = keys.split(',').filter(|_| !keys.is_empty());
            base.count_by = keys.map(str::to_owned).collect();
        }
        self.throttling.check(&mut base.throttling, mistakes);
        let mut small = |name, text: &Option<String>, setting: &mut u32| {
            if let Some(n) = mistakes.check_if(name, text.as_deref()) {
                *setting = n;
            }
        };
        small(
            "--max-streams-per-account",
            &self.max_streams_per_account,
            &mut base.max_streams_per_account,
        );
        small(
            "--max-tombstones-per-account",
            &self.max_tombstones_per_account,
            &mut base.max_tombstones_per_account,
        );
        small(
            "--max-refusals-per-account",
            &self.max_refusals_per_account,
            &mut base.max_refusals_per_account,
        );
        let mut large = |name, text: &Option<String>, setting: &mut u64| {
            if let Some(n) = mistakes.check_if(name, text.as_deref()) {
                *setting = n;
            }
        };
        large(
            "--max-streams-per-partition",
            &self.max_streams_per_partition,
            &mut base.max_streams_per_partition,
        );
        large(
            "--max-streams-per-tenant",
            &self.max_streams_per_tenant,
            &mut base.max_streams_per_tenant,
        );
        for error in base.check().err().unwrap_or_default() {
            mistakes.note(format!("--{error}"));
        }
        base
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.throttling.is_empty()
            && matches!(
                self,
                Self {
                    ttl: None,
                    heartbeat_every: None,
                    max_stream_age: None,
                    rules: None,
                    max_streams_per_account: None,
                    max_tombstones_per_account: None,
                    max_refusals_per_account: None,
                    max_streams_per_partition: None,
                    max_streams_per_tenant: None,
                    snapshot_every: None,
                    count_by: None,
                    throttling: _,
                }
            )
    }
}

impl DeclareArgs {
    /// Returns the declaration, or notes the mistakes. `flag` is the name of the flag for the
    /// number of partitions.
    pub(in crate::cli) fn check(
        &self,
        flag: &str,
        partitions: Option<&str>,
        mistakes: &mut Mistakes,
    ) -> Declaration {
        let partitions = mistakes.check_if(flag, partitions);
        if partitions.is_some_and(|n| !(1..=Settings::MAX_PARTITIONS).contains(&n)) {
            mistakes.note(format!("{flag}: 1 to {}", Settings::MAX_PARTITIONS));
        }
        let first = self.settings.check(Settings::default(), mistakes);
        let retention = self.retention.check(first.least_retention_ms(), mistakes);
        Declaration {
            partitions,
            first,
            retention,
            by_mqtt: self.mqtt,
        }
    }
}

impl RetentionArgs {
    pub(super) const fn is_empty(&self) -> bool {
        matches!(
            self,
            Self {
                retention: None,
                log_bytes: None,
                segment_bytes: None,
                snapshot_bytes: None,
            }
        )
    }

    /// Returns the retention, or notes the mistakes. The log is kept at least for `floor_ms`.
    pub(super) fn check(&self, floor_ms: u64, mistakes: &mut Mistakes) -> Retention {
        let floor = Duration::from_millis(floor_ms);
        let mut retention = Retention::default();
        retention.max_age = retention.max_age.max(floor);
        if let Some(age) = mistakes.duration_if("--retention", self.retention.as_deref()) {
            if age < floor {
                mistakes.note(format!(
                    "--retention: at least ten TTLs and three times --snapshot-every, {}",
                    duration(floor)
                ));
            }
            retention.max_age = age;
        }
        let mut bytes = |name, text: &Option<String>, range: RangeInclusive<u64>, to: &mut u64| {
            if let Some(bytes) = mistakes.check_if(name, text.as_deref()) {
                if !range.contains(&bytes) {
                    mistakes.note(format!("{name}: {} to {}", range.start(), range.end()));
                }
                *to = bytes;
            }
        };
        bytes(
            "--log-bytes",
            &self.log_bytes,
            10_000_000..=100_000_000_000_000,
            &mut retention.log_bytes,
        );
        bytes(
            "--segment-bytes",
            &self.segment_bytes,
            1_000_000..=3_000_000_000,
            &mut retention.segment_bytes,
        );
        bytes(
            "--snapshot-bytes",
            &self.snapshot_bytes,
            10_000_000..=1_000_000_000_000,
            &mut retention.snapshot_bytes,
        );
        retention
    }
}
