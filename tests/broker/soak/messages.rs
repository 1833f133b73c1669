//! Hostile messages. A player with the least permissions of its role can publish each of them, and
//! none may have an effect.

use std::fmt;

use base64::{Engine, prelude::BASE64_STANDARD};
use fastrand::Rng;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use streamwatch::client::StreamId;

use super::broker::fixture::NOT_UTF8;

/// The largest body that workers accept, in bytes.
const LARGEST: usize = 16 * 1024;
/// Number of accounts without honest viewers.
const ACCOUNTS: usize = 64;
/// The share of `init` and `status` among the messages.
const REQUESTS: f64 = 0.3;
/// The share of undeliverable messages among those outside bursts.
const UNDELIVERABLE: f64 = 0.02;
/// The share of messages without the header `account`, which take the intake.
const HEADERLESS: f64 = 0.1;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// RabbitMQ closes the connection of each consumer instead of delivering it.
    Undeliverable,
    /// lapin would close the connection that delivers it.
    Undecodable,
    MadeUpReplyTo,
    BadJson,
    TooLarge,
    WrongHeader,
}

impl Kind {
    pub const ALL: [Self; 6] = [
        Self::Undeliverable,
        Self::Undecodable,
        Self::MadeUpReplyTo,
        Self::BadJson,
        Self::TooLarge,
        Self::WrongHeader,
    ];

    /// A kind of a burst: all are equally likely.
    pub fn any(random: &mut Rng) -> Self {
        Self::ALL[random.usize(..Self::ALL.len())]
    }

    /// A kind outside bursts. Undeliverable messages are rare: each costs every reader of the log
    /// several connections.
    pub fn usual(random: &mut Rng) -> Self {
        match random.f64() < UNDELIVERABLE {
            true => Self::Undeliverable,
            false => Self::ALL[random.usize(1..Self::ALL.len())],
        }
    }

    /// A divisor of the number of messages in a burst.
    pub const fn costs(self) -> usize {
        match self {
            Self::Undeliverable => 2,
            _ => 1,
        }
    }

    /// The code by which workers count a log entry of this kind.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Undeliverable => "undeliverable",
            Self::Undecodable => "undecodable",
            // Heartbeats and stops are answered only after an error.
            Self::MadeUpReplyTo | Self::BadJson => "bad_json",
            Self::TooLarge => "too_large",
            Self::WrongHeader => "account_mismatch",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Undeliverable => "undeliverable to AMQP 0.9.1 consumers",
            Self::Undecodable => "correlation or message id not UTF-8",
            Self::MadeUpReplyTo => "made-up reply_to",
            Self::BadJson => "malformed JSON",
            Self::TooLarge => "oversized body",
            Self::WrongHeader => "header of another account",
        })
    }
}

/// A message to publish.
pub struct Message {
    pub kind: Kind,
    /// The second word of its routing key.
    pub word: &'static str,
    pub properties: BasicProperties,
    pub body: Vec<u8>,
    /// It is routed to a partition's log, so that all replicas count it.
    pub logged: bool,
}

impl Message {
    /// If it were accepted, it would add a stream to the account of `victim`, or end the stream that
    /// the account plays.
    pub fn new(kind: Kind, random: &mut Rng, victim: &(String, StreamId)) -> Self {
        let hostile = |random: &mut Rng| format!("hostile-{}", random.usize(..ACCOUNTS));
        let (account, playing) = match kind {
            // A sound request is served, whatever its `reply_to` is.
            Kind::MadeUpReplyTo => (hostile(random), StreamId::generate()),
            _ => victim.clone(),
        };
        // RabbitMQ can deliver the same message from a queue that is not a log.
        let log = kind == Kind::Undeliverable;
        let request = !log && random.f64() < REQUESTS;
        let (word, stream) = match (request, random.bool()) {
            (true, true) => ("init", StreamId::generate()),
            (true, false) => ("status", playing),
            (false, true) => ("heartbeat", StreamId::generate()),
            (false, false) => ("stop", playing),
        };
        let mut body = format!(r#"{{"account":"{account}","stream":"{stream}"}}"#).into_bytes();
        let mut properties = BasicProperties::default();
        let mut headers = FieldTable::default();
        let mut header = (log || random.f64() >= HEADERLESS).then_some(account);
        match kind {
            Kind::Undeliverable => {
                let kind = match random.bool() {
                    true => AMQPValue::LongInt(5),
                    false => AMQPValue::LongString("x".repeat(300).into()),
                };
                headers.insert("x-basic-type".into(), kind);
            }
            Kind::Undecodable => {
                let id = NOT_UTF8.into();
                properties = match random.bool() {
                    true => properties.with_correlation_id(id),
                    false => properties.with_message_id(id),
                };
            }
            Kind::MadeUpReplyTo => {
                properties = properties
                    .with_reply_to(made_up(random).as_str().into())
                    .with_correlation_id("x".into());
                if !request {
                    body.truncate(1);
                }
            }
            Kind::BadJson => body.truncate(random.usize(..body.len())),
            Kind::TooLarge => body.resize(LARGEST * random.usize(1..4) + 1, b' '),
            Kind::WrongHeader => header = Some(format!("not-{}", hostile(random))),
        }
        let logged = !request && header.is_some();
        if let Some(account) = header {
            let account = AMQPValue::LongString(account.into());
            headers.insert("account".into(), account);
        }
        Self {
            kind,
            word,
            properties: properties.with_headers(headers),
            body,
            logged,
        }
    }
}

/// A direct reply-to that RabbitMQ did not make, or the name of a queue that is not there.
fn made_up(random: &mut Rng) -> String {
    let nodes: [&[u8]; 5] = [
        b"reply@12345",
        b"rabbit@host",
        b"rabbit",
        b"\xff\xfe@12345",
        b"reply@99999999999",
    ];
    let Some(node) = nodes.get(random.usize(..=nodes.len())) else {
        return "nobody".to_owned();
    };
    // A process in Erlang's external term format: its node, its number and serial, and the node's
    // creation.
    let mut process = vec![131, 88, 118, 0, node.len() as u8];
    process.extend_from_slice(node);
    for number in [random.u32(..1 << 28), random.u32(..1 << 13), 1] {
        process.extend(number.to_be_bytes());
    }
    let process = BASE64_STANDARD.encode(process);
    format!("amq.rabbitmq.reply-to.{process}.a2V5")
}
