//! Replies turned into what people and scripts read: one file a group of commands.

pub mod bonds;
pub mod conflicts;
pub mod controller;
pub mod doctor;
pub mod firewall;
pub mod help;
pub mod info;
pub mod json;
pub mod lack;
pub mod networks;
pub mod peers;
pub mod table;
pub mod token;

/// A text from the network made safe for a terminal and for one line: control characters become `?`.
///
/// Names come from controllers and reasons from whoever answers on the port, so neither may move the cursor or forge
/// a further row.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// `1 entry`, `2 members`: a number with its noun, which is regular.
pub fn count(number: i64, noun: &str) -> String {
    match (number, noun.strip_suffix('y')) {
        (1, _) => format!("1 {noun}"),
        (_, Some(stem)) => format!("{number} {stem}ies"),
        _ => format!("{number} {noun}s"),
    }
}

/// The time of day in UTC, `13:45:01.123456Z`, of microseconds since the Unix epoch.
pub fn time(microseconds: u64) -> String {
    let seconds = microseconds / 1_000_000;
    let [hour, minute, second] = [seconds / 3600 % 24, seconds / 60 % 60, seconds % 60];
    format!("{hour:02}:{minute:02}:{second:02}.{:06}Z", microseconds % 1_000_000)
}
