//! Whatever comes from outside, a decoder answers: a checked value or a problem, never a panic.

use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config, FileFailurePersistence},
};
use streamwatch::domain::WallTime;
use streamwatch::wire::{self, AccountHeader, Message, Origin, RoutingKey};

const VALID: [&str; 7] = [
    r#"{"account":"alice","stream":"0192f0c1-0000-7000-8000-000000000001","metadata":{"device":"tv"}}"#,
    r#"{"account":"alice","max_active":2,"replace":["0192f0c1-0000-7000-8000-000000000002"],"group_by":["device"]}"#,
    r#"{"account":"al\u0069ce","consistency":"strong","later":[[{"a":null}]]}"#,
    r#"{"writer":1,"seq":2,"clock":{"estimate_ms":3,"wall_ms":4,"serving_ms":5,"keeps_time":true},"entry":{"tick":{}}}"#,
    r#"{"writer":1,"seq":2,"entry":{"open":{"tenant":"acme","account":"alice","stream":"0192f0c1-0000-7000-8000-000000000001","request":"0192f0c1-0000-7000-8000-000000000002","not_after_ms":9,"metadata":[["a","b"]]}}}"#,
    r#"{"type":"opened","stream":"0192f0c1-0000-7000-8000-000000000001","heartbeat_every_ms":1,"ttl_ms":2,"activity":{"tenant":"acme","account":"alice","count":0,"as_of":"2026-11-22T10:00:00.000Z","streams":[]}}"#,
    r#"{"type":"expired","tenant":"acme","account":"alice","stream":"0192f0c1-0000-7000-8000-000000000001","at":"2026-11-22T10:00:00.000Z","count":0,"last_seen":"2026-11-22T10:00:00.000Z","metadata":{"a":"b"}}"#,
];

/// Bytes as they may come: anything, JSON's own characters, or a valid body with some damage.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let json: Vec<u8> = br#"{}[]":,\u0a1e-.tfn "#.to_vec();
    let damaged =
        (0..VALID.len(), vec((any::<usize>(), any::<u8>()), 0..6)).prop_map(|(which, damage)| {
            let mut bytes = VALID[which].as_bytes().to_vec();
            for (at, byte) in damage {
                let at = at % bytes.len();
                match byte % 3 {
                    0 => bytes[at] = byte,
                    1 => bytes.truncate(at.max(1)),
                    _ => bytes.insert(at, byte),
                }
            }
            bytes
        });
    prop_oneof![
        vec(any::<u8>(), 0..200),
        vec(prop::sample::select(json), 0..300),
        damaged,
    ]
}

fn routing_key() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("acme.heartbeat".to_owned()),
        Just("acme.stop".to_owned()),
        Just("acme.init.al%69ce".to_owned()),
        Just("acme.status".to_owned()),
        ".{0,40}",
        "[a-z.%0-9]{0,40}",
    ]
}

proptest! {
    #![proptest_config(Config {
        cases: 4_000,
        failure_persistence: Some(Box::new(FileFailurePersistence::Off)),
        ..Config::default()
    })]

    #[test]
    fn every_decoder_answers_whatever_the_bytes(
        body in body(),
        key in routing_key(),
        internal in any::<bool>(),
        header in prop::option::of(vec(any::<u8>(), 0..20)),
        ids in prop::option::of(".{0,60}"),
    ) {
        let message = Message {
            exchange: if internal { "" } else { "streamwatch" },
            routing_key: &key,
            account: header.as_deref().map_or(AccountHeader::Absent, AccountHeader::Text),
            reply_to: ids.as_deref(),
            correlation_id: ids.as_deref(),
            message_id: None,
            app_id: ids.as_deref(),
            user_id: ids.as_deref(),
            body: &body,
        };
        // What is refused can be said, in the contract's words.
        for problem in [
            wire::entry(&message).err(),
            wire::init(&message).err(),
            wire::status(&message).err(),
            RoutingKey::parse(&key).err(),
        ].into_iter().flatten() {
            let said = wire::error(&problem);
            prop_assert!(matches!(wire::decode_reply(&said.body), Ok(wire::Reply::Error(_))));
            // And told to operators, within what AMQP takes.
            let origin = Origin { source: "log", offset: None };
            let told = wire::rejected(origin, &message, &problem, WallTime(0), 0);
            prop_assert!(wire::decode_rejected(&told.body).is_ok());
            prop_assert!(told.routing_key.len() <= 100 && told.body.len() < 4_096);
        }
        // What is taken for an entry is written and read back as the same.
        if let Ok(streamwatch::domain::Entry::Internal { mark, reading, body }) = wire::entry(&message) {
            let written = wire::encode_internal(mark, reading.as_ref(), &body);
            let again = wire::decode_internal(&written);
            prop_assert_eq!(again, Ok(streamwatch::domain::Entry::Internal { mark, reading, body }));
        }
        let _ = wire::decode_reply(&body);
        if let Ok(told) = wire::decode_lifecycle(&body) {
            let written = serde_json::to_vec(&told).expect("it was JSON");
            prop_assert_eq!(wire::decode_lifecycle(&written).ok(), Some(told));
        }
        let _ = wire::decode_rejected(&body);
    }
}
