//! Identifiers of tenants, accounts, streams and requests.

use std::{
    borrow::{Borrow, Cow},
    fmt,
    str::FromStr,
};

use compact_str::CompactString;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use uuid::Uuid;

/// Maximum length of a tenant, in bytes.
pub const MAX_TENANT_BYTES: usize = 64;
/// Maximum length of an account, in bytes of UTF-8.
pub const MAX_ACCOUNT_BYTES: usize = 128;

/// The reason why a tenant or an account is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not `[A-Za-z0-9_-]{1,64}`.
    #[error("a tenant is 1 to {MAX_TENANT_BYTES} characters of A-Z a-z 0-9 _ -")]
    Tenant,
    /// Not 1 to 128 bytes of UTF-8 without control characters.
    #[error("an account is 1 to {MAX_ACCOUNT_BYTES} bytes of UTF-8 without control characters")]
    Account,
}

/// Checks a tenant's name.
///
/// # Errors
/// [`NameError::Tenant`] if it is not `[A-Za-z0-9_-]{1,64}`.
pub fn check_tenant(name: &str) -> Result<(), NameError> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if name.is_empty() || name.len() > MAX_TENANT_BYTES || !name.bytes().all(allowed) {
        return Err(NameError::Tenant);
    }
    Ok(())
}

fn check_account(id: &str) -> Result<(), NameError> {
    // For ASCII, checking bytes suffices.
    let has_control = if id.is_ascii() {
        id.bytes().any(|b| b.is_ascii_control())
    } else {
        id.chars().any(char::is_control)
    };
    if id.is_empty() || id.len() > MAX_ACCOUNT_BYTES || has_control {
        return Err(NameError::Account);
    }
    Ok(())
}

/// A video service, the owner of accounts: `[A-Za-z0-9_-]{1,64}`.
///
/// Only the routing key contains it, so that RabbitMQ's topic permissions separate tenants.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tenant(CompactString);

impl Tenant {
    /// Checks a tenant's name.
    ///
    /// # Errors
    /// [`NameError::Tenant`] if it is not `[A-Za-z0-9_-]{1,64}`.
    pub fn new(name: &str) -> Result<Self, NameError> {
        check_tenant(name)?;
        Ok(Self(name.into()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Tenant {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Tenant {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Tenant {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        parsed(from)
    }
}

fn parsed<'de, T, D>(from: D) -> Result<T, D::Error>
where
    T: FromStr<Err = NameError>,
    D: Deserializer<'de>,
{
    let text = Cow::<str>::deserialize(from)?;
    text.parse().map_err(D::Error::custom)
}

impl FromStr for Tenant {
    type Err = NameError;

    fn from_str(name: &str) -> Result<Self, NameError> {
        Self::new(name)
    }
}

/// The viewer's subscription: 1 to 128 bytes of UTF-8 without control characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountId(CompactString);

impl AccountId {
    /// Checks an account's id.
    ///
    /// # Errors
    /// [`NameError::Account`] if it is empty, too long, or contains a control character.
    pub fn new(id: &str) -> Result<Self, NameError> {
        check_account(id)?;
        Ok(Self(id.into()))
    }

    /// The id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for AccountId {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for AccountId {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        parsed(from)
    }
}

impl FromStr for AccountId {
    type Err = NameError;

    fn from_str(id: &str) -> Result<Self, NameError> {
        Self::new(id)
    }
}

/// An account of a tenant, the key of the state.
///
/// One string, `tenant/account`: a tenant has no slash, so the first slash ends it. Most keys
/// are short enough to be stored without an allocation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountKey(CompactString);

impl AccountKey {
    /// The key of `account` of `tenant`.
    #[must_use]
    pub fn new(tenant: &Tenant, account: &AccountId) -> Self {
        Self::join(tenant.as_str(), account.as_str())
    }

    /// Checks `tenant` and `account`, and creates their key.
    ///
    /// # Errors
    /// [`NameError::Tenant`] and [`NameError::Account`].
    pub fn of(tenant: &str, account: &str) -> Result<Self, NameError> {
        check_tenant(tenant)?;
        check_account(account)?;
        Ok(Self::join(tenant, account))
    }

    fn join(tenant: &str, account: &str) -> Self {
        let mut key = CompactString::with_capacity(tenant.len() + 1 + account.len());
        key.push_str(tenant);
        key.push('/');
        key.push_str(account);
        Self(key)
    }

    /// The tenant's name.
    #[must_use]
    pub fn tenant(&self) -> &str {
        self.split().0
    }

    /// The account's id.
    #[must_use]
    pub fn account(&self) -> &str {
        self.split().1
    }

    /// The key as one string.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn split(&self) -> (&str, &str) {
        self.0.split_once('/').unwrap_or((&self.0, ""))
    }
}

// A key hashes and compares like its string, so that maps can be searched with a `&str`.
/// As two texts in snapshots: the tenant and the account. They are borrowed, as there are millions.
impl Serialize for AccountKey {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.split().serialize(to)
    }
}

impl<'de> Deserialize<'de> for AccountKey {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let (tenant, account) = <(&str, &str)>::deserialize(from)?;
        Self::of(tenant, account).map_err(D::Error::custom)
    }
}

impl Borrow<str> for AccountKey {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// One playback.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StreamId(#[serde(with = "as_id")] pub Uuid);

impl StreamId {
    /// Generates a UUID version 7, for a player that is about to start a stream.
    #[must_use]
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for StreamId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        text.parse().map(Self)
    }
}

/// The id of an `init`, the same for every delivery and proposal of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RequestId(#[serde(with = "as_id")] pub Uuid);

/// An id: a text in JSON, 16 bytes in snapshots.
mod as_id {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use uuid::Uuid;

    pub(super) fn serialize<S: Serializer>(id: &Uuid, to: S) -> Result<S::Ok, S::Error> {
        if to.is_human_readable() {
            return id.serialize(to);
        }
        id.as_bytes().serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Uuid, D::Error> {
        if from.is_human_readable() {
            return Uuid::deserialize(from);
        }
        <[u8; 16]>::deserialize(from).map(Uuid::from_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_is_letters_digits_dash_and_underscore() {
        for good in ["a", "acme", "A-1_b", &"x".repeat(64)] {
            assert!(Tenant::new(good).is_ok(), "{good}");
        }
        for bad in ["", "a b", "a.b", "a/b", "é", &"x".repeat(65)] {
            assert_eq!(Tenant::new(bad), Err(NameError::Tenant), "{bad}");
        }
    }

    #[test]
    fn an_account_is_short_text_without_control_characters() {
        for good in ["a", "alice@example.com", "é/ü.#*", &"x".repeat(128)] {
            assert!(AccountId::new(good).is_ok(), "{good}");
        }
        for bad in ["", "a\nb", "\u{7f}", "\u{85}", &"x".repeat(129)] {
            assert_eq!(AccountId::new(bad), Err(NameError::Account), "{bad}");
        }
    }

    #[test]
    fn a_key_returns_its_parts_even_if_the_account_has_slashes() {
        let key = AccountKey::new(
            &Tenant::new("acme").unwrap(),
            &AccountId::new("a/b/c").unwrap(),
        );
        assert_eq!((key.tenant(), key.account()), ("acme", "a/b/c"));
    }
}
