//! The state of `top` and its transitions. No I/O and no clock.

use std::{collections::VecDeque, time::Duration};

use super::{
    accounts::{ObservedAccounts, StatusRequest},
    listing::Listing,
    rates::Readings,
    rows::OpenedAccount,
    worker_metrics::WorkerMetrics,
};
use crate::{
    broker::BrokerError,
    client::{AccountStatus, AccountsRequest, TenantAccounts},
    domain::{AccountKey, WallTime},
    wire::{LifecycleMessage, Rfc3339, decode_lifecycle},
};

/// Most listed lifecycle events.
const MOST_EVENTS: usize = 50;
/// Most listed accounts, which are refreshed by requests.
pub(super) const MOST_SHOWN: usize = 20;
/// Requests per round for listed accounts.
const MOST_ASKED: usize = 10;

/// A worker and its latest metrics.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) url: String,
    /// Its latest metrics, or the error; `None` before the first request.
    pub(super) page: Option<Result<WorkerMetrics, String>>,
    pub(super) readings: Readings,
}

/// State of the subscription to the lifecycle.
#[derive(Debug)]
pub(super) enum LifecycleSubscription {
    /// No address of RabbitMQ was given.
    NotAsked,
    Connecting,
    Listening,
    Lost(BrokerError),
}

/// A listed lifecycle event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ListedEvent {
    pub(super) at: Rfc3339,
    pub(super) kind: String,
    pub(super) key: String,
    pub(super) count: u32,
}

/// The results of one round of requests.
#[derive(Debug)]
pub(super) struct Round {
    /// In the order of the workers.
    pub(super) pages: Vec<Result<WorkerMetrics, String>>,
    pub(super) answers: Vec<(StatusRequest, Result<AccountStatus, String>)>,
    pub(super) listed: Vec<(AccountsRequest, Result<TenantAccounts, String>)>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) workers: Vec<Worker>,
    pub(super) lifecycle: LifecycleSubscription,
    pub(super) accounts: ObservedAccounts,
    pub(super) listing: Listing,
    /// The latest last.
    pub(super) events: VecDeque<ListedEvent>,
    pub(super) opened: Option<OpenedAccount>,
    /// Number of completed rounds.
    pub(super) rounds: u64,
    /// A worker or RabbitMQ has replied once, so later failures are not fatal.
    answered: bool,
}

impl State {
    pub(super) fn new(urls: Vec<String>, has_broker: bool) -> Self {
        let worker = |url| Worker {
            url,
            page: None,
            readings: Readings::default(),
        };
        Self {
            workers: urls.into_iter().map(worker).collect(),
            lifecycle: if has_broker {
                LifecycleSubscription::Connecting
            } else {
                LifecycleSubscription::NotAsked
            },
            accounts: ObservedAccounts::default(),
            listing: Listing::default(),
            events: VecDeque::with_capacity(MOST_EVENTS),
            opened: None,
            rounds: 0,
            answered: false,
        }
    }

    /// Shows an account in detail, or none.
    pub(super) fn open(&mut self, key: Option<AccountKey>) {
        self.opened = key.map(|key| OpenedAccount {
            key,
            error: None,
            status: None,
        });
    }

    /// The requests of the next round, for the opened account and listed ones.
    pub(super) fn requests(&self) -> Vec<StatusRequest> {
        let opened = self.opened.iter().map(|it| self.accounts.request(&it.key));
        let listed = match self.lifecycle {
            LifecycleSubscription::Listening => self.accounts.requests(MOST_SHOWN, MOST_ASKED),
            _ => Vec::new(),
        };
        let is_opened = |key: &AccountKey| self.opened.as_ref().is_some_and(|it| it.key == *key);
        let listed = listed.into_iter().filter(|it| !is_opened(&it.key));
        opened.chain(listed).collect()
    }

    /// Applies a completed round.
    pub(super) fn take(&mut self, round: Round, at: Duration) {
        for (worker, page) in self.workers.iter_mut().zip(round.pages) {
            match &page {
                Ok(page) => {
                    worker.readings.take(at, page);
                    self.answered = true;
                }
                Err(_) => worker.readings.forget(),
            }
            worker.page = Some(page);
        }
        for (request, answer) in round.answers {
            self.answered(request, answer, at);
        }
        for (request, answer) in round.listed {
            if let Some(page) = self.listing.answered(&request, answer) {
                self.accounts.learn(&request.tenant, page.accounts, at);
            }
        }
        self.rounds += 1;
    }

    fn answered(
        &mut self,
        request: StatusRequest,
        answer: Result<AccountStatus, String>,
        at: Duration,
    ) {
        let opened = self.opened.as_mut().filter(|it| it.key == request.key);
        match answer {
            Ok(status) => {
                let count = u32::try_from(status.activity.count()).unwrap_or(u32::MAX);
                if let Some(opened) = opened {
                    opened.status = Some(status);
                    opened.error = None;
                }
                self.accounts.check(request, count, at);
            }
            Err(error) => {
                if let Some(opened) = opened {
                    opened.error = Some(error);
                }
            }
        }
    }

    /// The subscription has started.
    pub(super) fn subscribed(&mut self, now: WallTime) {
        self.lifecycle = LifecycleSubscription::Listening;
        self.answered = true;
        self.accounts.subscribed(now);
    }

    pub(super) fn lost(&mut self, error: BrokerError) {
        self.lifecycle = LifecycleSubscription::Lost(error);
    }

    pub(super) fn apply_event(&mut self, body: &[u8], id: Option<&str>, at: Duration) {
        let Ok(event) = decode_lifecycle(body) else {
            return;
        };
        if self.accounts.apply_event(&event, id, at) {
            if self.events.len() == MOST_EVENTS {
                self.events.pop_front();
            }
            self.events.push_back(ListedEvent::new(&event));
        }
    }

    /// True if RabbitMQ has replied or failed, or is not used.
    pub(super) const fn is_settled(&self) -> bool {
        !matches!(self.lifecycle, LifecycleSubscription::Connecting)
    }

    /// The reason to give up: all requests have failed and none has ever succeeded.
    pub(super) fn failure(&self) -> Option<anyhow::Error> {
        if self.answered {
            return None;
        }
        let mut why = Vec::new();
        for worker in &self.workers {
            match &worker.page {
                Some(Err(error)) => why.push(error.clone()),
                Some(Ok(_)) | None => return None,
            }
        }
        let why = why.join("; ");
        match &self.lifecycle {
            LifecycleSubscription::NotAsked => {
                Some(anyhow::anyhow!("{why}; and AMQP_URL is not set"))
            }
            LifecycleSubscription::Lost(error) => {
                let why = format!("neither a worker nor RabbitMQ answers ({why})");
                Some(anyhow::Error::new(error.clone()).context(why))
            }
            LifecycleSubscription::Connecting | LifecycleSubscription::Listening => None,
        }
    }
}

impl ListedEvent {
    fn new(event: &LifecycleMessage<'_>) -> Self {
        Self {
            at: event.at,
            kind: event.kind.chars().take(16).collect(),
            key: format!("{}/{}", event.tenant, event.account),
            count: event.count,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::domain::{ActiveStream, Activity, Metadata, StreamId};

    pub(in crate::cli::top) const STREAM: &str = "0192f0c1-7a52-7b1e-9d7e-0a4ce5b2a111";
    /// 2026-11-22T10:00:04.120Z
    pub(in crate::cli::top) const NOW: WallTime = WallTime(1_795_341_604_120);

    pub(in crate::cli::top) fn key(account: &str) -> AccountKey {
        AccountKey::of("acme", account).unwrap()
    }

    pub(in crate::cli::top) fn event(kind: &str, account: &str, count: u32) -> Vec<u8> {
        format!(
            r#"{{"type":"{kind}","tenant":"acme","account":"{account}","count":{count},
            "at":"2026-11-22T10:00:04.120Z","stream":"{STREAM}"}}"#
        )
        .into_bytes()
    }

    pub(in crate::cli::top) fn status(account: &str, streams: usize) -> AccountStatus {
        let stream = ActiveStream {
            stream: StreamId(STREAM.parse().unwrap()),
            admitted: true,
            started_at: WallTime(NOW.0 - 65_000),
            last_seen: WallTime(NOW.0 - 4_000),
            expires_in_ms: 86_000,
            metadata: Metadata::new(&mut [("device", "tv")]).unwrap(),
        };
        let by = [("tv".to_owned(), u32::try_from(streams).unwrap())];
        AccountStatus {
            activity: Activity {
                key: key(account),
                as_of: NOW,
                streams: vec![stream; streams],
                left_out: 0,
            },
            by: [("device".to_owned(), by.into())].into(),
            state: None,
            partition: None,
        }
    }

    fn state() -> State {
        State::new(vec!["http://a:1/metrics".to_owned()], true)
    }

    fn round(
        page: Result<WorkerMetrics, String>,
        answers: Vec<(StatusRequest, Result<AccountStatus, String>)>,
    ) -> Round {
        Round {
            pages: vec![page],
            answers,
            listed: Vec::new(),
        }
    }

    #[test]
    fn the_status_of_the_opened_account_is_requested_first_and_once() {
        let mut state = state();
        state.subscribed(NOW);
        state.apply_event(&event("opened", "alice", 2), None, Duration::ZERO);
        state.apply_event(&event("opened", "bob", 1), None, Duration::ZERO);
        state.open(Some(key("bob")));
        let asked: Vec<_> = state.requests().into_iter().map(|it| it.key).collect();
        assert_eq!(asked, [key("bob"), key("alice")]);
    }

    #[test]
    fn a_missing_reply_keeps_the_last_one_and_shows_the_error() {
        let mut state = state();
        state.open(Some(key("alice")));
        let ask = |state: &State| state.requests().remove(0);
        let answers = vec![(ask(&state), Ok(status("alice", 2)))];
        state.take(round(Ok(WorkerMetrics::default()), answers), Duration::ZERO);
        assert_eq!(state.accounts.most(1)[0].streams, 2);
        let answers = vec![(ask(&state), Err("nobody answers".to_owned()))];
        state.take(round(Ok(WorkerMetrics::default()), answers), Duration::ZERO);
        let opened = state.opened.unwrap();
        assert_eq!(opened.status, Some(status("alice", 2)));
        assert_eq!(opened.error.as_deref(), Some("nobody answers"));
    }

    #[test]
    fn top_fails_only_if_neither_workers_nor_rabbitmq_answer() {
        let refused = || Err("cannot ask a".to_owned());
        let lost = || BrokerError::AccessRefused("u".to_owned());
        let mut state = state();
        assert!(state.failure().is_none(), "no request was sent yet");
        state.take(round(refused(), Vec::new()), Duration::ZERO);
        assert!(state.failure().is_none(), "RabbitMQ may still answer");
        state.lost(lost());
        let failure = state.failure().unwrap();
        assert!(failure.downcast_ref::<BrokerError>().is_some());
        let output = format!("{failure:#}");
        assert!(
            output.contains("answers (cannot ask a): RabbitMQ refuses"),
            "{output}"
        );
        state.take(
            round(Ok(WorkerMetrics::default()), Vec::new()),
            Duration::ZERO,
        );
        assert!(state.failure().is_none(), "the worker answers");
        state.take(round(refused(), Vec::new()), Duration::ZERO);
        assert!(state.failure().is_none(), "it is waited for");
    }

    #[test]
    fn the_list_of_events_is_bounded_and_invalid_messages_are_ignored() {
        let mut state = state();
        state.apply_event(b"{}", None, Duration::ZERO);
        assert!(state.events.is_empty());
        for n in 0..200 {
            let body = event("opened", "alice", n);
            state.apply_event(&body, None, Duration::ZERO);
        }
        assert_eq!(state.events.len(), MOST_EVENTS);
        assert_eq!(state.events.back().map(|it| it.count), Some(199));
    }
}
