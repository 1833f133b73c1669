//! Counters and gauges. Names and units follow Prometheus' conventions; none has an account in it.

use std::sync::atomic::{AtomicU64, Ordering};

use metrics::{Counter, Gauge, counter, describe_counter, describe_gauge, gauge};

const ENTRIES: &str = "streamwatch_entries_total";
const REQUESTS: &str = "streamwatch_requests_total";
const INTAKE: &str = "streamwatch_intake_total";
const SNAPSHOTS: &str = "streamwatch_snapshots_total";
const ANNOUNCEMENTS: &str = "streamwatch_announcements_total";
const BAD_INPUT: &str = "streamwatch_bad_input_total";

/// One partition's counters, looked up once.
pub struct Counters {
    /// Heartbeats that kept a stream counted.
    pub refreshed: Counter,
    /// Heartbeats that began to count a stream.
    pub started: Counter,
    /// Heartbeats of a stream that was ended.
    pub heartbeat_stopped: Counter,
    /// Heartbeats of new streams for which there is no room.
    pub dropped: Counter,
    /// Stops that ended a stream.
    pub ended: Counter,
    /// Stops that ended nothing.
    pub stop_other: Counter,
    /// Proposals that opened a stream, or found it open.
    pub opened: Counter,
    /// Proposals that were refused.
    pub refused: Counter,
    /// Proposals that came too late.
    pub late: Counter,
    /// Requests to open that this worker answered.
    pub init_answered: Counter,
    /// Questions that this worker answered.
    pub status_answered: Counter,
    /// Requests put back for another worker.
    pub released: Counter,
    /// Requests given up: their sender no longer waits.
    pub discarded: Counter,
    /// Requests whose outcome is not known.
    pub unavailable: Counter,
    /// Replies that could not be sent because the broker blocks the connection.
    pub replies_blocked: Counter,
    /// Sessions with the broker that ended other than by shutdown.
    pub reconnects: Counter,
    /// Times the state was thrown away because the log was another.
    pub started_over: Counter,
    /// Snapshots that this worker wrote whole.
    pub snapshots_written: Counter,
    /// Snapshots that this worker began and could not finish.
    pub snapshots_failed: Counter,
    /// Snapshots that this worker began with.
    pub snapshots_restored: Counter,
    /// Bytes of the last snapshot that this worker wrote, compressed.
    pub snapshot_bytes: Gauge,
    /// How long it took, in seconds.
    pub snapshot_seconds: Gauge,
    /// Facts of the lifecycle that the broker has taken.
    pub announced: Counter,
    /// Facts of the lifecycle that a queue of somebody who follows did not take.
    pub announcements_refused: Counter,
    /// Times announcing stopped until a later try.
    pub announcing_interrupted: Counter,
    /// Facts of the lifecycle that nobody announced for so long that they were dropped.
    pub announcements_lost: Counter,
    /// Facts of the lifecycle that the log does not say were announced.
    pub unannounced: Gauge,
    /// Active streams.
    pub streams: Gauge,
    /// Accounts with an active stream.
    pub accounts: Gauge,
    /// Streams and tombstones that are remembered.
    pub records: Gauge,
    /// Age of the state, in seconds.
    pub lag_seconds: Gauge,
    /// 1 where this worker holds the partition's lease.
    pub lease: Gauge,
}

impl Counters {
    /// The counters of `partition`.
    #[must_use]
    pub fn new(partition: u16) -> Self {
        describe();
        let p = format!("{partition:02}");
        let entry = |kind: &'static str, outcome: &'static str| counter!(ENTRIES, "partition" => p.clone(), "kind" => kind, "outcome" => outcome);
        let request = |kind: &'static str, outcome: &'static str| counter!(REQUESTS, "partition" => p.clone(), "kind" => kind, "outcome" => outcome);
        let announcement = |outcome: &'static str| counter!(ANNOUNCEMENTS, "partition" => p.clone(), "outcome" => outcome);
        Self {
            refreshed: entry("heartbeat", "refreshed"),
            started: entry("heartbeat", "started"),
            heartbeat_stopped: entry("heartbeat", "stopped"),
            dropped: entry("heartbeat", "dropped"),
            ended: entry("stop", "ended"),
            stop_other: entry("stop", "unchanged"),
            opened: entry("open", "opened"),
            refused: entry("open", "refused"),
            late: entry("open", "late"),
            init_answered: request("init", "answered"),
            status_answered: request("status", "answered"),
            released: request("any", "released"),
            discarded: request("any", "discarded"),
            unavailable: request("any", "unavailable"),
            replies_blocked: counter!("streamwatch_replies_blocked_total", "partition" => p.clone()),
            reconnects: counter!("streamwatch_reconnects_total", "partition" => p.clone()),
            started_over: counter!("streamwatch_started_over_total", "partition" => p.clone()),
            snapshots_written: counter!(SNAPSHOTS, "partition" => p.clone(), "outcome" => "written"),
            snapshots_failed: counter!(SNAPSHOTS, "partition" => p.clone(), "outcome" => "failed"),
            snapshots_restored: counter!(SNAPSHOTS, "partition" => p.clone(), "outcome" => "restored"),
            snapshot_bytes: gauge!("streamwatch_snapshot_bytes", "partition" => p.clone()),
            snapshot_seconds: gauge!("streamwatch_snapshot_seconds", "partition" => p.clone()),
            announced: announcement("confirmed"),
            announcements_refused: announcement("refused"),
            announcing_interrupted: counter!("streamwatch_announcing_interrupted_total", "partition" => p.clone()),
            announcements_lost: counter!("streamwatch_announcements_lost_total", "partition" => p.clone()),
            unannounced: gauge!("streamwatch_unannounced", "partition" => p.clone()),
            streams: gauge!("streamwatch_active_streams", "partition" => p.clone()),
            accounts: gauge!("streamwatch_active_accounts", "partition" => p.clone()),
            records: gauge!("streamwatch_records", "partition" => p.clone()),
            lag_seconds: gauge!("streamwatch_log_lag_seconds", "partition" => p.clone()),
            lease: gauge!("streamwatch_lease_held", "partition" => p),
        }
    }
}

/// What a worker did with the messages of the intake, looked up once.
pub struct IntakeCounters {
    /// Published again, and taken by a partition.
    pub forwarded: Counter,
    /// Requests that the broker did not take: their senders were told to try again.
    pub unavailable: Counter,
}

impl IntakeCounters {
    /// The counters of this worker.
    #[must_use]
    #[expect(
        clippy::new_without_default,
        reason = "it looks up, and makes, what others see"
    )]
    pub fn new() -> Self {
        describe_counter!(
            INTAKE,
            "Messages without the header `account` that this worker took from the intake. Each is \
             taken by one worker: sum() over workers. Those that were bad are counted as bad input."
        );
        let intake = |outcome: &'static str| counter!(INTAKE, "outcome" => outcome);
        Self {
            forwarded: intake("forwarded"),
            unavailable: intake("unavailable"),
        }
    }
}

fn describe() {
    describe_counter!(
        ENTRIES,
        "Log entries applied by this replica. Every replica applies every entry: take max(), not \
         sum(), over the workers of a partition."
    );
    describe_counter!(
        REQUESTS,
        "Requests that this worker took. Each request is taken by one worker: sum() over workers."
    );
    describe_counter!(
        ANNOUNCEMENTS,
        "Facts of the lifecycle that this worker announced while it held the lease, repetitions \
         included: sum() over workers."
    );
    describe_counter!(
        "streamwatch_announcing_interrupted_total",
        "Times announcing stopped until a later try: the exchange is missing, or the broker takes \
         no messages."
    );
    describe_counter!(
        "streamwatch_announcements_lost_total",
        "Facts of the lifecycle that nobody announced for so long that they were dropped: max() \
         over workers."
    );
    describe_gauge!(
        "streamwatch_unannounced",
        "Facts of the lifecycle that the log does not say were announced: max() over workers."
    );
    describe_counter!(
        BAD_INPUT,
        "Messages refused, by the contract's error code. Those from a log (source=\"log\") are \
         seen by every replica: max() over workers; the others by one: sum()."
    );
    describe_counter!(
        SNAPSHOTS,
        "Snapshots that this worker wrote, failed to write, or began with: sum() over workers."
    );
    describe_gauge!(
        "streamwatch_snapshot_bytes",
        "Size of the last snapshot that this worker wrote, compressed."
    );
    describe_gauge!(
        "streamwatch_snapshot_seconds",
        "How long this worker took to write its last snapshot."
    );
    describe_gauge!(
        "streamwatch_active_streams",
        "Active streams of the partition: the same on every replica, max() over workers, then \
         sum() over partitions."
    );
    describe_gauge!(
        "streamwatch_active_accounts",
        "Accounts with an active stream: the same on every replica, max() over workers, then \
         sum() over partitions."
    );
    describe_gauge!(
        "streamwatch_records",
        "Streams that are remembered, active or not: what --max-streams-per-partition bounds. The \
         same on every replica, max() over workers, then sum() over partitions."
    );
    describe_gauge!(
        "streamwatch_log_lag_seconds",
        "Age of this replica's state: when its last mark that came back from the log was written."
    );
    describe_gauge!(
        "streamwatch_lease_held",
        "1 where this worker holds the partition's lease: sum() over workers is 1."
    );
    describe_counter!(
        "streamwatch_reconnects_total",
        "Times this worker lost its session with the broker."
    );
    describe_counter!(
        "streamwatch_started_over_total",
        "Times this worker threw its state away because the log was another."
    );
    describe_counter!(
        "streamwatch_replies_blocked_total",
        "Replies not sent because the broker blocks the connection (memory or disk alarm). Their \
         requests are put back; news to ended devices is dropped."
    );
}

/// A message that was refused: a counter each, a log line a second at most, no payload in either.
#[derive(Clone, Copy, Debug)]
pub struct BadInput {
    /// Where it came from: `log`, `init`, `status`, `unrouted`, `intake`.
    pub source: &'static str,
    /// The contract's error code.
    pub code: &'static str,
}

/// The second in which the last line was logged, and the lines suppressed since.
static LAST_LINE_S: AtomicU64 = AtomicU64::new(0);
static SUPPRESSED: AtomicU64 = AtomicU64::new(0);

impl BadInput {
    /// Counts it; logs it, or counts it as not logged.
    pub fn emit(self, now_s: u64) {
        let Self { source, code } = self;
        counter!(BAD_INPUT, "source" => source, "reason" => code).increment(1);
        if LAST_LINE_S.swap(now_s, Ordering::Relaxed) == now_s {
            SUPPRESSED.fetch_add(1, Ordering::Relaxed);
        } else {
            let suppressed = SUPPRESSED.swap(0, Ordering::Relaxed);
            tracing::warn!(source, code, suppressed, "a message was refused");
        }
    }
}
