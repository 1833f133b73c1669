//! Values of flags and variables. clap ends at the first one that is not acceptable; a [`Setting`]
//! keeps its mistake, so that all are reported together.

use std::{ffi::OsStr, marker::PhantomData, net::SocketAddr, num, time::Duration};

use clap::{
    Arg, Command, Error,
    builder::{TypedValueParser, ValueParserFactory},
};

use crate::{
    broker::Addresses,
    client::{AccountId, GivenReason, StreamId, Tenant},
    domain::AccountKey,
    worker::PartitionList,
};

/// The value of a setting, or the mistake in it. If its variable is empty, it counts as unset.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting<T>(pub(super) Result<Option<T>, String>);

impl<T> Setting<T> {
    /// Whether it is set, to a valid value or not.
    pub const fn is_given(&self) -> bool {
        !matches!(self.0, Ok(None))
    }
}

/// An optional text, which counts as unset if it is empty.
pub fn given(text: &Option<String>) -> Option<&str> {
    text.as_deref().filter(|text| !text.is_empty())
}

/// A type of values of settings.
pub trait Value: Clone + Send + Sync + 'static {
    /// Parses a value. The error is the expected form, without the text, as that may be a password.
    fn parse(text: &str) -> Result<Self, String>;
}

macro_rules! values {
    ($($type:ty)+) => {
        $(impl Value for $type {
            fn parse(text: &str) -> Result<Self, String> {
                text.parse().map_err(|error: <$type as std::str::FromStr>::Err| error.to_string())
            }
        })+
    };
}

values! {
    u32 u64 num::NonZeroU32 num::NonZeroU64 Tenant AccountId StreamId GivenReason Addresses
    PartitionList
}

impl Value for Duration {
    fn parse(text: &str) -> Result<Self, String> {
        humantime::parse_duration(text)
            .map_err(|_| "a duration with its unit, such as 90s or 1m30s".to_owned())
    }
}

impl Value for AccountKey {
    fn parse(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/');
        let key = parts.and_then(|(tenant, account)| Self::of(tenant, account).ok());
        key.ok_or_else(|| "a tenant and an account, such as acme/alice".to_owned())
    }
}

impl Value for SocketAddr {
    fn parse(text: &str) -> Result<Self, String> {
        let form = "an address and a port, such as 127.0.0.1:9419";
        text.parse().map_err(|_| form.to_owned())
    }
}

/// A number in inclusive bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Within<const FROM: u64, const TO: u64>(u64);

impl<const FROM: u64, const TO: u64> Within<FROM, TO> {
    /// The number, whose type has room for `TO`.
    pub fn get<N: TryFrom<u64> + Default>(self) -> N {
        N::try_from(self.0).unwrap_or_default()
    }
}

impl<const FROM: u64, const TO: u64> Value for Within<FROM, TO> {
    fn parse(text: &str) -> Result<Self, String> {
        let number = text.parse().ok();
        let number = number.filter(|number| (FROM..=TO).contains(number));
        number.map(Self).ok_or_else(|| format!("{FROM} to {TO}"))
    }
}

/// The parser of a [`Setting`].
#[derive(Clone)]
pub struct SettingParser<T>(PhantomData<fn() -> T>);

impl<T: Value> ValueParserFactory for Setting<T> {
    type Parser = SettingParser<T>;

    fn value_parser() -> SettingParser<T> {
        SettingParser(PhantomData)
    }
}

impl<T: Value> TypedValueParser for SettingParser<T> {
    type Value = Setting<T>;

    fn parse_ref(&self, _: &Command, arg: Option<&Arg>, text: &OsStr) -> Result<Setting<T>, Error> {
        if text.is_empty() && arg.is_some_and(|arg| arg.get_env().is_some()) {
            return Ok(Setting(Ok(None)));
        }
        let value = T::parse(text.to_string_lossy().trim());
        let mistake = |form| format!("{}: {form}", arg.map_or_else(String::new, name));
        Ok(Setting(value.map(Some).map_err(mistake)))
    }
}

/// The name of an argument, such as `--ttl (STREAMWATCH_TTL)`, or `STREAM` without a flag.
fn name(arg: &Arg) -> String {
    match (arg.get_long(), arg.get_env()) {
        (Some(flag), Some(variable)) => format!("--{flag} ({})", variable.display()),
        (Some(flag), None) => format!("--{flag}"),
        (None, _) => arg.get_id().as_str().to_uppercase(),
    }
}
