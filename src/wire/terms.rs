//! The terms of an `init` in bodies and in the log.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, MapAccess, Visitor},
    ser::SerializeStruct,
};

use super::{
    Code, Problem,
    fields::{Array, Object, Text, WholeNumber, not},
    metadata_field::Scalar,
};
use crate::domain::{
    Condition, GivenReason, Limit, MAX_KEY_BYTES, MAX_LIMITS, MAX_SAME_KEYS, MAX_VALUE_BYTES,
    MAX_WHERE_KEYS, MAX_WHERE_VALUES, OnLimit, Terms,
};

/// The fields of an `init` with its terms.
#[derive(Deserialize)]
pub(super) struct TermsBody<'a> {
    #[serde(borrow)]
    pub(super) limits: Option<Array<Object<LimitBody<'a>>>>,
    #[serde(borrow)]
    pub(super) same: Option<Array<Text<'a>>>,
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

fn bad(field: &'static str, message: impl Into<Cow<'static, str>>) -> Problem {
    Problem::field(Code::BadField, field, message)
}

fn limits(Array(bodies): Array<Object<LimitBody>>) -> Result<Vec<Limit>, Problem> {
    if bodies.len() > MAX_LIMITS {
        let message = format!("must be an array of at most {MAX_LIMITS} limits, not a longer one");
        return Err(bad("limits", message));
    }
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

fn same(Array(keys): Array<Text>) -> Result<Vec<Box<str>>, Problem> {
    if keys.len() > MAX_SAME_KEYS {
        let message =
            format!("must be an array of at most {MAX_SAME_KEYS} metadata keys, not a longer one");
        return Err(bad("same", message));
    }
    keys.iter().map(|key| key_of("same", key)).collect()
}

fn key_of(field: &'static str, Text(key): &Text) -> Result<Box<str>, Problem> {
    if (1..=MAX_KEY_BYTES).contains(&key.len()) {
        return Ok((**key).into());
    }
    let message = "each metadata key must be 1 to 64 bytes, not an empty or a longer one";
    Err(bad(field, message))
}

fn on_limit(Text(word): &Text) -> Result<OnLimit, Problem> {
    let mut all = OnLimit::ALL.into_iter();
    all.find(|choice| choice.as_str() == word).ok_or_else(|| {
        bad(
            "on_limit",
            "must be refuse or replace_oldest, not another string",
        )
    })
}

fn reason(Text(text): &Text) -> Result<GivenReason, Problem> {
    GivenReason::new(text).map_err(|_| bad("reason", BAD_REASON))
}

/// The message for a reason that is not acceptable.
pub(super) const BAD_REASON: &str =
    "must be 1 to 64 bytes of UTF-8 without control characters, not another string";

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
                while let Some((Text(key), Array(values))) =
                    object.next_entry::<Text<'de>, Array<Scalar<'de>>>()?
                {
                    let is_long = |Scalar(value): &Scalar| value.len() > MAX_VALUE_BYTES;
                    if conditions.len() == MAX_WHERE_KEYS {
                        return Err(not("one of more keys", &self));
                    } else if !(1..=MAX_KEY_BYTES).contains(&key.len()) {
                        return Err(not("one with an empty or a longer key", &self));
                    } else if conditions.iter().any(|other| *other.key == key) {
                        return Err(not("one with a duplicate key", &self));
                    } else if !(1..=MAX_WHERE_VALUES).contains(&values.len()) {
                        return Err(not("one with fewer or more values", &self));
                    } else if values.iter().any(is_long) {
                        return Err(not("one with a value of more than 256 bytes", &self));
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

/// Terms as JSON, in the log.
#[derive(Clone)]
pub(super) struct TermsField<'a>(pub(super) Cow<'a, Terms>);

impl Serialize for TermsField<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Terms {
            limits,
            same,
            on_limit,
            reason,
        } = &*self.0;
        let mut terms = to.serialize_struct("terms", 4)?;
        if !limits.is_empty() {
            let limits: Vec<_> = limits.iter().map(LimitOut).collect();
            terms.serialize_field("limits", &limits)?;
        }
        if !same.is_empty() {
            terms.serialize_field("same", same)?;
        }
        if *on_limit != OnLimit::default() {
            terms.serialize_field("on_limit", on_limit.as_str())?;
        }
        if let Some(reason) = reason {
            terms.serialize_field("reason", reason.as_str())?;
        }
        terms.end()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for TermsField<'a> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        let terms = TermsBody::deserialize(json)?.decode();
        let terms = terms.map_err(|problem| D::Error::custom(problem.message))?;
        Ok(Self(Cow::Owned(*terms.unwrap_or_default())))
    }
}

/// A limit as JSON, in bodies and in the log.
pub(super) struct LimitOut<'a>(pub(super) &'a Limit);

impl Serialize for LimitOut<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Limit {
            max,
            distinct,
            conditions,
        } = self.0;
        let mut limit = to.serialize_struct("limit", 3)?;
        limit.serialize_field("max", max)?;
        if let Some(key) = distinct {
            limit.serialize_field("distinct", key)?;
        }
        if !conditions.is_empty() {
            limit.serialize_field("where", &WhereOut(conditions))?;
        }
        limit.end()
    }
}

struct WhereOut<'a>(&'a [Condition]);

impl Serialize for WhereOut<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.0.iter().map(|one| (&one.key, &one.values)))
    }
}
