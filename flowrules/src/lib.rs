//! Flow rules of virtual networks: what an entry is, its binary and JSON forms, and the evaluator that
//! decides about frames.
//!
//! This crate knows nothing of packets, clocks or operating systems: values and bytes in, values and bytes out.
//!
//! * [`rule`]: one entry of a rule list;
//! * [`binary`]: the form that travels inside configurations and capabilities;
//! * [`json`]: the form of the controller API;
//! * [`language`]: the rule language, source text to rule lists;
//! * [`mod@decompile`]: rule lists to source text;
//! * [`mod@lint`]: findings about programs;
//! * [`describe`]: packets in words;
//! * [`mod@evaluate`]: the plain evaluator, the reference for every faster one;
//! * [`explain`]: the walk of one packet through the rules, in words;
//! * [`cases`]: case files, to test rules with;
//! * [`flow`]: verdicts that are remembered.

pub mod binary;
pub mod cases;
pub mod decompile;
pub mod describe;
pub mod ethernet;
pub mod evaluate;
pub mod explain;
pub mod flow;
pub mod json;
mod kind;
pub mod language;
mod layout;
pub mod lint;
pub mod rule;

pub use binary::{DecodeError, MAX_CAPABILITY_RULES, MAX_RULES, decode, decode_one, encode};
pub use evaluate::{
    Accept, Context, Copies, Copy, Credentials, Direction, Entry, Evaluation, Frame, Observer, Outcome, Step,
    Verdict, evaluate, filter, filter_with,
};
pub use flow::{FlowCache, FlowStatistics};
pub use json::{from_json, to_json};
pub use language::closest;
pub use rule::{IntegerRange, Kind, Rule, Target};
