//! `streamwatch topology`

mod args;
mod definitions;
mod roles;
mod show;
mod throttling;

use anyhow::{Context, bail};
pub use args::{DeclareArgs, PartitionCount, SettingsArgs};
use definitions::ShowArgs;
use roles::RolesArgs;

use super::{arguments::BrokerArgs, mistakes::Mistakes, output::Output, setting::Setting};
use crate::{
    broker::{
        Addresses, BrokerError, Connection, Names,
        settings::{self, InForce},
        topology,
    },
    client::ClientError,
    domain::Settings,
    worker::{self, Declared},
};

/// The exchanges, queues and settings of an installation
#[derive(clap::Subcommand, Debug)]
pub enum Command {
    /// Declare exchanges, queues and the first settings; nothing that exists is changed
    Declare {
        /// Number of partitions, 1 to 64; it cannot be changed later [default: 1]
        #[arg(long, env = "STREAMWATCH_DECLARE_PARTITIONS", value_name = "P")]
        partitions: Option<Setting<PartitionCount>>,
        #[command(flatten)]
        rest: DeclareArgs,
    },
    /// Change settings of a running installation, for all workers at one entry of the log
    #[command(mut_args(|flag| flag.env(None::<&str>)))]
    Set(SettingsArgs),
    /// Show the settings in force and the queues, or print them as RabbitMQ's definitions
    #[command(mut_args(|flag| flag.env(None::<&str>)))]
    Show(ShowArgs),
    /// Print commands that set the least permissions of workers, operators, players, backends and
    /// subscribers; with --json definitions
    Roles(RolesArgs),
    /// Delete exchanges and queues with their contents
    Delete {
        /// Confirm the deletion
        #[arg(long)]
        yes: bool,
    },
}

impl Command {
    pub(super) async fn run(self, broker: &BrokerArgs, output: Output) -> anyhow::Result<()> {
        match &self {
            Self::Roles(args) => return Ok(args.run(broker, output)?),
            Self::Show(args) if args.are_definitions() => {
                return args.check(broker)?.print(output).await;
            }
            _ => {}
        }
        let mut mistakes = Mistakes::default();
        let connection = broker.check(&mut mistakes);
        let declare = match &self {
            Self::Declare { partitions, rest } => {
                Some(rest.check(partitions.as_ref(), &mut mistakes))
            }
            Self::Set(args) => {
                // Checked against the longest TTL. The TTL in force is read from the log later.
                let any_ttl = Settings {
                    ttl_ms: Settings::MAX_TTL_MS,
                    heartbeat_every_ms: Settings::MAX_TTL_MS / 3,
                    ..Settings::default()
                };
                args.check(any_ttl, &mut mistakes);
                if args.is_empty() {
                    mistakes.note("name a setting, such as --ttl 60s; see --help");
                }
                None
            }
            Self::Delete { yes: false } => {
                mistakes.note("this deletes the log and all requests: confirm with --yes");
                None
            }
            Self::Show(args) => {
                if args.is_too_much() {
                    mistakes.note("add --definitions: the other arguments need it");
                }
                None
            }
            Self::Roles(_) | Self::Delete { .. } => None,
        };
        let (addresses, names) = mistakes.finish(connection)?;
        let at = Installation { addresses, names };
        match self {
            Self::Declare { rest, .. } => {
                let declaration = declare.context("checked before")?;
                let declared = worker::declare(&at.addresses, &at.names, &declaration).await?;
                at.show(output).await?;
                if let Declared::Kept(kept) = declared
                    && rest.settings.check(kept.clone(), &mut Mistakes::default()) != kept
                {
                    bail!(
                        "the topology exists, and its logs keep their settings, which differ from \
                         these: change them with `streamwatch topology set`"
                    );
                }
            }
            Self::Set(args) => {
                let (newest, in_force) = at.in_force().await?;
                let mut mistakes = Mistakes::default();
                let mut wanted = args.check(newest.clone(), &mut mistakes);
                if wanted.rules < newest.rules {
                    mistakes.note(format!(
                        "--rules: version {} is in force, and entries were applied by it: the \
                         version cannot be lowered",
                        newest.rules
                    ));
                }
                mistakes.finish(Some(()))?;
                // Logs differ after an interrupted change, which this one completes.
                if wanted != newest || !in_force.agree() {
                    wanted.number += 1;
                    let wall = worker::wall();
                    settings::append_all(&at.addresses, &at.names, &wanted, wall).await?;
                }
                at.show(output).await?;
            }
            Self::Show(_) | Self::Roles(_) => at.show(output).await?,
            Self::Delete { .. } => {
                let connection = at.connection().await?;
                topology::delete(&connection, &at.names).await?;
                connection.close().await;
                output.print(["deleted"], &serde_json::json!({ "deleted": true }));
            }
        }
        Ok(())
    }
}

/// One installation on one RabbitMQ.
struct Installation {
    addresses: Addresses,
    names: Names,
}

impl Installation {
    async fn connection(&self) -> Result<Connection, BrokerError> {
        Connection::open_any(&self.addresses, "streamwatch topology").await
    }

    async fn partitions(&self) -> anyhow::Result<u16> {
        let connection = self.connection().await?;
        let there = topology::partitions(&connection, &self.names).await?;
        connection.close().await;
        Ok(there.ok_or(ClientError::NoTopology)?)
    }

    /// The newest settings, and the settings of every partition.
    async fn in_force(&self) -> anyhow::Result<(Settings, InForce)> {
        let partitions = self.partitions().await?;
        let in_force = settings::read_all(&self.addresses, &self.names, partitions).await?;
        let newest = in_force
            .newest()
            .context("the logs have no settings yet: run `streamwatch topology declare`")?;
        if newest.partitions != partitions {
            bail!(
                "the settings have {} partitions, but {partitions} log(s) exist: run \
                 `streamwatch topology delete --yes` and declare it anew",
                newest.partitions
            );
        }
        Ok((newest.clone(), in_force))
    }

    async fn show(&self, output: Output) -> anyhow::Result<()> {
        let partitions = self.partitions().await?;
        let connection = self.connection().await?;
        let queues = topology::show(&connection, &self.names, partitions).await?;
        let by_mqtt = topology::is_mqtt_enabled(&connection, &self.names).await?;
        connection.close().await;
        if queues.iter().any(|q| q.messages.is_none()) {
            return Err(ClientError::NoTopology.into());
        }
        let (newest, in_force) = self.in_force().await?;
        show::print(&self.names, &newest, &in_force, &queues, by_mqtt, output);
        Ok(())
    }
}
