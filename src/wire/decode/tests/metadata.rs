use super::*;

/// The metadata of a heartbeat with this field.
fn patch(metadata: &str) -> MetadataPatch {
    let body = format!(r#"{{"account":"alice","stream":"{ID}","metadata":{metadata}}}"#);
    match entry(&message("acme.heartbeat", body.as_bytes())) {
        Ok(Entry::Player {
            event: PlayerEvent::Heartbeat(heartbeat),
            ..
        }) => heartbeat.metadata.unwrap(),
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
            format!("{object} one with an empty key, or one of more than 64 bytes"),
        ),
        (
            format!("{{\"a\":{}}}", "1".repeat(257)),
            format!("{object} one with a value of more than 256 bytes"),
        ),
        (
            format!("{{{}}}", many.join(",")),
            format!("{object} one of more than 16 values"),
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
