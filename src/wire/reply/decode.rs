//! Decoding of replies, for clients.

use std::{collections::BTreeMap, fmt};

use serde::Deserialize;
use uuid::Uuid;

use super::{
    decoded::{BatchNews, CountsBy, Reply},
    encode::PartitionNumber,
    tenant::{AccountsIn, TotalsIn},
};
use crate::{
    domain::{
        AccountId, AccountKey, ActiveStream, Activity, Answer, Conflict, GivenReason, Metadata,
        Refused, RefusedReason, StopCause, StoppedReason, StreamId, StreamState, Tenant,
    },
    wire::{Problem, Rfc3339},
};

#[derive(Deserialize)]
struct StreamIn {
    stream: Uuid,
    admitted: bool,
    started_at: Rfc3339,
    last_seen: Rfc3339,
    expires_in_ms: u64,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct ActivityIn {
    tenant: String,
    account: String,
    as_of: Rfc3339,
    count: usize,
    streams: Vec<StreamIn>,
    #[serde(default)]
    by: CountsBy,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum In {
    Opened {
        stream: Uuid,
        heartbeat_every_ms: u64,
        ttl_ms: u64,
        #[serde(default)]
        replaced: Vec<Uuid>,
        #[serde(flatten)]
        partition: Option<PartitionNumber>,
        activity: ActivityIn,
    },
    Refused {
        stream: Uuid,
        reason: String,
        max_active: Option<u32>,
        #[serde(default)]
        conflicts: Vec<ConflictIn>,
        #[serde(default)]
        remembered: bool,
        retry_after_ms: Option<u64>,
        #[serde(flatten)]
        partition: Option<PartitionNumber>,
        activity: ActivityIn,
    },
    Activity {
        stream: Option<Uuid>,
        state: Option<String>,
        #[serde(flatten)]
        partition: Option<PartitionNumber>,
        activity: ActivityIn,
    },
    Stopped {
        stream: Uuid,
        reason: String,
        given_reason: Option<String>,
    },
    Interval {
        stream: Uuid,
        heartbeat_every_ms: u64,
        ttl_ms: u64,
    },
    Accounts {
        #[serde(flatten)]
        partition: PartitionNumber,
        #[serde(flatten)]
        page: AccountsIn,
    },
    Totals {
        #[serde(flatten)]
        partition: PartitionNumber,
        #[serde(flatten)]
        totals: TotalsIn,
    },
    Error {
        error: Problem,
    },
    Batch {
        events: Vec<EventIn>,
        #[serde(default)]
        truncated: bool,
    },
    #[serde(other)]
    Unknown,
}

#[derive(Deserialize)]
struct ConflictIn {
    limit: usize,
    streams: Vec<Uuid>,
}

#[derive(Deserialize)]
struct EventIn {
    index: u16,
    #[serde(flatten)]
    news: NewsIn,
}

/// The news of an event.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum NewsIn {
    Stopped {
        stream: Uuid,
        reason: String,
        given_reason: Option<String>,
    },
    Interval {
        stream: Uuid,
        heartbeat_every_ms: u64,
        ttl_ms: u64,
    },
    Error {
        error: Problem,
    },
    #[serde(other)]
    Unknown,
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

/// Decodes a reply. Unknown fields are ignored.
///
/// # Errors
/// [`BadReply`] if the body is not a reply of the contract.
pub fn decode(body: &[u8]) -> Result<Reply, BadReply> {
    let reply: In = serde_json::from_slice(body).map_err(BadReply::new)?;
    Ok(match reply {
        In::Opened {
            stream,
            heartbeat_every_ms,
            ttl_ms,
            replaced,
            partition,
            activity,
        } => {
            let (activity, by) = activity.decode()?;
            let answer = Answer::Opened {
                stream: StreamId(stream),
                heartbeat_every_ms,
                ttl_ms,
                replaced: replaced.into_iter().map(StreamId).collect(),
                activity,
            };
            Reply::Answer {
                answer,
                by,
                partition,
            }
        }
        In::Refused {
            stream,
            reason,
            max_active,
            conflicts,
            remembered,
            retry_after_ms,
            partition,
            activity,
        } => {
            let (activity, by) = activity.decode()?;
            let conflicts = conflicts.into_iter().map(|it| Conflict {
                limit: it.limit,
                streams: it.streams.into_iter().map(StreamId).collect(),
            });
            let refusal = Refused {
                reason: known(RefusedReason::from_word(&reason))?,
                max_active,
                conflicts: conflicts.collect(),
                is_remembered: remembered,
                retry_after_ms,
            };
            let answer = Answer::Refused {
                stream: StreamId(stream),
                refusal,
                activity,
            };
            Reply::Answer {
                answer,
                by,
                partition,
            }
        }
        In::Activity {
            stream,
            state,
            partition,
            activity,
        } => {
            let (activity, by) = activity.decode()?;
            let state = state
                .map(|s| known(StreamState::from_word(&s)))
                .transpose()?;
            let stream = stream.map(StreamId).zip(state);
            let answer = Answer::Status { activity, stream };
            Reply::Answer {
                answer,
                by,
                partition,
            }
        }
        In::Stopped {
            stream,
            reason,
            given_reason,
        } => NewsIn::Stopped {
            stream,
            reason,
            given_reason,
        }
        .decode()?,
        In::Interval {
            stream,
            heartbeat_every_ms,
            ttl_ms,
        } => NewsIn::Interval {
            stream,
            heartbeat_every_ms,
            ttl_ms,
        }
        .decode()?,
        In::Batch { events, truncated } => {
            let news = events.into_iter().map(|event| {
                Ok(BatchNews {
                    index: event.index,
                    reply: event.news.decode()?,
                })
            });
            let events = news.collect::<Result<_, _>>()?;
            Reply::Batch { events, truncated }
        }
        In::Accounts { partition, page } => Reply::Tenant {
            answer: page.decode()?,
            partition,
        },
        In::Totals { partition, totals } => Reply::Tenant {
            answer: totals.decode()?,
            partition,
        },
        In::Error { error } => Reply::Error(error),
        In::Unknown => Reply::Unknown,
    })
}

impl NewsIn {
    fn decode(self) -> Result<Reply, BadReply> {
        Ok(match self {
            Self::Stopped {
                stream,
                reason,
                given_reason,
            } => Reply::Stopped {
                stream: StreamId(stream),
                cause: StopCause {
                    reason: known(StoppedReason::from_word(&reason))?,
                    // A longer one is of a later version of the contract.
                    given: given_reason.and_then(|text| GivenReason::new(&text).ok()),
                },
            },
            Self::Interval {
                stream,
                heartbeat_every_ms,
                ttl_ms,
            } => Reply::Interval {
                stream: StreamId(stream),
                heartbeat_every_ms,
                ttl_ms,
            },
            Self::Error { error } => Reply::Error(error),
            Self::Unknown => Reply::Unknown,
        })
    }
}

fn known<T>(value: Option<T>) -> Result<T, BadReply> {
    value.ok_or_else(|| BadReply::new("it has an unknown word"))
}

impl ActivityIn {
    fn decode(self) -> Result<(Activity, CountsBy), BadReply> {
        let tenant = Tenant::new(&self.tenant).map_err(BadReply::new)?;
        let account = AccountId::new(&self.account).map_err(BadReply::new)?;
        let left_out = self.count.saturating_sub(self.streams.len());
        let streams = self.streams.into_iter().map(|s| {
            let mut pairs: Vec<_> = s.metadata.into_iter().collect();
            Ok(ActiveStream {
                stream: StreamId(s.stream),
                admitted: s.admitted,
                started_at: s.started_at.0,
                last_seen: s.last_seen.0,
                expires_in_ms: s.expires_in_ms,
                metadata: Metadata::new(&mut pairs).map_err(BadReply::new)?,
            })
        });
        let activity = Activity {
            key: AccountKey::new(&tenant, &account),
            as_of: self.as_of.0,
            streams: streams.collect::<Result<_, _>>()?,
            left_out,
        };
        Ok((activity, self.by))
    }
}
