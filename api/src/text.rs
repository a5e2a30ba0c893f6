//! Values that JSON has as text: IDs, addresses, prefixes.

use std::fmt::Display;

use serde::{Serialize, Serializer};

/// A value as its text.
///
/// # Errors
/// What the serializer says.
pub fn serialize<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// A value as its text, `null` for none.
///
/// # Errors
/// What the serializer says.
pub fn optional<T: Display, S: Serializer>(value: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
    value.as_ref().map(ToString::to_string).serialize(serializer)
}

/// Values as their texts.
///
/// # Errors
/// What the serializer says.
pub fn list<T: Display, S: Serializer>(values: &[T], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(values.iter().map(ToString::to_string))
}
