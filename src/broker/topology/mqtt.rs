//! Routing of MQTT messages: from the exchange of RabbitMQ's MQTT plugin to the exchange of
//! players.
//!
//! A message to the topic `acme/heartbeat/alice` arrives with the routing key
//! `acme.heartbeat.alice`. It passes through an exchange of streamwatch, since clients can check
//! over AMQP whether an exchange exists, but not its bindings. Deleting this exchange deletes its
//! bindings too.

use lapin::ExchangeKind;

use super::{
    component::{Component, To, bind, internal, keys_of},
    delete::delete_exchange,
    show::exchange_exists,
};
use crate::{
    broker::{BrokerError, Connection, Names},
    wire::Kind,
};

/// The exchange and bindings for MQTT messages, in the order of declaration. They match only kinds
/// that players may publish, because replies and messages of other devices use the MQTT exchange
/// too.
pub(super) fn mqtt(names: &Names) -> Vec<Component> {
    let entrance = names.mqtt_entrance();
    let mut components = vec![
        internal(&entrance, ExchangeKind::Fanout, vec![]),
        bind(&entrance, To::Exchange(names.exchange().to_owned()), "#"),
    ];
    components.extend(Kind::OF_PLAYERS.map(|kind| {
        let to = To::Exchange(entrance.clone());
        bind(names.mqtt_exchange(), to, &keys_of(kind))
    }));
    components
}

/// Starts or stops routing MQTT messages to the players' exchange.
///
/// # Errors
/// `NotFound` if the MQTT exchange is missing, `AccessRefused` if the user may not bind it.
pub async fn set_mqtt_enabled(
    connection: &Connection,
    names: &Names,
    enabled: bool,
) -> Result<(), BrokerError> {
    let channel = connection.channel().await?;
    if !enabled {
        return delete_exchange(&channel, &names.mqtt_entrance()).await;
    }
    for component in mqtt(names) {
        component.declare(&channel).await?;
    }
    Ok(())
}

/// Returns whether MQTT messages are routed to the players' exchange.
///
/// # Errors
/// If the broker cannot be reached.
pub async fn is_mqtt_enabled(connection: &Connection, names: &Names) -> Result<bool, BrokerError> {
    exchange_exists(connection, &names.mqtt_entrance()).await
}
