//! `streamwatch topology show --definitions`: an installation as RabbitMQ's definitions.

use serde_json::json;

use super::{
    CONNECTION,
    args::{PartitionCount, RetentionArgs},
    roles::{self, RolesArgs},
};
use crate::{
    broker::{
        Connection,
        topology::{self, Layout, StatusRouting},
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
#[derive(clap::Args, Clone, Debug, Default, PartialEq)]
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

impl ShowArgs {
    pub(super) const fn are_definitions(&self) -> bool {
        self.definitions
    }

    /// True if there are arguments that need `--definitions`, without it.
    pub(super) fn is_too_much(&self) -> bool {
        !self.definitions && *self != Self::default()
    }

    pub(super) async fn print(&self, broker: &BrokerArgs, output: Output) -> anyhow::Result<()> {
        let mut mistakes = Mistakes::default();
        let names = broker.names(&mut mistakes);
        let partitions = mistakes.take(&self.partitions).map(Within::get);
        let addresses = match &self.partitions {
            Some(_) => broker.addresses_if_given(&mut mistakes),
            None => broker.addresses(&mut mistakes),
        };
        let floor = Settings::default().least_retention_ms();
        let retention = self.retention.check(floor, &mut mistakes);
        let (vhost, whose) = self.roles.check(addresses.as_ref(), &mut mistakes);
        let has_tenant = !whose.tenants.is_empty() || !whose.edge.is_empty();
        let permissions = names.as_ref().filter(|_| has_tenant).and_then(|names| {
            let roles = roles::list(names, &whose, &mut mistakes)?;
            Some(topology::permissions(names, &roles, &vhost))
        });
        let partitions = partitions.map(Ok).or(addresses.map(Err));
        let (names, partitions) = mistakes.finish(names.zip(partitions))?;
        let mut by_mqtt = whose.by_mqtt;
        let partitions = match partitions {
            Ok(partitions) => partitions,
            Err(addresses) => {
                let connection = Connection::open_any(&addresses, CONNECTION).await?;
                let there = topology::partitions(&connection, &names).await?;
                by_mqtt |= topology::is_mqtt_enabled(&connection, &names).await?;
                connection.close().await;
                there.ok_or(ClientError::NoTopology)?
            }
        };
        let layout = Layout {
            partitions,
            retention,
            status: if self.rabbitmq_3 {
                StatusRouting::Shared
            } else {
                StatusRouting::Local
            },
        };
        let mut all = topology::definitions(&names, &vhost, &layout, by_mqtt);
        if let Some(permissions) = permissions {
            for part in ["permissions", "topic_permissions"] {
                all[part] = json!(permissions[part]);
            }
        }
        // JSON escapes line feeds, so that these are its own.
        output.print(format!("{all:#}").lines(), &all);
        Ok(())
    }
}
