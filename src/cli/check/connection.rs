//! The connections of `streamwatch check`.

use crate::broker::{Addresses, BrokerError, Link};

/// Connects to the first reachable address.
pub(super) async fn open(addresses: &Addresses) -> Result<Link, BrokerError> {
    Link::open_any(addresses, "streamwatch check").await
}
