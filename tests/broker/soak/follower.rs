//! A follower that counts each account's `opened` minus its ends, compared with the counts of the
//! events and with the replies of workers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use futures_util::{StreamExt, stream};
use serde_json::Value;
use streamwatch::client::Backend;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval};

use super::broker::fixture::{account, strong, tenant};
use super::checker::PATIENCE;

/// An event may be published this long after its entry, while workers and RabbitMQ are away.
const PUBLISHED_WITHIN: Duration = Duration::from_secs(30);
const EVERY: Duration = Duration::from_millis(100);
/// Accounts that are compared at once, at the end.
const MANY: usize = 64;
/// Most mistakes that are kept.
const MOST_MISTAKES: usize = 100;

/// The account's events so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    /// `opened` minus `stopped` and `expired`.
    count: i64,
    events: u64,
}

#[derive(Default)]
struct Counts {
    accounts: HashMap<String, Tally>,
    events: u64,
    quiet: u64,
    mistakes: Vec<String>,
}

#[derive(Clone, Default)]
pub struct Follower(Arc<Mutex<Counts>>);

/// The results of the comparisons.
pub struct Followed {
    /// Events whose count was compared.
    pub events: u64,
    /// Moments without events of an account at which its count was compared with a reply.
    pub quiet: u64,
    pub mistakes: Vec<String>,
}

impl Follower {
    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts the first publication of an event.
    pub fn note(&self, event: &Value) {
        let text = |name: &str| event[name].as_str().unwrap_or_default();
        let change = match text("type") {
            "opened" => 1,
            "stopped" | "expired" => -1,
            _ => 0,
        };
        let name = key(text("tenant"), text("account"));
        let mut counts = self.lock();
        counts.events += 1;
        let tally = counts.accounts.entry(name).or_default();
        tally.events += 1;
        tally.count += change;
        let count = tally.count;
        if event["count"].as_i64() != Some(count) {
            counts.mistake(format!("counted {count}: {event}"));
        }
    }

    /// Compares the count of one account after another with replies, until `stop`.
    pub async fn compare(
        self,
        backend: Backend,
        mut names: Vec<String>,
        seed: u64,
        stop: watch::Receiver<bool>,
    ) {
        let backend = backend.with_patience(PATIENCE);
        let mut random = Rng::with_seed(seed);
        names.sort_unstable();
        let (mut timer, mut comparing) = (interval(EVERY), JoinSet::new());
        while !*stop.borrow() {
            timer.tick().await;
            while comparing.try_join_next().is_some() {}
            let Some(name) = random.choice(&names).cloned() else {
                return;
            };
            let (this, backend) = (self.clone(), backend.clone());
            comparing.spawn(async move { this.quiet(&backend, &name).await });
        }
        comparing.join_all().await;
    }

    /// Compares the counts of all accounts, once no stream starts or ends any more.
    pub async fn compare_all(&self, backend: Backend, names: Vec<String>) {
        let backend = &backend.with_patience(PATIENCE);
        let each = names
            .iter()
            .map(async |name| while !self.quiet(backend, name).await {});
        let mut compared = stream::iter(each).buffer_unordered(MANY);
        while compared.next().await.is_some() {}
    }

    /// Compares the count of an account with a reply. Returns false if there is no reply, or if the
    /// account is not quiet.
    async fn quiet(&self, backend: &Backend, name: &str) -> bool {
        let count = async || {
            let (tenant, account, query) = (tenant(), account(name), strong());
            let status = backend.status(&tenant, &account, &query).await.ok()?;
            i64::try_from(status.activity.count()).ok()
        };
        let before = self.tally(name);
        let Some(first) = count().await else {
            return false;
        };
        // Events before the reply may still be under way.
        let until = Instant::now() + PUBLISHED_WITHIN;
        while self.tally(name).count != first {
            if self.tally(name).events > before.events + 1 {
                return false;
            }
            if Instant::now() > until {
                let again = count().await;
                let now = self.tally(name);
                if again == Some(first) && now.count != first {
                    let text = format!("{name}: {first} active streams, counted {now:?}");
                    self.lock().mistake(text);
                }
                return again.is_some();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.lock().quiet += 1;
        true
    }

    fn tally(&self, name: &str) -> Tally {
        let name = key(tenant().as_str(), name);
        self.lock().accounts.get(&name).copied().unwrap_or_default()
    }

    pub fn followed(&self) -> Followed {
        let counts = self.lock();
        Followed {
            events: counts.events,
            quiet: counts.quiet,
            mistakes: counts.mistakes.clone(),
        }
    }
}

impl Counts {
    fn mistake(&mut self, text: String) {
        if self.mistakes.len() < MOST_MISTAKES {
            self.mistakes.push(text);
        }
    }
}

fn key(tenant: &str, account: &str) -> String {
    format!("{tenant}/{account}")
}
