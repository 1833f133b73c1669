//! Messages of lifecycle events.

use std::{borrow::Cow, collections::BTreeMap};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{BadReply, Notice, Rfc3339, message::DERIVED};
use crate::domain::{AccountKey, Announcement, ExpiryCause, LifecycleEventKind, StoppedReason};

/// The body of a message about a lifecycle event.
///
/// A repetition of an event has the same bytes, as the body depends neither on the time of
/// publication nor on the worker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LifecycleMessage<'a> {
    /// `opened`, `admitted`, `refused`, `stopped` or `expired`; later versions may add types.
    #[serde(rename = "type")]
    pub kind: Cow<'a, str>,
    /// The tenant.
    pub tenant: Cow<'a, str>,
    /// The account of the stream.
    pub account: Cow<'a, str>,
    /// The stream.
    pub stream: Uuid,
    /// The time of the event.
    pub at: Rfc3339,
    /// Number of the account's active streams after the event.
    pub count: u32,
    /// `opened`: whether an `init` was admitted; false if there were only heartbeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admitted: Option<bool>,
    /// `refused`, `stopped`: the reason; `expired`: `too_old`, if that is the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Cow<'a, str>>,
    /// `stopped`: the `reason` in the `stop`, or in the `init` of the successor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given_reason: Option<Cow<'a, str>>,
    /// `stopped`: the stream that replaced it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub successor: Option<Uuid>,
    /// `refused`: the limit in the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_active: Option<u32>,
    /// All but `refused`: the start of the stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Rfc3339>,
    /// `expired`: the last `init` or heartbeat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<Rfc3339>,
    /// The stream's metadata.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
}

/// Encodes a lifecycle event.
#[must_use]
pub fn announcement(announcement: &Announcement) -> Notice {
    let Announcement {
        offset,
        key,
        count,
        event,
    } = announcement;
    let kind = word(&event.kind);
    let pairs = event.metadata.pairs();
    let mut message = LifecycleMessage {
        kind: kind.into(),
        tenant: key.tenant().into(),
        account: key.account().into(),
        stream: event.stream.0,
        at: Rfc3339(event.at),
        count: *count,
        metadata: pairs.map(|(k, v)| (k.into(), v.into())).collect(),
        ..LifecycleMessage::default()
    };
    let mut distinct = offset.to_string();
    match &event.kind {
        LifecycleEventKind::Opened {
            admitted,
            started_at,
        } => {
            message.admitted = Some(*admitted);
            message.started_at = Some(Rfc3339(*started_at));
        }
        LifecycleEventKind::Admitted { started_at } => {
            message.started_at = Some(Rfc3339(*started_at));
        }
        LifecycleEventKind::Refused { reason, max_active } => {
            message.reason = Some(reason.as_str().into());
            message.max_active = *max_active;
        }
        LifecycleEventKind::Stopped {
            reason,
            started_at,
            successor,
            given,
        } => {
            message.reason = Some(reason.as_str().into());
            message.given_reason = given.as_ref().map(|given| given.as_str().into());
            message.successor = successor.map(|stream| stream.0);
            message.started_at = Some(Rfc3339(*started_at));
        }
        LifecycleEventKind::Expired {
            started_at,
            last_seen,
            cause,
        } => {
            message.started_at = Some(Rfc3339(*started_at));
            message.last_seen = Some(Rfc3339(*last_seen));
            match cause {
                ExpiryCause::Deadline(deadline) => distinct = deadline.0.to_string(),
                ExpiryCause::TooOld => {
                    let reason = StoppedReason::TooOld.as_str();
                    message.reason = Some(reason.into());
                    distinct = format!("{reason} {offset}");
                }
            }
        }
    }
    Notice {
        kind,
        routing_key: format!("{}.{kind}", key.tenant()),
        account: Some(key.account().to_owned()),
        message_id: Some(message_id(kind, key, event.stream.0, &distinct)),
        body: serde_json::to_vec(&message).expect("strings and numbers always encode"),
    }
}

const fn word(kind: &LifecycleEventKind) -> &'static str {
    match kind {
        LifecycleEventKind::Opened { .. } => "opened",
        LifecycleEventKind::Admitted { .. } => "admitted",
        LifecycleEventKind::Refused { .. } => "refused",
        LifecycleEventKind::Stopped { .. } => "stopped",
        LifecycleEventKind::Expired { .. } => "expired",
    }
}

/// Derives the id from all that distinguishes the event. This includes the account, as two accounts
/// may use one stream id and all streams that expire at a tick share its offset.
fn message_id(kind: &str, key: &AccountKey, stream: Uuid, distinct: &str) -> Uuid {
    let name = format!("lifecycle\0{kind}\0{}\0{stream}\0{distinct}", key.as_str());
    Uuid::new_v5(&DERIVED, name.as_bytes())
}

/// Decodes the body of a message about a lifecycle event. Unknown fields are ignored, and unknown
/// types are accepted.
///
/// # Errors
/// [`BadReply`] if the body has another format.
pub fn decode(body: &[u8]) -> Result<LifecycleMessage<'_>, BadReply> {
    serde_json::from_slice(body).map_err(BadReply::new)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::{
        AccountId, GivenReason, LifecycleEvent, LogTime, Metadata, RefusedReason, StreamId, Tenant,
        WallTime,
    };

    const STREAM: &str = "00000000-0000-0000-0000-000000000007";
    const STARTED: WallTime = WallTime(1_763_805_600_000);

    fn happened(kind: LifecycleEventKind, pairs: &mut [(&str, &str)]) -> Announcement {
        Announcement {
            offset: 12,
            key: AccountKey::new(
                &Tenant::new("acme").unwrap(),
                &AccountId::new("al\"ice/é").unwrap(),
            ),
            count: 2,
            event: LifecycleEvent {
                stream: StreamId(Uuid::from_u128(7)),
                at: WallTime(STARTED.0 + 1_500),
                kind,
                metadata: Metadata::new(pairs).unwrap(),
            },
        }
    }

    fn expired(deadline: u64) -> LifecycleEventKind {
        LifecycleEventKind::Expired {
            started_at: STARTED,
            last_seen: WallTime(STARTED.0 + 7),
            cause: ExpiryCause::Deadline(LogTime(deadline)),
        }
    }

    fn stopped() -> LifecycleEventKind {
        LifecycleEventKind::Stopped {
            reason: StoppedReason::Stopped,
            started_at: STARTED,
            successor: None,
            given: None,
        }
    }

    /// The common fields and those of this kind.
    fn body(kind: &str, more: Value) -> Value {
        let mut body = json!({
            "type": kind, "tenant": "acme", "account": "al\"ice/é", "stream": STREAM,
            "at": "2025-11-22T10:00:01.500Z", "count": 2,
        });
        let Value::Object(more) = more else {
            panic!("an object");
        };
        body.as_object_mut().unwrap().extend(more);
        body
    }

    #[test]
    fn every_kind_is_encoded_as_in_the_contract() {
        let started = "2025-11-22T10:00:00.000Z";
        let opened = LifecycleEventKind::Opened {
            admitted: true,
            started_at: STARTED,
        };
        let refused = |max_active| LifecycleEventKind::Refused {
            reason: RefusedReason::AccountCap,
            max_active,
        };
        let admitted = LifecycleEventKind::Admitted {
            started_at: STARTED,
        };
        let replaced = LifecycleEventKind::Stopped {
            reason: StoppedReason::Replaced,
            started_at: STARTED,
            successor: Some(StreamId(Uuid::from_u128(7))),
            given: GivenReason::new("moved").ok(),
        };
        let too_old = LifecycleEventKind::Expired {
            started_at: STARTED,
            last_seen: STARTED,
            cause: ExpiryCause::TooOld,
        };
        for (kind, word, more) in [
            (
                opened,
                "opened",
                json!({ "admitted": true, "started_at": started }),
            ),
            (
                refused(Some(2)),
                "refused",
                json!({ "reason": "account_cap", "max_active": 2 }),
            ),
            (refused(None), "refused", json!({ "reason": "account_cap" })),
            (admitted, "admitted", json!({ "started_at": started })),
            (
                replaced,
                "stopped",
                json!({
                    "reason": "replaced", "given_reason": "moved", "successor": STREAM,
                    "started_at": started,
                }),
            ),
            (
                stopped(),
                "stopped",
                json!({ "reason": "stopped", "started_at": started }),
            ),
            (
                too_old,
                "expired",
                json!({ "reason": "too_old", "started_at": started, "last_seen": started }),
            ),
            (
                expired(9),
                "expired",
                json!({ "started_at": started, "last_seen": "2025-11-22T10:00:00.007Z" }),
            ),
        ] {
            let notice = announcement(&happened(kind, &mut []));
            let message: Value = serde_json::from_slice(&notice.body).unwrap();
            assert_eq!(message, body(word, more));
            assert_eq!(notice.kind, word);
            assert_eq!(notice.routing_key, format!("acme.{word}"));
            assert_eq!(notice.account.as_deref(), Some("al\"ice/é"));
        }
    }

    #[test]
    fn metadata_is_encoded_and_can_be_decoded() {
        let notice = announcement(&happened(expired(9), &mut [("title", "é\n"), ("a", "b")]));
        let message = decode(&notice.body).unwrap();
        let pairs: Vec<_> = message.metadata.iter().map(|(k, v)| (&**k, &**v)).collect();
        assert_eq!(pairs, [("a", "b"), ("title", "é\n")]);
        assert_eq!(serde_json::to_vec(&message).unwrap(), notice.body);
    }

    #[test]
    fn an_unknown_type_is_decoded_and_another_format_is_rejected() {
        let later = body("paused", json!({ "since": [1] })).to_string();
        assert_eq!(decode(later.as_bytes()).unwrap().kind, "paused");
        for bad in ["", "[]", "{}", r#"{"type":"opened"}"#] {
            assert!(decode(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_event_has_one_id_and_another_event_another_id() {
        let first = happened(stopped(), &mut []);
        assert_eq!(announcement(&first), announcement(&first.clone()));

        let id = |a: &Announcement| announcement(a).message_id.unwrap();
        let mut others = vec![
            happened(expired(12), &mut []),
            happened(expired(13), &mut []),
        ];
        for change in [
            |a: &mut Announcement| a.offset = 13,
            |a: &mut Announcement| a.event.stream = StreamId(Uuid::from_u128(8)),
            |a: &mut Announcement| {
                let bob = AccountId::new("bob").unwrap();
                a.key = AccountKey::new(&Tenant::new("acme").unwrap(), &bob);
            },
        ] {
            let mut other = happened(stopped(), &mut []);
            change(&mut other);
            others.push(other);
        }
        let mut ids: Vec<_> = others.iter().map(id).collect();
        ids.push(id(&first));
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), others.len() + 1);

        // A replica with another start of the log derives the same expiry from the deadline.
        let mut expiry = happened(expired(12), &mut []);
        expiry.offset = 99;
        assert_eq!(id(&expiry), id(&others[0]));
    }

    #[test]
    fn message_ids_are_equal_in_all_versions() {
        let id = announcement(&happened(expired(9), &mut [])).message_id;
        assert_eq!(
            id.unwrap().to_string(),
            "39e6d06d-a8dd-527f-809a-68db1f2e348e"
        );
    }
}
