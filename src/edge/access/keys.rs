//! Keys that verify tokens. The algorithm is that of the key, never that of the token.

use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse},
};
use serde::Deserialize;

/// Least length of an HS256 secret, in bytes (RFC 7518, section 3.2).
const MIN_SECRET_BYTES: usize = 32;

/// A key that verifies tokens.
#[derive(Clone, Debug)]
pub(super) struct VerificationKey {
    /// The `kid` of its tokens. A key without an id verifies only tokens without a `kid`.
    pub(super) id: Option<String>,
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
}

impl VerificationKey {
    /// A key from an HS256 secret.
    pub(super) fn of_secret(
        id: Option<String>,
        algorithm: &str,
        secret: &str,
    ) -> Result<Self, String> {
        if algorithm != "HS256" {
            return Err("only HS256 uses a secret; other algorithms need a pem_file".to_owned());
        }
        if secret.len() < MIN_SECRET_BYTES {
            let error = format!("an HS256 secret must have at least {MIN_SECRET_BYTES} bytes");
            return Err(error);
        }
        let key = DecodingKey::from_secret(secret.as_bytes());
        Ok(Self {
            id,
            algorithm: Algorithm::HS256,
            key: key.map_err(|_| "the secret is not usable".to_owned())?,
        })
    }

    /// A public key in PEM form.
    pub(super) fn of_pem(id: Option<String>, name: &str, pem: &str) -> Result<Self, String> {
        const NAMES: &str = "algorithm: must be HS256, RS256, ES256 or EdDSA";
        let algorithm = name.parse().map_err(|_| NAMES)?;
        let key = match algorithm {
            Algorithm::RS256 => DecodingKey::from_rsa_pem(pem.as_bytes()),
            Algorithm::ES256 => DecodingKey::from_ec_pem(pem.as_bytes()),
            Algorithm::EdDSA => DecodingKey::from_ed_pem(pem.as_bytes()),
            Algorithm::HS256 => {
                return Err("HS256 needs a secret or a secret_file, not a pem_file".to_owned());
            }
            _ => return Err(NAMES.to_owned()),
        };
        let key = key.map_err(|_| format!("the file contains no {name} public key in PEM form"))?;
        Ok(Self { id, algorithm, key })
    }

    /// A key of a JSON Web Key Set; `None` if it is for another purpose or not supported. Secrets
    /// are accepted from files only.
    fn of_jwk(jwk: &Jwk, secrets: bool) -> Option<Self> {
        let derived = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => Algorithm::RS256,
            AlgorithmParameters::EllipticCurve(params) if params.curve == EllipticCurve::P256 => {
                Algorithm::ES256
            }
            AlgorithmParameters::OctetKeyPair(params) if params.curve == EllipticCurve::Ed25519 => {
                Algorithm::EdDSA
            }
            AlgorithmParameters::OctetKey(_) if secrets => Algorithm::HS256,
            _ => return None,
        };
        let stated = jwk.common.key_algorithm;
        let agrees = stated.is_none_or(|stated| stated == derived.into());
        let signs = jwk.common.public_key_use.as_ref();
        let signs = signs.is_none_or(|purpose| *purpose == PublicKeyUse::Signature);
        let id = jwk.common.key_id.clone()?;
        let key = DecodingKey::from_jwk(jwk).ok()?;
        let is_long = match derived {
            Algorithm::HS256 => key.try_get_as_bytes().ok()?.len() >= MIN_SECRET_BYTES,
            _ => true,
        };
        (agrees && signs && is_long).then_some(Self {
            id: Some(id),
            algorithm: derived,
            key,
        })
    }
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<serde_json::Value>,
}

/// The usable keys of a JSON Web Key Set. Others are ignored, as RFC 7517 demands.
pub(super) fn of_set(json: &str, secrets: bool) -> Result<Vec<VerificationKey>, String> {
    let set: KeySet = serde_json::from_str(json)
        .map_err(|_| "the content is not a JSON Web Key Set".to_owned())?;
    let keys: Vec<_> = set
        .keys
        .into_iter()
        .filter_map(|value| serde_json::from_value::<Jwk>(value).ok())
        .filter_map(|jwk| VerificationKey::of_jwk(&jwk, secrets))
        .collect();
    if keys.is_empty() {
        let error = "the key set has no key with a kid for HS256, RS256, ES256 or EdDSA";
        return Err(error.to_owned());
    }
    Ok(keys)
}

/// Returns the ids of the usable keys of a JSON Web Key Set without secrets.
///
/// # Errors
/// If there is no usable key.
pub fn key_ids(json: &str) -> Result<Vec<String>, String> {
    let keys = of_set(json, false)?.into_iter();
    Ok(keys.filter_map(|key| key.id).collect())
}
