//! `streamwatch topology`

mod args;
mod definitions;
mod roles;
mod show;

use anyhow::{Context, bail};
pub use args::{DeclareArgs, PartitionCount, SettingsArgs};
use definitions::ShowArgs;
use roles::RolesArgs;

use super::{
    arguments::{BrokerArgs, Installation},
    mistakes::Mistakes,
    output::Output,
    setting::Setting,
};
use crate::{
    broker::{
        settings::{self, InForce},
        topology,
    },
    client::ClientError,
    domain::Settings,
    worker::{self, Declared},
};

/// The name of the connections.
const CONNECTION: &str = "streamwatch topology";

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
        let mut mistakes = Mistakes::default();
        match self {
            Self::Declare { partitions, rest } => {
                let at = broker.check(&mut mistakes);
                let declaration = rest.check(partitions.as_ref(), &mut mistakes);
                let at = mistakes.finish(at)?;
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
                let at = broker.check(&mut mistakes);
                // Checked against the longest TTL. The TTL in force is read from the log later.
                let any_ttl = Settings {
                    ttl_ms: Settings::MAX_TTL_MS,
                    heartbeat_every_ms: Settings::MAX_TTL_MS / 3,
                    ..Settings::default()
                };
                args.check(any_ttl, &mut mistakes);
                if args == SettingsArgs::default() {
                    mistakes.note("name a setting, such as --ttl 60s; see --help");
                }
                let at = mistakes.finish(at)?;
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
            Self::Show(args) if args.are_definitions() => args.print(broker, output).await?,
            Self::Show(args) => {
                let at = broker.check(&mut mistakes);
                if args.is_too_much() {
                    mistakes.note("add --definitions: the other arguments need it");
                }
                mistakes.finish(at)?.show(output).await?;
            }
            Self::Roles(args) => args.run(broker, output)?,
            Self::Delete { yes } => {
                let at = broker.check(&mut mistakes);
                if !yes {
                    mistakes.note("this deletes the log and all requests: confirm with --yes");
                }
                let at = mistakes.finish(at)?;
                let connection = at.connect(CONNECTION).await?;
                topology::delete(&connection, &at.names).await?;
                connection.close().await;
                output.print(["deleted"], &serde_json::json!({ "deleted": true }));
            }
        }
        Ok(())
    }
}

impl Installation {
    /// The newest settings, and the settings of every partition.
    async fn in_force(&self) -> anyhow::Result<(Settings, InForce)> {
        let partitions = self.partitions(CONNECTION).await?;
        let partitions = partitions.ok_or(ClientError::NoTopology)?;
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
        let connection = self.connect(CONNECTION).await?;
        let partitions = topology::partitions(&connection, &self.names).await?;
        let partitions = partitions.ok_or(ClientError::NoTopology)?;
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
