//! The metadata of a request: pairs in its query and in its form.

use std::borrow::Cow;

use super::policy::{APPLICATION, Application, MAX_KEYS, OWN_KEYS, SUPERSEDED};
use crate::client::{MAX_KEY_BYTES, MAX_PAIRS, MAX_VALUE_BYTES, Metadata};

/// Keys that a heartbeat cannot change, according to Adobe's pages. A session has them from its
/// start, so heartbeats omit them.
const FIXED: [&str; 9] = [
    "package",
    "channel",
    "platform",
    "assetId",
    "idp",
    "mvpd",
    "hba_status",
    "hba",
    "mobileDevice",
];
/// Keys that other devices show to their viewers.
const SHOWN: [&str; 2] = ["channel", "deviceName"];

/// Pairs in the order of the request, without duplicates.
#[derive(Debug, Default)]
pub struct Attributes<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Attributes<'a> {
    /// Decodes a query and a form. Of equal keys, the last one counts, and an empty value is none.
    #[must_use]
    pub fn decode(query: &'a str, form: &'a [u8]) -> Self {
        let query = form_urlencoded::parse(query.as_bytes());
        let mut pairs: Vec<(Cow<str>, Cow<str>)> = Vec::new();
        for (key, value) in query.chain(form_urlencoded::parse(form)) {
            match pairs.iter().position(|(other, _)| *other == key) {
                Some(n) => pairs[n].1 = value,
                // A stream has far fewer pairs, and the search is linear.
                None if pairs.len() < 4 * MAX_PAIRS => pairs.push((key, value)),
                None => {}
            }
        }
        pairs.retain(|(_, value)| !value.is_empty());
        Self(pairs)
    }

    /// Whether the request lacks a key that the application requires.
    #[must_use]
    pub fn lack_required(&self, application: &Application) -> bool {
        let lacks = |key: &str| self.0.iter().all(|(other, _)| other != key);
        application.required().any(lacks)
    }

    /// Creates the metadata of a new session, which replaces those with the codes `superseded`.
    /// Returns it and the number of omitted pairs.
    ///
    /// A stream has 16 pairs. Those that the application requires come first, then those that
    /// viewers see; of the rest, as many as fit.
    ///
    /// # Errors
    /// If the value of a key of the rules exceeds the limit of a value.
    pub fn of_session(
        &self,
        application: &Application,
        superseded: &[String],
    ) -> Result<(Metadata, usize), String> {
        let needed = application.keys();
        let needed = |key: &str| needed.contains(key) || application.required().any(|it| it == key);
        let rank = |key: &str| match key {
            key if needed(key) => 0,
            key if SHOWN.contains(&key) => 1,
            _ => 2,
        };
        let codes = superseded.join(",");
        let mut pairs = vec![(APPLICATION, &*application.id)];
        if !superseded.is_empty() {
            pairs.push((SUPERSEDED, &codes));
        }
        let mut sent: Vec<_> = self.pairs().collect();
        sent.sort_by_key(|(key, _)| rank(key));
        let mut omitted = 0;
        for (key, value) in sent {
            if pairs.len() < MAX_PAIRS && fits(key, value) {
                pairs.push((key, value));
            } else if needed(key) {
                let problem = format!("the value of {key} is longer than {MAX_VALUE_BYTES} bytes");
                return Err(problem);
            } else {
                omitted += 1;
            }
        }
        // All limits were checked.
        Ok((Metadata::new(&mut pairs).unwrap_or_default(), omitted))
    }

    /// The metadata that a heartbeat adds or changes; `None` if there is none.
    #[must_use]
    pub fn of_heartbeat(&self) -> Option<Metadata> {
        let changes = self.pairs().filter(|(key, _)| !FIXED.contains(key));
        let changes = changes.filter(|(key, value)| fits(key, value));
        let mut changes: Vec<_> = changes.take(MAX_KEYS).collect();
        let metadata = Metadata::new(&mut changes).ok()?;
        (!metadata.is_empty()).then_some(metadata)
    }

    /// The pairs, except those whose keys the edge sets.
    fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        let pairs = self.0.iter().map(|(key, value)| (&**key, &**value));
        pairs.filter(|(key, _)| !OWN_KEYS.contains(key))
    }
}

fn fits(key: &str, value: &str) -> bool {
    (1..=MAX_KEY_BYTES).contains(&key.len()) && value.len() <= MAX_VALUE_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::adobe::policy::Policies;

    fn policies() -> Policies {
        let file = r#"
            applications = [{id = "app", policies = ["p"], required = ["package"]}]
            policies = [{name = "p", rules = [{name = "r", max = 2, per = ["channel"]}]}]
        "#;
        Policies::parse(file).unwrap()
    }

    fn pairs(metadata: &Metadata) -> Vec<(&str, &str)> {
        metadata.pairs().collect()
    }

    #[test]
    fn pairs_of_the_form_follow_those_of_the_query_and_the_last_one_counts() {
        let attributes = Attributes::decode("a=1&b=x+y&c=", b"a=2&d=%C3%A9%26");
        let mut all: Vec<_> = attributes.pairs().collect();
        all.sort_unstable();
        assert_eq!(all, [("a", "2"), ("b", "x y"), ("d", "é&")]);
    }

    #[test]
    fn a_session_without_a_required_key_is_noticed() {
        let policies = policies();
        let app = policies.application("app").unwrap();
        for (query, lacks) in [
            ("channel=1&package=x", false),
            ("channel=1", true),
            ("package=x&channel=", true),
        ] {
            assert_eq!(
                Attributes::decode(query, b"").lack_required(app),
                lacks,
                "{query}"
            );
        }
    }

    #[test]
    fn keys_of_rules_have_room_before_all_others() {
        let policies = policies();
        let app = policies.application("app").unwrap();
        let many: String = (0..20).map(|n| format!("k{n:02}=v&")).collect();
        let query = format!("{many}deviceName=tv&package=x&channel=1&applicationId=forged");
        let attributes = Attributes::decode(&query, b"");
        let session = attributes.of_session(app, &["0a1b2c3d".to_owned()]);
        let (metadata, omitted) = session.unwrap();
        let kept = pairs(&metadata);
        assert_eq!(kept.len(), MAX_PAIRS);
        for pair in [
            ("applicationId", "app"),
            ("superseded", "0a1b2c3d"),
            ("channel", "1"),
            ("package", "x"),
            ("deviceName", "tv"),
            ("k00", "v"),
        ] {
            assert!(kept.contains(&pair), "{pair:?}");
        }
        assert_eq!(omitted, 9);
    }

    #[test]
    fn a_long_value_is_omitted_unless_a_rule_needs_it() {
        let policies = policies();
        let app = policies.application("app").unwrap();
        let long = "x".repeat(MAX_VALUE_BYTES + 1);
        let query = format!("package=x&channel=1&show={long}");
        let (metadata, omitted) = Attributes::decode(&query, b"")
            .of_session(app, &[])
            .unwrap();
        assert_eq!((metadata.get("show"), omitted), (None, 1));
        let query = format!("package=x&channel={long}");
        let error = Attributes::decode(&query, b"")
            .of_session(app, &[])
            .unwrap_err();
        assert_eq!(error, "the value of channel is longer than 256 bytes");
    }

    #[test]
    fn a_heartbeat_changes_no_fixed_key() {
        let heartbeat = |query| Attributes::decode(query, b"").of_heartbeat();
        assert!(heartbeat("channel=2&hba=true&applicationId=x").is_none());
        let changed = heartbeat("channel=2&state=paused").unwrap();
        assert_eq!(pairs(&changed), [("state", "paused")]);
        assert!(heartbeat("").is_none());
    }
}
