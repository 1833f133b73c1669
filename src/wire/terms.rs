//! The terms of an `init` in bodies and in the log.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error, MapAccess, Visitor},
};

use super::{
    Problem,
    fields::{Object, Text, WholeNumber, not},
    message::{at_most, bad},
    metadata_field::{Scalar, bad_key, long_value},
};
use crate::domain::{
    Condition, GivenReason, Limit, MAX_KEY_BYTES, MAX_LIMITS, MAX_REASON_BYTES, MAX_SAME_KEYS,
    MAX_VALUE_BYTES, MAX_WHERE_KEYS, MAX_WHERE_VALUES, OnLimit, Terms,
};

/// The fields of an `init` with its terms.
#[derive(Deserialize)]
pub(super) struct TermsBody<'a> {
    #[serde(borrow)]
    pub(super) limits: Option<Vec<Object<LimitBody<'a>>>>,
    #[serde(borrow)]
    pub(super) same: Option<Vec<Text<'a>>>,
    #[serde(borrow)]
    pub(super) on_limit: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) reason: Option<Text<'a>>,
}

/// A limit. An unknown key is rejected, since it may narrow the limit in a later version.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LimitBody<'a> {
    max: Option<WholeNumber>,
    #[serde(borrow)]
    distinct: Option<Text<'a>>,
    #[serde(rename = "where")]
    conditions: Option<Where>,
}

/// Conditions, rejected at the first key too many.
struct Where(Vec<Condition>);

impl TermsBody<'_> {
    /// Checks the limits of all fields. `None` if none is used.
    pub(super) fn decode(self) -> Result<Option<Box<Terms>>, Problem> {
        let terms = Terms {
            limits: self.limits.map_or_else(|| Ok(Vec::new()), limits)?,
            same: self.same.map_or_else(|| Ok(Vec::new()), same)?,
            on_limit: self
                .on_limit
                .map_or_else(|| Ok(OnLimit::default()), |word| on_limit(&word))?,
            reason: self.reason.map(|text| reason(&text)).transpose()?,
        };
        Ok(terms.first_field().is_some().then(|| Box::new(terms)))
    }
}

fn limits(bodies: Vec<Object<LimitBody>>) -> Result<Vec<Limit>, Problem> {
    at_most(MAX_LIMITS, "limits", "limits", bodies.len())?;
    let limits = bodies.into_iter().map(|Object(body)| {
        let max = body
            .max
            .ok_or_else(|| bad("limits", "each element must have max"))?;
        let distinct = body
            .distinct
            .map(|key| key_of("limits", &key))
            .transpose()?;
        Ok(Limit {
            max: max.0,
            distinct,
            conditions: body.conditions.map(|Where(all)| all).unwrap_or_default(),
        })
    });
    limits.collect()
}

fn same(keys: Vec<Text>) -> Result<Vec<Box<str>>, Problem> {
    at_most(MAX_SAME_KEYS, "metadata keys", "same", keys.len())?;
    keys.iter().map(|key| key_of("same", key)).collect()
}

fn key_of(field: &'static str, Text(key): &Text) -> Result<Box<str>, Problem> {
    if (1..=MAX_KEY_BYTES).contains(&key.len()) {
        return Ok((**key).into());
    }
    let message = format!(
        "each metadata key must be 1 to {MAX_KEY_BYTES} bytes, not an empty or a longer one"
    );
    Err(bad(field, message))
}

fn on_limit(Text(word): &Text) -> Result<OnLimit, Problem> {
    OnLimit::from_word(word).ok_or_else(|| {
        let [refuse, replace] = OnLimit::ALL.map(OnLimit::as_str);
        let message = format!("must be {refuse} or {replace}, not another string");
        bad("on_limit", message)
    })
}

fn reason(Text(text): &Text) -> Result<GivenReason, Problem> {
    GivenReason::new(text).map_err(|_| bad("reason", bad_reason()))
}

/// The message for a reason that is not acceptable.
pub(super) fn bad_reason() -> String {
    format!(
        "must be 1 to {MAX_REASON_BYTES} bytes of UTF-8 without control characters, not another \
         string"
    )
}

impl<'de> Deserialize<'de> for Where {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct Conditions;

        impl<'de> Visitor<'de> for Conditions {
            type Value = Vec<Condition>;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                write!(
                    f,
                    "an object of at most {MAX_WHERE_KEYS} metadata keys with arrays of 1 to \
                     {MAX_WHERE_VALUES} values"
                )
            }

            fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
                let mut conditions: Vec<Condition> = Vec::new();
                while let Some((Text(key), values)) =
                    object.next_entry::<Text<'de>, Vec<Scalar<'de>>>()?
                {
                    let is_long = |Scalar(value): &Scalar| value.len() > MAX_VALUE_BYTES;
                    if conditions.len() == MAX_WHERE_KEYS {
                        return Err(not(
                            &format!("one of more than {MAX_WHERE_KEYS} keys"),
                            &self,
                        ));
                    } else if !(1..=MAX_KEY_BYTES).contains(&key.len()) {
                        return Err(not(&bad_key(), &self));
                    } else if conditions.iter().any(|other| *other.key == key) {
                        return Err(not("one with a duplicate key", &self));
                    } else if !(1..=MAX_WHERE_VALUES).contains(&values.len()) {
                        let found = format!("one with no or more than {MAX_WHERE_VALUES} values");
                        return Err(not(&found, &self));
                    } else if values.iter().any(is_long) {
                        return Err(not(&long_value(), &self));
                    }
                    conditions.push(Condition {
                        key: key.into(),
                        values: values
                            .into_iter()
                            .map(|Scalar(value)| value.into())
                            .collect(),
                    });
                }
                Ok(conditions)
            }
        }

        json.deserialize_map(Conditions).map(Self)
    }
}

/// Terms in the log.
#[derive(Clone, Serialize)]
pub(super) struct TermsField<'a>(pub(super) Cow<'a, Terms>);

impl<'de: 'a, 'a> Deserialize<'de> for TermsField<'a> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        let terms = TermsBody::deserialize(json)?.decode();
        let terms = terms.map_err(|problem| D::Error::custom(problem.message))?;
        Ok(Self(Cow::Owned(*terms.unwrap_or_default())))
    }
}
