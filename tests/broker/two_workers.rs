//! Two workers, of which one or both are killed, or one is frozen: the counts stay correct.

use std::time::Duration;

use streamwatch::client::{Backend, Consistency};

use crate::fixture::{Asker, Broker, Crowd, Habits, Installation, heavy};

const TTL: &str = "3s";
/// The TTL, two intervals for expiry, two intervals by which log time may lag, and a margin for a
/// busy machine.
const GONE_AFTER: Duration = Duration::from_millis(3_000 + 4 * 150 + 1_500);
/// Largest age of a `local` reply: three intervals.
const LOCAL: Duration = Duration::from_millis(3 * 150);
/// Two hundred viewers on fifty accounts.
const HABITS: Habits = Habits {
    accounts: 50,
    devices: 4,
    session: Duration::from_secs(4),
    crash_every: 4,
    gone_after: GONE_AFTER,
};

/// A backend on a connection of its own, with a long timeout.
fn patient(installation: &Installation) -> Backend {
    let patience = Duration::from_secs(12);
    installation.backend().with_patience(patience)
}

#[tokio::test]
async fn killing_one_of_two_workers_under_load_loses_and_resurrects_nothing() {
    heavy().await;
    let installation = Installation::declared(Broker::shared().await, TTL).await;
    let (mut stays, mut dies) = (
        installation.ready_worker().await,
        installation.ready_worker().await,
    );
    let crowd = Crowd::start(&installation, HABITS).await;
    let asker = Asker::start(
        patient(&installation),
        &crowd.truth,
        Consistency::Strong,
        Duration::ZERO,
    );

    dies.kill().await;
    crowd.compare().await;
    let again = installation.ready_worker().await;
    crowd.compare().await;
    stays.kill().await;
    crowd.settle().await;
    crowd.compare().await;

    let answers = asker.finish().await;
    assert_eq!(answers.mistakes, Vec::<String>::new());
    // Requests of the killed worker were redelivered to the other.
    assert_eq!(answers.unanswered, 0, "{answers:?}");
    crowd.leave().await;
    drop(again);
}

#[tokio::test]
async fn after_both_workers_were_killed_a_restarted_one_counts_correctly() {
    heavy().await;
    let installation = Installation::declared(Broker::shared().await, TTL).await;
    let mut workers = [
        installation.ready_worker().await,
        installation.ready_worker().await,
    ];
    // Without a worker log time stands still, so no stream expires: all end with a stop.
    let habits = Habits {
        crash_every: u32::MAX,
        ..HABITS
    };
    let crowd = Crowd::start(&installation, habits).await;

    for worker in &mut workers {
        worker.kill().await;
    }
    // No request is answered, but heartbeats and stops still reach the log.
    tokio::time::sleep(Duration::from_secs(4)).await;
    let mut worker = installation.ready_worker().await;
    crowd.compare().await;
    crowd.settle().await;
    crowd.compare().await;

    assert!(worker.stop().await.success());
    crowd.leave().await;
}

#[tokio::test]
async fn a_worker_that_was_frozen_for_longer_than_the_ttl_sends_no_outdated_reply() {
    heavy().await;
    let installation = Installation::declared(Broker::shared().await, TTL).await;
    let mut halts = installation.ready_worker().await;
    let runs = installation.ready_worker().await;
    let crowd = Crowd::start(&installation, HABITS).await;
    let asker = Asker::start(
        patient(&installation),
        &crowd.truth,
        Consistency::Local,
        LOCAL,
    );

    // The pauses are the subject of this test: there is no condition to wait for.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = requests(&halts).await;
    assert!(before > 0.0, "both workers answer");
    halts.pause().await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    halts.resume();
    halts.ready().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(requests(&halts).await > before, "it resumes");
    assert!(requests(&runs).await > 0.0);

    let answers = asker.finish().await;
    // One reply may have been between its last check and the socket when the worker froze.
    assert!(answers.mistakes.len() <= 1, "{:?}", answers.mistakes);
    // Requests delivered to the frozen worker are answered late, or time out.
    let (answered, late) = (answers.answered, answers.late);
    eprintln!(
        "{answered} answered, {late} of them late, {} not",
        answers.unanswered
    );
    assert!(answered > 400, "{answered}");
    crowd.settle().await;
    crowd.compare().await;
    crowd.leave().await;
}

async fn requests(worker: &crate::fixture::Worker) -> f64 {
    worker
        .metric("streamwatch_requests_total", "kind=\"status\"")
        .await
}
