//! Enums whose values are words, such as those of the contract.

/// Defines an enum whose values have a word each. serde writes the word as JSON, and the number in
/// snapshots.
macro_rules! words {
    (
        $(#[$attribute:meta])*
        pub enum $name:ident { $($(#[$of_value:meta])* $value:ident = $word:literal,)+ }
    ) => {
        $(#[$attribute])*
        pub enum $name { $($(#[$of_value])* $value,)+ }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_unit_variant(stringify!($name), *self as u32, self.as_str())
            }
        }

        impl $name {
            /// All values, in the order of their numbers.
            pub const ALL: [Self; [$($word),+].len()] = [$(Self::$value),+];

            /// Its word.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$value => $word,)+ }
            }

            /// The value with this word.
            #[must_use]
            pub fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$value),)+ _ => None }
            }
        }
    };
}
