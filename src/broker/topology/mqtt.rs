//! The way in for MQTT devices: from the exchange that RabbitMQ's plugin publishes to,
//! to that of the players.
//!
//! `acme/heartbeat/alice` arrives there as `acme.heartbeat.alice`. An exchange of streamwatch is in
//! between, because clients can check over AMQP whether an exchange exists, but not its bindings.
//! Deleting it deletes its bindings.

use lapin::ExchangeKind;

use super::{
    declare::one,
    delete::delete_exchange,
    shape::{Part, To, bind, internal},
    show::has_exchange,
};
use crate::{
    broker::{BrokerError, Link, Names},
    wire::Kind,
};

/// The exchange and bindings for MQTT messages, in the order of declaration. They match only kinds
/// of the contract, because replies and messages of other devices use MQTT's exchange too.
pub(super) fn mqtt(names: &Names) -> Vec<Part> {
    let entrance = names.mqtt_entrance();
    let mut parts = vec![
        Part::Exchange(internal(&entrance, ExchangeKind::Fanout, vec![])),
        bind(&entrance, To::Exchange(names.exchange().to_owned()), "#"),
    ];
    parts.extend(Kind::ALL.map(|kind| {
        let key = match kind {
            Kind::Init => "*.init.#",
            Kind::Heartbeat => "*.heartbeat.#",
            Kind::Stop => "*.stop.#",
            Kind::Status => "*.status.#",
        };
        bind(names.mqtt_exchange(), To::Exchange(entrance.clone()), key)
    }));
    parts
}

/// Lets messages in by MQTT, or no more.
///
/// # Errors
/// `NotFound` where MQTT's exchange is missing, `AccessRefused` where the user may not bind it.
pub async fn let_in_by_mqtt(link: &Link, names: &Names, let_in: bool) -> Result<(), BrokerError> {
    let channel = link.channel().await?;
    if !let_in {
        return delete_exchange(&channel, &names.mqtt_entrance()).await;
    }
    for part in mqtt(names) {
        one(&channel, part).await?;
    }
    Ok(())
}

/// Are messages let in by MQTT?
///
/// # Errors
/// Where the broker cannot be asked.
pub async fn is_let_in_by_mqtt(link: &Link, names: &Names) -> Result<bool, BrokerError> {
    has_exchange(link, &names.mqtt_entrance()).await
}
