//! A round of requests: the metrics of every worker, and the status of some accounts.

use std::{sync::Arc, time::Duration};

use tokio::{task::JoinSet, time::timeout};

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
        let mut pages = JoinSet::new();
        for (n, page) in self.pages.iter().cloned().enumerate() {
            pages.spawn(async move { (n, metrics(&page).await) });
        }
        let mut answers = JoinSet::new();
        for request in requests {
            let sources = self.clone();
            answers.spawn(async move {
                let answer = sources.status(&request).await;
                (request, answer)
            });
        }
        let mut listed = JoinSet::new();
        for request in lists {
            let sources = self.clone();
            listed.spawn(async move {
                let answer = sources.accounts(&request).await;
                (request, answer)
            });
        }
        let mut pages = pages.join_all().await;
        pages.sort_by_key(|(n, _)| *n);
        Round {
            pages: pages.into_iter().map(|(_, page)| page).collect(),
            answers: answers.join_all().await,
            listed: listed.join_all().await,
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
