//! Names of exchanges and queues.

use super::{
    namespace::{NamespaceError, is_namespace, is_plain},
    queue_names::{
        CLOSED, INIT, INTAKE_EVENTS, INTAKE_REQUESTS, LIFECYCLE, LOG, PREFIX, REJECTED, RING_LOCK,
        SHARED, SNAPSHOTS, STATUS, UNROUTED,
    },
};
use crate::domain::Tenant;

/// The default exchange of RabbitMQ's MQTT plugin.
pub const MQTT_EXCHANGE: &str = "amq.topic";

/// Longest name of the MQTT exchange, in bytes.
const MAX_MQTT_EXCHANGE_BYTES: usize = 127;

/// An invalid name of the MQTT exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the MQTT exchange is 1 to {MAX_MQTT_EXCHANGE_BYTES} characters of A-Z a-z 0-9 _ . -, and not \
     one of streamwatch's"
)]
pub struct MqttExchangeError;

/// The names of one installation's exchanges and queues, with its namespace in front, and of
/// RabbitMQ's MQTT exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    exchange: String,
    mqtt: String,
}

impl Default for Names {
    fn default() -> Self {
        Self {
            exchange: "streamwatch".to_owned(),
            mqtt: MQTT_EXCHANGE.to_owned(),
        }
    }
}

impl Names {
    /// The names under a namespace, such as `staging-`; empty for none.
    ///
    /// # Errors
    /// If the namespace is not `[A-Za-z0-9_.-]{0,64}`.
    pub fn new(namespace: &str) -> Result<Self, NamespaceError> {
        if !is_namespace(namespace) {
            return Err(NamespaceError);
        }
        Ok(Self {
            exchange: format!("{namespace}streamwatch"),
            ..Self::default()
        })
    }

    /// Replaces the name of the MQTT exchange.
    ///
    /// # Errors
    /// If the name is not 1 to 127 characters of `A-Z a-z 0-9 _ . -`, or is one of streamwatch's.
    pub fn with_mqtt_exchange(self, name: &str) -> Result<Self, MqttExchangeError> {
        let fits = (1..=MAX_MQTT_EXCHANGE_BYTES).contains(&name.len());
        let plain = name.bytes().all(is_plain);
        if !fits || !plain || name.contains(PREFIX) || name == self.exchange {
            return Err(MqttExchangeError);
        }
        Ok(Self {
            mqtt: name.to_owned(),
            ..self
        })
    }

    /// The topic exchange to which RabbitMQ publishes the messages of MQTT devices.
    #[must_use]
    pub fn mqtt_exchange(&self) -> &str {
        &self.mqtt
    }

    /// The exchange that receives messages from the MQTT exchange, if MQTT is enabled.
    #[must_use]
    pub fn mqtt_entrance(&self) -> String {
        format!("{}.mqtt", self.exchange)
    }

    /// The topic exchange to which players and backends publish.
    #[must_use]
    pub fn exchange(&self) -> &str {
        &self.exchange
    }

    /// The topic exchange of one partition.
    #[must_use]
    pub fn partition(&self, partition: u16) -> String {
        format!("{}.p{partition:02}", self.exchange)
    }

    /// The log of one partition (RabbitMQ: stream).
    #[must_use]
    pub fn log(&self, partition: u16) -> String {
        format!("{}.{LOG}", self.partition(partition))
    }

    /// The log of one partition's snapshots (RabbitMQ: stream).
    #[must_use]
    pub fn snapshots(&self, partition: u16) -> String {
        format!("{}.{SNAPSHOTS}", self.partition(partition))
    }

    /// The queue of one partition's `init` requests.
    #[must_use]
    pub fn init(&self, partition: u16) -> String {
        format!("{}.{INIT}", self.partition(partition))
    }

    /// The shared queue of one partition's `status` requests. On RabbitMQ 4 and later, also the
    /// exchange that routes them to a local queue.
    #[must_use]
    pub fn status(&self, partition: u16) -> String {
        format!("{}.{STATUS}", self.partition(partition))
    }

    /// The exchange in front of the shared queue of `status` requests. It receives those that have
    /// no local queue or that a local queue cannot deliver at once.
    #[must_use]
    pub fn shared_status(&self, partition: u16) -> String {
        format!("{}.{SHARED}", self.status(partition))
    }

    /// Returns whether `exchange` is in front of the shared queue of a partition.
    pub(super) fn is_shared_status(&self, exchange: &str) -> bool {
        let rest = exchange.strip_prefix(self.exchange.as_str());
        rest.and_then(|rest| rest.strip_suffix(SHARED))
            .is_some_and(|rest| rest.ends_with(".status."))
    }

    /// The local queue of `status` requests with this number, which one worker consumes.
    #[must_use]
    pub fn local_status_queue(&self, partition: u16, number: u64) -> String {
        format!("{}.{number:016x}", self.status(partition))
    }

    /// The exchange of requests about a tenant, in front of the shared status queue of each
    /// partition.
    #[must_use]
    pub fn each_partition(&self) -> String {
        format!("{}.each", self.exchange)
    }

    /// The headers exchange that separates messages with the header `account` from those without.
    #[must_use]
    pub fn by_header(&self) -> String {
        format!("{}.header", self.exchange)
    }

    /// The exchange of messages with the header `account`.
    #[must_use]
    pub fn entrance(&self) -> String {
        format!("{}.entrance", self.exchange)
    }

    /// The exchange and queue that reject messages while the entrance has no other binding.
    #[must_use]
    pub fn closed(&self) -> String {
        format!("{}.{CLOSED}", self.exchange)
    }

    /// The consistent-hash exchange that selects the partition.
    #[must_use]
    pub fn hash(&self) -> String {
        format!("{}.hash", self.exchange)
    }

    /// The exclusive queue that serves as a lock on the bindings of the consistent-hash exchange.
    #[must_use]
    pub fn ring_lock(&self) -> String {
        format!("{}.{RING_LOCK}", self.exchange)
    }

    /// The topic exchange of messages without the header `account`.
    #[must_use]
    pub fn intake(&self) -> String {
        format!("{}.intake", self.exchange)
    }

    /// The queue of requests without the header `account`.
    #[must_use]
    pub fn intake_requests(&self) -> String {
        format!("{}.{INTAKE_REQUESTS}", self.exchange)
    }

    /// The queue of heartbeats and stops without the header `account`.
    #[must_use]
    pub fn intake_events(&self) -> String {
        format!("{}.{INTAKE_EVENTS}", self.exchange)
    }

    /// The exchange and queue of messages of an unknown kind.
    #[must_use]
    pub fn unrouted(&self) -> String {
        format!("{}.{UNROUTED}", self.exchange)
    }

    /// The topic exchange of lifecycle events.
    #[must_use]
    pub fn lifecycle(&self) -> String {
        format!("{}.{LIFECYCLE}", self.exchange)
    }

    /// The topic exchange of rejected messages.
    #[must_use]
    pub fn rejected(&self) -> String {
        format!("{}.{REJECTED}", self.exchange)
    }

    /// The prefix of the queue names of a tenant's lifecycle subscribers, or of all subscribers.
    /// Workers send no replies to such queues.
    #[must_use]
    pub fn subscriptions(&self, tenant: Option<&Tenant>) -> String {
        match tenant {
            Some(tenant) => format!("{}.{tenant}.", self.lifecycle()),
            None => format!("{}.", self.lifecycle()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mqtt_exchange_is_not_named_like_a_streamwatch_exchange() {
        let names = |mqtt| Names::new("a-").unwrap().with_mqtt_exchange(mqtt);
        assert_eq!(names("devices").unwrap().mqtt_exchange(), "devices");
        for bad in [
            "",
            "a-streamwatch",
            "a-streamwatch.hash",
            "a b",
            &"x".repeat(128),
        ] {
            assert_eq!(names(bad), Err(MqttExchangeError), "{bad}");
        }
    }

    #[test]
    fn names_carry_the_namespace_and_the_partition() {
        let names = Names::new("staging-").unwrap();
        assert_eq!(names.exchange(), "staging-streamwatch");
        assert_eq!(names.log(3), "staging-streamwatch.p03.log");
        assert!(Names::new("a b").is_err() && Names::new(&"x".repeat(65)).is_err());
    }
}
