//! Decoding and validation of messages from players and backends.

use std::fmt::Write;

use serde::Deserialize;
use uuid::Uuid;

use super::{
    Kind, Message, Problem, RoutingKey, batch,
    fields::{Object, ReasonField, Text, UuidField, WholeNumber},
    internal,
    message::{at_most, bad},
    metadata_field::{MetadataField, PatchField},
    shared_fields::{group_by, stop_of, stream_id},
    tenant,
    terms::{LimitBody, TermsBody},
};
use crate::domain::{
    AccountKey, Consistency, Entry, Heartbeat, InitRequest, MAX_REPLACED, PlayerEvent, RequestId,
    StatusQuery, StatusRequest, StreamId, TenantRequest, Terms,
};

/// A request of a status queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// A `status`.
    Account(StatusRequest),
    /// A request about a tenant.
    Tenant(TenantRequest),
}

#[derive(Deserialize)]
pub(super) struct HeartbeatBody<'a> {
    #[serde(borrow)]
    pub(super) account: Option<Text<'a>>,
    pub(super) stream: Option<UuidField>,
    pub(super) heartbeat_every_ms: Option<WholeNumber>,
    pub(super) metadata: Option<PatchField>,
}

#[derive(Deserialize)]
struct StopBody<'a> {
    #[serde(borrow)]
    account: Option<Text<'a>>,
    stream: Option<UuidField>,
    all: Option<bool>,
    reason: Option<ReasonField>,
}

#[derive(Deserialize)]
pub(super) struct InitBody<'a> {
    #[serde(borrow)]
    pub(super) account: Option<Text<'a>>,
    pub(super) stream: Option<UuidField>,
    metadata: Option<MetadataField>,
    max_active: Option<WholeNumber>,
    replace: Option<Vec<UuidField>>,
    #[serde(borrow)]
    limits: Option<Vec<Object<LimitBody<'a>>>>,
    #[serde(borrow)]
    same: Option<Vec<Text<'a>>>,
    #[serde(borrow)]
    on_limit: Option<Text<'a>>,
    #[serde(borrow)]
    reason: Option<Text<'a>>,
    #[serde(borrow)]
    group_by: Option<Vec<Text<'a>>>,
}

#[derive(Deserialize)]
struct StatusBody<'a> {
    #[serde(borrow)]
    account: Option<Text<'a>>,
    stream: Option<UuidField>,
    #[serde(borrow)]
    group_by: Option<Vec<Text<'a>>>,
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
        return Ok(Entry::Player {
            key: message.account_key(&key, body.account.as_ref())?,
            event: stop_of(body.stream, body.all, body.reason)?.into(),
        });
    }
    let body: HeartbeatBody = message.json()?;
    Ok(Entry::Player {
        key: message.account_key(&key, body.account.as_ref())?,
        event: PlayerEvent::Heartbeat(Heartbeat {
            stream: stream_id(body.stream)?,
            every_ms: body.heartbeat_every_ms.map(|n| n.0),
            metadata: body.metadata.map(|m| m.0),
        }),
    })
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
    let replace = body
        .replace
        .map_or_else(Vec::new, |ids| ids.into_iter().map(|id| id.0).collect());
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
    at_most(MAX_REPLACED, "UUIDs", "replace", replace.len())?;
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

/// Decodes a request of a status queue: a `status`, an `accounts` or a `totals`.
///
/// # Errors
/// Errors of these requests.
pub fn query(message: &Message) -> Result<Query, Problem> {
    let key = message.key(&[Kind::Status, Kind::Accounts, Kind::Totals])?;
    match key.kind {
        Kind::Accounts => tenant::accounts(message, &key).map(Query::Tenant),
        Kind::Totals => tenant::totals(message, &key).map(Query::Tenant),
        _ => status(message, &key).map(Query::Account),
    }
}

fn status(message: &Message, key: &RoutingKey) -> Result<StatusRequest, Problem> {
    let body: StatusBody = message.json()?;
    Ok(StatusRequest {
        key: message.account_key(key, body.account.as_ref())?,
        query: StatusQuery {
            stream: body.stream.map(|id| StreamId(id.0)),
            group_by: group_by(body.group_by)?,
            consistency: match body.consistency {
                None => Consistency::default(),
                Some(Text(word)) => Consistency::from_word(&word).ok_or_else(|| {
                    bad("consistency", "must be local or strong, not another string")
                })?,
            },
        },
    })
}

#[cfg(test)]
mod tests;
