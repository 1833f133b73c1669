//! The examples of the client library's documentation, run against a broker.

#[path = "../clients/rust/backend.rs"]
mod backend;
#[path = "../clients/rust/edge.rs"]
mod edge;
#[path = "../clients/rust/player.rs"]
mod player;

use std::future::{pending, ready};

use streamwatch::client::{
    AccountId, Backend, Batcher, ClientError, Opening, PlaybackState, StoppedReason, StreamId,
};
use tokio::sync::{oneshot, watch};

use crate::fixture::{
    Broker, Installation, PATIENCE, account, eventually, playing, streams, strong, tenant,
};

async fn take_over(backend: &Backend, stream: StreamId, most: u32) -> Result<Opening, ClientError> {
    backend::take_over(backend, &tenant(), &account("alice"), stream, most).await
}

#[tokio::test]
async fn the_documented_player_counts_while_its_film_plays_on_at_most_two_devices() {
    let installation = Installation::declared(Broker::shared().await, "10s").await;
    let _worker = installation.ready_worker().await;
    let backend = installation.backend();
    let (end, ended) = oneshot::channel::<()>();
    let film = async {
        let _ = ended.await;
    };
    let played = player::play(installation.client(), "alice", film);
    let first = async {
        eventually(PATIENCE, "it counts", async || {
            let status = backend
                .status(&tenant(), &account("alice"), &strong())
                .await;
            let by = status.map(|it| it.activity.count_by("device") == [("tv", 1)]);
            by.map_err(|e| e.to_string())?
                .then_some(())
                .ok_or_else(|| "nobody plays".to_owned())
        })
        .await;
        let second = player::play(installation.client(), "alice", ready(())).await;
        assert!(matches!(second, Ok(PlaybackState::Opened(_))), "{second:?}");
        let open = take_over(&backend, StreamId::generate(), 2).await;
        assert!(matches!(open, Ok(Opening::Opened { .. })), "{open:?}");
        let third = player::play(installation.client(), "alice", pending()).await;
        assert!(
            matches!(third, Ok(PlaybackState::Refused { .. })),
            "{third:?}"
        );
        end.send(()).expect("the film plays");
    };
    let (played, ()) = tokio::join!(played, first);
    assert!(matches!(played, Ok(PlaybackState::Opened(_))), "{played:?}");
    assert_eq!(playing(&backend, "alice").await.len(), 1);
}

#[tokio::test]
async fn the_documented_backend_sends_concurrent_requests_and_replaces_the_oldest_stream() {
    let installation = Installation::declared(Broker::shared().await, "10s").await;
    let _worker = installation.ready_worker().await;
    let backend = installation.backend();
    let oldest = player::play(installation.client(), "alice", pending());
    let rest = async {
        eventually(PATIENCE, "the oldest plays", async || {
            let playing = playing(&backend, "alice").await;
            (playing.len() == 1).then_some(()).ok_or(playing)
        })
        .await;
        let mut last = StreamId::generate();
        for _ in 0..2 {
            last = StreamId::generate();
            let opened = take_over(&backend, last, 1).await;
            assert!(matches!(opened, Ok(Opening::Opened { .. })), "{opened:?}");
        }
        let status = backend
            .status(&tenant(), &account("alice"), &strong())
            .await;
        assert_eq!(streams(&status.expect("a worker answers")), [last]);
        let accounts = ["alice", "bob"].map(account);
        let playing = backend::playing(&backend, &tenant(), &accounts).await;
        assert_eq!(playing.expect("a worker answers"), [1, 0]);
    };
    let (oldest, ()) = tokio::join!(oldest, rest);
    let replaced = PlaybackState::Stopped(StoppedReason::Replaced.into());
    assert_eq!(oldest.expect("it has begun"), replaced);
}

#[tokio::test]
async fn the_documented_edge_service_sends_heartbeats_and_ends_stopped_players() {
    let installation = Installation::declared(Broker::shared().await, "10s").await;
    let _worker = installation.ready_worker().await;
    let backend = installation.backend();
    let batcher = Batcher::new(backend.clone());
    let ended = watch::Sender::new(None);
    let seen = ended.subscribe();
    let end = move |account: &AccountId, stream| {
        ended.send_replace(Some((account.clone(), stream)));
    };
    tokio::spawn(edge::end_stopped(batcher.news(), end));
    let (acme, alice) = (tenant(), account("alice"));
    let stream = edge::play(&batcher, &acme, &alice).await;
    let stream = stream.expect("a confirm");
    assert_eq!(playing(&backend, "alice").await, [stream]);
    let stopped = backend.stop(&acme, &alice, stream).await;
    stopped.expect("a confirm");
    eventually(PATIENCE, "the player is ended", async || {
        let sent = batcher.heartbeat(&acme, &alice, stream, None, None).await;
        sent.expect("a confirm");
        let ended = seen.borrow().clone();
        (ended == Some((alice.clone(), stream)))
            .then_some(())
            .ok_or(ended)
    })
    .await;
}
