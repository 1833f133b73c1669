//! Tokens that have been verified, so that a signature is not verified for each request.

use std::fmt;

use moka::sync::Cache;

use super::{Caller, Denied, claims, secret::sha256};

/// Most tokens: about 100 MB. The signatures of others are verified for each request.
const MOST_TOKENS: u64 = 250_000;

/// Verified tokens and their callers. They belong to the rules and keys that have verified them:
/// changed ones verify all tokens again.
///
/// A token is stored as its digest, so that it cannot be read from memory.
pub(super) struct VerifiedTokens(Cache<[u8; 32], Valid>);

/// A caller, and the time for which its token is valid, in seconds since 1970.
#[derive(Clone, Debug)]
struct Valid {
    caller: Caller,
    /// The time of the verification. Before it, `nbf` may be in the future.
    since: u64,
    until: u64,
}

impl VerifiedTokens {
    /// Returns the caller of a token. Calls `verify` unless the token was verified before and has not
    /// expired at `now`, in seconds since 1970.
    pub(super) fn get_or_verify(
        &self,
        token: &str,
        now: u64,
        verify: impl FnOnce() -> Result<claims::Verified, Denied>,
    ) -> Result<Caller, Denied> {
        let key = sha256(token);
        if let Some(valid) = self.0.get(&key)
            && (valid.since..valid.until).contains(&now)
        {
            return Ok(valid.caller);
        }
        let claims::Verified { caller, expires } = verify()?;
        if let Some(until) = expires {
            let valid = Valid {
                caller: caller.clone(),
                since: now,
                until,
            };
            self.0.insert(key, valid);
        }
        Ok(caller)
    }
}

impl Default for VerifiedTokens {
    fn default() -> Self {
        Self(Cache::new(MOST_TOKENS))
    }
}

impl fmt::Debug for VerifiedTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VerifiedTokens(…)")
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::{
        client::{AccountId, Tenant},
        edge::access::Scope,
    };

    fn alice() -> Caller {
        Caller {
            tenant: Tenant::new("acme").unwrap(),
            account: Scope::One(AccountId::new("alice").unwrap()),
            application: None,
        }
    }

    #[test]
    fn a_token_is_verified_once_until_it_expires_or_the_clock_is_set_back() {
        let (tokens, verified) = (VerifiedTokens::default(), Cell::new(0));
        let at = |now, expires| {
            let caller = tokens.get_or_verify("a token", now, || {
                verified.set(verified.get() + 1);
                let caller = alice();
                Ok(claims::Verified { caller, expires })
            });
            assert_eq!(caller, Ok(alice()));
            verified.get()
        };
        assert_eq!([at(1_000, Some(2_000)), at(1_999, None)], [1, 1]);
        assert_eq!(at(999, Some(2_000)), 2, "nbf may be later");
        assert_eq!(at(1_500, None), 2);
        assert_eq!([at(2_000, None), at(2_001, None)], [3, 4]);
    }

    #[test]
    fn a_token_that_is_denied_is_verified_each_time() {
        let tokens = VerifiedTokens::default();
        for denied in [Denied::Signature, Denied::Key] {
            let caller = tokens.get_or_verify("a token", 1_000, || Err(denied));
            assert_eq!(caller, Err(denied));
        }
    }
}
