//! The client library's guarantees for players and backends.

use std::time::Duration;

use futures_util::future::join_all;
use lapin::options::QueuePurgeOptions;
use streamwatch::client::{
    Backend, BadNews, BatchEvent, ClientError, Heartbeat, OpenRequest, Opening, PartitionNumber,
    Playback, PlaybackState, PlayerEvent, RefusedReason, StatusQuery, Stop, StoppedReason,
    StreamId,
};
use tokio::time::Instant;

use crate::fixture::{
    Broker, Installation, PATIENCE, account, eventually, heavy, patient, playing,
    playing_if_answered, strong, tenant,
};

/// A player waits about 2 s, then plays.
const ABOUT_2_S: std::ops::Range<Duration> =
    Duration::from_millis(1_900)..Duration::from_millis(3_500);

async fn becomes(playback: &mut Playback, wanted: impl Fn(&PlaybackState) -> bool) {
    let waiting = async {
        while !wanted(&playback.state()) {
            assert!(
                playback.changed().await,
                "nothing more: {:?}",
                playback.state()
            );
        }
    };
    let waited = tokio::time::timeout(PATIENCE, waiting).await;
    assert!(waited.is_ok(), "it stays {:?}", playback.state());
}

fn opened(state: &PlaybackState) -> bool {
    matches!(state, PlaybackState::Opened(_))
}

/// Number of messages in `queue`, by `topology show`.
fn waiting(shown: &serde_json::Value, queue: &str) -> Option<u64> {
    let mut queues = shown["queues"].as_array()?.iter();
    queues.find(|q| q["name"] == queue)?["messages"].as_u64()
}

async fn nobody_plays(backend: &Backend, name: &str) {
    eventually(PATIENCE, "nobody plays", async || {
        let playing = playing(backend, name).await;
        playing.is_empty().then_some(()).ok_or(playing)
    })
    .await;
}

#[tokio::test]
async fn a_retry_never_opens_a_second_stream() {
    let installation = Installation::declared(Broker::shared().await, "10s").await;
    let _worker = installation.ready_worker().await;
    let backend = installation.backend();
    let request = OpenRequest {
        stream: Some(StreamId::generate()),
        max_active: Some(1),
        ..OpenRequest::default()
    };
    let mut started = Vec::new();
    for _ in 0..5 {
        let opening = backend.open(&tenant(), &account("alice"), &request).await;
        let Ok((_, Opening::Opened { activity, .. })) = opening else {
            panic!("{opening:?}");
        };
        assert_eq!(activity.streams.len(), 1);
        started.push(activity.streams[0].started_at);
    }
    assert!(started.iter().all(|at| *at == started[0]), "{started:?}");
}

#[tokio::test]
async fn without_a_worker_playback_starts_and_its_heartbeats_count() {
    let installation = Installation::declared(Broker::shared().await, "10s").await;
    let player = installation.player();
    let asked = Instant::now();
    let mut playback = player.open(account("alice"), OpenRequest::default()).await;
    assert_eq!(playback.state(), PlaybackState::Unanswered);
    assert!(
        ABOUT_2_S.contains(&asked.elapsed()),
        "{:?}",
        asked.elapsed()
    );

    // The requests are lost, so the reason can only be in the reply to a heartbeat.
    let channel = installation.broker.channel().await;
    let log = installation.names().log(0);
    let inits = installation.names().init(0);
    let heartbeat = eventually(PATIENCE, "a heartbeat is in the log", async || {
        let log = channel.queue_declare(
            log.as_str().into(),
            lapin::options::QueueDeclareOptions::default().passive(),
            lapin::types::FieldTable::default(),
        );
        let messages = log.await.expect("the log is there").message_count();
        (messages >= 2).then_some(()).ok_or(messages)
    });
    heartbeat.await;
    channel
        .queue_purge(inits.into(), QueuePurgeOptions::default())
        .await
        .expect("requests are lost");

    let _worker = installation.ready_worker().await;
    let backend = installation.backend();
    assert_eq!(playing(&backend, "alice").await, [playback.stream()]);
    // The request is repeated with the same id until a worker replies.
    becomes(&mut playback, opened).await;
    assert_eq!(playing(&backend, "alice").await, [playback.stream()]);
    playback.stop().await;
    assert_eq!(playing(&backend, "alice").await, []);
}

#[tokio::test]
async fn two_hundred_players_share_one_connection_and_resume_after_a_restart_of_the_broker() {
    heavy().await;
    let broker = Broker::start().await;
    let installation = Installation::declared(&broker, "60s").await;
    let mut worker = installation.ready_worker().await;
    let player = installation.player();
    let names = (0..200).map(|n| format!("viewer-{}", n % 20));
    let openings = names.map(|name| player.open(account(&name), OpenRequest::default()));
    let mut playbacks = join_all(openings).await;
    for playback in &mut playbacks {
        becomes(playback, opened).await;
    }
    let connections = broker.ctl(&["--quiet", "list_connections", "client_properties"]);
    let connections = connections.await;
    let clients = connections
        .lines()
        .filter(|l| l.contains("streamwatch client"));
    assert_eq!(clients.count(), 1, "{connections}");

    broker.stop().await;
    worker.not_ready().await;
    let asked = Instant::now();
    let mut late = player.open(account("late"), OpenRequest::default()).await;
    assert_eq!(late.state(), PlaybackState::Unanswered);
    assert!(
        ABOUT_2_S.contains(&asked.elapsed()),
        "{:?}",
        asked.elapsed()
    );
    let backend = installation.backend();
    let answer = backend.status(&tenant(), &account("late"), &strong()).await;
    assert!(matches!(answer, Err(ClientError::Broker(_))), "{answer:?}");

    broker.start_again().await;
    worker.ready().await;
    becomes(&mut late, opened).await;
    // The backend reconnects independently.
    eventually(PATIENCE, "the backend is answered", async || {
        playing_if_answered(&backend, "late").await
    })
    .await;
    assert_eq!(playing(&backend, "late").await, [late.stream()]);
    for n in 0..20 {
        assert_eq!(playing(&backend, &format!("viewer-{n}")).await.len(), 10);
    }
    for playback in playbacks {
        playback.stop().await;
    }
    for n in 0..20 {
        assert_eq!(playing(&backend, &format!("viewer-{n}")).await, []);
    }
}

#[tokio::test]
async fn a_stream_ends_by_a_stop_by_dropping_its_playback_and_by_expiry() {
    let installation = Installation::declared(Broker::shared().await, "2s").await;
    let _worker = installation.ready_worker().await;
    let (player, backend) = (installation.player(), installation.backend());
    let open = async || {
        let playback = player.open(account("alice"), OpenRequest::default()).await;
        assert!(opened(&playback.state()), "{:?}", playback.state());
        assert_eq!(playing(&backend, "alice").await, [playback.stream()]);
        playback
    };

    open().await.stop().await;
    assert_eq!(playing(&backend, "alice").await, []);

    drop(open().await);
    nobody_plays(&backend, "alice").await;

    let playback = open().await;
    let stream = playback.stream();
    let fell_silent = Instant::now();
    playback.abandon();
    nobody_plays(&backend, "alice").await;
    // The last heartbeat was up to a third of the TTL earlier.
    let counted = fell_silent.elapsed();
    assert!(counted > Duration::from_millis(1_300), "{counted:?}");
    assert!(
        counted < Duration::from_millis(2_000 + 4 * 100 + 1_500),
        "{counted:?}"
    );
    let query = StatusQuery {
        stream: Some(stream),
        ..strong()
    };
    let status = patient(&backend)
        .status(&tenant(), &account("alice"), &query)
        .await;
    let state = status.expect("a worker answers").state;
    assert_eq!(state, Some(streamwatch::client::StreamState::Expired));
}

#[tokio::test]
async fn heartbeats_keep_a_stream_for_several_ttls() {
    let installation = Installation::declared(Broker::shared().await, "2s").await;
    let _worker = installation.ready_worker().await;
    let (player, backend) = (installation.player(), installation.backend());
    let playback = player.open(account("alice"), OpenRequest::default()).await;
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(6) {
        assert_eq!(playing(&backend, "alice").await, [playback.stream()]);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_player_is_notified_that_it_was_stopped_or_replaced_by_the_reply_to_a_heartbeat() {
    let installation = Installation::declared(Broker::shared().await, "2s").await;
    let _worker = installation.ready_worker().await;
    let (player, backend) = (installation.player(), installation.backend());
    let alice = account("alice");
    let mut one = player.open(alice.clone(), OpenRequest::default()).await;
    let mut two = player.open(alice.clone(), OpenRequest::default()).await;
    let stopped = backend.stop(&tenant(), &alice, one.stream()).await;
    stopped.expect("the stop is confirmed");
    let replacing = OpenRequest {
        max_active: Some(1),
        replace: vec![two.stream()],
        ..OpenRequest::default()
    };
    let three = player.open(alice.clone(), replacing).await;
    assert!(opened(&three.state()), "{:?}", three.state());

    let received = |reason: StoppedReason| {
        move |state: &PlaybackState| *state == PlaybackState::Stopped(reason.into())
    };
    becomes(&mut one, received(StoppedReason::Stopped)).await;
    becomes(&mut two, received(StoppedReason::Replaced)).await;
    assert_eq!(playing(&backend, "alice").await, [three.stream()]);
    assert!(opened(&three.state()));
}

#[tokio::test]
async fn a_stream_above_max_active_is_refused_and_gets_the_activity() {
    let installation = Installation::declared(Broker::shared().await, "10s").await;
    let _worker = installation.ready_worker().await;
    let (player, backend) = (installation.player(), installation.backend());
    let request = OpenRequest {
        max_active: Some(1),
        ..OpenRequest::default()
    };
    let first = player.open(account("alice"), request.clone()).await;
    let second = player.open(account("alice"), request.clone()).await;
    let PlaybackState::Refused { refusal, activity } = second.state() else {
        panic!("{:?}", second.state());
    };
    assert_eq!(refusal.reason, RefusedReason::MaxActive);
    assert_eq!(activity.streams[0].stream, first.stream());
    let opening = backend.open(&tenant(), &account("alice"), &request).await;
    let (_, opening) = opening.expect("a worker answers");
    assert!(
        matches!(&opening, Opening::Refused { refusal, .. } if refusal.max_active == Some(1)),
        "{opening:?}"
    );

    // There is nothing to stop, so stopping returns at once.
    second.stop().await;
    assert_eq!(playing(&backend, "alice").await, [first.stream()]);
    first.stop().await;
    let third = player.open(account("alice"), request).await;
    assert!(opened(&third.state()), "{:?}", third.state());
}

#[tokio::test]
async fn two_hundred_requests_are_in_flight_at_once() {
    let installation = Installation::declared(Broker::shared().await, "10s").await;
    let mut worker = installation.ready_worker().await;
    let backend = installation.backend().with_patience(PATIENCE);
    let names: Vec<_> = (0..200).map(|n| format!("viewer-{n}")).collect();
    let openings = names.iter().map(async |name| {
        let request = OpenRequest::default();
        let opening = backend.open(&tenant(), &account(name), &request).await;
        opening.expect("a worker answers").0
    });
    let streams = join_all(openings).await;
    // Without a worker, all requests are in flight before the first reply.
    assert!(worker.stop().await.success());
    let questions = join_all(names.iter().map(|name| playing(&backend, name)));
    let answered = async {
        let queue = installation.names().status(0);
        eventually(PATIENCE, "the questions are under way", async || {
            let shown = installation.cli(&["--json", "topology", "show"]).await;
            let waiting = waiting(&shown.json(), &queue);
            (waiting == Some(200)).then_some(()).ok_or(waiting)
        })
        .await;
        installation.ready_worker().await
    };
    let (answers, _worker) = tokio::join!(questions, answered);
    for (stream, answer) in streams.iter().zip(answers) {
        assert_eq!(answer, [*stream]);
    }
}

#[tokio::test]
async fn a_missing_topology_and_a_missing_worker_are_different_errors() {
    let installation = Installation::bare(Broker::shared().await);
    let backend = installation.backend();
    let status = async || {
        backend
            .status(&tenant(), &account("alice"), &StatusQuery::default())
            .await
    };
    let asked = Instant::now();
    let answer = status().await;
    assert!(matches!(answer, Err(ClientError::NoTopology)), "{answer:?}");
    assert!(
        asked.elapsed() < Duration::from_secs(2),
        "it is known at once"
    );
    let stream = StreamId::generate();
    let stop = backend.stop(&tenant(), &account("alice"), stream).await;
    assert!(matches!(stop, Err(ClientError::NoTopology)), "{stop:?}");

    installation.declare("10s").await;
    let answer = status().await;
    assert!(
        matches!(answer, Err(ClientError::NoAnswer(_))),
        "{answer:?}"
    );

    let _worker = installation.ready_worker().await;
    let answer = status().await;
    assert!(answer.is_ok(), "{answer:?}");
}

#[tokio::test]
async fn a_batch_returns_the_bad_news_of_each_event() {
    let installation = Installation::declared(Broker::shared().await, "10s").await;
    let _worker = installation.ready_worker().await;
    let backend = installation.backend();
    let (alice, bob) = (account("alice"), account("bob"));
    let (acme, query) = (tenant(), StatusQuery::default());
    let status = patient(&backend).status(&acme, &alice, &query).await;
    let partition = status.expect("a reply").partition;
    let here = PartitionNumber {
        partition: 0,
        partitions: 1,
    };
    assert_eq!(partition, Some(here));
    let (stays, ends) = (StreamId::generate(), StreamId::generate());
    let event = |account: &_, event| BatchEvent {
        account: Clone::clone(account),
        event,
    };
    let beat = |stream, every_ms| {
        PlayerEvent::Heartbeat(Heartbeat {
            every_ms,
            ..Heartbeat::of(stream)
        })
    };
    let events = [
        event(&bob, beat(stays, Some(7))),
        event(&alice, beat(ends, None)),
        event(&alice, Stop::of(ends).into()),
        event(&alice, beat(ends, None)),
    ];
    eventually(PATIENCE, "a leader replies", async || {
        let wait = Duration::from_secs(1);
        let sent = backend.batch(&acme, here, &events, wait).await;
        let news = sent.expect("a confirm");
        let stopped = BadNews::Stopped(StoppedReason::Stopped.into());
        let is_stopped = news.contains(&(3, stopped));
        let is_outdated = matches!(news.first(), Some((0, BadNews::Interval { .. })));
        (is_stopped && is_outdated).then_some(()).ok_or(news)
    })
    .await;
    assert_eq!(playing(&backend, "bob").await, [stays]);
    nobody_plays(&backend, "alice").await;
    let elsewhere = PartitionNumber {
        partition: 1,
        ..here
    };
    let sent = backend.batch(&acme, elsewhere, &events, PATIENCE).await;
    let Err(ClientError::Refused(problem)) = sent else {
        panic!("not rejected: {sent:?}");
    };
    assert_eq!(problem.field.as_deref(), Some("partition"));
}
