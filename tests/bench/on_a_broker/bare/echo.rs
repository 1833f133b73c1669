//! The baseline of `status`: it replies to each request with as many bytes as a worker.

use futures_util::StreamExt;
use lapin::options::{BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;

use super::super::measured_process::TAKING;
use super::{Request, channel, reply, say};

/// The prefetch of a worker.
const PREFETCH: u16 = 512;

pub async fn run(queue: &str, length: usize) {
    let (requests, replies) = (channel().await, channel().await);
    let qos = requests.basic_qos(PREFETCH, BasicQosOptions::default());
    qos.await.expect("it is set");
    let options = BasicConsumeOptions::default();
    let consume = requests.basic_consume(queue.into(), "".into(), options, FieldTable::default());
    let mut consumer = consume.await.expect("there is a queue");
    say(TAKING, 0);
    let body = vec![b'x'; length];
    while let Some(delivery) = consumer.next().await {
        let request = Request::of(&delivery.expect("a request"));
        reply(&replies, &requests, &request, "activity", &body);
    }
}
