//! Access: the caller of a request, its tenant and its accounts.

mod applications;
mod claims;
mod config;
mod jwks;
mod keys;
mod network;
mod proxy;
mod reload;
mod ring_provider;
mod secret;
mod url;
mod verified;

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use axum::http::{HeaderMap, header::AUTHORIZATION};

pub use keys::key_ids;
pub use reload::check_file;
use tokio::sync::Notify;

use super::{FileProblems, reload::Current};
use crate::client::{AccountId, Tenant};
use applications::Applications;
use claims::Issuer;
use config::Fetched;
use proxy::Proxy;
use verified::VerifiedTokens;

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

impl Caller {
    /// Whether the caller reaches `account` of its tenant.
    pub fn reaches(&self, account: &AccountId) -> bool {
        match &self.account {
            Scope::Any => true,
            Scope::One(one) => one == account,
        }
    }
}

/// The reason why a request has no caller. It quotes nothing of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    #[error("the request has no credentials")]
    Missing,
    #[error("the credentials have an unknown form")]
    Malformed,
    #[error("the application is unknown, or its secret is wrong")]
    Application,
    #[error("the token's key is unknown")]
    Key,
    #[error("the token's algorithm is not that of its key")]
    Algorithm,
    #[error("the token's signature is wrong")]
    Signature,
    #[error("the token has expired, or has no exp")]
    Expired,
    #[error("the token is not valid yet")]
    NotYetValid,
    #[error("the token is of another issuer")]
    Issuer,
    #[error("the token is for another audience")]
    Audience,
    #[error("the token, or the proxy's headers, contain no valid tenant or account")]
    Claims,
}

impl Denied {
    /// The word in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "no_credentials",
            Self::Malformed => "malformed_credentials",
            Self::Application => "unknown_application",
            Self::Key => "unknown_key",
            Self::Algorithm => "wrong_algorithm",
            Self::Signature => "wrong_signature",
            Self::Expired => "expired_token",
            Self::NotYetValid => "early_token",
            Self::Issuer => "wrong_issuer",
            Self::Audience => "wrong_audience",
            Self::Claims => "bad_claims",
        }
    }
}

/// The ways to identify a caller.
#[derive(Debug, Default)]
struct AccessRules {
    /// The tenant of each request, if no request needs credentials.
    everyone: Option<Tenant>,
    applications: Applications,
    issuers: Vec<Issuer>,
    proxy: Option<Proxy>,
    verified: VerifiedTokens,
}

/// Identifies callers by an access file, whose changes it applies. Clones are cheap and share it.
#[derive(Clone)]
pub struct Access {
    current: Current<AccessRules>,
    /// The file; `None` if every request has the same caller.
    file: Option<Arc<PathBuf>>,
    /// Notified if a token names an unknown key, which a URL may have served since the last read.
    unknown_key: Arc<Notify>,
}

impl Access {
    /// Reads a file, and the files that it names. URLs are read by [`Self::keep_current`].
    ///
    /// # Errors
    /// [`FileProblems`] if a file cannot be read or has a mistake.
    pub fn from_file(file: &Path) -> Result<Self, FileProblems> {
        let rules = reload::read(file)?.rules(&Fetched::new())?;
        Ok(Self {
            current: Current::new(rules),
            file: Some(Arc::new(file.to_owned())),
            unknown_key: Arc::default(),
        })
    }

    /// Identifies every request, also without credentials, as one of a caller of `tenant` that
    /// reaches all accounts.
    pub fn open_to_all(tenant: Tenant) -> Self {
        let rules = AccessRules {
            everyone: Some(tenant),
            ..AccessRules::default()
        };
        Self {
            current: Current::new(rules),
            file: None,
            unknown_key: Arc::default(),
        }
    }

    fn rules(&self) -> Arc<AccessRules> {
        self.current.get()
    }

    /// Returns the caller of a request with these headers, from a connection of `peer`.
    ///
    /// # Errors
    /// [`Denied`] if there are no valid credentials.
    pub fn identify(&self, headers: &HeaderMap, peer: IpAddr) -> Result<Caller, Denied> {
        let rules = self.rules();
        if let Some(tenant) = &rules.everyone {
            return Ok(Caller {
                tenant: tenant.clone(),
                account: Scope::Any,
                application: None,
            });
        }
        if let Some(value) = headers.get(AUTHORIZATION) {
            let value = value.to_str().map_err(|_| Denied::Malformed)?;
            let (scheme, credentials) = value.split_once(' ').ok_or(Denied::Malformed)?;
            let credentials = credentials.trim();
            return if scheme.eq_ignore_ascii_case("bearer") {
                self.identify_token(credentials)
            } else if scheme.eq_ignore_ascii_case("basic") {
                rules.applications.basic(credentials)
            } else {
                Err(Denied::Malformed)
            };
        }
        rules
            .proxy
            .as_ref()
            .map_or(Err(Denied::Missing), |proxy| proxy.identify(headers, peer))
    }

    /// Returns the caller of a bearer token outside the headers, such as in a form.
    ///
    /// # Errors
    /// [`Denied`] if the token is not valid.
    pub fn identify_token(&self, token: &str) -> Result<Caller, Denied> {
        let (rules, now) = (self.rules(), jsonwebtoken::get_current_timestamp());
        let verify = || claims::verify(&rules.issuers, token);
        let identified = rules.verified.get_or_verify(token, now, verify);
        if identified == Err(Denied::Key) {
            self.unknown_key.notify_one();
        }
        identified
    }

    /// Returns the caller of an application without a secret.
    ///
    /// # Errors
    /// [`Denied`] if it is unknown, or has a secret.
    pub fn identify_application(&self, id: &str) -> Result<Caller, Denied> {
        self.rules().applications.check(id, "")
    }

    /// Returns the address of a request's client: the peer of the connection, or behind a trusted
    /// proxy, the last forwarded address that is not a trusted proxy's.
    pub fn client(&self, headers: &HeaderMap, peer: IpAddr) -> IpAddr {
        let peer = peer.to_canonical();
        let rules = self.rules();
        let proxy = rules.proxy.as_ref();
        proxy.map_or(peer, |proxy| proxy.client(headers, peer))
    }

    /// Whether a peer is a trusted proxy.
    pub fn trusts(&self, peer: IpAddr) -> bool {
        let rules = self.rules();
        rules.proxy.as_ref().is_some_and(|proxy| proxy.trusts(peer))
    }

    /// The schemes of credentials, for the header `WWW-Authenticate`.
    pub fn schemes(&self) -> &'static str {
        let rules = self.rules();
        match (!rules.issuers.is_empty(), rules.applications.0.is_empty()) {
            (_, true) => "Bearer",
            (true, false) => "Bearer, Basic realm=\"streamwatch\", charset=\"UTF-8\"",
            (false, false) => "Basic realm=\"streamwatch\", charset=\"UTF-8\"",
        }
    }

    /// Whether all URLs of keys have been read once.
    pub fn is_complete(&self) -> bool {
        self.rules().issuers.iter().all(|issuer| issuer.is_complete)
    }

    /// Reads the files every 5 s, and the URLs of keys every 5 min, or after 30 s if a token names
    /// an unknown key. Applies changes, and ignores a file with a mistake. Never returns.
    pub async fn keep_current(&self) {
        match &self.file {
            Some(file) => reload::keep_current(file, &self.current, &self.unknown_key).await,
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests;
