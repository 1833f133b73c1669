//! Retries of everything that depends on the broker.

use std::fmt::Display;

use tokio::time::sleep;

use crate::broker::{Addresses, Backoff, BrokerError, settings::SettingsConflict};

/// The reason why an attempt or a session failed.
pub(super) trait Failure: Display {
    /// Returns whether it lasts until an operator changes something.
    fn needs_operator(&self) -> bool;
}

impl Failure for BrokerError {
    fn needs_operator(&self) -> bool {
        matches!(
            self,
            Self::AccessRefused(_)
                | Self::Tls { .. }
                | Self::NotFound(_)
                | Self::Precondition(_)
                | Self::NoPlugin(_)
                | Self::OtherPartitions { .. }
        )
    }
}

impl Failure for SettingsConflict {
    fn needs_operator(&self) -> bool {
        matches!(self, Self::Broker(error) if error.needs_operator())
    }
}

/// The retries of one operation, or of sessions one after another: back-off, failures, reports.
pub(super) struct Retry {
    failed: &'static str,
    partition: Option<u16>,
    backoff: Backoff,
    /// Number of failures so far. Selects the address to connect to.
    pub(super) failures: usize,
}

impl Retry {
    /// `failed` begins the log line of each failure.
    pub(super) fn new(failed: &'static str, partition: Option<u16>, addresses: &Addresses) -> Self {
        Self {
            failed,
            partition,
            backoff: Backoff::over(addresses),
            failures: 0,
        }
    }

    /// Logs a failure, reports its reason, and waits until the next attempt is due.
    pub(super) async fn after(&mut self, failure: &impl Failure, report: impl FnOnce(String)) {
        let (failed, partition, wait) = (self.failed, self.partition, self.backoff.wait());
        if failure.needs_operator() {
            tracing::error!(partition, ?wait, "{failed}: {failure}");
        } else {
            tracing::warn!(partition, ?wait, "{failed}: {failure}");
        }
        self.failures += 1;
        report(failure.to_string());
        sleep(wait).await;
    }
}
