//! A client that sends `strong` status requests all the time, and compares every reply.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use futures_util::{StreamExt, stream};
use streamwatch::client::Backend;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::broker::fixture::{account, strong, tenant};
use super::ledger::{Answer, Ledger, Mistakes};
use super::log_time::{Wall, now};
use super::logs::Logs;

/// Time limit of a reply.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// A reply that took longer is late.
pub const LATE: Duration = Duration::from_secs(2);
const EVERY: Duration = Duration::from_millis(20);
/// Requests in flight when all accounts are checked.
const MANY: usize = 64;
/// Most violations of one kind that are printed.
const SHOWN: usize = 5;

/// The results of the requests.
#[derive(Debug, Default)]
pub struct Results {
    pub asked: u64,
    /// Duration of each answered request, in milliseconds.
    pub waits: Vec<u64>,
    /// The longest time without any reply.
    pub silence: Duration,
    last_answer: Option<Instant>,
    /// Start and end of each unanswered request.
    pub unanswered: Vec<(Wall, Wall)>,
    pub last_error: Option<String>,
    pub judged: u64,
    pub missing: u64,
    pub over_counted: u64,
    pub above: u64,
    pub doubtful: u64,
    pub examples: Vec<String>,
}

impl Results {
    fn answered(&mut self, took: u64) {
        self.waits.push(took);
        let now = Instant::now();
        let silence = self.last_answer.map(|last| now - last);
        self.silence = self.silence.max(silence.unwrap_or_default());
        self.last_answer = Some(now);
    }

    fn add(&mut self, mistakes: Mistakes) {
        self.judged += 1;
        self.doubtful += mistakes.doubtful as u64;
        for (count, texts) in [
            (&mut self.missing, mistakes.missing),
            (&mut self.over_counted, mistakes.over_counted),
            (&mut self.above, mistakes.above),
        ] {
            let shown = SHOWN.saturating_sub(usize::try_from(*count).unwrap_or(SHOWN));
            *count += texts.len() as u64;
            for text in texts.into_iter().take(shown) {
                eprintln!("WRONG: {text}");
                self.examples.push(text);
            }
        }
    }
}

#[derive(Clone)]
pub struct Checker {
    backend: Backend,
    ledger: Arc<Ledger>,
    logs: Arc<Logs>,
    found: Arc<Mutex<Results>>,
}

impl Checker {
    pub fn new(backend: Backend, ledger: &Arc<Ledger>, logs: &Arc<Logs>) -> Self {
        Self {
            backend: backend.with_patience(PATIENCE),
            ledger: Arc::clone(ledger),
            logs: Arc::clone(logs),
            found: Arc::default(),
        }
    }

    pub fn found(&self) -> MutexGuard<'_, Results> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Requests one account after another until `stop`; returns when all replies are compared.
    pub async fn ask(self, seed: u64, stop: watch::Receiver<bool>) {
        let mut random = Rng::with_seed(seed);
        let mut accounts = self.ledger.accounts();
        accounts.sort_unstable();
        let mut timer = interval(EVERY);
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut asked = JoinSet::new();
        while !*stop.borrow() {
            timer.tick().await;
            while asked.try_join_next().is_some() {}
            let Some(name) = random.choice(&accounts) else {
                return;
            };
            let (this, name) = (self.clone(), name.clone());
            asked.spawn(async move { this.one(&name).await });
        }
        asked.join_all().await;
    }

    /// Requests every account until it is answered; returns when all replies are compared.
    pub async fn everybody(&self) {
        let questions = self
            .ledger
            .accounts()
            .into_iter()
            .map(async |name| while !self.one(&name).await {});
        let mut answered = stream::iter(questions).buffer_unordered(MANY);
        while answered.next().await.is_some() {}
    }

    /// Requests one account and compares the reply; returns whether one arrived.
    async fn one(&self, name: &str) -> bool {
        self.found().asked += 1;
        let (asked, from) = (now(), Instant::now());
        let (tenant, account, query) = (tenant(), account(name), strong());
        let answer = match self.backend.status(&tenant, &account, &query).await {
            Ok(status) => self.ledger.answer(name, asked, &status),
            Err(error) => {
                self.unanswered(asked, error.to_string());
                // Without a connection, requests fail at once.
                tokio::time::sleep(Duration::from_millis(50)).await;
                return false;
            }
        };
        let took = u64::try_from(from.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.found().answered(took);
        self.judge(&answer).await;
        true
    }

    fn unanswered(&self, asked: Wall, error: String) {
        let mut found = self.found();
        found.unanswered.push((asked, now()));
        found.last_error = Some(error);
    }

    /// Compares a reply once the log has been read up to its arrival.
    async fn judge(&self, answer: &Answer) {
        // The account has no entry, so nothing is expected in the reply.
        let Some(partition) = self.logs.partition(&answer.account) else {
            return;
        };
        self.logs.known(partition, answer.answered).await;
        let mistakes = answer.judge(&self.logs.log(partition).time);
        self.found().add(mistakes);
    }
}
