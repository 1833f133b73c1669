//! The fixture itself: a node that is killed restarts with its data.

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
async fn a_private_broker_starts_is_killed_and_restarts() {
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
    // A passive declaration of a queue that has not recovered yet closes the channel.
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
async fn all_tests_share_one_broker() {
    let (one, other) = tokio::join!(Broker::shared(), Broker::shared());
    assert_eq!(one.url(), other.url());
    channel(one).await.expect("the shared broker answers");
}
