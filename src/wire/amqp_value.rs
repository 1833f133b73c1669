//! Bodies of AMQP 1.0 messages that are no data section.
//!
//! RabbitMQ passes the content of a data section on to AMQP 0.9.1 consumers, and any other body as
//! the encoded sections. Many AMQP 1.0 libraries send a text as an `amqp-value` section by default.

use super::{Code, Problem};

/// Descriptors of sections.
const DATA: u8 = 0x75;
const SEQUENCE: u8 = 0x76;
const VALUE: u8 = 0x77;
const FOOTER: u8 = 0x78;
const VALUE_SYMBOL: &[u8] = b"amqp:amqp-value:*";

/// Returns the content of a body that is an `amqp-value` section with a string or binary, and any
/// body that is not an encoded section as it is. JSON does not begin with the first byte of a
/// section.
///
/// # Errors
/// `bad_json` if the body is another section or value.
pub(super) fn unwrapped(body: &[u8]) -> Result<&[u8], Problem> {
    let Some((descriptor, value)) = section(body) else {
        return Ok(body);
    };
    let found = match descriptor {
        DATA => "more than one data section",
        SEQUENCE => "a sequence",
        VALUE => match content(value) {
            Some(content) => return Ok(content),
            None => kind(value),
        },
        _ => "not the section of a body",
    };
    let message = format!("the body in AMQP 1.0 is {found}: send a data section with JSON");
    Err(Problem::new(Code::BadJson, message))
}

/// Splits the descriptor of a section from the rest.
fn section(bytes: &[u8]) -> Option<(u8, &[u8])> {
    match bytes {
        [0, 0x53, descriptor, rest @ ..]
        | [0, 0x80, 0, 0, 0, 0, 0, 0, 0, descriptor, rest @ ..] => Some((*descriptor, rest)),
        [0, 0xa3, length, rest @ ..] => {
            let (symbol, rest) = rest.split_at_checked(usize::from(*length))?;
            (symbol == VALUE_SYMBOL).then_some((VALUE, rest))
        }
        _ => None,
    }
}

/// The content of a string or binary, which only a footer may follow.
fn content(value: &[u8]) -> Option<&[u8]> {
    let (length, rest) = match value {
        [0xa0 | 0xa1, length, rest @ ..] => (u32::from(*length), rest),
        [0xb0 | 0xb1, a, b, c, d, rest @ ..] => (u32::from_be_bytes([*a, *b, *c, *d]), rest),
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    let is_last = rest.is_empty() || section(rest).is_some_and(|(it, _)| it == FOOTER);
    is_last.then_some(content)
}

/// The type of a value, from its constructor.
fn kind(value: &[u8]) -> &'static str {
    match value.first() {
        Some(0x40) => "null",
        Some(0x41 | 0x42 | 0x56) => "a boolean",
        Some(0x43 | 0x44 | 0x50..=0x55 | 0x60..=0x72 | 0x74 | 0x80..=0x82 | 0x84 | 0x94) => {
            "a number"
        }
        Some(0xa0 | 0xa1 | 0xb0 | 0xb1) => "a string or binary that is not whole",
        Some(0xa3 | 0xb3) => "a symbol",
        Some(0x45 | 0xc0 | 0xd0) => "a list",
        Some(0xc1 | 0xd1) => "a map",
        Some(0xe0 | 0xf0) => "an array",
        _ => "another value",
    }
}

#[cfg(test)]
#[path = "amqp_value_tests.rs"]
mod tests;
