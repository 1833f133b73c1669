//! A minimal client for both sides, with one request in flight and replies by direct reply-to.

use std::time::Duration;

use futures_util::StreamExt;
use lapin::options::{BasicConsumeOptions, BasicPublishOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Consumer};
use tokio::time::Instant;

use crate::broker::fixture::Broker;
use crate::in_process::corpus;

const DIRECT: &str = "amq.rabbitmq.reply-to";
/// The TTL of requests in their queue.
const PATIENCE: Duration = Duration::from_secs(10);

pub struct Caller {
    pub channel: Channel,
    replies: Consumer,
    asked: u64,
}

impl Caller {
    pub async fn connect(broker: &Broker) -> Self {
        let channel = broker.channel().await;
        let options = BasicConsumeOptions {
            no_ack: true,
            ..BasicConsumeOptions::default()
        };
        let none = FieldTable::default();
        let consume = channel.basic_consume(DIRECT.into(), "".into(), options, none);
        let replies = consume.await.expect("it is consumed");
        Self {
            channel,
            replies,
            asked: 0,
        }
    }

    /// Sends a request for an account. Returns the waiting time in milliseconds, and the reply's
    /// body.
    pub async fn ask(&mut self, exchange: &str, kind: &str, account: &str) -> (f64, Vec<u8>) {
        self.asked += 1;
        let id = self.asked.to_string();
        let mut headers = FieldTable::default();
        let header = AMQPValue::LongString(account.into());
        headers.insert("account".into(), header);
        let properties = BasicProperties::default()
            .with_content_type("application/json".into())
            .with_headers(headers)
            .with_reply_to(DIRECT.into())
            .with_correlation_id(id.as_str().into());
        let body = format!(r#"{{"account":"{account}"}}"#);
        let key = format!("{}.{kind}", corpus::TENANT);
        let options = BasicPublishOptions::default();
        let began = Instant::now();
        let sent = self.channel.basic_publish(
            exchange.into(),
            key.into(),
            options,
            body.as_bytes(),
            properties,
        );
        sent.await.expect("it is sent");
        let reply = tokio::time::timeout(PATIENCE, self.replies.next()).await;
        let took = began.elapsed();
        let reply = reply.unwrap_or_else(|_| panic!("no reply to {kind} from {exchange}"));
        let reply = reply.expect("it goes on").expect("a reply");
        let to = reply.properties.correlation_id().as_ref();
        let to = to.map(|to| to.as_str().to_owned());
        assert_eq!(to, Some(id), "it is the reply to this request");
        (took.as_secs_f64() * 1e3, reply.data)
    }
}
