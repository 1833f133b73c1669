//! The checked arguments of `streamwatch play`.

use std::time::Duration;

use crate::client::{AccountId, Backend, OpenRequest, Opening, Tenant};

/// Default number of accounts.
const ACCOUNTS: usize = 100;

/// The arguments, checked.
pub(super) struct Plan {
    pub(super) tenant: Tenant,
    /// `None` if it was not given.
    pub(super) accounts: Option<usize>,
    pub(super) devices: usize,
    pub(super) duration: Duration,
    pub(super) session: Duration,
    pub(super) crash_rate: f64,
    pub(super) max_active: Option<u32>,
    pub(super) seed: u64,
}

impl Plan {
    pub(super) fn accounts(&self) -> usize {
        self.accounts.unwrap_or(ACCOUNTS)
    }

    /// Opens and stops one stream, to learn the TTL as a player does.
    pub(super) async fn ttl(&self, backend: &Backend) -> anyhow::Result<Duration> {
        let account = AccountId::new("viewer-probe")?;
        let request = OpenRequest::default();
        let (stream, opening) = backend.open(&self.tenant, &account, &request).await?;
        backend.stop(&self.tenant, &account, stream).await?;
        match opening {
            Opening::Opened { ttl, .. } => Ok(ttl),
            Opening::Refused { .. } => {
                anyhow::bail!(
                    "the installation refuses a single stream of the tenant: it may be full"
                )
            }
        }
    }
}
