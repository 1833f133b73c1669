//! The checks of a policy file. All problems are collected.

use std::collections::{BTreeMap, BTreeSet};

use super::{AccountForm, ApplicationEntry, CountScope, File, PolicyEntry, RuleEntry, Strategy};
use crate::{
    client::{
        Condition, Limit, MAX_KEY_BYTES, MAX_LIMITS, MAX_SAME_KEYS, MAX_VALUE_BYTES,
        MAX_WHERE_KEYS, MAX_WHERE_VALUES, OnLimit, Tenant,
    },
    edge::adobe::policy::{APPLICATION, Application, MAX_KEYS, OWN_KEYS, Policies, Rule},
};

/// Adobe's documented limit.
const REQUESTS_PER_MINUTE: u32 = 200;
/// Keys of Adobe's pages that are a part of the path.
const IN_THE_PATH: [&str; 3] = ["idp", "mvpd", "accountId"];

/// Checks a file, and creates its policies.
pub(super) fn policies(file: &File) -> Result<Policies, Vec<String>> {
    let mut problems = Vec::new();
    let note = &mut problems;
    for name in twice(file.policies.iter().map(|policy| &*policy.name)) {
        note.push(format!(
            "policies: {name:?} is defined twice: rename one of them"
        ));
    }
    for id in twice(file.applications.iter().map(|application| &*application.id)) {
        note.push(format!(
            "applications: {id:?} is defined twice: remove one of them"
        ));
    }
    let mut rules: BTreeMap<&str, Vec<Rule>> = BTreeMap::new();
    for policy in &file.policies {
        let rules_of_it = rules_of(policy, &file.applications, note);
        rules.insert(&policy.name, rules_of_it);
    }
    let applications = file.applications.iter();
    let applications = applications.map(|entry| {
        let application = application(entry, &rules, note);
        (application.id.clone(), application)
    });
    let applications = applications.collect();
    if file.requests_per_minute == Some(0) {
        note.push("requests_per_minute: 0: must be at least 1; without it, it is 200".to_owned());
    }
    let policies = Policies {
        applications,
        requests_per_minute: file.requests_per_minute.unwrap_or(REQUESTS_PER_MINUTE),
    };
    if problems.is_empty() {
        Ok(policies)
    } else {
        Err(problems)
    }
}

fn twice<'a>(names: impl Iterator<Item = &'a str>) -> BTreeSet<&'a str> {
    let mut seen = BTreeSet::new();
    names.filter(|name| !seen.insert(*name)).collect()
}

fn rules_of(
    policy: &PolicyEntry,
    applications: &[ApplicationEntry],
    note: &mut Vec<String>,
) -> Vec<Rule> {
    let name = &policy.name;
    if policy.rules.is_empty() {
        note.push(format!(
            "policy {name:?} has no rules: add one, or remove the policy"
        ));
    }
    let users = applications
        .iter()
        .filter(|one| one.policies.contains(name));
    let users: Vec<_> = users.map(|one| one.id.clone()).collect();
    if users.is_empty() {
        note.push(format!(
            "policy {name:?} has no application: add it to the policies of one, or remove it"
        ));
    }
    let counted = match policy.counts {
        CountScope::Account => None,
        CountScope::Applications => Some(Condition {
            key: APPLICATION.into(),
            values: users,
        }),
    };
    if counted
        .as_ref()
        .is_some_and(|it| it.values.len() > MAX_WHERE_VALUES)
    {
        note.push(format!(
            "policy {name:?} has more than {MAX_WHERE_VALUES} applications: let it count all \
             streams of the account (\"counts\": \"account\"), or split it"
        ));
    }
    let rules = policy.rules.iter();
    rules
        .map(|entry| rule(policy, entry, counted.as_ref(), note))
        .collect()
}

fn rule(
    policy: &PolicyEntry,
    entry: &RuleEntry,
    counted: Option<&Condition>,
    note: &mut Vec<String>,
) -> Rule {
    let name = entry.name.clone().unwrap_or_else(|| name_of(entry));
    let place = format!("policy {:?}, rule {name:?}", policy.name);
    if entry.max == 0 {
        note.push(format!("{place}: max: 0: must be at least 1"));
    }
    let keys = entry
        .conditions
        .keys()
        .chain(&entry.per)
        .chain(&entry.distinct);
    for key in keys {
        check_key(&place, key, note);
    }
    for key in twice(entry.conditions.keys().chain(&entry.per).map(|key| &**key)) {
        note.push(format!(
            "{place}: {key:?} is in `where` and `per`, or twice in `per`: keep one"
        ));
    }
    let own = usize::from(counted.is_some());
    if entry.conditions.len() + entry.per.len() + own > MAX_WHERE_KEYS {
        let most = MAX_WHERE_KEYS - own;
        note.push(format!(
            "{place}: `where` and `per` have together at most {most} keys here"
        ));
    }
    for (key, values) in &entry.conditions {
        let is_long = values
            .iter()
            .any(|value| value.text().len() > MAX_VALUE_BYTES);
        if is_long || !(1..=MAX_WHERE_VALUES).contains(&values.len()) {
            note.push(format!(
                "{place}: where: {key:?} must have 1 to {MAX_WHERE_VALUES} values of at most \
                 {MAX_VALUE_BYTES} bytes"
            ));
        }
    }
    let conditions = entry.conditions.iter().map(|(key, values)| Condition {
        key: key.clone(),
        values: values.iter().map(super::Value::text).collect(),
    });
    let message = entry.message.clone();
    Rule {
        policy: policy.name.clone(),
        name,
        message: message.unwrap_or_else(|| "The limit of simultaneous streams is reached".into()),
        on_limit: match policy.strategy {
            Strategy::Lifo => OnLimit::Refuse,
            Strategy::Fifo => OnLimit::ReplaceOldest,
        },
        limit: Limit {
            max: entry.max,
            distinct: entry.distinct.clone(),
            conditions: counted.cloned().into_iter().chain(conditions).collect(),
        },
        per: entry.per.clone(),
    }
}

/// A name for a rule without one, such as `at most 2 deviceId per channel`.
fn name_of(entry: &RuleEntry) -> Box<str> {
    let counted = entry.distinct.as_deref().unwrap_or("streams");
    let mut name = format!("at most {} {counted}", entry.max);
    if !entry.per.is_empty() {
        name = format!("{name} per {}", entry.per.join(" and "));
    }
    name.into()
}

fn application(
    entry: &ApplicationEntry,
    rules: &BTreeMap<&str, Vec<Rule>>,
    note: &mut Vec<String>,
) -> Application {
    let place = format!("application {:?}", entry.id);
    let is_user = |c: char| !c.is_control() && c != ':' && c != '/';
    if entry.id.is_empty() || entry.id.len() > MAX_VALUE_BYTES || !entry.id.chars().all(is_user) {
        note.push(format!(
            "{place}: id: must be 1 to {MAX_VALUE_BYTES} bytes without colons, slashes and control \
             characters, as Adobe issued it"
        ));
    }
    let mut of_it: Vec<Rule> = Vec::new();
    for policy in &entry.policies {
        match rules.get(&**policy) {
            Some(rules) => of_it.extend(rules.iter().cloned()),
            None => note.push(format!(
                "{place}: policies: there is no policy {policy:?}: add it to `policies`, or correct \
                 its name"
            )),
        }
    }
    if of_it.len() > MAX_LIMITS {
        note.push(format!(
            "{place}: its policies have {} rules together, but an init has at most {MAX_LIMITS} \
             limits: merge or remove rules",
            of_it.len()
        ));
    }
    if entry.same.len() > MAX_SAME_KEYS {
        note.push(format!(
            "{place}: same: has more than {MAX_SAME_KEYS} keys: remove some"
        ));
    }
    for key in entry
        .required
        .iter()
        .chain(&entry.optional)
        .chain(&entry.same)
    {
        check_key(&place, key, note);
    }
    let required = required(entry, &of_it);
    if required.len() > MAX_KEYS {
        note.push(format!(
            "{place}: requires {} metadata keys, but a stream has room for {MAX_KEYS}: make some \
             optional",
            required.len()
        ));
    }
    Application {
        id: entry.id.clone(),
        name: entry.name.clone().unwrap_or_else(|| entry.id.clone()),
        rules: of_it,
        required,
        same: entry.same.clone(),
        may_terminate: entry.may_terminate,
        tenants: tenants(&place, entry, note),
        of_subject: entry.account == AccountForm::Subject,
    }
}

/// The keys of its rules that are not optional, in their order, then further ones.
fn required(entry: &ApplicationEntry, rules: &[Rule]) -> Vec<Box<str>> {
    let of_rules = rules.iter().flat_map(Rule::keys);
    let of_rules = of_rules.filter(|key| !entry.optional.iter().any(|one| **one == **key));
    let further = entry.required.iter().map(|key| &**key);
    let mut required: Vec<Box<str>> = Vec::new();
    for key in of_rules.chain(further) {
        if !required.iter().any(|one| **one == *key) {
            required.push(key.into());
        }
    }
    required
}

fn tenants(
    place: &str,
    entry: &ApplicationEntry,
    note: &mut Vec<String>,
) -> BTreeMap<Box<str>, Tenant> {
    let mut tenants = BTreeMap::new();
    for (idp, tenant) in &entry.tenants {
        match Tenant::new(tenant) {
            Ok(tenant) => drop(tenants.insert(idp.clone(), tenant)),
            Err(error) => note.push(format!("{place}: tenants: {idp:?}: {error}")),
        }
    }
    tenants
}

fn check_key(place: &str, key: &str, note: &mut Vec<String>) {
    if !(1..=MAX_KEY_BYTES).contains(&key.len()) {
        note.push(format!(
            "{place}: {key:?}: a metadata key has 1 to {MAX_KEY_BYTES} bytes"
        ));
    } else if OWN_KEYS.contains(&key) {
        note.push(format!(
            "{place}: {key:?}: the edge sets this key: use `counts` and `policies`"
        ));
    } else if IN_THE_PATH.contains(&key) {
        note.push(format!(
            "{place}: {key:?} is in the path, not in the metadata: limits are of one account; for a \
             limit of one provider, give it an application of its own"
        ));
    }
}
