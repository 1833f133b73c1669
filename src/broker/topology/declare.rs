//! Declaring what the shape lists.

use lapin::{
    Channel,
    options::{ExchangeBindOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions},
    types::FieldTable,
};

use super::{
    Retention,
    shape::{Arguments, Binding, Exchange, Part, Queue, To, shape, text},
    show::exists,
};
use crate::broker::{BrokerError, Link, Names, connect::within};

/// Declares everything. What exists with the same properties is left as it is. Returns whether
/// the log is new: one that exists keeps its retention.
///
/// # Errors
/// [`BrokerError::Precondition`] where something exists with other properties, `AccessRefused`
/// where the user may not configure it.
pub async fn declare(
    link: &Link,
    names: &Names,
    retention: Retention,
) -> Result<bool, BrokerError> {
    let channel = link.channel().await?;
    let mut new = true;
    for part in shape(names, retention) {
        match part {
            Part::Exchange(it) => exchange(&channel, it).await?,
            Part::Queue(it) if it.keeps_arguments && exists(link, &it.name).await? => new = false,
            Part::Queue(it) => queue(&channel, it).await?,
            Part::Binding(it) => bind(&channel, it).await?,
        }
    }
    Ok(new)
}

async fn exchange(channel: &Channel, it: Exchange) -> Result<(), BrokerError> {
    let options = ExchangeDeclareOptions {
        durable: true,
        internal: it.internal,
        ..ExchangeDeclareOptions::default()
    };
    let alternate = it.alternate.map(|to| ("alternate-exchange", text(&to)));
    let arguments = table(alternate.into_iter().collect());
    let declared = channel.exchange_declare(it.name.into(), it.kind, options, arguments);
    within("declaring an exchange", declared).await
}

async fn queue(channel: &Channel, it: Queue) -> Result<(), BrokerError> {
    let options = QueueDeclareOptions::durable();
    let declared = channel.queue_declare(it.name.into(), options, table(it.arguments));
    within("declaring a queue", declared).await.map(drop)
}

async fn bind(channel: &Channel, it: Binding) -> Result<(), BrokerError> {
    let (from, key, none) = (it.from.into(), it.key.into(), FieldTable::default());
    match it.to {
        To::Exchange(to) => {
            let options = ExchangeBindOptions::default();
            let bound = channel.exchange_bind(to.into(), from, key, options, none);
            within("binding an exchange", bound).await
        }
        To::Queue(to) => {
            let options = QueueBindOptions::default();
            let bound = channel.queue_bind(to.into(), from, key, options, none);
            within("binding a queue", bound).await
        }
    }
}

fn table(arguments: Arguments) -> FieldTable {
    let mut table = FieldTable::default();
    for (key, value) in arguments {
        table.insert(key.into(), value);
    }
    table
}
