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

/// Most requests per second; without a value, there is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestRates {
    /// Of one account.
    pub account: Option<NonZeroU32>,
    /// Of one client address; of an IPv6 network /64.
    pub client: Option<NonZeroU32>,
}

/// The limits of requests per second of an edge. Each allows bursts of twice its rate.
pub struct RequestLimits {
    accounts: Option<Keyed<u64>>,
    clients: Option<Keyed<IpAddr>>,
    secret: RandomState,
}

impl RequestLimits {
    /// Creates the limits.
    #[must_use]
    pub fn new(rates: RequestRates) -> Self {
        Self {
            accounts: rates.account.map(Keyed::new),
            clients: rates.client.map(Keyed::new),
            secret: RandomState::new(),
        }
    }

    /// Counts a request of an account.
    ///
    /// # Errors
    /// The time to wait, if the request exceeds the limit.
    pub fn account(&self, tenant: &Tenant, account: &AccountId) -> Result<(), Duration> {
        self.accounts.as_ref().map_or(Ok(()), |limit| {
            limit.check(self.secret.hash_one((tenant.as_str(), account.as_str())))
        })
    }

    /// Counts a request of a client.
    ///
    /// # Errors
    /// The time to wait, if the request exceeds the limit.
    pub fn client(&self, client: IpAddr) -> Result<(), Duration> {
        self.clients
            .as_ref()
            .map_or(Ok(()), |limit| limit.check(network_of(client)))
    }

    /// Drops the counts that have recovered. To be called every few seconds.
    pub fn clean(&self) {
        if let Some(accounts) = &self.accounts {
            accounts.clean();
        }
        if let Some(clients) = &self.clients {
            clients.clean();
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

/// A limit for each key, in bounded memory.
struct Keyed<K: Hash + Eq + Clone> {
    own: DefaultKeyedRateLimiter<K>,
    /// Shared counts of the keys beyond the bound.
    shared: DefaultKeyedRateLimiter<u64>,
    secret: RandomState,
}

impl<K: Hash + Eq + Clone> Keyed<K> {
    fn new(per_second: NonZeroU32) -> Self {
        let burst = per_second.saturating_mul(NonZeroU32::MIN.saturating_add(1));
        let quota = Quota::per_second(per_second).allow_burst(burst);
        Self {
            own: RateLimiter::keyed(quota),
            shared: RateLimiter::keyed(quota),
            secret: RandomState::new(),
        }
    }

    fn check(&self, key: K) -> Result<(), Duration> {
        let checked = if self.own.len() < MOST_KEYS {
            self.own.check_key(&key)
        } else {
            self.shared
                .check_key(&(self.secret.hash_one(&key) % SHARED))
        };
        checked.map_err(|until| until.wait_time_from(DefaultClock::default().now()))
    }

    fn clean(&self) {
        self.own.retain_recent();
        self.own.shrink_to_fit();
        self.shared.retain_recent();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(per_second: u32) -> RequestLimits {
        RequestLimits::new(RequestRates {
            account: NonZeroU32::new(per_second),
            client: NonZeroU32::new(per_second),
        })
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
        let off = RequestLimits::new(RequestRates::default());
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
