//! Arguments of the topology's commands.

use std::time::Duration;

use crate::{
    broker::topology::Retention,
    cli::{
        mistakes::Mistakes,
        output::duration,
        setting::{Setting, Within},
    },
    domain::Settings,
    worker::Declaration,
};

/// A number of partitions.
pub type PartitionCount = Within<1, { Settings::MAX_PARTITIONS as u64 }>;

/// Settings of an installation. Others keep their value or get the default.
#[derive(clap::Args, Clone, Debug, Default, PartialEq)]
pub struct SettingsArgs {
    /// Time after its last heartbeat until a stream expires [default: 90s]
    #[arg(long, env = "STREAMWATCH_TTL", value_name = "DURATION")]
    ttl: Option<Setting<Duration>>,
    /// Interval of heartbeats [default: a third of the TTL]
    #[arg(long, env = "STREAMWATCH_HEARTBEAT_EVERY", value_name = "DURATION")]
    heartbeat_every: Option<Setting<Duration>>,
    /// Longest age of a stream, 0s for none; a stream that is older ends at its next heartbeat
    /// [default: 0s]
    #[arg(long, env = "STREAMWATCH_MAX_STREAM_AGE", value_name = "DURATION")]
    max_stream_age: Option<Setting<Duration>>,
    /// Version of the rules, which cannot be lowered; all workers must support it [default: 2]
    #[arg(long, env = "STREAMWATCH_RULES", value_name = "VERSION")]
    rules: Option<Setting<u32>>,
    /// Most active streams of one account [default: 100]
    #[arg(long, env = "STREAMWATCH_MAX_STREAMS_PER_ACCOUNT", value_name = "N")]
    max_streams_per_account: Option<Setting<u32>>,
    /// Most active and stopped streams of one account together [default: 1000]
    #[arg(long, env = "STREAMWATCH_MAX_TOMBSTONES_PER_ACCOUNT", value_name = "N")]
    max_tombstones_per_account: Option<Setting<u32>>,
    /// Most stored refusals of one account [default: 100]
    #[arg(long, env = "STREAMWATCH_MAX_REFUSALS_PER_ACCOUNT", value_name = "N")]
    max_refusals_per_account: Option<Setting<u32>>,
    /// Approximate capacity of one partition, in streams [default: 5000000]
    #[arg(long, env = "STREAMWATCH_MAX_STREAMS_PER_PARTITION", value_name = "N")]
    max_streams_per_partition: Option<Setting<u64>>,
    /// Approximate capacity of one tenant in one partition, in streams [default: 5000000]
    #[arg(long, env = "STREAMWATCH_MAX_STREAMS_PER_TENANT", value_name = "N")]
    max_streams_per_tenant: Option<Setting<u64>>,
    /// Interval of snapshots of each partition [default: 2m]
    #[arg(long, env = "STREAMWATCH_SNAPSHOT_EVERY", value_name = "DURATION")]
    snapshot_every: Option<Setting<Duration>>,
    /// Metadata keys whose values are counted for each tenant, at most 4, separated by commas; empty
    /// for none [default: none]
    #[arg(long, env = "STREAMWATCH_COUNT_BY", value_name = "KEYS")]
    count_by: Option<String>,
    /// Most init requests of one tenant per second, 0 for no limit [default: 0]
    #[arg(long, env = "STREAMWATCH_TENANT_INITS_PER_SECOND", value_name = "N")]
    tenant_inits_per_second: Option<Setting<u32>>,
    /// Most status requests of one tenant per second, 0 for no limit [default: 0]
    #[arg(long, env = "STREAMWATCH_TENANT_STATUSES_PER_SECOND", value_name = "N")]
    tenant_statuses_per_second: Option<Setting<u32>>,
    /// Most init requests of one account per second at each worker, 0 for no limit [default: 0]
    #[arg(long, env = "STREAMWATCH_ACCOUNT_INITS_PER_SECOND", value_name = "N")]
    account_inits_per_second: Option<Setting<u32>>,
    /// Most status requests of one account per second at each worker, 0 for no limit [default: 0]
    #[arg(
        long,
        env = "STREAMWATCH_ACCOUNT_STATUSES_PER_SECOND",
        value_name = "N"
    )]
    account_statuses_per_second: Option<Setting<u32>>,
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
#[derive(clap::Args, Clone, Debug, Default, PartialEq)]
pub struct RetentionArgs {
    /// Retention of the log: at least ten TTLs, and three times --snapshot-every [default: 4h, or
    /// the minimum if it is longer]
    #[arg(long, env = "STREAMWATCH_RETENTION", value_name = "DURATION")]
    retention: Option<Setting<Duration>>,
    /// Bytes of the log to keep per partition, whatever its age [default: 34359738368]
    #[arg(long, env = "STREAMWATCH_LOG_BYTES", value_name = "BYTES")]
    log_bytes: Option<Setting<Within<10_000_000, 100_000_000_000_000>>>,
    /// Bytes per segment of the log; RabbitMQ deletes whole segments [default: 67108864]
    #[arg(long, env = "STREAMWATCH_SEGMENT_BYTES", value_name = "BYTES")]
    segment_bytes: Option<Setting<Within<1_000_000, 3_000_000_000>>>,
    /// Bytes of snapshots to keep per partition, at least three snapshots [default: 2147483648]
    #[arg(long, env = "STREAMWATCH_SNAPSHOT_BYTES", value_name = "BYTES")]
    snapshot_bytes: Option<Setting<Within<10_000_000, 1_000_000_000_000>>>,
}

impl SettingsArgs {
    /// Returns `base` with these settings, or notes the mistakes.
    pub(super) fn check(&self, mut base: Settings, mistakes: &mut Mistakes) -> Settings {
        let mut set_ms = |setting: &Option<Setting<Duration>>, to: &mut u64| {
            if let Some(time) = mistakes.take(setting) {
                *to = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
            }
        };
        let is_a_third = base.heartbeat_every_ms == base.ttl_ms / 3;
        set_ms(&self.ttl, &mut base.ttl_ms);
        // Keeps an operator's choice.
        if is_a_third {
            base.heartbeat_every_ms = base.ttl_ms / 3;
        }
        set_ms(&self.heartbeat_every, &mut base.heartbeat_every_ms);
        set_ms(&self.max_stream_age, &mut base.max_stream_age_ms);
        set_ms(&self.snapshot_every, &mut base.snapshot_every_ms);
        if let Some(keys) = &self.count_by {
            let keys = keys.split(',').filter(|_| !keys.is_empty());
            base.count_by = keys.map(str::to_owned).collect();
        }
        let limits = &mut base.throttling;
        mistakes.set(
            &self.tenant_inits_per_second,
            &mut limits.tenant_inits_per_second,
        );
        mistakes.set(
            &self.tenant_statuses_per_second,
            &mut limits.tenant_statuses_per_second,
        );
        mistakes.set(
            &self.account_inits_per_second,
            &mut limits.account_inits_per_second,
        );
        mistakes.set(
            &self.account_statuses_per_second,
            &mut limits.account_statuses_per_second,
        );
        mistakes.set(&self.rules, &mut base.rules);
        mistakes.set(
            &self.max_streams_per_account,
            &mut base.max_streams_per_account,
        );
        mistakes.set(
            &self.max_tombstones_per_account,
            &mut base.max_tombstones_per_account,
        );
        mistakes.set(
            &self.max_refusals_per_account,
            &mut base.max_refusals_per_account,
        );
        mistakes.set(
            &self.max_streams_per_partition,
            &mut base.max_streams_per_partition,
        );
        mistakes.set(
            &self.max_streams_per_tenant,
            &mut base.max_streams_per_tenant,
        );
        for error in base.check().err().unwrap_or_default() {
            mistakes.note(format!("--{error}"));
        }
        base
    }
}

impl DeclareArgs {
    /// Returns the declaration, or notes the mistakes.
    pub(in crate::cli) fn check(
        &self,
        partitions: Option<&Setting<PartitionCount>>,
        mistakes: &mut Mistakes,
    ) -> Declaration {
        let partitions = mistakes.take(partitions).map(Within::get);
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
    /// Returns the retention, or notes the mistakes. The log is kept at least for `floor_ms`.
    pub(super) fn check(&self, floor_ms: u64, mistakes: &mut Mistakes) -> Retention {
        let floor = Duration::from_millis(floor_ms);
        let mut retention = Retention::default();
        retention.max_age = retention.max_age.max(floor);
        if let Some(age) = mistakes.take(&self.retention) {
            if age < floor {
                mistakes.note(format!(
                    "--retention: at least ten TTLs and three times --snapshot-every, {}",
                    duration(floor)
                ));
            }
            retention.max_age = age;
        }
        if let Some(bytes) = mistakes.take(&self.log_bytes) {
            retention.log_bytes = bytes.get();
        }
        if let Some(bytes) = mistakes.take(&self.segment_bytes) {
            retention.segment_bytes = bytes.get();
        }
        if let Some(bytes) = mistakes.take(&self.snapshot_bytes) {
            retention.snapshot_bytes = bytes.get();
        }
        retention
    }
}
