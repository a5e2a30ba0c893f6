//! Names in the settings file that mean nothing. A mistyped one would leave a default in force without a word.

use serde::Deserialize;
use serde::de::value::Error;
use serde::de::{Deserializer, Visitor};
use serde_json::{Map, Value};

use super::{Physical, Settings, Typed, Virtual};

/// Most names told of; a file of another kind has more than anybody would read.
const MAX_TOLD: usize = 20;

/// A line for every name that nothing reads, in order.
pub(super) fn unknown(raw: &Map<String, Value>) -> Vec<String> {
    let mut found = Vec::new();
    section(&mut found, "", Some(raw), fields::<Typed>());
    let inner = |name: &str| raw.get(name).and_then(Value::as_object);
    section(&mut found, "settings.", inner("settings"), fields::<Settings>());
    entries(&mut found, "physical", inner("physical"), fields::<Physical>());
    entries(&mut found, "virtual", inner("virtual"), fields::<Virtual>());
    found.sort_unstable();
    found.truncate(MAX_TOLD);
    found
}

fn entries(found: &mut Vec<String>, place: &str, section_: Option<&Map<String, Value>>, known: &[&str]) {
    for (key, entry) in section_.into_iter().flatten() {
        section(found, &format!("{place}.{key}."), entry.as_object(), known);
    }
}

fn section(found: &mut Vec<String>, place: &str, section: Option<&Map<String, Value>>, known: &[&str]) {
    for name in section.into_iter().flatten().map(|(name, _)| name.as_str()) {
        if known.contains(&name) {
            continue;
        }
        let shown: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
        let guess = closest(name, known).map(|other| format!("; did you mean {other}?")).unwrap_or_default();
        found.push(format!("{place}{shown} is no setting and has no effect{guess}"));
    }
}

/// The known name that somebody most likely meant, if one is close.
fn closest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let folded = name.to_lowercase();
    let distance = |other: &&&str| distance(&folded, &other.to_lowercase());
    let best = known.iter().min_by_key(distance)?;
    let allowed = 1 + name.len() / 4;
    (distance(&best) <= allowed).then_some(*best)
}

/// Letters to be put in, taken out or changed to get from one to the other (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    // A name of any length costs no more than this.
    let one = one.chars().take(64);
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, letter) in one.enumerate() {
        let mut diagonal = row[0];
        row[0] = at + 1;
        for (column, against) in other.iter().enumerate() {
            let changed = diagonal + usize::from(letter != *against);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}

/// The names that a type reads, as its derived implementation tells them.
fn fields<T: Deserialize<'static>>() -> &'static [&'static str] {
    struct Asked<'a>(&'a mut &'static [&'static str]);

    impl<'de> Deserializer<'de> for Asked<'_> {
        type Error = Error;

        fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
            Err(serde::de::Error::custom("only names are asked for"))
        }

        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _: &'static str,
            fields: &'static [&'static str],
            visitor: V,
        ) -> Result<V::Value, Error> {
            *self.0 = fields;
            self.deserialize_any(visitor)
        }

        serde::forward_to_deserialize_any! {
            bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
            newtype_struct seq tuple tuple_struct map enum identifier ignored_any
        }
    }

    let mut names: &'static [&'static str] = &[];
    // It always fails, after it has told them.
    let _ = T::deserialize(Asked(&mut names));
    names
}
