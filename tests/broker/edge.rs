//! The edge: players over HTTP, beside backends over AMQP.

mod abuse;
mod access;
mod beside;
mod clocks;
mod documented;
mod floods;
mod frames;
mod key_server;
mod keys;
mod outage;
mod problems;
mod replaced;
mod shutdown;
mod smuggling;
mod story;
mod tls;
mod tokens;

use streamwatch::client::StreamId;

/// The address of the streams of an account.
fn streams_of(account: &str) -> String {
    format!("/api/v1/accounts/{account}/streams")
}

/// The address of a stream.
fn stream_of(account: &str, stream: impl std::fmt::Display) -> String {
    format!("{}/{stream}", streams_of(account))
}

/// The stream in a body.
fn id(json: &serde_json::Value) -> StreamId {
    let text = json["stream"].as_str().expect("a stream");
    text.parse().expect("a UUID")
}
