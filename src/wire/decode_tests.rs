use super::*;
use crate::{
    domain::{Condition, GivenReason, Limit, Metadata, MetadataPatch, OnLimit},
    wire::AccountHeader,
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
    let Ok(Entry::Heartbeat { key, heartbeat }) =
        entry(&message("acme.heartbeat", body.as_bytes()))
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
    assert!(matches!(entry(&internal), Ok(Entry::Internal { .. })));
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
        let asked = status(&message("acme.status", body.as_bytes()));
        asked.map(|s| s.consistency).map_err(|p| (p.code, p.field))
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

/// The metadata of a heartbeat with this field.
fn patch(metadata: &str) -> MetadataPatch {
    let body = format!(r#"{{"account":"alice","stream":"{ID}","metadata":{metadata}}}"#);
    match entry(&message("acme.heartbeat", body.as_bytes())) {
        Ok(Entry::Heartbeat { heartbeat, .. }) => heartbeat.metadata.unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn numbers_and_booleans_are_kept_as_their_json_text() {
    let json =
        r#"{"a":1,"b":-2.50,"c":1e3,"d":true,"e":false,"f":"x\u0041","g":12345678901234567890123}"#;
    let patch = patch(json);
    assert!(!patch.is_strings());
    let pairs: Vec<_> = patch.set().unwrap().pairs().collect();
    let expected = [
        ("a", "1"),
        ("b", "-2.50"),
        ("c", "1e3"),
        ("d", "true"),
        ("e", "false"),
        ("f", "xA"),
        ("g", "12345678901234567890123"),
    ];
    assert_eq!(pairs, expected);
    let body = format!(r#"{{"account":"alice","metadata":{json}}}"#);
    let init = init(&message("acme.init", body.as_bytes())).unwrap();
    assert_eq!(init.metadata, *patch.set().unwrap());
}

#[test]
fn null_removes_a_key_and_an_empty_array_changes_nothing() {
    let patch_of = patch(r#"{"state":null,"device":"tv"}"#);
    assert_eq!(patch_of.removed(), ["state".into()]);
    assert_eq!(patch_of.set().unwrap().get("device"), Some("tv"));
    let empty = patch("[]");
    assert_eq!(empty.apply(&Metadata::default()), Ok(None));
    for metadata in ["[]", "{}", r#"{"state":null}"#, "null"] {
        let body = format!(r#"{{"account":"alice","metadata":{metadata}}}"#);
        let init = init(&message("acme.init", body.as_bytes())).unwrap();
        assert!(init.metadata.is_empty(), "{metadata}");
    }
}

#[test]
fn a_heartbeat_with_bad_metadata_counts_and_its_sender_gets_the_reason() {
    let many: Vec<_> = (0..17).map(|i| format!("\"{i}\":\"\"")).collect();
    let object = "must be an object of at most 16 strings, numbers or booleans with keys of 1 to \
                  64 bytes and values of at most 256 bytes, not";
    let value = "each value must be a string, a number or a boolean, not";
    for (metadata, reason) in [
        ("7".to_owned(), format!("{object} a number")),
        ("\"x\"".to_owned(), format!("{object} a string")),
        ("true".to_owned(), format!("{object} a boolean")),
        ("[1]".to_owned(), format!("{object} an array")),
        (r#"{"a":[]}"#.to_owned(), format!("{value} an array")),
        (
            r#"{"b":1,"a":{"x":[]},"c":1}"#.to_owned(),
            format!("{value} an object"),
        ),
        (
            r#"{"a":"\ud800"}"#.to_owned(),
            format!("{value} another value"),
        ),
        (
            r#"{"a":"1","a":2}"#.to_owned(),
            format!("{object} one with a duplicate key"),
        ),
        (
            r#"{"a":null,"a":2}"#.to_owned(),
            format!("{object} one with a duplicate key"),
        ),
        (
            r#"{"":null}"#.to_owned(),
            format!("{object} one with an empty or a longer key"),
        ),
        (
            format!("{{\"a\":{}}}", "1".repeat(257)),
            format!("{object} one with a longer value"),
        ),
        (
            format!("{{{}}}", many.join(",")),
            format!("{object} one of more values"),
        ),
    ] {
        assert_eq!(patch(&metadata), MetadataPatch::Invalid, "{metadata}");
        let body = format!(r#"{{"account":"alice","stream":"{ID}","metadata":{metadata}}}"#);
        let problem = crate::wire::ignored(&message("acme.heartbeat", body.as_bytes()), None);
        let expected = format!("{reason}; the heartbeat counts, its metadata is ignored");
        assert_eq!(problem.message, expected, "{metadata}");
        assert_eq!(problem.field.as_deref(), Some("metadata"));
    }
    // Its stream has too many pairs by then.
    let body = format!(r#"{{"account":"alice","stream":"{ID}","metadata":{{"a":1}}}}"#);
    let problem = crate::wire::ignored(&message("acme.heartbeat", body.as_bytes()), None);
    assert!(
        problem
            .message
            .starts_with("must keep the stream's metadata at 16 pairs")
    );
}

#[test]
fn a_stop_ends_one_stream_or_all_with_a_reason() {
    let stop = |fields: &str| {
        let body = format!(r#"{{"account":"alice",{fields}}}"#);
        match entry(&message("acme.stop", body.as_bytes())) {
            Ok(Entry::Stop { stop, .. }) => Ok(stop),
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
        assert!(stop(&fields).unwrap().ignores_reason(), "{reason}");
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

/// The terms of an `init` with these fields.
fn terms(fields: &str) -> Result<Option<Terms>, String> {
    let body = format!(r#"{{"account":"alice","stream":"{ID}",{fields}}}"#);
    match init(&message("acme.init", body.as_bytes())) {
        Ok(init) => Ok(init.terms.map(|terms| *terms)),
        Err(problem) => {
            let field = problem.field.unwrap_or_default();
            Err(format!("{field}: {}", problem.message))
        }
    }
}

#[test]
fn the_terms_of_an_init_are_decoded() {
    let all = r#""limits":[{"max":2},{"max":3,"distinct":"device","where":{"kind":["live",1,true]}}],
                 "same":["device","app"],"on_limit":"replace_oldest","reason":"moved""#;
    let condition = Condition {
        key: "kind".into(),
        values: ["live", "1", "true"].map(Into::into).into(),
    };
    let limit = Limit {
        max: 3,
        distinct: Some("device".into()),
        conditions: vec![condition],
    };
    let expected = Terms {
        limits: vec![Limit::of_all(2), limit],
        same: vec!["device".into(), "app".into()],
        on_limit: OnLimit::ReplaceOldest,
        reason: GivenReason::new("moved").ok(),
    };
    assert_eq!(terms(all), Ok(Some(expected)));
    for none in [
        r#""limits":[],"same":[]"#,
        r#""limits":null,"on_limit":"refuse""#,
        r#""max_active":2"#,
    ] {
        assert_eq!(terms(none), Ok(None), "{none}");
    }
}

#[test]
fn bad_terms_get_the_expected_form() {
    let limits = |one: &str| format!(r#""limits":[{one}]"#);
    let keys = |n: usize| vec!["\"a\""; n].join(",");
    let nine = [r#"{"max":1}"#; 9].join(",");
    let five_keys: Vec<_> = (0..5).map(|n| format!("\"{n}\":[1]")).collect();
    let conditions = "must be an object of at most 4 metadata keys with arrays of 1 to 16 values, \
                      not one";
    let whole = "must be a whole number from 1 to 4294967295, not";
    let long = "must be 1 to 64 bytes, not an empty or a longer one";
    for (fields, reason) in [
        (
            limits(&nine),
            "limits: must be an array of at most 8 limits, not a longer one".to_owned(),
        ),
        (
            limits("{}"),
            "limits: each element must have max".to_owned(),
        ),
        (
            limits("7"),
            "limits: each element must be an object, not a number".to_owned(),
        ),
        (
            limits("[1,null,null]"),
            "limits: each element must be an object, not an array".to_owned(),
        ),
        (
            limits(r#"{"max":0}"#),
            format!("limits: each element {whole} zero"),
        ),
        (
            limits(r#"{"max":1,"wher":{}}"#),
            "limits: each element has an unknown key".to_owned(),
        ),
        (
            limits(r#"{"max":1,"distinct":""}"#),
            format!("limits: each metadata key {long}"),
        ),
        (
            limits(&format!(
                r#"{{"max":1,"where":{{{}}}}}"#,
                five_keys.join(",")
            )),
            format!("limits: each element {conditions} of more keys"),
        ),
        (
            limits(r#"{"max":1,"where":{"a":[]}}"#),
            format!("limits: each element {conditions} with fewer or more values"),
        ),
        (
            limits(r#"{"max":1,"where":{"a":[1],"a":[2]}}"#),
            format!("limits: each element {conditions} with a duplicate key"),
        ),
        (
            limits(r#"{"max":1,"where":{"a":"live"}}"#),
            "limits: each element must be an array, not a string".to_owned(),
        ),
        (
            limits(r#"{"max":1,"where":{"a":[null]}}"#),
            "limits: each element must be a string, a number or a boolean, not null".to_owned(),
        ),
        (
            format!(r#""max_active":1,{}"#, limits(r#"{"max":1}"#)),
            r#"limits: must not be beside max_active, which is {"max": N} as one of the limits"#
                .to_owned(),
        ),
        (
            format!(r#""same":[{}]"#, keys(5)),
            "same: must be an array of at most 4 metadata keys, not a longer one".to_owned(),
        ),
        (
            r#""same":[""]"#.to_owned(),
            format!("same: each metadata key {long}"),
        ),
        (
            r#""on_limit":"oldest""#.to_owned(),
            "on_limit: must be refuse or replace_oldest, not another string".to_owned(),
        ),
        (
            r#""reason":"a\tb""#.to_owned(),
            "reason: must be 1 to 64 bytes of UTF-8 without control characters, not another string"
                .to_owned(),
        ),
    ] {
        assert_eq!(terms(&fields), Err(reason), "{fields}");
    }
}

#[test]
fn a_request_with_other_terms_is_another_request_even_with_the_same_ids() {
    let ask = |terms: &str| {
        let body = format!(r#"{{"account":"alice","stream":"{ID}"{terms}}}"#);
        let asked = init(&Message {
            message_id: Some(b"1"),
            ..message("acme.init", body.as_bytes())
        });
        asked.unwrap().request
    };
    let all = [
        "",
        r#","limits":[{"max":1}]"#,
        r#","limits":[{"max":2}]"#,
        r#","limits":[{"max":2,"where":{"a":[1]}}]"#,
        r#","same":["device"]"#,
        r#","on_limit":"replace_oldest""#,
    ];
    let ids: std::collections::HashSet<_> = all.iter().map(|terms| ask(terms)).collect();
    assert_eq!(ids.len(), all.len());
    assert_eq!(ask(r#","reason":"x""#), ask(r#","reason":"y""#));
}
