//! The baseline: serde decodes the body into a plain struct, and a moka cache holds one boxed value
//! per account, as in moka's documentation.

use std::collections::BTreeMap;
use std::sync::Arc;

use compact_str::CompactString;
use moka::sync::Cache;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::corpus::{self, Bodies};

#[derive(Deserialize)]
pub struct Body<'a> {
    pub account: &'a str,
    pub stream: Uuid,
}

/// A body with metadata.
#[derive(Deserialize)]
#[allow(dead_code, reason = "each field is parsed, as a worker must")]
struct BodyWithMetadata<'a> {
    account: &'a str,
    stream: Uuid,
    #[serde(borrow)]
    metadata: BTreeMap<&'a str, &'a str>,
}

/// The bytes that are kept of a stream, and nothing else. An `Arc` is moka's box: what it holds
/// must be cheap to clone.
#[derive(Clone, Serialize, Deserialize)]
pub struct Value {
    pub stream: Uuid,
    pub started_at: i64,
    pub last_seen: u64,
    pub ttl_ms: u32,
    pub admitted: bool,
    pub metadata: Box<str>,
}

impl Value {
    /// The value in as few bytes as possible.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.stream.as_bytes().to_vec();
        bytes.extend_from_slice(&self.started_at.to_le_bytes());
        bytes.extend_from_slice(&self.last_seen.to_le_bytes());
        bytes.extend_from_slice(&self.ttl_ms.to_le_bytes());
        bytes.push(self.admitted.into());
        bytes.extend_from_slice(self.metadata.as_bytes());
        bytes
    }
}

pub type Bare = Cache<CompactString, Arc<Value>>;

pub fn decode(body: &[u8]) -> Body<'_> {
    serde_json::from_slice(body).expect("a heartbeat")
}

/// The keys of streamwatch, looked up as they are in the body, without concatenation. They are in
/// the order in which streams start.
pub fn filled(streams: usize) -> Bare {
    let bare = Cache::builder().build();
    for n in corpus::shuffled(0..streams, corpus::FIRST) {
        bare.insert(key(n), Arc::new(value(n, corpus::CHANNELS)));
    }
    bare.run_pending_tasks();
    bare
}

pub fn key(n: usize) -> CompactString {
    CompactString::from(corpus::account(n))
}

pub fn value(n: usize, channels: usize) -> Value {
    let metadata = corpus::metadata(n, channels)
        .map(|(k, v)| format!("{k}\0{v}\0"))
        .concat();
    Value {
        stream: corpus::stream(n),
        started_at: 1,
        last_seen: 1,
        ttl_ms: 90_000,
        admitted: true,
        metadata: metadata.into(),
    }
}

/// Looks up each account, and reads its value.
pub fn get(bare: &Bare, account: &str) {
    let value = bare.get(account).expect("it is there");
    std::hint::black_box(value.last_seen);
}

/// Decodes bodies with metadata.
pub fn decode_all_metadata(bodies: &Bodies) {
    for body in bodies.iter() {
        let body = serde_json::from_slice::<BodyWithMetadata>(body).expect("a heartbeat");
        std::hint::black_box(body);
    }
}

pub fn decode_all(bodies: &Bodies) {
    for body in bodies.iter() {
        std::hint::black_box(decode(body).stream);
    }
}
