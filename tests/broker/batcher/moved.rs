//! A batcher while its installation moves to another number of partitions.

use futures_util::{FutureExt, future::join_all};
use streamwatch::client::StreamId;

use super::{ONLY, batcher, entries, heartbeat, keys, leader, stop};
use crate::fixture::exit::DONE;
use crate::fixture::{
    Broker, Installation, PATIENCE, account, eventually, playing, strong, tenant,
};

#[tokio::test]
async fn each_confirmed_event_counts_after_the_only_partition_became_two() {
    let installation = Installation::declared(Broker::shared().await, "60s").await;
    let mut worker = installation.ready_worker().await;
    let batcher = batcher(&installation);
    let mut news = batcher.news();
    let acme = tenant();
    let alice = account("alice");
    assert!(!batcher.has_partition(&acme, &alice));
    let status = batcher.status(&acme, &alice, &strong()).await;
    assert_eq!(status.expect("a reply").partition, Some(ONLY));
    let names: Vec<_> = (0..20).map(|n| format!("viewer-{n}")).collect();
    let known = |name: &String| batcher.has_partition(&acme, &account(name));
    assert!(names.iter().all(known), "one reply suffices");
    let before = StreamId::generate();
    heartbeat(&batcher, &names[0], before)
        .await
        .expect("a confirm");
    let log = entries(&installation, 0).await;
    assert_eq!(keys(&log, before), ["acme.batch"]);

    assert!(worker.stop().await.success());
    let delete = ["topology", "delete", "--yes"];
    installation.cli(&delete).await.exits(DONE);
    let declare = ["topology", "declare", "--ttl", "60s", "--partitions", "2"];
    installation.cli(&declare).await.exits(DONE);
    let _worker = installation.ready_worker().await;
    let backend = installation.backend();
    for name in &names {
        leader(&backend, name).await;
    }

    let streams: Vec<_> = names.iter().map(|_| StreamId::generate()).collect();
    let ended = StreamId::generate();
    let sent = names.iter().zip(&streams);
    let sent = sent.map(|(name, stream)| heartbeat(&batcher, name, *stream));
    let ending = async {
        let begun = heartbeat(&batcher, &names[0], ended);
        let ended = stop(&batcher, &names[0], ended);
        tokio::join!(begun, ended)
    };
    let (sent, ending) = tokio::join!(join_all(sent), ending);
    assert!(sent.iter().all(Result::is_ok), "{sent:?}");
    assert!(matches!(ending, (Ok(()), Ok(()))), "{ending:?}");
    for (name, stream) in names.iter().zip(&streams) {
        eventually(PATIENCE, "it counts", async || {
            let playing = playing(&backend, name).await;
            (playing == [*stream]).then_some(()).ok_or(playing)
        })
        .await;
    }
    let logs = [
        entries(&installation, 0).await,
        entries(&installation, 1).await,
    ];
    let everywhere = |stream| logs.each_ref().map(|log| keys(log, stream)).concat();
    for stream in &streams {
        let mut keys = everywhere(*stream);
        keys.sort_unstable();
        assert_eq!(keys, ["acme.batch", "acme.heartbeat"], "{stream}");
    }

    // One batch was rejected, so the number of partitions is unknown again until a reply states it.
    assert!(!names.iter().any(known));
    let mut numbers = Vec::new();
    for name in &names {
        let status = batcher.status(&acme, &account(name), &strong()).await;
        let number = status.expect("a reply").partition.expect("a partition");
        assert_eq!(number.partitions, 2);
        numbers.push(number.partition);
    }
    assert!(numbers.contains(&0) && numbers.contains(&1), "{numbers:?}");
    let after: Vec<_> = names.iter().map(|_| StreamId::generate()).collect();
    let sent = names.iter().zip(&after);
    let sent = sent.map(|(name, stream)| heartbeat(&batcher, name, *stream));
    let sent = join_all(sent).await;
    assert!(sent.iter().all(Result::is_ok), "{sent:?}");
    for (stream, partition) in after.iter().zip(numbers) {
        let log = entries(&installation, partition).await;
        assert_eq!(keys(&log, *stream), ["acme.batch"], "{stream}");
    }
    assert_eq!(news.next().now_or_never(), None, "no bad news");
}
