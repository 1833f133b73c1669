//! Connections opened in advance, since each undeliverable entry closes one.

use std::sync::Arc;

use tokio::{sync::Mutex, task::JoinSet};

use super::consumer::Prepared;
use crate::broker::{BrokerError, connect::Endpoint};

/// Standby connections that are open or opening.
const AHEAD: usize = 4;

/// Standby connections with prefetch 1. They close when the last clone is dropped.
#[derive(Clone)]
pub(super) struct Standby {
    endpoint: Endpoint,
    opening: Arc<Mutex<JoinSet<Result<Prepared, BrokerError>>>>,
}

impl Standby {
    pub(super) fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            opening: Arc::default(),
        }
    }

    /// Takes the first connection that is open, and starts to open others.
    pub(super) async fn take(&self) -> Result<Prepared, BrokerError> {
        let mut opening = self.opening.lock().await;
        while opening.len() < AHEAD {
            opening.spawn(Prepared::open(self.endpoint.clone(), 1));
        }
        let opened = opening.join_next().await.and_then(Result::ok);
        opening.spawn(Prepared::open(self.endpoint.clone(), 1));
        opened.unwrap_or_else(|| Err(BrokerError::Lost("a connection was not opened".into())))
    }
}
