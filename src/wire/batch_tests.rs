use super::*;
use crate::{
    domain::{Entry, MetadataPatch, Stop, StreamId},
    wire::{self, AccountHeader, ignored},
};

const ID: &str = "0192f0c1-0000-7000-8000-000000000001";

fn message(body: &[u8]) -> Message<'_> {
    Message {
        exchange: "streamwatch",
        routing_key: "acme.batch",
        account: AccountHeader::Text(b"anybody of the partition"),
        body,
        ..Message::default()
    }
}

fn stop(account: &str) -> String {
    format!(r#"{{"kind":"stop","account":"{account}","stream":"{ID}"}}"#)
}

fn of_events(events: &[String]) -> String {
    format!(r#"{{"partition":3,"events":[{}]}}"#, events.join(","))
}

fn decoded(body: &str) -> Batch {
    match wire::entry(&message(body.as_bytes())) {
        Ok(Entry::Batch(batch)) => batch,
        other => panic!("not a batch: {other:?}"),
    }
}

fn refused(body: &str) -> (Code, String) {
    let problem = wire::entry(&message(body.as_bytes())).unwrap_err();
    let field = problem.field.map(|field| format!("{field}: "));
    (problem.code, field.unwrap_or_default() + &problem.message)
}

#[test]
fn a_batch_is_decoded_and_unknown_fields_are_ignored() {
    let body = format!(
        r#"{{"later":[1],"partition":3,"partitions":4,"events":[
            {{"kind":"heartbeat","account":"al\u0069ce","stream":"{ID}","heartbeat_every_ms":30000,
              "metadata":{{"device":"tv"}},"later":{{}}}},
            {{"kind":"stop","account":"Bob","stream":"{ID}"}},
            {{"stream":"{ID}","account":"alice","kind":"heartbeat"}}
        ]}}"#
    );
    let batch = decoded(&body);
    assert!(batch.is_for(3, 4) && !batch.is_for(3, 8) && !batch.is_for(4, 4));
    assert!(batch.rejected().is_empty());
    let events: Vec<_> = batch.events().iter().collect();
    let accounts: Vec<_> = events.iter().map(|e| (e.index, e.key.account())).collect();
    assert_eq!(accounts, [(1, "Bob"), (0, "alice"), (2, "alice")]);
    let stream = StreamId(ID.parse().unwrap());
    assert_eq!(events[0].event, Stop::of(stream).into());
    let PlayerEvent::Heartbeat(heartbeat) = &events[1].event else {
        panic!("not a heartbeat");
    };
    assert_eq!(heartbeat.every_ms, Some(30_000));
    let metadata = heartbeat.metadata.as_ref().unwrap();
    assert_eq!(metadata.set().unwrap().get("device"), Some("tv"));
    assert_eq!(events[1].key.tenant(), "acme");
    assert_eq!(events[2].event, Heartbeat::of(stream).into());
    assert!(decoded(&of_events(&[])).events().is_empty());
}

#[test]
fn an_invalid_event_is_rejected_alone() {
    let whole = "must be a whole number from 1 to 4294967295, not zero";
    for (event, code, reason) in [
        (
            r#"{"account":"a","stream":"ID"}"#,
            Code::MissingField,
            "kind: the field kind is missing",
        ),
        (
            r#"{"kind":"init","account":"a","stream":"ID"}"#,
            Code::BadField,
            "kind: must be heartbeat or stop, not another string",
        ),
        (
            r#"{"kind":7}"#,
            Code::BadField,
            "kind: must be a string, not a number",
        ),
        (
            r#"{"kind":"stop","stream":"ID"}"#,
            Code::MissingField,
            "account: the field account is missing",
        ),
        (
            r#"{"kind":"stop","account":"","stream":"ID"}"#,
            Code::BadField,
            "account: an account is 1 to 128 bytes of UTF-8 without control characters",
        ),
        (
            r#"{"kind":"stop","account":"a"}"#,
            Code::MissingField,
            "stream: the field stream is missing",
        ),
        (
            r#"{"kind":"stop","account":"a","stream":"x"}"#,
            Code::BadField,
            "stream: must be a UUID, not another string",
        ),
        (
            r#"{"kind":"heartbeat","account":"a","stream":"ID","heartbeat_every_ms":0}"#,
            Code::BadField,
            &format!("heartbeat_every_ms: {whole}"),
        ),
        (
            r#"{"kind":"stop","account":"a","stream":"ID","all":true}"#,
            Code::BadField,
            "all: must not be true beside stream",
        ),
        (
            r#"{"kind":"stop","account":"a","all":1}"#,
            Code::BadField,
            "all: must be a boolean, not a number",
        ),
        (
            r#"{"kind":"stop","kind":"stop","account":"a","stream":"ID"}"#,
            Code::BadJson,
            "kind: duplicate key `kind`",
        ),
        (
            r#"["stop","a","ID"]"#,
            Code::BadField,
            "events: each element must be an object, not another value",
        ),
        (
            "null",
            Code::BadField,
            "events: each element must be an object, not another value",
        ),
    ] {
        let event = event.replace("ID", ID);
        let body = of_events(&[stop("first"), event.clone(), stop("last")]);
        let batch = decoded(&body);
        let valid: Vec<u16> = batch.events().iter().map(|e| e.index).collect();
        assert_eq!(valid, [0, 2], "{event}");
        assert_eq!(batch.rejected(), [code.number()], "{event}");
        let rejected = rejected_events(&message(body.as_bytes())).unwrap();
        let [(1, problem)] = &rejected[..] else {
            panic!("{event}: {rejected:?}");
        };
        let field = problem.field.as_deref().unwrap_or_default();
        let stated = format!("{field}: {}", problem.message);
        assert_eq!((problem.code, stated.as_str()), (code, reason), "{event}");
    }
}

#[test]
fn a_batch_has_at_most_1000_events() {
    let events = |n| of_events(&vec![stop("a"); n]);
    assert_eq!(decoded(&events(1_000)).events().len(), 1_000);
    let longer = "events: must be an array of at most 1000 events, not a longer one";
    assert_eq!(refused(&events(1_001)), (Code::BadField, longer.to_owned()));
}

#[test]
fn a_batch_has_at_most_128_kib() {
    let of = |bytes: usize| {
        let body = of_events(&[stop("a")]);
        let room = " ".repeat(bytes - body.len());
        body + &room
    };
    assert_eq!(decoded(&of(128 * 1024)).events().len(), 1);
    let reason = "the body of a batch is larger than 128 KiB".to_owned();
    assert_eq!(refused(&of(128 * 1024 + 1)), (Code::TooLarge, reason));
}

#[test]
fn a_batch_is_rejected_as_a_whole_if_its_own_fields_are_invalid() {
    let number = "must be a whole number from 0 to 65535, not";
    for (body, code, reason) in [
        (
            r#"{"events":[]}"#,
            Code::MissingField,
            "partition: the field partition is missing".to_owned(),
        ),
        (
            r#"{"partition":0}"#,
            Code::MissingField,
            "events: the field events is missing".to_owned(),
        ),
        (
            r#"{"partition":-1,"events":[]}"#,
            Code::BadField,
            format!("partition: {number} a negative number"),
        ),
        (
            r#"{"partition":65536,"events":[]}"#,
            Code::BadField,
            format!("partition: {number} a larger number"),
        ),
        (
            r#"{"partition":0,"events":{}}"#,
            Code::BadField,
            "events: must be an array of at most 1000 events, not an object".to_owned(),
        ),
        (
            "[0,[]]",
            Code::BadJson,
            "the body must be a JSON object, not an array".to_owned(),
        ),
        (
            r#"{"partition":0,"events":["#,
            Code::BadJson,
            "the body ends within its JSON object (line 1, column 25)".to_owned(),
        ),
    ] {
        assert_eq!(refused(body), (code, reason), "{body}");
    }
}

#[test]
fn the_routing_key_of_a_batch_names_no_account_and_the_header_is_a_string() {
    let body = of_events(&[stop("alice")]);
    let code = |message: Message| wire::entry(&message).unwrap_err().code;
    let message = message(body.as_bytes());
    let named = Message {
        routing_key: "acme.batch.alice",
        ..message
    };
    assert_eq!(code(named), Code::AccountMismatch);
    let number = Message {
        account: AccountHeader::NotText,
        ..message
    };
    assert_eq!(code(number), Code::AccountMismatch);
}

#[test]
fn the_first_valid_event_routes_a_batch_without_a_header() {
    let account = |body: &str| {
        wire::account(&Message {
            account: AccountHeader::Absent,
            ..message(body.as_bytes())
        })
    };
    let body = of_events(&["7".to_owned(), stop("bob"), stop("alice")]);
    assert_eq!(account(&body).unwrap().account(), "bob");
    assert_eq!(account(&of_events(&[])).unwrap_err().code, Code::BadField);
}

#[test]
fn an_event_with_bad_metadata_counts_and_its_metadata_is_reported() {
    let beat = |metadata: &str| {
        format!(r#"{{"kind":"heartbeat","account":"a","stream":"{ID}","metadata":{metadata}}}"#)
    };
    let body = of_events(&[stop("a"), beat(r#"{"a":{}}"#), beat(r#"{"a":1}"#)]);
    let batch = decoded(&body);
    assert!(batch.rejected().is_empty());
    let metadata: Vec<_> = batch
        .events()
        .iter()
        .filter_map(|event| match &event.event {
            PlayerEvent::Heartbeat(heartbeat) => heartbeat.metadata.clone(),
            PlayerEvent::Stop(_) => None,
        })
        .collect();
    assert_eq!(metadata[0], MetadataPatch::Invalid);
    assert!(!metadata[1].is_strings());
    let compressed = wire::compress(body.as_bytes());
    let gzip = Message {
        content_encoding: Some(GZIP),
        ..message(&compressed)
    };
    for message in [message(body.as_bytes()), gzip] {
        let problem = ignored(&message, Some(1));
        assert_eq!(problem.code, Code::BadField);
        assert_eq!(problem.field.as_deref(), Some("metadata"));
        assert_eq!(
            problem.message,
            "each value must be a string, a number or a boolean, not an object; the heartbeat \
             counts, its metadata is ignored"
        );
    }
}

#[test]
fn an_event_may_stop_all_streams_of_its_account() {
    let all = r#"{"kind":"stop","account":"a","all":true,"reason":"closed"}"#;
    let events = [all.to_owned(), all.replace("true", "false")];
    let batch = decoded(&of_events(&events));
    let reason = crate::domain::GivenReason::new("closed").ok();
    assert_eq!(batch.events()[0].event, Stop::of_all(reason).into());
    assert_eq!(batch.rejected(), [Code::MissingField.number()]);
}
