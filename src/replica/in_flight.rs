//! Requests in flight: proposed, held, or waiting for a marker.

use std::collections::{HashMap, VecDeque};

use super::{Effect, Mono};
use crate::domain::{AccountsRequest, StatusRequest, TenantRequest};

/// A request that waits for its answer.
#[derive(Debug)]
pub(super) struct Pending<T, C> {
    pub(super) request: T,
    pub(super) at: Mono,
    pub(super) content: C,
}

impl<T, C> Pending<T, C> {
    pub(super) fn release(self) -> Effect<T> {
        Effect::Release(self.request)
    }
}

/// The content of a request that waits until the replica is fresh.
#[derive(Debug)]
pub(super) enum HeldContent {
    /// The broker delivers an `init` again.
    Init,
    Status(StatusRequest),
    Tenant(TenantRequest),
}

/// Unanswered requests.
#[derive(Debug)]
pub(super) struct Requests<T> {
    /// Requests are consumed.
    pub(super) taking: bool,
    /// Proposals that have not been read back, by the number of their entry, with the metadata keys
    /// by which their answers count the streams.
    pub(super) opens: HashMap<u64, Pending<T, Vec<String>>>,
    /// The marker of the strong `status` requests, which are answered when it is read back. One
    /// marker is in flight at a time, and later requests share the next one.
    pub(super) marker: Option<u64>,
    pub(super) strong: Vec<Pending<T, StatusRequest>>,
    pub(super) next_strong: Vec<Pending<T, StatusRequest>>,
    /// Requests for tenants' accounts. Those in one pass over the accounts are answered together;
    /// later ones wait for the next pass.
    pub(super) pages: Vec<Pending<T, AccountsRequest>>,
    pub(super) next_pages: VecDeque<Pending<T, AccountsRequest>>,
    pub(super) held: Vec<Pending<T, HeldContent>>,
}

impl<T> Default for Requests<T> {
    fn default() -> Self {
        Self {
            taking: false,
            opens: HashMap::new(),
            marker: None,
            strong: Vec::new(),
            next_strong: Vec::new(),
            pages: Vec::new(),
            next_pages: VecDeque::new(),
            held: Vec::new(),
        }
    }
}
