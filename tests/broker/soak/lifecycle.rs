//! A subscriber to the lifecycle with a queue that survives every connection.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicQosOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ConnectionProperties};
use serde_json::Value;
use streamwatch::client::{Names, StreamId};
use tokio::task::JoinSet;

use super::{follower::Follower, ledger::Life};

/// Most unacknowledged events.
const PREFETCH: u16 = 1_000;

/// The first publication of an event, and its number of repetitions.
struct Event {
    stream: String,
    kind: String,
    body: Vec<u8>,
    again: u64,
}

/// Events published so far.
#[derive(Default)]
struct Received {
    events: HashMap<String, Event>,
    /// Repetitions with the same id and a different body.
    changed: u64,
    follower: Follower,
}

pub struct Lifecycle {
    received: Arc<Mutex<Received>>,
    pub follower: Follower,
    /// Aborted when this is dropped.
    _task: JoinSet<()>,
}

/// Mistakes in the published events.
#[derive(Debug, Default)]
pub struct Comparison {
    pub events: u64,
    pub again: u64,
    pub changed: u64,
    pub missing: Vec<String>,
    /// Ends of streams that were neither stopped nor silent.
    pub false_ends: Vec<String>,
}

impl Lifecycle {
    /// Declares its queue, which receives all events from then on.
    pub async fn follow(urls: &str, names: &Names) -> Self {
        let urls: Vec<_> = urls.split(',').map(str::to_owned).collect();
        let queue = format!("{}-soak", names.lifecycle());
        let channel = connect(&urls[0]).await.expect("the broker answers");
        declare(&channel, &queue, &names.lifecycle())
            .await
            .expect("the exchange is there");
        let received = Arc::<Mutex<Received>>::default();
        let follower = lock(&received).follower.clone();
        let mut task = JoinSet::new();
        let into = Arc::clone(&received);
        task.spawn(async move {
            for url in urls.iter().cycle() {
                let _ = consume(url, &queue, &into).await;
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
        });
        Self {
            received,
            follower,
            _task: task,
        }
    }

    /// Compares the published events with these lives.
    pub fn compare(&self, lives: &[(String, StreamId, Life)]) -> Comparison {
        let received = lock(&self.received);
        let mut kinds: HashMap<&str, Vec<&str>> = HashMap::new();
        for event in received.events.values() {
            let kinds = kinds.entry(&event.stream).or_default();
            kinds.push(&event.kind);
        }
        let mut comparison = Comparison {
            events: received.events.len() as u64,
            again: received.events.values().map(|event| event.again).sum(),
            changed: received.changed,
            ..Comparison::default()
        };
        for (name, stream, life) in lives {
            let id = stream.to_string();
            let kinds_of = kinds.get(id.as_str()).map_or(&[][..], Vec::as_slice);
            let count = |kind: &str| {
                kinds_of
                    .iter()
                    .filter(|kinds_of| **kinds_of == kind)
                    .count()
            };
            let ended = count("stopped") + count("expired");
            let missing = [
                (life.counted(), "opened", count("opened")),
                // A stream that was silent long enough before its stop has expired instead.
                (life.counted() && life.stopped(), "an end", ended),
                (
                    life.counted() && life.crashed(),
                    "expired",
                    count("expired"),
                ),
            ];
            for (must, kind, published) in missing {
                if must && published == 0 {
                    let text = format!(
                        "{name}: {stream}: {kind} was not published: {kinds_of:?}, {life:?}"
                    );
                    comparison.missing.push(text);
                }
            }
            if (life.steady() && ended > 0) || (!life.is_ending() && count("stopped") > 0) {
                let text = format!("{name}: {stream} has not ended: {kinds_of:?}, {life:?}");
                comparison.false_ends.push(text);
            }
        }
        comparison
    }
}

fn lock(received: &Mutex<Received>) -> MutexGuard<'_, Received> {
    received.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn connect(url: &str) -> lapin::Result<Channel> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    connection.create_channel().await
}

async fn declare(channel: &Channel, queue: &str, exchange: &str) -> lapin::Result<()> {
    let mut arguments = FieldTable::default();
    let kind = AMQPValue::LongString("quorum".into());
    arguments.insert("x-queue-type".into(), kind);
    let options = QueueDeclareOptions::durable();
    channel
        .queue_declare(queue.into(), options, arguments)
        .await?;
    let bound = channel.queue_bind(
        queue.into(),
        exchange.into(),
        "#".into(),
        QueueBindOptions::default(),
        FieldTable::default(),
    );
    bound.await
}

async fn consume(url: &str, queue: &str, received: &Mutex<Received>) -> lapin::Result<()> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel
        .basic_qos(PREFETCH, BasicQosOptions::default())
        .await?;
    let consuming = channel.basic_consume(
        queue.into(),
        "".into(),
        BasicConsumeOptions::default(),
        FieldTable::default(),
    );
    let mut consumer = consuming.await?;
    while let Some(delivery) = consumer.next().await {
        let delivery = delivery?;
        let id = delivery.properties.message_id().as_ref();
        let id = id.map(ToString::to_string).unwrap_or_default();
        lock(received).note(id, &delivery.data);
        let tag = delivery.delivery_tag;
        channel.basic_ack(tag, BasicAckOptions::default()).await?;
    }
    Ok(())
}

impl Received {
    fn note(&mut self, id: String, body: &[u8]) {
        if let Some(known) = self.events.get_mut(&id) {
            known.again += 1;
            self.changed += u64::from(known.body != body);
            return;
        }
        let output: Value = serde_json::from_slice(body).expect("JSON");
        let text = |name: &str| output[name].as_str().unwrap_or_default().to_owned();
        let event = Event {
            stream: text("stream"),
            kind: text("type"),
            body: body.to_vec(),
            again: 0,
        };
        self.follower.note(&output);
        self.events.insert(id, event);
    }
}
