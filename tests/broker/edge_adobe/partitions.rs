//! An installation of several partitions, whose workers share them.

use futures_util::future::join_all;

use super::{Adobe, code, session, stream};
use crate::fixture::{Broker, Installation, PATIENCE, eventually, playing};

const POLICIES: &str = r#"
    [[applications]]
    id = "two"
    policies = ["two"]

    [[applications]]
    id = "mixed"
    policies = ["latest", "two"]

    [[policies]]
    name = "two"
    counts = "account"
    rules = [{max = 2}]

    [[policies]]
    name = "latest"
    strategy = "fifo"
    counts = "account"
    rules = [{max = 1, per = ["deviceId"]}]
"#;

#[tokio::test]
async fn sessions_of_accounts_in_all_partitions_are_decided_kept_and_ended() {
    let installation = Installation::partitions(Broker::shared().await, "60s", 3).await;
    let mut workers = [installation.worker_of("0,2"), installation.worker_of("1")];
    for worker in &mut workers {
        worker.ready().await;
    }
    let adobe = Adobe::start(&installation, &["two", "mixed"], POLICIES).await;
    let (two, mixed) = (adobe.application("two"), adobe.application("mixed"));
    let backend = installation.backend();
    let subjects: Vec<_> = (0..12).map(|n| format!("viewer-{n}")).collect();
    let stories = subjects.iter().map(async |subject| {
        let account = format!("adobe/{subject}");
        // Of simultaneous requests, exactly as many are opened as fit.
        let opened = join_all((0..4).map(|_| two.open(subject, ""))).await;
        let (fit, refused): (Vec<_>, Vec<_>) = opened.iter().partition(|it| it.status == 202);
        assert_eq!((fit.len(), refused.len()), (2, 2), "{opened:?}");
        let mut open: Vec<_> = fit.iter().map(|it| session(it)).collect();
        for id in &open {
            two.heartbeat(subject, id).await.is(202);
        }
        let mut streams: Vec<_> = open.iter().map(|id| stream(id)).collect();
        streams.sort_unstable();
        let mut now = playing(&backend, &account).await;
        now.sort_unstable();
        assert_eq!(now, streams, "{subject}");
        let running = two.running(subject).await.is(200).text;
        assert!(open.iter().all(|id| running.contains(id)), "{running}");

        // A chosen session ends for a new one.
        let ended = open.remove(0);
        let codes = code(&ended);
        let instead = session(&two.open_instead(subject, &codes, "").await);
        let gone = eventually(PATIENCE, "the session learns its end", async || {
            let beaten = two.heartbeat(subject, &ended).await;
            (beaten.status != 202).then_some(beaten).ok_or(())
        });
        gone.await.is(410);
        two.delete(subject, &open[0]).await.is(202);
        assert_eq!(playing(&backend, &account).await, [stream(&instead)]);

        // Under rules of both kinds, a second request names the session that gives way.
        let tv = session(&mixed.open(subject, "deviceId=tv").await);
        two.delete(subject, &instead).await.is(202);
        let again = session(&mixed.open(subject, "deviceId=tv").await);
        assert_eq!(playing(&backend, &account).await, [stream(&again)]);
        let replaced = eventually(PATIENCE, "the session learns its end", async || {
            let beaten = mixed.heartbeat(subject, &tv).await;
            (beaten.status != 202).then_some(beaten).ok_or(())
        });
        replaced.await.is(409);
    });
    join_all(stories).await;
    for worker in &workers {
        let active = worker.metric("streamwatch_active_streams", "").await;
        assert!(active > 0.0, "each worker has accounts");
    }
}
