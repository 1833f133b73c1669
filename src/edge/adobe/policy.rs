//! Policies: the limits, the metadata and the accounts of an application's sessions.

use std::collections::{BTreeMap, BTreeSet};

use crate::client::{
    AccountId, Activity, Condition, Limit, MAX_PAIRS, Metadata, OnLimit, Tenant, Terms,
};

/// The metadata key with the id of the application that opened the stream.
pub(super) const APPLICATION: &str = "applicationId";
/// The metadata key with the termination codes of the sessions that the stream has replaced.
pub(super) const SUPERSEDED: &str = "superseded";
/// The metadata keys that the edge sets.
pub(super) const OWN_KEYS: [&str; 2] = [APPLICATION, SUPERSEDED];
/// The metadata keys that rules and sessions can use.
pub(super) const MAX_KEYS: usize = MAX_PAIRS - OWN_KEYS.len();

/// The policies of all applications.
#[derive(Clone, Debug, Default)]
pub struct Policies {
    /// The applications by id.
    pub(super) applications: BTreeMap<Box<str>, Application>,
    /// The requests that each session, and each account, may send within a minute.
    pub(super) requests_per_minute: u32,
}

/// An application and the rules of its policies.
#[derive(Clone, Debug)]
pub struct Application {
    /// Its id, the user name of its requests.
    pub id: Box<str>,
    /// Its name, for viewers.
    pub name: Box<str>,
    /// The rules of all its policies, in order.
    pub(super) rules: Vec<Rule>,
    /// Metadata keys without which a session is not opened.
    pub(super) required: Vec<Box<str>>,
    /// Streams that agree with a new one in these metadata keys are ended first.
    pub(super) same: Vec<Box<str>>,
    /// Whether a session may terminate others by their codes.
    pub(super) may_terminate: bool,
    /// The tenants of identity providers, instead of the application's own.
    pub(super) tenants: BTreeMap<Box<str>, Tenant>,
    /// Whether the account is the subject alone, without the identity provider.
    pub(super) of_subject: bool,
}

/// A rule of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    /// The name of its policy.
    pub(super) policy: Box<str>,
    /// Its name.
    pub(super) name: Box<str>,
    /// The message for viewers.
    pub(super) message: Box<str>,
    /// The reaction if it is violated.
    pub(super) on_limit: OnLimit,
    /// The limit of all its values of `per`.
    pub(super) limit: Limit,
    /// The limit applies to each combination of values of these metadata keys.
    pub(super) per: Vec<Box<str>>,
}

/// A rule with its limit for one session.
#[derive(Clone, Debug)]
pub(super) struct AppliedRule<'a> {
    /// The rule.
    pub(super) rule: &'a Rule,
    /// The limit for the session's values of `per`.
    pub(super) limit: Limit,
}

impl Policies {
    /// The application with this id.
    #[must_use]
    pub fn application(&self, id: &str) -> Option<&Application> {
        self.applications.get(id)
    }

    /// The name of an application, for viewers.
    pub(super) fn name_of(&self, id: &str) -> Option<&str> {
        Some(&self.application(id)?.name)
    }
}

impl Application {
    /// The tenant and the account of a subject; the tenant is `own` unless the policies map the
    /// identity provider to another one.
    ///
    /// # Errors
    /// If the account would be too long or ambiguous.
    pub(super) fn account(
        &self,
        own: &Tenant,
        idp: &str,
        subject: &str,
    ) -> Result<(Tenant, AccountId), &'static str> {
        const FORM: &str = "an identity provider must have no slash, and together with the \
             subject 1 to 128 bytes of UTF-8 without control characters";
        let tenant = self.tenants.get(idp).unwrap_or(own).clone();
        let account = if self.of_subject {
            AccountId::new(subject)
        } else if idp.is_empty() || idp.contains('/') || subject.is_empty() {
            return Err(FORM);
        } else {
            AccountId::new(&format!("{idp}/{subject}"))
        };
        Ok((tenant, account.map_err(|_| FORM)?))
    }

    /// The metadata keys without which a session is not opened.
    pub fn required(&self) -> impl Iterator<Item = &str> {
        self.required.iter().map(|key| &**key)
    }

    /// The metadata keys that its rules use.
    pub(super) fn keys(&self) -> BTreeSet<&str> {
        let of_rules = self.rules.iter().flat_map(Rule::keys);
        of_rules.chain(self.same.iter().map(|key| &**key)).collect()
    }

    /// The rules that apply to a session, with their limits for it.
    pub(super) fn applied(&self, metadata: &Metadata) -> Vec<AppliedRule<'_>> {
        let rules = self.rules.iter();
        rules
            .filter_map(|rule| {
                let limit = rule.limit_for(metadata)?;
                Some(AppliedRule { rule, limit })
            })
            .collect()
    }

    /// The terms of the `init` of a session under these rules.
    ///
    /// One `init` has one reaction to all limits. With rules of both kinds, it is refused, and
    /// [`super::displaced`] chooses the streams to replace.
    pub(super) fn terms(&self, applied: &[AppliedRule]) -> Terms {
        let all_replace = applied.iter().all(AppliedRule::replaces) && !applied.is_empty();
        Terms {
            limits: applied.iter().map(|one| one.limit.clone()).collect(),
            same: self.same.clone(),
            on_limit: if all_replace {
                OnLimit::ReplaceOldest
            } else {
                OnLimit::Refuse
            },
            reason: None,
        }
    }
}

impl Rule {
    /// The metadata keys that the rule uses, except the application's id.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        let conditions = self.limit.conditions.iter().map(|one| &*one.key);
        let per = self.per.iter().map(|key| &**key);
        let distinct = self.limit.distinct.iter().map(|key| &**key);
        let keys = conditions.chain(per).chain(distinct);
        keys.filter(|key| *key != APPLICATION)
    }

    /// The limit for a session with this metadata; `None` if the rule does not apply to it.
    fn limit_for(&self, metadata: &Metadata) -> Option<Limit> {
        if !self.limit.includes(metadata) {
            return None;
        }
        let mut limit = self.limit.clone();
        for key in &self.per {
            limit.conditions.push(Condition {
                key: key.clone(),
                values: vec![metadata.get(key)?.into()],
            });
        }
        Some(limit)
    }
}

impl AppliedRule<'_> {
    /// Whether the oldest streams give way.
    pub(super) fn replaces(&self) -> bool {
        self.rule.on_limit == OnLimit::ReplaceOldest
    }

    /// The number of streams, or of values of `distinct`, that count toward the limit.
    pub(super) fn count(&self, activity: &Activity) -> usize {
        let counted = activity.streams.iter().map(|stream| &stream.metadata);
        let counted = counted.filter(|metadata| self.limit.includes(metadata));
        let Some(key) = &self.limit.distinct else {
            return counted.count();
        };
        let (mut values, mut without) = (BTreeSet::new(), 0);
        for metadata in counted {
            match metadata.get(key) {
                Some(value) => drop(values.insert(value)),
                None => without += 1,
            }
        }
        values.len() + without
    }

    /// The largest count that the limit allows.
    pub(super) fn max(&self) -> usize {
        usize::try_from(self.limit.max).unwrap_or(usize::MAX)
    }
}
