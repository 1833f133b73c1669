//! Direct reply-to: `amq.rabbitmq.reply-to.<process>.<key>`, made by RabbitMQ for a channel.
//!
//! `<process>` is the Base64 of an Erlang process id whose node is called `reply@<hash of the
//! node's name>`: on 3.10, 4.0 and 4.3 alike. RabbitMQ 3.10 closes the connection that publishes to
//! another name, to a node that is not running, or to a process number that it does not use; 4.0
//! does so for a few. Only the shape can be checked here; [`Process`] names what a worker has to
//! try out.

use base64::{Engine, prelude::BASE64_STANDARD};

const PREFIX: &str = "amq.rabbitmq.reply-to.";
const BARE: &str = "amq.rabbitmq.reply-to";
/// The node's name in front of its hash.
const NODE: &str = "reply@";
/// Hashes of node names are below this: `erlang:phash2/1`.
const HASHES: u32 = 1 << 27;
/// Erlang's external term format: version, process id, names up to 255 bytes and longer ones.
const VERSION: u8 = 131;
const PROCESS_ID: u8 = 88;
const SHORT_NAME: u8 = 119;
const LONG_NAME: u8 = 118;
/// Process numbers that Erlang before release 26 uses have so many bits.
const ID_BITS: u32 = 15;
const SERIAL_BITS: u32 = 13;

/// Returns whether a reply to it waits in no queue.
pub(super) fn is_direct(reply_to: &str) -> bool {
    reply_to.starts_with(PREFIX)
}

/// Returns whether it is an ordinary queue, or a direct reply-to of the shape that RabbitMQ makes.
/// The bare name is neither: only a requester may use it, and a message that carries it would close
/// the channel that publishes it again.
#[must_use]
pub fn is_sound(reply_to: &str) -> bool {
    reply_to != BARE && (!is_direct(reply_to) || Process::of(reply_to).is_some())
}

/// The node of a direct reply-to, and the range of its process number. RabbitMQ takes replies for
/// all processes of one range alike, so that one confirmed reply stands for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Process {
    node: u32,
    id_range: u32,
    serial_range: u32,
}

impl Process {
    /// The process of a direct reply-to; `None` if it has not the shape that RabbitMQ makes.
    pub(super) fn of(reply_to: &str) -> Option<Self> {
        let (process, key) = reply_to.strip_prefix(PREFIX)?.split_once('.')?;
        if !BASE64_STANDARD.decode(key).is_ok_and(|key| !key.is_empty()) {
            return None;
        }
        let term = BASE64_STANDARD.decode(process).ok()?;
        let (name, numbers) = match term.as_slice() {
            [VERSION, PROCESS_ID, SHORT_NAME, length, rest @ ..] => {
                rest.split_at_checked(usize::from(*length))?
            }
            [VERSION, PROCESS_ID, LONG_NAME, high, low, rest @ ..] => {
                rest.split_at_checked(usize::from(u16::from_be_bytes([*high, *low])))?
            }
            _ => return None,
        };
        // Id, serial and creation.
        let numbers: &[u8; 12] = numbers.try_into().ok()?;
        let (id, serial) = (number(&numbers[..4]), number(&numbers[4..8]));
        let hash = std::str::from_utf8(name).ok()?.strip_prefix(NODE)?;
        let node = hash.parse().ok().filter(|node| *node < HASHES)?;
        // As RabbitMQ writes it: no sign, no zero in front.
        (u32::to_string(&node) == hash).then_some(Self {
            node,
            id_range: id >> ID_BITS,
            serial_range: serial >> SERIAL_BITS,
        })
    }
}

fn number(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |n, byte| n << 8 | u32::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn direct(node: &[u8], id: u32, serial: u32) -> String {
        let mut term = vec![VERSION, PROCESS_ID, LONG_NAME, 0];
        term.push(u8::try_from(node.len()).unwrap());
        term.extend(node);
        term.extend(id.to_be_bytes());
        term.extend(serial.to_be_bytes());
        term.extend([1; 4]);
        format!("{PREFIX}{}.a2V5", BASE64_STANDARD.encode(term))
    }

    #[test]
    fn direct_reply_tos_of_rabbitmq_are_sound() {
        for made in [
            // 3.10.8, 4.0.5, 4.3.6
            "g1h2AA5yZXBseUAyMTg0MDIxMgAABdkAAAAAawpSNg==.yxi8RqIL0x9OOGlaFXNOJw==",
            "g1h2AA5yZXBseUA1NzY2Mjc4OAAABOsAAAAAawpSPw==.27uOihEmAJfdeWBj4Jb85A==",
            "g1h2AA9yZXBseUAxMTExMzk5NDAAAAV+AAAAAGsKUkM=.3tndVKl0fBhHgC9rKXwbng==",
        ] {
            assert!(is_sound(&format!("{PREFIX}{made}")), "{made}");
        }
        assert!(is_sound("amq.gen-x") && is_sound("replies"));
    }

    #[test]
    fn names_that_close_the_connection_of_a_publisher_are_not_sound() {
        for bad in [
            format!("{PREFIX}AAAA.a2V5"),
            format!("{PREFIX}g2EB.a2V5"),
            format!("{PREFIX}not base64.a2V5"),
            direct(b"n@h", 1, 0),
            direct(b"nh", 1, 0),
            direct(b"\xff\xfe@12", 1, 0),
            direct(b"reply@012", 1, 0),
            direct(b"reply@+12", 1, 0),
            direct(b"reply@134217728", 1, 0),
            direct(b"xreply@12", 1, 0),
            direct(b"reply@12", 1, 0).replace(".a2V5", ""),
            direct(b"reply@12", 1, 0).replace(".a2V5", "."),
            direct(b"reply@12", 1, 0) + ".a2V5",
            PREFIX.to_owned(),
            BARE.to_owned(),
        ] {
            assert!(!is_sound(&bad), "{bad}");
        }
    }

    #[test]
    fn one_confirmed_reply_stands_for_the_node_and_the_range_of_numbers() {
        let process = |node, id, serial| Process::of(&direct(node, id, serial)).unwrap();
        let first = process(b"reply@12", 1, 0);
        assert_eq!(first, process(b"reply@12", 32_767, 8_191));
        for other in [
            process(b"reply@13", 1, 0),
            process(b"reply@12", 32_768, 0),
            process(b"reply@12", 1, 8_192),
        ] {
            assert_ne!(first, other);
        }
    }
}
