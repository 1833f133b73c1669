//! The request queues, which deliver unacknowledged requests again.

use std::collections::BTreeMap;

use streamwatch::domain::{InitRequest, StatusRequest};

/// The queues' message TTL.
const TTL_MS: u64 = 10_000;

#[derive(Clone, Debug)]
pub enum Body {
    Init(InitRequest),
    Status(StatusRequest),
}

#[derive(Debug)]
pub struct Request {
    pub body: Body,
    sent: u64,
    /// The worker to which it is delivered.
    pub taken_by: Option<usize>,
    /// The time of the delivery to the replica, and the log's epoch and end at that time.
    pub received: Option<(u64, u32, u64)>,
}

#[derive(Default)]
pub struct Requests {
    all: BTreeMap<u64, Request>,
    next: u64,
}

impl Requests {
    pub fn send(&mut self, now: u64, body: Body) -> u64 {
        self.next += 1;
        let request = Request {
            body,
            sent: now,
            taken_by: None,
            received: None,
        };
        self.all.insert(self.next, request);
        self.next
    }

    pub fn get(&mut self, id: u64) -> Option<&mut Request> {
        self.all.get_mut(&id)
    }

    /// Requests that wait for a worker.
    pub fn waiting(&mut self, now: u64) -> Vec<u64> {
        self.all
            .retain(|_, r| r.taken_by.is_some() || now < r.sent + TTL_MS);
        let waiting = self.all.iter().filter(|(_, r)| r.taken_by.is_none());
        waiting.map(|(id, _)| *id).collect()
    }

    pub fn acknowledge(&mut self, id: u64) {
        self.all.remove(&id);
    }

    pub fn put_back(&mut self, id: u64) {
        if let Some(request) = self.all.get_mut(&id) {
            request.taken_by = None;
        }
    }

    /// Requeues the requests of a lost connection.
    pub fn put_back_all_of(&mut self, worker: usize) {
        for request in self.all.values_mut() {
            if request.taken_by == Some(worker) {
                request.taken_by = None;
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
}
