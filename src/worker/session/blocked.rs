//! Requests that are held while RabbitMQ blocks the connection.

use super::Session;
use crate::worker::pending::{PendingRequest, RequestQueues};

impl Session<'_> {
    /// Returns `request` if its reply can be sent now. Otherwise holds it.
    pub(super) fn unless_blocked(&mut self, request: PendingRequest) -> Option<PendingRequest> {
        if !self.publish.is_blocked() {
            return Some(request);
        }
        self.partition.metrics.replies_blocked.increment(1);
        self.requests.held.push(request);
        if !self.requests.consuming {
            self.requeue_held();
        }
        None
    }

    pub(super) fn requeue_held(&mut self) {
        for request in std::mem::take(&mut self.requests.held) {
            self.partition.metrics.released.increment(1);
            RequestQueues::requeue(request);
        }
    }
}
