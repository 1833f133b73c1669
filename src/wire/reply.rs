//! Replies: answers and errors as JSON, both ways.

use std::{collections::BTreeMap, fmt};

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, ser::SerializeMap};
use uuid::Uuid;

use super::Problem;
use crate::domain::{
    AccountId, AccountKey, ActiveStream, Activity, Answer, Metadata, RefusedReason, StoppedReason,
    StreamId, StreamState, Tenant, WallTime,
};

/// The version of the contract: the header `contract` of every reply.
pub const CONTRACT: i32 = 1;
/// The `app_id` of every reply.
pub const APP_ID: &str = "streamwatch";

/// Counts by metadata: for each key asked for, how many streams have each value.
pub type CountsBy = BTreeMap<String, BTreeMap<String, u32>>;

/// A reply as a client reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reply {
    /// The answer to a request.
    Answer {
        /// What was answered.
        answer: Answer,
        /// Counts by the keys of `group_by`.
        by: CountsBy,
    },
    /// A heartbeat's stream was ended.
    Stopped {
        /// Which.
        stream: StreamId,
        /// How.
        reason: StoppedReason,
    },
    /// The message was not accepted, or its outcome is not known.
    Error(Problem),
    /// A type of a later version of the contract.
    Unknown,
}

/// An encoded reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// Also the AMQP property `type`.
    pub kind: &'static str,
    /// The body.
    pub body: Vec<u8>,
}

/// A moment in RFC 3339, in UTC, with milliseconds.
#[derive(Clone, Copy)]
struct Shown(WallTime);

impl Serialize for Shown {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let shown = Timestamp::from_millisecond(self.0.0).unwrap_or_default();
        to.collect_str(&format_args!("{shown:.3}"))
    }
}

impl<'de> Deserialize<'de> for Shown {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let at: Timestamp = text.parse().map_err(serde::de::Error::custom)?;
        Ok(Self(WallTime(at.as_millisecond())))
    }
}

/// Shows a moment as replies do.
#[must_use]
pub fn show(at: WallTime) -> String {
    let shown = Timestamp::from_millisecond(at.0).unwrap_or_default();
    format!("{shown:.3}")
}

struct MetadataBody<'a>(&'a Metadata);

impl Serialize for MetadataBody<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.0.pairs())
    }
}

struct By<'a>(&'a Activity, &'a [String]);

impl Serialize for By<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        struct Counts<'a>(Vec<(&'a str, u32)>);
        impl Serialize for Counts<'_> {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_map(self.0.iter().copied())
            }
        }
        let mut map = to.serialize_map(Some(self.1.len()))?;
        for key in self.1 {
            map.serialize_entry(key, &Counts(self.0.count_by(key)))?;
        }
        map.end()
    }
}

#[derive(Serialize)]
struct StreamOut<'a> {
    stream: Uuid,
    admitted: bool,
    started_at: Shown,
    last_seen: Shown,
    expires_at: Shown,
    expires_in_ms: u64,
    metadata: MetadataBody<'a>,
}

#[derive(Serialize)]
struct ActivityOut<'a> {
    tenant: &'a str,
    account: &'a str,
    count: usize,
    as_of: Shown,
    streams: Vec<StreamOut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<By<'a>>,
}

impl<'a> ActivityOut<'a> {
    fn new(activity: &'a Activity, group_by: &'a [String]) -> Self {
        let streams = activity.streams.iter().map(|s| StreamOut {
            stream: s.stream.0,
            admitted: s.admitted,
            started_at: Shown(s.started_at),
            last_seen: Shown(s.last_seen),
            expires_at: expires_at(activity.as_of, s.expires_in_ms),
            expires_in_ms: s.expires_in_ms,
            metadata: MetadataBody(&s.metadata),
        });
        Self {
            tenant: activity.key.tenant(),
            account: activity.key.account(),
            count: activity.streams.len(),
            as_of: Shown(activity.as_of),
            streams: streams.collect(),
            by: (!group_by.is_empty()).then_some(By(activity, group_by)),
        }
    }
}

const fn expires_at(as_of: WallTime, in_ms: u64) -> Shown {
    Shown(WallTime(as_of.0.saturating_add_unsigned(in_ms)))
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Out<'a> {
    Opened {
        stream: Uuid,
        heartbeat_every_ms: u64,
        ttl_ms: u64,
        expires_in_ms: u64,
        expires_at: Shown,
        activity: ActivityOut<'a>,
    },
    Refused {
        stream: Uuid,
        reason: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        max_active: Option<u32>,
        activity: ActivityOut<'a>,
    },
    Activity {
        #[serde(skip_serializing_if = "Option::is_none")]
        stream: Option<Uuid>,
        #[serde(skip_serializing_if = "Option::is_none")]
        state: Option<&'static str>,
        activity: ActivityOut<'a>,
    },
    Stopped {
        stream: Uuid,
        reason: &'static str,
    },
    Error {
        error: &'a Problem,
    },
}

fn encoded(kind: &'static str, out: &Out) -> Encoded {
    Encoded {
        kind,
        body: serde_json::to_vec(out).expect("strings and numbers always encode"),
    }
}

/// Encodes an answer, with counts by the metadata keys of `group_by`.
#[must_use]
pub fn answer(answer: &Answer, group_by: &[String]) -> Encoded {
    match answer {
        Answer::Opened {
            stream,
            heartbeat_every_ms,
            ttl_ms,
            activity,
        } => {
            let own = activity.streams.iter().find(|s| s.stream == *stream);
            let expires_in_ms = own.map_or(0, |s| s.expires_in_ms);
            let out = Out::Opened {
                stream: stream.0,
                heartbeat_every_ms: *heartbeat_every_ms,
                ttl_ms: *ttl_ms,
                expires_in_ms,
                expires_at: expires_at(activity.as_of, expires_in_ms),
                activity: ActivityOut::new(activity, group_by),
            };
            encoded("opened", &out)
        }
        Answer::Refused {
            stream,
            reason,
            max_active,
            activity,
        } => {
            let out = Out::Refused {
                stream: stream.0,
                reason: refused_reason(*reason),
                max_active: *max_active,
                activity: ActivityOut::new(activity, group_by),
            };
            encoded("refused", &out)
        }
        Answer::Status { activity, stream } => {
            let out = Out::Activity {
                stream: stream.map(|(id, _)| id.0),
                state: stream.map(|(_, state)| state_word(state)),
                activity: ActivityOut::new(activity, group_by),
            };
            encoded("activity", &out)
        }
    }
}

/// Encodes the news that a heartbeat's stream was ended.
#[must_use]
pub fn stopped(stream: StreamId, reason: StoppedReason) -> Encoded {
    let out = Out::Stopped {
        stream: stream.0,
        reason: stopped_reason(reason),
    };
    encoded("stopped", &out)
}

/// Encodes an error.
#[must_use]
pub fn error(problem: &Problem) -> Encoded {
    encoded("error", &Out::Error { error: problem })
}

/// The word for a refusal's reason.
#[must_use]
pub const fn refused_reason(reason: RefusedReason) -> &'static str {
    match reason {
        RefusedReason::MaxActive => "max_active",
        RefusedReason::AccountCap => "account_cap",
        RefusedReason::OverCapacity => "over_capacity",
        RefusedReason::Stopped => "stopped",
    }
}

/// The word for an ended stream's reason.
#[must_use]
pub const fn stopped_reason(reason: StoppedReason) -> &'static str {
    match reason {
        StoppedReason::Stopped => "stopped",
        StoppedReason::Replaced => "replaced",
    }
}

/// The word for a stream's state.
#[must_use]
pub const fn state_word(state: StreamState) -> &'static str {
    match state {
        StreamState::Active => "active",
        StreamState::Stopped => "stopped",
        StreamState::Expired => "expired",
        StreamState::Unknown => "unknown",
    }
}

#[derive(Deserialize)]
struct StreamIn {
    stream: Uuid,
    admitted: bool,
    started_at: Shown,
    last_seen: Shown,
    expires_in_ms: u64,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct ActivityIn {
    tenant: String,
    account: String,
    as_of: Shown,
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
        activity: ActivityIn,
    },
    Refused {
        stream: Uuid,
        reason: String,
        max_active: Option<u32>,
        activity: ActivityIn,
    },
    Activity {
        stream: Option<Uuid>,
        state: Option<String>,
        activity: ActivityIn,
    },
    Stopped {
        stream: Uuid,
        reason: String,
    },
    Error {
        error: Problem,
    },
    #[serde(other)]
    Unknown,
}

/// A reply that is not of the contract.
#[derive(Debug, thiserror::Error)]
#[error("the reply is not of the contract: {0}")]
pub struct BadReply(String);

impl BadReply {
    fn new(why: impl fmt::Display) -> Self {
        Self(why.to_string())
    }
}

/// Decodes a reply. Unknown fields are ignored.
///
/// # Errors
/// Where the body is not a reply of the contract.
pub fn decode(body: &[u8]) -> Result<Reply, BadReply> {
    let reply: In = serde_json::from_slice(body).map_err(BadReply::new)?;
    Ok(match reply {
        In::Opened {
            stream,
            heartbeat_every_ms,
            ttl_ms,
            activity,
        } => {
            let (activity, by) = activity.decode()?;
            let answer = Answer::Opened {
                stream: StreamId(stream),
                heartbeat_every_ms,
                ttl_ms,
                activity,
            };
            Reply::Answer { answer, by }
        }
        In::Refused {
            stream,
            reason,
            max_active,
            activity,
        } => {
            let (activity, by) = activity.decode()?;
            let reason = known(
                &reason,
                [
                    RefusedReason::MaxActive,
                    RefusedReason::AccountCap,
                    RefusedReason::OverCapacity,
                    RefusedReason::Stopped,
                ],
                refused_reason,
            )?;
            let answer = Answer::Refused {
                stream: StreamId(stream),
                reason,
                max_active,
                activity,
            };
            Reply::Answer { answer, by }
        }
        In::Activity {
            stream,
            state,
            activity,
        } => {
            let (activity, by) = activity.decode()?;
            let states = [
                StreamState::Active,
                StreamState::Stopped,
                StreamState::Expired,
                StreamState::Unknown,
            ];
            let state = state.map(|s| known(&s, states, state_word)).transpose()?;
            let stream = stream.map(StreamId).zip(state);
            let answer = Answer::Status { activity, stream };
            Reply::Answer { answer, by }
        }
        In::Stopped { stream, reason } => Reply::Stopped {
            stream: StreamId(stream),
            reason: known(
                &reason,
                [StoppedReason::Stopped, StoppedReason::Replaced],
                stopped_reason,
            )?,
        },
        In::Error { error } => Reply::Error(error),
        In::Unknown => Reply::Unknown,
    })
}

fn known<T: Copy, const N: usize>(
    word: &str,
    all: [T; N],
    word_of: impl Fn(T) -> &'static str,
) -> Result<T, BadReply> {
    all.into_iter()
        .find(|&t| word_of(t) == word)
        .ok_or_else(|| BadReply::new("it has a word that this version does not know"))
}

impl ActivityIn {
    fn decode(self) -> Result<(Activity, CountsBy), BadReply> {
        let tenant = Tenant::new(&self.tenant).map_err(BadReply::new)?;
        let account = AccountId::new(&self.account).map_err(BadReply::new)?;
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
        };
        Ok((activity, self.by))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn activity() -> Activity {
        let tenant = Tenant::new("acme").unwrap();
        Activity {
            key: AccountKey::new(&tenant, &AccountId::new("alice").unwrap()),
            as_of: WallTime(1_763_805_600_000),
            streams: vec![ActiveStream {
                stream: StreamId(Uuid::from_u128(7)),
                admitted: true,
                started_at: WallTime(1_763_805_600_000),
                last_seen: WallTime(1_763_805_600_001),
                expires_in_ms: 90_000,
                metadata: Metadata::new(&mut [("device", "tv")]).unwrap(),
            }],
        }
    }

    #[test]
    fn an_opened_reply_is_what_the_contract_shows() {
        let opened = Answer::Opened {
            stream: StreamId(Uuid::from_u128(7)),
            heartbeat_every_ms: 30_000,
            ttl_ms: 90_000,
            activity: activity(),
        };
        let encoded = answer(&opened, &["device".to_owned()]);
        let json: serde_json::Value = serde_json::from_slice(&encoded.body).unwrap();
        let id = "00000000-0000-0000-0000-000000000007";
        assert_eq!(
            json,
            serde_json::json!({
                "type": "opened", "stream": id, "heartbeat_every_ms": 30_000, "ttl_ms": 90_000,
                "expires_in_ms": 90_000, "expires_at": "2025-11-22T10:01:30.000Z",
                "activity": {
                    "tenant": "acme", "account": "alice", "count": 1,
                    "as_of": "2025-11-22T10:00:00.000Z",
                    "streams": [{
                        "stream": id, "admitted": true, "started_at": "2025-11-22T10:00:00.000Z",
                        "last_seen": "2025-11-22T10:00:00.001Z",
                        "expires_at": "2025-11-22T10:01:30.000Z", "expires_in_ms": 90_000,
                        "metadata": {"device": "tv"}
                    }],
                    "by": {"device": {"tv": 1}}
                }
            })
        );
    }

    #[test]
    fn a_client_reads_what_a_worker_writes() {
        let stream = StreamId(Uuid::from_u128(7));
        let refused = Answer::Refused {
            stream,
            reason: RefusedReason::MaxActive,
            max_active: Some(1),
            activity: activity(),
        };
        let status = Answer::Status {
            activity: activity(),
            stream: Some((stream, StreamState::Expired)),
        };
        for written in [refused, status] {
            let read = decode(&answer(&written, &[]).body).unwrap();
            let by = CountsBy::new();
            assert_eq!(
                read,
                Reply::Answer {
                    answer: written,
                    by
                }
            );
        }
        let reason = StoppedReason::Replaced;
        assert_eq!(
            decode(&stopped(stream, reason).body).unwrap(),
            Reply::Stopped { stream, reason }
        );
        let problem = Problem::late();
        assert_eq!(
            decode(&error(&problem).body).unwrap(),
            Reply::Error(problem)
        );
        assert_eq!(
            decode(br#"{"type":"paused","since":1}"#).unwrap(),
            Reply::Unknown
        );
    }
}
