use super::*;
use crate::wire::{MAX_BODY_BYTES, Message, account, entry, ignored, init, query, rejected_events};

const JSON: &[u8] = br#"{"account":"alice","stream":"0192f0c1-0000-7000-8000-000000000001"}"#;

fn joined(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// `json` as an `amqp-value` section, in each encoding that a client can choose.
fn wrapped(json: &[u8]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let long = u32::try_from(json.len()).unwrap().to_be_bytes();
    for descriptor in [
        &b"\0\x53\x77"[..],
        b"\0\x80\0\0\0\0\0\0\0\x77",
        b"\0\xa3\x11amqp:amqp-value:*",
    ] {
        for constructor in [&b"\xb0"[..], b"\xb1"] {
            all.push(joined(&[descriptor, constructor, &long, json]));
        }
        if let Ok(short) = u8::try_from(json.len()) {
            for constructor in [&b"\xa0"[..], b"\xa1"] {
                all.push(joined(&[descriptor, constructor, &[short], json]));
            }
        }
    }
    all
}

fn message<'a>(routing_key: &'a str, body: &'a [u8]) -> Message<'a> {
    Message {
        exchange: "streamwatch",
        routing_key,
        body,
        ..Message::default()
    }
}

#[test]
fn a_string_or_binary_decodes_as_the_json_that_it_contains() {
    assert_eq!(wrapped(JSON).len(), 12);
    for body in wrapped(JSON) {
        assert_eq!(unwrapped(&body), Ok(JSON), "{}", body.escape_ascii());
        for key in ["acme.heartbeat", "acme.stop"] {
            let plain = entry(&message(key, JSON));
            assert_eq!(entry(&message(key, &body)), plain);
            assert!(plain.is_ok());
        }
        let plain = init(&message("acme.init", JSON)).unwrap();
        let found = init(&message("acme.init", &body)).unwrap();
        assert_eq!((found.key, found.stream), (plain.key, plain.stream));
        let plain = query(&message("acme.status", JSON));
        assert_eq!(query(&message("acme.status", &body)), plain);
        assert_eq!(
            account(&message("acme.init", &body)).unwrap().account(),
            "alice"
        );
    }
}

#[test]
fn a_batch_decodes_as_the_json_that_it_contains() {
    let events: Vec<_> = (0..900)
        .map(|n| {
            format!(
                r#"{{"kind":"stop","account":"{n}","stream":"0192f0c1-0000-7000-8000-000000000001"}}"#
            )
        })
        .collect();
    let json = format!(r#"{{"partition":0,"events":[{},7]}}"#, events.join(","));
    for body in wrapped(json.as_bytes()) {
        let plain = entry(&message("acme.batch", json.as_bytes()));
        let wrapped = message("acme.batch", &body);
        assert_eq!(entry(&wrapped), plain);
        assert_eq!(rejected_events(&wrapped).unwrap().len(), 1);
        assert_eq!(account(&wrapped).unwrap().account(), "0");
    }
}

#[test]
fn the_limit_of_a_body_is_that_of_its_content() {
    let padding = " ".repeat(MAX_BODY_BYTES - JSON.len());
    let largest = joined(&[JSON, padding.as_bytes()]);
    for body in wrapped(&largest) {
        assert!(entry(&message("acme.heartbeat", &body)).is_ok());
    }
    for body in wrapped(&joined(&[&largest, b" "])) {
        let problem = entry(&message("acme.heartbeat", &body)).unwrap_err();
        assert_eq!(problem.code, Code::TooLarge);
    }
}

#[test]
fn the_sender_of_ignored_metadata_gets_the_reason_as_for_plain_json() {
    let json = br#"{"account":"alice","metadata":{"a":[]}}"#;
    let problem = ignored(&message("acme.heartbeat", json), None);
    assert!(problem.message.starts_with("each value must be"));
    for body in wrapped(json) {
        let found = ignored(&message("acme.heartbeat", &body), None);
        assert_eq!(found, problem, "{}", body.escape_ascii());
    }
}

#[test]
fn a_footer_is_ignored() {
    let body = b"\0\x53\x77\xa1\x02{}\0\x53\x78\xc1\x01\0";
    assert_eq!(unwrapped(body), Ok(&b"{}"[..]));
}

#[test]
fn other_bodies_of_amqp_1_0_are_rejected_with_the_way_to_send_them() {
    for (body, found) in [
        (&b"\0\x53\x77\x40"[..], "null"),
        (b"\0\x53\x77\x41", "a boolean"),
        (b"\0\x53\x77\x55\x07", "a number"),
        (b"\0\x53\x77\xa3\x02{}", "a symbol"),
        (
            b"\0\x53\x77\xd1\0\0\0\x0a\0\0\0\x02\xa1\x01a\xa1\x01b",
            "a map",
        ),
        (b"\0\x53\x77\x45", "a list"),
        (b"\0\x53\x77\xe0\x02\0\x40", "an array"),
        (b"\0\x53\x77\0\x53\x01\xa1\x02{}", "another value"),
        (b"\0\x53\x77", "another value"),
        (b"\0\x53\x76\xc0\x04\x01\xa1\x01a", "a sequence"),
        (
            b"\0\x53\x75\xa0\x01{\0\x53\x75\xa0\x01}",
            "more than one data section",
        ),
        (b"\0\x53\x70\x45", "not the section of a body"),
        (
            b"\0\x53\x77\xa1\x03{}",
            "a string or binary that is not whole",
        ),
        (
            b"\0\x53\x77\xb1\xff\xff\xff\xff{}",
            "a string or binary that is not whole",
        ),
        (
            b"\0\x53\x77\xa1\x02{}{}",
            "a string or binary that is not whole",
        ),
    ] {
        let message = format!("the body in AMQP 1.0 is {found}: send a data section with JSON");
        let expected = Problem::new(Code::BadJson, message);
        assert_eq!(
            unwrapped(body),
            Err(expected.clone()),
            "{}",
            body.escape_ascii()
        );
        for key in ["acme.heartbeat", "acme.stop", "acme.batch"] {
            assert_eq!(entry(&self::message(key, body)), Err(expected.clone()));
        }
        assert_eq!(
            init(&self::message("acme.init", body)).unwrap_err(),
            expected
        );
        assert_eq!(
            account(&self::message("acme.status", body)).unwrap_err(),
            expected
        );
    }
}

#[test]
fn a_body_without_sections_is_unchanged() {
    for body in [
        &b""[..],
        b"{}",
        b"\0",
        b"\0{}",
        b"\0\x53",
        b"\0\xa3\x11amqp",
        b"\0\xa3\x01x{}",
    ] {
        assert_eq!(unwrapped(body), Ok(body));
    }
}
