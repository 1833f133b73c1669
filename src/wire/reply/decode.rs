//! Decoding of replies, for clients.

use std::{cmp::Reverse, collections::BTreeMap, fmt, time::Duration};

use serde::Deserialize;

use super::{
    EventNews, News,
    body::{ActivityBody, Body, PartitionNumber, StreamBody},
    encode::OTHER,
};
use crate::domain::{
    AccountKey, AccountsPage, Activity, Refused, StreamId, StreamState, TenantAnswer, TenantTotals,
    ValueCounts,
};

/// The number of streams for each value of each requested metadata key.
pub type CountsBy<N = u32> = BTreeMap<String, BTreeMap<String, N>>;

/// A decoded reply.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reply {
    /// The decision on an `init`.
    Opening(Opening),
    /// The answer to a `status`.
    Status(AccountStatus),
    /// One partition's answer about a tenant.
    Tenant {
        /// The answer.
        answer: TenantAnswer,
        /// The partition.
        partition: PartitionNumber,
    },
    /// Bad news about events of a batch, in their order.
    Batch {
        /// The news.
        events: Vec<EventNews>,
        /// Whether the news of further events are omitted.
        truncated: bool,
    },
    /// Bad news about the message.
    News(News),
}

/// The activity of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountStatus {
    /// The account's active streams.
    pub activity: Activity,
    /// Counts by the keys of `group_by`.
    pub by: CountsBy,
    /// The state of the requested stream.
    pub state: Option<StreamState>,
    /// The partition of the account, for batches.
    pub partition: Option<PartitionNumber>,
}

/// The decision on an `init`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opening {
    /// The stream is active.
    Opened {
        /// The interval of heartbeats.
        heartbeat_every: Duration,
        /// The time after which the stream expires without a heartbeat.
        ttl: Duration,
        /// The active streams that it ended.
        replaced: Vec<StreamId>,
        /// The account's active streams, including this one.
        activity: Activity,
        /// Counts by the keys of `group_by`.
        by: CountsBy,
        /// The partition of the account, for batches.
        partition: Option<PartitionNumber>,
    },
    /// The stream is not active.
    Refused {
        /// The reason, and what to do about it.
        refusal: Refused,
        /// The account's active streams.
        activity: Activity,
        /// Counts by the keys of `group_by`.
        by: CountsBy,
        /// The partition of the account, for batches.
        partition: Option<PartitionNumber>,
    },
}

/// The reason why a message from a worker does not match the contract.
#[derive(Debug, thiserror::Error)]
#[error("the message does not match the contract: {0}")]
pub struct BadReply(String);

impl BadReply {
    pub(in crate::wire) fn new(why: impl fmt::Display) -> Self {
        Self(why.to_string())
    }
}

fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, BadReply> {
    serde_json::from_slice(body).map_err(BadReply::new)
}

/// Decodes a reply. Unknown fields are ignored.
///
/// # Errors
/// [`BadReply`] if the body is not a reply of the contract.
pub fn decode(body: &[u8]) -> Result<Reply, BadReply> {
    Ok(match read(body)? {
        Body::Opened {
            heartbeat_every_ms,
            ttl_ms,
            replaced,
            partition,
            activity,
            ..
        } => {
            let (activity, by) = activity.decode()?;
            Reply::Opening(Opening::Opened {
                heartbeat_every: Duration::from_millis(heartbeat_every_ms),
                ttl: Duration::from_millis(ttl_ms),
                replaced: replaced.into_owned(),
                activity,
                by,
                partition,
            })
        }
        Body::Refused {
            refusal,
            partition,
            activity,
            ..
        } => {
            let (activity, by) = activity.decode()?;
            Reply::Opening(Opening::Refused {
                refusal: refusal.into_owned(),
                activity,
                by,
                partition,
            })
        }
        Body::Activity {
            state,
            partition,
            activity,
            ..
        } => {
            let (activity, by) = activity.decode()?;
            Reply::Status(AccountStatus {
                activity,
                by,
                state,
                partition,
            })
        }
        Body::Accounts {
            partition,
            tenant,
            as_of,
            accounts,
            next,
        } => Reply::Tenant {
            answer: TenantAnswer::Accounts(AccountsPage {
                tenant: tenant.into_owned(),
                as_of: as_of.0,
                accounts: accounts.into_owned(),
                has_more: next.is_some(),
            }),
            partition,
        },
        Body::Totals {
            partition,
            tenant,
            as_of,
            accounts,
            streams,
            by,
        } => Reply::Tenant {
            answer: TenantAnswer::Totals(TenantTotals {
                tenant: tenant.into_owned(),
                as_of: as_of.0,
                accounts,
                streams,
                by: by.into_iter().map(|(key, by)| (key, counts(by))).collect(),
            }),
            partition,
        },
        Body::Batch { events, truncated } => Reply::Batch {
            events: events.into_owned(),
            truncated,
        },
        Body::News => Reply::News(read(body)?),
    })
}

/// The counts of a metadata key's values, the largest first.
fn counts(mut counts: BTreeMap<String, u64>) -> ValueCounts {
    let others = counts.remove(OTHER).unwrap_or_default();
    let mut values: Vec<_> = counts.into_iter().collect();
    values.sort_by_key(|(_, count)| Reverse(*count));
    ValueCounts { values, others }
}

impl ActivityBody<'_> {
    fn decode(self) -> Result<(Activity, CountsBy), BadReply> {
        let left_out = self.count.saturating_sub(self.streams.len());
        let activity = Activity {
            key: AccountKey::of(&self.tenant, &self.account).map_err(BadReply::new)?,
            as_of: self.as_of.0,
            streams: self.streams.into_iter().map(StreamBody::decode).collect(),
            left_out,
        };
        Ok((activity, self.by.unwrap_or_default()))
    }
}
