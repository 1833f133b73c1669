//! Messages from players and backends, decoded and checked.

use std::{fmt, num::NonZeroU32};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use uuid::Uuid;

use super::{
    Code, Kind, Message, Problem, internal,
    message::{Text, missing},
};
use crate::domain::{
    AccountKey, Consistency, Entry, InitRequest, MAX_GROUP_BY, MAX_KEY_BYTES, MAX_PAIRS,
    MAX_REPLACED, Metadata, RequestId, StatusRequest, StreamId,
};

/// The body of a heartbeat.
#[derive(Deserialize)]
struct HeartbeatBody<'a> {
    #[serde(borrow)]
    account: Option<Text<'a>>,
    stream: Option<Uuid>,
    heartbeat_every_ms: Option<NonZeroU32>,
    metadata: Option<MetadataField>,
}

/// The body of a stop.
#[derive(Deserialize)]
struct StopBody<'a> {
    #[serde(borrow)]
    account: Option<Text<'a>>,
    stream: Option<Uuid>,
}

/// The body of an init.
#[derive(Deserialize)]
struct InitBody<'a> {
    #[serde(borrow)]
    account: Option<Text<'a>>,
    stream: Option<Uuid>,
    metadata: Option<MetadataField>,
    max_active: Option<NonZeroU32>,
    replace: Option<Vec<Uuid>>,
    group_by: Option<Vec<String>>,
}

/// The body of a status.
#[derive(Deserialize)]
struct StatusBody<'a> {
    #[serde(borrow)]
    account: Option<Text<'a>>,
    stream: Option<Uuid>,
    group_by: Option<Vec<String>>,
    #[serde(borrow)]
    consistency: Option<Text<'a>>,
}

/// The body of any message, as far as its partition goes.
#[derive(Deserialize)]
struct AccountBody<'a> {
    #[serde(borrow)]
    account: Option<Text<'a>>,
}

/// Returns the account of a message of any kind, which its header `account` must contain.
///
/// # Errors
/// Errors of the routing key, the body as a whole and its account.
pub fn account(message: &Message) -> Result<AccountKey, Problem> {
    let key = message.key(&Kind::ALL)?;
    let body: AccountBody = message.json()?;
    message.account_key(&key, body.account.as_ref())
}

/// Decodes an entry of a log.
///
/// # Errors
/// Errors of heartbeats and stops; `bad_json` for an internal entry of an unknown kind.
pub fn entry(message: &Message) -> Result<Entry, Problem> {
    // Only the default exchange reaches the log directly, and players may not publish to it.
    // Headers, types and bodies can be forged; the exchange is the broker's word.
    if message.exchange.is_empty() && !message.undecodable {
        return internal::decode(message.body);
    }
    let key = message.key(&[Kind::Heartbeat, Kind::Stop])?;
    if key.kind == Kind::Stop {
        let body: StopBody = message.json()?;
        return Ok(Entry::Stop {
            key: message.account_key(&key, body.account.as_ref())?,
            stream: StreamId(body.stream.ok_or_else(|| missing("stream"))?),
        });
    }
    let body: HeartbeatBody = message.json()?;
    Ok(Entry::Heartbeat {
        key: message.account_key(&key, body.account.as_ref())?,
        stream: StreamId(body.stream.ok_or_else(|| missing("stream"))?),
        every_ms: body.heartbeat_every_ms.map(NonZeroU32::get),
        metadata: body.metadata.map(|m| m.0),
    })
}

/// Decodes a request to open a stream.
///
/// # Errors
/// Errors of an `init`.
pub fn init(message: &Message) -> Result<InitRequest, Problem> {
    let key = message.key(&[Kind::Init])?;
    let body: InitBody = message.json()?;
    let key = message.account_key(&key, body.account.as_ref())?;
    // Without any id, a repetition cannot be recognized, so each request counts.
    let stream = body
        .stream
        .or_else(|| message.derived_id("stream", &key))
        .unwrap_or_else(Uuid::now_v7);
    let replace = body.replace.unwrap_or_default();
    // Clients that number their requests begin again at 1: another question is another request.
    let asked = format!("request {stream} {:?} {replace:?}", body.max_active);
    let request = message
        .derived_id(&asked, &key)
        .unwrap_or_else(Uuid::new_v4);
    if replace.len() > MAX_REPLACED {
        return Err(bad("replace", "at most 16 streams can be replaced at once"));
    }
    if replace.contains(&stream) {
        return Err(bad("replace", "a stream cannot replace itself"));
    }
    Ok(InitRequest {
        key,
        stream: StreamId(stream),
        request: RequestId(request),
        max_active: body.max_active.map(NonZeroU32::get),
        replace: replace.into_iter().map(StreamId).collect(),
        metadata: body.metadata.map(|m| m.0).unwrap_or_default(),
        group_by: group_by(body.group_by)?,
    })
}

/// Decodes a question about an account.
///
/// # Errors
/// Errors of a `status`.
pub fn status(message: &Message) -> Result<StatusRequest, Problem> {
    let key = message.key(&[Kind::Status])?;
    let body: StatusBody = message.json()?;
    Ok(StatusRequest {
        key: message.account_key(&key, body.account.as_ref())?,
        stream: body.stream.map(StreamId),
        group_by: group_by(body.group_by)?,
        consistency: match body.consistency.as_ref().map(AsRef::as_ref) {
            Some("local") | None => Consistency::Local,
            Some("strong") => Consistency::Strong,
            Some(_) => return Err(bad("consistency", "local or strong")),
        },
    })
}

fn group_by(keys: Option<Vec<String>>) -> Result<Vec<String>, Problem> {
    let keys = keys.unwrap_or_default();
    let fits = |key: &String| (1..=MAX_KEY_BYTES).contains(&key.len());
    if keys.len() > MAX_GROUP_BY || !keys.iter().all(fits) {
        return Err(bad("group_by", "at most 16 metadata keys of 1 to 64 bytes"));
    }
    // The reply names each once: JSON leaves open what a repeated name means.
    let mut once = Vec::with_capacity(keys.len());
    for key in keys {
        if !once.contains(&key) {
            once.push(key);
        }
    }
    Ok(once)
}

fn bad(field: &'static str, message: &'static str) -> Problem {
    Problem::field(Code::BadField, field, message)
}

/// Metadata, refused at the first pair too many.
struct MetadataField(Metadata);

impl<'de> Deserialize<'de> for MetadataField {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct Pairs;

        impl<'de> Visitor<'de> for Pairs {
            type Value = Metadata;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str(
                    "an object of at most 16 strings, keys of 1 to 64 bytes, values of at most 256",
                )
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Metadata, A::Error> {
                let mut pairs: Vec<(Text<'de>, Text<'de>)> = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                    if pairs.len() > MAX_PAIRS {
                        break;
                    }
                }
                Metadata::new(&mut pairs)
                    .map_err(|_| serde::de::Error::invalid_value(serde::de::Unexpected::Map, &self))
            }
        }

        json.deserialize_map(Pairs).map(Self)
    }
}

impl AsRef<str> for Text<'_> {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
