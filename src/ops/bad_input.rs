//! Messages that were refused: a log line a second at most, without payload, and all counted.

use std::sync::atomic::{AtomicU64, Ordering};

use metrics::{counter, describe_counter};

const BAD_INPUT: &str = "streamwatch_bad_input_total";

/// A message that was refused: no payload, no account.
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
    /// Counts it and logs it. For a message that this worker alone has taken.
    pub fn emit(self, now_s: u64) {
        let Self { source, code } = self;
        counter!(BAD_INPUT, "source" => source, "reason" => code).increment(1);
        self.log(now_s);
    }

    /// Logs it, or counts it as not logged. Entries of a log are counted by the replica.
    pub fn log(self, now_s: u64) {
        let Self { source, code } = self;
        if LAST_LINE_S.swap(now_s, Ordering::Relaxed) == now_s {
            SUPPRESSED.fetch_add(1, Ordering::Relaxed);
        } else {
            let suppressed = SUPPRESSED.swap(0, Ordering::Relaxed);
            tracing::warn!(source, code, suppressed, "a message was refused");
        }
    }
}

pub(super) fn describe() {
    describe_counter!(
        BAD_INPUT,
        "Messages taken from a queue and refused, by the contract's error code. Each is taken by \
         one worker: sum() over workers. Entries of a log are in streamwatch_bad_entries_total."
    );
}
