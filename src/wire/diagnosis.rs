//! The reason why a body is rejected, in JSON's words. It never quotes a value of the body.
//!
//! It reads the body again, so it runs only after decoding has failed.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::error::Category;

use super::{Code, Problem};

/// Finds the reason why `body` is no `B`.
pub(super) fn diagnose<'a, B: Deserialize<'a>>(body: &'a [u8]) -> Problem {
    if let Some(reason) = not_an_object(body) {
        return Problem::new(Code::BadJson, reason);
    }
    let mut json = serde_json::Deserializer::from_slice(body);
    let Err(error) = serde_path_to_error::deserialize::<_, B>(&mut json) else {
        return Problem::new(Code::BadJson, "more bytes follow the body's JSON object");
    };
    let path = error.path().to_string();
    let error = error.into_inner();
    if error.classify() != Category::Data {
        return Problem::new(Code::BadJson, syntax(&error));
    }
    if let Some(key) = duplicate_key(&error) {
        let message = format!("duplicate key `{key}`");
        return Problem::field(Code::BadJson, key, message);
    }
    let unknown = error.to_string().starts_with("unknown field ");
    let (field, inside) = path.split_at(path.find(['.', '[']).unwrap_or(path.len()));
    let each = match inside.chars().next() {
        Some('[') => "each element ",
        Some(_) => "each value ",
        None => "",
    };
    let message = if unknown {
        format!("{each}has an unknown key")
    } else {
        format!("{each}{}", must_be(&error))
    };
    Problem::field(Code::BadField, field.to_owned(), message)
}

/// The reason why a body is not the text of a JSON object, if its encoding or its first character
/// shows it.
fn not_an_object(body: &[u8]) -> Option<Cow<'static, str>> {
    if body.starts_with(&[0x1f, 0x8b]) {
        return Some(
            "the body is gzip: send plain JSON, or a batch with content_encoding gzip".into(),
        );
    }
    if [&b"\xef\xbb\xbf"[..], b"\xff\xfe", b"\xfe\xff"]
        .iter()
        .any(|mark| body.starts_with(mark))
    {
        return Some("the body begins with a byte order mark: send UTF-8 without it".into());
    }
    let text = match std::str::from_utf8(body) {
        Ok(text) => text.trim_ascii(),
        Err(error) => {
            let byte = error.valid_up_to() + 1;
            return Some(format!("the body is not UTF-8 at byte {byte}").into());
        }
    };
    let came = match text.bytes().next() {
        Some(b'{') => return None,
        None => return Some("the body is empty: send a JSON object".into()),
        Some(b'"') => match serde_json::from_str::<String>(text) {
            Ok(string) if string.trim_ascii_start().starts_with('{') => {
                return Some(
                    "the body is a JSON string that holds JSON: send the object itself".into(),
                );
            }
            _ => "a string",
        },
        Some(b'[') => "an array",
        Some(b'-' | b'0'..=b'9') => "a number",
        Some(_) => match text {
            "null" => "null",
            "true" | "false" => "a boolean",
            _ => return Some("the body must be a JSON object, not other text".into()),
        },
    };
    Some(format!("the body must be a JSON object, not {came}").into())
}

/// The message for a body that is not JSON. Errors of this category contain no part of the body.
fn syntax(error: &serde_json::Error) -> String {
    let (line, column) = (error.line(), error.column());
    if error.classify() == Category::Eof {
        return format!("the body ends within its JSON object (line {line}, column {column})");
    }
    let text = error.to_string();
    let reason = without_position(&text);
    format!("the body is not acceptable JSON: {reason} (line {line}, column {column})")
}

/// The field that is there twice. Only names of the contract can be: other keys are ignored.
fn duplicate_key(error: &serde_json::Error) -> Option<String> {
    let text = error.to_string();
    let (key, _) = text.strip_prefix("duplicate field `")?.split_once('`')?;
    Some(key.to_owned())
}

/// The expected and the found type: from `invalid type: string "…", expected a UUID`, where only
/// the type's name, and what follows the last `expected`, is known to be no part of the body.
fn must_be(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let Some((found, expected)) = without_position(&text).rsplit_once(", expected ") else {
        return "must be another value".to_owned();
    };
    let (class, found) = found.split_once(": ").unwrap_or_default();
    let found = match (class, found.split(' ').next()) {
        ("invalid type", Some("boolean")) => "a boolean",
        ("invalid type", Some("integer" | "floating" | "number")) => "a number",
        ("invalid type", Some("string")) => "a string",
        ("invalid type", Some("null")) => "null",
        ("invalid type", Some("sequence")) => "an array",
        ("invalid type", Some("map")) => "an object",
        // Words of `super::fields`. serde quotes values.
        ("invalid value", _) if !found.contains(['`', '"']) => found,
        _ => "another value",
    };
    let expected = expected.replace("a sequence", "an array");
    format!("must be {expected}, not {found}")
}

fn without_position(text: &str) -> &str {
    text.rsplit_once(" at line ").map_or(text, |(text, _)| text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Message, entry, init, query};

    const ID: &str = "0192f0c1-0000-7000-8000-000000000001";

    /// The problem of a body, as `field: message` of its code.
    fn rejected(kind: &str, body: &[u8]) -> (Code, String) {
        let routing_key = format!("acme.{kind}");
        let message = Message {
            exchange: "streamwatch",
            routing_key: &routing_key,
            body,
            ..Message::default()
        };
        let problem = match kind {
            "init" => init(&message).map(drop),
            "status" => query(&message).map(drop),
            _ => entry(&message).map(drop),
        }
        .unwrap_err();
        let field = problem.field.map(|field| format!("{field}: "));
        let text = field.unwrap_or_default() + &problem.message;
        (problem.code, text)
    }

    #[test]
    fn a_body_that_is_no_json_object_gets_the_reason() {
        let object = format!(r#"{{"account":"alice","stream":"{ID}"}}"#);
        let text = |text: &str| text.as_bytes().to_vec();
        for (body, reason) in [
            (
                b"\x1f\x8b\x08\0\0".to_vec(),
                "the body is gzip: send plain JSON, or a batch with content_encoding gzip",
            ),
            (
                text(&format!("\u{feff}{object}")),
                "the body begins with a byte order mark: send UTF-8 without it",
            ),
            (
                b"\xff\xfe{\0".to_vec(),
                "the body begins with a byte order mark: send UTF-8 without it",
            ),
            (
                text(&serde_json::to_string(&object).unwrap()),
                "the body is a JSON string that holds JSON: send the object itself",
            ),
            (
                text("\"x\""),
                "the body must be a JSON object, not a string",
            ),
            (text(" [1]"), "the body must be a JSON object, not an array"),
            (text("-7"), "the body must be a JSON object, not a number"),
            (text("null"), "the body must be a JSON object, not null"),
            (
                text("true"),
                "the body must be a JSON object, not a boolean",
            ),
            (
                text("hello"),
                "the body must be a JSON object, not other text",
            ),
            (text(" \n"), "the body is empty: send a JSON object"),
            (
                b"{\"account\":\"\xff\"}".to_vec(),
                "the body is not UTF-8 at byte 13",
            ),
            (
                text(r#"{"account":"alice""#),
                "the body ends within its JSON object (line 1, column 18)",
            ),
            (
                text(r#"{"account"="alice"}"#),
                "the body is not acceptable JSON: expected `:` (line 1, column 11)",
            ),
            (text("{} {}"), "more bytes follow the body's JSON object"),
        ] {
            let expected = (Code::BadJson, reason.to_owned());
            for kind in ["heartbeat", "stop", "init", "status"] {
                assert_eq!(rejected(kind, &body), expected, "{}", body.escape_ascii());
            }
        }
    }

    #[test]
    fn a_duplicate_key_is_named() {
        let body = br#"{"account":"alice","x":1,"x":2,"account":"bob"}"#;
        for kind in ["heartbeat", "stop", "init", "status"] {
            let expected = (Code::BadJson, "account: duplicate key `account`".to_owned());
            assert_eq!(rejected(kind, body), expected);
        }
    }

    #[test]
    fn a_field_of_another_type_gets_the_expected_and_the_found_type() {
        let found = [
            ("true", "a boolean"),
            ("7", "a number"),
            ("-7.5", "a number"),
            ("\"7\"", "a string"),
            ("[7]", "an array"),
            ("{\"7\":7}", "an object"),
        ];
        let whole = "a whole number from 1 to 4294967295";
        let metadata = "an object of at most 16 strings, numbers or booleans with keys of 1 to 64 \
                        bytes and values of at most 256 bytes";
        for (kind, field, expected, accepted) in [
            ("heartbeat", "account", "a string", "a string"),
            ("stop", "stream", "a UUID", "a string"),
            ("heartbeat", "heartbeat_every_ms", whole, "a number"),
            ("init", "metadata", metadata, "an object"),
            ("stop", "all", "a boolean", "a boolean"),
            ("init", "limits", "an array", "an array"),
            ("init", "on_limit", "a string", "a string"),
            ("init", "max_active", whole, "a number"),
            ("init", "replace", "an array", "an array"),
            ("init", "group_by", "an array", "an array"),
            ("status", "consistency", "a string", "a string"),
        ] {
            for (json, found) in found.iter().filter(|(_, found)| *found != accepted) {
                let body = format!("{{\"{field}\":{json}}}");
                let message = format!("{field}: must be {expected}, not {found}");
                assert_eq!(
                    rejected(kind, body.as_bytes()),
                    (Code::BadField, message),
                    "{body}"
                );
            }
        }
    }

    #[test]
    fn an_error_about_a_field_states_its_limits() {
        let whole = "must be a whole number from 1 to 4294967295, not";
        let metadata = "must be an object of at most 16 strings, numbers or booleans with keys of \
                        1 to 64 bytes and values of at most 256 bytes, not one";
        let pairs: Vec<_> = (0..40).map(|n| format!("\"{n}\":\"\"")).collect();
        let ids = |n| vec![format!("\"{ID}\""); n].join(",");
        for (field, json, message) in [
            (
                "stream",
                "\"expected x\"".to_owned(),
                "must be a UUID, not another string".to_owned(),
            ),
            ("max_active", "0".to_owned(), format!("{whole} zero")),
            ("max_active", "0.0".to_owned(), format!("{whole} zero")),
            (
                "max_active",
                "-1".to_owned(),
                format!("{whole} a negative number"),
            ),
            (
                "max_active",
                "-1.0".to_owned(),
                format!("{whole} a negative number"),
            ),
            (
                "max_active",
                "1.5".to_owned(),
                format!("{whole} a number with a fraction"),
            ),
            (
                "max_active",
                "4294967296".to_owned(),
                format!("{whole} a larger number"),
            ),
            (
                "max_active",
                "1e300".to_owned(),
                format!("{whole} a larger number"),
            ),
            (
                "max_active",
                "\"expected x\"".to_owned(),
                format!("{whole} a string"),
            ),
            (
                "max_active",
                "\", expected x at line 1 \"".to_owned(),
                format!("{whole} a string"),
            ),
            (
                "metadata",
                "{\"a\":[7]}".to_owned(),
                "each value must be a string, a number or a boolean, not an array".to_owned(),
            ),
            (
                "metadata",
                "{\"\":\"\"}".to_owned(),
                format!("{metadata} with an empty key, or one of more than 64 bytes"),
            ),
            (
                "metadata",
                format!("{{\"a\":\"{}\"}}", "v".repeat(257)),
                format!("{metadata} with a value of more than 256 bytes"),
            ),
            (
                "metadata",
                "{\"a\":\"1\",\"a\":\"2\"}".to_owned(),
                format!("{metadata} with a duplicate key"),
            ),
            (
                "metadata",
                format!("{{{}}}", pairs.join(",")),
                format!("{metadata} of more than 16 values"),
            ),
            (
                "replace",
                "[7]".to_owned(),
                "each element must be a UUID, not a number".to_owned(),
            ),
            (
                "replace",
                "[\"x\"]".to_owned(),
                "each element must be a UUID, not another string".to_owned(),
            ),
            (
                "replace",
                format!("[{}]", ids(17)),
                "must be an array of at most 16 UUIDs, not a longer one".to_owned(),
            ),
            (
                "group_by",
                "[{}]".to_owned(),
                "each element must be a string, not an object".to_owned(),
            ),
        ] {
            let stream = if field == "stream" {
                ""
            } else {
                "\"stream\":\"0192f0c1-0000-7000-8000-000000000002\","
            };
            let body = format!("{{\"account\":\"alice\",{stream}\"{field}\":{json}}}");
            let expected = (Code::BadField, format!("{field}: {message}"));
            assert_eq!(rejected("init", body.as_bytes()), expected, "{body}");
        }
    }
}
