//! A round of requests: the metrics of every worker, and the status of some accounts.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use tokio::time::timeout;

use super::{accounts::StatusRequest, state::Round, worker_metrics};
use crate::{
    cli::{http, output::duration},
    client::{
        AccountId, AccountStatus, AccountsRequest, Backend, StatusQuery, Tenant, TenantAccounts,
    },
};

/// Timeout of a worker's metrics.
const PATIENCE: Duration = Duration::from_secs(3);
/// Largest page of metrics, in bytes. 64 partitions with 50 tenants each need less than 1 MiB.
const MOST_BYTES: u64 = 4 * 1024 * 1024;

/// The sources of a round.
#[derive(Clone)]
pub(super) struct Sources {
    pub(super) pages: Arc<Vec<http::PageUrl>>,
    /// `None` without an address of RabbitMQ.
    pub(super) backend: Option<Backend>,
    pub(super) group_by: Arc<Vec<String>>,
}

impl Sources {
    /// Sends all requests concurrently. Takes as long as the slowest, which is bounded.
    pub(super) async fn round(
        self,
        requests: Vec<StatusRequest>,
        lists: Vec<AccountsRequest>,
    ) -> Round {
        let pages = join_all(self.pages.iter().map(metrics));
        let answers = join_all(requests.into_iter().map(async |request| {
            let answer = self.status(&request).await;
            (request, answer)
        }));
        let listed = join_all(lists.into_iter().map(async |request| {
            let answer = self.accounts(&request).await;
            (request, answer)
        }));
        let (pages, answers, listed) = tokio::join!(pages, answers, listed);
        Round {
            pages,
            answers,
            listed,
        }
    }

    async fn accounts(&self, request: &AccountsRequest) -> Result<TenantAccounts, String> {
        let Some(backend) = &self.backend else {
            return Err("AMQP_URL is not set".to_owned());
        };
        let asked = backend.accounts(request).await;
        asked.map_err(|error| error.to_string())
    }

    async fn status(&self, request: &StatusRequest) -> Result<AccountStatus, String> {
        let Some(backend) = &self.backend else {
            return Err("AMQP_URL is not set".to_owned());
        };
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let tenant = Tenant::new(request.key.tenant()).map_err(|e| text(&e))?;
        let account = AccountId::new(request.key.account()).map_err(|e| text(&e))?;
        let query = StatusQuery {
            group_by: self.group_by.to_vec(),
            ..StatusQuery::default()
        };
        let asked = backend.status(&tenant, &account, &query);
        asked.await.map_err(|e| text(&e))
    }
}

async fn metrics(page: &http::PageUrl) -> Result<worker_metrics::WorkerMetrics, String> {
    let url = page.url();
    let wrong = |what: &dyn std::fmt::Display| {
        format!("cannot read {url}: {what}; --metrics names the address that `worker --http` has")
    };
    match timeout(PATIENCE, page.get(MOST_BYTES)).await {
        Err(_) => Err(wrong(&format!("no answer in {}", duration(PATIENCE)))),
        Ok(Err(error)) => Err(wrong(&error)),
        Ok(Ok((200, body))) => worker_metrics::WorkerMetrics::read(&body)
            .ok_or_else(|| wrong(&"the page has no metrics of a worker")),
        Ok(Ok((status, _))) => Err(wrong(&format!("the status is {status}"))),
    }
}
