//! Two workers, of which one dies, both die, or one stands still: the count stays right.

use std::time::Duration;

use streamwatch::client::{Backend, Consistency};

use crate::fixture::{Asker, Broker, Crowd, Habits, Installation, heavy};

const TTL: &str = "3s";
/// The TTL, the two intervals that a stream may count longer, and the two for which it is
/// counted beyond them because log time may lag; and what a busy machine adds.
const GONE_AFTER: Duration = Duration::from_millis(3_000 + 4 * 150 + 1_500);
/// A `local` answer is less than three intervals old.
const LOCAL: Duration = Duration::from_millis(3 * 150);
/// Two hundred viewers on fifty accounts.
const HABITS: Habits = Habits {
    accounts: 50,
    devices: 4,
    session: Duration::from_secs(4),
    crash_every: 4,
    gone_after: GONE_AFTER,
};

/// Asks on a connection of its own, and takes answers however late they come.
fn patient(installation: &Installation) -> Backend {
    let patience = Duration::from_secs(12);
    installation.backend().with_patience(patience)
}

#[tokio::test]
async fn killing_one_of_two_workers_in_mid_load_loses_nothing_and_brings_nothing_back() {
    let _alone = heavy().await;
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
    // Requests of the killed worker went to the other.
    assert_eq!(answers.unanswered, 0, "{answers:?}");
    crowd.leave().await;
    drop(again);
}

#[tokio::test]
async fn both_workers_killed_and_one_restarted_count_as_if_nothing_had_happened() {
    let _alone = heavy().await;
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
    // No request is answered and all viewers go on: heartbeats and stops reach the log all the
    // same.
    tokio::time::sleep(Duration::from_secs(4)).await;
    let mut worker = installation.ready_worker().await;
    crowd.compare().await;
    crowd.settle().await;
    crowd.compare().await;

    assert!(worker.stop().await.success());
    crowd.leave().await;
}

#[tokio::test]
async fn a_worker_that_was_stopped_for_longer_than_the_ttl_gives_no_outdated_answer() {
    let _alone = heavy().await;
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
    halts.pause();
    tokio::time::sleep(Duration::from_secs(5)).await;
    halts.resume();
    halts.ready().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(requests(&halts).await > before, "it takes part again");
    assert!(requests(&runs).await > 0.0);

    let answers = asker.finish().await;
    // A reply may have been between its last check and the socket when all stood still.
    assert!(answers.mistakes.len() <= 1, "{:?}", answers.mistakes);
    // Requests that were delivered to it are answered late, or time out.
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
