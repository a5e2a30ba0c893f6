//! Replies turned into what people and scripts read: one file a group of commands.

pub mod bonds;
pub mod controller;
pub mod help;
pub mod info;
pub mod json;
pub mod networks;
pub mod peers;
pub mod table;

/// A text from the network made safe for a terminal and for one line: control characters become `?`.
///
/// Names come from controllers and reasons from whoever answers on the port, so neither may move the cursor or forge
/// a further row.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}
