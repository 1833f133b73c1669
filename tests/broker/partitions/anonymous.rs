//! A device that cannot set the header `account`.

use std::sync::Mutex;

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel, Confirmation, Connection, PublisherConfirm};
use serde_json::json;
use streamwatch::client::StreamId;

use crate::fixture::Installation;

pub struct Anonymous {
    exchange: String,
    channel: Channel,
    unconfirmed: Mutex<Vec<PublisherConfirm>>,
    _connection: Connection,
}

impl Anonymous {
    pub async fn connect(installation: &Installation<'_>) -> Self {
        let connection = installation.broker.connection().await;
        let channel = connection.create_channel().await.expect("a channel opens");
        let confirms = channel.confirm_select(ConfirmSelectOptions::default());
        confirms.await.expect("it confirms");
        Self {
            exchange: installation.names().exchange().to_owned(),
            channel,
            unconfirmed: Mutex::default(),
            _connection: connection,
        }
    }

    pub async fn heartbeat(&self, account: &str, stream: StreamId) {
        let body = json!({ "account": account, "stream": stream.to_string() }).to_string();
        let options = BasicPublishOptions {
            mandatory: true,
            ..BasicPublishOptions::default()
        };
        let confirm = self
            .channel
            .basic_publish(
                self.exchange.as_str().into(),
                "acme.heartbeat".into(),
                options,
                body.as_bytes(),
                BasicProperties::default(),
            )
            .await
            .expect("it is written");
        self.unconfirmed.lock().expect("no panic").push(confirm);
    }

    /// Waits until the broker has confirmed all messages.
    pub async fn confirmed(&self) {
        let unconfirmed = std::mem::take(&mut *self.unconfirmed.lock().expect("no panic"));
        for confirm in unconfirmed {
            let confirmation = confirm.await.expect("the broker answers");
            assert!(matches!(confirmation, Confirmation::Ack(None)));
        }
    }
}
