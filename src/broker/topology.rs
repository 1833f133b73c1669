//! The exchanges and queues of an installation: declared, looked at, deleted.

use std::time::Duration;

use lapin::{
    Channel, ExchangeKind,
    options::{
        ExchangeBindOptions, ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions,
        QueueDeclareOptions, QueueDeleteOptions,
    },
    types::{AMQPValue, FieldTable},
};

use super::{BrokerError, Link, Names, connect::within};
use crate::domain::REQUEST_QUEUE_MS;

/// How long a request waits in its queue: no redelivery comes later.
pub const REQUEST_TTL: Duration = Duration::from_millis(REQUEST_QUEUE_MS);
/// Most requests that wait in a queue; publishers of more get a negative confirm.
const MAX_REQUESTS: i64 = 100_000;
/// Most unrouted messages that are kept; the oldest go first.
const MAX_UNROUTED: i64 = 10_000;
/// RabbitMQ 4 drops a message after 20 deliveries, closed channels included, and -1 would drop it
/// after the first on 3.10: so a number that no request reaches within its TTL.
const DELIVERY_LIMIT: i64 = 1_000_000;

/// How the log is kept on disk. RabbitMQ frees whole segments, when a new one begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Entries older than this may go.
    pub max_age: Duration,
    /// Bytes of one segment.
    pub segment_bytes: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            max_age: Duration::from_secs(4 * 3600),
            segment_bytes: 64 * 1024 * 1024,
        }
    }
}

/// A queue as RabbitMQ reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueState {
    /// Its name.
    pub name: String,
    /// Messages in it; `None` where it does not exist.
    pub messages: Option<u32>,
    /// Its consumers.
    pub consumers: u32,
}

fn table(pairs: &[(&str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (key, value) in pairs {
        table.insert((*key).into(), value.clone());
    }
    table
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

/// Declares everything. What exists with the same properties is left as it is. Returns whether
/// the log is new: one that exists keeps its retention.
///
/// # Errors
/// [`BrokerError::Precondition`] where something exists with other properties, `AccessRefused`
/// where the user may not configure it.
pub async fn declare(
    link: &Link,
    names: &Names,
    retention: Retention,
) -> Result<bool, BrokerError> {
    let channel = link.channel().await?;
    let unrouted = names.unrouted();
    exchange(&channel, &unrouted, ExchangeKind::Fanout, true, &[]).await?;
    let dropped = [
        ("x-queue-type", text("quorum")),
        ("x-max-length", AMQPValue::LongLongInt(MAX_UNROUTED)),
        ("x-message-ttl", AMQPValue::LongLongInt(ms(REQUEST_TTL))),
        ("x-delivery-limit", AMQPValue::LongLongInt(DELIVERY_LIMIT)),
    ];
    queue(&channel, &unrouted, &dropped).await?;
    bind(&channel, &unrouted, &unrouted, "").await?;

    exchange(&channel, names.exchange(), ExchangeKind::Topic, false, &[]).await?;
    let partition = names.partition(0);
    let alternate = [("alternate-exchange", text(&unrouted))];
    exchange(&channel, &partition, ExchangeKind::Topic, true, &alternate).await?;
    within(
        "binding exchanges",
        channel.exchange_bind(
            partition.as_str().into(),
            names.exchange().into(),
            "#".into(),
            ExchangeBindOptions::default(),
            FieldTable::default(),
        ),
    )
    .await?;

    // The log's arguments are its first declaration's: retention may have been changed since.
    let new = !exists(link, &names.log(0)).await?;
    if new {
        let segment = i64::try_from(retention.segment_bytes).unwrap_or(i64::MAX);
        let log = [
            ("x-queue-type", text("stream")),
            (
                "x-max-age",
                text(&format!("{}s", retention.max_age.as_secs())),
            ),
            (
                "x-stream-max-segment-size-bytes",
                AMQPValue::LongLongInt(segment),
            ),
        ];
        queue(&channel, &names.log(0), &log).await?;
    }
    let requests = [
        ("x-queue-type", text("quorum")),
        ("x-max-length", AMQPValue::LongLongInt(MAX_REQUESTS)),
        ("x-overflow", text("reject-publish")),
        ("x-message-ttl", AMQPValue::LongLongInt(ms(REQUEST_TTL))),
        ("x-delivery-limit", AMQPValue::LongLongInt(DELIVERY_LIMIT)),
    ];
    queue(&channel, &names.init(0), &requests).await?;
    queue(&channel, &names.status(0), &requests).await?;
    for (queue, key) in [
        (names.log(0), "*.heartbeat.#"),
        (names.log(0), "*.stop.#"),
        (names.init(0), "*.init.#"),
        (names.status(0), "*.status.#"),
    ] {
        bind(&channel, &queue, &partition, key).await?;
    }
    Ok(new)
}

/// Deletes everything, with all that is in it.
///
/// # Errors
/// Where the broker refuses. What is not there is no error.
pub async fn delete(link: &Link, names: &Names) -> Result<(), BrokerError> {
    let channel = link.channel().await?;
    for exchange in [
        names.exchange().to_owned(),
        names.partition(0),
        names.unrouted(),
    ] {
        within(
            "deleting an exchange",
            channel.exchange_delete(exchange.into(), ExchangeDeleteOptions::default()),
        )
        .await?;
    }
    for queue in queues(names) {
        within(
            "deleting a queue",
            channel.queue_delete(queue.into(), QueueDeleteOptions::default()),
        )
        .await?;
    }
    Ok(())
}

/// What RabbitMQ says about each queue.
///
/// # Errors
/// Where the broker cannot be asked.
pub async fn show(link: &Link, names: &Names) -> Result<Vec<QueueState>, BrokerError> {
    let mut states = Vec::new();
    for name in queues(names) {
        // A passive declaration that fails takes its channel with it.
        let channel = link.channel().await?;
        let options = QueueDeclareOptions::default().passive();
        let asked = channel.queue_declare(name.as_str().into(), options, FieldTable::default());
        states.push(match within("looking at a queue", asked).await {
            Ok(queue) => QueueState {
                name,
                messages: Some(queue.message_count()),
                consumers: queue.consumer_count(),
            },
            Err(BrokerError::NotFound(_)) => QueueState {
                name,
                messages: None,
                consumers: 0,
            },
            Err(error) => return Err(error),
        });
    }
    Ok(states)
}

fn queues(names: &Names) -> [String; 4] {
    [
        names.log(0),
        names.init(0),
        names.status(0),
        names.unrouted(),
    ]
}

async fn exists(link: &Link, queue: &str) -> Result<bool, BrokerError> {
    let channel = link.channel().await?;
    let options = QueueDeclareOptions::default().passive();
    let asked = channel.queue_declare(queue.into(), options, FieldTable::default());
    match within("looking at a queue", asked).await {
        Ok(_) => Ok(true),
        Err(BrokerError::NotFound(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

async fn exchange(
    channel: &Channel,
    name: &str,
    kind: ExchangeKind,
    internal: bool,
    arguments: &[(&str, AMQPValue)],
) -> Result<(), BrokerError> {
    let options = ExchangeDeclareOptions {
        durable: true,
        internal,
        ..ExchangeDeclareOptions::default()
    };
    let declared = channel.exchange_declare(name.into(), kind, options, table(arguments));
    within("declaring an exchange", declared).await
}

async fn queue(
    channel: &Channel,
    name: &str,
    arguments: &[(&str, AMQPValue)],
) -> Result<(), BrokerError> {
    let options = QueueDeclareOptions::durable();
    let declared = channel.queue_declare(name.into(), options, table(arguments));
    within("declaring a queue", declared).await.map(drop)
}

async fn bind(
    channel: &Channel,
    queue: &str,
    exchange: &str,
    key: &str,
) -> Result<(), BrokerError> {
    let bound = channel.queue_bind(
        queue.into(),
        exchange.into(),
        key.into(),
        QueueBindOptions::default(),
        FieldTable::default(),
    );
    within("binding a queue", bound).await
}

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
