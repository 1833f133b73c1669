//! The choices of a seed before its run.

use fastrand::Rng;
use streamwatch::domain::{Rules, Settings};

/// The length of a run, in milliseconds of true time.
pub const RUN_MS: u64 = 30_000;
/// The time after the last fault, in milliseconds. It is long enough to notice that the state and
/// two snapshots are of another log, one after another.
pub const SETTLE_MS: u64 = 20_000;

/// The faults of a run. Every seed has its own mixture, so that frequent faults do not hide a bug
/// that needs a rare one.
#[derive(Debug)]
pub struct Plan {
    pub workers: usize,
    pub accounts: usize,
    pub settings: Settings,
    /// Mean time between two faults.
    pub fault_every_ms: u64,
    pub faults: Vec<Fault>,
    /// Maximum time of an append or a delivery.
    pub delay_ms: u64,
    /// One of this many appends or their confirms is lost; 0: none.
    pub append_fails_one_in: u64,
    /// Number of expiries processed with each entry.
    pub expiries_per_entry: usize,
    /// One of this many answered requests is delivered again; 0: none.
    pub redelivered_one_in: u64,
    /// Time between two snapshots, and maximum time between two copies of accounts; 0: none.
    pub snapshot_every_ms: u64,
    pub copy_ms: u64,
    /// One of this many snapshots is damaged; 0: none.
    pub damaged_one_in: u64,
    /// One of this many announcements or their confirms is lost; 0: none.
    pub announce_fails_one_in: u64,
    /// Whether the log keeps only the entries that snapshots need.
    pub keeps_little: bool,
    /// Maximum time for which events are gathered for a batch, in milliseconds; 0: no batches.
    pub batch_ms: u64,
    /// Mean time between two playbacks, and between two `status` requests.
    pub player_every_ms: u64,
    pub question_every_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A worker crashes and loses its state.
    Crash,
    /// All workers crash at about the same time, for a while.
    AllCrash,
    /// A worker's process stalls, and reads its buffers afterwards.
    Stall,
    /// A worker's connection is lost.
    Disconnect,
    /// The oldest part of the log is dropped.
    Truncate,
    /// The broker loses the log's last entries, confirmed ones too.
    LoseTail,
    /// The log is deleted and declared again.
    DeclareAnew,
    /// A worker's wall clock is set.
    WallStep,
    /// A worker's monotonic clock jumps ahead, which is a bug of the machine.
    MonoStep,
    /// The leader shuts down.
    Leave,
    /// `topology set`: another TTL, another maximum age, or new rules.
    Settings,
}

const FAULTS: [Fault; 11] = [
    Fault::Crash,
    Fault::AllCrash,
    Fault::Stall,
    Fault::Disconnect,
    Fault::Truncate,
    Fault::LoseTail,
    Fault::DeclareAnew,
    Fault::WallStep,
    Fault::MonoStep,
    Fault::Leave,
    Fault::Settings,
];

impl Plan {
    pub fn new(rng: &mut Rng) -> Self {
        let mut settings = Settings {
            ttl_ms: rng.choice([2_000, 2_000, 2_000, 5_000]).unwrap_or(2_000),
            // No refusal is evicted, as otherwise a request may be decided twice.
            max_refusals_per_account: 1_000,
            ..Settings::default()
        };
        settings.heartbeat_every_ms = settings.ttl_ms / 3;
        let mut faults: Vec<Fault> = FAULTS.into_iter().filter(|_| rng.u8(..3) == 0).collect();
        if rng.u8(..4) == 0 {
            match rng.bool() {
                true => settings.max_streams_per_partition = rng.u64(5..20),
                false => settings.max_streams_per_tenant = rng.u64(3..10),
            }
            faults.push(Fault::Leave);
        }
        if rng.u8(..4) == 0 {
            settings.max_streams_per_account = rng.u32(1..6);
        }
        if rng.u8(..3) == 0 {
            settings.max_tombstones_per_account = rng.u32(3..12);
        }
        if rng.u8(..4) == 0 {
            settings.max_stream_age_ms = rng.u64(4_000..15_000);
        }
        if rng.u8(..3) == 0 {
            settings.rules = Rules::V1.number();
            faults.push(Fault::Settings);
        }
        let keys = [&[][..], &["device"], &["kind", "device"]];
        let keys = rng.choice(keys).unwrap_or_default();
        settings.count_by = keys.iter().map(|&key| key.to_owned()).collect();
        let interval_ms = settings.interval_ms();
        Self {
            workers: rng.usize(1..=4),
            accounts: rng.usize(1..=6),
            fault_every_ms: rng.u64(500..5_000),
            faults,
            delay_ms: rng
                .choice([2, interval_ms / 4, interval_ms / 3, interval_ms])
                .unwrap_or(2),
            append_fails_one_in: rng.choice([0, 0, 50, 500]).unwrap_or(0),
            snapshot_every_ms: rng.choice([0, 2_000, 2_000, 5_000]).unwrap_or(2_000),
            copy_ms: rng
                .choice([1, interval_ms, 20 * interval_ms, 60 * interval_ms])
                .unwrap_or(1),
            damaged_one_in: rng.choice([0, 0, 3]).unwrap_or(0),
            announce_fails_one_in: rng.choice([0, 5, 50]).unwrap_or(0),
            keeps_little: rng.bool(),
            expiries_per_entry: rng.choice([0, 1, 32]).unwrap_or(1),
            redelivered_one_in: rng.choice([0, 3, 20]).unwrap_or(0),
            batch_ms: rng.choice([0, 50, 500]).unwrap_or(0),
            player_every_ms: rng.u64(100..1_500),
            question_every_ms: rng.u64(20..200),
            settings,
        }
    }

    /// The log's retention.
    pub fn keep_ms(&self, ttl_ms: u64) -> u64 {
        if self.keeps_little && self.snapshot_every_ms > 0 {
            (3 * self.snapshot_every_ms).max(2 * ttl_ms)
        } else {
            10 * ttl_ms
        }
    }

    /// Whether no clock is wrong and the log is never deleted.
    pub fn clocks_agree(&self) -> bool {
        let wrong = [
            Fault::WallStep,
            Fault::MonoStep,
            Fault::Stall,
            Fault::DeclareAnew,
            Fault::LoseTail,
        ];
        !self.faults.iter().any(|fault| wrong.contains(fault))
    }

    /// Whether every marker is read back before it bounds an estimate.
    pub fn is_swift(&self) -> bool {
        let shortest_ms = if self.faults.contains(&Fault::Settings) {
            Settings::interval_for(2_000)
        } else {
            self.settings.interval_ms()
        };
        2 * self.delay_ms < shortest_ms && self.append_fails_one_in == 0
    }
}
