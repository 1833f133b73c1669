//! The connections, and the requests in progress, of each client address, so that one client does not
//! take all of them.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::edge::limits::network_of;

/// The number of connections or requests of each address, or network /64 of IPv6.
#[derive(Clone, Default)]
pub(super) struct Peers(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// A connection or request that counts toward its address until dropped.
pub(super) struct AdmittedPeer {
    peers: Peers,
    address: IpAddr,
}

impl Peers {
    /// Counts a connection or request of `peer`. Returns `None` if the peer already has `most`.
    pub(super) fn admit(&self, peer: IpAddr, most: usize) -> Option<AdmittedPeer> {
        let address = network_of(peer);
        let mut open = self.open();
        let count = open.entry(address).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        drop(open);
        Some(AdmittedPeer {
            peers: self.clone(),
            address,
        })
    }

    fn open(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for AdmittedPeer {
    fn drop(&mut self) {
        if let Entry::Occupied(mut count) = self.peers.open().entry(self.address) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_count_toward_their_address_until_they_are_dropped() {
        let peers = Peers::default();
        let admit = |address: &str| peers.admit(address.parse().unwrap(), 2);
        let first = admit("192.0.2.1").unwrap();
        let second = admit("192.0.2.1").unwrap();
        assert!(admit("192.0.2.1").is_none());
        let other = admit("192.0.2.2").unwrap();
        drop(first);
        assert!(admit("192.0.2.1").is_some());
        drop((second, other));
        assert!(
            peers.open().is_empty(),
            "an address without connections is forgotten"
        );
    }

    #[test]
    fn the_addresses_of_an_ipv6_network_share_a_count() {
        let peers = Peers::default();
        let _open = peers.admit("2001:db8::1".parse().unwrap(), 1).unwrap();
        assert!(peers.admit("2001:db8::2".parse().unwrap(), 1).is_none());
        assert!(peers.admit("2001:db8:0:1::1".parse().unwrap(), 1).is_some());
    }
}
