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

use super::ledger::Life;

/// Events in flight.
const PREFETCH: u16 = 1_000;

/// The first publication of an event, and its number of repetitions.
struct Fact {
    stream: String,
    kind: String,
    body: Vec<u8>,
    again: u64,
}

/// Events published so far.
#[derive(Default)]
struct Heard {
    facts: HashMap<String, Fact>,
    /// Repetitions with the same id and a different body.
    changed: u64,
}

pub struct Told {
    heard: Arc<Mutex<Heard>>,
    /// Ends with this.
    _task: JoinSet<()>,
}

/// Mistakes in the published events.
#[derive(Debug, Default)]
pub struct Account {
    pub facts: u64,
    pub again: u64,
    pub changed: u64,
    pub missing: Vec<String>,
    /// Ends of streams that were neither stopped nor silent.
    pub false_ends: Vec<String>,
}

impl Told {
    /// Declares its queue, which receives all events from then on.
    pub async fn follow(urls: &str, names: &Names) -> Self {
        let urls: Vec<_> = urls.split(',').map(str::to_owned).collect();
        let queue = format!("{}-soak", names.lifecycle());
        let channel = connect(&urls[0]).await.expect("the broker answers");
        declare(&channel, &queue, &names.lifecycle())
            .await
            .expect("the exchange is there");
        let heard = Arc::default();
        let mut task = JoinSet::new();
        let into = Arc::clone(&heard);
        task.spawn(async move {
            for url in urls.iter().cycle() {
                let _ = listen(url, &queue, &into).await;
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
        });
        Self { heard, _task: task }
    }

    /// Compares the published events with these lives.
    pub fn account(&self, lives: &[(String, StreamId, Life)]) -> Account {
        let heard = lock(&self.heard);
        let mut kinds: HashMap<&str, Vec<&str>> = HashMap::new();
        for fact in heard.facts.values() {
            let kinds = kinds.entry(&fact.stream).or_default();
            kinds.push(&fact.kind);
        }
        let mut account = Account {
            facts: heard.facts.len() as u64,
            again: heard.facts.values().map(|fact| fact.again).sum(),
            changed: heard.changed,
            ..Account::default()
        };
        for (name, stream, life) in lives {
            let id = stream.to_string();
            let told = kinds.get(id.as_str()).map_or(&[][..], Vec::as_slice);
            let count = |kind: &str| told.iter().filter(|told| **told == kind).count();
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
            for (must, kind, told_of) in missing {
                if must && told_of == 0 {
                    let text =
                        format!("{name}: {stream}: {kind} was not published: {told:?}, {life:?}");
                    account.missing.push(text);
                }
            }
            if (life.steady() && ended > 0) || (!life.is_ending() && count("stopped") > 0) {
                let text = format!("{name}: {stream} has not ended: {told:?}, {life:?}");
                account.false_ends.push(text);
            }
        }
        account
    }
}

fn lock(heard: &Mutex<Heard>) -> MutexGuard<'_, Heard> {
    heard.lock().unwrap_or_else(PoisonError::into_inner)
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

async fn listen(url: &str, queue: &str, heard: &Mutex<Heard>) -> lapin::Result<()> {
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
        lock(heard).note(id, &delivery.data);
        let tag = delivery.delivery_tag;
        channel.basic_ack(tag, BasicAckOptions::default()).await?;
    }
    Ok(())
}

impl Heard {
    fn note(&mut self, id: String, body: &[u8]) {
        if let Some(known) = self.facts.get_mut(&id) {
            known.again += 1;
            self.changed += u64::from(known.body != body);
            return;
        }
        let said: Value = serde_json::from_slice(body).expect("JSON");
        let text = |name: &str| said[name].as_str().unwrap_or_default().to_owned();
        let fact = Fact {
            stream: text("stream"),
            kind: text("type"),
            body: body.to_vec(),
            again: 0,
        };
        self.facts.insert(id, fact);
    }
}
