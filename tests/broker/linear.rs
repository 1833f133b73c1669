//! Linearizability: all replies to concurrent clients are explained by one order of their
//! operations, while workers are killed.
//!
//! Many simultaneous inits with limits by metadata are checked directly, too: no limit is exceeded,
//! none is refused that fits, and no stream ends for another that would fit beside it.
//!
//! One relaxation applies: an `init` in flight when its worker died may have been decided twice,
//! since a repeated request has no effect. The reply is then that of the second decision. So the
//! `init` may be `opened` beside more streams than its limit, and two inits may get the same count.
//! The number of such histories is printed. Of simultaneous inits in flight at a death that may
//! replace the oldest streams, only the direct checks are made.
//!
//! `STREAMWATCH_SEED` repeats the operations of every client of every account. Their times, and the
//! requests in flight at a worker's death, depend on the machine.

mod checker;
mod checker_tests;
mod choices;
mod clients;
mod display;
mod limits;
mod model;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, interval_at};

use crate::fixture::{Broker, Installation, heavy};
use checker::{Explained, check};
use clients::Account;
use model::{Answer, Call, Operation, Streams};
use streamwatch::client::{Backend, RefusedReason};

/// Long enough that no stream and no tombstone expires during an account's operations.
const TTL: &str = "60s";
const WORKERS: usize = 3;
const KILLS: usize = 4;
const KILL_EVERY: Duration = Duration::from_secs(2);
/// Accounts with concurrent clients.
const ACCOUNTS: u64 = 6;

/// The period from before a worker was killed until its process ended.
type Death = (Duration, Duration);
/// The operations on an account, with its number.
type History = (u64, Vec<Operation>);

#[tokio::test]
async fn histories_of_many_clients_are_linearizable_while_workers_are_killed() {
    heavy().await;
    let seed = chosen_seed();
    let histories = recorded(seed, ACCOUNTS, Account::history).await;
    let summary = explained(histories, seed).await;
    let Summary {
        opened,
        refused,
        stops,
        batches,
        questions,
        ..
    } = summary;
    let most = [opened, refused, stops, batches, questions];
    assert!(most.iter().all(|&count| count >= 100), "{summary:?}");
    assert!(summary.at_a_kill > 0, "{summary:?}");
}

#[tokio::test]
async fn of_32_simultaneous_inits_as_many_are_opened_as_fit_while_workers_are_killed() {
    heavy().await;
    let seed = chosen_seed();
    let histories = recorded(seed, 1, Account::burst).await;
    for (number, history) in &histories {
        for operation in history {
            must_keep_its_limits(operation, &format!("account linear-{number}"));
        }
    }
    let summary = explained(histories, seed).await;
    let most = [summary.opened, summary.refused, summary.replaced];
    assert!(most.iter().all(|&count| count >= 50), "{summary:?}");
    assert!(summary.histories >= 10, "{summary:?}");
    assert!(summary.unordered * 4 < summary.histories, "{summary:?}");
    assert!(summary.at_a_kill > 0, "{summary:?}");
}

/// Asserts that no limit is exceeded with an opened stream, that each stream that it ended was one
/// too many, and that a refused one would not have fit beside the streams of its reply.
fn must_keep_its_limits(operation: &Operation, account: &str) {
    let (Call::Init { stream, limits, .. }, Some((_, answer))) =
        (operation.call, operation.answered)
    else {
        return;
    };
    match answer {
        Answer::Opened { active, replaced } => {
            let others = active.without(Streams::of([stream]));
            let exceeded = limits.are_exceeded(stream, others, others);
            assert!(!exceeded, "{account}: beyond its limits: {operation}");
            for ended in replaced.numbers() {
                let others = others.with(ended);
                let needed = limits.are_exceeded(stream, others, others);
                assert!(needed, "{account}: s{ended} ended for nothing: {operation}");
            }
        }
        Answer::Refused(RefusedReason::Limits, active) => {
            let exceeded = limits.are_exceeded(stream, active, active);
            assert!(exceeded, "{account}: would have fit: {operation}");
            assert!(!limits.replace_oldest, "{account}: refused: {operation}");
        }
        // Another one has replaced it, after its first decision and before the second.
        Answer::Refused(RefusedReason::Stopped, _) if limits.replace_oldest => {
            assert!(operation.repeated, "{account}: {operation}");
        }
        _ => panic!("{account}: {operation}"),
    }
}

fn chosen_seed() -> u64 {
    let given = std::env::var("STREAMWATCH_SEED").ok();
    let seed = given.map_or_else(|| fastrand::u64(..), |s| s.parse().expect("a number"));
    eprintln!("the same choices again: STREAMWATCH_SEED={seed}");
    seed
}

/// The histories of accounts, of which `at_once` are used at the same time, while workers are
/// killed.
async fn recorded(
    seed: u64,
    at_once: u64,
    history: impl AsyncFn(&Account, &[Backend], u64) -> Vec<Operation>,
) -> Vec<History> {
    let installation = Installation::declared(Broker::shared().await, TTL).await;
    let backends: Vec<_> = (0..3).map(|_| installation.backend()).collect();
    let mut workers = Vec::new();
    for _ in 0..WORKERS {
        workers.push(installation.ready_worker().await);
    }

    let began = Instant::now();
    let (next, over) = (AtomicU64::new(0), AtomicBool::new(false));
    let busy = join_all((0..at_once).map(async |_| {
        let mut histories = Vec::new();
        while !over.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let account = Account::new(number, began);
            histories.push((number, history(&account, &backends, seed).await));
        }
        histories
    }));
    let deaths = async {
        let mut deaths: Vec<Death> = Vec::new();
        // The test sets the pace: there is no condition to wait for.
        let mut pace = interval_at(began + KILL_EVERY / 2, KILL_EVERY);
        for n in 0..KILLS {
            pace.tick().await;
            let worker = &mut workers[n % WORKERS];
            let from = began.elapsed();
            worker.kill().await;
            deaths.push((from, began.elapsed()));
            *worker = installation.ready_worker().await;
        }
        pace.tick().await;
        over.store(true, Ordering::Relaxed);
        deaths
    };
    let (histories, deaths) = tokio::join!(busy, deaths);
    eprintln!("took {:.1?}", began.elapsed());

    let mut histories = histories.concat();
    for (_, history) in &mut histories {
        mark_repeated(history, &deaths);
    }
    histories
}

/// Checks that each history can be explained, and returns statistics.
async fn explained(histories: Vec<History>, seed: u64) -> Summary {
    let checking = tokio::task::spawn_blocking(move || Summary::of(&histories, seed));
    let checked = checking.await.expect("the checker comes to an end");
    let summary = checked.unwrap_or_else(|violation| panic!("{violation}"));
    eprintln!("{summary:?}");
    summary
}

/// Marks the inits in flight when a worker died.
fn mark_repeated(history: &mut [Operation], deaths: &[Death]) {
    for operation in history {
        // An operation without an answer may have been decided twice.
        let (Call::Init { .. }, Some((until, _))) = (operation.call, operation.answered) else {
            continue;
        };
        let overlaps = |&(from, gone): &Death| operation.invoked <= gone && from <= until;
        operation.repeated = deaths.iter().any(overlaps);
    }
}

/// Whether many simultaneous inits were in flight at a death, whose effect depends on the order of
/// all streams. Each may have been decided twice, which gives more orders than can be searched.
fn too_many_orders(history: &[Operation]) -> bool {
    let depends = |operation: &&Operation| match operation.call {
        Call::Init { limits, .. } => operation.repeated && limits.replace_oldest,
        Call::Stop(_) | Call::Batch(_) | Call::Status => false,
    };
    history.iter().filter(depends).count() > clients::CLIENTS
}

/// Statistics of the histories.
#[derive(Debug, Default)]
struct Summary {
    histories: usize,
    operations: usize,
    opened: usize,
    /// Streams that gave way to others.
    replaced: usize,
    refused: usize,
    stops: usize,
    batches: usize,
    questions: usize,
    unanswered: usize,
    /// Answered inits that were in flight when a worker was killed.
    at_a_kill: usize,
    /// Histories in which an `init` was decided twice.
    repeated: usize,
    /// Histories for which no order was searched.
    unordered: usize,
    checked_in: Duration,
}

impl Summary {
    /// Checks all histories. The error is the first history that cannot be explained.
    fn of(histories: &[History], seed: u64) -> Result<Self, String> {
        let mut summary = Self::default();
        let began = Instant::now();
        for (number, history) in histories {
            if too_many_orders(history) {
                summary.unordered += 1;
                history.iter().for_each(|operation| summary.add(operation));
                continue;
            }
            let explained = check(history).map_err(|violation| {
                let length = history.len();
                format!(
                    "STREAMWATCH_SEED={seed}, account linear-{number}, {length} operations: {violation}"
                )
            })?;
            summary.repeated += usize::from(explained == Explained::Repeated);
            summary.histories += 1;
            history.iter().for_each(|operation| summary.add(operation));
        }
        summary.checked_in = began.elapsed();
        Ok(summary)
    }

    fn add(&mut self, operation: &Operation) {
        self.operations += 1;
        self.at_a_kill += usize::from(operation.repeated);
        let is_batch = matches!(operation.call, Call::Batch(_));
        let kind = match operation.answered {
            Some((_, Answer::Confirmed)) if is_batch => &mut self.batches,
            Some((_, Answer::Opened { replaced, .. })) => {
                self.replaced += replaced.count() as usize;
                &mut self.opened
            }
            Some((_, Answer::Refused(..))) => &mut self.refused,
            Some((_, Answer::Confirmed)) => &mut self.stops,
            Some((_, Answer::Active(_))) => &mut self.questions,
            None => &mut self.unanswered,
        };
        *kind += 1;
    }
}
