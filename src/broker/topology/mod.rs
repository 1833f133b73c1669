//! The exchanges, queues and permissions of an installation.
//!
//! `components` lists the exchanges, queues and bindings, and `roles` the permissions. The other
//! modules declare, inspect, delete and export these lists.

mod arguments;
mod component;
mod components;
mod declare;
mod definitions;
mod delete;
mod layout;
mod mqtt;
mod retention;
mod ring;
mod roles;
mod show;
mod status;

pub use declare::{Topology, declare};
pub use definitions::{definitions, permissions};
pub use delete::delete;
pub use layout::Layout;
pub use mqtt::{is_mqtt_enabled, set_mqtt_enabled};
pub use retention::{REQUEST_TTL, Retention};
pub use ring::open_partitions;
pub use roles::{Role, RoleScope, TopicPermission, roles};
pub use show::{QueueState, missing_exchanges, partition_count, partitions, show};
pub use status::StatusRouting;
pub(in crate::broker) use status::{add_local_queue, bind_local_queue, remove_local_queue};
