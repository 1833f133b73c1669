//! Lifecycle events are published to subscribers in order and at least once.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::future::join_all;
use lapin::types::AMQPValue;
use serde_json::json;
use streamwatch::client::{Backend, Metadata, OpenRequest, Opening, StreamId};
use uuid::Uuid;

use crate::fixture::{
    Broker, Follower, Installation, Message, PATIENCE, Worker, account, eventually, first_of_each,
    heartbeat, heavy, playing, tenant,
};

async fn open(backend: &Backend, name: &str, request: OpenRequest) -> StreamId {
    let opening = backend.open(&tenant(), &account(name), &request).await;
    opening.expect("a worker answers").0
}

async fn stop(backend: &Backend, name: &str, stream: StreamId) {
    let stopped = backend.stop(&tenant(), &account(name), stream).await;
    stopped.expect("the stop is confirmed");
}

/// Type, stream, reason and count of an event.
fn event(message: &Message) -> (String, String, String, u64) {
    let count = message.json()["count"].as_u64().expect("a count");
    (
        message.text("type"),
        message.text("stream"),
        message.text("reason"),
        count,
    )
}

async fn holder(workers: &[Worker]) -> usize {
    eventually(PATIENCE, "one worker leads", async || {
        for (n, worker) in workers.iter().enumerate() {
            if worker.metric("streamwatch_leader", "").await > 0.0 {
                return Ok(n);
            }
        }
        Err("no worker leads")
    })
    .await
}

#[tokio::test]
async fn lifecycle_events_of_a_stream_are_published_in_order_with_the_count_after_each_step() {
    let installation = Installation::declared(Broker::shared().await, "2s").await;
    let follower = Follower::start(&installation).await;
    let _worker = installation.ready_worker().await;
    let backend = installation.backend();

    let first = open(
        &backend,
        "alice",
        OpenRequest {
            metadata: Metadata::new(&mut [("device", "tv")]).expect("a pair"),
            ..OpenRequest::default()
        },
    )
    .await;
    let one = OpenRequest {
        max_active: Some(1),
        ..OpenRequest::default()
    };
    let refused = open(&backend, "alice", one.clone()).await;
    let replacing = OpenRequest {
        replace: vec![first],
        ..one
    };
    let second = open(&backend, "alice", replacing).await;
    let uncounted = StreamId::generate();
    heartbeat(&backend, "alice", uncounted)
        .await
        .expect("it is confirmed");
    let counted = OpenRequest {
        stream: Some(uncounted),
        ..OpenRequest::default()
    };
    assert_eq!(open(&backend, "alice", counted).await, uncounted);
    stop(&backend, "alice", second).await;

    let events = follower.events(8).await;
    let received: Vec<_> = events.iter().map(event).collect();
    let expected = [
        ("opened", first, "", 1),
        ("refused", refused, "max_active", 1),
        ("stopped", first, "replaced", 0),
        ("opened", second, "", 1),
        ("opened", uncounted, "", 2),
        ("admitted", uncounted, "", 2),
        ("stopped", second, "stopped", 1),
        ("expired", uncounted, "", 0),
    ]
    .map(|(kind, stream, reason, count)| {
        (
            kind.to_owned(),
            stream.to_string(),
            reason.to_owned(),
            count,
        )
    });
    assert_eq!(received, expected);

    for message in &events {
        let kind = message.text("type");
        assert_eq!(message.key, format!("acme.{kind}"));
        let properties = &message.properties;
        let text = |property: &Option<lapin::types::ShortString>| {
            property.as_ref().map(ToString::to_string)
        };
        assert_eq!(text(properties.kind()), Some(kind));
        assert_eq!(text(properties.app_id()).as_deref(), Some("streamwatch"));
        assert_eq!(
            text(properties.content_type()).as_deref(),
            Some("application/json")
        );
        assert_eq!(*properties.delivery_mode(), Some(2));
        assert_eq!(message.header("contract"), Some(AMQPValue::LongInt(1)));
        let named = AMQPValue::LongString("alice".into());
        assert_eq!(message.header("account"), Some(named));
        let id: Uuid = message.id().parse().expect("a UUID");
        assert_eq!(id.get_version_num(), 5);
    }
    let opened = events[0].json();
    assert_eq!(
        (&opened["tenant"], &opened["account"], &opened["admitted"]),
        (&json!("acme"), &json!("alice"), &json!(true))
    );
    assert_eq!(opened["metadata"], json!({ "device": "tv" }));
    assert_eq!(opened["at"], opened["started_at"]);
    assert_eq!(events[2].json()["successor"], second.to_string());
    assert_eq!(events[4].json()["admitted"], json!(false));
}

#[tokio::test]
async fn when_the_leader_is_killed_no_event_is_missing_and_repetitions_are_identical() {
    /// Kills until one hits a leader between publishing events and recording that in the log.
    const KILLS: usize = 8;
    heavy().await;
    let installation = Installation::declared(Broker::shared().await, "10s").await;
    let follower = Follower::start(&installation).await;
    let mut workers = [
        installation.ready_worker().await,
        installation.ready_worker().await,
    ];
    for kill in 0..KILLS {
        let dies = holder(&workers).await;
        let viewers = Viewers::of(kill);
        let backend = installation.backend().with_patience(PATIENCE);
        let half_of_all = (2 * kill + 1) * viewers.events() / 2;
        let killing = async {
            follower.events(half_of_all).await;
            workers[dies].kill().await;
        };
        let (streams, ()) = tokio::join!(viewers.come_and_go(&backend), killing);
        let heard = viewers.heard(&follower, streams).await;
        let repeated = repeated_identically(&heard);
        eprintln!("{} events, {repeated} of them repeated", heard.len());
        if repeated > 0 {
            return;
        }
        workers[dies] = installation.ready_worker().await;
    }
    panic!("no event was repeated after {KILLS} kills");
}

/// Accounts whose viewers open and stop one stream after another.
struct Viewers(Vec<String>);

impl Viewers {
    const ACCOUNTS: usize = 20;
    const SESSIONS: usize = 60;

    fn of(number: usize) -> Self {
        let names = (0..Self::ACCOUNTS).map(|n| format!("viewer-{number}-{n}"));
        Self(names.collect())
    }

    const fn events(&self) -> usize {
        2 * Self::ACCOUNTS * Self::SESSIONS
    }

    /// Returns the streams of each account in order.
    async fn come_and_go(&self, backend: &Backend) -> Vec<Vec<StreamId>> {
        let all = self.0.iter();
        join_all(all.map(|name| come_and_go(backend, name, Self::SESSIONS))).await
    }

    /// Waits until the events of all streams have been received. Checks their order, and returns all
    /// messages of these accounts.
    async fn heard(&self, follower: &Follower, streams: Vec<Vec<StreamId>>) -> Vec<Message> {
        // The killed worker may have answered a request without acknowledging it. Another worker
        // then decides it again, and refuses it if its stream has been stopped.
        let of_all = || {
            let mut heard = follower.messages();
            heard.retain(|m| self.0.contains(&m.text("account")));
            heard
        };
        let events = eventually(PATIENCE, "all events arrive", async || {
            let mut events = first_of_each(of_all());
            events.retain(|m| !m.key.ends_with(".refused"));
            let count = events.len();
            (count >= self.events()).then_some(events).ok_or(count)
        })
        .await;
        for (name, streams) in self.0.iter().zip(streams) {
            let of_account = events.iter().filter(|m| m.text("account") == *name);
            let received: Vec<_> = of_account.map(event).collect();
            let lived = streams.iter().flat_map(|stream| {
                let id = stream.to_string();
                [
                    ("opened".to_owned(), id.clone(), String::new(), 1),
                    ("stopped".to_owned(), id, "stopped".to_owned(), 0),
                ]
            });
            assert_eq!(received, lived.collect::<Vec<_>>(), "{name}");
        }
        of_all()
    }
}

/// Opens and stops one stream after another. Returns them in order.
async fn come_and_go(backend: &Backend, name: &str, sessions: usize) -> Vec<StreamId> {
    let mut streams = Vec::new();
    for _ in 0..sessions {
        let stream = open(backend, name, OpenRequest::default()).await;
        stop(backend, name, stream).await;
        streams.push(stream);
    }
    streams
}

/// Checks that messages with the same identifier are identical. Returns the number of repetitions.
fn repeated_identically(heard: &[Message]) -> usize {
    let mut first = HashMap::new();
    for message in heard {
        let known = first.entry(message.id()).or_insert(message);
        assert_eq!(
            (&known.body, &known.key, &known.properties),
            (&message.body, &message.key, &message.properties)
        );
    }
    heard.len() - first.len()
}

#[tokio::test]
async fn the_successor_notifies_ended_devices() {
    let installation = Installation::declared(Broker::shared().await, "10s").await;
    let mut workers = [
        installation.ready_worker().await,
        installation.ready_worker().await,
    ];
    let backend = installation.backend().with_patience(PATIENCE);
    let stream = open(&backend, "alice", OpenRequest::default()).await;
    stop(&backend, "alice", stream).await;
    let received = async || {
        eventually(PATIENCE, "the device is notified", async || {
            let wait = Duration::from_millis(500);
            let (tenant, alice) = (tenant(), account("alice"));
            let sent = backend.heartbeat(&tenant, &alice, stream, None, wait).await;
            sent.expect("it is confirmed").ok_or("no reply")
        })
        .await
    };
    received().await;
    let dies = holder(&workers).await;
    workers[dies].kill().await;
    received().await;
}

#[tokio::test]
async fn without_their_exchange_lifecycle_events_are_buffered_and_requests_are_answered() {
    let installation = Installation::declared(Broker::shared().await, "20s").await;
    let follower = Follower::start(&installation).await;
    let mut worker = installation.ready_worker().await;
    let backend = installation.backend();
    let before = open(&backend, "alice", OpenRequest::default()).await;
    follower.events(1).await;

    follower.delete_exchange().await;
    let meanwhile = open(&backend, "alice", OpenRequest::default()).await;
    stop(&backend, "alice", before).await;
    eventually(PATIENCE, "the worker logs the remedy", async || {
        let log = worker.stderr();
        let says = log.contains("streamwatch topology declare");
        says.then_some(()).ok_or(log)
    })
    .await;
    let refusing = OpenRequest {
        max_active: Some(1),
        ..OpenRequest::default()
    };
    let asked = backend.open(&tenant(), &account("alice"), &refusing).await;
    let (refused, opening) = asked.expect("a worker answers");
    assert!(matches!(opening, Opening::Refused { .. }), "{opening:?}");
    assert_eq!(playing(&backend, "alice").await, [meanwhile]);
    eventually(PATIENCE, "three events wait", async || {
        let waiting = worker.metric("streamwatch_unannounced", "").await;
        (waiting > 2.5).then_some(()).ok_or(waiting)
    })
    .await;

    // It must not announce before its follower is back.
    worker.pause().await;
    installation.cli(&["topology", "declare"]).await.exits(0);
    follower.bind().await;
    worker.resume();
    let events = follower.events(4).await;
    let received: Vec<_> = events
        .iter()
        .map(|m| (m.text("type"), m.text("stream")))
        .collect();
    let expected = [
        ("opened", before),
        ("opened", meanwhile),
        ("stopped", before),
        ("refused", refused),
    ];
    assert_eq!(
        received,
        expected.map(|(kind, id)| (kind.to_owned(), id.to_string()))
    );
    eventually(PATIENCE, "nothing waits", async || {
        let waiting = worker.metric("streamwatch_unannounced", "").await;
        (waiting < 0.5).then_some(()).ok_or(waiting)
    })
    .await;
    assert_eq!(first_of_each(follower.messages()).len(), 4);
}
