//! Throttling: limits of tenants and accounts.

mod flood;

use std::time::Duration;

use futures_util::{StreamExt, future::join_all, stream};
use streamwatch::client::{
    AccountId, Backend, ClientError, Code, OpenRequest, StatusQuery, StreamId, Tenant,
};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::fixture::exit::{DONE, WRONG_SETTINGS};
use crate::fixture::{Broker, Installation, PATIENCE, account, eventually, heavy, tenant};

/// The outcome of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Answered,
    Throttled(Duration),
    Silent,
}

fn outcome<T>(result: Result<T, ClientError>) -> Outcome {
    match result {
        Ok(_) => Outcome::Answered,
        // The client or the broker may still be busy with a flood.
        Err(ClientError::NoAnswer(_) | ClientError::NotSent(_) | ClientError::NotTaken(_)) => {
            Outcome::Silent
        }
        Err(error) => {
            let wait = error.retry_after();
            let ClientError::Refused(problem) = error else {
                panic!("{error}");
            };
            assert_eq!(problem.code, Code::Throttled, "{problem}");
            Outcome::Throttled(wait.expect("a time"))
        }
    }
}

async fn ask(backend: &Backend, tenant: &Tenant, account: &AccountId) -> Outcome {
    let query = StatusQuery::default();
    outcome(backend.status(tenant, account, &query).await)
}

/// The outcomes of requests that are sent at once.
async fn ask_at_once(backend: &Backend, account: &AccountId, requests: usize) -> Vec<Outcome> {
    let tenant = tenant();
    let asked = (0..requests).map(|_| ask(backend, &tenant, account));
    stream::iter(asked)
        .buffer_unordered(requests)
        .collect()
        .await
}

fn answered(outcomes: &[Outcome]) -> usize {
    let is_answered = |outcome: &&Outcome| **outcome == Outcome::Answered;
    outcomes.iter().filter(is_answered).count()
}

fn waits(outcomes: &[Outcome]) -> Vec<Duration> {
    let wait = |outcome: &Outcome| match outcome {
        Outcome::Throttled(wait) => Some(*wait),
        _ => None,
    };
    outcomes.iter().filter_map(wait).collect()
}

async fn set(installation: &Installation<'_>, flags: &[&str]) {
    let command = [&["topology", "set"], flags].concat();
    installation.cli(&command).await.exits(DONE);
}

/// Waits until requests are throttled.
async fn until_throttled(backend: &Backend, name: &str) {
    eventually(PATIENCE, "requests are throttled", async || {
        let outcomes = ask_at_once(backend, &account(name), 40).await;
        (answered(&outcomes) < 40).then_some(()).ok_or(outcomes)
    })
    .await;
}

#[tokio::test]
async fn an_account_is_throttled_beyond_its_limit_and_accepted_when_it_has_waited() {
    let installation = Installation::declared(Broker::shared().await, "10m").await;
    let mut worker = installation.ready_worker().await;
    let backend = installation.backend();
    let alice = account("alice");
    let all = ask_at_once(&backend, &alice, 200).await;
    assert_eq!(answered(&all), 200, "throttling is off by default");

    set(&installation, &["--account-statuses-per-second", "4"]).await;
    until_throttled(&backend, "bob").await;
    // A full bucket accepts ten at once.
    let began = Instant::now();
    let outcomes = ask_at_once(&backend, &alice, 30).await;
    let quarters = began.elapsed().as_millis() as usize / 250;
    assert!(
        (10..=11 + quarters).contains(&answered(&outcomes)),
        "{outcomes:?}"
    );
    let waits = waits(&outcomes);
    assert!(waits.len() >= 9, "{outcomes:?}");
    assert!(
        waits
            .iter()
            .all(|wait| wait.as_millis() >= 250 && wait.as_millis() <= 2_500),
        "{waits:?}"
    );
    // All callers that wait for their time are accepted.
    let mut again = JoinSet::new();
    for wait in waits {
        let (backend, alice) = (backend.clone(), alice.clone());
        again.spawn(async move {
            tokio::time::sleep_until(Instant::now() + wait).await;
            ask(&backend, &tenant(), &alice).await
        });
    }
    let again = again.join_all().await;
    assert_eq!(answered(&again), again.len(), "{again:?}");

    // Others are not affected, and neither are heartbeats and inits.
    assert_eq!(
        answered(&ask_at_once(&backend, &account("carol"), 10).await),
        10
    );
    let opened = backend
        .open(&tenant(), &alice, &OpenRequest::default())
        .await;
    assert_eq!(outcome(opened), Outcome::Answered);
    let by = r#"kind="status",limit="account""#;
    assert!(worker.metric("streamwatch_throttled_total", by).await >= 19.0);
    assert!(
        worker
            .metric("streamwatch_tenant_throttled_total", r#"tenant="acme""#)
            .await
            >= 19.0
    );
    let lines = worker.stderr().matches("throttled a request").count();
    assert!((1..=began.elapsed().as_secs() as usize + 60).contains(&lines));

    // Another worker has the limits from the log.
    assert!(worker.stop().await.success());
    let _next = installation.ready_worker().await;
    until_throttled(&backend, "dave").await;

    set(&installation, &["--account-statuses-per-second", "0"]).await;
    eventually(PATIENCE, "throttling is off", async || {
        let outcomes = ask_at_once(&backend, &account("erin"), 200).await;
        (answered(&outcomes) == 200).then_some(()).ok_or(outcomes)
    })
    .await;
}

#[tokio::test]
async fn an_init_beyond_the_limit_of_its_tenant_changes_nothing_and_can_be_repeated() {
    let installation = Installation::declared(Broker::shared().await, "10m").await;
    set(&installation, &["--tenant-inits-per-second", "2"]).await;
    let _worker = installation.ready_worker().await;
    let backend = installation.backend();
    let open = async |n: usize, stream| {
        let request = OpenRequest {
            stream: Some(stream),
            ..OpenRequest::default()
        };
        let account = account(&format!("viewer-{n}"));
        outcome(backend.open(&tenant(), &account, &request).await)
    };
    let streams: Vec<_> = (0..20).map(|_| StreamId::generate()).collect();
    let opening = streams
        .iter()
        .enumerate()
        .map(|(n, stream)| open(n, *stream));
    let outcomes: Vec<_> = stream::iter(opening).buffered(20).collect().await;
    assert!((10..20).contains(&answered(&outcomes)), "{outcomes:?}");
    for (n, outcome) in outcomes.iter().enumerate() {
        let count = crate::fixture::playing(&backend, &format!("viewer-{n}"))
            .await
            .len();
        assert_eq!(count, usize::from(*outcome == Outcome::Answered));
        if let Outcome::Throttled(wait) = outcome {
            tokio::time::sleep_until(Instant::now() + *wait).await;
            assert_eq!(open(n, streams[n]).await, Outcome::Answered);
        }
    }
}

#[tokio::test]
async fn new_limits_apply_in_all_partitions_and_to_messages_without_the_header() {
    let installation = Installation::partitions(Broker::shared().await, "10m", 4).await;
    let worker = installation.ready_worker().await;
    let backend = installation.backend();
    set(&installation, &["--account-statuses-per-second", "1"]).await;
    let mut partitions = std::collections::BTreeSet::new();
    for n in 0.. {
        let name = format!("viewer-{n}");
        let query = StatusQuery::default();
        let status = backend.status(&tenant(), &account(&name), &query).await;
        let partition = status.expect("answered").partition.expect("a partition");
        if partitions.insert(partition.partition) {
            until_throttled(&backend, &name).await;
        }
        if partitions.len() == 4 {
            break;
        }
    }
    // The limit of a tenant holds for all partitions together, and in the intake.
    let limits = [
        "--account-statuses-per-second",
        "0",
        "--tenant-statuses-per-second",
        "20",
    ];
    set(&installation, &limits).await;
    eventually(PATIENCE, "the tenant is throttled", async || {
        let began = Instant::now();
        let (backend, tenant) = (&backend, &tenant());
        let ask = |n: usize| async move { ask(backend, tenant, &account(&n.to_string())).await };
        let outcomes: Vec<_> = stream::iter((0..300).map(ask))
            .buffer_unordered(300)
            .collect()
            .await;
        let most = 21 + 20 * (began.elapsed().as_secs() as usize + 1);
        (answered(&outcomes) <= most)
            .then_some(())
            .ok_or(answered(&outcomes))
    })
    .await;
    let channel = installation.broker.confirming_channel().await;
    let began = Instant::now();
    eventually(PATIENCE, "the intake throttles", async || {
        let published = (0..200).map(async |_| {
            let published = channel.basic_publish(
                installation.names().exchange().into(),
                "flood.status".into(),
                lapin::options::BasicPublishOptions::default(),
                br#"{"account":"alice"}"#,
                lapin::BasicProperties::default().with_reply_to("nowhere".into()),
            );
            published.await.expect("sent").await.expect("confirmed")
        });
        join_all(published).await;
        let by = r#"tenant="flood""#;
        let throttled = worker
            .metric("streamwatch_tenant_throttled_total", by)
            .await;
        (throttled >= 100.0).then_some(()).ok_or(throttled)
    })
    .await;
    let forwarded = worker.metric("streamwatch_intake_total", "forwarded").await;
    let most = 21.0 + 20.0 * (began.elapsed().as_secs_f64() + 1.0);
    assert!(forwarded <= most, "{forwarded} of at most {most}");
}

#[tokio::test]
async fn workers_share_the_limit_of_a_tenant() {
    heavy().await;
    let installation = Installation::declared(Broker::shared().await, "10s").await;
    set(&installation, &["--tenant-statuses-per-second", "100"]).await;
    let _workers = (
        installation.ready_worker().await,
        installation.ready_worker().await,
    );
    let hasty = installation
        .backend()
        .with_patience(Duration::from_millis(500));
    eventually(PATIENCE, "both workers count the other", async || {
        let began = Instant::now();
        let mut sum = 0;
        while began.elapsed() < Duration::from_secs(3) {
            sum += answered(&ask_at_once(&hasty, &account("alice"), 200).await);
        }
        let rate = sum as f64 / began.elapsed().as_secs_f64();
        eprintln!("{rate:.0} requests a second of two workers, limit 100");
        (rate < 150.0).then_some(()).ok_or(rate)
    })
    .await;
}

#[tokio::test]
async fn wrong_limits_are_reported() {
    let installation = Installation::bare(Broker::shared().await);
    for wrong in [
        &["--tenant-inits-per-second", "1000001"][..],
        &["--rules", "1", "--account-inits-per-second", "5"],
    ] {
        let declare = [&["topology", "declare"], wrong].concat();
        let finished = installation.cli(&declare).await;
        finished
            .exits(WRONG_SETTINGS)
            .reports("inits-per-second must be");
    }
}
