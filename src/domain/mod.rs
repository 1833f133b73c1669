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
mod ids;
mod lifecycle;
mod metadata;
mod moment;
mod request;
mod settings;
mod snapshot;
mod time;

pub use account::{
    Account, HeartbeatOutcome, OpenOutcome, REFUSAL_MS, Refusal, StopOutcome, StreamRecord,
    Tombstone,
};
pub use activity::{ActiveStream, Activity, Answer, RefusedReason, StoppedReason, StreamState};
pub use batch::{Batch, BatchEvent, BatchEventKind, MAX_BATCH_EVENTS};
pub use counters::{Counters, Durations, MAX_BAD_REASONS};
pub use entry::{CapacityChange, Entry, EntryId, Internal, MAX_REPLACED, Open};
pub use ids::{
    AccountId, AccountKey, MAX_ACCOUNT_BYTES, MAX_TENANT_BYTES, NameError, RequestId, StreamId,
    Tenant, check_tenant,
};
pub use lifecycle::{Announcement, LifecycleEvent, LifecycleEventKind};
pub use metadata::{MAX_KEY_BYTES, MAX_PAIRS, MAX_VALUE_BYTES, Metadata, MetadataError};
pub use moment::Moment;
pub use request::{Consistency, InitRequest, MAX_GROUP_BY, StatusRequest};
pub use settings::{REQUEST_QUEUE_MS, RULES_VERSION, Settings, SettingsError};
pub use snapshot::{SnapshotHeader, SnapshotTrailer};
pub use time::{LogClock, LogTime, Reading, WallShift, WallTime};
