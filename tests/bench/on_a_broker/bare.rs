//! The baselines. Each runs this program in its own process, with the same runtime as the worker,
//! and logs its progress like the worker.

mod echo;
mod init;
mod publish;
mod read;
pub mod topology;

use futures_util::FutureExt;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicPublishOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use serde_json::json;

use super::measured_process::stamp;
use crate::in_process::parse;
pub use publish::SAYS;

/// Runs a baseline by its name and arguments.
pub fn child(what: &[String]) {
    let number = |text: &str| text.parse::<u64>().expect("a number");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
    let what: Vec<_> = what.iter().map(String::as_str).collect();
    runtime.block_on(async {
        match what[..] {
            [drain @ ("bare-drain" | "bare-parse"), ref logs @ ..] => {
                let logs = logs
                    .chunks(2)
                    .map(|log| (log[0].to_owned(), number(log[1])));
                let use_body = match drain {
                    "bare-parse" => parse,
                    _ => |_: &[u8]| (),
                };
                read::drain(logs.collect(), use_body).await;
            }
            ["bare-restart", snapshots, after, to, log, start, end] => {
                let snapshot = (snapshots, number(after), number(to));
                read::restart(snapshot, (log, number(start), number(end))).await;
            }
            ["bare-echo", queue, length] => echo::run(queue, number(length) as usize).await,
            ["bare-exclusive-echo", exchange, length] => {
                echo::run_exclusive(exchange, number(length) as usize).await;
            }
            ["bare-init", queue, log, length] => {
                init::run(queue, log, number(length) as usize).await;
            }
            ["bare-publish", exchange, accounts, rate] => {
                publish::run(exchange, number(accounts) as usize, number(rate)).await;
            }
            _ => panic!("unknown: {what:?}"),
        }
    });
}

/// Logs progress.
fn say(message: &str, entries: u64) {
    let line = json!({ "timestamp": stamp().to_string(), "message": message, "entries": entries });
    eprintln!("{line}");
}

async fn connect() -> Connection {
    let url = std::env::var("AMQP_URL").expect("AMQP_URL");
    let connection = Connection::connect(&url, ConnectionProperties::default());
    connection.await.expect("the broker answers")
}

async fn channel() -> Channel {
    let channel = connect().await.create_channel().await;
    channel.expect("a channel opens")
}

/// Sends a reply with the properties of a worker's reply, then acknowledges the request. Like a
/// worker, waits for neither.
fn reply(replies: &Channel, requests: &Channel, request: &Request, kind: &str, body: &[u8]) {
    let mut headers = FieldTable::default();
    headers.insert("contract".into(), AMQPValue::LongInt(1));
    let mut properties = BasicProperties::default()
        .with_type(kind.into())
        .with_app_id("streamwatch".into())
        .with_content_type("application/json".into())
        .with_headers(headers);
    if let Some(id) = &request.correlation_id {
        properties = properties.with_correlation_id(id.as_str().into());
    }
    let (to, options) = (
        request.reply_to.as_str().into(),
        BasicPublishOptions::default(),
    );
    let _ = replies
        .basic_publish("".into(), to, options, body, properties)
        .now_or_never();
    let _ = requests
        .basic_ack(request.tag, BasicAckOptions::default())
        .now_or_never();
}

/// The properties of a request that its reply needs.
struct Request {
    reply_to: String,
    correlation_id: Option<String>,
    tag: u64,
}

impl Request {
    fn of(delivery: &Delivery) -> Self {
        let properties = &delivery.properties;
        let reply_to = properties.reply_to().as_ref().expect("a reply is wanted");
        Self {
            reply_to: reply_to.as_str().to_owned(),
            correlation_id: properties
                .correlation_id()
                .as_ref()
                .map(|id| id.as_str().to_owned()),
            tag: delivery.delivery_tag,
        }
    }
}
