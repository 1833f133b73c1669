//! `streamwatch play`: simulated viewers with real timing, and a check that the counts are right.

mod expected;
mod load;
mod plan;
mod spinner;
mod viewer;

use std::{pin::pin, process::ExitCode, sync::Arc, time::Duration};

use indicatif::ProgressBar;
use serde::Serialize;
use serde_json::json;
use tokio::{task::JoinSet, time::Instant};

use super::{
    arguments::BrokerArgs,
    mistakes::Mistakes,
    output::{Output, duration},
    setting::{Setting, Value, Within},
    signals, success, terminal,
};
use crate::client::{Backend, Client, ClientError, Consistency, Player, StatusQuery, Tenant};
use expected::{Difference, ExpectedStreams, ViewerCounts};
use plan::Plan;
use viewer::Viewer;

/// Most accounts whose viewers have real timing, and whose counts are checked.
const MAX_ACCOUNTS: usize = 100_000;
/// Most accounts of a load, which keeps no state of its streams.
const MAX_LOAD_ACCOUNTS: u64 = 50_000_000;
/// Viewers per connection.
const PER_CONNECTION: usize = 500;
/// Time to wait for the reply to a check.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug)]
struct Share(f64);

impl Value for Share {
    fn parse(text: &str) -> Result<Self, String> {
        let share = text
            .parse()
            .ok()
            .filter(|share| (0.0..=1.0).contains(share));
        let share = share.map(Self);
        share.ok_or_else(|| "a number from 0 to 1".to_owned())
    }
}

/// Simulate viewers with real timing and check the counts
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The tenant to play as; its accounts are named viewer-000, viewer-001, …
    #[arg(long, default_value = "demo")]
    tenant: Setting<Tenant>,
    /// Number of accounts [default: 100; for a load 1000 per partition]
    #[arg(long, value_name = "N")]
    accounts: Option<Setting<Within<1, MAX_LOAD_ACCOUNTS>>>,
    /// Number of devices per account
    #[arg(long, default_value = "2", value_name = "N")]
    streams_per_account: Setting<Within<1, 100>>,
    /// Time to play before the counts are compared [default: 60s]
    #[arg(long, value_name = "DURATION")]
    duration: Option<Setting<Duration>>,
    /// Average duration of a session
    #[arg(long, default_value = "20s", value_name = "DURATION")]
    session: Setting<Duration>,
    /// Share of the sessions that end without a stop, from 0 to 1
    #[arg(long, default_value = "0.1", value_name = "RATE")]
    crash_rate: Setting<Share>,
    /// Request at most this number of active streams per account
    #[arg(long, value_name = "N")]
    max_active: Option<Setting<u32>>,
    /// Seed that repeats the viewers' choices; printed at the start
    #[arg(long, value_name = "N")]
    seed: Option<Setting<u64>>,
    #[command(flatten)]
    load: load::LoadArgs,
}

impl Args {
    fn check(&self, mistakes: &mut Mistakes) -> Option<Plan> {
        let accounts = mistakes.take(&self.accounts).map(Within::get);
        let too_many = accounts.is_some_and(|accounts: usize| accounts > MAX_ACCOUNTS);
        if too_many && !self.load.is_requested() {
            mistakes.note(format!("--accounts: 1 to {MAX_ACCOUNTS}"));
        }
        let devices = mistakes.take(&self.streams_per_account);
        let max_active = mistakes.take(&self.max_active);
        let seed = mistakes.take(&self.seed);
        let tenant = mistakes.take(&self.tenant);
        let mut duration = Duration::from_secs(60);
        mistakes.set(&self.duration, &mut duration);
        let session = mistakes.take(&self.session);
        let crash_rate = mistakes.take(&self.crash_rate);
        // Checked last, so that one mistake does not hide others.
        Some(Plan {
            tenant: tenant?,
            accounts,
            devices: devices?.get(),
            duration,
            session: session?,
            crash_rate: crash_rate?.0,
            max_active,
            seed: seed.unwrap_or_else(|| uuid::Uuid::new_v4().as_u64_pair().0),
        })
    }

    pub(super) async fn run(self, broker: &BrokerArgs, output: Output) -> anyhow::Result<ExitCode> {
        let mut mistakes = Mistakes::default();
        let installation = broker.check(&mut mistakes);
        let plan = self.check(&mut mistakes);
        let given = self.duration.as_ref().and(plan.as_ref());
        let load = self
            .load
            .check(given.map(|plan| plan.duration), &mut mistakes);
        let (installation, plan) = mistakes.finish(installation.zip(plan))?;
        if let Some(load) = load {
            return load.run(&plan, installation, output).await;
        }

        let accounts = plan.accounts();
        let viewers = accounts * plan.devices;
        let clients: Vec<_> = (0..viewers.div_ceil(PER_CONNECTION))
            .map(|_| installation.client())
            .collect();
        let backend = Backend::new(clients[0].clone()).with_patience(PATIENCE);
        let ttl = plan.ttl(&backend).await?;
        terminal::note([format!(
            "{viewers} viewers on {accounts} accounts for {}, TTL {}, seed {}",
            duration(plan.duration),
            duration(ttl),
            plan.seed
        )]);
        let (bar, plan) = (spinner::new(), Arc::new(plan));
        let expected = Arc::new(ExpectedStreams::new(accounts, ttl));
        let report = tokio::select! {
            report = play(&plan, &clients, &backend, &expected, &bar) => report,
            () = signals::interrupted_twice() => anyhow::bail!("interrupted; the counts were not compared"),
        };
        bar.finish_and_clear();
        output.print(report.lines(), &report.json(plan.seed));
        Ok(success(report.is_exact()))
    }
}

/// Plays, then freezes the viewers and compares account by account.
async fn play(
    plan: &Arc<Plan>,
    clients: &[Client],
    backend: &Backend,
    expected: &Arc<ExpectedStreams>,
    bar: &ProgressBar,
) -> Report {
    let accounts = plan.accounts();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let mut viewers = JoinSet::new();
    for number in 0..accounts * plan.devices {
        let client = clients[number % clients.len()].clone();
        viewers.spawn(
            Viewer {
                player: Player::new(client, plan.tenant.clone()),
                expected: Arc::clone(expected),
                account: number % accounts,
                device: number / accounts,
                plan: Arc::clone(plan),
                random: fastrand::Rng::with_seed(plan.seed.wrapping_add(number as u64)),
            }
            .run(stopped.clone()),
        );
    }
    let mut report = Report::default();
    let mut random = fastrand::Rng::with_seed(plan.seed);
    let until = Instant::now() + plan.duration;
    let mut interrupted = pin!(tokio::signal::ctrl_c());
    // Checks random accounts all the time. The count of an unchanged account must be exact.
    while Instant::now() < until {
        let account = random.usize(..accounts);
        tokio::select! {
            checked = check(backend, plan, expected, account) => report.note(checked),
            _ = &mut interrupted => break,
        }
        bar.set_message(format!(
            "{}   requests {}, wrong {}",
            expected.counts().line(),
            report.requests,
            report.wrong()
        ));
        bar.tick();
    }
    // The viewers are frozen. Wait until the streams of crashed viewers have expired.
    let _ = stop.send(true);
    let patience = Instant::now() + expected.settled_after();
    while !expected.is_still() && Instant::now() < patience {
        bar.set_message("waiting for the last crashed viewers to expire".to_owned());
        bar.tick();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for account in 0..accounts {
        bar.set_message(format!("comparing account {account}"));
        report.compared += 1;
        report.note(check(backend, plan, expected, account).await);
    }
    report.counts = expected.counts();
    viewers.abort_all();
    while viewers.join_next().await.is_some() {}
    report
}

/// Requests the status of an account, and compares it.
async fn check(
    backend: &Backend,
    plan: &Plan,
    expected: &ExpectedStreams,
    account: usize,
) -> Result<Option<Difference>, ClientError> {
    let query = StatusQuery {
        consistency: Consistency::Strong,
        ..StatusQuery::default()
    };
    let name = ExpectedStreams::name(account);
    let before = expected.version(account);
    let status = backend.status(&plan.tenant, &name, &query).await?;
    let counted = status.activity.streams.iter().map(|s| s.stream);
    Ok(expected.compare(account, before, counted))
}

#[derive(Default, Serialize)]
struct Report {
    requests: u64,
    #[serde(rename = "accounts_compared")]
    compared: u64,
    changed: u64,
    correct: u64,
    missing: usize,
    over_counted: usize,
    unanswered: u64,
    last_error: Option<String>,
    #[serde(flatten)]
    counts: ViewerCounts,
}

impl Report {
    fn note(&mut self, checked: Result<Option<Difference>, ClientError>) {
        self.requests += 1;
        match checked {
            Ok(None) => self.changed += 1,
            Ok(Some(difference)) => {
                self.correct += u64::from(difference == Difference::default());
                self.missing += difference.missing;
                self.over_counted += difference.over_counted;
            }
            Err(error) => {
                self.unanswered += 1;
                self.last_error = Some(error.to_string());
            }
        }
    }

    const fn wrong(&self) -> usize {
        self.missing + self.over_counted
    }

    const fn is_exact(&self) -> bool {
        self.wrong() == 0 && self.unanswered == 0 && self.correct > 0
    }

    fn lines(&self) -> Vec<String> {
        let requests = format!(
            "{} requests: {} correct, {} changed meanwhile, {} streams missing, {} over-counted, {} \
             without an answer",
            self.requests,
            self.correct,
            self.changed,
            self.missing,
            self.over_counted,
            self.unanswered
        );
        let compared = format!("compared {} accounts at the end", self.compared);
        let mut lines = vec![self.counts.line(), requests, compared];
        let error = self.last_error.as_ref();
        lines.extend(error.map(|error| format!("last error: {error}")));
        let verdict = if self.is_exact() {
            "exact"
        } else {
            "NOT exact"
        };
        lines.push(verdict.to_owned());
        lines
    }

    fn json(&self, seed: u64) -> serde_json::Value {
        let mut json = json!(self);
        json["exact"] = self.is_exact().into();
        json["seed"] = seed.into();
        json
    }
}
