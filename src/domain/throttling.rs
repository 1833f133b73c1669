//! The settings of throttling: limits of requests per second.

use serde::{Deserialize, Serialize};

/// Requests per second that are accepted, 0 for no limit. A bucket may be full, so that more of
/// them are accepted at once, see [`crate::domain::Rate`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Throttling {
    /// `init` requests of one tenant, of all partitions and workers together.
    pub tenant_inits_per_second: u32,
    /// `status` requests of one tenant, of all partitions and workers together.
    pub tenant_statuses_per_second: u32,
    /// `init` requests of one account, at each worker.
    pub account_inits_per_second: u32,
    /// `status` requests of one account, at each worker.
    pub account_statuses_per_second: u32,
}

words! {
    /// A limit that throttles a request.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum ThrottledBy {
        /// The limit of its tenant.
        Tenant = "tenant",
        /// The limit of its account.
        Account = "account",
    }
}

words! {
    /// A kind of request that is throttled.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum ThrottledKind {
        /// `init`.
        Init = "init",
        /// `status`.
        Status = "status",
    }
}

impl Throttling {
    /// The highest limit per second.
    pub const MAX_PER_SECOND: u32 = 1_000_000;

    /// Whether there is no limit.
    #[must_use]
    pub fn is_off(&self) -> bool {
        *self == Self::default()
    }

    /// The requests of `kind` per second that `by` accepts; 0 for no limit.
    #[must_use]
    pub const fn per_second(&self, kind: ThrottledKind, by: ThrottledBy) -> u32 {
        match (kind, by) {
            (ThrottledKind::Init, ThrottledBy::Tenant) => self.tenant_inits_per_second,
            (ThrottledKind::Status, ThrottledBy::Tenant) => self.tenant_statuses_per_second,
            (ThrottledKind::Init, ThrottledBy::Account) => self.account_inits_per_second,
            (ThrottledKind::Status, ThrottledBy::Account) => self.account_statuses_per_second,
        }
    }

    /// The settings by the names of their flags.
    #[must_use]
    pub const fn by_name(&self) -> [(&'static str, u32); 4] {
        [
            ("tenant-inits-per-second", self.tenant_inits_per_second),
            (
                "tenant-statuses-per-second",
                self.tenant_statuses_per_second,
            ),
            ("account-inits-per-second", self.account_inits_per_second),
            (
                "account-statuses-per-second",
                self.account_statuses_per_second,
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Settings;

    #[test]
    fn throttling_is_off_by_default_and_in_settings_of_earlier_versions() {
        assert!(Settings::default().throttling.is_off());
        let old: Settings = serde_json::from_str(r#"{"number":3,"rules":2}"#).unwrap();
        assert!(old.throttling.is_off());
    }

    #[test]
    fn a_limit_is_at_most_a_million_and_needs_rules_2() {
        let with = |rules, limit| Settings {
            rules,
            throttling: Throttling {
                account_inits_per_second: limit,
                ..Throttling::default()
            },
            ..Settings::default()
        };
        assert_eq!(with(2, 1_000_000).check(), Ok(()));
        assert_eq!(with(1, 0).check(), Ok(()));
        for wrong in [with(1, 1), with(2, 1_000_001)] {
            let errors = wrong.check().unwrap_err();
            assert!(errors[0].starts_with("account-inits-per-second must be "));
        }
    }

    #[test]
    fn each_kind_has_a_limit_of_tenants_and_one_of_accounts() {
        let settings = Throttling {
            tenant_inits_per_second: 1,
            tenant_statuses_per_second: 2,
            account_inits_per_second: 3,
            account_statuses_per_second: 4,
        };
        let of = |by| ThrottledKind::ALL.map(|kind| settings.per_second(kind, by));
        assert_eq!(ThrottledBy::ALL.map(of), [[1, 2], [3, 4]]);
        assert_eq!(settings.by_name().map(|(_, limit)| limit), [1, 2, 3, 4]);
    }
}
