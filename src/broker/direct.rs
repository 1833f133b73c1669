//! Direct reply-to: `amq.rabbitmq.reply-to.<process>.<key>`, made by RabbitMQ for a channel.
//!
//! RabbitMQ decodes what it finds there into a process of its own and trusts it: 3.10 closes the
//! channel that publishes to one it did not make. A player could take every worker's channel away.

use base64::{Engine, prelude::BASE64_STANDARD};

const PREFIX: &str = "amq.rabbitmq.reply-to.";

const BARE: &str = "amq.rabbitmq.reply-to";

/// Replies to it wait in no queue.
pub(super) fn is_direct(reply_to: &str) -> bool {
    reply_to.starts_with(PREFIX)
}

/// An ordinary queue, or a direct reply-to that RabbitMQ can read. Not the bare name, which only a
/// requester may use: a message that carries it would close the channel that publishes it again.
#[must_use]
pub fn is_sound(reply_to: &str) -> bool {
    let Some(rest) = reply_to.strip_prefix(PREFIX) else {
        return reply_to != BARE;
    };
    let Some((process, key)) = rest.split_once('.') else {
        return false;
    };
    !key.is_empty()
        && BASE64_STANDARD
            .decode(process)
            .is_ok_and(|term| is_process(&term))
}

/// An Erlang process id in the external term format: a node's name, then three or four numbers.
fn is_process(term: &[u8]) -> bool {
    let Some((131, rest)) = term.split_first() else {
        return false;
    };
    let Some((tag, rest)) = rest.split_first() else {
        return false;
    };
    let numbers = match tag {
        88 => 12, // id, serial, creation
        103 => 9, // the same with a creation of one byte
        _ => return false,
    };
    let name_ends = match rest {
        [100 | 118, high, low, ..] => 3 + usize::from(u16::from_be_bytes([*high, *low])),
        [115 | 119, length, ..] => 2 + usize::from(*length),
        _ => return false,
    };
    rest.len() == name_ends + numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_rabbitmq_made_is_told_from_what_somebody_made_up() {
        // As 3.10.8 made it, for a node called n@h.
        let mut process = vec![131, 88, 119, 3];
        process.extend(b"n@h");
        process.extend([0; 12]);
        let made = |term: &[u8]| format!("{PREFIX}{}.key==", BASE64_STANDARD.encode(term));
        assert!(is_sound(&made(&process)));
        assert!(is_sound("amq.gen-x") && is_sound("replies"));
        for bad in [
            format!("{PREFIX}AAAA.k"),
            format!("{PREFIX}g2QABHh4eHg=.k"),
            format!("{PREFIX}g2EB.k"),
            format!("{PREFIX}not base64.k"),
            made(&process[..process.len() - 1]),
            made(&[131]),
            made(&[]),
            PREFIX.to_owned(),
            BARE.to_owned(),
        ] {
            assert!(!is_sound(&bad), "{bad}");
        }
    }
}
