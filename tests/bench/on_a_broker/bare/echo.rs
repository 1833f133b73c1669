//! The baselines of `status`: they reply to each request with as many bytes as a worker.

use futures_util::StreamExt;
use lapin::options::{
    BasicConsumeOptions, BasicQosOptions, ExchangeDeclareOptions, QueueBindOptions,
    QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{Channel, ExchangeKind};

use super::super::measured_process::TAKING;
use super::{Request, channel, reply, say};

/// The prefetch of a worker.
const PREFETCH: u16 = 512;

/// Consumes an existing queue.
pub async fn run(queue: &str, length: usize) {
    serve(&channel().await, queue, length).await;
}

/// Declares a topic exchange, and consumes an exclusive queue bound to it.
pub async fn run_exclusive(exchange: &str, length: usize) {
    let requests = channel().await;
    let options = ExchangeDeclareOptions {
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    let (topic, none) = (ExchangeKind::Topic, FieldTable::default());
    let declared = requests.exchange_declare(exchange.into(), topic, options, none.clone());
    declared.await.expect("it is declared");
    let options = QueueDeclareOptions {
        exclusive: true,
        ..QueueDeclareOptions::default()
    };
    let declared = requests.queue_declare("".into(), options, none.clone());
    let queue = declared.await.expect("it is declared").name().to_string();
    let (key, options) = ("*.status.#", QueueBindOptions::default());
    let (name, from) = (queue.as_str().into(), exchange.into());
    let bound = requests.queue_bind(name, from, key.into(), options, none);
    bound.await.expect("it is bound");
    serve(&requests, &queue, length).await;
}

async fn serve(requests: &Channel, queue: &str, length: usize) {
    let replies = channel().await;
    let qos = requests.basic_qos(PREFETCH, BasicQosOptions::default());
    qos.await.expect("it is set");
    let options = BasicConsumeOptions::default();
    let consume = requests.basic_consume(queue.into(), "".into(), options, FieldTable::default());
    let mut consumer = consume.await.expect("there is a queue");
    say(TAKING, 0);
    let body = vec![b'x'; length];
    while let Some(delivery) = consumer.next().await {
        let request = Request::of(&delivery.expect("a request"));
        reply(&replies, requests, &request, "activity", &body);
    }
}
