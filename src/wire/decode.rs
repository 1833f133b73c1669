//! Decoding and validation of messages from players and backends.

use std::fmt::Write;

use serde::Deserialize;
use uuid::Uuid;

use super::{
    Code, Kind, Message, Problem, batch,
    fields::{Array, Id, Object, ReasonField, Text, WholeNumber},
    internal,
    message::missing,
    metadata_field::{MetadataField, PatchField},
    terms::{LimitBody, TermsBody},
};
use crate::domain::{
    AccountKey, Consistency, Entry, Heartbeat, InitRequest, MAX_GROUP_BY, MAX_KEY_BYTES,
    MAX_REPLACED, RequestId, StatusRequest, Stop, StopTarget, StreamId, Terms,
};

/// The body of a heartbeat.
#[derive(Deserialize)]
pub(super) struct HeartbeatBody<'a> {
    #[serde(borrow)]
    pub(super) account: Option<Text<'a>>,
    pub(super) stream: Option<Id>,
    pub(super) heartbeat_every_ms: Option<WholeNumber>,
    pub(super) metadata: Option<PatchField>,
}

/// The body of a stop.
#[derive(Deserialize)]
struct StopBody<'a> {
    #[serde(borrow)]
    account: Option<Text<'a>>,
    stream: Option<Id>,
    all: Option<bool>,
    reason: Option<ReasonField>,
}

/// The body of an init.
#[derive(Deserialize)]
pub(super) struct InitBody<'a> {
    #[serde(borrow)]
    pub(super) account: Option<Text<'a>>,
    pub(super) stream: Option<Id>,
    metadata: Option<MetadataField>,
    max_active: Option<WholeNumber>,
    replace: Option<Array<Id>>,
    #[serde(borrow)]
    limits: Option<Array<Object<LimitBody<'a>>>>,
    #[serde(borrow)]
    same: Option<Array<Text<'a>>>,
    #[serde(borrow)]
    on_limit: Option<Text<'a>>,
    #[serde(borrow)]
    reason: Option<Text<'a>>,
    #[serde(borrow)]
    group_by: Option<Array<Text<'a>>>,
}

/// The body of a status.
#[derive(Deserialize)]
struct StatusBody<'a> {
    #[serde(borrow)]
    account: Option<Text<'a>>,
    stream: Option<Id>,
    #[serde(borrow)]
    group_by: Option<Array<Text<'a>>>,
    #[serde(borrow)]
    consistency: Option<Text<'a>>,
}

/// The field of a body that selects the partition.
#[derive(Deserialize)]
struct AccountBody<'a> {
    #[serde(borrow)]
    account: Option<Text<'a>>,
}

/// Returns the account of a message of any kind, which its header `account` must contain: of a
/// batch, that of its first valid event.
///
/// # Errors
/// Errors of the routing key, the body as a whole and its account.
pub fn account(message: &Message) -> Result<AccountKey, Problem> {
    let key = message.key(&Kind::ALL)?;
    if key.kind == Kind::Batch {
        return batch::first_account(message, &key);
    }
    let body: AccountBody = message.json()?;
    message.account_key(&key, body.account.as_ref())
}

/// Decodes an entry of a log.
///
/// # Errors
/// Errors of heartbeats, stops and whole batches; `bad_json` for an internal entry of an unknown kind.
pub fn entry(message: &Message) -> Result<Entry, Problem> {
    // Internal entries are published to the default exchange, which players may not use. The
    // broker sets the exchange, while headers, types and bodies can be forged.
    if message.exchange.is_empty() && !message.undecodable {
        return internal::decode(message.body);
    }
    let key = message.key(&[Kind::Heartbeat, Kind::Stop, Kind::Batch])?;
    if key.kind == Kind::Batch {
        return batch::batch(message, &key).map(Entry::Batch);
    }
    if key.kind == Kind::Stop {
        let body: StopBody = message.json()?;
        return Ok(Entry::Stop {
            key: message.account_key(&key, body.account.as_ref())?,
            stop: stop_of(body.stream, body.all, body.reason)?,
        });
    }
    let body: HeartbeatBody = message.json()?;
    Ok(Entry::Heartbeat {
        key: message.account_key(&key, body.account.as_ref())?,
        heartbeat: Heartbeat {
            stream: stream_id(body.stream)?,
            every_ms: body.heartbeat_every_ms.map(|n| n.0),
            metadata: body.metadata.map(|m| m.0),
        },
    })
}

/// The stop of a stream, or of all with `all`.
pub(super) fn stop_of(
    stream: Option<Id>,
    all: Option<bool>,
    reason: Option<ReasonField>,
) -> Result<Stop, Problem> {
    let is_all = all == Some(true);
    if is_all && stream.is_some() {
        return Err(bad("all", "must not be true beside stream"));
    }
    let target = if is_all {
        StopTarget::All
    } else {
        StopTarget::One(stream_id(stream)?)
    };
    let reason = reason.map(|field| field.0);
    Ok(Stop { target, reason })
}

/// Decodes an `init`.
///
/// # Errors
/// Errors of an `init`.
pub fn init(message: &Message) -> Result<InitRequest, Problem> {
    let key = message.key(&[Kind::Init])?;
    let body: InitBody = message.json()?;
    let key = message.account_key(&key, body.account.as_ref())?;
    init_of_body(message, key, body)
}

pub(super) fn init_of_body(
    message: &Message,
    key: AccountKey,
    body: InitBody,
) -> Result<InitRequest, Problem> {
    // Without any id, a repetition cannot be recognized, so each request counts.
    let stream = body
        .stream
        .map(|id| id.0)
        .or_else(|| message.derived_id("stream", &key))
        .unwrap_or_else(Uuid::now_v7);
    let max_active = body.max_active.map(|n| n.0);
    let replace = body.replace.map_or_else(Vec::new, |Array(ids)| {
        ids.into_iter().map(|id| id.0).collect()
    });
    let terms = TermsBody {
        limits: body.limits,
        same: body.same,
        on_limit: body.on_limit,
        reason: body.reason,
    };
    let terms = terms.decode()?;
    if max_active.is_some() && terms.as_ref().is_some_and(|terms| !terms.limits.is_empty()) {
        let message = "must not be beside max_active, which is {\"max\": N} as one of the limits";
        return Err(bad("limits", message));
    }
    // Clients that number their requests restart at 1: a request with other limits is another one.
    let mut content = format!("request {stream} {max_active:?} {replace:?}");
    if let Some(Terms {
        limits,
        same,
        on_limit,
        reason: _,
    }) = terms.as_deref()
    {
        let _ = write!(content, " {limits:?} {same:?} {on_limit:?}");
    }
    let request = message
        .derived_id(&content, &key)
        .unwrap_or_else(Uuid::new_v4);
    if replace.len() > MAX_REPLACED {
        let message = "must be an array of at most 16 UUIDs, not a longer one";
        return Err(bad("replace", message));
    }
    if replace.contains(&stream) {
        let message = "must be the UUIDs of other streams, not of the request's own stream";
        return Err(bad("replace", message));
    }
    Ok(InitRequest {
        key,
        stream: StreamId(stream),
        request: RequestId(request),
        max_active,
        replace: replace.into_iter().map(StreamId).collect(),
        metadata: body.metadata.map(|m| m.0).unwrap_or_default(),
        terms,
        group_by: group_by(body.group_by)?,
    })
}

/// Decodes a `status`.
///
/// # Errors
/// Errors of a `status`.
pub fn status(message: &Message) -> Result<StatusRequest, Problem> {
    let key = message.key(&[Kind::Status])?;
    let body: StatusBody = message.json()?;
    Ok(StatusRequest {
        key: message.account_key(&key, body.account.as_ref())?,
        stream: body.stream.map(|id| StreamId(id.0)),
        group_by: group_by(body.group_by)?,
        consistency: match body.consistency.as_ref().map(AsRef::as_ref) {
            Some("local") | None => Consistency::Local,
            Some("strong") => Consistency::Strong,
            Some(_) => {
                let message = "must be local or strong, not another string";
                return Err(bad("consistency", message));
            }
        },
    })
}

pub(super) fn stream_id(field: Option<Id>) -> Result<StreamId, Problem> {
    field
        .map(|id| StreamId(id.0))
        .ok_or_else(|| missing("stream"))
}

/// Checks the keys, and omits duplicates: they are keys of an object in the reply.
pub(super) fn group_by(keys: Option<Array<Text>>) -> Result<Vec<String>, Problem> {
    let keys = keys.map(|array| array.0).unwrap_or_default();
    if keys.len() > MAX_GROUP_BY {
        let message = "must be an array of at most 16 metadata keys, not a longer one";
        return Err(bad("group_by", message));
    }
    let mut different: Vec<String> = Vec::with_capacity(keys.len());
    for Text(key) in keys {
        if !(1..=MAX_KEY_BYTES).contains(&key.len()) {
            let message = "each element must be a metadata key of 1 to 64 bytes, not an empty or \
                           a longer one";
            return Err(bad("group_by", message));
        }
        if !different.iter().any(|other| *other == key) {
            different.push(key.into_owned());
        }
    }
    Ok(different)
}

pub(super) fn bad(field: &'static str, message: &'static str) -> Problem {
    Problem::field(Code::BadField, field, message)
}

#[cfg(test)]
mod tests;
