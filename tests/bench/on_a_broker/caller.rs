//! A minimal client for both sides, with replies by direct reply-to.

use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
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
    asked: usize,
}

/// The replies to several requests.
pub struct Asked {
    /// The waiting time in milliseconds and the body of each reply, in the order of the requests.
    pub replies: Vec<(f64, Vec<u8>)>,
    seconds: f64,
}

impl Asked {
    /// Replies per second.
    pub fn rate(&self) -> f64 {
        self.replies.len() as f64 / self.seconds
    }
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
        let accounts = [account.to_owned()];
        let mut asked = self.ask_all(exchange, kind, &accounts, 1).await;
        asked.replies.remove(0)
    }

    /// Sends a request for each account, with at most `in_flight` unanswered ones.
    pub async fn ask_all(
        &mut self,
        exchange: &str,
        kind: &str,
        accounts: &[String],
        in_flight: usize,
    ) -> Asked {
        let first = self.asked;
        let began = Instant::now();
        let mut replies: Vec<Option<(f64, Vec<u8>)>> = vec![None; accounts.len()];
        let (mut sent_at, mut received) = (Vec::new(), 0);
        while received < accounts.len() {
            let most = accounts.len().min(received + in_flight);
            for account in &accounts[sent_at.len()..most] {
                sent_at.push(Instant::now());
                self.send(exchange, kind, account);
            }
            let reply = tokio::time::timeout(PATIENCE, self.replies.next()).await;
            let reply = reply.unwrap_or_else(|_| panic!("no reply to {kind} from {exchange}"));
            let reply = reply.expect("it goes on").expect("a reply");
            let id = reply.properties.correlation_id().as_ref();
            let id = id.and_then(|id| id.as_str().parse::<usize>().ok());
            let number = id.and_then(|id| id.checked_sub(first));
            let number = number.filter(|&number| number < sent_at.len());
            let number = number.expect("it is the reply to one of these requests");
            let ms = sent_at[number].elapsed().as_secs_f64() * 1e3;
            let earlier = replies[number].replace((ms, reply.data));
            assert_eq!(earlier, None, "it is the only reply to its request");
            received += 1;
        }
        Asked {
            replies: replies.into_iter().flatten().collect(),
            seconds: began.elapsed().as_secs_f64(),
        }
    }

    /// Sends a request, without waiting until it is written.
    fn send(&mut self, exchange: &str, kind: &str, account: &str) {
        let id = self.asked.to_string();
        self.asked += 1;
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
        let sent = self.channel.basic_publish(
            exchange.into(),
            key.into(),
            options,
            body.as_bytes(),
            properties,
        );
        let _ = sent.now_or_never();
    }
}
