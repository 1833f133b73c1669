//! Internal entries of a log, as JSON, so that an operator can read a log with any AMQP client.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{Code, Problem, terms::TermsField};
use crate::domain::{
    AccountKey, CapacityChange, Entry, EntryId, Internal, InternalEntry, LogTime, Metadata, Open,
    RequestId, Settings, StreamId, Tenant, WallTime, WorkerState,
};

#[derive(Serialize, Deserialize)]
struct Envelope<'a> {
    writer: u64,
    seq: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    clock: Option<WorkerState>,
    #[serde(borrow)]
    entry: Body<'a>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Body<'a> {
    Tick {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        settings: Option<Cow<'a, Settings>>,
    },
    Join {
        wall_ms: WallTime,
    },
    #[serde(borrow)]
    Open(OpenBody<'a>),
    Settings {
        settings: Cow<'a, Settings>,
        wall_ms: WallTime,
    },
    Capacity {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tenant: Option<Cow<'a, str>>,
        full: bool,
    },
    Announced {
        up_to: u64,
    },
}

#[derive(Serialize, Deserialize)]
struct OpenBody<'a> {
    tenant: Cow<'a, str>,
    account: Cow<'a, str>,
    stream: StreamId,
    request: RequestId,
    not_after_ms: LogTime,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_active: Option<u32>,
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    replace: Cow<'a, [StreamId]>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    metadata: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    terms: Option<TermsField<'a>>,
}

/// The kind of an internal entry, for the AMQP property `type`, which is informational.
#[must_use]
pub const fn kind(internal: &Internal) -> &'static str {
    match internal {
        Internal::Tick(_) => "tick",
        Internal::Join { .. } => "join",
        Internal::Open(_) => "open",
        Internal::Settings { .. } => "settings",
        Internal::Capacity(_) => "capacity",
        Internal::Announced { .. } => "announced",
    }
}

/// Encodes an internal entry.
#[must_use]
pub fn encode(entry: &InternalEntry) -> Vec<u8> {
    let InternalEntry {
        entry_id,
        writer_state,
        body,
    } = entry;
    let entry = match body {
        Internal::Tick(settings) => Body::Tick {
            settings: settings.as_ref().map(Cow::Borrowed),
        },
        Internal::Join { wall } => Body::Join { wall_ms: *wall },
        Internal::Open(open) => Body::Open(OpenBody {
            tenant: open.key.tenant().into(),
            account: open.key.account().into(),
            stream: open.stream,
            request: open.request,
            not_after_ms: open.not_after,
            max_active: open.max_active,
            replace: Cow::Borrowed(&open.replace),
            metadata: open
                .metadata
                .pairs()
                .map(|(k, v)| (k.into(), v.into()))
                .collect(),
            terms: open
                .terms
                .as_deref()
                .map(|terms| TermsField(Cow::Borrowed(terms))),
        }),
        Internal::Settings { settings, wall } => Body::Settings {
            settings: Cow::Borrowed(settings),
            wall_ms: *wall,
        },
        Internal::Capacity(change) => Body::Capacity {
            tenant: change.tenant.as_ref().map(|t| t.as_str().into()),
            full: change.full,
        },
        Internal::Announced { up_to } => Body::Announced { up_to: *up_to },
    };
    let envelope = Envelope {
        writer: entry_id.writer,
        seq: entry_id.seq,
        clock: *writer_state,
        entry,
    };
    serde_json::to_vec(&envelope).expect("strings and numbers always encode")
}

/// Decodes an internal entry.
///
/// # Errors
/// `bad_json` for an unknown entry, `bad_field` for an exceeded limit.
pub fn decode(body: &[u8]) -> Result<Entry, Problem> {
    let unknown = |_| {
        Problem::new(
            Code::BadJson,
            "an entry from the default exchange has an unknown format",
        )
    };
    let envelope: Envelope = serde_json::from_slice(body).map_err(unknown)?;
    let body = match envelope.entry {
        Body::Tick { settings } => Internal::Tick(settings.map(Cow::into_owned)),
        Body::Join { wall_ms } => Internal::Join { wall: wall_ms },
        Body::Open(open) => Internal::Open(Box::new(open.decode()?)),
        Body::Settings { settings, wall_ms } => Internal::Settings {
            settings: settings.into_owned(),
            wall: wall_ms,
        },
        Body::Capacity { tenant, full } => Internal::Capacity(CapacityChange {
            tenant: tenant.map(|t| Tenant::new(&t)).transpose().map_err(limit)?,
            full,
        }),
        Body::Announced { up_to } => Internal::Announced { up_to },
    };
    Ok(Entry::Internal(InternalEntry {
        entry_id: EntryId {
            writer: envelope.writer,
            seq: envelope.seq,
        },
        writer_state: envelope.clock,
        body,
    }))
}

impl OpenBody<'_> {
    fn decode(self) -> Result<Open, Problem> {
        let key = AccountKey::of(&self.tenant, &self.account).map_err(limit)?;
        let mut pairs = self.metadata;
        Ok(Open {
            key,
            stream: self.stream,
            request: self.request,
            not_after: self.not_after_ms,
            max_active: self.max_active,
            replace: self.replace.into_owned(),
            metadata: Metadata::new(&mut pairs).map_err(limit)?,
            terms: self
                .terms
                .map(|TermsField(terms)| Box::new(terms.into_owned())),
        })
    }
}

fn limit(error: impl std::error::Error) -> Problem {
    Problem::new(Code::BadField, error.to_string())
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::{AccountId, Condition, GivenReason, Limit, OnLimit, Terms, Throttling};

    /// Logs keep entries across releases.
    #[test]
    fn entries_have_stable_bytes() {
        let id = |n| StreamId(Uuid::from_u128(n));
        let tenant = Tenant::new("acme").unwrap();
        let live = Condition {
            key: "kind".into(),
            values: vec!["live".into(), "1".into()],
        };
        let limit = Limit {
            max: 3,
            distinct: Some("device".into()),
            conditions: vec![live],
        };
        let open = Open {
            key: AccountKey::new(&tenant, &AccountId::new("al/ice").unwrap()),
            stream: id(7),
            request: RequestId(id(8).0),
            not_after: LogTime(99),
            max_active: Some(2),
            replace: vec![id(9)],
            metadata: Metadata::new(&mut [("device", "tv"), ("a", "1")]).unwrap(),
            terms: Some(Box::new(Terms {
                limits: vec![limit, Limit::of_all(1)],
                same: vec!["device".into()],
                on_limit: OnLimit::ReplaceOldest,
                reason: GivenReason::new("bye").ok(),
            })),
        };
        let bare = Open {
            max_active: None,
            replace: Vec::new(),
            metadata: Metadata::default(),
            terms: None,
            ..open.clone()
        };
        let writer_state = WorkerState {
            estimate: LogTime(12),
            wall: WallTime(-5),
            candidate_from: Some(4),
            leads: true,
            unannounced: 3,
            local_queue: Some(u64::MAX),
        };
        let short = WorkerState {
            candidate_from: None,
            leads: false,
            unannounced: 0,
            local_queue: None,
            ..writer_state
        };
        let capacity = |tenant, full| Internal::Capacity(CapacityChange { tenant, full });
        let wall = WallTime(-1);
        for (writer_state, body, json) in [
            (
                Some(writer_state),
                Internal::Open(Box::new(open)),
                r#""clock":{"estimate_ms":12,"wall_ms":-5,"candidate_from":4,"leads":true,"unannounced":3,"local_queue":18446744073709551615},"entry":{"open":{"tenant":"acme","account":"al/ice","stream":"00000000-0000-0000-0000-000000000007","request":"00000000-0000-0000-0000-000000000008","not_after_ms":99,"max_active":2,"replace":["00000000-0000-0000-0000-000000000009"],"metadata":[["a","1"],["device","tv"]],"terms":{"limits":[{"max":3,"distinct":"device","where":{"kind":["live","1"]}},{"max":1}],"same":["device"],"on_limit":"replace_oldest","reason":"bye"}}}"#,
            ),
            (
                Some(short),
                Internal::Open(Box::new(bare)),
                r#""clock":{"estimate_ms":12,"wall_ms":-5,"leads":false},"entry":{"open":{"tenant":"acme","account":"al/ice","stream":"00000000-0000-0000-0000-000000000007","request":"00000000-0000-0000-0000-000000000008","not_after_ms":99}}"#,
            ),
            (None, Internal::Tick(None), r#""entry":{"tick":{}}"#),
            (
                None,
                Internal::Join { wall },
                r#""entry":{"join":{"wall_ms":-1}}"#,
            ),
            (
                None,
                capacity(Some(tenant), true),
                r#""entry":{"capacity":{"tenant":"acme","full":true}}"#,
            ),
            (
                None,
                capacity(None, false),
                r#""entry":{"capacity":{"full":false}}"#,
            ),
            (
                None,
                Internal::Announced { up_to: 5 },
                r#""entry":{"announced":{"up_to":5}}"#,
            ),
        ] {
            let entry = InternalEntry {
                entry_id: EntryId { writer: 1, seq: 2 },
                writer_state,
                body,
            };
            let bytes = String::from_utf8(encode(&entry)).unwrap();
            assert_eq!(bytes, format!(r#"{{"writer":1,"seq":2,{json}}}"#));
            assert_eq!(decode(bytes.as_bytes()), Ok(Entry::Internal(entry)));
        }
    }

    fn round_trip(writer_state: Option<WorkerState>, body: Internal) {
        let entry_id = EntryId {
            writer: u64::MAX,
            seq: 7,
        };
        let entry = InternalEntry {
            entry_id,
            writer_state,
            body,
        };
        assert_eq!(decode(&encode(&entry)), Ok(Entry::Internal(entry)));
    }

    #[test]
    fn every_entry_survives_encoding_and_decoding() {
        let writer_state = WorkerState {
            estimate: LogTime(12),
            wall: WallTime(-5),
            candidate_from: Some(4),
            leads: true,
            unannounced: 3,
            local_queue: Some(u64::MAX),
        };
        let tenant = Tenant::new("acme").unwrap();
        let open = Open {
            key: AccountKey::new(&tenant, &AccountId::new("al\"ice/é").unwrap()),
            stream: StreamId::generate(),
            request: RequestId(Uuid::new_v4()),
            not_after: LogTime(99),
            max_active: Some(2),
            replace: vec![StreamId::generate()],
            metadata: Metadata::new(&mut [("device", "t\nv")]).unwrap(),
            terms: None,
        };
        let condition = |key: &str, value: &str| Condition {
            key: key.into(),
            values: vec![value.into(), "true".into()],
        };
        let limit = Limit {
            max: 3,
            distinct: Some("device".into()),
            conditions: vec![condition("z", "\"é\n"), condition("a", "1")],
        };
        let terms = Terms {
            limits: vec![limit, Limit::of_all(u32::MAX)],
            same: vec!["device".into(), "a\tb".into()],
            on_limit: OnLimit::ReplaceOldest,
            reason: GivenReason::new("\"bye\"").ok(),
        };
        for terms in [
            terms,
            Terms {
                same: vec!["x".into()],
                ..Terms::default()
            },
        ] {
            let open = Open {
                terms: Some(Box::new(terms)),
                ..open.clone()
            };
            round_trip(Some(writer_state), Internal::Open(Box::new(open)));
        }
        let settings = Settings {
            throttling: Throttling {
                account_inits_per_second: 5,
                ..Throttling::default()
            },
            ..Settings::default()
        };
        round_trip(None, Internal::Tick(None));
        let wall = WallTime(-1);
        round_trip(None, Internal::Join { wall });
        round_trip(Some(writer_state), Internal::Tick(Some(settings.clone())));
        round_trip(Some(writer_state), Internal::Open(Box::new(open)));
        let wall = WallTime(1);
        round_trip(None, Internal::Settings { settings, wall });
        for tenant in [None, Some(tenant)] {
            let full = tenant.is_some();
            let change = CapacityChange { tenant, full };
            round_trip(Some(writer_state), Internal::Capacity(change));
        }
        let up_to = 1 << 40;
        round_trip(Some(writer_state), Internal::Announced { up_to });
    }

    #[test]
    fn an_entry_of_an_unknown_kind_is_rejected() {
        let body = br#"{"writer":1,"seq":1,"entry":{"merge":{}}}"#;
        assert_eq!(decode(body).unwrap_err().code, Code::BadJson);
        assert_eq!(decode(b"").unwrap_err().code, Code::BadJson);
    }
}
