//! Decoding of batches.
//!
//! A batch whose events are all valid is decoded in one pass, with fields borrowed from the body.
//! If that fails, each event is decoded alone, so that an invalid one is rejected alone.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{
    AccountHeader, Code, Message, Problem, RoutingKey,
    amqp_value::unwrapped,
    diagnosis::diagnose,
    fields::{Object, ReasonField, Text, UuidField, Whole, WholeNumber, not},
    gzip::{GZIP, decompress},
    message::{bad, missing},
    metadata_field::PatchField,
    shared_fields::{stop_of, stream_id},
};
use crate::domain::{AccountKey, Batch, BatchEvent, Heartbeat, MAX_BATCH_EVENTS, PlayerEvent};

/// Maximum size of the body of a batch, in bytes.
pub const MAX_BATCH_BYTES: usize = 128 * 1024;

#[derive(Deserialize)]
#[serde(bound(deserialize = "E: Deserialize<'de>"))]
struct BatchBody<E> {
    partition: Option<Whole<0, { u16::MAX as u32 }>>,
    partitions: Option<Whole<1, { u16::MAX as u32 }>>,
    events: Option<Events<E>>,
}

#[derive(Deserialize)]
struct EventBody<'a> {
    #[serde(borrow)]
    kind: Option<Text<'a>>,
    #[serde(borrow)]
    account: Option<Text<'a>>,
    stream: Option<UuidField>,
    heartbeat_every_ms: Option<WholeNumber>,
    metadata: Option<PatchField>,
    all: Option<bool>,
    reason: Option<ReasonField>,
}

/// An array of events, rejected at the first event too many.
struct Events<E>(Vec<E>);

/// The events of a batch, and the position and problem of each rejected one.
struct Decoded {
    partition: u16,
    partitions: Option<u16>,
    events: Vec<BatchEvent>,
    rejected: Vec<(u16, Problem)>,
}

/// Decodes a batch. Invalid events are rejected alone.
pub(super) fn batch(message: &Message, key: &RoutingKey) -> Result<Batch, Problem> {
    let decoded = decode(message, key)?;
    let rejected = decoded.rejected.iter();
    let reasons = rejected.map(|(_, problem)| problem.code.number()).collect();
    let (partition, partitions) = (decoded.partition, decoded.partitions);
    Ok(Batch::new(partition, partitions, decoded.events, reasons))
}

/// Returns the position and the problem of each rejected event of a batch.
///
/// # Errors
/// If the batch is rejected as a whole.
pub fn rejected_events(message: &Message) -> Result<Vec<(u16, Problem)>, Problem> {
    let key = message.key(&[super::Kind::Batch])?;
    Ok(decode(message, &key)?.rejected)
}

/// Applies `read` to the JSON of the event at `index`.
pub(super) fn with_event<T>(
    message: &Message,
    index: u16,
    read: impl FnOnce(&[u8]) -> T,
) -> Option<T> {
    let body = plain_body(message).ok()?;
    let Object(body) = serde_json::from_slice::<Object<BatchBody<&RawValue>>>(&body).ok()?;
    let Events(events) = body.events?;
    let event = events.get(usize::from(index))?;
    Some(read(event.get().as_bytes()))
}

/// Returns the account of the first valid event, which routes a batch without a header.
pub(super) fn first_account(message: &Message, key: &RoutingKey) -> Result<AccountKey, Problem> {
    let decoded = decode(message, key)?;
    let first = decoded.events.into_iter().next().map(|event| event.key);
    first.ok_or_else(|| bad("events", "must contain a valid event"))
}

fn decode(message: &Message, key: &RoutingKey) -> Result<Decoded, Problem> {
    if key.account.is_some() {
        let reason = "the routing key of a batch names no account";
        return Err(Problem::new(Code::AccountMismatch, reason));
    }
    if matches!(message.account, AccountHeader::NotText) {
        let reason = "the header account must be a string: any account of the partition";
        return Err(Problem::field(Code::AccountMismatch, "account", reason));
    }
    let body = plain_body(message)?;
    let bad_body = || diagnose::<BatchBody<IgnoredAny>>(&body);
    // Checking the whole body at once is faster than each of its strings.
    let json = std::str::from_utf8(&body).map_err(|_| bad_body())?;
    if let Ok(Object(body)) = serde_json::from_str::<Object<BatchBody<Object<EventBody>>>>(json) {
        return body.decode(|event| event_of(key.tenant, event.0));
    }
    match serde_json::from_str::<Object<BatchBody<&RawValue>>>(json) {
        Ok(Object(body)) => body.decode(|event| event_alone(key.tenant, event)),
        Err(_) => Err(bad_body()),
    }
}

/// The JSON text of a batch, without an AMQP 1.0 section or compression around it.
fn plain_body<'a>(message: &Message<'a>) -> Result<Cow<'a, [u8]>, Problem> {
    let body = unwrapped(message.body)?;
    if body.len() > MAX_BATCH_BYTES {
        let reason = "the body of a batch is larger than 128 KiB";
        return Err(Problem::new(Code::TooLarge, reason));
    }
    if message.content_encoding == Some(GZIP) {
        return decompress(body).map(Cow::Owned);
    }
    Ok(Cow::Borrowed(body))
}

impl<E> BatchBody<E> {
    fn decode(self, event: impl Fn(E) -> Result<BatchEvent, Problem>) -> Result<Decoded, Problem> {
        let Self {
            partition,
            partitions,
            events,
        } = self;
        let Events(bodies) = events.ok_or_else(|| missing("events"))?;
        let mut decoded = Decoded {
            partition: partition.ok_or_else(|| missing("partition"))?.get_u16(),
            partitions: partitions.map(Whole::get_u16),
            events: Vec::with_capacity(bodies.len()),
            rejected: Vec::new(),
        };
        for (index, body) in (0..).zip(bodies) {
            match event(body) {
                Ok(event) => decoded.events.push(BatchEvent { index, ..event }),
                Err(problem) => decoded.rejected.push((index, problem)),
            }
        }
        Ok(decoded)
    }
}

fn event_of(tenant: &str, body: EventBody) -> Result<BatchEvent, Problem> {
    let Text(kind) = body.kind.ok_or_else(|| missing("kind"))?;
    let is_stop = match &*kind {
        "heartbeat" => false,
        "stop" => true,
        _ => return Err(bad("kind", "must be heartbeat or stop, not another string")),
    };
    let Text(account) = body.account.ok_or_else(|| missing("account"))?;
    let key = AccountKey::of(tenant, &account)
        .map_err(|e| Problem::field(Code::BadField, "account", e.to_string()))?;
    let event = if is_stop {
        PlayerEvent::Stop(stop_of(body.stream, body.all, body.reason)?)
    } else {
        PlayerEvent::Heartbeat(Heartbeat {
            stream: stream_id(body.stream)?,
            every_ms: body.heartbeat_every_ms.map(|n| n.0),
            metadata: body.metadata.map(|m| m.0),
        })
    };
    Ok(BatchEvent {
        index: 0,
        key,
        event,
    })
}

/// Decodes an event without those around it.
pub(super) fn event_alone(tenant: &str, event: &RawValue) -> Result<BatchEvent, Problem> {
    let json = event.get();
    if !json.starts_with('{') {
        let reason = "each element must be an object, not another value";
        return Err(bad("events", reason));
    }
    let body = serde_json::from_str(json);
    event_of(
        tenant,
        body.map_err(|_| diagnose::<EventBody>(json.as_bytes()))?,
    )
}

impl<'de, E: Deserialize<'de>> Deserialize<'de> for Events<E> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct Elements<E>(Vec<E>);

        impl<'de, E: Deserialize<'de>> Visitor<'de> for Elements<E> {
            type Value = Vec<E>;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                write!(f, "an array of at most {MAX_BATCH_EVENTS} events")
            }

            fn visit_seq<A: SeqAccess<'de>>(mut self, mut array: A) -> Result<Vec<E>, A::Error> {
                while let Some(element) = array.next_element()? {
                    if self.0.len() == MAX_BATCH_EVENTS {
                        return Err(not("a longer one", &self));
                    }
                    self.0.push(element);
                }
                Ok(self.0)
            }
        }

        json.deserialize_seq(Elements(Vec::new())).map(Self)
    }
}

#[cfg(test)]
#[path = "batch_tests.rs"]
mod tests;
