//! The batcher of the client library: few messages, in order, and no confirmed event is lost.

mod faults;
mod log;
mod moved;
mod ring;

use std::time::Duration;

use futures_util::{FutureExt, future::join_all};
use streamwatch::client::{
    Backend, BadNews, BatchEvent, Batcher, ClientError, Metadata, NewsReader, OpenRequest, Opening,
    PartitionNumber, StatusQuery, Stop, StoppedReason, StreamId, StreamNews,
};

use crate::fixture::{
    Broker, Installation, PATIENCE, account, eventually, patient, playing, strong, tenant,
};
use log::{entries, keys, kinds};

/// The partition of every account if there is only one.
const ONLY: PartitionNumber = PartitionNumber {
    partition: 0,
    partitions: 1,
};

fn batcher(installation: &Installation<'_>) -> Batcher {
    Batcher::new(installation.backend().with_patience(PATIENCE))
}

async fn heartbeat(batcher: &Batcher, name: &str, stream: StreamId) -> Result<(), ClientError> {
    let (tenant, account) = (tenant(), account(name));
    batcher
        .heartbeat(&tenant, &account, stream, None, None)
        .await
}

async fn stop(batcher: &Batcher, name: &str, stream: StreamId) -> Result<(), ClientError> {
    batcher.stop(&tenant(), &account(name), stream).await
}

/// The next news, which must arrive in time.
async fn next(news: &mut NewsReader) -> StreamNews {
    let next = tokio::time::timeout(PATIENCE, news.next()).await;
    next.expect("news arrive").expect("the batcher exists")
}

/// Waits until a leader rejects a batch, since only leaders reply.
async fn leader(backend: &Backend, name: &str) {
    let events = [BatchEvent {
        account: account(name),
        event: Stop::of(StreamId::generate()).into(),
    }];
    let nowhere = PartitionNumber {
        partition: 9,
        partitions: 9,
    };
    eventually(PATIENCE, "a leader replies", async || {
        let wait = Duration::from_millis(500);
        match backend.batch(&tenant(), nowhere, &events, wait).await {
            Err(ClientError::Refused(_)) => Ok(()),
            other => Err(other),
        }
    })
    .await;
}

/// Names of accounts of one partition, and the partition.
async fn neighbours(backend: &Backend, count: usize) -> (Vec<String>, PartitionNumber) {
    let mut found: [Vec<String>; 4] = Default::default();
    for n in 0.. {
        let name = format!("viewer-{n}");
        let query = StatusQuery::default();
        let status = patient(backend)
            .status(&tenant(), &account(&name), &query)
            .await;
        let number = status.expect("a reply").partition.expect("a partition");
        let place = &mut found[usize::from(number.partition)];
        place.push(name);
        if place.len() == count {
            return (std::mem::take(place), number);
        }
    }
    unreachable!("the range has no end");
}

#[tokio::test]
async fn confirmed_events_are_in_the_log_in_few_messages() {
    let installation = Installation::declared(Broker::shared().await, "60s").await;
    let batcher = batcher(&installation);
    let names: Vec<_> = (0..40).map(|n| format!("viewer-{n}")).collect();
    for name in &names {
        batcher.learn(&tenant(), &account(name), ONLY);
    }
    // Dropped futures disturb no other event.
    for name in &names {
        let dropped = heartbeat(&batcher, name, StreamId::generate());
        assert!(dropped.now_or_never().is_none(), "it gathers");
    }
    let streams: Vec<_> = (0..1_200).map(|_| StreamId::generate()).collect();
    let events = streams.iter().zip(names.iter().cycle());
    let sent = events.map(|(stream, name)| heartbeat(&batcher, name, *stream));
    for confirmed in join_all(sent).await {
        confirmed.expect("a confirm");
    }
    let ends = [0, 1].map(|n| stop(&batcher, &names[n], streams[n]));
    join_all(ends).await;

    let log = entries(&installation, 0).await;
    let batches: Vec<_> = log
        .iter()
        .filter(|entry| entry.key == "acme.batch")
        .collect();
    let sizes: Vec<_> = batches.iter().map(|batch| batch.events.len()).collect();
    assert_eq!(sizes.iter().sum::<usize>(), 1_242, "{sizes:?}");
    assert!(
        sizes.len() <= 6 && sizes.iter().all(|n| *n <= 500),
        "{sizes:?}"
    );
    assert!(!log.iter().any(|entry| entry.key == "acme.heartbeat"));

    let _worker = installation.ready_worker().await;
    let backend = installation.backend();
    for (n, name) in names.iter().enumerate() {
        let playing = playing(&backend, name).await;
        assert_eq!(playing.len(), if n < 2 { 30 } else { 31 }, "{name}");
    }
}

#[tokio::test]
async fn events_of_unknown_accounts_are_sent_alone_until_a_reply_states_the_partition() {
    let installation = Installation::partitions(Broker::shared().await, "60s", 4).await;
    let _worker = installation.ready_worker().await;
    let batcher = batcher(&installation);
    let (acme, alice) = (tenant(), account("alice"));
    let streams = [(); 3].map(|()| StreamId::generate());
    let sent = heartbeat(&batcher, "alice", streams[0]).await;
    sent.expect("a confirm");
    let status = batcher.status(&acme, &alice, &strong()).await;
    let partition = status.expect("a reply").partition.expect("a partition");
    let sent = heartbeat(&batcher, "alice", streams[1]).await;
    sent.expect("a confirm");
    // An `init` teaches the partition as well.
    let (bob, request) = (account("bob"), OpenRequest::default());
    let (_, opening) = batcher.open(&acme, &bob, &request).await.expect("a reply");
    let Opening::Opened {
        partition: Some(of_bob),
        ..
    } = opening
    else {
        panic!("{opening:?}");
    };
    let sent = heartbeat(&batcher, "bob", streams[2]).await;
    sent.expect("a confirm");

    let log = entries(&installation, partition.partition).await;
    assert_eq!(keys(&log, streams[0]), ["acme.heartbeat"]);
    assert_eq!(keys(&log, streams[1]), ["acme.batch"]);
    let log = entries(&installation, of_bob.partition).await;
    assert_eq!(keys(&log, streams[2]), ["acme.batch"]);
    let backend = installation.backend();
    assert_eq!(playing(&backend, "alice").await, streams[..2]);
    assert_eq!(playing(&backend, "bob").await.len(), 2);
}

#[tokio::test]
async fn one_reply_states_the_partition_of_all_accounts_if_there_is_one_partition() {
    let installation = Installation::declared(Broker::shared().await, "60s").await;
    let _worker = installation.ready_worker().await;
    let batcher = batcher(&installation);
    assert!(!batcher.has_partition(&tenant(), &account("bob")));
    let (acme, alice, stream) = (tenant(), account("alice"), StreamId::generate());
    let status = batcher.status(&acme, &alice, &strong()).await;
    status.expect("a reply");
    let sent = heartbeat(&batcher, "bob", stream).await;
    sent.expect("a confirm");
    let log = entries(&installation, 0).await;
    assert_eq!(keys(&log, stream), ["acme.batch"]);
    assert_eq!(playing(&installation.backend(), "bob").await, [stream]);
}

#[tokio::test]
async fn a_stop_follows_its_heartbeat_while_partitions_are_learned_and_dropped() {
    let installation = Installation::partitions(Broker::shared().await, "60s", 2).await;
    let _worker = installation.ready_worker().await;
    let backend = installation.backend().with_patience(PATIENCE);
    let (names, here) = neighbours(&backend, 6).await;
    // It remembers so few accounts that it sends their events in batches and alone in turn.
    let batcher = Batcher::with_accounts(backend, 4);
    let mut streams = Vec::new();
    let mut sent = Vec::new();
    for n in 0..600 {
        let (name, stream) = (&names[n * 7 % 6], StreamId::generate());
        if n % 3 == 0 {
            batcher.learn(&tenant(), &account(&names[n * 5 % 6]), here);
        }
        // A future sends its event when it is first polled.
        let mut heartbeat = Box::pin(heartbeat(&batcher, name, stream));
        assert!((&mut heartbeat).now_or_never().is_none());
        batcher.learn(&tenant(), &account(&names[n % 6]), here);
        let mut stop = Box::pin(stop(&batcher, name, stream));
        assert!((&mut stop).now_or_never().is_none());
        streams.push(stream);
        sent.push(async move { (heartbeat.await, stop.await) });
        if n % 20 == 0 {
            tokio::task::yield_now().await;
        }
    }
    for confirmed in join_all(sent).await {
        assert!(matches!(confirmed, (Ok(()), Ok(()))), "{confirmed:?}");
    }
    let log = entries(&installation, here.partition).await;
    let count = |key| log.iter().filter(|entry| entry.key == key).count();
    let (batches, alone) = (count("acme.batch"), count("acme.heartbeat"));
    assert!(batches > 0 && alone > 0, "{batches} and {alone}");
    for stream in streams {
        assert_eq!(kinds(&log, stream), ["heartbeat", "stop"], "{stream}");
    }
}

#[tokio::test]
async fn events_of_a_batch_with_a_wrong_partition_count_nevertheless() {
    let installation = Installation::partitions(Broker::shared().await, "60s", 4).await;
    let worker = installation.ready_worker().await;
    let backend = installation.backend();
    let (names, here) = neighbours(&backend, 4).await;
    leader(&backend, &names[0]).await;
    let batcher = batcher(&installation);
    let mut news = batcher.news();
    let wrong = PartitionNumber {
        partition: (here.partition + 1) % 4,
        ..here
    };
    for name in &names {
        batcher.learn(&tenant(), &account(name), wrong);
    }
    let streams = [(); 4].map(|()| StreamId::generate());
    let ended = StreamId::generate();
    let sent = names.iter().zip(streams);
    let sent = sent.map(|(name, stream)| heartbeat(&batcher, name, stream));
    let ending = async {
        let begun = heartbeat(&batcher, &names[0], ended);
        let ended = stop(&batcher, &names[0], ended);
        tokio::join!(begun, ended)
    };
    let (sent, ending) = tokio::join!(join_all(sent), ending);
    assert!(sent.iter().all(Result::is_ok), "{sent:?}");
    assert!(matches!(ending, (Ok(()), Ok(()))), "{ending:?}");
    for (name, stream) in names.iter().zip(streams) {
        eventually(PATIENCE, "it counts", async || {
            let playing = playing(&backend, name).await;
            (playing == [stream]).then_some(()).ok_or(playing)
        })
        .await;
    }
    // The batcher has forgotten the partitions, and learns them again.
    let again = StreamId::generate();
    heartbeat(&batcher, &names[1], again)
        .await
        .expect("a confirm");
    let (acme, known) = (tenant(), account(&names[1]));
    let status = batcher.status(&acme, &known, &strong()).await;
    status.expect("a reply");
    let third = StreamId::generate();
    heartbeat(&batcher, &names[1], third)
        .await
        .expect("a confirm");

    let log = entries(&installation, here.partition).await;
    for stream in streams {
        assert_eq!(keys(&log, stream), ["acme.batch", "acme.heartbeat"]);
    }
    let repeated = ["acme.batch", "acme.heartbeat", "acme.stop"];
    assert_eq!(keys(&log, ended), repeated);
    assert_eq!(keys(&log, again), ["acme.heartbeat"]);
    assert_eq!(keys(&log, third), ["acme.batch"]);
    let rejected = "wrong_partition";
    assert!(
        worker
            .metric("streamwatch_bad_entries_total", rejected)
            .await
            >= 1.0
    );
    assert_eq!(news.next().now_or_never(), None, "no bad news");
}

#[tokio::test]
async fn bad_news_of_a_stream_arrive_whether_its_event_is_sent_in_a_batch_or_alone() {
    let installation = Installation::partitions(Broker::shared().await, "60s", 2).await;
    let _worker = installation.ready_worker().await;
    let backend = installation.backend();
    for name in ["batched", "alone"] {
        leader(&backend, name).await;
    }
    let batcher = batcher(&installation);
    let mut news = batcher.news();
    let batched = account("batched");
    let learned = batcher.status(&tenant(), &batched, &strong()).await;
    learned.expect("a reply");
    for name in ["batched", "alone"] {
        let (acme, account) = (tenant(), account(name));
        let [kicked, plays] = [(); 2].map(|()| StreamId::generate());
        for stream in [kicked, plays] {
            heartbeat(&batcher, name, stream).await.expect("a confirm");
        }
        let stopped = backend.stop(&acme, &account, kicked).await;
        stopped.expect("a confirm");
        let of = |stream, news| StreamNews {
            tenant: acme.clone(),
            account: account.clone(),
            stream,
            news,
        };
        heartbeat(&batcher, name, kicked).await.expect("a confirm");
        let reason = BadNews::Stopped(StoppedReason::Stopped.into());
        assert_eq!(next(&mut news).await, of(kicked, reason));

        let every = Some(Duration::from_millis(7));
        let sent = batcher.heartbeat(&acme, &account, plays, every, None).await;
        sent.expect("a confirm");
        let interval = BadNews::Interval {
            every: Duration::from_secs(20),
            ttl: Duration::from_secs(60),
        };
        assert_eq!(next(&mut news).await, of(plays, interval));
    }
    // Too large for a message of its own.
    let pairs = (0..16).map(|n| (n.to_string(), "\u{1}".repeat(256)));
    let large = Metadata::new(&mut pairs.collect::<Vec<_>>()).expect("metadata");
    let (acme, alone, stream) = (tenant(), account("alone"), StreamId::generate());
    let sent = batcher.heartbeat(&acme, &alone, stream, None, Some(&large));
    sent.await.expect("a confirm");
    let rejected = next(&mut news).await;
    assert_eq!(rejected.stream, stream);
    assert!(
        matches!(rejected.news, BadNews::Rejected(_)),
        "{rejected:?}"
    );
    assert_eq!(news.lost(), 0);
}
