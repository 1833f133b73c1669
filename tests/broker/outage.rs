//! No worker runs for longer than the TTL: no stream expires meanwhile.

use std::time::Duration;

use streamwatch::client::{OpenRequest, PlaybackState, StreamId};

use crate::fixture::{
    Broker, Installation, PATIENCE, account, eventually, heartbeat, heavy, playing,
};

const TTL: &str = "4s";

#[tokio::test]
async fn after_an_outage_playing_streams_count_and_silent_ones_expire_a_ttl_later() {
    heavy().await;
    let installation = Installation::declared(Broker::shared().await, TTL).await;
    let mut worker = installation.ready_worker().await;
    let player = installation.player();
    let mut goes_on = player.open(account("alice"), OpenRequest::default()).await;
    while !matches!(goes_on.state(), PlaybackState::Opened(_)) {
        assert!(goes_on.changed().await);
    }
    let backend = installation.backend();
    let (silent, stops) = (StreamId::generate(), StreamId::generate());
    for stream in [silent, stops] {
        heartbeat(&backend, "alice", stream)
            .await
            .expect("confirmed");
    }
    worker.kill().await;
    // The outage is the subject of this test.
    tokio::time::sleep(Duration::from_secs(9)).await;
    let (tenant, alice) = (crate::fixture::tenant(), account("alice"));
    let stopped = backend.stop(&tenant, &alice, stops).await;
    stopped.expect("confirmed");

    let mut worker = installation.ready_worker().await;
    let mut both = playing(&backend, "alice").await;
    both.sort_unstable();
    let mut wanted = [silent, goes_on.stream()];
    wanted.sort_unstable();
    assert_eq!(both, wanted);
    eventually(PATIENCE, "the silent one is gone", async || {
        let playing = playing(&backend, "alice").await;
        assert!(playing.contains(&goes_on.stream()), "it continued to play");
        (playing == [goes_on.stream()]).then_some(()).ok_or(playing)
    })
    .await;
    assert!(worker.stop().await.success());
}
