//! Exchanges and queues of the baselines, of the same kinds as those of a single partition.

use lapin::options::{
    ExchangeBindOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, ExchangeKind};

/// The queues and exchanges of the baselines.
pub struct Topology {
    /// The exchange for requests.
    pub exchange: String,
    pub status: String,
    pub init: String,
    pub log: String,
}

impl Topology {
    /// Declares a topic exchange bound to another one, and the queues bound to that one, with the
    /// arguments of a worker's queues.
    pub async fn declare(channel: &Channel, namespace: &str) -> Self {
        let exchange = format!("{namespace}bare");
        let all = Self {
            status: format!("{exchange}.p00.status"),
            init: format!("{exchange}.p00.init"),
            log: format!("{exchange}.p00.log"),
            exchange,
        };
        let partition = format!("{}.p00", all.exchange);
        for (name, internal) in [(&all.exchange, false), (&partition, true)] {
            let options = ExchangeDeclareOptions {
                durable: true,
                internal,
                ..ExchangeDeclareOptions::default()
            };
            let topic = ExchangeKind::Topic;
            let name = name.as_str().into();
            let declared = channel.exchange_declare(name, topic, options, FieldTable::default());
            declared.await.expect("it is declared");
        }
        let (from, to) = (all.exchange.as_str().into(), partition.as_str().into());
        let options = ExchangeBindOptions::default();
        let bound = channel.exchange_bind(to, from, "#".into(), options, FieldTable::default());
        bound.await.expect("it is bound");
        queue(channel, &all.log, log()).await;
        for (name, key) in [(&all.status, "*.status.#"), (&all.init, "*.init.#")] {
            queue(channel, name, requests()).await;
            let (name, from) = (name.as_str().into(), partition.as_str().into());
            let (options, none) = (QueueBindOptions::default(), FieldTable::default());
            let bound = channel.queue_bind(name, from, key.into(), options, none);
            bound.await.expect("it is bound");
        }
        all
    }
}

async fn queue(channel: &Channel, name: &str, arguments: FieldTable) {
    let options = QueueDeclareOptions::durable();
    let declared = channel.queue_declare(name.into(), options, arguments);
    declared.await.expect("it is declared");
}

fn requests() -> FieldTable {
    let mut table = FieldTable::default();
    for (name, number) in [
        ("x-max-length", 100_000),
        ("x-delivery-limit", 1_000_000),
        ("x-message-ttl", 10_000),
    ] {
        table.insert(name.into(), AMQPValue::LongLongInt(number));
    }
    for (name, text) in [("x-queue-type", "quorum"), ("x-overflow", "reject-publish")] {
        table.insert(name.into(), AMQPValue::LongString(text.into()));
    }
    table
}

fn log() -> FieldTable {
    let mut table = FieldTable::default();
    for (name, text) in [("x-queue-type", "stream"), ("x-max-age", "14400s")] {
        table.insert(name.into(), AMQPValue::LongString(text.into()));
    }
    let segment = AMQPValue::LongLongInt(64 * 1024 * 1024);
    table.insert("x-stream-max-segment-size-bytes".into(), segment);
    table
}
