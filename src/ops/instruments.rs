//! Counters, gauges and histograms of this worker, each looked up once. Names and units follow
//! Prometheus' conventions. No label contains an account.

use metrics::{
    Counter, Gauge, Histogram, counter, describe_counter, describe_gauge, describe_histogram,
    gauge, histogram,
};

use super::bad_input;

const REQUESTS: &str = "streamwatch_requests_total";
const INTAKE: &str = "streamwatch_intake_total";
const SNAPSHOTS: &str = "streamwatch_snapshots_total";
const REPLIES_DROPPED: &str = "streamwatch_replies_dropped_total";
const REPLY_RECONNECTS: &str = "streamwatch_reply_reconnects_total";
const ANNOUNCEMENTS: &str = "streamwatch_announcements_total";

/// Histogram of the duration of requests.
pub(super) const REQUEST_SECONDS: &str = "streamwatch_request_duration_seconds";
/// The end of the names of histograms with the same buckets.
pub(super) const DURATION_SECONDS: &str = "_request_duration_seconds";
/// Its buckets, in seconds: from a status from memory to the longest wait of a client.
pub(super) const REQUEST_BOUNDS_S: [f64; 14] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// The metrics of one partition.
pub struct PartitionMetrics {
    /// `init` requests that this worker answered.
    pub init_answered: Counter,
    /// Their duration, in seconds.
    pub init_seconds: Histogram,
    /// `status` requests that this worker answered.
    pub status_answered: Counter,
    /// Their duration, in seconds.
    pub status_seconds: Histogram,
    /// `accounts` requests that this worker answered.
    pub accounts_answered: Counter,
    /// Their duration, in seconds.
    pub accounts_seconds: Histogram,
    /// `totals` requests that this worker answered.
    pub totals_answered: Counter,
    /// Their duration, in seconds.
    pub totals_seconds: Histogram,
    /// Requests requeued for another worker.
    pub released: Counter,
    /// Times a connection for requests was lost or did not open.
    pub requests_interrupted: Counter,
    /// Requests whose outcome is unknown.
    pub unavailable: Counter,
    /// Requests that were decided too late.
    pub late: Counter,
    /// Replies that could not be sent because the broker blocks the connection.
    pub replies_blocked: Counter,
    /// Sessions with the broker that ended other than by shutdown.
    pub reconnects: Counter,
    /// Times the state was discarded because the log was replaced.
    pub started_over: Counter,
    /// Snapshots that this worker completed.
    pub snapshots_written: Counter,
    /// Snapshots that this worker failed to complete.
    pub snapshots_failed: Counter,
    /// Snapshots that this worker restored.
    pub snapshots_restored: Counter,
    /// Bytes of the last snapshot that this worker wrote, compressed.
    pub snapshot_bytes: Gauge,
    /// Time to write it, in seconds.
    pub snapshot_seconds: Gauge,
    /// Lifecycle events that the broker confirmed.
    pub announced: Counter,
    /// Lifecycle events that a subscriber's queue rejected.
    pub announcements_refused: Counter,
    /// Times publishing lifecycle events was interrupted until the next try.
    pub announcing_interrupted: Counter,
    /// Lifecycle events that were dropped because too many were buffered.
    pub announcements_lost: Counter,
    /// Lifecycle events that are buffered, as the log does not record their publication.
    pub unannounced: Gauge,
    /// 1 if this worker leads the partition, else 0.
    pub leader: Gauge,
}

impl PartitionMetrics {
    /// Registers the metrics of `partition`.
    pub fn new(partition: u16) -> Self {
        describe();
        let p = format!("{partition:02}");
        let count = |name: &'static str, description: &'static str| {
            describe_counter!(name, description);
            counter!(name, "partition" => p.clone())
        };
        let shown = |name: &'static str, description: &'static str| {
            describe_gauge!(name, description);
            gauge!(name, "partition" => p.clone())
        };
        let of = |name: &'static str, outcome: &'static str| counter!(name, "partition" => p.clone(), "outcome" => outcome);
        let request = |kind: &'static str, outcome: &'static str| counter!(REQUESTS, "partition" => p.clone(), "kind" => kind, "outcome" => outcome);
        let took = |kind: &'static str| histogram!(REQUEST_SECONDS, "partition" => p.clone(), "kind" => kind);
        let counters = Self {
            init_answered: request("init", "answered"),
            init_seconds: took("init"),
            status_answered: request("status", "answered"),
            status_seconds: took("status"),
            accounts_answered: request("accounts", "answered"),
            accounts_seconds: took("accounts"),
            totals_answered: request("totals", "answered"),
            totals_seconds: took("totals"),
            released: request("any", "released"),
            requests_interrupted: count(
                "streamwatch_requests_interrupted_total",
                "Times a connection for requests was lost or did not open, for example because RabbitMQ \
                 cannot deliver a request: sum() over workers.",
            ),
            unavailable: request("any", "unavailable"),
            late: request("any", "late"),
            replies_blocked: count(
                "streamwatch_replies_blocked_total",
                "Replies not sent because the broker blocks the connection (memory or disk alarm): sum() \
                 over workers. Their requests are requeued; replies to heartbeats are dropped.",
            ),
            reconnects: count(
                "streamwatch_reconnects_total",
                "Sessions with the broker that ended other than by shutdown, failed attempts to start one \
                 included: sum() over workers.",
            ),
            started_over: count(
                "streamwatch_started_over_total",
                "Times this worker discarded its state because the log was replaced: sum() over workers.",
            ),
            snapshots_written: of(SNAPSHOTS, "written"),
            snapshots_failed: of(SNAPSHOTS, "failed"),
            snapshots_restored: of(SNAPSHOTS, "restored"),
            snapshot_bytes: shown(
                "streamwatch_snapshot_bytes",
                "Size of the last snapshot that this worker wrote, compressed: max() over workers.",
            ),
            snapshot_seconds: shown(
                "streamwatch_snapshot_seconds",
                "Time that this worker took to write its last snapshot: max() over workers.",
            ),
            announced: of(ANNOUNCEMENTS, "confirmed"),
            announcements_refused: of(ANNOUNCEMENTS, "refused"),
            announcing_interrupted: count(
                "streamwatch_announcing_interrupted_total",
                "Interruptions of publishing lifecycle events until the next try: the exchange is missing, \
                 or the broker blocks publishers. sum() over workers.",
            ),
            announcements_lost: count(
                "streamwatch_announcements_lost_total",
                "Lifecycle events that were dropped because too many were buffered, since this worker \
                 started: max() over workers.",
            ),
            unannounced: shown(
                "streamwatch_unannounced",
                "Lifecycle events that are buffered, as the log does not record their publication: max() \
                 over workers, then sum() over partitions.",
            ),
            leader: shown(
                "streamwatch_leader",
                "1 if this worker leads the partition: sum() over workers is 1.",
            ),
        };
        counters.leader.set(0.0);
        counters
    }
}

/// Counters of replies that were not confirmed.
pub struct ReplyMetrics {
    /// Times a connection for replies was lost or did not open.
    pub reconnects: Counter,
    /// Replies dropped because their address closes the connection.
    pub undeliverable: Counter,
    /// Replies dropped because they were not confirmed in time.
    pub expired: Counter,
    /// Replies dropped because too many had to be retried one by one.
    pub crowded: Counter,
}

impl ReplyMetrics {
    /// Registers the counters.
    pub fn new() -> Self {
        describe_counter!(
            REPLIES_DROPPED,
            "Replies that this worker dropped: RabbitMQ closes the connection because of their \
             address (undeliverable), RabbitMQ did not confirm them in time (expired), or too many \
             had to be retried one by one (crowded). sum() over workers."
        );
        describe_counter!(
            REPLY_RECONNECTS,
            "Times a connection for replies was lost or did not open: sum() over workers."
        );
        let dropped = |reason: &'static str| counter!(REPLIES_DROPPED, "reason" => reason);
        Self {
            reconnects: counter!(REPLY_RECONNECTS),
            undeliverable: dropped("undeliverable"),
            expired: dropped("expired"),
            crowded: dropped("crowded"),
        }
    }
}

/// Counters of the intake.
pub struct IntakeMetrics {
    /// Messages routed to a partition and confirmed.
    pub forwarded: Counter,
    /// Requests that the broker did not accept; the reply was `unavailable`.
    pub unavailable: Counter,
}

impl IntakeMetrics {
    /// Registers the counters.
    pub fn new() -> Self {
        describe_counter!(
            INTAKE,
            "Messages without the header `account` that this worker consumed from the intake. One \
             worker consumes each: sum() over workers. Bad messages are counted as bad input."
        );
        let intake = |outcome: &'static str| counter!(INTAKE, "outcome" => outcome);
        Self {
            forwarded: intake("forwarded"),
            unavailable: intake("unavailable"),
        }
    }
}

fn describe() {
    bad_input::describe();
    describe_counter!(
        REQUESTS,
        "Requests that this worker consumed, by outcome. One worker answers each: sum() over \
         workers. A released request is consumed again, by this worker or another."
    );
    describe_histogram!(
        REQUEST_SECONDS,
        "Duration of answered requests, from the delivery to this worker until the reply is \
         written. One worker answers each: sum() over workers."
    );
    describe_counter!(
        ANNOUNCEMENTS,
        "Lifecycle events that this worker published as the leader, repetitions included: sum() \
         over workers is at least the number of events."
    );
    describe_counter!(
        SNAPSHOTS,
        "Snapshots that this worker wrote, failed to write, or restored: sum() over workers."
    );
}
