//! Counts of a run.

/// Counts of checks, so that a run without any fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    pub entries: u64,
    pub compared: u64,
    pub opened: u64,
    pub refused: u64,
    pub local: u64,
    pub strong: u64,
    pub started_over: u64,
    pub snapshots: u64,
    pub restored: u64,
    /// Comparisons of replicas with a snapshot of entries that the log no longer has.
    pub remembered: u64,
    pub announced: u64,
    pub repeated: u64,
    /// Shutdowns of leaders with an immediate successor.
    pub succeeded: u64,
    /// Comparisons of replicas with unprocessed expiries.
    pub expiring: u64,
    /// Checks of a leader's repetition of reached limits.
    pub said_full: u64,
    /// Events in batches.
    pub batched: u64,
    /// Batches for another partition.
    pub wrong_partition: u64,
    /// Requests with fields of rules 2 under rules 1.
    pub old_rules: u64,
    /// Streams that an `init` ended without naming them.
    pub given_way: u64,
    /// Streams that ended because they were too old.
    pub too_old: u64,
    /// Checks of the count in a lifecycle event.
    pub counts: u64,
    /// Checks of tenants' totals.
    pub totals: u64,
    /// Pages of accounts.
    pub pages: u64,
}

impl Counted {
    /// All counts, in any order.
    pub const fn all(&self) -> [u64; 23] {
        [
            self.entries,
            self.compared,
            self.opened,
            self.refused,
            self.local,
            self.strong,
            self.started_over,
            self.snapshots,
            self.restored,
            self.remembered,
            self.announced,
            self.repeated,
            self.succeeded,
            self.expiring,
            self.said_full,
            self.batched,
            self.wrong_partition,
            self.old_rules,
            self.given_way,
            self.too_old,
            self.counts,
            self.totals,
            self.pages,
        ]
    }
}

impl std::ops::AddAssign for Counted {
    fn add_assign(&mut self, other: Self) {
        self.entries += other.entries;
        self.compared += other.compared;
        self.opened += other.opened;
        self.refused += other.refused;
        self.local += other.local;
        self.strong += other.strong;
        self.started_over += other.started_over;
        self.snapshots += other.snapshots;
        self.restored += other.restored;
        self.remembered += other.remembered;
        self.announced += other.announced;
        self.repeated += other.repeated;
        self.succeeded += other.succeeded;
        self.expiring += other.expiring;
        self.said_full += other.said_full;
        self.batched += other.batched;
        self.wrong_partition += other.wrong_partition;
        self.old_rules += other.old_rules;
        self.given_way += other.given_way;
        self.too_old += other.too_old;
        self.counts += other.counts;
        self.totals += other.totals;
        self.pages += other.pages;
    }
}
