//! Filling logs as players do: heartbeats through the exchange, each confirmed. Not measured.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use lapin::message::Delivery;
use lapin::options::{BasicConsumeOptions, BasicPublishOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, PublisherConfirm};
use tokio::time::Instant;

use crate::broker::fixture::Installation;
use crate::in_process::corpus;

const CONNECTIONS: usize = 4;
/// Published on one connection before their confirms are waited for.
const BATCH: usize = 500;

/// Publishes heartbeats with these bodies, each of a stream's number.
pub async fn fill(
    at: &Installation<'_>,
    what: &str,
    count: usize,
    heartbeats: impl Iterator<Item = (usize, String)>,
) {
    let (heartbeats, sent, began) = (Mutex::new(heartbeats), AtomicUsize::new(0), Instant::now());
    let said = Mutex::new(Instant::now());
    let next = || -> Vec<_> {
        heartbeats
            .lock()
            .expect("no panic")
            .by_ref()
            .take(BATCH)
            .collect()
    };
    let one = async || {
        let channel = at.broker.confirming_channel().await;
        let mut before = Vec::new();
        loop {
            let batch = next();
            let mut confirms = Vec::new();
            for (n, body) in &batch {
                let names = at.names();
                confirms.push(heartbeat(&channel, names.exchange(), *n, body, None).await);
            }
            for confirm in std::mem::replace(&mut before, confirms) {
                assert!(confirm.await.expect("it is confirmed").is_ack());
            }
            if batch.is_empty() && before.is_empty() {
                return;
            }
            let sent = sent.fetch_add(batch.len(), Ordering::Relaxed) + batch.len();
            let mut said = said.lock().expect("no panic");
            if said.elapsed() > Duration::from_secs(5) {
                *said = Instant::now();
                eprintln!("  {what}: {sent} of {count}");
            }
        }
    };
    join_all((0..CONNECTIONS).map(|_| one())).await;
    let sent = sent.into_inner();
    assert_eq!(sent, count, "{what}");
    let rate = sent as f64 / began.elapsed().as_secs_f64();
    eprintln!("  {what}: {sent}, {rate:.0}/s");
}

/// Hands a heartbeat of stream `n` to the connection; gives its confirm.
pub async fn heartbeat(
    channel: &Channel,
    exchange: &str,
    n: usize,
    body: &str,
    id: Option<&str>,
) -> PublisherConfirm {
    let mut headers = FieldTable::default();
    let account = AMQPValue::LongString(corpus::account(n).into());
    headers.insert("account".into(), account);
    let mut properties = BasicProperties::default().with_headers(headers);
    if let Some(id) = id {
        properties = properties.with_message_id(id.into());
    }
    let key = format!("{}.heartbeat", corpus::TENANT);
    let options = BasicPublishOptions::default();
    let sent = channel.basic_publish(
        exchange.into(),
        key.into(),
        options,
        body.as_bytes(),
        properties,
    );
    sent.await.expect("it is sent")
}

/// Appends one more heartbeat to the log of a single partition, to see where the log ends.
pub async fn log_end(at: &Installation<'_>) -> u64 {
    let channel = at.broker.confirming_channel().await;
    let prefetch = channel.basic_qos(100, BasicQosOptions::default());
    prefetch.await.expect("it is set");
    let mut arguments = FieldTable::default();
    let last = AMQPValue::LongString("last".into());
    arguments.insert("x-stream-offset".into(), last);
    let log = at.names().log(0);
    let options = BasicConsumeOptions {
        no_ack: false,
        ..BasicConsumeOptions::default()
    };
    let consume = channel.basic_consume(log.into(), "".into(), options, arguments);
    let mut consumer = consume.await.expect("there is a log");
    let id = uuid::Uuid::new_v4().to_string();
    let names = at.names();
    let body = corpus::later(0);
    let confirm = heartbeat(&channel, names.exchange(), 0, &body, Some(&id)).await;
    assert!(confirm.await.expect("it is confirmed").is_ack());
    loop {
        let delivery = consumer
            .next()
            .await
            .expect("it goes on")
            .expect("an entry");
        delivery.ack(Default::default()).await.expect("it is open");
        let found = delivery.properties.message_id().as_ref();
        if found.is_some_and(|found| found.as_str() == id) {
            return offset(&delivery);
        }
    }
}

/// The place of an entry in its log.
pub fn offset(delivery: &Delivery) -> u64 {
    let headers = delivery.properties.headers().as_ref();
    match headers.and_then(|headers| headers.inner().get("x-stream-offset")) {
        Some(AMQPValue::LongLongInt(offset)) => offset.cast_unsigned(),
        other => panic!("an entry has its offset: {other:?}"),
    }
}
