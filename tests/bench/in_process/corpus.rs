//! The messages: heartbeats in random order, of one stream per account.

use std::ops::Range;

use streamwatch::wire::{AccountHeader, Message};
use uuid::Uuid;

pub const TENANT: &str = "acme";
const ROUTING_KEY: &str = "acme.heartbeat";

/// The account of stream `n`.
pub fn account(n: usize) -> String {
    format!("viewer-{n:07}")
}

pub fn stream(n: usize) -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, &n.to_le_bytes())
}

pub fn metadata(n: usize, channels: usize) -> [(&'static str, String); 3] {
    [
        ("application", "tv-app 4.7".into()),
        ("channel", format!("sports-{}", n % channels)),
        ("device", ["tv", "phone", "tablet", "web"][n % 4].into()),
    ]
}

/// Default number of watched channels.
pub const CHANNELS: usize = 50;

/// The body of a stream's first heartbeat, with metadata.
pub fn first(n: usize, channels: usize) -> String {
    let pairs = metadata(n, channels)
        .map(|(k, v)| format!(r#""{k}":"{v}""#))
        .join(",");
    format!(
        r#"{{"account":"{}","stream":"{}","metadata":{{{pairs}}}}}"#,
        account(n),
        stream(n)
    )
}

/// The body of a later heartbeat.
pub fn later(n: usize) -> String {
    heartbeat(n, n)
}

/// The body of a heartbeat without metadata.
pub fn heartbeat(of: usize, n: usize) -> String {
    format!(
        r#"{{"account":"{}","stream":"{}"}}"#,
        account(of),
        stream(n)
    )
}

/// A batch of later heartbeats of accounts of the only partition.
pub fn batch(of: &[usize]) -> String {
    batch_of(of.iter().map(|&n| later(n)))
}

/// A batch of streams' first heartbeats, with metadata.
pub fn first_batch(of: &[usize], channels: usize) -> String {
    batch_of(of.iter().map(|&n| first(n, channels)))
}

fn batch_of(heartbeats: impl Iterator<Item = String>) -> String {
    let events = heartbeats.map(|body| body.replacen('{', r#"{"kind":"heartbeat","#, 1));
    let events = events.collect::<Vec<_>>().join(",");
    format!(r#"{{"partition":0,"partitions":1,"events":[{events}]}}"#)
}

/// A heartbeat of a player that uses this interval from now on.
pub fn later_every(n: usize, every_ms: u128) -> String {
    format!(
        r#"{{"account":"{}","stream":"{}","heartbeat_every_ms":{every_ms}}}"#,
        account(n),
        stream(n)
    )
}

/// Bodies in contiguous memory, in the order in which they are read, as in a socket's buffer.
pub struct Bodies {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    header: Range<usize>,
}

impl Bodies {
    /// The first heartbeats of all streams, with their metadata.
    pub fn first(streams: usize) -> Self {
        Self::first_of(0..streams, CHANNELS)
    }

    /// The first heartbeats of some streams, with this number of channels.
    pub fn first_of(streams: Range<usize>, channels: usize) -> Self {
        Self::of(shuffled(streams, FIRST), |n| first(n, channels))
    }

    /// Later heartbeats, one of every stream.
    pub fn later(streams: usize) -> Self {
        Self::of(shuffled(0..streams, LATER), later)
    }

    fn of(order: Vec<usize>, body: impl Fn(usize) -> String) -> Self {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for n in order {
            bytes.extend_from_slice(body(n).as_bytes());
            ends.push(bytes.len());
        }
        let begin = r#"{"account":""#.len();
        let header = begin..begin + account(0).len();
        Self {
            bytes,
            ends,
            header,
        }
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut begin = 0;
        self.ends
            .iter()
            .map(move |&end| &self.bytes[std::mem::replace(&mut begin, end)..end])
    }

    /// The messages as delivered by a broker, with the header that selects the partition.
    pub fn messages(&self) -> impl Iterator<Item = Message<'_>> {
        self.iter().map(|body| Message {
            exchange: "streamwatch",
            routing_key: ROUTING_KEY,
            account: AccountHeader::Text(&body[self.header.clone()]),
            body,
            ..Message::default()
        })
    }
}

/// Batches of later heartbeats, one of every stream.
pub struct Batches(Vec<String>);

impl Batches {
    pub fn later(streams: usize, size: usize) -> Self {
        let order = shuffled(0..streams, LATER);
        Self(order.chunks(size).map(batch).collect())
    }

    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(String::as_bytes)
    }

    /// The messages as delivered by a broker.
    pub fn messages(&self) -> impl Iterator<Item = Message<'_>> {
        self.iter().map(|body| Message {
            exchange: "streamwatch",
            routing_key: "acme.batch",
            account: AccountHeader::Text(b"viewer-0000000"),
            body,
            ..Message::default()
        })
    }
}

/// Seeds of the order in which streams start and of later heartbeats. They differ, because equal
/// orders would favour the processor's cache.
pub const FIRST: u64 = 1;
pub const LATER: u64 = 2;

/// Shuffles deterministically by `seed`.
pub fn shuffled(streams: Range<usize>, seed: u64) -> Vec<usize> {
    let mut order: Vec<_> = streams.collect();
    fastrand::Rng::with_seed(seed).shuffle(&mut order);
    order
}
