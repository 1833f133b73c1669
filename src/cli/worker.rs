//! `streamwatch worker`

use std::{net::SocketAddr, time::Duration};

use super::{
    arguments::{BrokerArgs, Installation},
    mistakes::Mistakes,
    setting::Setting,
    signals::stop_signal,
    topology::{DeclareArgs, PartitionCount},
};
use crate::{
    ops,
    worker::{self, Config, Grace, PartitionList},
};

/// Count streams and answer requests, until SIGTERM or Ctrl-C
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Declare the topology first, if it is missing
    #[arg(
        long,
        env = "STREAMWATCH_DECLARE",
        value_parser = clap::builder::FalseyValueParser::new()
    )]
    declare: bool,
    /// With --declare: the first settings, if the log has none
    #[command(flatten)]
    first: DeclareArgs,
    /// With --declare: the number of partitions, if the topology is missing
    #[arg(long, env = "STREAMWATCH_DECLARE_PARTITIONS", value_name = "P")]
    declare_partitions: Option<Setting<PartitionCount>>,
    /// The partitions to follow, such as 0,2,4-7 [default: all]
    #[arg(long, env = "STREAMWATCH_PARTITIONS", value_name = "LIST")]
    partitions: Option<Setting<PartitionList>>,
    /// Serve /healthz, /readyz and /metrics here, such as 127.0.0.1:9419
    #[arg(long, env = "STREAMWATCH_HTTP", value_name = "ADDRESS:PORT")]
    http: Option<Setting<SocketAddr>>,
    /// Time limit of a shutdown, from the signal to the end of the process
    #[arg(long, env = "STREAMWATCH_GRACE", default_value = "10s")]
    grace: Setting<Duration>,
}

impl Args {
    pub(super) async fn run(self, broker: &BrokerArgs) -> anyhow::Result<()> {
        let mut mistakes = Mistakes::default();
        let installation = broker.check(&mut mistakes);
        let http = mistakes.take(&self.http);
        let grace = mistakes.take(&self.grace).map(Grace);
        let count = self.declare_partitions.as_ref();
        let declaration = self.first.check(count, &mut mistakes);
        let partitions = mistakes.take(&self.partitions);
        let exporting = ops::export().unwrap_or_else(|error| mistakes.reject(error.to_string()));
        let (Installation { addresses, names }, grace) =
            mistakes.finish(installation.zip(grace))?;

        let stopped = stop_signal()?;
        let config = Config {
            addresses,
            names,
            declare: self.declare.then_some(declaration),
            partitions,
            http,
            grace,
        };
        let over = grace.over(stopped.clone());
        let run = async {
            let ended = worker::run(config, stopped).await;
            if let Some(exporting) = exporting {
                tokio::task::spawn_blocking(|| exporting.finish()).await?;
            }
            Ok(ended?)
        };
        tokio::select! {
            ended = run => ended,
            () = over => {
                tracing::warn!(
                    "the shutdown has exceeded --grace; RabbitMQ requeues the pending requests"
                );
                Ok(())
            }
        }
    }
}
