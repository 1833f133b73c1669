//! Types of the fields of a body. Each names the JSON that it accepts, as `must be …` for people.
//!
//! [`super::diagnosis`] turns these words and serde's error into the message for the sender.

use std::{borrow::Cow, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Unexpected, Visitor, value::MapAccessDeserializer},
};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::domain::{GivenReason, ReasonError};

/// A string, borrowed from the body if it has no escapes.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

/// A UUID in any of the forms of [`Uuid::try_parse`].
pub(super) struct UuidField(pub(super) Uuid);

/// A number without a fraction, so that `2.0` is 2, in inclusive bounds.
#[derive(Clone, Copy)]
pub(super) struct Whole<const FROM: u32, const TO: u32>(pub(super) u32);

pub(super) type WholeNumber = Whole<1, { u32::MAX }>;

impl<const FROM: u32> Whole<FROM, { u16::MAX as u32 }> {
    pub(super) fn get_u16(self) -> u16 {
        u16::try_from(self.0).unwrap_or(u16::MAX)
    }
}

/// A JSON object. serde alone would also accept an array of the fields' values.
pub(super) struct Object<T>(pub(super) T);

/// The reason of a stop; an error if it is not acceptable. The stop counts all the same.
pub(super) struct ReasonField(pub(super) Result<GivenReason, ReasonError>);

/// The error for a value of the right JSON type that is not acceptable.
pub(super) fn not<E: Error>(came: &str, visitor: &dyn serde::de::Expected) -> E {
    E::invalid_value(Unexpected::Other(came), visitor)
}

impl AsRef<str> for Text<'_> {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for UuidField {
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

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct Pairs<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Pairs<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(object))
            }
        }

        json.deserialize_map(Pairs(PhantomData)).map(Self)
    }
}

impl<'de> Deserialize<'de> for ReasonField {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        let json = <&RawValue>::deserialize(json)?;
        let text = serde_json::from_str::<Text>(json.get());
        let text = text.map_err(|_| ReasonError);
        Ok(Self(text.and_then(|Text(text)| GivenReason::new(&text))))
    }
}
