//! The permissions of each role, in RabbitMQ's terms. The only source for commands, definitions,
//! documents and tests.
//!
//! Of RabbitMQ's three permissions, `configure` declares and deletes, `write` publishes to an
//! exchange or binds a queue, `read` consumes or binds from an exchange. On a topic exchange, topic
//! permissions narrow publishing and binding down to routing keys; *without* one everything is
//! allowed, so each role that needs one has it wherever it may publish or bind.

use crate::{
    broker::Names,
    domain::{AccountId, Tenant},
    wire::{Kind, RoutingKey},
};

mod mqtt;

/// Matches no name: no exchange and no queue is called nothing.
const NOTHING: &str = "^$";

/// One role: a user of RabbitMQ, and what that user may do in the installation's virtual host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// The name of the user.
    pub user: String,
    /// The purpose.
    pub purpose: &'static str,
    /// Exchanges and queues that it may declare and delete: a regular expression, as the next two.
    pub configure: String,
    /// Exchanges that it may publish to, and queues and exchanges that it may bind.
    pub write: String,
    /// Queues that it may consume, and exchanges that it may bind from.
    pub read: String,
    /// Which routing keys of topic exchanges.
    pub topics: Vec<TopicPermission>,
}

/// The routing keys of one topic exchange that a role may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicPermission {
    /// The exchange.
    pub exchange: String,
    /// Keys that it may publish under: a regular expression, as the next one.
    pub write: String,
    /// Keys that it may bind with.
    pub read: String,
}

/// Tenants and accounts whose roles are printed beside the installation's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Whose {
    /// Of the players, backends and subscribers of these.
    pub tenants: Vec<Tenant>,
    /// And of this one viewer of each.
    pub account: Option<AccountId>,
    /// Also of MQTT devices. Workers may reply to them then, and operators may bind their exchange.
    pub by_mqtt: bool,
}

/// The roles of an installation.
///
/// An account whose name does not fit into a routing key has no role of its own: `None`.
#[must_use]
pub fn roles(names: &Names, whose: &Whose) -> Option<Vec<Role>> {
    let mut roles = vec![worker(names, whose.by_mqtt), operator(names, whose.by_mqtt)];
    for tenant in &whose.tenants {
        roles.extend(of_tenant(names, tenant));
        roles.extend(whose.by_mqtt.then(|| mqtt::player(names, tenant)));
        if let Some(account) = &whose.account {
            let encoded = encoded(tenant, account)?;
            roles.push(viewer(names, tenant, &encoded));
            roles.extend(whose.by_mqtt.then(|| mqtt::viewer(names, tenant, &encoded)));
        }
    }
    Some(roles)
}

/// Follows the logs, takes requests, replies, announces. Declares nothing that lasts.
fn worker(names: &Names, by_mqtt: bool) -> Role {
    let each = |name: fn(&Names, u16) -> String| of_any_partition(names, name);
    let mut write = vec![
        // Entries and replies go through the default exchange.
        "amq\\.default".to_owned(),
        escaped(&names.lifecycle()),
        escaped(&names.rejected()),
        escaped(&names.hash()),
        each(Names::partition),
    ];
    write.extend(by_mqtt.then(|| escaped(names.mqtt_exchange())));
    Role {
        user: format!("{}.worker", names.exchange()),
        purpose: "workers",
        // The ring: it does not outlive RabbitMQ before Khepri, so workers bind it.
        configure: any_of(&[escaped(&names.hash()), escaped(&names.ring_lock())]),
        write: any_of(&write),
        read: any_of(&[
            each(Names::log),
            each(Names::snapshots),
            each(Names::init),
            each(Names::status),
            escaped(&names.unrouted()),
            escaped(&names.intake_requests()),
            escaped(&names.intake_events()),
            escaped(&names.entrance()),
            escaped(&names.hash()),
        ]),
        topics: by_mqtt.then(|| mqtt::replies(names)).into_iter().collect(),
    }
}

/// Declares, sets, shows and deletes, and may do on the way whatever players and workers may.
fn operator(names: &Names, by_mqtt: bool) -> Role {
    let ours = format!("{}(\\..+)?", escaped(names.exchange()));
    let mut read = vec![ours.clone()];
    read.extend(by_mqtt.then(|| escaped(names.mqtt_exchange())));
    Role {
        user: format!("{}.operator", names.exchange()),
        purpose: "operators, and `streamwatch topology`",
        configure: any_of(std::slice::from_ref(&ours)),
        write: any_of(&["amq\\.default".to_owned(), ours.clone()]),
        read: any_of(&read),
        topics: vec![],
    }
}

fn of_tenant(names: &Names, tenant: &Tenant) -> [Role; 4] {
    let user = |role| format!("{}.{tenant}.{role}", names.exchange());
    let speaks = |role, purpose| Role {
        user: user(role),
        purpose,
        configure: NOTHING.to_owned(),
        write: any_of(&[escaped(names.exchange())]),
        // Direct reply-to needs no permission.
        read: NOTHING.to_owned(),
        topics: vec![TopicPermission {
            exchange: names.exchange().to_owned(),
            write: any_of(&[format!("{tenant}\\.{}(\\.[^.]+)?", kinds())]),
            read: NOTHING.to_owned(),
        }],
    };
    let generated = any_of(&["amq\\.gen-.+".to_owned()]);
    let own_queues = format!("{}.+", escaped(&names.subscriptions(Some(tenant))));
    [
        speaks("player", "a tenant's players"),
        Role {
            // RabbitMQ generates the secret names of their reply queues.
            configure: generated.clone(),
            read: generated,
            ..speaks("stomp-player", "a tenant's STOMP players")
        },
        speaks(
            "backend",
            "a tenant's backends, which may publish for any account",
        ),
        Role {
            user: user("subscriber"),
            purpose: "subscribers to a tenant's lifecycle, with queues of their own",
            configure: any_of(std::slice::from_ref(&own_queues)),
            write: any_of(std::slice::from_ref(&own_queues)),
            read: any_of(&[own_queues, escaped(&names.lifecycle())]),
            topics: vec![TopicPermission {
                exchange: names.lifecycle(),
                write: NOTHING.to_owned(),
                // One word behind the tenant, such as `opened`, `*` or `#`.
                read: any_of(&[format!("{tenant}\\.[^.]+")]),
            }],
        },
    ]
}

/// The account as it stands in routing keys: it has nothing in it that means something to a regular
/// expression.
fn encoded(tenant: &Tenant, account: &AccountId) -> Option<String> {
    let key = RoutingKey::of_account(tenant, Kind::Heartbeat, account)?;
    Some(key.rsplit('.').next()?.to_owned())
}

/// One account: the routing key must name it, and the workers see to it that the body does too.
fn viewer(names: &Names, tenant: &Tenant, encoded: &str) -> Role {
    let [player, ..] = of_tenant(names, tenant);
    Role {
        user: format!("{}.{tenant}.viewer.{encoded}", names.exchange()),
        purpose: "one viewer",
        topics: vec![TopicPermission {
            exchange: names.exchange().to_owned(),
            write: any_of(&[format!("{tenant}\\.{}\\.{encoded}", kinds())]),
            read: NOTHING.to_owned(),
        }],
        ..player
    }
}

fn kinds() -> String {
    format!("({})", Kind::ALL.map(Kind::as_str).join("|"))
}

/// The names of any partition's exchange or queue.
fn of_any_partition(names: &Names, name: fn(&Names, u16) -> String) -> String {
    let mut pattern = escaped(&name(names, 0));
    // The last one: a namespace may have any letters.
    if let Some(at) = pattern.rfind("p00") {
        pattern.replace_range(at..at + 3, "p[0-9]{2}");
    }
    pattern
}

/// A name, as a regular expression.
pub(super) fn escaped(name: &str) -> String {
    name.replace('.', "\\.")
}

/// Exactly one of these regular expressions.
pub(super) fn any_of(expressions: &[String]) -> String {
    match expressions {
        [one] => format!("^{one}$"),
        several => format!("^({})$", several.join("|")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(role: &str, account: &str) -> Role {
        let (tenant, account) = (
            Tenant::new("acme").unwrap(),
            AccountId::new(account).unwrap(),
        );
        let names = Names::new("p00.").unwrap();
        let whose = Whose {
            tenants: vec![tenant],
            account: Some(account),
            by_mqtt: true,
        };
        let mut all = roles(&names, &whose).unwrap().into_iter();
        all.find(|it| it.user.ends_with(role)).unwrap()
    }

    #[test]
    fn names_are_taken_literally_and_partitions_are_any() {
        let worker = of("worker", "alice");
        assert_eq!(worker.user, "p00.streamwatch.worker");
        assert!(worker.read.contains("p00\\.streamwatch\\.p[0-9]{2}\\.log|"));
        let player = of("acme.player", "alice");
        assert_eq!(player.write, "^p00\\.streamwatch$");
        assert_eq!(
            (player.configure, player.read),
            ("^$".to_owned(), "^$".to_owned())
        );
        let keys = "^acme\\.(init|heartbeat|stop|status)(\\.[^.]+)?$";
        assert_eq!(player.topics[0].write, keys);
    }

    #[test]
    fn an_mqtt_device_has_bounded_keys_and_subscriptions_of_its_own() {
        let device = of("mqtt-player", "alice");
        let queues = "mqtt-subscription-acme\\..+qos[01]";
        assert_eq!(device.configure, format!("^{queues}$"));
        assert_eq!(device.write, format!("^(amq\\.topic|{queues})$"));
        let keys = "^acme\\.(init|heartbeat|stop|status)(\\.[A-Za-z0-9_~%-]{1,240})?$";
        assert_eq!(device.topics[0].write, keys);
        let viewer = of("mqtt-viewer.a%2Eb", "a.b");
        let replies = "^acme\\.replies\\.a%2Eb(\\.[A-Za-z0-9_~%-]+)+$";
        assert_eq!(viewer.topics[0].read, replies);
        let worker = of("worker", "alice");
        assert!(worker.write.contains("|amq\\.topic)"));
        let keys = "^[A-Za-z0-9_-]{1,64}\\.replies(\\.[A-Za-z0-9_~%-]*)+$";
        assert_eq!(worker.topics[0].write, keys);
    }

    #[test]
    fn a_viewer_has_the_account_as_it_stands_in_the_routing_key() {
        let viewer = of("viewer.a%2Eb%2A", "a.b*");
        let keys = "^acme\\.(init|heartbeat|stop|status)\\.a%2Eb%2A$";
        assert_eq!(viewer.topics[0].write, keys);
        let long = AccountId::new(&"é".repeat(64)).unwrap();
        let tenant = Tenant::new("acme").unwrap();
        let whose = Whose {
            tenants: vec![tenant],
            account: Some(long),
            by_mqtt: false,
        };
        assert_eq!(roles(&Names::default(), &whose), None);
    }
}
