//! What happened in a run.

/// Counted so that a run in which nothing happened is noticed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    pub entries: u64,
    pub compared: u64,
    pub opened: u64,
    pub refused: u64,
    pub local: u64,
    pub strong: u64,
    pub started_over: u64,
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
    }
}
