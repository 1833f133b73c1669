//! Internal entries of a log, as JSON, so that an operator can read a log with any AMQP client.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Code, Problem, fields::is_zero, terms::TermsField};
use crate::domain::{
    AccountKey, CapacityChange, Entry, EntryId, Internal, LogTime, Metadata, Open, Reading,
    RequestId, Settings, StreamId, Tenant, WallTime,
};

#[derive(Serialize, Deserialize)]
struct Envelope<'a> {
    writer: u64,
    seq: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    clock: Option<Clock>,
    #[serde(borrow)]
    entry: Body<'a>,
}

#[derive(Serialize, Deserialize)]
struct Clock {
    estimate_ms: u64,
    wall_ms: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    candidate_from: Option<u64>,
    leads: bool,
    #[serde(default, skip_serializing_if = "is_zero")]
    unannounced: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    local_queue: Option<u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Body<'a> {
    Tick {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        settings: Option<Cow<'a, Settings>>,
    },
    Join {
        wall_ms: i64,
    },
    #[serde(borrow)]
    Open(OpenBody<'a>),
    Settings {
        settings: Cow<'a, Settings>,
        wall_ms: i64,
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
    stream: Uuid,
    request: Uuid,
    not_after_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_active: Option<u32>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    replace: Vec<Uuid>,
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
pub fn encode(entry_id: EntryId, reading: Option<&Reading>, internal: &Internal) -> Vec<u8> {
    let entry = match internal {
        Internal::Tick(settings) => Body::Tick {
            settings: settings.as_ref().map(Cow::Borrowed),
        },
        Internal::Join { wall } => Body::Join { wall_ms: wall.0 },
        Internal::Open(open) => Body::Open(OpenBody {
            tenant: open.key.tenant().into(),
            account: open.key.account().into(),
            stream: open.stream.0,
            request: open.request.0,
            not_after_ms: open.not_after.0,
            max_active: open.max_active,
            replace: open.replace.iter().map(|id| id.0).collect(),
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
            wall_ms: wall.0,
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
        clock: reading.map(|r| Clock {
            estimate_ms: r.estimate.0,
            wall_ms: r.wall.0,
            candidate_from: r.candidate_from,
            leads: r.leads,
            unannounced: r.unannounced,
            local_queue: r.local_queue,
        }),
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
        Body::Join { wall_ms } => Internal::Join {
            wall: WallTime(wall_ms),
        },
        Body::Open(open) => Internal::Open(Box::new(open.decode()?)),
        Body::Settings { settings, wall_ms } => Internal::Settings {
            settings: settings.into_owned(),
            wall: WallTime(wall_ms),
        },
        Body::Capacity { tenant, full } => Internal::Capacity(CapacityChange {
            tenant: tenant.map(|t| Tenant::new(&t)).transpose().map_err(limit)?,
            full,
        }),
        Body::Announced { up_to } => Internal::Announced { up_to },
    };
    Ok(Entry::Internal {
        entry_id: EntryId {
            writer: envelope.writer,
            seq: envelope.seq,
        },
        reading: envelope.clock.map(|c| Reading {
            estimate: LogTime(c.estimate_ms),
            wall: WallTime(c.wall_ms),
            candidate_from: c.candidate_from,
            leads: c.leads,
            unannounced: c.unannounced,
            local_queue: c.local_queue,
        }),
        body,
    })
}

impl OpenBody<'_> {
    fn decode(self) -> Result<Open, Problem> {
        let key = AccountKey::of(&self.tenant, &self.account).map_err(limit)?;
        let mut pairs = self.metadata;
        Ok(Open {
            key,
            stream: StreamId(self.stream),
            request: RequestId(self.request),
            not_after: LogTime(self.not_after_ms),
            max_active: self.max_active,
            replace: self.replace.into_iter().map(StreamId).collect(),
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
    use super::*;
    use crate::domain::{AccountId, Condition, GivenReason, Limit, OnLimit, Terms, Throttling};

    fn round_trip(reading: Option<Reading>, body: Internal) {
        let entry_id = EntryId {
            writer: u64::MAX,
            seq: 7,
        };
        let bytes = encode(entry_id, reading.as_ref(), &body);
        let entry = Entry::Internal {
            entry_id,
            reading,
            body,
        };
        assert_eq!(decode(&bytes), Ok(entry));
    }

    #[test]
    fn every_entry_survives_encoding_and_decoding() {
        let reading = Reading {
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
            round_trip(Some(reading), Internal::Open(Box::new(open)));
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
        round_trip(Some(reading), Internal::Tick(Some(settings.clone())));
        round_trip(Some(reading), Internal::Open(Box::new(open)));
        let wall = WallTime(1);
        round_trip(None, Internal::Settings { settings, wall });
        for tenant in [None, Some(tenant)] {
            let full = tenant.is_some();
            let change = CapacityChange { tenant, full };
            round_trip(Some(reading), Internal::Capacity(change));
        }
        let up_to = 1 << 40;
        round_trip(Some(reading), Internal::Announced { up_to });
    }

    #[test]
    fn an_entry_of_an_unknown_kind_is_rejected() {
        let body = br#"{"writer":1,"seq":1,"entry":{"merge":{}}}"#;
        assert_eq!(decode(body).unwrap_err().code, Code::BadJson);
        assert_eq!(decode(b"").unwrap_err().code, Code::BadJson);
    }
}
