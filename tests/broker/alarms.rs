//! A RabbitMQ alarm blocks publishing: requests are neither lost nor redelivered in a loop, and log
//! time stands still.

use std::time::Duration;

use futures_util::future::join_all;
use streamwatch::client::{OpenRequest, StreamId};

use crate::fixture::{
    Broker, Crowd, Habits, Installation, PATIENCE, Worker, account, eventually, heartbeat, heavy,
    playing, tenant,
};

/// Commands that raise and clear an alarm, like RabbitMQ's own monitors, which need `/proc`.
const MEMORY: [&[&str]; 2] = [
    &[
        "eval",
        "rabbit_alarm:set_alarm({{resource_limit, memory, node()}, []}).",
    ],
    &[
        "eval",
        "rabbit_alarm:clear_alarm({resource_limit, memory, node()}).",
    ],
];
const DISK: [&[&str]; 2] = [
    &[
        "eval",
        "rabbit_alarm:set_alarm({{resource_limit, disk, node()}, []}).",
    ],
    &[
        "eval",
        "rabbit_alarm:clear_alarm({resource_limit, disk, node()}).",
    ],
];
/// More requests than the prefetch of two workers.
const REQUESTS: usize = 2_000;

async fn raise(broker: &Broker, alarm: [&[&str]; 2], workers: &[Worker]) {
    broker.ctl(alarm[0]).await;
    for worker in workers {
        worker.reports("it has raised an alarm").await;
    }
}

async fn clear(broker: &Broker, alarm: [&[&str]; 2], workers: &mut [Worker]) {
    broker.ctl(alarm[1]).await;
    for worker in workers {
        worker.ready().await;
    }
}

async fn released(workers: &[Worker]) -> f64 {
    let mut sum = 0.0;
    for worker in workers {
        sum += worker
            .metric("streamwatch_requests_total", "outcome=\"released\"")
            .await;
    }
    sum
}

#[tokio::test]
#[ignore = "a busy machine lets requests wait for longer than they may: `tests/run --all`"]
async fn requests_that_reach_the_workers_during_an_alarm_are_answered_after_it() {
    let broker = Broker::start().await;
    let installation = Installation::declared(&broker, "10m").await;
    let mut workers = [
        installation.ready_worker().await,
        installation.ready_worker().await,
    ];
    let backend = installation.backend().with_patience(PATIENCE);
    assert_eq!(playing(&backend, "alice").await, []);

    // The workers are frozen until the alarm is raised and more requests wait than their prefetch.
    for worker in &mut workers {
        worker.pause().await;
    }
    let requests = (0..REQUESTS).map(async |n| {
        let name = format!("viewer-{n}");
        if n.is_multiple_of(10) {
            let request = OpenRequest::default();
            let opening = backend.open(&tenant(), &account(&name), &request).await;
            opening.expect("it is answered");
        } else {
            playing(&backend, &name).await;
        }
    });
    let alarm = async {
        let last = StreamId::generate();
        let confirmed = heartbeat(&backend, "last", last).await;
        confirmed.expect("the broker has this and the requests before it");
        broker.ctl(MEMORY[0]).await;
        for worker in &mut workers {
            worker.resume();
        }
        for worker in &workers {
            worker.reports("it has raised an alarm").await;
        }
        eventually(PATIENCE, "a request is requeued", async || {
            let released = released(&workers).await;
            (released > 0.0).then_some(()).ok_or(released)
        })
        .await;
        broker.ctl(MEMORY[1]).await;
    };
    tokio::join!(join_all(requests), alarm);

    for worker in &mut workers {
        worker.ready().await;
    }
    // Each worker may requeue a request once. Since consuming has stopped, they stay in the queue.
    let released = released(&workers).await;
    eprintln!("{released} requests were requeued");
    assert!(released <= 2.0 * REQUESTS as f64);
    for worker in &mut workers {
        assert!(worker.stop().await.success());
    }
}

#[tokio::test]
#[ignore = "an alarm for longer than the TTL: `tests/run --all`"]
async fn no_stream_expires_or_is_lost_during_a_long_alarm() {
    heavy().await;
    let broker = Broker::start().await;
    let ttl = Duration::from_secs(15);
    let installation = Installation::declared(&broker, "15s").await;
    let mut workers = [
        installation.ready_worker().await,
        installation.ready_worker().await,
    ];
    let habits = Habits {
        accounts: 20,
        devices: 3,
        session: Duration::from_secs(5),
        crash_every: u32::MAX,
        gone_after: ttl,
    };
    let crowd = Crowd::start(&installation, habits).await;
    for (name, alarm) in [("memory", MEMORY), ("disk", DISK)] {
        let silent = StreamId::generate();
        heartbeat(&crowd.backend, name, silent)
            .await
            .expect("confirmed");
        raise(&broker, alarm, &workers).await;
        let before = released(&workers).await;
        // The pause is the subject of this test.
        tokio::time::sleep(ttl + Duration::from_secs(2)).await;
        let during = released(&workers).await - before;
        clear(&broker, alarm, &mut workers).await;
        assert_eq!(playing(&crowd.backend, name).await, [silent]);
        crowd.compare().await;
        eprintln!("{during} requests were requeued during the alarm");
        assert!(during < 200.0, "requests are redelivered in a loop");
    }
    crowd.settle().await;
    crowd.compare().await;
    for worker in &mut workers {
        assert!(worker.stop().await.success());
    }
    crowd.leave().await;
}
