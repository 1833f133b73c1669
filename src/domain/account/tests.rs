use uuid::Uuid;

use super::*;
use crate::domain::{
    AccountId, ExpiryCause, GivenReason, Heartbeat, LifecycleEventKind, MetadataPatch, Open,
    RefusedReason, RequestId, Rules, Settings, Stop, StopCause, StoppedReason, Tenant, Terms,
    WallTime,
};

const TTL: u64 = 90_000;
/// The time from a stream's last heartbeat to its deadline.
const DEADLINE: u64 = TTL + 2_000;
const FORGOTTEN: u64 = DEADLINE + TTL;

fn id(n: u128) -> StreamId {
    StreamId(Uuid::from_u128(n))
}

fn metadata(device: &str) -> Metadata {
    pairs(&[("device", device)])
}

fn pairs(pairs: &[(&str, &str)]) -> Metadata {
    Metadata::new(&mut pairs.to_vec()).unwrap()
}

/// A proposal for stream `n`, with the request id `n`.
fn request(n: u128) -> Open {
    Open {
        key: key(),
        stream: id(n),
        request: RequestId(Uuid::from_u128(n)),
        not_after: LogTime(u64::MAX),
        max_active: None,
        replace: Vec::new(),
        metadata: Metadata::default(),
        terms: None,
    }
}

/// A proposal for stream `n` with this metadata.
fn with(n: u128, metadata: &[(&str, &str)]) -> Open {
    Open {
        metadata: pairs(metadata),
        ..request(n)
    }
}

/// Changes the terms of a proposal.
fn on(open: Open, change: impl FnOnce(&mut Terms)) -> Open {
    let mut terms = open.terms.unwrap_or_default();
    change(&mut terms);
    Open {
        terms: Some(terms),
        ..open
    }
}

fn at_most(max_active: u32, open: Open) -> Open {
    Open {
        max_active: Some(max_active),
        ..open
    }
}

fn by(request: u128, open: Open) -> Open {
    Open {
        request: RequestId(Uuid::from_u128(request)),
        ..open
    }
}

fn replacing(replaced: &[u128], open: Open) -> Open {
    Open {
        replace: replaced.iter().copied().map(id).collect(),
        ..open
    }
}

fn key() -> AccountKey {
    AccountKey::new(
        &Tenant::new("acme").unwrap(),
        &AccountId::new("alice").unwrap(),
    )
}

/// One account and its settings.
#[derive(Default)]
struct Alice {
    account: Account,
    settings: Settings,
    full: bool,
    events: Vec<LifecycleEvent>,
}

impl Alice {
    fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let mut alice = Self::default();
        change(&mut alice.settings);
        alice
    }

    fn judge<R>(
        &mut self,
        at: u64,
        judge: impl FnOnce(&mut Account, &Moment, &mut Vec<LifecycleEvent>) -> R,
    ) -> R {
        let moment = Moment {
            now: LogTime(at),
            shift: WallShift::default(),
            settings: &self.settings,
            full: self.full,
        };
        judge(&mut self.account, &moment, &mut self.events)
    }

    fn open(&mut self, at: u64, open: &Open) -> OpenOutcome {
        self.judge(at, |account, moment, events| {
            account.open(moment, open, events)
        })
    }

    fn beat(&mut self, at: u64, heartbeat: &Heartbeat) -> HeartbeatOutcome {
        self.judge(at, |account, moment, events| {
            account.heartbeat(moment, heartbeat, events)
        })
    }

    fn heartbeat(&mut self, at: u64, n: u128) -> HeartbeatOutcome {
        self.beat(at, &Heartbeat::of(id(n)))
    }

    /// A heartbeat with metadata.
    fn beat_with(&mut self, at: u64, n: u128, metadata: &[(&str, &str)]) -> HeartbeatOutcome {
        let metadata = Some(pairs(metadata).into());
        let heartbeat = Heartbeat {
            metadata,
            ..Heartbeat::of(id(n))
        };
        self.beat(at, &heartbeat)
    }

    /// A heartbeat of a player that was last sent this interval.
    fn beat_every(&mut self, at: u64, n: u128, every_ms: u32) -> HeartbeatOutcome {
        let heartbeat = Heartbeat {
            every_ms: Some(every_ms),
            ..Heartbeat::of(id(n))
        };
        self.beat(at, &heartbeat)
    }

    fn stop_by(&mut self, at: u64, stop: &Stop) -> StopOutcome {
        self.judge(at, |account, moment, events| {
            account.stop(moment, stop, events)
        })
    }

    fn stop(&mut self, at: u64, n: u128) -> StopOutcome {
        self.stop_by(at, &Stop::of(id(n)))
    }

    fn activity(&self, at: u64) -> Vec<ActiveStream> {
        let shift = WallShift::default();
        self.account.activity(&key(), LogTime(at), shift).streams
    }

    fn active(&self, at: u64) -> Vec<u128> {
        let streams = self.activity(at).into_iter();
        streams.map(|s| s.stream.0.as_u128()).collect()
    }

    fn state(&self, at: u64, n: u128) -> StreamState {
        self.account.state_of(id(n), LogTime(at))
    }

    /// Stream `n` as the only active one.
    fn only(&self, at: u64, n: u128) -> ActiveStream {
        let streams = self.activity(at);
        assert_eq!(self.active(at), [n]);
        streams.into_iter().next().unwrap()
    }
}

const OPENED: OpenOutcome = OpenOutcome::Opened {
    replaced: Vec::new(),
};
const REFRESHED: HeartbeatOutcome = HeartbeatOutcome::Refreshed {
    outdated: false,
    metadata: MetadataOutcome::Kept,
};
const OUTDATED: HeartbeatOutcome = HeartbeatOutcome::Refreshed {
    outdated: true,
    metadata: MetadataOutcome::Kept,
};
const STARTED: HeartbeatOutcome = HeartbeatOutcome::Started {
    outdated: false,
    metadata: MetadataOutcome::Kept,
};
const MAX_ACTIVE: OpenOutcome = refused(RefusedReason::MaxActive);
const LIMITS: OpenOutcome = refused(RefusedReason::Limits);
const ACCOUNT_CAP: OpenOutcome = refused(RefusedReason::AccountCap);
const OVER_CAPACITY: OpenOutcome = refused(RefusedReason::OverCapacity);
const STOPPED: OpenOutcome = refused(RefusedReason::Stopped);

const fn refused(reason: RefusedReason) -> OpenOutcome {
    OpenOutcome::Refused {
        reason,
        is_remembered: false,
    }
}

const fn remembered(reason: RefusedReason) -> OpenOutcome {
    OpenOutcome::Refused {
        reason,
        is_remembered: true,
    }
}

/// The outcome of a proposal that ended these streams.
fn opened_for(replaced: &[u128]) -> OpenOutcome {
    OpenOutcome::Opened {
        replaced: replaced.iter().copied().map(id).collect(),
    }
}

/// The outcome of a heartbeat of a stopped stream.
fn stays(reason: StoppedReason) -> HeartbeatOutcome {
    HeartbeatOutcome::Stopped(reason.into())
}

mod age;
mod caps;
mod events;
mod limits;
mod merging;
mod refusals;
mod replacing;
mod rules_1;
mod shorter_ttl;
mod stop_all;
mod table;
mod tombstones;
