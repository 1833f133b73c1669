//! A real broker, real workers and the real command line, for tests.

#![allow(
    dead_code,
    unused_imports,
    reason = "a toolbox: not every test needs every tool"
)]

mod anonymous;
mod asker;
mod broker;
mod caller;
mod certificates;
mod clock;
mod cluster;
mod crowd;
mod edge;
mod follower;
mod installation;
mod kept_connection;
mod load;
mod process;
mod proxy;
mod questioner;
mod races;
mod truth;
mod worker;

use std::cell::Cell;
use std::fmt::Debug;
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

pub use anonymous::Anonymous;
pub use asker::{Answers, Asker};
pub use broker::Broker;
pub use caller::Caller;
pub use certificates::{Authority, Folder, Pair, Valid};
pub use clock::{Clock, seconds};
pub use cluster::Cluster;
pub use crowd::{Crowd, Habits};
pub use edge::{Edge, Response, call, read, request};
pub use follower::{Follower, Message, first_of_each};
pub use installation::{
    Installation, account, heartbeat, patient, playing, playing_if_answered, streams, strong,
    tenant,
};
pub use kept_connection::KeptConnection;
pub use load::Load;
pub use process::{Finished, Process, cli, cli_with, exit};
pub use proxy::{NOT_UTF8, Passage, Proxy};
pub use questioner::Questioner;
pub use races::Races;
pub use truth::Truth;
pub use worker::{Probe, Worker, free_port};

/// Longest wait for a program to start, stop or catch up. It is far longer than a loaded machine
/// needs, so that only a real failure reaches it.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A configuration file for RabbitMQ in `deploy`.
pub fn deployed(file: &str) -> String {
    format!("{}/deploy/rabbitmq/{file}", env!("CARGO_MANIFEST_DIR"))
}

/// Awaits a condition: calls `attempt` until it returns `Ok`, and panics with the last error after
/// `timeout`. No other code in the tests polls.
pub async fn eventually<T, E: Debug>(
    timeout: Duration,
    what: &str,
    mut attempt: impl AsyncFnMut() -> Result<T, E>,
) -> T {
    let end = tokio::time::Instant::now() + timeout;
    loop {
        match attempt().await {
            Ok(value) => return value,
            Err(error) if tokio::time::Instant::now() >= end => {
                panic!("not within {timeout:?}: {what}; last seen: {error:?}");
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// A namespace of its own for a test that shares the broker with others.
pub fn namespace() -> String {
    format!("t{}-", random())
}

/// Tests with a high load, so that two run at a time.
static HEAVY: Semaphore = Semaphore::const_new(2);
/// All other tests with a broker. They mostly wait.
static LIGHT: Semaphore = Semaphore::const_new(6);

thread_local! {
    /// The permit of this thread's test until the thread ends with it.
    static PERMIT: Cell<Option<SemaphorePermit<'static>>> = const { Cell::new(None) };
}

/// Waits until at most one other test with a high load runs.
pub async fn heavy() {
    // Others use its permit while it waits.
    PERMIT.take();
    let permit = HEAVY.acquire().await.expect("it is never closed");
    PERMIT.set(Some(permit));
}

/// Waits until few other tests run, unless this test already has a permit.
async fn light() {
    let permit = match PERMIT.take() {
        Some(permit) => permit,
        None => LIGHT.acquire().await.expect("it is never closed"),
    };
    PERMIT.set(Some(permit));
}

fn random() -> String {
    let id = uuid::Uuid::new_v4().simple().to_string();
    id[..10].to_owned()
}
