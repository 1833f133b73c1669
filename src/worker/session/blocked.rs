//! RabbitMQ takes no messages, so that requests cannot be answered.

use super::Session;
use crate::worker::pending::{PendingRequest, RequestQueues};

impl Session<'_> {
    /// The request, if its reply can be sent now.
    pub(super) fn replying(&mut self, asked: PendingRequest) -> Option<PendingRequest> {
        if !self.publish.is_blocked() {
            return Some(asked);
        }
        self.partition.metrics.replies_blocked.increment(1);
        self.requests.held.push(asked);
        if !self.requests.taking {
            self.release_held();
        }
        None
    }

    /// Puts back the requests whose replies were not taken.
    pub(super) fn release_held(&mut self) {
        for asked in std::mem::take(&mut self.requests.held) {
            self.partition.metrics.released.increment(1);
            RequestQueues::release(asked);
        }
    }
}
