use uuid::Uuid;

use super::*;
use crate::domain::{AccountId, LifecycleEventKind, Settings, Tenant, WallTime};

const TTL: u64 = 90_000;
/// The time from a stream's last heartbeat to its deadline.
const DEADLINE: u64 = TTL + 2_000;
const FORGOTTEN: u64 = DEADLINE + TTL;

fn id(n: u128) -> StreamId {
    StreamId(Uuid::from_u128(n))
}

fn metadata(device: &str) -> Metadata {
    Metadata::new(&mut [("device", device)]).unwrap()
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

    fn heartbeat(&mut self, at: u64, n: u128) -> HeartbeatOutcome {
        self.judge(at, |account, moment, events| {
            account.heartbeat(moment, id(n), None, None, events)
        })
    }

    /// A heartbeat of a player that was last sent this interval.
    fn beat_every(&mut self, at: u64, n: u128, every_ms: u32) -> HeartbeatOutcome {
        self.judge(at, |account, moment, events| {
            account.heartbeat(moment, id(n), Some(every_ms), None, events)
        })
    }

    fn stop(&mut self, at: u64, n: u128) -> StopOutcome {
        self.judge(at, |account, moment, events| {
            account.stop(moment, id(n), events)
        })
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

const OPENED: OpenOutcome = OpenOutcome::Opened;
const REFRESHED: HeartbeatOutcome = HeartbeatOutcome::Refreshed { outdated: false };
const OUTDATED: HeartbeatOutcome = HeartbeatOutcome::Refreshed { outdated: true };
const STARTED: HeartbeatOutcome = HeartbeatOutcome::Started { outdated: false };
const MAX_ACTIVE: OpenOutcome = OpenOutcome::Refused(RefusedReason::MaxActive);
const ACCOUNT_CAP: OpenOutcome = OpenOutcome::Refused(RefusedReason::AccountCap);
const OVER_CAPACITY: OpenOutcome = OpenOutcome::Refused(RefusedReason::OverCapacity);
const STOPPED: OpenOutcome = OpenOutcome::Refused(RefusedReason::Stopped);

mod events;
mod limits;
mod shorter_ttl;
mod table;
mod tombstones;
