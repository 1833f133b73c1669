//! `streamwatch play --rate` and `--find-max`: measures the capacity of a broker and its workers.
//!
//! The load is heartbeats at a fixed rate, of accounts in random order, over several connections. A
//! stream starts with its first heartbeat and expires after the load. In batches, the streams have
//! their heartbeats in turn, so that all of a large number stay active. Meanwhile, 20 `init` and 50
//! `status` per second measure reply times, and two requests per second to every partition measure
//! the lag of the workers.
//!
//! A strong `status` includes all events confirmed before the request. When its reply arrives, the
//! replying worker has applied these events, so the reply time is the lag.

mod batches;
mod meter;
mod pace;
mod population;
mod probes;
mod progress;
mod publisher;
mod reply_times;
mod report;
mod search;
mod stage;
mod step;

use std::{process::ExitCode, sync::Arc, time::Duration};

use serde_json::Value;
use tokio::time::Instant;

use super::plan::Plan;
use crate::{
    broker::BrokerError,
    cli::{
        arguments::Installation,
        mistakes::Mistakes,
        output::{Output, duration},
        setting::{Setting, Within},
        signals, success, terminal,
        topology::PartitionCount,
    },
    client::{Backend, ClientError},
};
use population::Population;
use probes::Prober;
use search::Search;
use stage::{LoadPhase, Stage};
use step::Step;

/// Most publishing connections.
const MOST_CONNECTIONS: u64 = 1_000;
/// Default number of accounts per partition. With 100 accounts over 16 partitions, the fullest
/// would have twice its share and limit the result.
const ACCOUNTS_OF_PARTITION: usize = 1_000;
/// Timeout of a reply.
const PATIENCE: Duration = Duration::from_secs(5);
/// Time that a request waits for a lagging worker; see [`crate::broker::topology::REQUEST_TTL`].
const LAG_PATIENCE: Duration = Duration::from_secs(10);
/// Shorter steps measure mostly noise.
const SHORTEST_STEP: Duration = Duration::from_millis(500);

/// A load instead of viewers with real timing.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "A load instead of viewers with real timing")]
pub(super) struct LoadArgs {
    /// Publish N heartbeats per second for --duration, and report how many were confirmed and
    /// applied, the lag, and the reply times. The streams expire one TTL later. Exits with 1 if any
    /// event was not confirmed and applied
    #[arg(long, value_name = "N", group = "load", conflicts_with_all = VIEWERS)]
    rate: Option<Setting<Within<1, { search::MOST as u64 }>>>,
    /// Search the highest rate that holds: 95 percent of it confirmed, less than a second of lag
    /// all the time, and everything applied within a second of the last event. No step starts after
    /// --duration, if given. Ctrl-C ends the search too
    #[arg(long, group = "load", conflicts_with_all = VIEWERS)]
    find_max: bool,
    /// Number of publishing connections, each with up to 1,000 unconfirmed events
    #[arg(long, default_value = "4", value_name = "N", requires = "load")]
    connections: Setting<Within<1, MOST_CONNECTIONS>>,
    /// Publish the heartbeats in batches of N; first requests the partition of each account. The
    /// streams have their heartbeats in turn: with S streams, each has one every S / rate seconds
    #[arg(long, default_value = "1", value_name = "N", requires = "load")]
    batch: Setting<Within<1, { batches::MOST_EVENTS as u64 }>>,
    /// Compress the batches with gzip
    #[arg(long, requires = "batch")]
    gzip: bool,
    /// Number of partitions of the installation; needed if the user has no permission on queues
    /// [default: read from RabbitMQ]
    #[arg(long, value_name = "N", requires = "load")]
    partitions: Option<Setting<PartitionCount>>,
    /// Duration of each step of the search; its first fifth (at most 2s) is not measured
    #[arg(
        long,
        default_value = "10s",
        value_name = "DURATION",
        requires = "find_max",
        conflicts_with = "rate"
    )]
    step: Setting<Duration>,
    /// Time from the start of --rate that is not measured: in it, all streams begin
    #[arg(
        long,
        default_value = "0s",
        value_name = "DURATION",
        requires = "rate",
        conflicts_with = "find_max"
    )]
    warm_up: Setting<Duration>,
}

/// Arguments of viewers with real timing only.
const VIEWERS: [&str; 3] = ["session", "crash_rate", "max_active"];

/// The arguments, checked.
pub(super) struct Load {
    goal: Goal,
    connections: usize,
    /// Events per message.
    batch: usize,
    gzip: bool,
    /// `None` to read it from RabbitMQ.
    partitions: Option<u16>,
}

enum Goal {
    Rate {
        per_s: u32,
        warm_up: Duration,
    },
    FindMax {
        step: Duration,
        /// The search has an end of its own: --duration was given.
        bounded: bool,
    },
}

impl LoadArgs {
    /// Whether a load is requested instead of viewers with real timing.
    pub(super) const fn is_requested(&self) -> bool {
        self.rate.is_some() || self.find_max
    }

    /// Returns `None` if no load was requested, or after noting a mistake. `given` is the duration
    /// of the run, if the user gave it.
    pub(super) fn check(&self, given: Option<Duration>, mistakes: &mut Mistakes) -> Option<Load> {
        let connections = mistakes.take(&self.connections)?;
        let batch = mistakes.take(&self.batch)?;
        let partitions = mistakes.take(&self.partitions);
        let step = mistakes.take(&self.step)?;
        if step < SHORTEST_STEP {
            mistakes.note(format!("--step: {} or more", duration(SHORTEST_STEP)));
        }
        let rate = mistakes.take(&self.rate).map(Within::get);
        let warm_up = mistakes.take(&self.warm_up)?;
        if !warm_up.is_zero() && given.is_none_or(|duration| warm_up >= duration) {
            mistakes.note("--warm-up: shorter than --duration".to_owned());
        }
        let goal = match rate {
            Some(per_s) => Goal::Rate { per_s, warm_up },
            None if self.find_max => Goal::FindMax {
                step,
                bounded: given.is_some(),
            },
            None => return None,
        };
        Some(Load {
            goal,
            connections: connections.get(),
            batch: batch.get(),
            gzip: self.gzip,
            partitions: partitions.map(Within::get),
        })
    }
}

impl Load {
    pub(super) async fn run(
        self,
        plan: &Plan,
        at: Installation,
        output: Output,
    ) -> anyhow::Result<ExitCode> {
        let client = at.client();
        // Fails with a reason if the topology or the workers are missing.
        let backend = Backend::new(client.clone()).with_patience(PATIENCE);
        let ttl = plan.ttl(&backend).await?;
        let partitions = match self.partitions {
            Some(partitions) => partitions,
            None => partitions(&at).await?,
        };
        let partitions = usize::from(partitions);
        let population = Arc::new(Population {
            tenant: plan.tenant.clone(),
            accounts: plan.accounts.unwrap_or(ACCOUNTS_OF_PARTITION * partitions),
            devices: plan.devices,
            seed: plan.seed,
            partitions,
        });
        let mut interrupted = signals::stop_signal()?;
        let ending = format!("the streams expire {} after the end", duration(ttl));
        terminal::note([format!("{}; {ending}", report::subject(&self, &population))]);
        let prober = Prober::new(client, Arc::clone(&population));
        let stop = interrupted.clone();
        let opening = async {
            let learned = match self.batch {
                1 => None,
                _ => Some(batches::learn(&backend, &population).await?),
            };
            Stage::open(&at, &self, &population, prober, learned, stop).await
        };
        // This may take minutes with many connections or an unresponsive node.
        let mut stage = tokio::select! {
            opened = opening => opened?,
            _ = interrupted.wait_for(|it| *it) => {
                anyhow::bail!("interrupted before everything was connected; nothing was published")
            }
        };
        let measured = tokio::select! {
            measured = self.measure(plan, &mut stage) => measured,
            () = signals::interrupted_twice() => anyhow::bail!("interrupted twice; there is no report"),
        };
        stage.close().await;
        let (lines, json) = measured.rendered(&self, &population);
        output.print(lines, &json);
        Ok(success(measured.is_well()))
    }

    async fn measure(&self, plan: &Plan, stage: &mut Stage) -> Measured {
        match self.goal {
            Goal::Rate { per_s, warm_up } => {
                let step = stage.step(LoadPhase {
                    rate_per_s: per_s,
                    duration: plan.duration,
                    warm_up,
                });
                Measured {
                    search: None,
                    steps: vec![step.await],
                }
            }
            Goal::FindMax { step, bounded } => {
                let until = bounded.then(|| Instant::now() + plan.duration);
                find_max(stage, step, until).await
            }
        }
    }
}

/// Number of partitions. One, if the user has no permission on the logs: RabbitMQ 4.2.6 and later
/// refuse it a passive declare.
async fn partitions(at: &Installation) -> anyhow::Result<u16> {
    match at.partitions("streamwatch play").await {
        Ok(partitions) => Ok(partitions.ok_or(ClientError::NoTopology)?),
        Err(BrokerError::AccessRefused(_)) => {
            let assumed =
                "this user has no permission on queues: assuming 1 partition, see --partitions";
            terminal::note([assumed]);
            Ok(1)
        }
        Err(error) => Err(error.into()),
    }
}

/// Tries one rate after the other. An incomplete step ends the search, as its remaining events
/// would slow the next one.
async fn find_max(stage: &mut Stage, duration: Duration, until: Option<Instant>) -> Measured {
    let (mut search, mut steps) = (Search::default(), Vec::new());
    while let Some(rate_per_s) = search.next() {
        if until.is_some_and(|until| Instant::now() >= until) {
            break;
        }
        let phase = LoadPhase {
            rate_per_s,
            duration,
            warm_up: pace::warm_up(duration),
        };
        let step = stage.step(phase).await;
        let goes_on = step.error.is_none() && !step.interrupted;
        // An interrupted step does not mean that its rate is too high.
        if goes_on {
            search.note(rate_per_s, step.holds());
        }
        if !step.interrupted {
            stage.progress.print(&report::line(&step));
        }
        steps.push(step);
        if !goes_on {
            break;
        }
    }
    Measured {
        search: Some(search),
        steps,
    }
}

struct Measured {
    /// The search for the highest rate, if there was one.
    search: Option<Search>,
    steps: Vec<Step>,
}

impl Measured {
    /// The reported step: the best, else the last.
    fn step(&self) -> Option<&Step> {
        let held = self.search.and_then(|search| search.held);
        let best = self
            .steps
            .iter()
            .find(|s| Some(s.rate_per_s) == held && s.holds());
        best.or(self.steps.last())
    }

    fn is_well(&self) -> bool {
        let found = self.search.is_none_or(|search| search.held.is_some());
        found && !self.steps.is_empty() && self.steps.iter().all(Step::is_whole)
    }

    fn rendered(&self, load: &Load, population: &Population) -> (Vec<String>, Value) {
        let Some(step) = self.step() else {
            let none = "no step was tried: --duration is too short".to_owned();
            return (vec![none], Value::Null);
        };
        let mut lines = report::lines(step);
        let mut json = report::json(load, population, step);
        if let Some(search) = self.search {
            lines.splice(0..0, report::found(search, &self.steps, step));
            json["max_per_s"] = search.held.into();
            json["finished"] = search.next().is_none().into();
            json["steps"] = self.steps.iter().map(report::line_json).collect();
        }
        (lines, json)
    }
}
