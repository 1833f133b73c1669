//! Names of streamwatch's queues without the namespace. Workers send no reply to such a queue.

use super::namespace::is_namespace;

/// The text between the namespace and the rest of a queue's name.
pub(super) const PREFIX: &str = "streamwatch.";
pub(super) const LOG: &str = "log";
pub(super) const SNAPSHOTS: &str = "snapshots";
pub(super) const INIT: &str = "init";
pub(super) const STATUS: &str = "status";
pub(super) const SHARED: &str = "shared";
pub(super) const UNROUTED: &str = "unrouted";
pub(super) const CLOSED: &str = "closed";
pub(super) const RING_LOCK: &str = "hash.lock";
pub(super) const INTAKE_REQUESTS: &str = "intake.requests";
pub(super) const INTAKE_EVENTS: &str = "intake.events";
pub(super) const LIFECYCLE: &str = "lifecycle";
pub(super) const REJECTED: &str = "rejected";

/// Queues of a partition, after its number.
const PARTITION_QUEUES: [&str; 4] = [LOG, SNAPSHOTS, INIT, STATUS];
/// Queues of an installation.
const QUEUES: [&str; 5] = [UNROUTED, CLOSED, RING_LOCK, INTAKE_REQUESTS, INTAKE_EVENTS];
/// Exchanges whose subscribers' queues begin with their name and a dot.
const SUBSCRIPTIONS: [&str; 2] = [LIFECYCLE, REJECTED];

/// Returns whether `queue` belongs to streamwatch, in this or another installation on the
/// virtual host. Workers send no reply there, since it would be read as an entry, a request or
/// a lifecycle event. Any other name, such as `streamwatch.replies`, belongs to a requester.
pub(super) fn is_streamwatch_queue(queue: &str) -> bool {
    let mut found = queue.match_indices(PREFIX);
    found.any(|(at, _)| is_namespace(&queue[..at]) && is_a_queue(&queue[at + PREFIX.len()..]))
}

/// Returns whether a queue of an installation has this name after the namespace.
fn is_a_queue(name: &str) -> bool {
    let of_a_partition = name.strip_prefix('p').and_then(|rest| rest.split_once('.'));
    match of_a_partition {
        Some((number, what)) if number.bytes().all(|b| b.is_ascii_digit()) => {
            PARTITION_QUEUES.contains(&what) || is_a_local_queue(what)
        }
        _ => {
            let of = |exchange: &&str| {
                name.strip_prefix(*exchange)
                    .is_some_and(|it| it.starts_with('.'))
            };
            QUEUES.contains(&name) || SUBSCRIPTIONS.iter().any(of)
        }
    }
}

/// Returns whether a worker's local queue of `status` requests has this name after the partition.
fn is_a_local_queue(name: &str) -> bool {
    let number = name
        .strip_prefix(STATUS)
        .and_then(|rest| rest.strip_prefix('.'));
    number.is_some_and(|it| it.len() == 16 && it.bytes().all(|b| b.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{broker::Names, domain::Tenant};

    #[test]
    fn no_queue_of_any_installation_is_a_reply_queue() {
        for namespace in ["", "staging-", "a.streamwatch."] {
            let names = Names::new(namespace).unwrap();
            for queue in [
                names.log(0),
                names.snapshots(63),
                names.init(7),
                names.status(100),
                names.local_status_queue(0, 0xfeed),
                names.unrouted(),
                names.closed(),
                names.ring_lock(),
                names.intake_requests(),
                names.intake_events(),
                names.subscriptions(Some(&Tenant::new("acme").unwrap())) + "streamwatch.audit",
                names.rejected() + ".x",
            ] {
                assert!(is_streamwatch_queue(&queue), "{queue}");
            }
        }
    }

    #[test]
    fn a_requesters_queue_may_be_named_after_streamwatch() {
        for queue in [
            "streamwatch.replies",
            "shop.streamwatch.replies",
            "streamwatch.p00.log.replies",
            "streamwatch.p00.status.replies",
            "replies.streamwatch.player-7",
            "streamwatch.",
            "amq.rabbitmq.reply-to.g1h",
            "my queue streamwatch.p00.log",
        ] {
            assert!(!is_streamwatch_queue(queue), "{queue}");
        }
    }
}
