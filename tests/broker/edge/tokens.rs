//! Tokens, signed by HS256.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::hmac;
use serde_json::{Value, json};

/// The secret of the key `k1`.
pub const SECRET: &str = "a secret of at least thirty-two bytes";
/// A moment in the year 2100.
pub const LATER: u64 = 4_102_444_800;

pub fn token(header: &Value, claims: &Value, secret: &str) -> String {
    let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let signed = format!("{}.{}", part(header), part(claims));
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let signature = hmac::sign(&key, signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// A token with these claims and a valid signature.
pub fn of(claims: &Value) -> String {
    token(&json!({"alg": "HS256", "kid": "k1"}), claims, SECRET)
}
