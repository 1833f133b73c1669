//! Roles of MQTT devices, and permissions of other roles for MQTT.
//!
//! All of them publish to one exchange, so topic permissions separate tenants and kinds. They also
//! bound the length: a topic of more than 255 bytes is not a valid routing key of AMQP, and
//! RabbitMQ closes the connection of every worker to which it would be delivered (seen on 3.10.8
//! and 4.0.5).
//!
//! For each client RabbitMQ declares queues called `mqtt-subscription-<client id>qos0` and `…qos1`,
//! under the client's own permissions. A delayed will requires permission to publish to the default
//! exchange, which would allow to forge entries, so it is not granted.

use super::{
    patterns::{NOTHING, any_of, escaped, kinds},
    role::{Role, TopicPermission},
};
use crate::{
    broker::Names,
    domain::Tenant,
    wire::{Kind, REPLIES},
};

/// A pattern of one character of a percent-encoded word of a topic.
const CHARACTER: &str = "[A-Za-z0-9_~%-]";

/// Longest routing key of AMQP, in bytes.
const MAX_KEY_BYTES: usize = 255;

/// The role of a tenant's devices, for any account.
pub(super) fn player(names: &Names, tenant: &Tenant) -> Role {
    let longest = Kind::Heartbeat.as_str().len();
    let room = MAX_KEY_BYTES - tenant.as_str().len() - longest - 2;
    Role {
        user: format!("{}.{tenant}.mqtt-player", names.exchange()),
        purpose: "a tenant's MQTT players; their client ids begin with the tenant and a dot",
        ..device(
            names,
            &tenant.to_string(),
            &format!("{tenant}\\.{}(\\.{CHARACTER}{{1,{room}}})?", kinds()),
            &format!("{tenant}\\.{REPLIES}"),
        )
    }
}

/// The role of one account's devices.
pub(super) fn viewer(names: &Names, tenant: &Tenant, encoded: &str) -> Role {
    Role {
        user: format!("{}.{tenant}.mqtt-viewer.{encoded}", names.exchange()),
        purpose: "one MQTT viewer; its client ids begin with the tenant, a dot, the account \
                  and a dot",
        ..device(
            names,
            &format!("{tenant}\\.{encoded}"),
            &format!("{tenant}\\.{}\\.{encoded}", kinds()),
            &format!("{tenant}\\.{REPLIES}\\.{encoded}"),
        )
    }
}

/// The permission of workers to publish replies to the MQTT exchange.
pub(super) fn replies(names: &Names) -> TopicPermission {
    TopicPermission {
        exchange: names.mqtt_exchange().to_owned(),
        write: any_of(&[format!(
            "[A-Za-z0-9_-]{{1,64}}\\.{REPLIES}(\\.{CHARACTER}*)+"
        )]),
        read: NOTHING.to_owned(),
    }
}

/// The role of a device whose client ids start with `clients`. It may publish under `keys` and
/// subscribe under `replies` without wildcards, so that secret topics are private.
fn device(names: &Names, clients: &str, keys: &str, replies: &str) -> Role {
    let queues = format!("mqtt-subscription-{clients}\\..+qos[01]");
    let exchange = escaped(names.mqtt_exchange());
    let both = any_of(&[exchange, queues.clone()]);
    Role {
        user: String::new(),
        purpose: "",
        configure: any_of(&[queues]),
        write: both.clone(),
        read: both,
        topics: vec![TopicPermission {
            exchange: names.mqtt_exchange().to_owned(),
            write: any_of(&[keys.to_owned()]),
            read: any_of(&[format!("{replies}(\\.{CHARACTER}+)+")]),
        }],
    }
}
