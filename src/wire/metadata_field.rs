//! Metadata in bodies: strict in an `init`, lenient in a heartbeat, which counts all the same.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, MapAccess, SeqAccess, Unexpected, Visitor},
};
use serde_json::value::RawValue;
use smallvec::SmallVec;

use super::fields::{Text, not};
use crate::domain::{
    MAX_KEY_BYTES, MAX_PAIRS, MAX_VALUE_BYTES, Metadata, MetadataError, MetadataPatch,
};

/// The metadata of a new stream, rejected at the first pair too many.
pub(super) struct MetadataField(pub(super) Metadata);

/// The change of a stream's metadata; [`MetadataPatch::Invalid`] if it is not acceptable.
pub(super) struct PatchField(pub(super) MetadataPatch);

/// As [`PatchField`], but rejected with a reason.
pub(super) struct StrictPatchField;

/// A metadata value: a string, or a number or a boolean as its JSON text.
pub(super) struct Scalar<'a>(pub(super) Cow<'a, str>);

/// A value, by its JSON text.
enum Value<'a> {
    String(Cow<'a, str>),
    /// A number or a boolean.
    Literal(&'a str),
    Null,
    Other(Unexpected<'a>),
}

#[derive(Default)]
struct Pairs<'a> {
    set: SmallVec<[(Text<'a>, Cow<'a, str>); 4]>,
    removed: Vec<Box<str>>,
    has_literals: bool,
}

/// Names the objects that are accepted.
struct Objects;

impl fmt::Display for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "an object of at most {MAX_PAIRS} strings, numbers or booleans with keys of 1 to \
             {MAX_KEY_BYTES} bytes and values of at most {MAX_VALUE_BYTES} bytes"
        )
    }
}

impl<'a> Value<'a> {
    fn of(raw: &'a RawValue) -> Self {
        let json = raw.get();
        let inner = json.strip_prefix('"').and_then(|s| s.strip_suffix('"'));
        match (json.as_bytes().first(), inner) {
            (Some(b'"'), Some(inner)) if !inner.contains('\\') => Self::String(inner.into()),
            (Some(b'"'), _) => match serde_json::from_str::<String>(json) {
                Ok(string) => Self::String(string.into()),
                Err(_) => Self::Other(Unexpected::Other("a string with a bad escape")),
            },
            (Some(b'{'), _) => Self::Other(Unexpected::Map),
            (Some(b'['), _) => Self::Other(Unexpected::Seq),
            (Some(b'n'), _) => Self::Null,
            _ => Self::Literal(json),
        }
    }
}

impl<'a> Pairs<'a> {
    /// Adds a pair. Returns false at the first pair too many.
    fn push(&mut self, key: Text<'a>, value: Value<'a>) -> bool {
        match value {
            Value::String(value) => self.set.push((key, value)),
            Value::Literal(value) => {
                self.has_literals = true;
                self.set.push((key, value.into()));
            }
            Value::Null => self.removed.push(key.0.into()),
            Value::Other(_) => return false,
        }
        self.set.len() + self.removed.len() <= MAX_PAIRS
    }

    /// Checks the limits of the keys to remove, and that no key is a duplicate of one.
    fn check_removed(&self) -> Result<(), MetadataError> {
        for (n, key) in self.removed.iter().enumerate() {
            if !(1..=MAX_KEY_BYTES).contains(&key.len()) {
                return Err(MetadataError::Key);
            }
            let set = self.set.iter().any(|(other, _)| *other.0 == **key);
            if set || self.removed[..n].contains(key) {
                return Err(MetadataError::Twice);
            }
        }
        Ok(())
    }

    fn metadata(mut self) -> Result<Metadata, MetadataError> {
        if self.set.len() + self.removed.len() > MAX_PAIRS {
            return Err(MetadataError::TooManyPairs);
        }
        self.check_removed()?;
        Metadata::new(&mut self.set)
    }

    fn patch(self) -> Result<MetadataPatch, MetadataError> {
        if !self.has_literals && self.removed.is_empty() {
            return self.metadata().map(MetadataPatch::Strings);
        }
        let removed = self.removed.clone();
        MetadataPatch::merge(self.metadata()?, removed)
    }
}

fn reason<E: Error>(error: MetadataError, visitor: &dyn serde::de::Expected) -> E {
    let came = match error {
        MetadataError::TooManyPairs => format!("one of more than {MAX_PAIRS} values"),
        MetadataError::Key => bad_key(),
        MetadataError::Value => long_value(),
        MetadataError::Twice => "one with a duplicate key".to_owned(),
    };
    not(&came, visitor)
}

/// An object with a value that is too long, in words.
pub(super) fn long_value() -> String {
    format!("one with a value of more than {MAX_VALUE_BYTES} bytes")
}

/// An object with a key that is not acceptable, in words.
pub(super) fn bad_key() -> String {
    format!("one with an empty key, or one of more than {MAX_KEY_BYTES} bytes")
}

/// Reads an object strictly, up to the first pair too many.
struct Strict;

impl<'de> Visitor<'de> for Strict {
    type Value = Pairs<'de>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{Objects}")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Pairs<'de>, A::Error> {
        let mut pairs = Pairs::default();
        while let Some((key, StrictValue(value))) = object.next_entry()? {
            if !pairs.push(key, value) {
                return Err(reason(MetadataError::TooManyPairs, &self));
            }
        }
        Ok(pairs)
    }

    /// An empty array is the empty object of some languages.
    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Pairs<'de>, A::Error> {
        match array.next_element::<IgnoredAny>()? {
            None => Ok(Pairs::default()),
            Some(_) => Err(A::Error::invalid_type(Unexpected::Seq, &self)),
        }
    }
}

impl<'de> Deserialize<'de> for MetadataField {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        let pairs = json.deserialize_any(Strict)?;
        pairs.metadata().map(Self).map_err(|e| reason(e, &Strict))
    }
}

impl<'de> Deserialize<'de> for StrictPatchField {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        let pairs = json.deserialize_any(Strict)?;
        pairs.patch().map(|_| Self).map_err(|e| reason(e, &Strict))
    }
}

/// A value that is rejected unless it is a string, a number, a boolean or null.
struct StrictValue<'a>(Value<'a>);

impl<'de> Deserialize<'de> for StrictValue<'de> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        match Value::of(<&RawValue>::deserialize(json)?) {
            Value::Other(other) => {
                let expected = "a string, a number or a boolean";
                Err(D::Error::invalid_type(other, &expected))
            }
            value => Ok(Self(value)),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Scalar<'a> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        let expected = "a string, a number or a boolean";
        match Value::of(<&RawValue>::deserialize(json)?) {
            Value::String(value) => Ok(Self(value)),
            Value::Literal(value) => Ok(Self(value.into())),
            Value::Null => Err(D::Error::invalid_type(Unexpected::Unit, &expected)),
            Value::Other(other) => Err(D::Error::invalid_type(other, &expected)),
        }
    }
}

impl<'de> Deserialize<'de> for PatchField {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct Lenient;

        impl<'de> Visitor<'de> for Lenient {
            type Value = MetadataPatch;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                write!(f, "{Objects}")
            }

            fn visit_map<A: MapAccess<'de>>(
                self,
                mut object: A,
            ) -> Result<MetadataPatch, A::Error> {
                let mut pairs = Pairs::default();
                while let Some((key, value)) = object.next_entry::<Text<'de>, &RawValue>()? {
                    if !pairs.push(key, Value::of(value)) {
                        while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                        return Ok(MetadataPatch::Invalid);
                    }
                }
                Ok(pairs.patch().unwrap_or(MetadataPatch::Invalid))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<MetadataPatch, A::Error> {
                let mut is_empty = true;
                while array.next_element::<IgnoredAny>()?.is_some() {
                    is_empty = false;
                }
                let none = MetadataPatch::merge(Metadata::default(), Vec::new());
                Ok(none
                    .ok()
                    .filter(|_| is_empty)
                    .unwrap_or(MetadataPatch::Invalid))
            }

            fn visit_str<E: Error>(self, _: &str) -> Result<MetadataPatch, E> {
                Ok(MetadataPatch::Invalid)
            }

            fn visit_u64<E: Error>(self, _: u64) -> Result<MetadataPatch, E> {
                Ok(MetadataPatch::Invalid)
            }

            fn visit_i64<E: Error>(self, _: i64) -> Result<MetadataPatch, E> {
                Ok(MetadataPatch::Invalid)
            }

            fn visit_f64<E: Error>(self, _: f64) -> Result<MetadataPatch, E> {
                Ok(MetadataPatch::Invalid)
            }

            fn visit_bool<E: Error>(self, _: bool) -> Result<MetadataPatch, E> {
                Ok(MetadataPatch::Invalid)
            }
        }

        json.deserialize_any(Lenient).map(Self)
    }
}
