//! The baseline of `init`: it appends each request to a log, and replies after reading it back.

use std::collections::HashMap;

use futures_util::{FutureExt, StreamExt};
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Consumer};

use super::super::measured_process::TAKING;
use super::{Request, connect, reply, say};

/// The prefetch of a worker.
const PREFETCH: u16 = 256;

pub async fn run(queue: &str, log: &str, length: usize) {
    // One connection to consume and one to publish, like a worker.
    let (consume, publish) = (connect().await, connect().await);
    let replies = publish.create_channel().await.expect("a channel");
    let appends = publish.create_channel().await.expect("a channel");
    let confirms = appends.confirm_select(ConfirmSelectOptions::default());
    confirms.await.expect("it confirms");
    let requests = consume.create_channel().await.expect("a channel");
    let entries = consume.create_channel().await.expect("a channel");
    let mut followed = follow(&entries, log, 2_000, "next").await;
    let mut asked = follow(&requests, queue, PREFETCH, "").await;
    say(TAKING, 0);

    let body = vec![b'x'; length];
    let mut pending: HashMap<String, Request> = HashMap::new();
    loop {
        tokio::select! {
            entry = followed.next() => {
                let entry = entry.expect("it goes on").expect("an entry");
                let id = entry.properties.message_id().as_ref().expect("its id");
                if let Some(request) = pending.remove(id.as_str()) {
                    reply(&replies, &requests, &request, "opened", &body);
                }
                // Acks of a stream only grant credit, and there are few entries.
                let options = BasicAckOptions { multiple: true };
                if entry.delivery_tag % 500 == 0 {
                    let _ = entries.basic_ack(entry.delivery_tag, options).now_or_never();
                }
            }
            delivery = asked.next() => {
                let delivery = delivery.expect("it goes on").expect("a request");
                let id = delivery.delivery_tag.to_string();
                let properties = BasicProperties::default()
                    .with_message_id(id.as_str().into())
                    .with_delivery_mode(2);
                let options = BasicPublishOptions::default();
                let appended = appends.basic_publish(
                    "".into(), log.into(), options, &delivery.data, properties,
                );
                pending.insert(id, Request::of(&delivery));
                let confirm = appended.await.expect("it is written");
                tokio::spawn(async move {
                    assert!(confirm.await.expect("it is confirmed").is_ack());
                });
            }
        }
    }
}

async fn follow(channel: &Channel, queue: &str, prefetch: u16, from: &str) -> Consumer {
    let qos = channel.basic_qos(prefetch, BasicQosOptions::default());
    qos.await.expect("it is set");
    let mut arguments = FieldTable::default();
    if !from.is_empty() {
        let from = AMQPValue::LongString(from.into());
        arguments.insert("x-stream-offset".into(), from);
    }
    let options = BasicConsumeOptions::default();
    let consume = channel.basic_consume(queue.into(), "".into(), options, arguments);
    consume.await.expect("there is a queue")
}
