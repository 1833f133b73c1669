//! Access: the caller of a request, its tenant and its accounts.

use std::net::IpAddr;

use axum::http::HeaderMap;

use crate::client::{AccountId, Tenant};

/// The caller of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Its tenant.
    pub tenant: Tenant,
    /// The accounts that it reaches.
    pub account: Scope,
    /// The id of its application, if it is known.
    pub application: Option<String>,
}

/// The accounts that a caller reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All accounts of its tenant.
    Any,
    /// One account.
    One(AccountId),
}

/// The reason why a request has no caller. It contains nothing of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The request has no credentials.
    #[error("the request has no credentials")]
    Missing,
    /// The credentials are of an unknown form.
    #[error("the credentials have an unknown form")]
    Malformed,
    /// The application is unknown, or its secret is wrong.
    #[error("the application is unknown, or its secret is wrong")]
    Application,
}

impl Denied {
    /// The word in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "no_credentials",
            Self::Malformed => "malformed",
            Self::Application => "application",
        }
    }
}

/// Identifies callers by a configuration that can change while it is used. Clones are cheap and
/// share it.
#[derive(Clone)]
pub struct Access {}

impl Access {
    /// Returns the caller of a request with these headers, from a connection of `peer`.
    ///
    /// # Errors
    /// [`Denied`] if there are no valid credentials.
    pub fn identify(&self, headers: &HeaderMap, peer: IpAddr) -> Result<Caller, Denied> {
        let _ = (headers, peer);
        Err(Denied::Missing)
    }
}

impl Caller {
    /// Whether the caller reaches `account` of its tenant.
    #[must_use]
    pub fn reaches(&self, account: &AccountId) -> bool {
        match &self.account {
            Scope::Any => true,
            Scope::One(one) => one == account,
        }
    }
}
