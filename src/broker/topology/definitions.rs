//! A topology and its roles as RabbitMQ definitions: JSON for `rabbitmqctl import_definitions`, or
//! for a node to load at boot.
//!
//! Definitions differ from a declaration in three points. Retention is a policy, since the
//! arguments of a queue cannot be changed later. Transient exchanges cannot be imported, and
//! neither can a binding to a header without a value. `streamwatch topology declare` adds these,
//! and the first settings.

use lapin::{ExchangeKind, types::AMQPValue};
use serde_json::{Map, Value, json};

use super::{
    Layout,
    component::{Arguments, Component, Exchange, QueueKind, To},
    components::components,
    mqtt::mqtt,
    roles::{Role, any_of, escaped},
};
use crate::broker::Names;

/// The definitions of a topology in the virtual host `vhost`, without users and permissions. MQTT
/// messages are routed to it if `by_mqtt` is set.
#[must_use]
pub fn definitions(names: &Names, vhost: &str, layout: &Layout, by_mqtt: bool) -> Value {
    let (mut exchanges, mut queues, mut bindings) = (vec![], vec![], vec![]);
    let mut kept: [Option<Arguments>; 2] = [None, None];
    let mut components = components(names, layout);
    if by_mqtt {
        components.extend(mqtt(names));
    }
    for component in components {
        match component {
            Component::Exchange(it) if it.durable => exchanges.push(exchange(&it, vhost)),
            Component::Exchange(_) => {}
            Component::Queue(it) => {
                let (stays, retention) = split(it.kind, it.arguments);
                match it.kind {
                    QueueKind::Log => kept[0] = Some(retention),
                    QueueKind::Snapshots => kept[1] = Some(retention),
                    QueueKind::Messages => {}
                }
                queues.push(json!({
                    "name": it.name, "vhost": vhost, "durable": true, "auto_delete": false,
                    "arguments": object(&stays).unwrap_or_default(),
                }));
            }
            Component::Binding(it) => {
                let Some(arguments) = object(&it.arguments) else {
                    continue;
                };
                let (to, kind) = match it.to {
                    To::Exchange(to) => (to, "exchange"),
                    To::Queue(to) => (to, "queue"),
                };
                bindings.push(json!({
                    "source": it.from, "vhost": vhost, "destination": to,
                    "destination_type": kind, "routing_key": it.key, "arguments": arguments,
                }));
            }
        }
    }
    let [logs, snapshots] = kept;
    let policies = [("logs", "log", logs), ("snapshots", "snapshots", snapshots)];
    let policies = policies.map(|(name, queue, arguments)| {
        let pattern = format!("{}\\.p[0-9]{{2}}\\.{queue}", escaped(names.exchange()));
        json!({
            "name": format!("{}.{name}", names.exchange()), "vhost": vhost,
            "pattern": any_of(&[pattern]), "apply-to": "queues", "priority": 0,
            "definition": policy(&arguments.unwrap_or_default()),
        })
    });
    json!({
        "vhosts": [{ "name": vhost }], "policies": policies, "exchanges": exchanges,
        "queues": queues, "bindings": bindings,
    })
}

/// The permissions of `roles` in the virtual host `vhost`, as definitions. Users are not included,
/// because an import would reset their passwords. Exchanges with topic permissions are included,
/// because RabbitMQ 4.3 rejects topic permissions for a missing exchange.
#[must_use]
pub fn permissions(names: &Names, roles: &[Role], vhost: &str) -> Value {
    let permissions = roles.iter().map(|it| {
        json!({
            "user": it.user, "vhost": vhost,
            "configure": it.configure, "write": it.write, "read": it.read,
        })
    });
    let topics = roles.iter().flat_map(|role| {
        role.topics.iter().map(|it| {
            json!({
                "user": role.user, "vhost": vhost, "exchange": it.exchange,
                "write": it.write, "read": it.read,
            })
        })
    });
    let named = |name: &str| {
        let mut topics = roles.iter().flat_map(|role| &role.topics);
        topics.any(|topic| topic.exchange == name)
    };
    let exchanges = components(names, &Layout::of(1))
        .into_iter()
        .filter_map(|component| match component {
            Component::Exchange(it) if named(&it.name) => Some(exchange(&it, vhost)),
            _ => None,
        });
    json!({
        "permissions": permissions.collect::<Vec<_>>(),
        "topic_permissions": topics.collect::<Vec<_>>(),
        "exchanges": exchanges.collect::<Vec<_>>(),
    })
}

fn exchange(it: &Exchange, vhost: &str) -> Value {
    json!({
        "name": it.name, "vhost": vhost, "type": kind(&it.kind), "durable": it.durable,
        "auto_delete": false, "internal": it.internal,
        "arguments": object(&it.arguments).unwrap_or_default(),
    })
}

fn kind(kind: &ExchangeKind) -> &str {
    match kind {
        ExchangeKind::Custom(kind) => kind,
        ExchangeKind::Direct => "direct",
        ExchangeKind::Fanout => "fanout",
        ExchangeKind::Headers => "headers",
        ExchangeKind::Topic => "topic",
    }
}

/// Splits arguments into those of the queue and those of its policy.
fn split(kind: QueueKind, arguments: Arguments) -> (Arguments, Arguments) {
    if kind == QueueKind::Messages {
        return (arguments, vec![]);
    }
    arguments
        .into_iter()
        .partition(|(name, _)| *name == "x-queue-type")
}

fn policy(arguments: &Arguments) -> Map<String, Value> {
    let all = object(arguments).unwrap_or_default().into_iter();
    all.map(|(name, value)| (name.trim_start_matches("x-").to_owned(), value))
        .collect()
}

/// Arguments as JSON; `None` if RabbitMQ cannot import one of them.
fn object(arguments: &Arguments) -> Option<Map<String, Value>> {
    let values = arguments.iter().map(|(name, value)| {
        let value = match value {
            AMQPValue::LongString(text) => Value::from(text.to_string()),
            AMQPValue::LongLongInt(number) => Value::from(*number),
            _ => return None,
        };
        Some(((*name).to_owned(), value))
    });
    values.collect()
}

#[cfg(test)]
mod tests {
    use super::{super::RoleScope, *};

    fn of(partitions: u16) -> Value {
        definitions(&Names::default(), "tv", &Layout::of(partitions), false)
    }

    fn named<'a>(list: &'a Value, name: &str) -> &'a Value {
        let mut list = list.as_array().unwrap().iter();
        list.find(|it| it["name"] == name).unwrap()
    }

    #[test]
    fn retention_is_a_policy_not_an_argument() {
        let all = of(2);
        let log = named(&all["queues"], "streamwatch.p01.log");
        assert_eq!(log["arguments"], json!({ "x-queue-type": "stream" }));
        let policy = named(&all["policies"], "streamwatch.logs");
        assert_eq!(policy["pattern"], "^streamwatch\\.p[0-9]{2}\\.log$");
        assert_eq!(policy["definition"]["max-age"], "14400s");
        assert_eq!(policy["definition"]["max-length-bytes"], 34_359_738_368_u64);
        let policy = named(&all["policies"], "streamwatch.snapshots");
        assert_eq!(policy["definition"]["max-length-bytes"], 2_147_483_648_u64);
    }

    #[test]
    fn every_quorum_queue_has_a_limit_of_bytes() {
        let all = of(2);
        let queues = all["queues"].as_array().unwrap().iter();
        let quorum: Vec<_> = queues
            .filter(|it| it["arguments"]["x-queue-type"] == "quorum")
            .collect();
        assert!(
            quorum
                .iter()
                .any(|it| it["name"] == "streamwatch.intake.events")
        );
        for queue in quorum {
            let bytes = &queue["arguments"]["x-max-length-bytes"];
            assert_eq!(*bytes, 1_073_741_824_u64, "{queue}");
        }
    }

    #[test]
    fn components_that_cannot_be_imported_are_left_out() {
        let all = of(2);
        let text = all.to_string();
        assert!(!text.contains("streamwatch.hash") && !text.contains("null"));
        let bindings = all["bindings"].as_array().unwrap();
        assert!(
            bindings
                .iter()
                .all(|it| it["source"] != "streamwatch.header")
        );
        assert_eq!(of(1)["queues"].as_array().unwrap().len(), 5);
    }

    #[test]
    fn mqtt_messages_are_routed_only_if_requested() {
        let names = Names::default();
        let all = definitions(&names, "tv", &Layout::of(1), true);
        let from = |it: &&Value| it["source"] == "amq.topic";
        let bindings = all["bindings"].as_array().unwrap();
        assert_eq!(bindings.iter().filter(from).count(), 4);
        assert_eq!(
            named(&all["exchanges"], "streamwatch.mqtt")["internal"],
            true
        );
        assert!(!of(1).to_string().contains("mqtt"));
    }

    #[test]
    fn permissions_contain_users_but_no_passwords() {
        let tenant = crate::domain::Tenant::new("acme").unwrap();
        let scope = RoleScope {
            tenants: vec![tenant],
            ..RoleScope::default()
        };
        let names = Names::default();
        let roles = super::super::roles(&names, &scope).unwrap();
        let all = permissions(&names, &roles, "tv");
        assert_eq!(all["permissions"].as_array().unwrap().len(), roles.len());
        assert_eq!(all["topic_permissions"].as_array().unwrap().len(), 4);
        assert_eq!(named(&all["exchanges"], "streamwatch")["type"], "topic");
        assert!(!all.to_string().contains("password"));
    }
}
