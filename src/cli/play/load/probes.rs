//! Questions beside the load: how long answers take, and how far the workers are behind.

use std::{sync::Arc, time::Duration};

use fastrand::Rng;
use futures_util::future::try_join_all;
use tokio::{
    sync::oneshot,
    task::JoinSet,
    time::{Instant, Interval, MissedTickBehavior, interval},
};

use super::{
    crowd::Crowd,
    meter::{Meter, Probe},
};
use crate::client::{
    AccountId, Backend, Client, ClientError, Consistency, OpenRequest, StatusQuery, StreamId,
};

/// 20 a second: enough for a percentile, too few to be a load.
const INIT_EVERY: Duration = Duration::from_millis(50);
/// 50 a second.
const STATUS_EVERY: Duration = Duration::from_millis(20);
/// A question to each of the accounts of [`Crowd::some`]: six a second for each partition, two where
/// there is one. A stall must not fall between two of them, however many partitions there are.
const LAG_EVERY: Duration = Duration::from_millis(500);
/// An answer that takes longer counts as none.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// So long a request waits for a worker that is behind; see [`crate::broker::topology::REQUEST_TTL`].
pub(super) const LAG_PATIENCE: Duration = Duration::from_secs(10);

/// Whom to ask about, and over which connection.
#[derive(Clone)]
pub(super) struct Prober {
    backend: Backend,
    lag: Backend,
    crowd: Arc<Crowd>,
}

impl Prober {
    pub(super) fn new(client: Client, crowd: Arc<Crowd>) -> Self {
        Self {
            backend: Backend::new(client.clone()).with_patience(PATIENCE),
            lag: Backend::new(client).with_patience(LAG_PATIENCE),
            crowd,
        }
    }

    /// What this one's answers are counted with.
    pub(super) fn meter(&self) -> Meter {
        Meter::new(self.crowd.together())
    }

    /// Asks until `stop` is dropped; returns when every question has an answer, or had its time. A
    /// question begins when its time has come, not when the one before is answered: a stall of the
    /// workers is seen in full.
    pub(super) async fn run(self, meter: Arc<Meter>, mut stop: oneshot::Receiver<()>) {
        let mut random = Rng::with_seed(!self.crowd.seed);
        let mut under_way = JoinSet::new();
        let (mut inits, mut statuses) = (every(INIT_EVERY), every(STATUS_EVERY));
        let mut lags = every(LAG_EVERY);
        let mut number = 0;
        loop {
            let (prober, meter) = (self.clone(), Arc::clone(&meter));
            tokio::select! {
                _ = &mut stop => break,
                _ = inits.tick() => {
                    let (account, stream) = self.crowd.anyone(&mut random);
                    under_way.spawn(async move {
                        let took = prober.init(&account, stream).await;
                        meter.answered(Probe::Init, took);
                    });
                }
                _ = statuses.tick() => {
                    let (account, _) = self.crowd.anyone(&mut random);
                    under_way.spawn(async move {
                        let took = prober.status(&account).await;
                        meter.answered(Probe::Status, took);
                    });
                }
                _ = lags.tick() => {
                    number += 1;
                    let accounts = self.crowd.some(&mut random);
                    under_way.spawn(async move {
                        let confirmed = meter.lag_begins(number);
                        let lag = strong(&prober.lag, &prober.crowd, &accounts).await;
                        meter.lag_ends(number, confirmed, lag);
                    });
                }
                Some(_) = under_way.join_next() => {}
            }
        }
        while under_way.join_next().await.is_some() {}
    }

    /// A stream of the load says that it opens: it counts already, or does from now on, and no
    /// stream is added.
    async fn init(&self, account: &AccountId, stream: StreamId) -> Result<Duration, ClientError> {
        let request = OpenRequest {
            stream: Some(stream),
            ..OpenRequest::default()
        };
        let from = Instant::now();
        let opening = self.backend.open(&self.crowd.tenant, account, &request);
        opening.await.map(|_| from.elapsed())
    }

    async fn status(&self, account: &AccountId) -> Result<Duration, ClientError> {
        let (from, query) = (Instant::now(), StatusQuery::default());
        let status = self.backend.status(&self.crowd.tenant, account, &query);
        status.await.map(|_| from.elapsed())
    }

    /// Asks every partition once: then it has applied all that was confirmed before.
    pub(super) async fn everywhere(
        &self,
        random: &mut Rng,
        patience: Duration,
    ) -> Result<Duration, ClientError> {
        let backend = self.lag.clone().with_patience(patience);
        strong(&backend, &self.crowd, &self.crowd.everywhere(random)).await
    }
}

/// How long the slowest answer takes that includes all that was confirmed before.
async fn strong(
    backend: &Backend,
    crowd: &Crowd,
    accounts: &[AccountId],
) -> Result<Duration, ClientError> {
    let query = StatusQuery {
        consistency: Consistency::Strong,
        ..StatusQuery::default()
    };
    let from = Instant::now();
    let asked = accounts
        .iter()
        .map(|account| backend.status(&crowd.tenant, account, &query));
    try_join_all(asked).await.map(|_| from.elapsed())
}

fn every(period: Duration) -> Interval {
    let mut timer = interval(period);
    timer.set_missed_tick_behavior(MissedTickBehavior::Skip);
    timer
}
