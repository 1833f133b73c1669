//! Requests in flight: proposed, held, or waiting for a marker.

use std::collections::{HashMap, VecDeque};

use super::Mono;
use crate::domain::{AccountsRequest, StatusRequest, Tenant, TenantRequest};

/// A request that waits until the replica is fresh.
#[derive(Debug)]
pub(super) struct HeldRequest<T> {
    pub(super) request: T,
    pub(super) at: Mono,
    pub(super) content: PendingContent,
}

/// The content of a request that waits.
#[derive(Debug)]
pub(super) enum PendingContent {
    /// The broker delivers an `init` again.
    Init,
    Status(StatusRequest),
    Tenant(TenantRequest),
}

/// A request for a tenant's accounts, whose page is being collected.
#[derive(Debug)]
pub(super) struct PendingPage<T> {
    pub(super) request: T,
    pub(super) tenant: Tenant,
    pub(super) at: Mono,
}

/// Requests for tenants' accounts. Those in one pass over the accounts are answered together; later
/// ones wait for the next pass.
#[derive(Debug)]
pub(super) struct Pages<T> {
    pub(super) collecting: Vec<PendingPage<T>>,
    pub(super) next: VecDeque<(T, AccountsRequest, Mono)>,
}

impl<T> Default for Pages<T> {
    fn default() -> Self {
        Self {
            collecting: Vec::new(),
            next: VecDeque::new(),
        }
    }
}

#[derive(Debug)]
pub(super) struct PendingOpen<T> {
    pub(super) request: T,
    pub(super) group_by: Vec<String>,
    pub(super) at: Mono,
}

#[derive(Debug)]
pub(super) struct StrongRequest<T> {
    pub(super) request: T,
    pub(super) status: StatusRequest,
    pub(super) at: Mono,
}

/// Strong `status` requests. One marker is in flight at a time. When it is read back, the requests
/// from before it are answered; later ones share the next marker.
#[derive(Debug)]
pub(super) struct Strong<T> {
    pub(super) marker: Option<u64>,
    pub(super) waiting: Vec<StrongRequest<T>>,
    pub(super) next: Vec<StrongRequest<T>>,
}

impl<T> Default for Strong<T> {
    fn default() -> Self {
        Self {
            marker: None,
            waiting: Vec::new(),
            next: Vec::new(),
        }
    }
}

/// Unanswered requests.
#[derive(Debug)]
pub(super) struct Requests<T> {
    /// Requests are consumed.
    pub(super) taking: bool,
    /// Proposals that have not been read back, by the number of their entry.
    pub(super) opens: HashMap<u64, PendingOpen<T>>,
    pub(super) strong: Strong<T>,
    pub(super) pages: Pages<T>,
    pub(super) held: VecDeque<HeldRequest<T>>,
}

impl<T> Default for Requests<T> {
    fn default() -> Self {
        Self {
            taking: false,
            opens: HashMap::new(),
            strong: Strong::default(),
            pages: Pages::default(),
            held: VecDeque::new(),
        }
    }
}
