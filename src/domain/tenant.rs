//! Requests about all accounts of a tenant, and one partition's answers.

use serde::{Deserialize, Serialize};

use super::{AccountId, Tenant, WallTime};

/// Maximum number of accounts in an answer.
pub const MAX_ACCOUNTS: u16 = 1_000;

/// A request about a tenant. Each partition answers it for its own accounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TenantRequest {
    /// The tenant's accounts.
    Accounts(AccountsRequest),
    /// The tenant's totals.
    Totals(TotalsRequest),
}

/// A request for a tenant's accounts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AccountsRequest {
    /// The tenant.
    #[serde(skip)]
    pub tenant: Tenant,
    /// Minimum number of an account's active streams: at least 1.
    pub min_active: u32,
    /// Only accounts after this one, in the order of their bytes: the last of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<AccountId>,
    /// Maximum number of accounts in the answer: 1 to [`MAX_ACCOUNTS`].
    pub limit: u16,
}

impl AccountsRequest {
    /// A request for the first page of all accounts.
    #[must_use]
    pub const fn all(tenant: Tenant) -> Self {
        Self {
            tenant,
            min_active: 1,
            after: None,
            limit: MAX_ACCOUNTS,
        }
    }
}

/// A request for a tenant's totals.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TotalsRequest {
    /// The tenant.
    #[serde(skip)]
    pub tenant: Tenant,
    /// The metadata keys whose counts the answer includes; empty for all that the installation
    /// counts. Others are ignored.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub group_by: Vec<String>,
}

/// One partition's answer to a [`TenantRequest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TenantAnswer {
    /// The tenant's accounts.
    Accounts(AccountsPage),
    /// The tenant's totals.
    Totals(TenantTotals),
}

/// A page of a tenant's accounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountsPage {
    /// The tenant.
    pub tenant: Tenant,
    /// The moment of the answer. An account that changed while the page was collected is shown as
    /// before or after the change.
    pub as_of: WallTime,
    /// The accounts, in the order of their bytes.
    pub accounts: Vec<AccountCount>,
    /// Whether further accounts follow the last one.
    pub has_more: bool,
}

/// An account and its number of active streams.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountCount {
    /// The account.
    pub account: AccountId,
    /// Number of its active streams.
    pub count: u32,
}

/// A tenant's totals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantTotals {
    /// The tenant.
    pub tenant: Tenant,
    /// The moment of the answer.
    pub as_of: WallTime,
    /// Accounts with an active stream.
    pub accounts: u64,
    /// Active streams.
    pub streams: u64,
    /// Active streams by the values of each metadata key that is counted.
    pub by: Vec<(String, ValueCounts)>,
}

/// Active streams by the values of one metadata key. Streams without the key are not counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ValueCounts {
    /// The values with a count of their own, those with the most streams first.
    pub values: Vec<(String, u64)>,
    /// The streams of all other values.
    pub others: u64,
}

impl ValueCounts {
    /// Moves all but the first `most` values to the others.
    pub fn keep(&mut self, most: usize) {
        let rest = self.values.split_off(most.min(self.values.len()));
        self.others += rest.iter().map(|(_, count)| count).sum::<u64>();
    }
}
