//! The fixture's own promise: a node that dies comes back as itself.

use lapin::options::QueueDeclareOptions;
use lapin::options::{BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};

use crate::fixture::{Broker, PATIENCE, eventually};

const QUEUE: &str = "kept";

async fn channel(broker: &Broker) -> Result<Channel, lapin::Error> {
    let connection = Connection::connect(broker.url(), ConnectionProperties::default()).await?;
    connection.create_channel().await
}

#[tokio::test]
async fn a_private_broker_starts_dies_and_comes_back() {
    let broker = Broker::start().await;
    let before = channel(&broker).await.expect("the broker answers");
    before
        .queue_declare(
            QUEUE.into(),
            QueueDeclareOptions::durable(),
            FieldTable::default(),
        )
        .await
        .expect("a queue is declared");
    before
        .confirm_select(ConfirmSelectOptions::default())
        .await
        .expect("confirms are on");
    let confirmation = before
        .basic_publish(
            "".into(),
            QUEUE.into(),
            BasicPublishOptions::default(),
            b"still here",
            BasicProperties::default().with_delivery_mode(2),
        )
        .await
        .expect("a message is written")
        .await
        .expect("a message is confirmed");
    assert!(confirmation.is_ack(), "{confirmation:?}");

    broker.sync_declarations().await;
    broker.kill().await;
    eventually(PATIENCE, "the client notices", async || {
        (!before.status().connected())
            .then_some(())
            .ok_or("still connected")
    })
    .await;
    assert!(channel(&broker).await.is_err(), "a dead broker answered");

    broker.start_again().await;
    // A queue that is not up yet closes the channel that asks for it.
    let kept = eventually(PATIENCE, "the message is there", async || {
        let after = channel(&broker).await.map_err(|e| e.to_string())?;
        let options = BasicGetOptions { no_ack: true };
        let message = after.basic_get(QUEUE.into(), options).await;
        let message = message.map_err(|e| e.to_string())?;
        message.ok_or_else(|| "nothing".to_owned())
    })
    .await;
    assert_eq!(kept.data, b"still here");
}

#[tokio::test]
async fn the_shared_broker_is_the_same_for_everyone() {
    let (one, other) = tokio::join!(Broker::shared(), Broker::shared());
    assert_eq!(one.url(), other.url());
    channel(one).await.expect("the shared broker answers");
}
