//! Everything that `top` knows, and how what happens changes it. No I/O and no clock.

use std::{collections::VecDeque, time::Duration};

use super::{
    accounts::{Accounts, Question},
    rates::Readings,
    worker_metrics::WorkerMetrics,
};
use crate::{
    broker::BrokerError,
    client::AccountStatus,
    domain::{AccountKey, WallTime},
    wire::{Rfc3339, Told, decode_lifecycle},
};

/// Facts that are remembered to be shown.
const MOST_FACTS: usize = 50;
/// Accounts that are shown at most, and so kept right by asking about them.
pub(super) const MOST_SHOWN: usize = 20;
/// Questions of one round about accounts that are listed.
const MOST_ASKED: usize = 10;

/// One worker, as far as its metrics say.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) url: String,
    /// What it said last, or why it says nothing; `None` before it was asked.
    pub(super) page: Option<Result<WorkerMetrics, String>>,
    pub(super) readings: Readings,
}

/// How the lifecycle is listened to.
#[derive(Debug)]
pub(super) enum Lifecycle {
    /// No address of RabbitMQ was given.
    NotAsked,
    Connecting,
    Listening,
    Lost(BrokerError),
}

/// The account that is shown in detail.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) key: AccountKey,
    pub(super) status: Option<AccountStatus>,
    /// Why the last question has no answer.
    pub(super) error: Option<String>,
}

/// A fact of the lifecycle, as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StateFact {
    pub(super) at: Rfc3339,
    pub(super) kind: String,
    pub(super) key: String,
    pub(super) count: u32,
}

/// What became of one round of asking.
#[derive(Debug)]
pub(super) struct Round {
    /// In the order of the workers.
    pub(super) pages: Vec<Result<WorkerMetrics, String>>,
    pub(super) answers: Vec<(Question, Result<AccountStatus, String>)>,
}

/// All of it.
#[derive(Debug)]
pub(super) struct State {
    pub(super) workers: Vec<Worker>,
    pub(super) lifecycle: Lifecycle,
    pub(super) accounts: Accounts,
    /// The latest last.
    pub(super) facts: VecDeque<StateFact>,
    pub(super) opened: Option<Opened>,
    /// Rounds that were completed.
    pub(super) rounds: u64,
    /// A worker or RabbitMQ has answered once: from then on they are waited for.
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
                Lifecycle::Connecting
            } else {
                Lifecycle::NotAsked
            },
            accounts: Accounts::default(),
            facts: VecDeque::with_capacity(MOST_FACTS),
            opened: None,
            rounds: 0,
            answered: false,
        }
    }

    /// Shows an account in detail, or none.
    pub(super) fn open(&mut self, key: Option<AccountKey>) {
        self.opened = key.map(|key| Opened {
            key,
            status: None,
            error: None,
        });
    }

    /// What the next round is to ask: about the account that is opened, and those that are listed.
    pub(super) fn questions(&self) -> Vec<Question> {
        let opened = self.opened.iter().map(|it| self.accounts.question(&it.key));
        let listed = match self.lifecycle {
            Lifecycle::Listening => self.accounts.questions(MOST_SHOWN, MOST_ASKED),
            _ => Vec::new(),
        };
        let is_opened = |key: &AccountKey| self.opened.as_ref().is_some_and(|it| it.key == *key);
        let listed = listed.into_iter().filter(|it| !is_opened(&it.key));
        opened.chain(listed).collect()
    }

    /// A round is complete.
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
        for (question, answer) in round.answers {
            self.answered(question, answer, at);
        }
        self.rounds += 1;
    }

    fn answered(
        &mut self,
        question: Question,
        answer: Result<AccountStatus, String>,
        at: Duration,
    ) {
        let opened = self.opened.as_mut().filter(|it| it.key == question.key);
        match answer {
            Ok(status) => {
                let count = u32::try_from(status.activity.count()).unwrap_or(u32::MAX);
                if let Some(opened) = opened {
                    opened.status = Some(status);
                    opened.error = None;
                }
                self.accounts.check(question, count, at);
            }
            Err(error) => {
                if let Some(opened) = opened {
                    opened.error = Some(error);
                }
            }
        }
    }

    /// The lifecycle is listened to from now on.
    pub(super) fn listening(&mut self, now: WallTime) {
        self.lifecycle = Lifecycle::Listening;
        self.answered = true;
        self.accounts.listening(now);
    }

    /// The lifecycle is not listened to.
    pub(super) fn lost(&mut self, error: BrokerError) {
        self.lifecycle = Lifecycle::Lost(error);
    }

    /// A message of the lifecycle.
    pub(super) fn hear(&mut self, body: &[u8], id: Option<&str>, at: Duration) {
        let Ok(told) = decode_lifecycle(body) else {
            return;
        };
        if self.accounts.hear(&told, id, at) {
            if self.facts.len() == MOST_FACTS {
                self.facts.pop_front();
            }
            self.facts.push_back(StateFact::new(&told));
        }
    }

    /// RabbitMQ has answered or failed to, if it was asked.
    pub(super) const fn is_settled(&self) -> bool {
        !matches!(self.lifecycle, Lifecycle::Connecting)
    }

    /// Why there is nothing to show: nobody has answered anything, and who might has been asked.
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
            Lifecycle::NotAsked => Some(anyhow::anyhow!("{why}; and AMQP_URL is not set")),
            Lifecycle::Lost(error) => {
                let why = format!("neither a worker nor RabbitMQ answers ({why})");
                Some(anyhow::Error::new(error.clone()).context(why))
            }
            Lifecycle::Connecting | Lifecycle::Listening => None,
        }
    }
}

impl StateFact {
    fn new(told: &Told<'_>) -> Self {
        Self {
            at: told.at,
            kind: told.kind.chars().take(16).collect(),
            key: format!("{}/{}", told.tenant, told.account),
            count: told.count,
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

    pub(in crate::cli::top) fn told(kind: &str, account: &str, count: u32) -> Vec<u8> {
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
        }
    }

    fn state() -> State {
        State::new(vec!["http://a:1/metrics".to_owned()], true)
    }

    fn round(
        page: Result<WorkerMetrics, String>,
        answers: Vec<(Question, Result<AccountStatus, String>)>,
    ) -> Round {
        Round {
            pages: vec![page],
            answers,
        }
    }

    #[test]
    fn the_opened_account_is_asked_about_first_and_once() {
        let mut state = state();
        state.listening(NOW);
        state.hear(&told("opened", "alice", 2), None, Duration::ZERO);
        state.hear(&told("opened", "bob", 1), None, Duration::ZERO);
        state.open(Some(key("bob")));
        let asked: Vec<_> = state.questions().into_iter().map(|it| it.key).collect();
        assert_eq!(asked, [key("bob"), key("alice")]);
    }

    #[test]
    fn an_answer_that_fails_to_come_leaves_the_last_one_and_says_so() {
        let mut state = state();
        state.open(Some(key("alice")));
        let ask = |state: &State| state.questions().remove(0);
        let answers = vec![(ask(&state), Ok(status("alice", 2)))];
        state.take(round(Ok(WorkerMetrics::default()), answers), Duration::ZERO);
        assert_eq!(state.accounts.most(1)[0].count, 2);
        let answers = vec![(ask(&state), Err("nobody answers".to_owned()))];
        state.take(round(Ok(WorkerMetrics::default()), answers), Duration::ZERO);
        let opened = state.opened.unwrap();
        assert_eq!(opened.status, Some(status("alice", 2)));
        assert_eq!(opened.error.as_deref(), Some("nobody answers"));
    }

    #[test]
    fn it_fails_only_where_neither_workers_nor_rabbitmq_answer() {
        let refused = || Err("cannot ask a".to_owned());
        let lost = || BrokerError::AccessRefused("u".to_owned());
        let mut state = state();
        assert!(state.failure().is_none(), "nobody was asked yet");
        state.take(round(refused(), Vec::new()), Duration::ZERO);
        assert!(state.failure().is_none(), "RabbitMQ may still answer");
        state.lost(lost());
        let failure = state.failure().unwrap();
        assert!(failure.downcast_ref::<BrokerError>().is_some());
        let said = format!("{failure:#}");
        assert!(
            said.contains("answers (cannot ask a): RabbitMQ refuses"),
            "{said}"
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
    fn the_list_of_facts_is_bounded_and_what_is_no_fact_is_passed_over() {
        let mut state = state();
        state.hear(b"{}", None, Duration::ZERO);
        assert!(state.facts.is_empty());
        for n in 0..200 {
            let body = told("opened", "alice", n);
            state.hear(&body, None, Duration::ZERO);
        }
        assert_eq!(state.facts.len(), MOST_FACTS);
        assert_eq!(state.facts.back().map(|it| it.count), Some(199));
    }
}
