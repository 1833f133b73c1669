//! Encoding of replies, for workers.

use std::{borrow::Cow, cmp::Reverse, collections::BTreeMap};

use serde::Serialize;

use super::{
    CountsBy, EventNews, News,
    body::{ActivityBody, Body, PartitionNumber, StreamBody, expires_at},
};
use crate::{
    domain::{ActiveStream, Activity, Answer, StreamId},
    wire::{Problem, Rfc3339, request::bytes},
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
/// Maximum size of a reply's lists and counts, in bytes. The rest of a reply takes at most 2 KiB.
pub(super) const MAX_LIST_BYTES: usize = MAX_REPLY_BYTES - 2 * 1024;
/// Maximum size of the counts by `group_by`, in bytes.
const MAX_COUNTS_BYTES: usize = 64 * 1024;
/// The key for the sum of the values beyond that size.
pub(super) const OTHER: &str = "(other)";
/// Maximum size of a stream without its metadata, in bytes.
const STREAM_BYTES: usize = 256;
/// Upper bound of the size of an id in a list, in bytes.
const ID_BYTES: usize = 40;

pub(super) fn json_bytes(value: &impl Serialize) -> usize {
    bytes(value).len()
}

/// The number of the first `items` that fit into `room` bytes together.
pub(super) fn fitting<T>(items: &[T], mut room: usize, bytes: impl Fn(&T) -> usize) -> usize {
    let fit = items.iter().take_while(|item| {
        let left = room.checked_sub(bytes(item));
        room = left.unwrap_or(room);
        left.is_some()
    });
    fit.count()
}

/// Counts by the keys of `group_by`. The rarest values beyond the bound share one count.
fn counts_by(activity: &Activity, keys: &[String]) -> CountsBy {
    let room = MAX_COUNTS_BYTES / keys.len().max(1);
    let counted = keys.iter().map(|key| {
        let mut counts = activity.count_by(key);
        let bytes = |(value, _): &(&str, u32)| json_bytes(value) + 6;
        if counts.iter().map(bytes).sum::<usize>() > room {
            counts.sort_by_key(|(_, count)| Reverse(*count));
            let room = room.saturating_sub(bytes(&(OTHER, 0)));
            let rest = counts.split_off(fitting(&counts, room, bytes));
            counts.push((OTHER, rest.iter().map(|(_, count)| count).sum()));
        }
        let mut by = BTreeMap::new();
        for (value, count) in counts {
            *by.entry(value.to_owned()).or_default() += count;
        }
        (key.clone(), by)
    });
    counted.collect()
}

impl<'a> ActivityBody<'a> {
    /// Creates the part of a reply in which other lists take `taken` bytes.
    fn new(activity: &'a Activity, group_by: &[String], taken: usize) -> Self {
        let by = (!group_by.is_empty()).then(|| counts_by(activity, group_by));
        let taken = taken + by.as_ref().map_or(0, json_bytes);
        let room = MAX_LIST_BYTES.saturating_sub(taken);
        let bytes = |stream: &ActiveStream| STREAM_BYTES + json_bytes(&stream.metadata);
        let streams = &activity.streams[..fitting(&activity.streams, room, bytes)];
        let bodies = streams.iter();
        Self {
            tenant: activity.key.tenant().into(),
            account: activity.key.account().into(),
            count: activity.count(),
            as_of: Rfc3339(activity.as_of),
            truncated: streams.len() < activity.count(),
            streams: bodies
                .map(|stream| StreamBody::new(stream, activity.as_of))
                .collect(),
            by,
        }
    }
}

/// Encodes the reply to a batch, with the news in the order of the events. Those beyond the bound of
/// a reply are omitted.
#[must_use]
pub fn batch(news: &[EventNews]) -> Encoded {
    let fitting = fitting(news, MAX_LIST_BYTES, |one| json_bytes(one) + 1);
    let body = Body::Batch {
        events: Cow::Borrowed(&news[..fitting]),
        truncated: fitting < news.len(),
    };
    encoded("batch", &body)
}

pub(super) fn encoded(kind: &'static str, body: &Body) -> Encoded {
    let body = bytes(body);
    Encoded { kind, body }
}

/// Encodes an answer, with counts by the metadata keys of `group_by`. `partition` is the partition of
/// the account, if it is known.
#[must_use]
pub fn answer(answer: &Answer, group_by: &[String], partition: Option<PartitionNumber>) -> Encoded {
    let ids_bytes = |ids: &[StreamId]| ids.len() * ID_BYTES;
    match answer {
        Answer::Opened {
            stream,
            heartbeat_every_ms,
            ttl_ms,
            replaced,
            activity,
        } => {
            let own = activity.stream(*stream);
            let expires_in_ms = own.map_or(0, |own| own.expires_in_ms);
            let body = Body::Opened {
                stream: *stream,
                heartbeat_every_ms: *heartbeat_every_ms,
                ttl_ms: *ttl_ms,
                expires_in_ms,
                expires_at: expires_at(activity.as_of, expires_in_ms),
                replaced: Cow::Borrowed(replaced),
                partition,
                activity: ActivityBody::new(activity, group_by, ids_bytes(replaced)),
            };
            encoded("opened", &body)
        }
        Answer::Refused {
            stream,
            refusal,
            activity,
        } => {
            let conflicts = refusal.conflicts.iter();
            let taken = conflicts.map(|conflict| ID_BYTES + ids_bytes(&conflict.streams));
            let body = Body::Refused {
                stream: *stream,
                refusal: Cow::Borrowed(refusal),
                partition,
                activity: ActivityBody::new(activity, group_by, taken.sum()),
            };
            encoded("refused", &body)
        }
        Answer::Status { activity, stream } => {
            let body = Body::Activity {
                stream: stream.map(|(id, _)| id),
                state: stream.map(|(_, state)| state),
                partition,
                activity: ActivityBody::new(activity, group_by, 0),
            };
            encoded("activity", &body)
        }
    }
}

/// Encodes an error.
#[must_use]
pub fn error(problem: &Problem) -> Encoded {
    let error = problem.clone();
    News::Error { error }.encode()
}
