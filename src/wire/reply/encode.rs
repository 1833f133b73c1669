//! Encoding of replies, for workers.

use serde::{Deserialize, Serialize, Serializer};

use super::news::EventNews;
use crate::{
    domain::{
        ActiveStream, Activity, Answer, Metadata, RefusedReason, StreamId, StreamState, WallTime,
    },
    wire::{Problem, Rfc3339},
};

/// An encoded reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// Also the AMQP property `type`.
    pub kind: &'static str,
    /// The body.
    pub body: Vec<u8>,
}

/// Maximum size of a reply, in bytes. Further streams are omitted.
pub const MAX_REPLY_BYTES: usize = 256 * 1024;
/// Maximum size of the counts by `group_by`, in bytes.
const MAX_COUNTS_BYTES: usize = 64 * 1024;
/// The key for the sum of the values beyond that size.
pub(super) const OTHER: &str = "(other)";
/// Maximum size of a reply without its streams and counts, in bytes.
pub(super) const BESIDE_STREAMS_BYTES: usize = 2 * 1024;
/// Maximum size of a stream without its metadata, in bytes.
const STREAM_BYTES: usize = 256;

/// Maximum size of a stream in a reply, in bytes.
fn stream_bytes(stream: &ActiveStream) -> usize {
    let json = serde_json::to_vec(&stream.metadata);
    STREAM_BYTES + json.map_or(0, |json| json.len())
}

/// Counts by the keys of `group_by`. The rarest values beyond the bound share one count.
struct By<'a>(Vec<(&'a str, Counts<'a>)>);

struct Counts<'a>(Vec<(&'a str, u32)>);

impl<'a> By<'a> {
    fn new(activity: &'a Activity, keys: &'a [String]) -> Self {
        let room = MAX_COUNTS_BYTES / keys.len().max(1);
        let counted = keys.iter().map(|key| {
            let mut counts = activity.count_by(key);
            let bytes = |value: &str| serde_json::to_vec(value).map_or(0, |json| json.len()) + 6;
            if counts.iter().map(|(value, _)| bytes(value)).sum::<usize>() > room {
                counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
                let mut left = room.saturating_sub(bytes(OTHER));
                let fitting = counts.iter().take_while(|(value, _)| {
                    let fits = bytes(value) <= left;
                    left = left.saturating_sub(bytes(value));
                    fits
                });
                let rest = counts.split_off(fitting.count());
                counts.push((OTHER, rest.iter().map(|(_, count)| count).sum()));
            }
            (key.as_str(), Counts(counts))
        });
        Self(counted.collect())
    }
}

impl Serialize for By<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.0.iter().map(|(key, counts)| (key, counts)))
    }
}

impl Serialize for Counts<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.0.iter().copied())
    }
}

#[derive(Serialize)]
struct StreamOut<'a> {
    stream: StreamId,
    admitted: bool,
    started_at: Rfc3339,
    last_seen: Rfc3339,
    expires_at: Rfc3339,
    expires_in_ms: u64,
    metadata: &'a Metadata,
}

#[derive(Serialize)]
struct ActivityOut<'a> {
    tenant: &'a str,
    account: &'a str,
    count: usize,
    as_of: Rfc3339,
    streams: Vec<StreamOut<'a>>,
    /// Whether some streams are omitted.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<By<'a>>,
}

impl<'a> ActivityOut<'a> {
    /// Creates the part of a reply in which other lists take `taken` bytes.
    fn new(activity: &'a Activity, group_by: &'a [String], taken: usize) -> Self {
        let mut room = (MAX_REPLY_BYTES - BESIDE_STREAMS_BYTES).saturating_sub(taken);
        let by = (!group_by.is_empty()).then_some(By::new(activity, group_by));
        if let Some(by) = &by {
            room = room.saturating_sub(serde_json::to_vec(by).map_or(0, |json| json.len()));
        }
        let fitting = activity.streams.iter().take_while(|s| {
            let bytes = stream_bytes(s);
            let fits = bytes <= room;
            room = room.saturating_sub(bytes);
            fits
        });
        let streams = fitting.map(|s| StreamOut {
            stream: s.stream,
            admitted: s.admitted,
            started_at: Rfc3339(s.started_at),
            last_seen: Rfc3339(s.last_seen),
            expires_at: expires_at(activity.as_of, s.expires_in_ms),
            expires_in_ms: s.expires_in_ms,
            metadata: &s.metadata,
        });
        let streams: Vec<_> = streams.collect();
        Self {
            tenant: activity.key.tenant(),
            account: activity.key.account(),
            count: activity.count(),
            as_of: Rfc3339(activity.as_of),
            truncated: streams.len() < activity.count(),
            streams,
            by,
        }
    }
}

const fn expires_at(as_of: WallTime, in_ms: u64) -> Rfc3339 {
    Rfc3339(WallTime(as_of.0.saturating_add_unsigned(in_ms)))
}

/// Stream ids.
#[derive(Serialize)]
struct Ids<'a>(&'a [StreamId]);

impl Ids<'_> {
    const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Upper bound of their size, in bytes.
    const fn bytes(&self) -> usize {
        self.0.len() * 40
    }
}

#[derive(Serialize)]
struct ConflictOut<'a> {
    limit: usize,
    streams: Ids<'a>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Out<'a> {
    Opened {
        stream: StreamId,
        heartbeat_every_ms: u64,
        ttl_ms: u64,
        expires_in_ms: u64,
        expires_at: Rfc3339,
        #[serde(skip_serializing_if = "Ids::is_empty")]
        replaced: Ids<'a>,
        #[serde(flatten)]
        partition: Option<PartitionNumber>,
        activity: ActivityOut<'a>,
    },
    Refused {
        stream: StreamId,
        reason: RefusedReason,
        #[serde(skip_serializing_if = "Option::is_none")]
        max_active: Option<u32>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        conflicts: Vec<ConflictOut<'a>>,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        remembered: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
        #[serde(flatten)]
        partition: Option<PartitionNumber>,
        activity: ActivityOut<'a>,
    },
    Activity {
        #[serde(skip_serializing_if = "Option::is_none")]
        stream: Option<StreamId>,
        #[serde(skip_serializing_if = "Option::is_none")]
        state: Option<StreamState>,
        #[serde(flatten)]
        partition: Option<PartitionNumber>,
        activity: ActivityOut<'a>,
    },
    Error {
        error: &'a Problem,
    },
    Batch {
        events: &'a [EventNews],
        /// Whether some events are omitted.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        truncated: bool,
    },
}

/// Encodes the reply to a batch, with the news in the order of the events. Those beyond the bound of
/// a reply are omitted.
#[must_use]
pub fn batch(news: &[EventNews]) -> Encoded {
    let mut room = MAX_REPLY_BYTES - BESIDE_STREAMS_BYTES;
    let fitting = news.iter().take_while(|one| {
        let bytes = serde_json::to_vec(one).map_or(usize::MAX, |json| json.len() + 1);
        let fits = bytes <= room;
        room = room.saturating_sub(bytes);
        fits
    });
    let fitting = fitting.count();
    let out = Out::Batch {
        events: &news[..fitting],
        truncated: fitting < news.len(),
    };
    encoded("batch", &out)
}

/// The partition of an account, for senders of batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionNumber {
    /// Its number.
    pub partition: u16,
    /// The number of partitions.
    pub partitions: u16,
}

fn encoded(kind: &'static str, out: &Out) -> Encoded {
    Encoded {
        kind,
        body: serde_json::to_vec(out).expect("strings and numbers always encode"),
    }
}

/// Encodes an answer, with counts by the metadata keys of `group_by`. `partition` is the partition of
/// the account, if it is known.
#[must_use]
pub fn answer(answer: &Answer, group_by: &[String], partition: Option<PartitionNumber>) -> Encoded {
    match answer {
        Answer::Opened {
            stream,
            heartbeat_every_ms,
            ttl_ms,
            replaced,
            activity,
        } => {
            let replaced = Ids(replaced);
            let own = activity.streams.iter().find(|s| s.stream == *stream);
            let expires_in_ms = own.map_or(0, |s| s.expires_in_ms);
            let out = Out::Opened {
                stream: *stream,
                heartbeat_every_ms: *heartbeat_every_ms,
                ttl_ms: *ttl_ms,
                expires_in_ms,
                expires_at: expires_at(activity.as_of, expires_in_ms),
                partition,
                activity: ActivityOut::new(activity, group_by, replaced.bytes()),
                replaced,
            };
            encoded("opened", &out)
        }
        Answer::Refused {
            stream,
            refusal,
            activity,
        } => {
            let conflicts = refusal.conflicts.iter().map(|conflict| ConflictOut {
                limit: conflict.limit,
                streams: Ids(&conflict.streams),
            });
            let conflicts: Vec<_> = conflicts.collect();
            let taken = conflicts
                .iter()
                .map(|conflict| 40 + conflict.streams.bytes());
            let taken = taken.sum();
            let out = Out::Refused {
                stream: *stream,
                reason: refusal.reason,
                max_active: refusal.max_active,
                conflicts,
                remembered: refusal.is_remembered,
                retry_after_ms: refusal.retry_after_ms,
                partition,
                activity: ActivityOut::new(activity, group_by, taken),
            };
            encoded("refused", &out)
        }
        Answer::Status { activity, stream } => {
            let out = Out::Activity {
                stream: stream.map(|(id, _)| id),
                state: stream.map(|(_, state)| state),
                partition,
                activity: ActivityOut::new(activity, group_by, 0),
            };
            encoded("activity", &out)
        }
    }
}

/// Encodes an error.
#[must_use]
pub fn error(problem: &Problem) -> Encoded {
    encoded("error", &Out::Error { error: problem })
}
