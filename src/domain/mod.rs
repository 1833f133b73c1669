//! The rules, without a clock, I/O or a cache.
//!
//! Every change of the state is an [`Entry`] of a partition's log. [`Account`] applies it at the
//! log's time ([`LogClock`]). Replicas that apply the same entries in the same order have equal
//! accounts and equal [`Answer`]s.

mod account;
mod activity;
mod batch;
mod counters;
mod entry;
mod given_reason;
mod ids;
mod lifecycle;
mod limits;
mod metadata;
mod moment;
mod player_event;
mod request;
mod rules;
mod settings;
mod snapshot;
mod tenant;
mod throttle;
mod throttling;
mod time;

pub use account::{
    Account, HeartbeatOutcome, LogSecond, MetadataOutcome, OpenOutcome, Refusal, StopOutcome,
    StreamRecord, Tombstone, TtlAndAdmission,
};
pub use activity::{
    ActiveStream, Activity, Answer, Refused, RefusedReason, StopCause, StoppedReason, StreamState,
};
pub use batch::{Batch, BatchEvent, MAX_BATCH_EVENTS};
pub use counters::{Counters, Durations, MAX_BAD_REASONS};
pub use entry::{CapacityChange, Entry, EntryId, Internal, InternalEntry, MAX_REPLACED, Open};
pub use given_reason::{GivenReason, MAX_REASON_BYTES, ReasonError};
pub use ids::{
    AccountId, AccountKey, MAX_ACCOUNT_BYTES, MAX_TENANT_BYTES, NameError, RequestId, StreamId,
    Tenant, check_tenant,
};
pub use lifecycle::{Announcement, ExpiryCause, LifecycleEvent, LifecycleEventKind};
pub use limits::{
    Condition, Conflict, Limit, MAX_CONFLICTS, MAX_LIMITS, MAX_SAME_KEYS, MAX_WHERE_KEYS,
    MAX_WHERE_VALUES, OnLimit, Terms,
};
pub use metadata::{
    MAX_KEY_BYTES, MAX_PAIRS, MAX_VALUE_BYTES, Metadata, MetadataError, MetadataPatch,
};
pub use moment::Moment;
pub use player_event::{Heartbeat, PlayerEvent, Stop, StopTarget};
pub use request::{Consistency, InitRequest, MAX_GROUP_BY, StatusQuery, StatusRequest};
pub use rules::Rules;
pub use settings::{REQUEST_QUEUE_MS, Settings};
pub use snapshot::{SnapshotHeader, SnapshotTrailer};
pub use tenant::{
    AccountCount, AccountsPage, AccountsRequest, MAX_ACCOUNTS, TenantAnswer, TenantRequest,
    TenantTotals, TotalsRequest, ValueCounts,
};
pub use throttle::{Rate, Share, Throttle, Throttled};
pub use throttling::{ThrottledBy, ThrottledKind, Throttling};
pub(crate) use time::is_zero;
pub use time::{LogClock, LogTime, WallShift, WallTime, WorkerState};
