//! Arguments of queues and exchanges.

use lapin::types::AMQPValue;

use super::{
    component::{Arguments, number, text},
    retention::{REQUEST_TTL, Retention},
};

/// Most requests in a queue; the broker rejects further ones with a nack.
const MAX_REQUESTS: i64 = 100_000;
/// Most bytes of the bodies in a quorum queue. A batch has up to 128 KiB, so the limits of messages
/// alone would let the intake take 128 GB of the disk.
const MAX_BYTES: i64 = 1_073_741_824;
/// Delivery limit of requests. RabbitMQ closes a consumer's connection at every delivery of an
/// undeliverable request. A deliverable request is also requeued by each worker that pauses or
/// loses its connection before it has replied, and if it was delivered after an undeliverable one.
pub(super) const DELIVERY_LIMIT: i64 = 2;
/// Time after which RabbitMQ 4.3 requeues the requests of a consumer on an unreachable node, in
/// milliseconds. The default is six times as long as a requester waits. Earlier versions requeue
/// them at once.
const DISCONNECTED_MS: i64 = 2_000;

/// Arguments of a log (RabbitMQ: stream).
pub(super) fn entries(retention: Retention) -> Arguments {
    let age = format!("{}s", retention.max_age.as_secs());
    vec![
        ("x-queue-type", text("stream")),
        ("x-max-age", text(&age)),
        ("x-max-length-bytes", bytes(retention.log_bytes)),
        (
            "x-stream-max-segment-size-bytes",
            bytes(retention.segment_bytes.min(retention.log_bytes / 8)),
        ),
    ]
}

/// Arguments of a snapshot log. Retention is by size alone: the newest snapshot stays until two
/// newer ones are complete, regardless of its age.
pub(super) fn snapshots(retention: Retention) -> Arguments {
    vec![
        ("x-queue-type", text("stream")),
        ("x-max-length-bytes", bytes(retention.snapshot_bytes)),
        (
            "x-stream-max-segment-size-bytes",
            bytes(retention.segment_bytes.min(retention.snapshot_bytes / 8)),
        ),
    ]
}

fn bytes(bytes: u64) -> AMQPValue {
    number(i64::try_from(bytes).unwrap_or(i64::MAX))
}

pub(super) fn requests() -> Arguments {
    refusing(expiring(bounded(MAX_REQUESTS, DELIVERY_LIMIT)))
}

/// Arguments of a quorum queue with limits of messages, of their bytes and of deliveries of each.
pub(super) fn bounded(messages: i64, deliveries: i64) -> Arguments {
    vec![
        ("x-queue-type", text("quorum")),
        ("x-max-length", number(messages)),
        ("x-max-length-bytes", number(MAX_BYTES)),
        ("x-delivery-limit", number(deliveries)),
        ("x-consumer-disconnected-timeout", number(DISCONNECTED_MS)),
    ]
}

pub(super) fn expiring(mut arguments: Arguments) -> Arguments {
    let ttl = i64::try_from(REQUEST_TTL.as_millis()).unwrap_or(i64::MAX);
    arguments.push(("x-message-ttl", number(ttl)));
    arguments
}

/// Makes a full queue reject messages with a nack.
pub(super) fn refusing(mut arguments: Arguments) -> Arguments {
    arguments.push(("x-overflow", text("reject-publish")));
    arguments
}

/// The argument for the exchange that receives messages without a matching binding.
pub(super) fn alternate(exchange: &str) -> (&'static str, AMQPValue) {
    ("alternate-exchange", text(exchange))
}
