//! What this worker has done: counters, gauges and histograms, each looked up once. Names and units
//! follow Prometheus' conventions; none has an account in it.

use metrics::{
    Counter, Gauge, Histogram, counter, describe_counter, describe_gauge, describe_histogram,
    gauge, histogram,
};

use super::bad_input;

const REQUESTS: &str = "streamwatch_requests_total";
const INTAKE: &str = "streamwatch_intake_total";
const SNAPSHOTS: &str = "streamwatch_snapshots_total";
const REPLIES_DROPPED: &str = "streamwatch_replies_dropped_total";
const ANNOUNCEMENTS: &str = "streamwatch_announcements_total";

/// How long requests took.
pub(super) const REQUEST_SECONDS: &str = "streamwatch_request_duration_seconds";
/// The classes of that, in seconds: from a status out of memory to the longest that anybody waits.
pub(super) const REQUEST_BOUNDS_S: [f64; 14] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// One partition's counters, looked up once.
pub struct Counters {
    /// Requests to open that this worker answered.
    pub init_answered: Counter,
    /// How long each of them took, in seconds.
    pub init_seconds: Histogram,
    /// Questions that this worker answered.
    pub status_answered: Counter,
    /// How long each of them took, in seconds.
    pub status_seconds: Histogram,
    /// Requests put back for another worker.
    pub released: Counter,
    /// Times a connection for requests was lost or did not open.
    pub requests_interrupted: Counter,
    /// Requests whose outcome is not known.
    pub unavailable: Counter,
    /// Requests that were decided too late.
    pub late: Counter,
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
    /// 1 where this worker leads the partition.
    pub leader: Gauge,
}

impl Counters {
    /// The counters of `partition`.
    #[must_use]
    pub fn new(partition: u16) -> Self {
        describe();
        let p = format!("{partition:02}");
        let count = |name: &'static str| counter!(name, "partition" => p.clone());
        let shown = |name: &'static str| gauge!(name, "partition" => p.clone());
        let of = |name: &'static str, outcome: &'static str| counter!(name, "partition" => p.clone(), "outcome" => outcome);
        let request = |kind: &'static str, outcome: &'static str| counter!(REQUESTS, "partition" => p.clone(), "kind" => kind, "outcome" => outcome);
        let took = |kind: &'static str| histogram!(REQUEST_SECONDS, "partition" => p.clone(), "kind" => kind);
        let counters = Self {
            init_answered: request("init", "answered"),
            init_seconds: took("init"),
            status_answered: request("status", "answered"),
            status_seconds: took("status"),
            released: request("any", "released"),
            requests_interrupted: count("streamwatch_requests_interrupted_total"),
            unavailable: request("any", "unavailable"),
            late: request("any", "late"),
            replies_blocked: count("streamwatch_replies_blocked_total"),
            reconnects: count("streamwatch_reconnects_total"),
            started_over: count("streamwatch_started_over_total"),
            snapshots_written: of(SNAPSHOTS, "written"),
            snapshots_failed: of(SNAPSHOTS, "failed"),
            snapshots_restored: of(SNAPSHOTS, "restored"),
            snapshot_bytes: shown("streamwatch_snapshot_bytes"),
            snapshot_seconds: shown("streamwatch_snapshot_seconds"),
            announced: of(ANNOUNCEMENTS, "confirmed"),
            announcements_refused: of(ANNOUNCEMENTS, "refused"),
            announcing_interrupted: count("streamwatch_announcing_interrupted_total"),
            announcements_lost: count("streamwatch_announcements_lost_total"),
            unannounced: shown("streamwatch_unannounced"),
            leader: shown("streamwatch_leader"),
        };
        counters.leader.set(0.0);
        counters
    }
}

/// What became of replies that were not confirmed, looked up once.
pub struct ReplyCounters {
    /// Times a connection for replies was lost or did not open.
    pub reconnects: Counter,
    /// Replies dropped because their address closes the connection.
    pub undeliverable: Counter,
    /// Replies dropped because they were not confirmed in time.
    pub expired: Counter,
    /// Replies dropped because too many had to be tried one by one.
    pub crowded: Counter,
}

impl ReplyCounters {
    /// The counters of this worker.
    #[must_use]
    #[expect(
        clippy::new_without_default,
        reason = "it looks up, and makes, what others see"
    )]
    pub fn new() -> Self {
        describe_counter!(
            REPLIES_DROPPED,
            "Replies that this worker dropped: RabbitMQ closes the connection that publishes to \
             their address (undeliverable), did not confirm them in time (expired), or too many \
             had to be tried one by one (crowded). sum() over workers."
        );
        describe_counter!(
            "streamwatch_reply_reconnects_total",
            "Times a connection for replies was lost or did not open: sum() over workers."
        );
        let dropped = |reason: &'static str| counter!(REPLIES_DROPPED, "reason" => reason);
        Self {
            reconnects: counter!("streamwatch_reply_reconnects_total"),
            undeliverable: dropped("undeliverable"),
            expired: dropped("expired"),
            crowded: dropped("crowded"),
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
    bad_input::describe();
    describe_counter!(
        REQUESTS,
        "Requests that this worker took, by what became of them. Each is answered by one worker: \
         sum() over workers; a released one is taken again, by this worker or another."
    );
    describe_histogram!(
        REQUEST_SECONDS,
        "How long answered requests took, from when this worker took them up until their reply was \
         handed to its connection. Each is answered by one worker: sum() over workers."
    );
    describe_counter!(
        ANNOUNCEMENTS,
        "Facts of the lifecycle that this worker announced while it led, repetitions \
         included: sum() over workers is at least the number of facts."
    );
    describe_counter!(
        "streamwatch_announcing_interrupted_total",
        "Times announcing stopped until a later try: the exchange is missing, or the broker takes \
         no messages. sum() over workers."
    );
    describe_counter!(
        "streamwatch_announcements_lost_total",
        "Facts of the lifecycle that nobody announced for so long that they were dropped, since \
         this worker began: max() over workers."
    );
    describe_gauge!(
        "streamwatch_unannounced",
        "Facts of the lifecycle that the log does not say were announced: max() over workers, then \
         sum() over partitions."
    );
    describe_counter!(
        SNAPSHOTS,
        "Snapshots that this worker wrote, failed to write, or began with: sum() over workers."
    );
    describe_gauge!(
        "streamwatch_snapshot_bytes",
        "Size of the last snapshot that this worker wrote, compressed: max() over workers."
    );
    describe_gauge!(
        "streamwatch_snapshot_seconds",
        "How long this worker took to write its last snapshot: max() over workers."
    );
    describe_gauge!(
        "streamwatch_leader",
        "1 where this worker leads the partition: sum() over workers is 1."
    );
    describe_counter!(
        "streamwatch_reconnects_total",
        "Times this worker's session with the broker ended other than by shutdown, tries that could \
         not begin one included: sum() over workers."
    );
    describe_counter!(
        "streamwatch_started_over_total",
        "Times this worker threw its state away because the log was another: sum() over workers."
    );
    describe_counter!(
        "streamwatch_requests_interrupted_total",
        "Times a connection for requests was lost or did not open, for instance at a request that \
         RabbitMQ cannot deliver: sum() over workers."
    );
    describe_counter!(
        "streamwatch_replies_blocked_total",
        "Replies not sent because the broker blocks the connection (memory or disk alarm): sum() \
         over workers. Their requests are put back; news to ended devices is dropped."
    );
}
