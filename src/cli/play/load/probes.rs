//! Requests beside the load, which measure reply times and the lag of the workers.

use std::{sync::Arc, time::Duration};

use fastrand::Rng;
use futures_util::future::try_join_all;
use tokio::{sync::oneshot, task::JoinSet, time::Instant};

use super::{LAG_PATIENCE, PATIENCE, meter::Meter, pace::every, population::Population};
use crate::client::{
    AccountId, Backend, Client, ClientError, Consistency, OpenRequest, StatusQuery, StreamId,
};

/// 20 per second: enough for percentiles, too few to add load.
const INIT_EVERY: Duration = Duration::from_millis(50);
/// 50 per second.
const STATUS_EVERY: Duration = Duration::from_millis(20);
/// Interval of requests to the accounts of [`Population::some`]: six per second and partition, or two
/// with one partition. Short enough to notice a stall of any partition.
const LAG_EVERY: Duration = Duration::from_millis(500);
/// Accounts and connection of the probes.
#[derive(Clone)]
pub(super) struct Prober {
    backend: Backend,
    pub(super) population: Arc<Population>,
}

impl Prober {
    pub(super) fn new(client: Client, population: Arc<Population>) -> Self {
        Self {
            backend: Backend::new(client).with_patience(PATIENCE),
            population,
        }
    }

    /// Sends requests until `stop` is dropped; returns when each has a reply or has timed out.
    /// Requests start on schedule, not after the previous reply, so that a stall of the workers is
    /// measured in full.
    pub(super) async fn run(self, meter: Arc<Meter>, mut stop: oneshot::Receiver<()>) {
        let mut random = Rng::with_seed(!self.population.seed);
        let mut under_way = JoinSet::new();
        let (mut inits, mut statuses) = (every(INIT_EVERY), every(STATUS_EVERY));
        let mut lags = every(LAG_EVERY);
        let mut number = 0;
        loop {
            let (prober, meter) = (self.clone(), Arc::clone(&meter));
            tokio::select! {
                _ = &mut stop => break,
                _ = inits.tick() => {
                    let (account, stream) = self.population.random_stream(&mut random);
                    under_way.spawn(async move {
                        let took = prober.init(&account, stream).await;
                        meter.answered(|results| &mut results.init, took);
                    });
                }
                _ = statuses.tick() => {
                    let (account, _) = self.population.random_stream(&mut random);
                    under_way.spawn(async move {
                        let took = prober.status(&account).await;
                        meter.answered(|results| &mut results.status, took);
                    });
                }
                _ = lags.tick() => {
                    number += 1;
                    let accounts = self.population.some(&mut random);
                    under_way.spawn(async move {
                        let confirmed = meter.lag_begins(number);
                        let lag = prober.strong(&accounts, LAG_PATIENCE).await;
                        meter.lag_ends(number, confirmed, lag);
                    });
                }
                Some(_) = under_way.join_next() => {}
            }
        }
        while under_way.join_next().await.is_some() {}
    }

    /// Opens a stream of the load, so that no stream is added.
    async fn init(&self, account: &AccountId, stream: StreamId) -> Result<Duration, ClientError> {
        let request = OpenRequest {
            stream: Some(stream),
            ..OpenRequest::default()
        };
        let from = Instant::now();
        let opening = self
            .backend
            .open(&self.population.tenant, account, &request);
        opening.await.map(|_| from.elapsed())
    }

    async fn status(&self, account: &AccountId) -> Result<Duration, ClientError> {
        let (from, query) = (Instant::now(), StatusQuery::default());
        let status = self
            .backend
            .status(&self.population.tenant, account, &query);
        status.await.map(|_| from.elapsed())
    }

    /// Sends a strong `status` to every partition, which then has applied all events confirmed
    /// before.
    pub(super) async fn everywhere(
        &self,
        random: &mut Rng,
        patience: Duration,
    ) -> Result<Duration, ClientError> {
        let accounts = self.population.everywhere(random);
        self.strong(&accounts, patience).await
    }

    /// Sends strong `status` requests and returns the time of the slowest reply.
    async fn strong(
        &self,
        accounts: &[AccountId],
        patience: Duration,
    ) -> Result<Duration, ClientError> {
        let query = StatusQuery {
            consistency: Consistency::Strong,
            ..StatusQuery::default()
        };
        let backend = self.backend.clone().with_patience(patience);
        let from = Instant::now();
        let asked = accounts
            .iter()
            .map(|account| backend.status(&self.population.tenant, account, &query));
        try_join_all(asked).await.map(|_| from.elapsed())
    }
}
