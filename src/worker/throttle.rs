//! The throttle of a worker: one for all of its partitions, since the requests of a tenant are
//! spread over them, and one for the intake.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::pending::Source;
use crate::{
    domain::{
        Settings, Share, Throttle, Throttled, ThrottledBy, ThrottledKind, Throttling, check_tenant,
    },
    ops::{ThrottleMetrics, ThrottledRequest},
    replica::Mono,
    wire::{AccountHeader, ClaimedAccount, Kind, Message, RoutingKey},
};

/// The throttle of all partitions of a worker, and that of its intake.
#[derive(Clone)]
pub(super) struct SharedThrottle(Arc<Mutex<State>>);

struct State {
    partition_count: u16,
    /// The settings and workers of each partition.
    partitions: BTreeMap<u16, Stated>,
    throttle: Throttle,
    /// A request passes the intake before its partition, so the intake counts by itself.
    intake: Throttle,
    is_off: bool,
    metrics: ThrottleMetrics,
}

/// The settings in a partition's log, and the number of workers that serve the partition.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stated {
    number: u64,
    limits: Throttling,
    workers: usize,
}

/// A throttled request: the time to come back after, in milliseconds, if it gets a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RetryAfter(pub(super) Option<u64>);

impl SharedThrottle {
    pub(super) fn new(partition_count: u16) -> Self {
        let kinds = ThrottledKind::ALL.map(ThrottledKind::as_str);
        let limits = ThrottledBy::ALL.map(ThrottledBy::as_str);
        Self(Arc::new(Mutex::new(State {
            partition_count,
            partitions: BTreeMap::new(),
            throttle: Throttle::default(),
            intake: Throttle::default(),
            is_off: true,
            metrics: ThrottleMetrics::new(&kinds, &limits),
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides on a request in the intake; `Some` if it is throttled.
    pub(super) fn check_intake(&self, message: &Message, now: Mono) -> Option<RetryAfter> {
        let mut state = self.state();
        if state.is_off {
            return None;
        }
        let kind = match RoutingKey::parse(message.routing_key).ok()?.kind {
            Kind::Init => ThrottledKind::Init,
            Kind::Status => ThrottledKind::Status,
            Kind::Heartbeat | Kind::Stop | Kind::Batch | Kind::Accounts | Kind::Totals => {
                return None;
            }
        };
        let ClaimedAccount { tenant, account } = ClaimedAccount::of(message);
        let outcome = state
            .intake
            .check(kind, tenant, account.as_deref(), nanos(now));
        state.count(kind, tenant, outcome, now)
    }
}

impl State {
    /// Sets the newest limits, and this worker's share of them.
    fn set(&mut self) {
        let newest = self.partitions.values().max_by_key(|it| it.number);
        let limits = newest.map_or_else(Throttling::default, |it| it.limits);
        let workers = self.partitions.values().map(|it| it.workers);
        let share = Share::of(workers, self.partition_count);
        self.throttle.set(&limits, share);
        self.intake.set(&limits, share);
        self.is_off = limits.is_off();
    }

    fn count(
        &mut self,
        kind: ThrottledKind,
        tenant: &str,
        outcome: Option<Throttled>,
        now: Mono,
    ) -> Option<RetryAfter> {
        let Throttled { by, retry_after_ms } = outcome?;
        let request = ThrottledRequest {
            kind: kind.as_str(),
            limit: by.as_str(),
            replied: retry_after_ms.is_some(),
            tenant: check_tenant(tenant).is_ok().then_some(tenant),
        };
        self.metrics.count(request, now.seconds());
        Some(RetryAfter(retry_after_ms))
    }
}

/// The throttle, as one partition uses it.
pub(crate) struct PartitionThrottle {
    shared: SharedThrottle,
    partition: u16,
    stated: Option<Stated>,
}

impl PartitionThrottle {
    pub(super) const fn new(shared: SharedThrottle, partition: u16) -> Self {
        Self {
            shared,
            partition,
            stated: None,
        }
    }

    /// Adopts the settings in force in the partition, and the number of workers that serve it.
    pub(super) fn set(&mut self, settings: &Settings, workers: usize) {
        let stated = Some(Stated {
            number: settings.number,
            limits: settings.throttling,
            workers,
        });
        if self.stated != stated {
            self.stated = stated;
            let mut state = self.shared.state();
            state
                .partitions
                .extend(stated.map(|it| (self.partition, it)));
            state.set();
        }
    }

    /// Whether requests have no limits, by this partition's log.
    fn is_off(&self) -> bool {
        self.stated.is_none_or(|it| it.limits.is_off())
    }

    /// Decides on a request before its body is decoded; `Some` if it is throttled.
    pub(super) fn check(&self, source: Source, message: &Message, now: Mono) -> Option<RetryAfter> {
        let kind = source.throttled()?;
        if self.is_off() {
            return None;
        }
        let ClaimedAccount { tenant, account } = ClaimedAccount::of(message);
        let mut state = self.shared.state();
        let outcome = state
            .throttle
            .check(kind, tenant, account.as_deref(), nanos(now));
        state.count(kind, tenant, outcome, now)
    }

    /// Decides on a request whose account was not known before its body was decoded; `Some` if it
    /// is throttled.
    pub(super) fn check_account(
        &self,
        source: Source,
        message: &Message,
        account: &str,
        now: Mono,
    ) -> Option<RetryAfter> {
        let kind = source.throttled()?;
        if self.is_off() || !matches!(message.account, AccountHeader::Absent) {
            return None;
        }
        let ClaimedAccount {
            tenant,
            account: None,
        } = ClaimedAccount::of(message)
        else {
            return None;
        };
        let mut state = self.shared.state();
        let outcome = state
            .throttle
            .check_account(kind, tenant, account.as_bytes(), nanos(now));
        state.count(kind, tenant, outcome, now)
    }
}

const fn nanos(now: Mono) -> u64 {
    now.0 * 1_000
}
