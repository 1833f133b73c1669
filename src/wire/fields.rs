//! Types of the fields of a body. Each names the JSON that it accepts, as `must be …` for people.
//!
//! [`super::diagnosis`] turns these words and serde's error into the message for the sender.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Unexpected, Visitor},
};
use smallvec::SmallVec;
use uuid::Uuid;

use crate::domain::{MAX_KEY_BYTES, MAX_PAIRS, MAX_VALUE_BYTES, Metadata, MetadataError};

/// A string, borrowed from the body if it has no escapes.
#[derive(Debug)]
pub(super) struct Text<'a>(pub(super) Cow<'a, str>);

/// A UUID in any of the forms of [`Uuid::try_parse`].
pub(super) struct Id(pub(super) Uuid);

/// A number without a fraction, so that `2.0` is 2, in inclusive bounds.
#[derive(Clone, Copy)]
pub(super) struct Whole<const FROM: u32, const TO: u32>(pub(super) u32);

/// A positive number.
pub(super) type WholeNumber = Whole<1, { u32::MAX }>;

impl<const FROM: u32> Whole<FROM, { u16::MAX as u32 }> {
    pub(super) fn get_u16(self) -> u16 {
        u16::try_from(self.0).unwrap_or(u16::MAX)
    }
}

/// An array of values of one type.
pub(super) struct Array<T>(pub(super) Vec<T>);

/// An object of strings, rejected at the first pair too many.
pub(super) struct MetadataField(pub(super) Metadata);

/// The error for a value of the right JSON type that is not acceptable.
pub(super) fn not<E: Error>(came: &'static str, visitor: &dyn serde::de::Expected) -> E {
    E::invalid_value(Unexpected::Other(came), visitor)
}

impl AsRef<str> for Text<'_> {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct Strings;

        impl<'de> Visitor<'de> for Strings {
            type Value = Cow<'de, str>;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Cow::Borrowed(text))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Cow::Owned(text.to_owned()))
            }
        }

        json.deserialize_str(Strings).map(Self)
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct Ids;

        impl Visitor<'_> for Ids {
            type Value = Uuid;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a UUID")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Uuid, E> {
                Uuid::try_parse(text).map_err(|_| not("another string", &self))
            }
        }

        json.deserialize_str(Ids).map(Self)
    }
}

impl<'de, const FROM: u32, const TO: u32> Deserialize<'de> for Whole<FROM, TO> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct Numbers<const FROM: u32, const TO: u32>;

        impl<const FROM: u32, const TO: u32> Visitor<'_> for Numbers<FROM, TO> {
            type Value = u32;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                write!(f, "a whole number from {FROM} to {TO}")
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<u32, E> {
                match u32::try_from(number) {
                    Ok(number) if number < FROM => Err(not("zero", &self)),
                    Ok(number) if number <= TO => Ok(number),
                    _ => Err(not("a larger number", &self)),
                }
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<u32, E> {
                match u64::try_from(number) {
                    Ok(number) => self.visit_u64(number),
                    Err(_) => Err(not("a negative number", &self)),
                }
            }

            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a whole number, and the cast of one out of range is out of range too"
            )]
            fn visit_f64<E: Error>(self, number: f64) -> Result<u32, E> {
                if number.fract() != 0.0 {
                    Err(not("a number with a fraction", &self))
                } else if number < 0.0 {
                    Err(not("a negative number", &self))
                } else {
                    self.visit_u64(number as u64)
                }
            }
        }

        json.deserialize_u32(Numbers::<FROM, TO>).map(Self)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Array<T> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct Elements<T>(Vec<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Elements<T> {
            type Value = Vec<T>;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(mut self, mut array: A) -> Result<Vec<T>, A::Error> {
                while let Some(element) = array.next_element()? {
                    self.0.push(element);
                }
                Ok(self.0)
            }
        }

        json.deserialize_seq(Elements(Vec::new())).map(Self)
    }
}

impl<'de> Deserialize<'de> for MetadataField {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct Pairs;

        impl<'de> Visitor<'de> for Pairs {
            type Value = Metadata;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                write!(
                    f,
                    "an object of at most {MAX_PAIRS} strings with keys of 1 to {MAX_KEY_BYTES} \
                     bytes and values of at most {MAX_VALUE_BYTES} bytes"
                )
            }

            fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Metadata, A::Error> {
                let mut pairs: SmallVec<[(Text<'de>, Text<'de>); 4]> = SmallVec::new();
                while let Some(pair) = object.next_entry()? {
                    pairs.push(pair);
                    if pairs.len() > MAX_PAIRS {
                        break;
                    }
                }
                Metadata::new(&mut pairs).map_err(|error| {
                    let came = match error {
                        MetadataError::TooManyPairs => "one of more strings",
                        MetadataError::Key => "one with an empty or a longer key",
                        MetadataError::Value => "one with a longer value",
                        MetadataError::Twice => "one with a duplicate key",
                    };
                    not(came, &self)
                })
            }
        }

        json.deserialize_map(Pairs).map(Self)
    }
}

/// Whether serde may omit a number.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
pub(super) const fn is_zero(n: &u64) -> bool {
    *n == 0
}
