//! Rejected messages: all are counted, at most one per second is logged, without its payload.

use std::sync::{Mutex, PoisonError};

use metrics::{counter, describe_counter};

use super::RateLimit;

const BAD_INPUT: &str = "streamwatch_bad_input_total";

/// A rejected message, without payload and account.
#[derive(Clone, Copy, Debug)]
pub struct BadInput {
    /// Its queue: `log`, `init`, `status`, `unrouted` or `intake`.
    pub source: &'static str,
    /// The contract's error code.
    pub code: &'static str,
}

static LINES: Mutex<RateLimit> = Mutex::new(RateLimit::new(1));

impl BadInput {
    /// Counts and logs it. For a message that only this worker has consumed.
    pub fn emit(self, now_s: u64) {
        let Self { source, code } = self;
        counter!(BAD_INPUT, "source" => source, "reason" => code).increment(1);
        self.log(now_s);
    }

    /// Logs it, or counts it as suppressed. Entries of a log are counted by the replica.
    pub fn log(self, now_s: u64) {
        let Self { source, code } = self;
        let mut lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(suppressed) = lines.admit_line(now_s) {
            tracing::warn!(source, code, suppressed, "rejected a message");
        }
    }
}

pub(super) fn describe() {
    describe_counter!(
        BAD_INPUT,
        "Messages of a queue that were rejected, by the contract's error code. One worker consumes \
         each: sum() over workers. Entries of a log are in streamwatch_bad_entries_total."
    );
}
