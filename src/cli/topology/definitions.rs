//! `streamwatch topology show --definitions`: an installation as RabbitMQ's definitions.

use serde_json::{Value, json};

use super::{
    args::{PartitionCount, RetentionArgs},
    roles::{Asked, RolesArgs},
};
use crate::{
    broker::{
        Addresses, Connection, Names,
        topology::{self, Layout, Retention, StatusRouting},
    },
    cli::{
        arguments::BrokerArgs,
        mistakes::Mistakes,
        output::Output,
        setting::{Setting, Within},
    },
    client::ClientError,
    domain::Settings,
};

/// Arguments of `topology show`.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct ShowArgs {
    /// Print RabbitMQ's definitions, for `rabbitmqctl import_definitions` or a booting node;
    /// without users
    #[arg(long)]
    definitions: bool,
    /// Number of partitions in the definitions, instead of RabbitMQ's
    #[arg(long, value_name = "P")]
    partitions: Option<Setting<PartitionCount>>,
    /// Print definitions for RabbitMQ 3, which has no exchanges of type x-local-random
    #[arg(long)]
    rabbitmq_3: bool,
    #[command(flatten)]
    retention: RetentionArgs,
    #[command(flatten)]
    roles: RolesArgs,
}

/// The checked arguments of definitions.
pub(super) struct Definitions {
    asked: Asked,
    names: Names,
    /// The addresses to read the number of partitions from, if it was not given.
    partitions: Result<u16, Addresses>,
    retention: Retention,
    status: StatusRouting,
    permissions: Option<Value>,
}

impl ShowArgs {
    /// True if definitions are requested.
    pub(super) const fn are_definitions(&self) -> bool {
        self.definitions
    }

    /// Notes arguments that need `--definitions`.
    pub(super) const fn is_too_much(&self) -> bool {
        let nothing = self.partitions.is_none()
            && !self.rabbitmq_3
            && self.retention.is_empty()
            && self.roles.is_empty();
        !self.definitions && !nothing
    }

    /// Returns the checked arguments.
    pub(super) fn check(&self, broker: &BrokerArgs) -> Result<Definitions, Mistakes> {
        let mut mistakes = Mistakes::default();
        let names = broker.names(&mut mistakes);
        let partitions = mistakes.take(&self.partitions).map(Within::get);
        let addresses = match &self.partitions {
            Some(_) => broker.addresses_if_given(&mut mistakes),
            None => broker.addresses(&mut mistakes),
        };
        let floor = Settings::default().least_retention_ms();
        let retention = self.retention.check(floor, &mut mistakes);
        let asked = self.roles.check(addresses.as_ref(), &mut mistakes);
        let permissions = names
            .as_ref()
            .filter(|_| !asked.has_no_tenant())
            .and_then(|names| asked.permissions(names, &mut mistakes));
        let partitions = partitions.map(Ok).or(addresses.map(Err));
        let (names, partitions) = mistakes.finish(names.zip(partitions))?;
        Ok(Definitions {
            asked,
            names,
            partitions,
            retention,
            status: if self.rabbitmq_3 {
                StatusRouting::Shared
            } else {
                StatusRouting::Local
            },
            permissions,
        })
    }
}

impl Definitions {
    /// Prints them.
    pub(super) async fn print(self, output: Output) -> anyhow::Result<()> {
        let mut by_mqtt = self.asked.whose.by_mqtt;
        let partitions = match self.partitions {
            Ok(partitions) => partitions,
            Err(addresses) => {
                let connection = Connection::open_any(&addresses, "streamwatch topology").await?;
                let there = topology::partitions(&connection, &self.names).await?;
                by_mqtt |= topology::is_mqtt_enabled(&connection, &self.names).await?;
                connection.close().await;
                there.ok_or(ClientError::NoTopology)?
            }
        };
        let vhost = &self.asked.vhost;
        let layout = Layout {
            partitions,
            retention: self.retention,
            status: self.status,
        };
        let mut all = topology::definitions(&self.names, vhost, &layout, by_mqtt);
        if let Some(permissions) = self.permissions {
            for part in ["permissions", "topic_permissions"] {
                all[part] = json!(permissions[part]);
            }
        }
        // JSON escapes line feeds, so that these are its own.
        output.print(format!("{all:#}").lines(), &all);
        Ok(())
    }
}
