//! Decoding of replies, for clients.

use std::{cmp::Reverse, collections::BTreeMap, fmt};

use serde::Deserialize;

use super::{
    EventNews, News,
    body::{ActivityBody, Body, PartitionNumber, StreamBody},
    encode::OTHER,
};
use crate::domain::{
    AccountKey, AccountsPage, Activity, Answer, TenantAnswer, TenantTotals, ValueCounts,
};

/// The number of streams for each value of each requested metadata key.
pub type CountsBy<N = u32> = BTreeMap<String, BTreeMap<String, N>>;

/// A decoded reply.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reply {
    /// The answer to a request.
    Answer {
        /// The answer.
        answer: Answer,
        /// Counts by the keys of `group_by`.
        by: CountsBy,
        /// The partition of the account, for batches.
        partition: Option<PartitionNumber>,
    },
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
            stream,
            heartbeat_every_ms,
            ttl_ms,
            expires_in_ms: _,
            expires_at: _,
            replaced,
            partition,
            activity,
        } => {
            let (activity, by) = activity.decode()?;
            let answer = Answer::Opened {
                stream,
                heartbeat_every_ms,
                ttl_ms,
                replaced: replaced.into_owned(),
                activity,
            };
            Reply::Answer {
                answer,
                by,
                partition,
            }
        }
        Body::Refused {
            stream,
            refusal,
            partition,
            activity,
        } => {
            let (activity, by) = activity.decode()?;
            let answer = Answer::Refused {
                stream,
                refusal: refusal.into_owned(),
                activity,
            };
            Reply::Answer {
                answer,
                by,
                partition,
            }
        }
        Body::Activity {
            stream,
            state,
            partition,
            activity,
        } => {
            let (activity, by) = activity.decode()?;
            let stream = stream.zip(state);
            let answer = Answer::Status { activity, stream };
            Reply::Answer {
                answer,
                by,
                partition,
            }
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
