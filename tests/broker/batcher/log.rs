//! The messages in a log, in order.

use futures_util::StreamExt;
use lapin::{
    BasicProperties,
    options::{BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions},
    types::{AMQPValue, FieldTable},
};
use serde_json::Value;
use streamwatch::client::StreamId;

use crate::fixture::{Installation, PATIENCE};

/// A message of a client.
#[derive(Debug)]
pub struct Entry {
    pub key: String,
    /// The events of a batch, or the only one.
    pub events: Vec<Event>,
}

#[derive(Debug)]
pub struct Event {
    pub kind: String,
    pub stream: StreamId,
}

/// The heartbeats, stops and batches in the log of `partition` up to now.
pub async fn entries(installation: &Installation<'_>, partition: u16) -> Vec<Entry> {
    let log = installation.names().log(partition);
    let channel = installation.broker.confirming_channel().await;
    let marker = StreamId::generate().to_string();
    let appended = channel.basic_publish(
        "".into(),
        log.as_str().into(),
        BasicPublishOptions::default(),
        marker.as_bytes(),
        BasicProperties::default(),
    );
    let appended = appended.await.expect("it is written");
    appended.await.expect("the log stores the marker");

    let qos = channel.basic_qos(1_000, BasicQosOptions::default());
    qos.await.expect("a prefetch");
    let mut from = FieldTable::default();
    from.insert(
        "x-stream-offset".into(),
        AMQPValue::LongString("first".into()),
    );
    let options = BasicConsumeOptions::default();
    let consumer = channel.basic_consume(log.into(), "".into(), options, from);
    let mut consumer = consumer.await.expect("the log is there");
    let mut entries = Vec::new();
    loop {
        let next = tokio::time::timeout(PATIENCE, consumer.next()).await;
        let delivery = next.expect("the marker follows").expect("a consumer");
        let delivery = delivery.expect("a delivery");
        let acked = delivery.ack(BasicAckOptions::default()).await;
        acked.expect("an open channel");
        if delivery.data == marker.as_bytes() {
            return entries;
        }
        let key = delivery.routing_key.to_string();
        let Some((_, kind)) = key
            .split_once('.')
            .filter(|_| !delivery.exchange.as_str().is_empty())
        else {
            continue;
        };
        let body: Value = serde_json::from_slice(&delivery.data).expect("JSON");
        let events = match body["events"].as_array() {
            Some(events) => events.iter().map(|e| event(e, &e["kind"])).collect(),
            None => vec![event(&body, &kind.into())],
        };
        entries.push(Entry { key, events });
    }
}

fn event(body: &Value, kind: &Value) -> Event {
    let text = |value: &Value| value.as_str().expect("a string").to_owned();
    Event {
        kind: text(kind),
        stream: text(&body["stream"]).parse().expect("a stream's id"),
    }
}

/// The routing keys of the messages with events of `stream`.
pub fn keys(log: &[Entry], stream: StreamId) -> Vec<&str> {
    let has = |entry: &&Entry| entry.events.iter().any(|event| event.stream == stream);
    let keys = log.iter().filter(has).map(|entry| entry.key.as_str());
    keys.collect()
}

/// The kinds of the events of `stream`.
pub fn kinds(log: &[Entry], stream: StreamId) -> Vec<&str> {
    let events = log.iter().flat_map(|entry| &entry.events);
    let own = events.filter(|event| event.stream == stream);
    own.map(|event| event.kind.as_str()).collect()
}
