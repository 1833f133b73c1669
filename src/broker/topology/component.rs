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

pub(super) type Arguments = Vec<(&'static str, AMQPValue)>;

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

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum QueueKind {
    /// Messages for consumers.
    Messages,
    /// A log, which keeps the arguments of its first declaration.
    Log,
    /// Snapshots, in a log as well.
    Snapshots,
}

pub(super) enum To {
    Exchange(String),
    Queue(String),
}

pub(super) struct Binding {
    pub(super) from: String,
    pub(super) to: To,
    pub(super) key: String,
    pub(super) arguments: Arguments,
}

pub(super) enum Component {
    Exchange(Exchange),
    Queue(Queue),
    Binding(Binding),
}

/// A topic exchange for clients to publish to.
pub(super) fn topic(name: &str) -> Component {
    Component::Exchange(Exchange {
        internal: false,
        ..exchange(name, ExchangeKind::Topic, vec![])
    })
}

pub(super) fn internal(name: &str, kind: ExchangeKind, arguments: Arguments) -> Component {
    Component::Exchange(exchange(name, kind, arguments))
}

/// An internal exchange.
pub(super) fn exchange(name: &str, kind: ExchangeKind, arguments: Arguments) -> Exchange {
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
pub(super) fn keys_of(kind: Kind) -> String {
    // A request about a tenant names no account.
    let account = if kind.is_about_tenant() { "" } else { ".#" };
    format!("*.{kind}{account}")
}

pub(super) fn bind(from: &str, to: To, key: &str) -> Component {
    Component::Binding(Binding {
        from: from.to_owned(),
        to,
        key: key.to_owned(),
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
    pub(super) async fn declare(self, channel: &Channel) -> Result<(), BrokerError> {
        match self {
            Self::Exchange(it) => {
                let options = ExchangeDeclareOptions {
                    durable: it.durable,
                    internal: it.internal,
                    ..ExchangeDeclareOptions::default()
                };
                let arguments = table(it.arguments);
                let declared =
                    channel.exchange_declare(it.name.into(), it.kind, options, arguments);
                within("declaring an exchange", declared).await
            }
            Self::Queue(it) => {
                let options = QueueDeclareOptions::durable();
                let declared = channel.queue_declare(it.name.into(), options, table(it.arguments));
                within("declaring a queue", declared).await.map(drop)
            }
            Self::Binding(it) => it.declare(channel).await,
        }
    }
}

impl Binding {
    async fn declare(self, channel: &Channel) -> Result<(), BrokerError> {
        let (from, key, arguments) = (self.from.into(), self.key.into(), table(self.arguments));
        match self.to {
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
}

pub(super) fn table(arguments: Arguments) -> FieldTable {
    let mut table = FieldTable::default();
    for (key, value) in arguments {
        table.insert(key.into(), value);
    }
    table
}
