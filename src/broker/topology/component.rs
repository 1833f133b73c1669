//! An exchange, a queue or a binding, and its declaration.

use lapin::{
    Channel, ExchangeKind,
    options::{ExchangeBindOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable},
};

use crate::{
    broker::{BrokerError, connect::within},
    wire::Kind,
};

/// Arguments of an exchange, a queue or a binding.
pub(super) type Arguments = Vec<(&'static str, AMQPValue)>;

/// An exchange.
pub(super) struct Exchange {
    pub(super) name: String,
    pub(super) kind: ExchangeKind,
    /// Whether the exchange survives a restart of RabbitMQ.
    pub(super) durable: bool,
    /// Whether only exchanges may publish to it.
    pub(super) internal: bool,
    pub(super) arguments: Arguments,
}

/// A durable queue.
pub(super) struct Queue {
    pub(super) name: String,
    pub(super) arguments: Arguments,
    pub(super) kind: QueueKind,
}

/// The kind of a queue.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum QueueKind {
    /// Messages for consumers.
    Messages,
    /// A log, which keeps the arguments of its first declaration.
    Log,
    /// Snapshots, in a log as well.
    Snapshots,
}

/// The destination of a binding.
pub(super) enum To {
    Exchange(String),
    Queue(String),
}

/// A binding of an exchange to a queue or to another exchange.
pub(super) struct Binding {
    pub(super) from: String,
    pub(super) to: To,
    pub(super) key: &'static str,
    pub(super) arguments: Arguments,
}

/// An exchange, a queue or a binding.
pub(super) enum Component {
    Exchange(Exchange),
    Queue(Queue),
    Binding(Binding),
}

/// A topic exchange for clients to publish to.
pub(super) fn topic(name: &str) -> Exchange {
    Exchange {
        internal: false,
        ..internal(name, ExchangeKind::Topic, vec![])
    }
}

pub(super) fn internal(name: &str, kind: ExchangeKind, arguments: Arguments) -> Exchange {
    Exchange {
        name: name.to_owned(),
        kind,
        durable: true,
        internal: true,
        arguments,
    }
}

pub(super) fn queue(name: &str, arguments: Arguments) -> Component {
    Component::Queue(Queue {
        name: name.to_owned(),
        arguments,
        kind: QueueKind::Messages,
    })
}

/// The pattern of the routing keys of a kind.
pub(super) const fn keys_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Init => "*.init.#",
        Kind::Heartbeat => "*.heartbeat.#",
        Kind::Stop => "*.stop.#",
        Kind::Status => "*.status.#",
        Kind::Batch => "*.batch.#",
        // A request about a tenant names no account.
        Kind::Accounts => "*.accounts",
        Kind::Totals => "*.totals",
    }
}

pub(super) fn bind(from: &str, to: To, key: &'static str) -> Component {
    Component::Binding(Binding {
        from: from.to_owned(),
        to,
        key,
        arguments: vec![],
    })
}

pub(super) fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

pub(super) const fn number(value: i64) -> AMQPValue {
    AMQPValue::LongLongInt(value)
}

impl Component {
    /// Declares it.
    pub(super) async fn declare(self, channel: &Channel) -> Result<(), BrokerError> {
        match self {
            Self::Exchange(it) => declare_exchange(channel, it).await,
            Self::Queue(it) => declare_queue(channel, it).await,
            Self::Binding(it) => declare_binding(channel, it).await,
        }
    }
}

async fn declare_exchange(channel: &Channel, it: Exchange) -> Result<(), BrokerError> {
    let options = ExchangeDeclareOptions {
        durable: it.durable,
        internal: it.internal,
        ..ExchangeDeclareOptions::default()
    };
    let arguments = table(it.arguments);
    let declared = channel.exchange_declare(it.name.into(), it.kind, options, arguments);
    within("declaring an exchange", declared).await
}

async fn declare_queue(channel: &Channel, it: Queue) -> Result<(), BrokerError> {
    let options = QueueDeclareOptions::durable();
    let declared = channel.queue_declare(it.name.into(), options, table(it.arguments));
    within("declaring a queue", declared).await.map(drop)
}

async fn declare_binding(channel: &Channel, it: Binding) -> Result<(), BrokerError> {
    let (from, key, arguments) = (it.from.into(), it.key.into(), table(it.arguments));
    match it.to {
        To::Exchange(to) => {
            let options = ExchangeBindOptions::default();
            let bound = channel.exchange_bind(to.into(), from, key, options, arguments);
            within("binding an exchange", bound).await
        }
        To::Queue(to) => {
            let options = QueueBindOptions::default();
            let bound = channel.queue_bind(to.into(), from, key, options, arguments);
            within("binding a queue", bound).await
        }
    }
}

pub(super) fn table(arguments: Arguments) -> FieldTable {
    let mut table = FieldTable::default();
    for (key, value) in arguments {
        table.insert(key.into(), value);
    }
    table
}
