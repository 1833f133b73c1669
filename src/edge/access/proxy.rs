//! Headers that a trusted proxy sets after it has identified the caller.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, HeaderName, HeaderValue};

use super::{Caller, Denied, Scope, network::Network};
use crate::client::{AccountId, Tenant};

/// The source of a tenant: fixed, or a header.
#[derive(Clone, Debug)]
pub(super) enum TenantOf<H> {
    Fixed(Tenant),
    Named(H),
}

/// Trusted proxies and their headers.
#[derive(Clone, Debug)]
pub(super) struct Proxy {
    pub(super) addresses: Vec<Network>,
    /// `None` if the proxy only forwards client addresses.
    pub(super) identity: Option<IdentityHeaders>,
    /// The header of forwarded addresses.
    pub(super) client_header: HeaderName,
}

/// The headers that identify a caller.
#[derive(Clone, Debug)]
pub(super) struct IdentityHeaders {
    pub(super) tenant: TenantOf<HeaderName>,
    pub(super) account_header: HeaderName,
    /// Whether a request without the header of the account reaches all accounts.
    pub(super) any_account: bool,
}

impl Proxy {
    /// Whether an address is that of a trusted proxy.
    pub(super) fn trusts(&self, address: IpAddr) -> bool {
        self.addresses
            .iter()
            .any(|network| network.contains(address))
    }

    /// Returns the caller that the proxy states.
    pub(super) fn identify(&self, headers: &HeaderMap, peer: IpAddr) -> Result<Caller, Denied> {
        let identity = self.identity.as_ref().ok_or(Denied::Missing)?;
        if !self.trusts(peer) {
            return Err(Denied::Missing);
        }
        let account = only(headers, &identity.account_header)?;
        let tenant = match &identity.tenant {
            TenantOf::Fixed(tenant) => tenant.clone(),
            TenantOf::Named(header) => {
                let name = only(headers, header)?.ok_or(Denied::Missing)?;
                Tenant::new(name).map_err(|_| Denied::Claims)?
            }
        };
        let account = match account {
            Some(account) => Scope::One(AccountId::new(account).map_err(|_| Denied::Claims)?),
            None if identity.any_account => Scope::Any,
            None => return Err(Denied::Missing),
        };
        Ok(Caller {
            tenant,
            account,
            application: None,
        })
    }

    /// The address of the client.
    pub(super) fn client(&self, headers: &HeaderMap, peer: IpAddr) -> IpAddr {
        if !self.trusts(peer) {
            return peer;
        }
        let values = headers.get_all(&self.client_header).into_iter();
        let listed: Vec<_> = values
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(|address| forwarded(address.trim()))
            .collect();
        let mut client = peer;
        // Each proxy appends the address of its peer. Addresses before an untrusted one can be
        // forged.
        for address in listed.into_iter().rev() {
            let Some(address) = address else { break };
            client = address;
            if !self.trusts(address) {
                break;
            }
        }
        client
    }
}

/// An address in the header of forwarded addresses. Some proxies append the port.
fn forwarded(text: &str) -> Option<IpAddr> {
    let address = text.parse().ok();
    let address = address.or_else(|| Some(text.parse::<SocketAddr>().ok()?.ip()));
    address.map(|address| address.to_canonical())
}

/// The value of a header. A second one may be forged, so both are rejected.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, Denied> {
    let mut values = headers.get_all(name).into_iter();
    let text =
        |value: &'h HeaderValue| std::str::from_utf8(value.as_bytes()).map_err(|_| Denied::Claims);
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => text(value).map(Some),
        (Some(_), Some(_)) => Err(Denied::Claims),
    }
}
