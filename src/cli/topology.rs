//! `streamwatch topology`

use std::time::Duration;

use anyhow::{Context, bail};

use super::{
    checked::{BrokerArgs, Mistakes},
    output::{Output, duration},
};
use crate::{
    broker::{
        Addresses, BrokerError, Link, Names, settings,
        topology::{self, QueueState, Retention},
    },
    client::ClientError,
    domain::Settings,
    worker::{self, Declared},
};

/// The exchanges, queues and settings of an installation
#[derive(clap::Subcommand, Debug)]
pub enum Command {
    /// Declare exchanges, queues and the first settings; what is there already stays
    Declare(DeclareArgs),
    /// Change settings of a running installation, for all workers at one entry of the log
    Set(SettingsArgs),
    /// Show the settings in force and the queues
    Show,
    /// Delete exchanges and queues, with all that is in them
    Delete {
        /// Yes, delete
        #[arg(long)]
        yes: bool,
    },
}

/// Settings of an installation. Those that are not given stay, or have their default.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct SettingsArgs {
    /// How long a stream counts after its last sign of life [default: 90s]
    #[arg(long, env = "STREAMWATCH_TTL", value_name = "DURATION")]
    ttl: Option<String>,
    /// How often players send heartbeats [default: a third of the TTL]
    #[arg(long, env = "STREAMWATCH_HEARTBEAT_EVERY", value_name = "DURATION")]
    heartbeat_every: Option<String>,
    /// Most active streams of one account [default: 100]
    #[arg(long, env = "STREAMWATCH_MAX_STREAMS_PER_ACCOUNT", value_name = "N")]
    max_streams_per_account: Option<String>,
    /// Most ended streams remembered of one account [default: 100]
    #[arg(long, env = "STREAMWATCH_MAX_TOMBSTONES_PER_ACCOUNT", value_name = "N")]
    max_tombstones_per_account: Option<String>,
    /// Most refusals remembered of one account [default: 100]
    #[arg(long, env = "STREAMWATCH_MAX_REFUSALS_PER_ACCOUNT", value_name = "N")]
    max_refusals_per_account: Option<String>,
    /// Streams of one partition beyond which no new one is taken, roughly [default: 5000000]
    #[arg(long, env = "STREAMWATCH_MAX_STREAMS_PER_PARTITION", value_name = "N")]
    max_streams_per_partition: Option<String>,
    /// The same for one tenant in one partition [default: 5000000]
    #[arg(long, env = "STREAMWATCH_MAX_STREAMS_PER_TENANT", value_name = "N")]
    max_streams_per_tenant: Option<String>,
}

/// What a declaration may say.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct DeclareArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// How long the log keeps entries [default: 4h, and at least ten times the TTL]
    #[arg(long, env = "STREAMWATCH_RETENTION", value_name = "DURATION")]
    retention: Option<String>,
    /// Bytes of one segment of the log: RabbitMQ frees whole segments [default: 67108864]
    #[arg(long, env = "STREAMWATCH_SEGMENT_BYTES", value_name = "BYTES")]
    segment_bytes: Option<String>,
}

impl SettingsArgs {
    /// These settings over `base`, or notes.
    fn check(&self, mut base: Settings, mistakes: &mut Mistakes) -> Settings {
        let ms = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
        if let Some(ttl) = mistakes.duration_if("--ttl (STREAMWATCH_TTL)", self.ttl.as_deref()) {
            let a_third = base.heartbeat_every_ms == base.ttl_ms / 3;
            base.ttl_ms = ms(ttl);
            // One that an operator chose stays.
            if a_third {
                base.heartbeat_every_ms = base.ttl_ms / 3;
            }
        }
        let every = self.heartbeat_every.as_deref();
        if let Some(every) = mistakes.duration_if("--heartbeat-every", every) {
            base.heartbeat_every_ms = ms(every);
        }
        let mut small = |name, text: &Option<String>, setting: &mut u32| {
            if let Some(n) = mistakes.check_if(name, text.as_deref()) {
                *setting = n;
            }
        };
        small(
            "--max-streams-per-account",
            &self.max_streams_per_account,
            &mut base.max_streams_per_account,
        );
        small(
            "--max-tombstones-per-account",
            &self.max_tombstones_per_account,
            &mut base.max_tombstones_per_account,
        );
        small(
            "--max-refusals-per-account",
            &self.max_refusals_per_account,
            &mut base.max_refusals_per_account,
        );
        let mut large = |name, text: &Option<String>, setting: &mut u64| {
            if let Some(n) = mistakes.check_if(name, text.as_deref()) {
                *setting = n;
            }
        };
        large(
            "--max-streams-per-partition",
            &self.max_streams_per_partition,
            &mut base.max_streams_per_partition,
        );
        large(
            "--max-streams-per-tenant",
            &self.max_streams_per_tenant,
            &mut base.max_streams_per_tenant,
        );
        for error in base.check().err().unwrap_or_default() {
            mistakes.note(format!("--{error}"));
        }
        base
    }

    const fn is_empty(&self) -> bool {
        matches!(
            self,
            Self {
                ttl: None,
                heartbeat_every: None,
                max_streams_per_account: None,
                max_tombstones_per_account: None,
                max_refusals_per_account: None,
                max_streams_per_partition: None,
                max_streams_per_tenant: None,
            }
        )
    }
}

impl DeclareArgs {
    /// The first settings and the log's retention, or notes.
    pub(super) fn check(&self, mistakes: &mut Mistakes) -> Option<(Settings, Retention)> {
        let settings = self.settings.check(Settings::default(), mistakes);
        let floor = Duration::from_millis(settings.ttl_ms.saturating_mul(10));
        let mut retention = Retention::default();
        retention.max_age = retention.max_age.max(floor);
        if let Some(age) = mistakes.duration_if("--retention", self.retention.as_deref()) {
            if age < floor {
                mistakes.note(format!(
                    "--retention: at least ten times the TTL, {}",
                    duration(floor)
                ));
            }
            retention.max_age = age;
        }
        if let Some(bytes) = mistakes.check_if("--segment-bytes", self.segment_bytes.as_deref()) {
            if !(1_000_000..=3_000_000_000).contains(&bytes) {
                mistakes.note("--segment-bytes: 1000000 to 3000000000");
            }
            retention.segment_bytes = bytes;
        }
        Some((settings, retention))
    }
}

impl Command {
    pub(super) async fn run(self, broker: &BrokerArgs, output: Output) -> anyhow::Result<()> {
        let mut mistakes = Mistakes::default();
        let connection = broker.check(&mut mistakes);
        let declare = match &self {
            Self::Declare(args) => args.check(&mut mistakes),
            Self::Set(args) => {
                // Under the longest TTL there is: whether an interval suits the one in force is
                // known once the log has been read.
                let any_ttl = Settings {
                    ttl_ms: Settings::MAX_TTL_MS,
                    heartbeat_every_ms: Settings::MAX_TTL_MS / 3,
                    ..Settings::default()
                };
                args.check(any_ttl, &mut mistakes);
                if args.is_empty() {
                    mistakes.note("say what to set, such as --ttl 60s; see --help");
                }
                None
            }
            Self::Delete { yes: false } => {
                mistakes.note("this deletes the log and all requests: say --yes if you mean it");
                None
            }
            Self::Show | Self::Delete { .. } => None,
        };
        let (addresses, names) = mistakes.finish(connection)?;
        let at = Installation { addresses, names };
        match self {
            Self::Declare(args) => {
                let (first, retention) = declare.context("checked before")?;
                let declared = worker::declare(&at.addresses, &at.names, &first, retention).await?;
                at.show(output).await?;
                if let Declared::Kept(kept) = declared
                    && args.settings.check(kept.clone(), &mut Mistakes::default()) != kept
                {
                    bail!(
                        "the topology is declared, but its log has other settings, which stay as \
                         they are: change them with `streamwatch topology set`"
                    );
                }
            }
            Self::Set(args) => {
                let in_force = at.in_force().await?;
                let mut mistakes = Mistakes::default();
                let mut wanted = args.check(in_force.clone(), &mut mistakes);
                mistakes.finish(Some(()))?;
                if wanted != in_force {
                    wanted.number += 1;
                    let wall = worker::wall();
                    settings::append(&at.addresses, &at.names, 0, &wanted, wall).await?;
                }
                at.show(output).await?;
            }
            Self::Show => at.show(output).await?,
            Self::Delete { .. } => {
                let link = at.link().await?;
                topology::delete(&link, &at.names).await?;
                link.close().await;
                output.say("deleted", &serde_json::json!({ "deleted": true }));
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
    async fn link(&self) -> Result<Link, BrokerError> {
        Link::open_any(&self.addresses, "streamwatch topology").await
    }

    async fn in_force(&self) -> anyhow::Result<Settings> {
        settings::read(&self.addresses, &self.names, 0)
            .await?
            .context("the log has no settings yet: run `streamwatch topology declare`")
    }

    async fn show(&self, output: Output) -> anyhow::Result<()> {
        let link = self.link().await?;
        let queues = topology::show(&link, &self.names).await?;
        link.close().await;
        if queues.iter().any(|q| q.messages.is_none()) {
            return Err(ClientError::NoTopology.into());
        }
        print(&self.names, &self.in_force().await?, &queues, output);
        Ok(())
    }
}

fn print(names: &Names, settings: &Settings, queues: &[QueueState], output: Output) {
    let ms = |ms: u64| duration(Duration::from_millis(ms));
    let lines = [
        ("exchange", names.exchange().to_owned()),
        ("settings", format!("number {}", settings.number)),
        ("ttl", ms(settings.ttl_ms)),
        ("heartbeat-every", ms(settings.heartbeat_every_ms)),
        ("tick interval", ms(settings.interval_ms())),
        (
            "max-streams-per-account",
            settings.max_streams_per_account.to_string(),
        ),
        (
            "max-tombstones-per-account",
            settings.max_tombstones_per_account.to_string(),
        ),
        (
            "max-refusals-per-account",
            settings.max_refusals_per_account.to_string(),
        ),
        (
            "max-streams-per-partition",
            settings.max_streams_per_partition.to_string(),
        ),
        (
            "max-streams-per-tenant",
            settings.max_streams_per_tenant.to_string(),
        ),
        ("partitions", settings.partitions.to_string()),
    ];
    let mut text = String::new();
    for (name, value) in &lines {
        text += &format!("{name:<28}{value}\n");
    }
    text += &format!("\n{:<40}{:>10}{:>11}\n", "queue", "messages", "consumers");
    for QueueState {
        name,
        messages,
        consumers,
    } in queues
    {
        let messages = messages.unwrap_or_default();
        text += &format!("{name:<40}{messages:>10}{consumers:>11}\n");
    }
    let json = serde_json::json!({
        "exchange": names.exchange(),
        "settings": settings,
        "queues": queues.iter().map(|q| serde_json::json!({
            "name": q.name, "messages": q.messages, "consumers": q.consumers,
        })).collect::<Vec<_>>(),
    });
    output.say(text.trim_end(), &json);
}
