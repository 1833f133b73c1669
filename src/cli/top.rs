//! `streamwatch top`: a live view of an installation for operators.
//!
//! The state ([`state`]), its aggregation ([`summary`]) and its drawing ([`view`]) are pure; only
//! this file, [`ask`] and [`screen`] do I/O.

mod accounts;
mod aggregate;
mod format;
mod lines;
mod listing;
mod rates;
mod rows;
mod scrape;
mod screen;
mod sources;
mod state;
mod summary;
mod ui;
mod view;
mod worker_metrics;

use std::{
    io::{self, IsTerminal},
    sync::Arc,
    time::Duration,
};

use futures_util::future::OptionFuture;
use tokio::{
    sync::watch::Receiver,
    task::JoinHandle,
    time::{Instant, Interval, MissedTickBehavior, interval},
};

use super::{
    arguments::BrokerArgs,
    follow::{Follow, Following, Update},
    http,
    mistakes::Mistakes,
    output::{LOOK_EVERY, Output, duration, reader_is_gone},
    setting::Setting,
    signals::{over, stop_signal},
};
use crate::{
    client::{AccountsRequest, Backend, Client},
    domain::{AccountKey, Tenant},
    worker::wall,
};
use screen::Screen;
use sources::Sources;
use state::{MOST_SHOWN, Round, State};
use summary::Summary;
use ui::{Action, Key, Ui};
use view::Theme;

const MOST_WORKERS: usize = 64;
const SHORTEST: Duration = Duration::from_millis(250);
/// Minimum interval between frames, except after keys.
const DRAW_EVERY: Duration = Duration::from_millis(250);
/// Round from which on figures are printed, as the first has no rates.
const FIRST_PRINTED: u64 = 2;

/// Show streams, rates, lag, tenants and accounts live
///
/// Totals, rates and lag come from the workers' metrics; accounts from lifecycle events since the
/// start of top, and from accounts and status requests. Without one of these sources, top shows
/// the others. Prints lines if there is no terminal.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The workers' metrics endpoints; several separated by commas
    #[arg(
        long,
        env = "STREAMWATCH_METRICS",
        value_name = "URL",
        value_delimiter = ',',
        default_value = "http://127.0.0.1:9419/metrics"
    )]
    metrics: Vec<String>,
    /// Show only this tenant's accounts
    #[arg(long)]
    tenant: Option<Setting<Tenant>>,
    /// Show the details of this account, such as acme/alice
    #[arg(long, value_name = "TENANT/ACCOUNT")]
    account: Option<Setting<AccountKey>>,
    /// Count that account's streams by these metadata keys
    #[arg(
        long,
        value_name = "KEY",
        value_delimiter = ',',
        default_value = "device,application"
    )]
    group_by: Vec<String>,
    /// Interval between readings
    #[arg(long, default_value = "2s", value_name = "DURATION")]
    interval: Setting<Duration>,
    /// End after this time
    #[arg(long = "for", value_name = "DURATION")]
    duration: Option<Setting<Duration>>,
    /// Print the figures once, after the first interval, and end
    #[arg(long)]
    once: bool,
    /// Print lines even on a terminal
    #[arg(long)]
    plain: bool,
}

impl Args {
    /// The screen is in use, so other output is held.
    pub(super) fn draws(&self, json: bool) -> bool {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        !json && !self.plain && !self.once && !dumb && io::stdout().is_terminal()
    }

    pub(super) async fn run(self, broker: &BrokerArgs, output: Output) -> anyhow::Result<()> {
        let mut mistakes = Mistakes::default();
        let addresses = broker.addresses_if_given(&mut mistakes);
        let names = broker.names(&mut mistakes);
        let pages: Vec<_> = self.metrics.iter().filter_map(|url| page(url)).collect();
        if pages.len() != self.metrics.len() || pages.is_empty() || pages.len() > MOST_WORKERS {
            mistakes.note(format!(
                "--metrics (STREAMWATCH_METRICS): 1 to {MOST_WORKERS} addresses such as \
                 http://127.0.0.1:9419/metrics"
            ));
        }
        let account = mistakes.take(&self.account);
        let tenant = mistakes.take(&self.tenant);
        let interval = mistakes.take(&self.interval);
        if interval.is_some_and(|interval| interval < SHORTEST) {
            mistakes.note(format!("--interval: {} or more", duration(SHORTEST)));
        }
        let lasts = mistakes.take(&self.duration);
        let (names, interval) = mistakes.finish(names.zip(interval))?;
        let until = lasts.and_then(|lasts| Instant::now().checked_add(lasts));
        let mut stop = stop_signal()?;

        let urls = pages.iter().map(http::PageUrl::url).collect();
        let mut state = State::new(urls, addresses.is_some());
        state.open(account);
        let follow = Follow::new("top", names.lifecycle(), &names, tenant.as_ref());
        let following = addresses.clone().map(|addresses| follow.start(addresses));
        let client = addresses.map(|addresses| Client::connect(addresses, names));
        let top = Top {
            sources: Sources {
                pages: Arc::new(pages),
                backend: client.map(Backend::new),
                group_by: Arc::new(self.group_by.clone()),
            },
            state,
            ui: Ui::default(),
            screen: self.draws(output.json).then(Screen::open).transpose()?,
            output,
            once: self.once,
            interval,
            began: Instant::now(),
            following,
            tenant,
        };
        top.run(&mut stop, until).await
    }
}

/// The URL of metrics, with the default path unless the address has one.
fn page(url: &str) -> Option<http::PageUrl> {
    let mut page = http::PageUrl::of_url(url.trim())?;
    if page.path == "/" {
        "/metrics".clone_into(&mut page.path);
    }
    Some(page)
}

/// The running view.
struct Top {
    sources: Sources,
    state: State,
    ui: Ui,
    /// `None` if lines are printed.
    screen: Option<Screen>,
    output: Output,
    once: bool,
    interval: Duration,
    began: Instant,
    following: Option<Following>,
    /// The only tenant whose accounts are shown.
    tenant: Option<Tenant>,
}

impl Top {
    async fn run(
        mut self,
        stop: &mut Receiver<bool>,
        until: Option<Instant>,
    ) -> anyhow::Result<()> {
        let ended = self.watch(stop, until).await;
        // Restores the terminal first, as closing the connection may take a moment.
        drop(self.screen.take());
        if let Some(following) = self.following.take() {
            following.end().await;
        }
        ended
    }

    async fn watch(
        &mut self,
        stop: &mut Receiver<bool>,
        until: Option<Instant>,
    ) -> anyhow::Result<()> {
        let mut due = every(self.interval);
        let mut look = every(LOOK_EVERY);
        let mut draw = every(DRAW_EVERY);
        let mut round: Option<JoinHandle<Round>> = None;
        loop {
            let draws = self.screen.is_some();
            let following = self.following.as_mut().map(Following::next);
            let input = self.screen.as_mut().map(Screen::next);
            tokio::select! {
                // A round that takes longer than the interval delays the next one.
                _ = due.tick(), if round.is_none() => {
                    let requests = self.state.requests();
                    let lists = self.lists();
                    round = Some(tokio::spawn(self.sources.clone().round(requests, lists)));
                }
                Some(done) = OptionFuture::from(round.as_mut()) => {
                    round = None;
                    self.state.take(done?, self.began.elapsed());
                    if self.print() {
                        return Ok(());
                    }
                }
                Some(updates) = OptionFuture::from(following) => self.apply_event(updates)?,
                Some(key) = OptionFuture::from(input) => {
                    match key.map_or(Action::Nothing, |key| self.press(key)) {
                        Action::Quit => return Ok(()),
                        Action::Open(key) => {
                            self.state.open(Some(key));
                            due.reset_immediately();
                        }
                        Action::Close => self.state.open(None),
                        Action::Nothing => {}
                    }
                    self.draw()?;
                }
                _ = draw.tick(), if draws => self.draw()?,
                _ = look.tick(), if !draws => if reader_is_gone() {
                    return Ok(());
                },
                () = over(stop, until) => return Ok(()),
            }
            if let Some(failure) = self.state.failure() {
                return Err(failure);
            }
        }
    }

    fn apply_event(&mut self, updates: Option<Update>) -> anyhow::Result<()> {
        match updates {
            Some(Update::Listening { .. }) => self.state.subscribed(wall()),
            Some(Update::Subscribed(received)) => {
                let id = received.message_id.as_deref();
                self.state
                    .apply_event(&received.body, id, self.began.elapsed());
            }
            Some(Update::Lost(error)) => self.state.lost(error),
            None => anyhow::bail!("the subscription to lifecycle events has ended"),
        }
        Ok(())
    }

    fn summary(&self) -> Summary {
        let interval_ms = u64::try_from(self.interval.as_millis()).unwrap_or(u64::MAX);
        Summary::new(&self.state, wall(), interval_ms)
    }

    /// The requests for accounts of the next round: of the only tenant, or of the largest ones.
    fn lists(&self) -> Vec<AccountsRequest> {
        if self.following.is_none() {
            return Vec::new();
        }
        let rounds = self.state.rounds;
        if let Some(tenant) = &self.tenant {
            let only = std::iter::once(tenant.as_str());
            return self.state.listing.requests(rounds, only);
        }
        let tenants = self.summary().tenants;
        let names = tenants.iter().map(|it| it.tenant.as_str());
        self.state.listing.requests(rounds, names)
    }

    fn draw(&mut self) -> anyhow::Result<()> {
        let summary = self.summary();
        let theme = Theme {
            colour: std::env::var_os("NO_COLOR").is_none_or(|text| text.is_empty()),
        };
        if let Some(screen) = &mut self.screen {
            screen.draw(|frame| view::draw(frame, &summary, &self.ui, theme))?;
        }
        Ok(())
    }

    /// Prints the figures if there is no screen. Returns true after the last time.
    fn print(&self) -> bool {
        if self.screen.is_some() || self.state.rounds < FIRST_PRINTED || !self.state.is_settled() {
            return false;
        }
        let summary = self.summary();
        let json = serde_json::to_value(&summary).unwrap_or_default();
        self.output
            .try_print(lines::lines(&summary), &json)
            .is_err()
            || self.once
    }

    fn press(&mut self, key: Key) -> Action {
        let most = self.state.accounts.most(MOST_SHOWN);
        self.ui.press(key, &most, self.state.opened.is_some())
    }
}

fn every(period: Duration) -> Interval {
    let mut every = interval(period);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    every
}
