//! RabbitMQ takes no messages, so that requests cannot be answered.

use super::Session;
use crate::{
    ops::Counters,
    worker::pending::{PendingRequest, RequestQueues},
};

impl Session {
    /// The request, if its reply can be sent now.
    pub(super) fn replying(
        &mut self,
        asked: PendingRequest,
        counters: &Counters,
    ) -> Option<PendingRequest> {
        if !self.publish.is_blocked() {
            return Some(asked);
        }
        counters.replies_blocked.increment(1);
        self.stuck.push(asked);
        if !self.taking {
            self.release_stuck(counters);
        }
        None
    }

    /// Puts back the requests whose replies were not taken.
    pub(super) fn release_stuck(&mut self, counters: &Counters) {
        for asked in std::mem::take(&mut self.stuck) {
            counters.released.increment(1);
            RequestQueues::release(asked);
        }
    }
}
