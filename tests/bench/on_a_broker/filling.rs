//! Filling logs with heartbeats through the exchange, each message confirmed. Not measured.
//!
//! No worker runs meanwhile, as it would slow down the filling. But a worker would also publish
//! lifecycle events and record that in the log; without these records, a replica buffers each of a
//! million events. So this file appends the records after each step.

use std::sync::Mutex;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel};
use streamwatch::broker::{Appended, Appender, Connection};
use streamwatch::domain::{EntryId, Internal, InternalEntry};
use streamwatch::wire;
use tokio::time::Instant;

use crate::broker::fixture::Installation;
use crate::in_process::corpus;

const CONNECTIONS: usize = 4;
/// Most unconfirmed messages of a connection.
const UNDER_WAY: usize = 1_000;
/// Heartbeats between two records of publication, as in some seconds of many players.
const STEP: usize = 50_000;
/// Interval of progress messages.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// The content of a message.
#[derive(Clone, Copy)]
pub struct Content {
    /// The last word of the routing key.
    pub word: &'static str,
    /// The number of heartbeats.
    pub events: usize,
}

pub const HEARTBEAT: Content = Content {
    word: "heartbeat",
    events: 1,
};

pub const BATCH: Content = Content {
    word: "batch",
    events: 200,
};

/// Publishes messages with these bodies, each with the number of a stream whose account is the
/// header, while no worker runs.
pub async fn fill(
    at: &Installation<'_>,
    partitions: u16,
    what: &str,
    content: Content,
    messages: impl Iterator<Item = (usize, String)>,
) {
    publish(at, what, content, messages, async || {
        for number in 0..partitions {
            record_announced(at, number).await;
        }
    })
    .await;
}

/// Publishes messages without records of publication, which a worker appends if one runs. Returns
/// the duration.
pub async fn publish_only(
    at: &Installation<'_>,
    what: &str,
    content: Content,
    messages: impl Iterator<Item = (usize, String)>,
) -> Duration {
    let began = Instant::now();
    publish(at, what, content, messages, async || ()).await;
    began.elapsed()
}

/// Publishes heartbeats while a worker runs.
pub async fn publish_heartbeats(
    at: &Installation<'_>,
    what: &str,
    heartbeats: impl Iterator<Item = (usize, String)>,
) {
    publish(at, what, HEARTBEAT, heartbeats, async || ()).await;
}

async fn publish(
    at: &Installation<'_>,
    what: &str,
    content: Content,
    mut messages: impl Iterator<Item = (usize, String)>,
    step: impl AsyncFn(),
) {
    let exchange = at.names().exchange().to_owned();
    let channels = join_all((0..CONNECTIONS).map(|_| at.broker.confirming_channel())).await;
    let (mut sent, began, mut said) = (0, Instant::now(), Instant::now());
    loop {
        let some: Vec<_> = messages.by_ref().take(STEP / content.events).collect();
        if some.is_empty() {
            break;
        }
        sent += some.len() * content.events;
        let some = Mutex::new(some.into_iter());
        let all = channels.iter().map(|channel| {
            let next = || some.lock().expect("no panic").next();
            let (exchange, some) = (exchange.as_str(), std::iter::from_fn(next));
            let sending =
                some.map(async |(n, body)| message(channel, exchange, content, n, body).await);
            futures_util::stream::iter(sending)
                .buffer_unordered(UNDER_WAY)
                .collect::<()>()
        });
        join_all(all).await;
        step().await;
        if said.elapsed() > SAY_EVERY {
            said = Instant::now();
            eprintln!("  {what}: {sent}");
        }
    }
    let rate = sent as f64 / began.elapsed().as_secs_f64();
    eprintln!("  {what}: {sent}, {rate:.0}/s");
}

/// Publishes a heartbeat of stream `n`. Returns once it is confirmed.
pub async fn heartbeat(channel: &Channel, exchange: &str, n: usize, body: String) {
    message(channel, exchange, HEARTBEAT, n, body).await;
}

async fn message(channel: &Channel, exchange: &str, content: Content, n: usize, body: String) {
    let mut headers = FieldTable::default();
    let account = AMQPValue::LongString(corpus::account(n).into());
    headers.insert("account".into(), account);
    let properties = BasicProperties::default().with_headers(headers);
    let key = format!("{}.{}", corpus::TENANT, content.word);
    let options = BasicPublishOptions::default();
    let sent = channel.basic_publish(
        exchange.into(),
        key.into(),
        options,
        body.as_bytes(),
        properties,
    );
    let confirmed = sent.await.expect("it is sent").await;
    assert!(confirmed.expect("it is answered").is_ack());
}

/// Records in a log that all earlier events were published. Returns the offset of the record.
pub async fn record_announced(at: &Installation<'_>, number: u16) -> u64 {
    let log = at.names().log(number);
    let url = at.broker.url().parse().expect("an address");
    let connection = Connection::open(&url, 0, "bench")
        .await
        .expect("it connects");
    let mut appender = Appender::new(&connection, &log).await.expect("a channel");
    let writer = uuid::Uuid::new_v4().as_u64_pair().0;
    let mut append = async |seq, up_to| {
        let body = Internal::Announced { up_to };
        let entry_id = EntryId { writer, seq };
        let entry = InternalEntry {
            entry_id,
            writer_state: None,
            body,
        };
        appender.append_entry(&entry);
        let (_, appended) = appender.next().await;
        assert!(matches!(appended, Appended::Confirmed), "{appended:?}");
        wire::encode_internal(&entry)
    };
    // RabbitMQ does not report offsets to publishers, so the first entry is read to find its
    // position.
    let channel = at.broker.channel().await;
    let mut consumer = from(&channel, &log, AMQPValue::LongString("last".into())).await;
    let first = append(1, 0).await;
    let place = loop {
        let delivery = consumer
            .next()
            .await
            .expect("it goes on")
            .expect("an entry");
        let acked = delivery.ack(BasicAckOptions::default()).await;
        acked.expect("it is open");
        if delivery.data == first {
            break offset(&delivery);
        }
    };
    append(2, place).await;
    connection.close().await;
    place + 1
}

/// Reads a log from a position, and acknowledges each entry.
pub async fn from(channel: &Channel, log: &str, place: AMQPValue) -> lapin::Consumer {
    let qos = channel.basic_qos(100, BasicQosOptions::default());
    qos.await.expect("it is set");
    let mut arguments = FieldTable::default();
    arguments.insert("x-stream-offset".into(), place);
    let options = BasicConsumeOptions::default();
    let consume = channel.basic_consume(log.into(), "".into(), options, arguments);
    consume.await.expect("there is a log")
}

/// The offset of an entry in its log.
pub fn offset(delivery: &Delivery) -> u64 {
    let headers = delivery.properties.headers().as_ref();
    match headers.and_then(|headers| headers.inner().get("x-stream-offset")) {
        Some(AMQPValue::LongLongInt(offset)) => offset.cast_unsigned(),
        other => panic!("an entry has its offset: {other:?}"),
    }
}
