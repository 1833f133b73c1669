//! Tokens: their verification, and the caller in their claims.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Validation, errors::ErrorKind};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Map, Value};

use super::{Caller, Denied, Scope, keys::VerificationKey, proxy::TenantOf};
use crate::client::{AccountId, Tenant};

/// Longest token, in bytes.
const MAX_TOKEN_BYTES: usize = 8 * 1024;
/// Most keys with the same id that are tried.
const MOST_TRIES: usize = 4;

/// The tokens of an issuer.
#[derive(Clone, Debug)]
pub(super) struct Issuer {
    pub(super) keys: Vec<VerificationKey>,
    /// Whether its URL has been read, if it has one.
    pub(super) is_complete: bool,
    /// The checks of claims, for any algorithm.
    pub(super) validation: Validation,
    pub(super) tenant: TenantOf<String>,
    /// The claim with the account; `None` if a token reaches all accounts.
    pub(super) account_claim: Option<String>,
    pub(super) application_claim: Option<String>,
}

/// The header of a token, before its verification.
#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: Option<String>,
    /// Extensions that must be understood. None is (RFC 7515, section 4.1.11).
    crit: Option<IgnoredAny>,
}

impl Header {
    fn of(token: &str) -> Result<Self, Denied> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Denied::Malformed);
        }
        let (header, _) = token.split_once('.').ok_or(Denied::Malformed)?;
        let json = URL_SAFE_NO_PAD.decode(header);
        let json = json.map_err(|_| Denied::Malformed)?;
        let header: Self = serde_json::from_slice(&json).map_err(|_| Denied::Malformed)?;
        match header.crit {
            Some(_) => Err(Denied::Malformed),
            None => Ok(header),
        }
    }
}

/// The claims of a verified token.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Verified {
    pub(super) caller: Caller,
    /// The claim `exp`, in seconds since 1970; `None` if it is not a whole number.
    pub(super) expires: Option<u64>,
}

/// Verifies a token.
pub(super) fn verify(issuers: &[Issuer], token: &str) -> Result<Verified, Denied> {
    let header = Header::of(token)?;
    let known = issuers.iter().flat_map(Issuer::own_keys);
    let named = known.filter(|(_, key)| key.id == header.kid);
    let mut denied = Denied::Key;
    for (issuer, key) in named.take(MOST_TRIES) {
        if header.alg.parse().ok() != Some(key.algorithm) {
            denied = Denied::Algorithm;
            continue;
        }
        match issuer.verify(key, token) {
            Ok(verified) => return Ok(verified),
            Err(error) => denied = error,
        }
    }
    Err(denied)
}

impl Issuer {
    fn own_keys(&self) -> impl Iterator<Item = (&Self, &VerificationKey)> {
        self.keys.iter().map(move |key| (self, key))
    }

    fn verify(&self, key: &VerificationKey, token: &str) -> Result<Verified, Denied> {
        let mut validation = self.validation.clone();
        validation.algorithms = vec![key.algorithm];
        let verified = jsonwebtoken::decode::<Map<String, Value>>(token, &key.key, &validation);
        let claims = verified.map_err(|error| denied(error.kind()))?.claims;
        Ok(Verified {
            caller: self.caller(&claims)?,
            expires: claims.get("exp").and_then(Value::as_u64),
        })
    }

    fn caller(&self, claims: &Map<String, Value>) -> Result<Caller, Denied> {
        let text = |name: &str| {
            let value = claims.get(name).and_then(Value::as_str);
            value.ok_or(Denied::Claims)
        };
        let tenant = match &self.tenant {
            TenantOf::Fixed(tenant) => tenant.clone(),
            TenantOf::Named(claim) => Tenant::new(text(claim)?).map_err(|_| Denied::Claims)?,
        };
        let account = match &self.account_claim {
            None => Scope::Any,
            Some(claim) => Scope::One(AccountId::new(text(claim)?).map_err(|_| Denied::Claims)?),
        };
        let application = self.application_claim.as_deref();
        let application = application.map(text).transpose()?;
        Ok(Caller {
            tenant,
            account,
            application: application.map(str::to_owned),
        })
    }
}

fn denied(error: &ErrorKind) -> Denied {
    match error {
        ErrorKind::ExpiredSignature => Denied::Expired,
        ErrorKind::ImmatureSignature => Denied::NotYetValid,
        ErrorKind::InvalidIssuer => Denied::Issuer,
        ErrorKind::InvalidAudience => Denied::Audience,
        ErrorKind::InvalidSignature => Denied::Signature,
        ErrorKind::InvalidAlgorithm => Denied::Algorithm,
        ErrorKind::MissingRequiredClaim(name) | ErrorKind::InvalidClaimFormat(name) => {
            match name.as_str() {
                "exp" => Denied::Expired,
                "nbf" => Denied::NotYetValid,
                "iss" => Denied::Issuer,
                "aud" => Denied::Audience,
                _ => Denied::Claims,
            }
        }
        _ => Denied::Malformed,
    }
}
