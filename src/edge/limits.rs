//! Limits of requests per second, for each account and each client address.

use std::{
    hash::{BuildHasher, Hash, RandomState},
    net::IpAddr,
    num::NonZeroU32,
    time::Duration,
};

use governor::{
    DefaultKeyedRateLimiter, Quota, RateLimiter,
    clock::{Clock, DefaultClock},
};

use crate::client::{AccountId, Tenant};

/// Most accounts or addresses with a count of their own: about 10 MB.
const MOST_KEYS: usize = 100_000;
/// The counts that all others share, by their hash.
const SHARED: u64 = 4_096;
/// The part of an IPv6 address that a client cannot choose.
const IPV6_PREFIX: u128 = u128::MAX << 64;

/// The limits of requests per second of an edge. Each allows bursts of twice its rate.
pub struct RequestLimits {
    accounts: Option<Keyed>,
    clients: Option<Keyed>,
}

impl RequestLimits {
    /// Limits the requests per second of each account, and of each client address or IPv6 network
    /// /64. Without a rate, there is no limit.
    pub fn new(account: Option<NonZeroU32>, client: Option<NonZeroU32>) -> Self {
        Self {
            accounts: account.map(Keyed::new),
            clients: client.map(Keyed::new),
        }
    }

    /// Counts a request of an account.
    ///
    /// # Errors
    /// The time to wait, if the request exceeds the limit.
    pub fn account(&self, tenant: &Tenant, account: &AccountId) -> Result<(), Duration> {
        let key = (tenant.as_str(), account.as_str());
        let limit = self.accounts.as_ref();
        limit.map_or(Ok(()), |limit| limit.check(key))
    }

    /// Counts a request of a client.
    ///
    /// # Errors
    /// The time to wait, if the request exceeds the limit.
    pub fn client(&self, client: IpAddr) -> Result<(), Duration> {
        let limit = self.clients.as_ref();
        limit.map_or(Ok(()), |limit| limit.check(network_of(client)))
    }

    /// Drops the counts that have recovered. To be called every few seconds.
    pub fn clean(&self) {
        for limit in self.accounts.iter().chain(&self.clients) {
            limit.own.retain_recent();
            limit.own.shrink_to_fit();
            limit.shared.retain_recent();
        }
    }
}

/// The address, or the network /64 of an IPv6 address.
pub(super) fn network_of(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() & IPV6_PREFIX).into()),
        address @ IpAddr::V4(_) => address,
    }
}

/// A limit for each key, by its hash, in bounded memory.
struct Keyed {
    own: DefaultKeyedRateLimiter<u64>,
    /// Shared counts of the keys beyond the bound.
    shared: DefaultKeyedRateLimiter<u64>,
    secret: RandomState,
}

impl Keyed {
    fn new(per_second: NonZeroU32) -> Self {
        let burst = per_second.saturating_mul(NonZeroU32::MIN.saturating_add(1));
        let quota = Quota::per_second(per_second).allow_burst(burst);
        Self {
            own: RateLimiter::keyed(quota),
            shared: RateLimiter::keyed(quota),
            secret: RandomState::new(),
        }
    }

    fn check(&self, key: impl Hash) -> Result<(), Duration> {
        let key = self.secret.hash_one(key);
        let checked = if self.own.len() < MOST_KEYS {
            self.own.check_key(&key)
        } else {
            self.shared.check_key(&(key % SHARED))
        };
        checked.map_err(|until| until.wait_time_from(DefaultClock::default().now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(per_second: u32) -> RequestLimits {
        let rate = NonZeroU32::new(per_second);
        RequestLimits::new(rate, rate)
    }

    #[test]
    fn an_account_over_its_limit_does_not_slow_another() {
        let limits = limits(1);
        let tenant = Tenant::new("acme").unwrap();
        let account = |name| limits.account(&tenant, &AccountId::new(name).unwrap());
        assert!(account("alice").is_ok() && account("alice").is_ok());
        let wait = account("alice").unwrap_err();
        assert!(
            wait > Duration::ZERO && wait <= Duration::from_secs(1),
            "{wait:?}"
        );
        assert!(account("bob").is_ok());
        let off = RequestLimits::new(None, None);
        let alice = AccountId::new("alice").unwrap();
        assert!((0..1_000).all(|_| off.account(&tenant, &alice).is_ok()));
    }

    #[test]
    fn an_ipv6_network_is_one_client() {
        let limits = limits(1);
        let client = |text: &str| limits.client(text.parse().unwrap());
        assert!(client("2001:db8::1").is_ok() && client("2001:db8::2").is_ok());
        assert!(client("2001:db8::3").is_err());
        assert!(client("2001:db8:0:1::3").is_ok());
        assert!(client("10.0.0.1").is_ok() && client("::ffff:10.0.0.1").is_ok());
        assert!(client("10.0.0.1").is_err() && client("10.0.0.2").is_ok());
    }

    #[test]
    fn the_number_of_counts_is_bounded() {
        let limits = limits(1_000_000);
        for n in 0..200_000_u32 {
            let _ = limits.client(IpAddr::V4(n.into()));
        }
        let clients = limits.clients.as_ref().unwrap();
        assert_eq!(clients.own.len(), MOST_KEYS);
        assert!(clients.shared.len() <= SHARED as usize);
    }
}
