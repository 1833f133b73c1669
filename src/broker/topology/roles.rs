//! The permissions of each role, in RabbitMQ's terms. Commands, definitions, documents and tests
//! take them from here.
//!
//! The permission `configure` covers declaring and deleting, `write` publishing to an exchange and
//! binding a queue, `read` consuming and binding from an exchange. On a topic exchange, topic
//! permissions restrict publishing and binding to routing keys. A user *without* a topic permission
//! for an exchange may use all keys, so each restricted role has one for every exchange that it may
//! publish to or bind.

use crate::{
    broker::{Names, direct::DIRECT_REPLY_TO},
    domain::{AccountId, Tenant},
    wire::{Kind, RoutingKey},
};

mod mqtt;
mod patterns;
mod role;

use patterns::{NOTHING, kinds, kinds_of, of_any_partition};
pub(super) use patterns::{any_of, escaped};
pub use role::{Role, TopicPermission};

/// Roles to include in addition to those of the workers and operators.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoleScope {
    /// Tenants to include, with their players, backends and subscribers.
    pub tenants: Vec<Tenant>,
    /// The account that gets a viewer role in each of these tenants.
    pub account: Option<AccountId>,
    /// The tenants of an edge to include.
    pub edge: Vec<Tenant>,
    /// Whether to include MQTT devices. Workers may then reply to them, and operators may bind the
    /// MQTT exchange.
    pub by_mqtt: bool,
}

/// The roles of an installation. `None` if the account does not fit into a routing key and cannot
/// have a role of its own.
#[must_use]
pub fn roles(names: &Names, scope: &RoleScope) -> Option<Vec<Role>> {
    let mut roles = vec![worker(names, scope.by_mqtt), operator(names, scope.by_mqtt)];
    roles.extend((!scope.edge.is_empty()).then(|| edge(names, &scope.edge)));
    for tenant in &scope.tenants {
        roles.extend(of_tenant(names, tenant));
        roles.extend(scope.by_mqtt.then(|| mqtt::player(names, tenant)));
        if let Some(account) = &scope.account {
            let encoded = encoded(tenant, account)?;
            roles.push(viewer(names, tenant, &encoded));
            roles.extend(scope.by_mqtt.then(|| mqtt::viewer(names, tenant, &encoded)));
        }
    }
    Some(roles)
}

/// The role of workers. It may declare only the transient ring and queues that RabbitMQ deletes.
fn worker(names: &Names, by_mqtt: bool) -> Role {
    let each = |name: fn(&Names, u16) -> String| of_any_partition(names, name);
    let local_status_queues = format!("{}\\.[0-9a-f]{{16}}", each(Names::status));
    let mut write = vec![
        // Entries and replies go through the default exchange.
        "amq\\.default".to_owned(),
        escaped(&names.lifecycle()),
        escaped(&names.rejected()),
        escaped(&names.hash()),
        each(Names::partition),
        // Requests of a local queue move there.
        each(Names::shared_status),
        local_status_queues.clone(),
    ];
    write.extend(by_mqtt.then(|| escaped(names.mqtt_exchange())));
    Role {
        user: format!("{}.worker", names.exchange()),
        purpose: "workers",
        // The ring is lost when RabbitMQ restarts, so workers bind it.
        configure: any_of(&[
            escaped(&names.hash()),
            escaped(&names.ring_lock()),
            local_status_queues.clone(),
        ]),
        write: any_of(&write),
        read: any_of(&[
            each(Names::log),
            each(Names::snapshots),
            each(Names::init),
            each(Names::status),
            local_status_queues,
            escaped(&names.unrouted()),
            escaped(&names.intake_requests()),
            escaped(&names.intake_events()),
            escaped(&names.entrance()),
            escaped(&names.hash()),
        ]),
        topics: by_mqtt.then(|| mqtt::replies(names)).into_iter().collect(),
    }
}

/// The role of operators. It includes the permissions of players and workers.
fn operator(names: &Names, by_mqtt: bool) -> Role {
    let installation = format!("{}(\\..+)?", escaped(names.exchange()));
    let mut read = vec![installation.clone()];
    read.extend(by_mqtt.then(|| escaped(names.mqtt_exchange())));
    Role {
        user: format!("{}.operator", names.exchange()),
        purpose: "operators, and `streamwatch topology`",
        configure: any_of(std::slice::from_ref(&installation)),
        write: any_of(&["amq\\.default".to_owned(), installation.clone()]),
        read: any_of(&read),
        topics: vec![],
    }
}

/// The role of an edge: requests of all accounts of its tenants, and batches.
fn edge(names: &Names, tenants: &[Tenant]) -> Role {
    let tenants: Vec<_> = tenants.iter().map(Tenant::as_str).collect();
    let kinds = [&Kind::OF_PLAYERS[..], &[Kind::Batch]].concat();
    let keys = format!("({})\\.{}", tenants.join("|"), kinds_of(&kinds));
    publisher(
        names,
        format!("{}.edge", names.exchange()),
        "an edge",
        &[keys],
    )
}

/// A role that publishes with these keys, and gets direct replies.
fn publisher(names: &Names, user: String, purpose: &'static str, keys: &[String]) -> Role {
    Role {
        user,
        purpose,
        configure: NOTHING.to_owned(),
        write: any_of(&[escaped(names.exchange())]),
        // Needed for direct reply-to over AMQP 1.0, not over AMQP 0.9.1. RabbitMQ lets only the
        // requester's own session consume.
        read: any_of(&[format!("{}\\..+", escaped(DIRECT_REPLY_TO))]),
        topics: vec![TopicPermission {
            exchange: names.exchange().to_owned(),
            write: any_of(keys),
            read: NOTHING.to_owned(),
        }],
    }
}

fn of_tenant(names: &Names, tenant: &Tenant) -> [Role; 4] {
    let user = |role| format!("{}.{tenant}.{role}", names.exchange());
    let of_players = format!("{tenant}\\.{}(\\.[^.]+)?", kinds());
    let of_backends = format!("{tenant}\\.{}", kinds_of(&Kind::OF_BACKENDS));
    let publisher = |role, purpose, keys: &[String]| publisher(names, user(role), purpose, keys);
    let player = std::slice::from_ref(&of_players);
    let generated = any_of(&["amq\\.gen-.+".to_owned()]);
    let own_queues = format!("{}.+", escaped(&names.subscriptions(Some(tenant))));
    [
        publisher("player", "a tenant's players", player),
        Role {
            // RabbitMQ generates the secret names of their reply queues.
            configure: generated.clone(),
            read: generated,
            ..publisher("stomp-player", "a tenant's STOMP players", player)
        },
        publisher(
            "backend",
            "a tenant's backends, which may publish for any account, also in batches, and ask for \
             accounts and totals",
            &[of_players.clone(), of_backends],
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
                // One word after the tenant, such as `opened`, `*` or `#`.
                read: any_of(&[format!("{tenant}\\.[^.]+")]),
            }],
        },
    ]
}

/// The account as encoded in routing keys, without special characters of regular expressions.
fn encoded(tenant: &Tenant, account: &AccountId) -> Option<String> {
    let key = RoutingKey::of_account(tenant, Kind::Heartbeat, account)?;
    Some(key.rsplit('.').next()?.to_owned())
}

/// The role of one account's viewer. RabbitMQ checks the account in the routing key, and workers
/// the account in the body.
fn viewer(names: &Names, tenant: &Tenant, encoded: &str) -> Role {
    let user = format!("{}.{tenant}.viewer.{encoded}", names.exchange());
    let keys = format!("{tenant}\\.{}\\.{encoded}", kinds());
    publisher(names, user, "one viewer", &[keys])
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
        let scope = RoleScope {
            tenants: vec![tenant],
            account: Some(account),
            edge: vec![],
            by_mqtt: true,
        };
        let mut all = roles(&names, &scope).unwrap().into_iter();
        all.find(|it| it.user.ends_with(role)).unwrap()
    }

    #[test]
    fn patterns_match_names_literally_and_any_partition() {
        let worker = of("worker", "alice");
        assert_eq!(worker.user, "p00.streamwatch.worker");
        assert!(worker.read.contains("p00\\.streamwatch\\.p[0-9]{2}\\.log|"));
        let player = of("acme.player", "alice");
        assert_eq!(player.write, "^p00\\.streamwatch$");
        assert_eq!(player.configure, "^$");
        assert_eq!(player.read, "^amq\\.rabbitmq\\.reply-to\\..+$");
        let keys = "acme\\.(init|heartbeat|stop|status)(\\.[^.]+)?";
        assert_eq!(player.topics[0].write, format!("^{keys}$"));
        let backend = of("acme.backend", "alice");
        assert_eq!(
            backend.topics[0].write,
            format!("^({keys}|acme\\.(batch|accounts|totals))$")
        );
    }

    #[test]
    fn an_edge_has_the_keys_of_each_of_its_tenants() {
        let tenants = ["acme", "globex"].map(|name| Tenant::new(name).unwrap());
        let scope = RoleScope {
            edge: tenants.into(),
            ..RoleScope::default()
        };
        let all = roles(&Names::default(), &scope).unwrap();
        let edge = all.last().unwrap();
        assert_eq!((all.len(), &*edge.user), (3, "streamwatch.edge"));
        let keys = "^(acme|globex)\\.(init|heartbeat|stop|status|batch)$";
        assert_eq!(edge.topics[0].write, keys);
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
    fn a_viewer_has_the_account_as_encoded_in_the_routing_key() {
        let viewer = of("viewer.a%2Eb%2A", "a.b*");
        let keys = "^acme\\.(init|heartbeat|stop|status)\\.a%2Eb%2A$";
        assert_eq!(viewer.topics[0].write, keys);
        let long = AccountId::new(&"é".repeat(64)).unwrap();
        let tenant = Tenant::new("acme").unwrap();
        let scope = RoleScope {
            tenants: vec![tenant],
            account: Some(long),
            ..RoleScope::default()
        };
        assert_eq!(roles(&Names::default(), &scope), None);
    }
}
