//! The setting `lanes`: how many threads carry out what the packet thread decides.

use serde::Deserialize;
use serde::de::{Deserializer, Error};
use serde_json::Value;

/// Lanes at most.
pub const MAX_LANES: u8 = 16;
/// Lanes at most where nobody said how many: each takes memory, and one thread has to feed all.
const MAX_AUTOMATIC: usize = 8;
/// With fewer processors lanes would only take them from those whose packets are carried.
const MIN_PROCESSORS: usize = 4;

/// How many lanes there are.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum LanesSetting {
    /// As the number of processors suggests.
    #[default]
    Auto,
    /// So many, at most [`MAX_LANES`]; none = the packet thread does everything.
    Fixed(u8),
}

impl LanesSetting {
    /// How many there are with that many processors.
    pub fn count(self, processors: usize) -> usize {
        match self {
            Self::Fixed(count) => count.into(),
            Self::Auto if processors < MIN_PROCESSORS => 0,
            Self::Auto => (processors - 1).min(MAX_AUTOMATIC),
        }
    }
}

impl std::fmt::Display for LanesSetting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Auto => write!(f, "auto"),
            Self::Fixed(count) => write!(f, "{count}"),
        }
    }
}

impl<'de> Deserialize<'de> for LanesSetting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let number = match &value {
            Value::Null => return Ok(Self::Auto),
            Value::String(text) if text == "auto" => return Ok(Self::Auto),
            Value::String(text) => text.parse().ok(),
            other => other.as_u64(),
        };
        let number = number.and_then(|n| u8::try_from(n).ok()).filter(|n| *n <= MAX_LANES);
        let wrong = || {
            D::Error::custom(format!("`lanes` is {value}, not \"auto\" or a number from 0 to {MAX_LANES}"))
        };
        number.map(Self::Fixed).ok_or_else(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_processors_have_no_lanes() {
        let count = |text: &str, processors| -> usize {
            serde_json::from_str::<LanesSetting>(text).unwrap().count(processors)
        };
        assert_eq!([1, 2, 3, 4, 9, 64].map(|n| count("\"auto\"", n)), [0, 0, 0, 3, 8, 8]);
        assert_eq!([count("null", 2), count("0", 64), count("2", 1), count("\"16\"", 2)], [0, 0, 2, 16]);
    }
}
