mod metadata;
mod terms;

use super::*;
use crate::{
    domain::{Condition, GivenReason, Limit, Metadata, MetadataPatch, OnLimit, Stop},
    wire::{AccountHeader, Code},
};

const ID: &str = "0192f0c1-0000-7000-8000-000000000001";

fn message<'a>(routing_key: &'a str, body: &'a [u8]) -> Message<'a> {
    Message {
        exchange: "streamwatch",
        routing_key,
        body,
        ..Message::default()
    }
}

fn refused_entry(routing_key: &str, body: &str) -> (Code, Option<String>) {
    let problem = entry(&message(routing_key, body.as_bytes())).unwrap_err();
    (problem.code, problem.field.map(Into::into))
}

fn refused_init(body: &str) -> (Code, Option<String>) {
    let problem = init(&message("acme.init", body.as_bytes())).unwrap_err();
    (problem.code, problem.field.map(Into::into))
}

fn field(code: Code, name: &str) -> (Code, Option<String>) {
    (code, Some(name.to_owned()))
}

#[test]
fn a_heartbeat_is_decoded_and_unknown_fields_are_ignored() {
    let body = format!(
        r#"{{"later":[[{{}}]],"account":"al\u0069ce","stream":"{ID}","heartbeat_every_ms":30000,"metadata":{{"device":"tv"}}}}"#
    );
    let Ok(Entry::Player {
        key,
        event: PlayerEvent::Heartbeat(heartbeat),
    }) = entry(&message("acme.heartbeat", body.as_bytes()))
    else {
        panic!("not a heartbeat");
    };
    assert_eq!((key.tenant(), key.account()), ("acme", "alice"));
    assert_eq!(heartbeat.stream.to_string(), ID);
    assert_eq!(heartbeat.every_ms, Some(30_000));
    let metadata = heartbeat.metadata.unwrap();
    assert!(metadata.is_strings());
    assert_eq!(metadata.set().unwrap().get("device"), Some("tv"));
}

#[test]
fn invalid_json_and_invalid_fields_have_different_codes() {
    let beat = "acme.heartbeat";
    let bad_json = (Code::BadJson, None);
    for body in [
        "",
        "  ",
        "nonsense",
        "{",
        "[]",
        "\"x\"",
        "{} {}",
        "{\"account\":\"\u{1}\"}",
    ] {
        assert_eq!(refused_entry(beat, body), bad_json, "{body}");
    }
    let deep = "[".repeat(10_000);
    assert_eq!(refused_entry(beat, &deep), bad_json);
    let inside = format!("{{\"account\":{deep}");
    assert!(matches!(
        refused_entry(beat, &inside).0,
        Code::BadJson | Code::BadField
    ));
    let not_utf8 = entry(&message(beat, b"{\"account\":\"\xff\"}")).unwrap_err();
    assert_eq!(not_utf8.code, Code::BadJson);
    assert_eq!(
        refused_entry(beat, &" ".repeat(16 * 1024 + 1)),
        (Code::TooLarge, None)
    );
}

#[test]
fn a_bad_field_is_named() {
    let beat = "acme.heartbeat";
    let missing = |body: &str| refused_entry(beat, body);
    assert_eq!(missing("{}"), field(Code::MissingField, "account"));
    assert_eq!(
        missing(r#"{"account":"alice"}"#),
        field(Code::MissingField, "stream")
    );
    assert_eq!(
        missing(r#"{"account":7}"#),
        field(Code::BadField, "account")
    );
    assert_eq!(
        missing(r#"{"account":""}"#),
        field(Code::BadField, "account")
    );
    assert_eq!(
        missing(r#"{"account":"alice","stream":"none"}"#),
        field(Code::BadField, "stream")
    );
}

#[test]
fn an_init_beyond_a_limit_is_rejected() {
    let with = |extra: &str| format!(r#"{{"account":"alice","stream":"{ID}",{extra}}}"#);
    let many = |n: usize| vec![format!("\"{}\"", Uuid::new_v4()); n].join(",");
    for (extra, name) in [
        (r#""max_active":0"#.to_owned(), "max_active"),
        (r#""max_active":-1"#.to_owned(), "max_active"),
        (r#""max_active":"2""#.to_owned(), "max_active"),
        (format!(r#""replace":["{ID}"]"#), "replace"),
        (format!(r#""replace":[{}]"#, many(17)), "replace"),
        (r#""group_by":[""]"#.to_owned(), "group_by"),
        (format!(r#""group_by":[{}]"#, many(17)), "group_by"),
    ] {
        assert_eq!(
            refused_init(&with(&extra)),
            field(Code::BadField, name),
            "{extra}"
        );
    }
    let body = with(&format!(r#""replace":[{}]"#, many(16)));
    assert!(init(&message("acme.init", body.as_bytes())).is_ok());
}

#[test]
fn key_and_header_must_agree_with_the_body() {
    let body = format!(r#"{{"account":"alice","stream":"{ID}"}}"#);
    let with = |routing_key, account| {
        entry(&Message {
            account,
            ..message(routing_key, body.as_bytes())
        })
        .map_err(|p| p.code)
    };
    let absent = AccountHeader::Absent;
    assert!(with("acme.stop.alice", absent).is_ok());
    assert!(with("acme.stop.%61lice", AccountHeader::Text(b"alice")).is_ok());
    for (key, header) in [
        ("acme.stop.bob", absent),
        ("acme.stop.alice.x", absent),
        ("acme.stop", AccountHeader::Text(b"bob")),
        ("acme.stop", AccountHeader::NotText),
    ] {
        assert_eq!(with(key, header), Err(Code::AccountMismatch), "{key}");
    }
}

#[test]
fn only_the_default_exchange_can_publish_internal_entries() {
    let tick = br#"{"writer":1,"seq":1,"entry":{"tick":{}}}"#;
    assert_eq!(
        refused_entry("acme.heartbeat", std::str::from_utf8(tick).unwrap()),
        field(Code::MissingField, "account")
    );
    let internal = Message {
        exchange: "",
        ..message("streamwatch.p00.log", tick)
    };
    assert!(matches!(entry(&internal), Ok(Entry::Internal(_))));
}

#[test]
fn every_delivery_of_a_request_without_an_id_gets_the_same_id() {
    let ask = |account: &str, message_id: Option<&str>, reply_to, correlation_id: Option<&str>| {
        let body = format!(r#"{{"account":"{account}"}}"#);
        init(&Message {
            message_id: message_id.map(str::as_bytes),
            reply_to,
            correlation_id: correlation_id.map(str::as_bytes),
            ..message("acme.init", body.as_bytes())
        })
        .unwrap()
    };
    let by_message = ask("alice", Some("m"), None, None);
    assert_eq!(by_message, ask("alice", Some("m"), Some("r"), Some("c")));
    assert_ne!(by_message.stream, ask("bob", Some("m"), None, None).stream);
    let by_reply = ask("alice", None, Some("r"), Some("c"));
    assert_eq!(by_reply, ask("alice", None, Some("r"), Some("c")));
    assert_ne!(by_reply.stream, by_message.stream);
    assert_ne!(by_reply.stream.0, by_reply.request.0);
    // A request can be repeated while workers are upgraded.
    assert_eq!(
        by_message.stream.0.to_string(),
        "bf01b6de-ee31-5e92-8843-1115778a0d2a"
    );
    assert_eq!(
        by_reply.stream.0.to_string(),
        "5c185e02-eba6-5a3a-8552-a3cbbf03d912"
    );
    assert_ne!(
        ask("alice", None, None, None),
        ask("alice", None, None, None)
    );
}

#[test]
fn an_id_of_a_request_may_be_any_bytes() {
    let ask = |message_id| {
        init(&Message {
            message_id: Some(message_id),
            ..message("acme.init", br#"{"account":"alice"}"#)
        })
    };
    assert_eq!(ask(b"\xff\0"), ask(b"\xff\0"));
    assert_ne!(ask(b"\xff\0"), ask(b"\xff\x01"));
}

#[test]
fn a_status_is_local_unless_it_asks_for_more() {
    let ask = |extra: &str| {
        let body = format!(r#"{{"account":"alice"{extra}}}"#);
        let asked = query(&message("acme.status", body.as_bytes()));
        match asked {
            Ok(Query::Account(status)) => Ok(status.query.consistency),
            Ok(Query::Tenant(request)) => panic!("{request:?}"),
            Err(problem) => Err((problem.code, problem.field)),
        }
    };
    let bad = Err((Code::BadField, Some("consistency".into())));
    assert_eq!(ask(""), Ok(Consistency::Local));
    assert_eq!(ask(r#","consistency":"local""#), Ok(Consistency::Local));
    assert_eq!(ask(r#","consistency":"strong""#), Ok(Consistency::Strong));
    assert_eq!(ask(r#","consistency":"linear""#), bad);
    assert_eq!(ask(r#","consistency":7"#), bad);
}

#[test]
fn a_request_with_other_limits_is_another_request_even_with_the_same_ids() {
    let ask = |stream: u128, max_active: u32| {
        let stream = Uuid::from_u128(stream);
        let body =
            format!(r#"{{"account":"alice","stream":"{stream}","max_active":{max_active}}}"#);
        let asked = init(&Message {
            reply_to: Some("r"),
            correlation_id: Some(b"1"),
            ..message("acme.init", body.as_bytes())
        });
        asked.unwrap().request
    };
    assert_eq!(ask(1, 2), ask(1, 2));
    assert_ne!(ask(1, 2), ask(2, 2));
    assert_ne!(ask(1, 2), ask(1, 3));
}

#[test]
fn a_whole_number_may_be_written_with_a_point_and_an_exponent() {
    let read = |number: &str| {
        let body = format!(r#"{{"account":"alice","max_active":{number}}}"#);
        init(&message("acme.init", body.as_bytes()))
            .unwrap()
            .max_active
    };
    assert_eq!(read("2.0"), Some(2));
    assert_eq!(read("2e0"), Some(2));
    assert_eq!(read("4294967295.0"), Some(u32::MAX));
    assert_eq!(read("null"), None);
}

#[test]
fn a_stop_ends_one_stream_or_all_with_a_reason() {
    let stop = |fields: &str| {
        let body = format!(r#"{{"account":"alice",{fields}}}"#);
        match entry(&message("acme.stop", body.as_bytes())) {
            Ok(Entry::Player {
                event: PlayerEvent::Stop(stop),
                ..
            }) => Ok(stop),
            Ok(other) => panic!("{other:?}"),
            Err(problem) => Err((problem.code, problem.field.map(Into::into))),
        }
    };
    let stream = StreamId(ID.parse().unwrap());
    let one = format!(r#""stream":"{ID}""#);
    assert_eq!(stop(&one), Ok(Stop::of(stream)));
    assert_eq!(stop(&format!(r#"{one},"all":false"#)), Ok(Stop::of(stream)));
    let all = stop(r#""all":true,"reason":"account closed""#);
    let reason = GivenReason::new("account closed").ok();
    assert_eq!(all, Ok(Stop::of_all(reason)));
    assert_eq!(
        stop(r#""all":false"#),
        Err(field(Code::MissingField, "stream"))
    );
    let both = stop(&format!(r#"{one},"all":true"#));
    assert_eq!(both, Err(field(Code::BadField, "all")));
    // A bad reason never costs the stop.
    for reason in ["7", "\"\"", "\"a\\nb\"", &format!("\"{}\"", "x".repeat(65))] {
        let fields = format!(r#""all":true,"reason":{reason}"#);
        assert!(
            PlayerEvent::from(stop(&fields).unwrap()).ignores_reason(),
            "{reason}"
        );
        let body = format!(r#"{{"account":"alice",{fields}}}"#);
        let problem = crate::wire::ignored(&message("acme.stop", body.as_bytes()), None);
        assert_eq!(
            (problem.field.as_deref(), &*problem.message),
            (
                Some("reason"),
                "must be 1 to 64 bytes of UTF-8 without control characters, not another string; \
                 the stop counts, its reason is ignored"
            )
        );
    }
}
