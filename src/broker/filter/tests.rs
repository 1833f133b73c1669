use amq_protocol::frame::{AMQPContentHeader, AMQPFrame, gen_frame, parsing::parse_frame};
use lapin::{
    protocol::{AMQPClass, basic},
    types::{AMQPValue, FieldArray, FieldTable},
};
use proptest::{collection::vec, prelude::*, sample::select};

use super::*;
use crate::broker::filter::is_undecodable;

/// Returns the output of the filter for `bytes`, received in pieces of at most `piece` bytes.
fn filtered(bytes: &[u8], piece: usize, frame_max: u32) -> Vec<u8> {
    passed(bytes, piece, Frames::new(frame_max, usize::MAX))
}

fn passed(bytes: &[u8], piece: usize, mut frames: Frames) -> Vec<u8> {
    let mut out = Vec::new();
    let mut some = [0; 100];
    for mut piece in bytes.chunks(piece) {
        while !piece.is_empty() {
            let room = frames.room();
            let n = room.len().min(piece.len());
            room[..n].copy_from_slice(&piece[..n]);
            piece = &piece[n..];
            frames.filled(n);
            while let n @ 1.. = frames.take(&mut some) {
                out.extend_from_slice(&some[..n]);
            }
        }
    }
    frames.end();
    while let n @ 1.. = frames.take(&mut some) {
        out.extend_from_slice(&some[..n]);
    }
    out
}

fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let size = u32::try_from(payload.len()).unwrap();
    let mut frame = vec![kind, 0, 1];
    frame.extend_from_slice(&size.to_be_bytes());
    frame.extend_from_slice(payload);
    frame.push(0xce);
    frame
}

fn on(channel: u8, mut frame: Vec<u8>) -> Vec<u8> {
    frame[2] = channel;
    frame
}

fn encoded(frame: &AMQPFrame) -> Vec<u8> {
    let mut buffer = vec![0; 512 * 1024];
    let rest = gen_frame(frame)(buffer.as_mut_slice().into()).unwrap();
    let n = usize::try_from(rest.into_inner().1).unwrap();
    buffer.truncate(n);
    buffer
}

/// A header frame with these bytes after the property flags.
fn header(flags: u16, properties: &[u8]) -> Vec<u8> {
    let mut payload = vec![0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
    payload.extend_from_slice(&flags.to_be_bytes());
    payload.extend_from_slice(properties);
    frame(HEADER, &payload)
}

fn text(bytes: &[u8]) -> Vec<u8> {
    let mut text = vec![u8::try_from(bytes.len()).unwrap()];
    text.extend_from_slice(bytes);
    text
}

fn offset_entry() -> Vec<u8> {
    let mut entry = text(b"x-stream-offset");
    entry.extend_from_slice(b"l\0\0\0\0\0\0\0\x07");
    entry
}

fn table(entries: &[&[u8]]) -> Vec<u8> {
    let all = entries.concat();
    let mut table = u32::try_from(all.len()).unwrap().to_be_bytes().to_vec();
    table.extend_from_slice(&all);
    table
}

fn decoded(bytes: &[u8]) -> AMQPContentHeader {
    let (rest, frame) = parse_frame(bytes).unwrap();
    assert!(rest.is_empty());
    match frame {
        AMQPFrame::Header(1, header) => header,
        other => panic!("{other:?}"),
    }
}

fn marked_with_its_offset(bytes: &[u8]) -> AMQPContentHeader {
    assert!(is_undecodable_frame(bytes) && !bytes.is_empty());
    let header = decoded(bytes);
    let headers = header.properties.headers().clone().unwrap_or_default();
    assert_eq!(
        headers.inner().get("x-stream-offset"),
        Some(&AMQPValue::LongLongInt(7))
    );
    header
}

fn is_undecodable_frame(bytes: &[u8]) -> bool {
    is_undecodable(&decoded(bytes).properties)
}

#[test]
fn bodies_above_the_limit_are_cut_off_in_each_channel_alone() {
    let announced = |channel, size: u64| {
        let mut payload = vec![0, 60, 0, 0];
        payload.extend_from_slice(&size.to_be_bytes());
        payload.extend_from_slice(&[0, 0]);
        on(channel, frame(HEADER, &payload))
    };
    let part = |channel, bytes: &[u8]| on(channel, frame(BODY, bytes));
    let received = [
        announced(1, 7),
        announced(2, 5),
        part(1, b"abcd"),
        part(2, b"ABCDE"),
        part(1, b"efg"),
        announced(1, 9),
        part(1, b"hijkl"),
        part(1, b"mnop"),
        announced(1, 2),
        part(1, b"qr"),
    ];
    let expected = [
        announced(1, 5),
        announced(2, 5),
        part(1, b"abcd"),
        part(2, b"ABCDE"),
        part(1, b"e"),
        announced(1, 5),
        part(1, b"hijkl"),
        announced(1, 2),
        part(1, b"qr"),
    ];
    let bytes = received.concat();
    for piece in 1..=bytes.len() {
        assert_eq!(
            passed(&bytes, piece, Frames::new(0, 5)),
            expected.concat(),
            "in pieces of {piece}"
        );
    }
}

#[test]
fn a_property_that_is_not_utf8_is_left_out_and_the_message_is_marked() {
    let properties = [
        table(&[&offset_entry()]),
        text(b"\xff\xfe"),
        text(b"me"),
        text(b"id"),
    ];
    let bytes = header(1 << 13 | 1 << 10 | 1 << 9 | 1 << 7, &properties.concat());
    assert!(parse_frame(bytes.as_slice()).is_err());
    for piece in 1..=bytes.len() {
        let header = marked_with_its_offset(&filtered(&bytes, piece, 0));
        assert_eq!(header.body_size, 2);
        assert_eq!(header.properties.correlation_id(), &None);
        assert_eq!(header.properties.reply_to(), &Some("me".into()));
        assert_eq!(header.properties.message_id(), &Some("id".into()));
    }
}

#[test]
fn a_header_with_a_name_that_is_not_utf8_is_left_out() {
    let mut bad = text(b"\xff");
    bad.extend_from_slice(b"t\x01");
    for entries in [[bad.clone(), offset_entry()], [offset_entry(), bad]] {
        let entries: Vec<&[u8]> = entries.iter().map(Vec::as_slice).collect();
        let bytes = header(1 << 13, &table(&entries));
        assert!(parse_frame(bytes.as_slice()).is_err());
        marked_with_its_offset(&filtered(&bytes, 7, 0));
    }
}

#[test]
fn headers_that_do_not_fit_into_a_frame_are_left_out() {
    let mut large = text(b"x");
    large.extend_from_slice(b"S\0\x02\0\0");
    large.resize(large.len() + 0x2_0000, b'y');
    let bytes = header(1 << 13, &table(&[&large, &offset_entry()]));
    assert!(!is_undecodable_frame(&filtered(&bytes, 50_000, 0)));
    marked_with_its_offset(&filtered(&bytes, 50_000, 131_072));
    // The broker sets the maximum size of frames.
    let mut tuned = frame(METHOD, &[0, 10, 0, 30, 7, 255, 0, 2, 0, 0, 0, 60]);
    let tune = tuned.len();
    tuned.extend_from_slice(&bytes);
    let out = filtered(&tuned, 3_000, 0);
    assert_eq!(out[..tune], tuned[..tune]);
    marked_with_its_offset(&out[tune..]);
}

#[test]
fn deeply_nested_tables_are_left_out_before_the_stack_overflows() {
    let mut deep = Vec::new();
    for _ in 0..20_000 {
        let size = u32::try_from(deep.len()).unwrap();
        let mut outer = vec![b'A'];
        outer.extend_from_slice(&size.to_be_bytes());
        outer.append(&mut deep);
        deep = outer;
    }
    let mut entry = text(b"deep");
    entry.append(&mut deep);
    let bytes = header(1 << 13, &table(&[&entry, &offset_entry()]));
    marked_with_its_offset(&filtered(&bytes, 4_096, 0));
}

#[test]
fn a_routing_key_that_is_not_utf8_contains_no_tenant_after_the_repair() {
    let deliver = |key: &[u8]| {
        let mut payload = vec![0, 60, 0, 60];
        payload.extend_from_slice(&text(b"tag"));
        payload.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 5, 0]);
        payload.extend_from_slice(&text(b"streamwatch"));
        payload.extend_from_slice(&text(key));
        frame(METHOD, &payload)
    };
    let key = |bytes: &[u8]| match parse_frame(bytes).unwrap().1 {
        AMQPFrame::Method(1, AMQPClass::Basic(basic::AMQPMethod::Deliver(deliver))) => {
            assert_eq!(deliver.exchange.as_str(), "streamwatch");
            deliver.routing_key.to_string()
        }
        other => panic!("{other:?}"),
    };
    let bytes = deliver(b"ac\xffme.init");
    for piece in 1..=bytes.len() {
        assert_eq!(key(&filtered(&bytes, piece, 0)), "ac?me.init");
    }
    let fine = deliver("acme.init.ü".as_bytes());
    assert_eq!(filtered(&fine, 3, 0), fine);
}

#[test]
fn bytes_that_are_not_amqp_pass_unchanged() {
    for bytes in [
        &b"AMQP\0\0\x09\x01"[..],
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
    ] {
        assert_eq!(filtered(bytes, 5, 0), bytes);
    }
}

fn value() -> impl Strategy<Value = AMQPValue> {
    let leaf = prop_oneof![
        any::<i64>().prop_map(AMQPValue::LongLongInt),
        any::<bool>().prop_map(AMQPValue::Boolean),
        vec(any::<u8>(), 0..20).prop_map(|bytes| AMQPValue::LongString(bytes.into())),
        vec(any::<u8>(), 0..20).prop_map(|bytes| AMQPValue::ByteArray(bytes.into())),
        Just(AMQPValue::Void),
        any::<f64>().prop_map(AMQPValue::Double),
    ];
    leaf.prop_recursive(4, 20, 4, |inside| {
        prop_oneof![
            vec(inside.clone(), 0..4).prop_map(|all| AMQPValue::FieldArray(FieldArray::from(all))),
            vec(("[a-zä]{0,9}", inside), 0..4).prop_map(|all| {
                let mut table = FieldTable::default();
                for (name, value) in all {
                    table.insert(name.into(), value);
                }
                AMQPValue::FieldTable(table)
            }),
        ]
    })
}

fn frames() -> impl Strategy<Value = Vec<u8>> {
    let header = (vec(("[a-z]{1,9}", value()), 0..5), "\\PC{0,60}").prop_map(|(all, id)| {
        let mut table = FieldTable::default();
        for (name, value) in all {
            table.insert(name.into(), value);
        }
        let properties = lapin::BasicProperties::default()
            .with_headers(table)
            .with_priority(3)
            .with_timestamp(7)
            .with_correlation_id(id.into());
        encoded(&AMQPFrame::Header(
            1,
            AMQPContentHeader {
                class_id: 60,
                body_size: 9,
                properties,
            },
        ))
    });
    prop_oneof![
        header,
        vec(any::<u8>(), 0..300).prop_map(|body| frame(BODY, &body)),
        Just(encoded(&AMQPFrame::Heartbeat)),
    ]
}

proptest! {
    #[test]
    fn frames_that_lapin_can_decode_pass_unchanged(all in vec(frames(), 1..6), piece in 1_usize..200) {
        let bytes = all.concat();
        prop_assert_eq!(filtered(&bytes, piece, 0), bytes);
    }

    #[test]
    fn every_header_frame_can_be_decoded_after_the_repair(
        all in vec(frames(), 1..4),
        damage in vec((any::<proptest::sample::Index>(), any::<u8>()), 0..4),
        piece in select(vec![1_usize, 2, 7, 100, 5_000]),
    ) {
        let bytes: Vec<u8> = all
            .into_iter()
            .flat_map(|mut frame| {
                let (from, to) = (PREFIX, frame.len() - 1);
                for (at, byte) in damage.iter().filter(|_| to > from) {
                    frame[from + at.index(to - from)] = *byte;
                }
                frame
            })
            .collect();
        let out = filtered(&bytes, piece, 131_072);
        let mut rest = out.as_slice();
        while !rest.is_empty() {
            rest = parse_frame(rest).unwrap().0;
        }
    }
}
