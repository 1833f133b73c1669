//! The rules, pure: no clock, no I/O, no cache.
//!
//! Everything that changes state is an [`Entry`] of one log per partition, judged at the log's own
//! time ([`LogClock`]) by the rules in [`Account`]. Replicas that apply the same entries in the
//! same order have equal accounts and give equal [`Answer`]s.

mod account;
mod activity;
mod counters;
mod entry;
mod ids;
mod lifecycle;
mod metadata;
mod request;
mod settings;
mod snapshot;
mod time;

pub use account::{
    Account, HeartbeatOutcome, Moment, OpenOutcome, REFUSAL_MS, Refusal, StopOutcome, StreamRecord,
    Tombstone,
};
pub use activity::{ActiveStream, Activity, Answer, RefusedReason, StoppedReason, StreamState};
pub use counters::{Counters, Durations, MAX_BAD_REASONS};
pub use entry::{CapacityChange, Entry, Internal, MAX_REPLACED, Mark, Open};
pub use ids::{
    AccountId, AccountKey, MAX_ACCOUNT_BYTES, MAX_TENANT_BYTES, NameError, RequestId, StreamId,
    Tenant, check_tenant,
};
pub use lifecycle::{Announcement, LifecycleEvent, LifecycleEventKind};
pub use metadata::{MAX_KEY_BYTES, MAX_PAIRS, MAX_VALUE_BYTES, Metadata, MetadataError};
pub use request::{Consistency, InitRequest, MAX_GROUP_BY, StatusRequest};
pub use settings::{REQUEST_QUEUE_MS, RULES_VERSION, Settings, SettingsError};
pub use snapshot::{SnapshotHeader, SnapshotTrailer};
pub use time::{LogClock, LogTime, Reading, WallShift, WallTime};
