//! HTTP Basic with the id of an application and its secret.

use std::{collections::HashMap, sync::LazyLock};

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{Caller, Denied, Scope, secret::Digest};
use crate::client::Tenant;

/// An application that reaches all accounts of a tenant.
#[derive(Clone, Debug)]
pub(super) struct ApplicationCredentials {
    pub(super) tenant: Tenant,
    /// The digest of its secret, or of an empty string if it has none.
    pub(super) secret: Digest,
}

/// The applications by their ids.
#[derive(Debug, Default)]
pub(super) struct Applications(pub(super) HashMap<String, ApplicationCredentials>);

impl Applications {
    /// Returns the caller of the credentials of HTTP Basic.
    pub(super) fn basic(&self, credentials: &str) -> Result<Caller, Denied> {
        let decoded = STANDARD.decode(credentials).ok();
        let text = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
        let text = text.ok_or(Denied::Malformed)?;
        let (id, secret) = text.split_once(':').ok_or(Denied::Malformed)?;
        self.check(id, secret)
    }

    /// Returns the caller of an application. An unknown id takes as long as a wrong secret.
    pub(super) fn check(&self, id: &str, secret: &str) -> Result<Caller, Denied> {
        static UNKNOWN: LazyLock<Digest> = LazyLock::new(|| Digest::of("unknown"));
        let known = self.0.get(id);
        let expected = known.map_or(&*UNKNOWN, |one| &one.secret);
        let agrees = expected.is_of(secret);
        match known {
            Some(application) if agrees => Ok(Caller {
                tenant: application.tenant.clone(),
                account: Scope::Any,
                application: Some(id.to_owned()),
            }),
            _ => Err(Denied::Application),
        }
    }
}
