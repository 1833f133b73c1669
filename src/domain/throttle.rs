//! Throttling: whether a worker accepts a request of a tenant and an account now.
//!
//! A tenant and an account each have a token bucket for each kind of request. A request is accepted
//! if both have room. An account's flood does not use up the bucket of its tenant, since the account
//! is checked first.
//!
//! A rejected request gets a time for its retry that no other request gets. Successive times are one
//! interval of the limit apart, and reach as far ahead as a bucket takes to fill, usually a second.
//! Requests beyond that are dropped without a reply. So a flood gets no more replies than the limit
//! allows requests, and a client that waits is accepted.

mod bucket;
mod buckets;

use super::{ThrottledBy, ThrottledKind, Throttling};
use bucket::{Bucket, Nanos};
pub use bucket::{Rate, Share};
use buckets::Buckets;

/// Most tenants with a bucket of their own, for each kind. Further ones share a bucket until some
/// are full again: a client cannot evade its limit by inventing tenants.
const MAX_TENANTS: usize = 4_096;
/// Most accounts with a bucket, for each kind. Further ones have no limit until some are full again:
/// a bucket in common would throttle viewers because of others. The limit of their tenant holds.
const MAX_ACCOUNTS: usize = 131_072;

/// A request that is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Throttled {
    /// The limit.
    pub by: ThrottledBy,
    /// The time after which it is accepted, in milliseconds. `None` if it gets no reply.
    pub retry_after_ms: Option<u64>,
}

/// The buckets of a worker.
pub struct Throttle {
    /// By the numbers of [`ThrottledKind`].
    kinds: [OfKind; 2],
}

/// The buckets for one kind of request.
struct OfKind {
    tenant_rate: Option<Rate>,
    account_rate: Option<Rate>,
    tenants: Buckets,
    /// The bucket of the tenants beyond the maximum.
    other_tenants: Bucket,
    accounts: Buckets,
}

impl Default for Throttle {
    fn default() -> Self {
        let kind = || OfKind::new(MAX_TENANTS, MAX_ACCOUNTS);
        Self {
            kinds: [kind(), kind()],
        }
    }
}

impl Throttle {
    /// Sets the limits. The worker accepts its `share` of the limits of tenants, and the whole limit
    /// of each account. Requests that were accepted before count on.
    pub fn set(&mut self, limits: &Throttling, share: Share) {
        for (kind, of) in ThrottledKind::ALL.into_iter().zip(&mut self.kinds) {
            let rate = |by, share| Rate::per_second(limits.per_second(kind, by), share);
            of.tenant_rate = rate(ThrottledBy::Tenant, share);
            of.account_rate = rate(ThrottledBy::Account, Share::ALL);
            if of.tenant_rate.is_none() {
                of.tenants.clear();
            }
            if of.account_rate.is_none() {
                of.accounts.clear();
            }
        }
    }

    /// Decides on a request at `now`, in nanoseconds of a monotonic clock; `None` if it is accepted.
    /// Names need not be valid. If the account is not known yet, only the tenant's limit applies.
    pub fn check(
        &mut self,
        kind: ThrottledKind,
        tenant: &str,
        account: Option<&[u8]>,
        now: Nanos,
    ) -> Option<Throttled> {
        let of = &mut self.kinds[kind as usize];
        of.check(of.tenant_rate, tenant, account, now)
    }

    /// Decides on a request whose tenant was checked before its account was known.
    pub fn check_account(
        &mut self,
        kind: ThrottledKind,
        tenant: &str,
        account: &[u8],
        now: Nanos,
    ) -> Option<Throttled> {
        self.kinds[kind as usize].check(None, tenant, Some(account), now)
    }
}

impl OfKind {
    fn new(max_tenants: usize, max_accounts: usize) -> Self {
        Self {
            tenant_rate: None,
            account_rate: None,
            tenants: Buckets::new(max_tenants),
            other_tenants: Bucket::default(),
            accounts: Buckets::new(max_accounts),
        }
    }

    fn check(
        &mut self,
        tenant_rate: Option<Rate>,
        tenant: &str,
        account: Option<&[u8]>,
        now: Nanos,
    ) -> Option<Throttled> {
        let account = self
            .account_rate
            .zip(account)
            .map(|(rate, account)| (rate, self.accounts.owner((tenant, account))));
        let mut of_tenant = match tenant_rate {
            None => None,
            Some(rate) => {
                let bucket = self.tenants.of(self.tenants.owner(tenant), now);
                Some((rate, bucket.unwrap_or(&mut self.other_tenants)))
            }
        };
        if let Some((rate, owner)) = account
            && let Some(bucket) = self.accounts.get_mut(owner)
            && !bucket.accepts(rate, now)
        {
            let least = of_tenant.map_or(0, |(rate, bucket)| bucket.accepts_after(rate, now));
            return Some(throttled(ThrottledBy::Account, bucket, rate, least, now));
        }
        if let Some((rate, bucket)) = &mut of_tenant {
            if !bucket.accepts(*rate, now) {
                return Some(throttled(ThrottledBy::Tenant, bucket, *rate, 0, now));
            }
            bucket.take(*rate, now);
        }
        // Only now: a throttled tenant takes no room from the accounts of others.
        if let Some((rate, owner)) = account
            && let Some(bucket) = self.accounts.of(owner, now)
        {
            bucket.take(rate, now);
        }
        None
    }
}

/// Throttles a request by `bucket`, for `least` nanoseconds at least.
fn throttled(
    by: ThrottledBy,
    bucket: &mut Bucket,
    rate: Rate,
    least: Nanos,
    now: Nanos,
) -> Throttled {
    let wait = bucket.promise(rate, now);
    Throttled {
        by,
        retry_after_ms: wait.map(|wait| wait.max(least).div_ceil(1_000_000)),
    }
}

#[cfg(test)]
mod tests;
