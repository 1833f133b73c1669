//! Connections through a proxy that are cut in the middle of a frame, or stalled half-open.

use std::time::Duration;

use streamwatch::client::{ClientError, Consistency, OpenRequest, PlaybackState, StreamId};

use crate::fixture::{
    Asker, Broker, Crowd, Habits, Installation, PATIENCE, Passage, Proxy, Worker, account,
    eventually, heartbeat, heavy, playing, playing_if_answered, strong, tenant,
};

/// The names of a worker's two connections, as RabbitMQ lists them.
const CONNECTIONS: [&str; 2] = [", consume", ", publish"];
/// Long enough that no stream expires.
const TTL: &str = "10m";

/// Waits until the worker has reconnected with its state.
async fn came_back_the_same(worker: &mut Worker, reconnects: f64) {
    eventually(PATIENCE, "the worker reconnects", async || {
        let times = worker.metric("streamwatch_reconnects_total", "").await;
        (times >= reconnects).then_some(()).ok_or(times)
    })
    .await;
    worker.ready().await;
    let started_over = worker.metric("streamwatch_started_over_total", "").await;
    assert_eq!(started_over, 0.0, "the log was the same");
}

#[tokio::test]
async fn a_worker_whose_connection_is_cut_in_mid_frame_reconnects_with_its_state() {
    let broker = Broker::shared().await;
    let proxy = Proxy::start(broker).await;
    let installation = Installation::declared(broker, TTL).await;
    let mut worker = installation.by_way_of(&proxy.broker).ready_worker().await;
    let backend = installation.backend();
    let mut streams = Vec::new();
    for (n, connection) in CONNECTIONS.into_iter().enumerate() {
        let stream = StreamId::generate();
        heartbeat(&backend, "alice", stream)
            .await
            .expect("confirmed");
        streams.push(stream);
        proxy.set(connection, Passage::Cut).await;
        proxy.closed(connection).await;
        came_back_the_same(&mut worker, (n + 1) as f64).await;
        let mut counted = playing(&backend, "alice").await;
        counted.sort_unstable();
        streams.sort_unstable();
        assert_eq!(counted, streams);
    }
    assert!(worker.stop().await.success());
}

#[tokio::test]
async fn a_worker_that_cannot_connect_for_a_while_reconnects_by_itself() {
    let broker = Broker::shared().await;
    let proxy = Proxy::start(broker).await;
    let installation = Installation::declared(broker, TTL).await;
    let mut worker = installation.by_way_of(&proxy.broker).ready_worker().await;
    proxy.refuse(true);
    proxy.set("worker", Passage::Cut).await;
    worker.reports("cannot connect").await;
    proxy.refuse(false);
    came_back_the_same(&mut worker, 1.0).await;
}

#[tokio::test]
async fn a_playback_continues_after_its_connection_was_cut_in_mid_frame() {
    let broker = Broker::shared().await;
    let proxy = Proxy::start(broker).await;
    let installation = Installation::declared(broker, "3s").await;
    let _worker = installation.ready_worker().await;
    let player = installation.by_way_of(&proxy.broker).player();
    let mut playback = player.open(account("alice"), OpenRequest::default()).await;
    while !matches!(playback.state(), PlaybackState::Opened(_)) {
        assert!(playback.changed().await);
    }
    proxy.set("client", Passage::Cut).await;
    proxy.closed("client").await;
    // Heartbeats arrive again, so the stream is active for longer than its TTL.
    let backend = installation.backend();
    let mut sessions = Vec::new();
    eventually(PATIENCE, "the playback's heartbeats count", async || {
        let (tenant, account) = (tenant(), account("alice"));
        let status = backend.status(&tenant, &account, &strong()).await;
        let status = status.map_err(|error| error.to_string())?;
        let [one] = &status.activity.streams[..] else {
            panic!("it counts the whole time: {status:?}");
        };
        assert_eq!(one.stream, playback.stream());
        sessions.push(one.last_seen);
        sessions.dedup();
        let seen = sessions.len();
        (seen > 4).then_some(()).ok_or(format!("{seen} heartbeats"))
    })
    .await;
}

/// A playback with a `max_active` of 1 whose device loses its network until the stream has expired.
/// Runs `meanwhile` before the network is back. Returns the final state.
async fn away_for_longer_than_the_ttl(meanwhile: impl AsyncFn(&Installation<'_>)) -> PlaybackState {
    let broker = Broker::shared().await;
    let proxy = Proxy::start(broker).await;
    let installation = Installation::declared(broker, "2s").await;
    let _worker = installation.ready_worker().await;
    let player = installation.by_way_of(&proxy.broker).player();
    let mut playback = player.open(account("alice"), only_one()).await;
    while !matches!(playback.state(), PlaybackState::Opened(_)) {
        assert!(playback.changed().await);
    }
    proxy.refuse(true);
    proxy.set("client", Passage::Cut).await;
    eventually(PATIENCE, "it has expired", async || {
        let playing = playing(&installation.backend(), "alice").await;
        playing.is_empty().then_some(()).ok_or(playing)
    })
    .await;
    meanwhile(&installation).await;
    proxy.refuse(false);
    let received = tokio::time::timeout(PATIENCE, playback.changed()).await;
    assert!(received.expect("it asks again"), "it goes on");
    playback.state()
}

fn only_one() -> OpenRequest {
    OpenRequest {
        max_active: Some(1),
        ..OpenRequest::default()
    }
}

#[tokio::test]
async fn a_playback_that_reconnects_late_is_admitted_again() {
    let state = away_for_longer_than_the_ttl(async |_| ()).await;
    let PlaybackState::Opened(activity) = &state else {
        panic!("{state:?}");
    };
    assert!(activity.streams[0].admitted, "{activity:?}");
}

#[tokio::test]
async fn a_playback_that_reconnects_late_does_not_displace_another() {
    let state = away_for_longer_than_the_ttl(async |installation| {
        let player = installation.player();
        let other = player.open(account("alice"), only_one()).await;
        assert!(matches!(other.state(), PlaybackState::Opened(_)));
        // It continues to play.
        std::mem::forget(other);
    })
    .await;
    assert!(matches!(state, PlaybackState::Refused { .. }), "{state:?}");
}

/// The number of replies of `worker`.
async fn answered(worker: &Worker) -> f64 {
    worker
        .metric("streamwatch_requests_total", "outcome=\"answered\"")
        .await
}

/// Stalls one connection of a single worker.
async fn stalls(connection: &str, passage: Passage) {
    let broker = Broker::shared().await;
    let proxy = Proxy::start(broker).await;
    let installation = Installation::declared(broker, TTL).await;
    let mut worker = installation.by_way_of(&proxy.broker).ready_worker().await;
    let backend = installation.backend();
    let stream = StreamId::generate();
    heartbeat(&backend, "alice", stream)
        .await
        .expect("confirmed");
    assert_eq!(playing(&backend, "alice").await, [stream]);

    proxy.refuse(true);
    proxy.set(connection, passage).await;
    worker.not_ready().await;
    let before = answered(&worker).await;
    let other = StreamId::generate();
    heartbeat(&backend, "alice", other)
        .await
        .expect("confirmed");
    let answer = playing_if_answered(&backend, "alice").await;
    assert!(
        matches!(answer, Err(ClientError::NoAnswer(_))),
        "{answer:?}"
    );
    assert_eq!(answered(&worker).await, before);

    // The worker closes the connection by itself: RabbitMQ's heartbeats or a response are missing.
    worker.reports("cannot connect").await;
    proxy.refuse(false);
    came_back_the_same(&mut worker, 1.0).await;
    // Messages that RabbitMQ delivers to the lost connection wait until it notices the loss.
    let answer = eventually(2 * PATIENCE, "it answers", async || {
        playing_if_answered(&backend, "alice").await
    });
    let mut counted = answer.await;
    counted.sort_unstable();
    let mut both = [stream, other];
    both.sort_unstable();
    assert_eq!(counted, both);
    assert!(worker.stop().await.success());
}

#[tokio::test]
#[ignore = "heartbeats are missed for 20 s: `tests/run --all`"]
async fn a_worker_whose_consuming_connection_stalls_does_not_reply_and_reconnects() {
    stalls(", consume", Passage::Stalled).await;
    stalls(", consume", Passage::Deaf).await;
    stalls(", consume", Passage::Mute).await;
}

#[tokio::test]
#[ignore = "heartbeats are missed for 20 s: `tests/run --all`"]
async fn a_worker_whose_publishing_connection_stalls_does_not_reply_and_reconnects() {
    stalls(", publish", Passage::Stalled).await;
    stalls(", publish", Passage::Deaf).await;
    stalls(", publish", Passage::Mute).await;
}

#[tokio::test]
async fn a_worker_whose_connections_stall_for_a_while_resumes_and_never_replies_wrongly() {
    heavy().await;
    let broker = Broker::shared().await;
    let proxy = Proxy::start(broker).await;
    let installation = Installation::declared(broker, "3s").await;
    let mut disturbed = installation.by_way_of(&proxy.broker).ready_worker().await;
    let steady = installation.ready_worker().await;
    let habits = Habits {
        accounts: 20,
        devices: 4,
        session: Duration::from_secs(4),
        crash_every: 4,
        gone_after: Duration::from_millis(3_000 + 4 * 150 + 1_500),
    };
    let crowd = Crowd::start(&installation, habits).await;
    let asker = Asker::start(
        installation
            .backend()
            .with_patience(Duration::from_secs(12)),
        &crowd.truth,
        Consistency::Local,
        Duration::from_millis(3 * 150),
    );
    for passage in [Passage::Deaf, Passage::Mute, Passage::Stalled] {
        for connection in CONNECTIONS {
            proxy.set(connection, passage).await;
            disturbed.not_ready().await;
            proxy.set(connection, Passage::Open).await;
            disturbed.ready().await;
        }
    }
    let answers = asker.finish().await;
    assert_eq!(answers.mistakes, Vec::<String>::new());
    let (answered, late) = (answers.answered, answers.late);
    eprintln!(
        "{answered} answered, {late} late, {} not",
        answers.unanswered
    );
    crowd.settle().await;
    crowd.compare().await;
    crowd.leave().await;
    drop(steady);
}

#[tokio::test]
#[ignore = "heartbeats are missed for 20 s: `tests/run --all`"]
async fn a_client_whose_connection_stalls_reconnects() {
    let broker = Broker::shared().await;
    let proxy = Proxy::start(broker).await;
    let installation = Installation::declared(broker, TTL).await;
    let _worker = installation.ready_worker().await;
    let backend = installation.by_way_of(&proxy.broker).backend();
    assert_eq!(playing(&backend, "alice").await, []);
    proxy.set("client", Passage::Stalled).await;
    let answer = playing_if_answered(&backend, "alice").await;
    assert!(
        matches!(answer, Err(ClientError::NotTaken(_))),
        "{answer:?}"
    );
    let answer = eventually(2 * PATIENCE, "it is answered again", async || {
        playing_if_answered(&backend, "alice").await
    });
    assert_eq!(answer.await, []);
}
