//! Checks that every decoder returns for any bytes, and that its result is bounded by the input.
//! The fuzz targets here and the bounded run in `tests/decoders.rs` share them.
#![allow(dead_code, reason = "a fuzz target needs one of them")]

#[path = "edge.rs"]
pub mod edge;

use std::fmt::Debug;

use streamwatch::{
    broker,
    domain::{
        Account, AccountId, AccountKey, Entry, GivenReason, LogTime, MAX_BATCH_EVENTS, StreamId,
        Tenant, Tombstone, WallTime,
    },
    wire::{
        self, AccountHeader, Message, News, Origin, Query, Reply, RoutingKey,
        snapshot::{self, Encoder, MAX_PART_BYTES, Part, PartContent, SnapshotRef},
    },
};
use uuid::Uuid;

/// Maximum number of bytes of debug output per byte of input.
const GROWTH: usize = 64;
/// Additional bytes of the debug output.
const FIXED: usize = 4_096;
/// Maximum number of bytes to which LZ4 expands a byte.
const LZ4_GROWTH: usize = 256;

/// A message as bytes: the routing key, the account header, `reply_to`, and the body, in lines.
fn message<'a>(data: &'a [u8], exchange: &'a str) -> Message<'a> {
    let mut lines = data.splitn(4, |b| *b == b'\n');
    let mut line = || lines.next().unwrap_or_default();
    let text = |bytes| std::str::from_utf8(bytes).unwrap_or_default();
    let (key, account, reply_to) = (text(line()), line(), text(line()));
    Message {
        exchange,
        routing_key: key,
        account: match account {
            b"" => AccountHeader::Absent,
            text => AccountHeader::Text(text),
        },
        reply_to: (!reply_to.is_empty()).then_some(reply_to),
        correlation_id: (!reply_to.is_empty()).then_some(reply_to.as_bytes()),
        message_id: None,
        app_id: (!reply_to.is_empty()).then_some(reply_to),
        user_id: (!reply_to.is_empty()).then_some(reply_to),
        content_encoding: None,
        undecodable: false,
        body: line(),
    }
}

fn bounded(decoded: &impl Debug, data: &[u8]) {
    let shown = format!("{decoded:?}").len();
    assert!(
        shown <= GROWTH * data.len() + FIXED,
        "{shown} bytes of {}",
        data.len()
    );
}

/// Checks that a problem has a code and a message of the contract.
fn check<T: Debug>(decoded: Result<T, wire::Problem>, data: &[u8]) {
    match decoded {
        Ok(value) => bounded(&value, data),
        Err(problem) => {
            let stated = wire::error(&problem);
            let read = wire::decode_reply(&stated.body);
            let is_error = matches!(read, Ok(Reply::News(News::Error { .. })));
            assert!(is_error, "{read:?}");
        }
    }
}

/// Requests of players and backends: bodies and headers.
pub fn requests(data: &[u8]) {
    let message = message(data, "streamwatch");
    for problem in [
        wire::init(&message).err(),
        wire::query(&message).err(),
        wire::entry(&message).err(),
    ]
    .into_iter()
    .flatten()
    {
        // The message for operators is within AMQP's limits.
        let origin = Origin::queue("log");
        let published = wire::rejected(origin, &message, &problem, WallTime(0), 0);
        assert!(wire::decode_rejected(&published.body).is_ok());
        assert!(published.routing_key.len() <= 100 && published.body.len() < 4_096);
    }
    check(wire::init(&message), data);
    check(wire::query(&message), data);
    check(wire::entry(&message), data);
    if let Ok(Query::Tenant(request)) = wire::query(&message) {
        let (kind, body) = wire::tenant_body(&request);
        let again = Message {
            body: &body,
            ..message
        };
        assert!(message.routing_key.ends_with(kind.as_str()));
        assert_eq!(wire::query(&again), Ok(Query::Tenant(request)));
    }
    by_amqp_1_0(&message);
    if let Ok(Entry::Batch(batch)) = wire::entry(&message) {
        let rejected = wire::rejected_events(&message).expect("it was decoded");
        let numbers: Vec<_> = rejected.iter().map(|(_, p)| p.code.number()).collect();
        assert_eq!(batch.rejected(), numbers);
        let mut places: Vec<_> = batch.events().iter().map(|event| event.index).collect();
        places.extend(rejected.iter().map(|(index, _)| *index));
        places.sort_unstable();
        assert!((0..).zip(&places).all(|(n, place)| n == *place));
        assert!(places.len() <= MAX_BATCH_EVENTS);
        let compressed = wire::compress(message.body);
        let compressed = Message {
            content_encoding: Some(wire::GZIP),
            body: &compressed,
            ..message
        };
        assert_eq!(wire::entry(&compressed), Ok(Entry::Batch(batch)));
    }
    // Any bytes may claim to be gzip. Decompressed, they are larger than the bound of `check`.
    let claims = Message {
        content_encoding: Some(wire::GZIP),
        ..message
    };
    let _ = wire::entry(&claims);
}

/// A body that an AMQP 1.0 client sends as a string decodes as the string does.
fn by_amqp_1_0(message: &Message) {
    if message.body.first() == Some(&0) {
        return; // It may be such a body itself.
    }
    let length = u32::try_from(message.body.len()).expect("a short body");
    let body = [b"\0\x53\x77\xb1", &length.to_be_bytes()[..], message.body].concat();
    let wrapped = Message {
        body: &body,
        ..*message
    };
    assert_eq!(wire::entry(&wrapped), wire::entry(message));
    assert_eq!(wire::query(&wrapped), wire::query(message));
    assert_eq!(wire::init(&wrapped).err(), wire::init(message).err());
}

/// Routing keys.
pub fn routing_key(data: &[u8]) {
    check(RoutingKey::parse(&String::from_utf8_lossy(data)), data);
}

/// Internal entries: a decoded entry is encoded and decoded to an equal one.
pub fn entries(data: &[u8]) {
    let decoded = wire::decode_internal(data);
    if let Ok(Entry::Internal(entry)) = &decoded {
        let written = wire::encode_internal(entry);
        assert_eq!(wire::decode_internal(&written).as_ref(), decoded.as_ref());
    }
    check(decoded, data);
}

/// Replies, decoded by clients.
pub fn replies(data: &[u8]) {
    if let Ok(reply) = wire::decode_reply(data) {
        bounded(&reply, data);
    }
}

/// Decodes a lifecycle event.
pub fn lifecycle(data: &[u8]) {
    if let Ok(published) = wire::decode_lifecycle(data) {
        bounded(&published, data);
        let written = serde_json::to_vec(&published).expect("it was JSON");
        assert_eq!(wire::decode_lifecycle(&written).ok(), Some(published));
    }
}

/// Decodes a rejected message.
pub fn rejected(data: &[u8]) {
    if let Ok(published) = wire::decode_rejected(data) {
        bounded(&published, data);
    }
}

/// Parts of snapshots: a decoded part is encoded and decoded to an equal one.
pub fn snapshots(data: &[u8]) {
    let Ok(part) = snapshot::decode(data) else {
        return;
    };
    if let PartContent::Accounts(accounts) = &part.content {
        let held: usize = accounts.iter().map(|(.., a)| a.records()).sum();
        assert!(held <= (LZ4_GROWTH * data.len()).min(MAX_PART_BYTES));
    }
    let written = Encoder::default()
        .encode(&part)
        .expect("it was small enough to be read");
    assert_eq!(snapshot::decode(&written), Ok(part));
}

/// Reply addresses; and response topics, followed by a line with the request's routing key.
pub fn reply_to(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(queue) = broker::reply_queue(&text) {
        assert!(queue.len() <= text.len());
        let encoded: String = queue.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let again =
            broker::reply_queue(&format!("/queues/{encoded}")).map(std::borrow::Cow::into_owned);
        assert_eq!(again.as_deref(), Ok(&*queue));
    }
    let (topic, key) = text.split_once('\n').unwrap_or_default();
    if wire::is_reply_topic(topic, key) {
        let words: Vec<&str> = topic.split('.').collect();
        assert_eq!(Some(words[0]), key.split('.').next(), "another tenant");
        assert_eq!(words[1], wire::REPLIES, "taken for an event");
    }
}

/// A target and its examples.
type Target = (&'static str, fn(&[u8]), Vec<Vec<u8>>);

/// Frames of the broker, after a byte with the size of the pieces in which they arrive. The output
/// of the filter does not depend on that size.
pub fn frames(data: &[u8]) {
    let Some((piece, bytes)) = data.split_first() else {
        return;
    };
    let piece = usize::from(*piece).max(1);
    let filtered = |piece| {
        let mut frames = broker::Frames::new(0, 5);
        let (mut out, mut some) = (Vec::new(), [0; 64]);
        for received in bytes.chunks(piece) {
            frames.room()[..received.len()].copy_from_slice(received);
            frames.filled(received.len());
            while let n @ 1.. = frames.take(&mut some) {
                out.extend_from_slice(&some[..n]);
            }
        }
        frames.end();
        while let n @ 1.. = frames.take(&mut some) {
            out.extend_from_slice(&some[..n]);
        }
        out
    };
    let at_once = filtered(bytes.len().clamp(1, 16_384));
    assert_eq!(filtered(piece), at_once);
    // The marker of each repaired frame.
    assert!(at_once.len() <= 40 * bytes.len() + 40);
}

/// Every target with a few valid examples.
pub fn targets() -> Vec<Target> {
    let header = b"\x03\x02\0\x01\0\0\0\x1a\0\x3c\0\0\0\0\0\0\0\0\0\x09\x24\0\0\0\0\x07\x01at\x01\x01\xff\xce\x08\0\0\0\0\0\0\xce";
    let text = |examples: &[&str]| examples.iter().map(|e| e.as_bytes().to_vec()).collect();
    let stream = "0192f0c1-0000-7000-8000-000000000001";
    let requests = [
        format!(r#"acme.heartbeat\nalice\n\n{{"account":"alice","stream":"{stream}","metadata":{{"device":"tv"}}}}"#),
        format!(r#"acme.stop\n\n\n{{"account":"alice","stream":"{stream}"}}"#),
        format!(r#"acme.init.al%69ce\nalice\nr\n{{"account":"alice","max_active":2,"replace":["{stream}"],"group_by":["device"]}}"#),
        r#"acme.init\nalice\nr\n{"account":"alice","limits":[{"max":2,"distinct":"device","where":{"kind":["live",1,true]}}],"same":["device"],"on_limit":"replace_oldest","reason":"moved","metadata":{"a":1.5,"b":null}}"#.to_owned(),
        r#"acme.stop\nalice\n\n{"account":"alice","all":true,"reason":"bye"}"#.to_owned(),
        format!(r#"acme.heartbeat\nalice\n\n{{"account":"alice","stream":"{stream}","metadata":{{"a":true,"b":null,"c":[]}}}}"#),
        format!(r#"acme.batch\nalice\n\n{{"partition":3,"partitions":4,"events":[{{"kind":"heartbeat","account":"bob","stream":"{stream}","heartbeat_every_ms":1,"metadata":{{"a":"b"}}}},{{"kind":"stop","account":"bob","stream":"{stream}"}},{{"kind":7}}]}}"#),
        r#"acme.status\nalice\nr\n{"account":"al\u0069ce","consistency":"strong","later":[[{"a":null}]]}"#.to_owned(),
    ];
    let mut requests: Vec<Vec<u8>> = requests
        .map(|r| r.replacen("\\n", "\n", 3).into_bytes())
        .into();
    let stop = format!(r#"{{"account":"alice","stream":"{stream}"}}"#);
    let length = u8::try_from(stop.len()).expect("a short body");
    requests.push(
        [
            b"acme.stop\n\n\n\0\x53\x77\xa1",
            &[length][..],
            stop.as_bytes(),
        ]
        .concat(),
    );
    let all = vec![
        ("requests", self::requests as fn(&[u8]), requests),
        (
            "routing_key",
            routing_key,
            text(&["acme.heartbeat", "acme.init.al%69ce"]),
        ),
        (
            "entries",
            entries,
            text(&[
                r#"{"writer":1,"seq":2,"clock":{"estimate_ms":3,"wall_ms":4,"candidate_from":5,"leads":true,"unannounced":6},"entry":{"tick":{}}}"#,
                r#"{"writer":1,"seq":2,"entry":{"tick":{"settings":{"number":1,"rules":2,"ttl_ms":90000,"throttling":{"tenant_inits_per_second":1,"tenant_statuses_per_second":2,"account_inits_per_second":3,"account_statuses_per_second":4},"partitions":1}}}}"#,
                r#"{"writer":1,"seq":2,"entry":{"open":{"tenant":"acme","account":"alice","stream":"0192f0c1-0000-7000-8000-000000000001","request":"0192f0c1-0000-7000-8000-000000000002","not_after_ms":9,"metadata":[["a","b"]]}}}"#,
                r#"{"writer":1,"seq":2,"entry":{"open":{"tenant":"acme","account":"alice","stream":"0192f0c1-0000-7000-8000-000000000001","request":"0192f0c1-0000-7000-8000-000000000002","not_after_ms":9,"metadata":[],"terms":{"limits":[{"max":1,"distinct":"a","where":{"b":["c"]}}],"same":["a"],"on_limit":"replace_oldest","reason":"x"}}}}"#,
            ]),
        ),
        (
            "replies",
            replies,
            text(&[
                r#"{"type":"opened","stream":"0192f0c1-0000-7000-8000-000000000001","heartbeat_every_ms":1,"ttl_ms":2,"partition":3,"partitions":4,"activity":{"tenant":"acme","account":"alice","count":0,"as_of":"2026-11-22T10:00:00.000Z","streams":[]}}"#,
                r#"{"type":"batch","events":[{"index":3,"type":"stopped","stream":"0192f0c1-0000-7000-8000-000000000001","reason":"replaced"},{"index":4,"type":"error","error":{"code":"late","message":"m","retryable":true}},{"index":5,"type":"later"}],"truncated":true}"#,
                r#"{"type":"refused","stream":"0192f0c1-0000-7000-8000-000000000001","reason":"limits","conflicts":[{"limit":0,"streams":["0192f0c1-0000-7000-8000-000000000001"]}],"remembered":true,"retry_after_ms":9,"activity":{"tenant":"acme","account":"alice","count":0,"as_of":"2026-11-22T10:00:00.000Z","streams":[]}}"#,
            ]),
        ),
        (
            "lifecycle",
            lifecycle,
            text(&[
                r#"{"type":"expired","tenant":"acme","account":"alice","stream":"0192f0c1-0000-7000-8000-000000000001","at":"2026-11-22T10:00:00.000Z","count":0,"last_seen":"2026-11-22T10:00:00.000Z","metadata":{"a":"b"}}"#,
            ]),
        ),
        (
            "rejected",
            rejected,
            text(&[
                r#"{"type":"rejected","at":"2026-11-22T10:00:00.000Z","source":"log","code":"bad_json","message":"m"}"#,
            ]),
        ),
        ("snapshots", snapshots, vec![a_part()]),
        ("frames", frames, vec![header.to_vec()]),
        (
            "reply_to",
            reply_to,
            text(&[
                "amq.rabbitmq.reply-to.g2dkAANuQGgAAAABAAAAAgM=.key",
                "replies",
                "/queues/my%2Freplies",
                "acme.replies.alice.tv\nacme.init.alice",
            ]),
        ),
    ];
    all.into_iter().chain(edge::targets()).collect()
}

/// A part of a snapshot with one account.
fn a_part() -> Vec<u8> {
    let tenant = Tenant::new("acme").expect("a tenant");
    let key = AccountKey::new(&tenant, &AccountId::new("alice").expect("an account"));
    let tombstone = Tombstone {
        id: StreamId(Uuid::from_u128(1)),
        until: LogTime(9),
        lasts_ms: 90_000,
        reason: streamwatch::domain::StoppedReason::Stopped,
        given: GivenReason::new("bye").ok(),
    };
    let account = Account::from_records(Vec::new(), vec![tombstone], Vec::new());
    let part = Part {
        place: SnapshotRef {
            id: Uuid::from_u128(2),
            after: None,
            now: LogTime(7),
        },
        before: None,
        number: 1,
        content: PartContent::Accounts(vec![(key, 5, account)]),
    };
    Encoder::default().encode(&part).expect("small enough")
}
