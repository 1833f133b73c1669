//! The rules of an access file.

use super::{
    Caller, Denied,
    applications::Applications,
    claims::{self, Issuer},
    proxy::Proxy,
    verified::VerifiedTokens,
};
use crate::client::Tenant;

/// The ways to identify a caller.
#[derive(Debug, Default)]
pub(super) struct AccessRules {
    /// The tenant of each request, if no request needs credentials.
    pub(super) everyone: Option<Tenant>,
    pub(super) applications: Applications,
    pub(super) issuers: Vec<Issuer>,
    pub(super) proxy: Option<Proxy>,
    pub(super) verified: VerifiedTokens,
}

impl AccessRules {
    pub(super) fn token(&self, token: &str) -> Result<Caller, Denied> {
        self.verified
            .get_or_verify(token, || claims::verify(&self.issuers, token))
    }

    pub(super) fn has_tokens(&self) -> bool {
        !self.issuers.is_empty()
    }

    pub(super) fn is_complete(&self) -> bool {
        self.issuers.iter().all(|issuer| issuer.is_complete)
    }
}
