//! Requests for the accounts of the largest tenants, so that accounts without a lifecycle event
//! since the start of top are known too.

use std::collections::BTreeMap;

use crate::{
    client::{AccountsRequest, TenantAccounts},
    domain::{MAX_ACCOUNTS, Tenant},
};

/// Rounds between two requests for a tenant.
const EVERY: u64 = 5;
/// Most tenants in a round.
const MOST_TENANTS: usize = 5;
/// Number of accounts below which accounts with fewer streams are requested too.
const FEW: usize = MAX_ACCOUNTS as usize / 4;

#[derive(Debug, Default)]
pub(super) struct Listing {
    /// The `min_active` of the next request for each tenant. It rises until the accounts fit into
    /// one page.
    least: BTreeMap<Tenant, u32>,
    /// The error of the last request.
    pub(super) error: Option<String>,
    /// Whether a page has arrived.
    pub(super) has_listed: bool,
}

impl Listing {
    /// The requests of a round for these tenants, the largest first. The first round has none, as
    /// the tenants are not known yet.
    pub(super) fn requests<'t>(
        &self,
        round: u64,
        tenants: impl Iterator<Item = &'t str>,
    ) -> Vec<AccountsRequest> {
        if round % EVERY != 1 {
            return Vec::new();
        }
        // Names in metrics may be shortened, or stand for other tenants.
        let tenants = tenants.filter_map(|name| Tenant::new(name).ok());
        let requests = tenants.take(MOST_TENANTS).map(|tenant| AccountsRequest {
            min_active: self.least.get(&tenant).copied().unwrap_or(1),
            ..AccountsRequest::all(tenant)
        });
        requests.collect()
    }

    /// Records the answer to a request. Returns the page.
    pub(super) fn answered(
        &mut self,
        request: &AccountsRequest,
        answer: Result<TenantAccounts, String>,
    ) -> Option<TenantAccounts> {
        let tenant = &request.tenant;
        let page = match answer {
            Ok(page) => page,
            Err(error) => {
                self.error = Some(format!("cannot list the accounts of {tenant}: {error}"));
                return None;
            }
        };
        let least = request.min_active;
        let next = if page.next.is_some() {
            least + 1
        } else if page.accounts.len() < FEW {
            least.saturating_sub(1)
        } else {
            least
        };
        let next = next.clamp(1, MAX_ACCOUNTS.into());
        self.least.insert(tenant.clone(), next);
        self.error = None;
        self.has_listed = true;
        Some(page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        client::AccountId,
        domain::{AccountCount, WallTime},
    };

    fn page(accounts: usize, has_more: bool) -> TenantAccounts {
        let account = |n: usize| AccountId::new(&n.to_string()).unwrap();
        let accounts = (0..accounts).map(|n| AccountCount {
            account: account(n),
            count: 1,
        });
        TenantAccounts {
            as_of: WallTime(0),
            accounts: accounts.collect(),
            next: has_more.then(|| account(7)),
            missing: Vec::new(),
        }
    }

    #[test]
    fn the_largest_tenants_are_listed_every_few_rounds() {
        let listing = Listing::default();
        let names = ["a", "b", "(other)", "c", "d", "e", "f"];
        let requests = |round| listing.requests(round, names.into_iter());
        assert_eq!((requests(0), requests(2)), (vec![], vec![]));
        let listed: Vec<_> = requests(1).iter().map(|it| it.tenant.to_string()).collect();
        assert_eq!(listed, ["a", "b", "c", "d", "e"]);
        assert_eq!(requests(6).len(), 5);
    }

    #[test]
    fn accounts_with_few_streams_are_left_out_until_all_fit() {
        let mut listing = Listing::default();
        let mut least = Vec::new();
        for (accounts, has_more) in [(1_000, true), (1_000, true), (600, false), (9, false)] {
            let request = listing.requests(1, ["a"].into_iter()).remove(0);
            least.push(request.min_active);
            let page = page(accounts, has_more);
            assert!(listing.answered(&request, Ok(page)).is_some());
        }
        assert_eq!(least, [1, 2, 3, 3]);
        let request = listing.requests(1, ["a"].into_iter()).remove(0);
        assert_eq!(request.min_active, 2);
        assert!(listing.answered(&request, Err("late".to_owned())).is_none());
        assert!(
            listing
                .error
                .is_some_and(|it| it.contains("accounts of a: late"))
        );
    }
}
