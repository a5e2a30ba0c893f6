//! The fields that decide who gets in are read strictly: a value of another type than the field has is refused, and nothing
//! of the request is applied. `{"private": "yes"}` once made a network public.
//!
//! What can only mean one thing is taken, as zerotier-one takes it: 1 and 0 for a flag, a number as text. All other fields
//! keep the lenient conversions that existing tools rely on. `null` is "not given", as if the field were not there.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::http::HttpReply;

/// What a field holds.
#[derive(Clone, Copy)]
enum Wanted {
    Flag,
    /// A number of at least 0 without fraction.
    Count,
    /// Numbers of 32 bits, also as decimal text.
    Ids,
    /// `authTokens`.
    Tokens,
    /// A list of objects, each of which may have the flag `default`.
    Capabilities,
    /// A list.
    List,
}

/// What is looked at of a capability.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Definition {
    default: Value,
}

/// Fields of a network that decide who gets in, or who may do what.
const NETWORK: [(&str, Wanted); 7] = [
    ("private", Wanted::Flag),
    ("ssoEnabled", Wanted::Flag),
    ("authTokens", Wanted::Tokens),
    ("certificateTimeoutWindowSize", Wanted::Count),
    ("autoAssignLimit", Wanted::Count),
    ("capabilities", Wanted::Capabilities),
    ("rules", Wanted::List),
];

/// Those of a member.
const MEMBER: [(&str, Wanted); 6] = [
    ("authorized", Wanted::Flag),
    ("activeBridge", Wanted::Flag),
    ("noAutoAssignIps", Wanted::Flag),
    ("ssoExempt", Wanted::Flag),
    ("authenticationExpiryTime", Wanted::Count),
    ("capabilities", Wanted::Ids),
];

/// Refuses a network's fields of a wrong type, and takes out those that are `null`.
pub(crate) fn network(body: &mut Map<String, Value>) -> Result<(), HttpReply> {
    check(body, &NETWORK)
}

/// The same for a member's.
pub(crate) fn member(body: &mut Map<String, Value>) -> Result<(), HttpReply> {
    check(body, &MEMBER)
}

fn check(body: &mut Map<String, Value>, fields: &[(&str, Wanted)]) -> Result<(), HttpReply> {
    for (field, wanted) in fields {
        let Some(value) = body.get_mut(*field) else { continue };
        wanted.settle(value);
        let value = &*value;
        if value.is_null() {
            // The window's default has no other name.
            if *field != "certificateTimeoutWindowSize" {
                body.remove(*field);
            }
        } else if let Err((place, given, expected)) = wanted.fits(value) {
            return Err(HttpReply::error(
                400,
                format!("{field}{place}: {expected} is expected, not {given}; nothing was changed"),
            ));
        }
    }
    Ok(())
}

/// Where in the field, what is there, what should be.
type Misfit = (String, String, &'static str);

impl Wanted {
    /// Gives what has another type but only one meaning the type it should have.
    fn settle(self, value: &mut Value) {
        match (self, &mut *value) {
            (Self::Flag, value) => settle_flag(value),
            (Self::Count, Value::String(text)) => {
                if let Ok(number) = text.trim().parse::<u64>() {
                    *value = number.into();
                }
            }
            _ => {}
        }
    }

    fn fits(self, value: &Value) -> Result<(), Misfit> {
        let unless = |fits: bool, expected| {
            if fits { Ok(()) } else { Err((String::new(), describe(value), expected)) }
        };
        match self {
            Self::Flag => unless(value.is_boolean(), FLAG),
            Self::Count => unless(value.as_i64().is_some_and(|n| n >= 0), "a whole number of at least 0"),
            Self::List => unless(value.is_array(), "a list"),
            Self::Ids => {
                let Value::Array(list) = value else { return unless(false, "a list of numbers") };
                let fits = |id: &Value| match id {
                    Value::Number(_) => id.as_u64().is_some_and(|n| u32::try_from(n).is_ok()),
                    Value::String(text) => text.parse::<u32>().is_ok(),
                    _ => false,
                };
                each(list, fits, "a number of 32 bits")
            }
            Self::Capabilities => {
                let Value::Array(list) = value else { return unless(false, "a list of objects") };
                for (index, entry) in list.iter().enumerate() {
                    let Definition { mut default } = api::of(entry);
                    // Read leniently, so what can only mean one thing need not be another value.
                    settle_flag(&mut default);
                    if !matches!(default, Value::Null | Value::Bool(_)) {
                        return Err((format!("[{index}].default"), describe(&default), FLAG));
                    }
                }
                Ok(())
            }
            Self::Tokens => match value {
                Value::Object(tokens) => {
                    for (token, expiry) in tokens {
                        if !expiry.as_f64().is_some_and(|ms| ms >= 0.0) {
                            // The token itself is a secret and stays out of messages.
                            let place = format!("[token of {} bytes]", token.len());
                            let expected = "the time when it expires, ms since the epoch (0 = never),";
                            return Err((place, describe(expiry), expected));
                        }
                    }
                    Ok(())
                }
                // What zerotier-one shows for a network without tokens.
                Value::Array(list) if list.iter().all(Value::is_null) => Ok(()),
                _ => unless(false, "an object of tokens and the time when each expires"),
            },
        }
    }
}

const FLAG: &str = "true or false";

fn settle_flag(value: &mut Value) {
    let flag = match &*value {
        Value::Number(number) if number.as_f64() == Some(1.0) => true,
        Value::Number(number) if number.as_f64() == Some(0.0) => false,
        Value::String(text) if text == "1" || text.eq_ignore_ascii_case("true") => true,
        Value::String(text) if text == "0" || text.eq_ignore_ascii_case("false") => false,
        _ => return,
    };
    *value = flag.into();
}

fn each(list: &[Value], fits: impl Fn(&Value) -> bool, expected: &'static str) -> Result<(), Misfit> {
    match list.iter().enumerate().find(|(_, entry)| !fits(entry)) {
        None => Ok(()),
        Some((index, entry)) => Err((format!("[{index}]"), describe(entry), expected)),
    }
}

/// A value as people are told of it.
pub(crate) fn describe(value: &Value) -> String {
    const SHOWN: usize = 40;
    match value {
        Value::Null => "null".into(),
        Value::Bool(flag) => format!("{flag}"),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) if text.chars().count() > SHOWN => "a longer text".into(),
        Value::String(text) => format!("the text {text:?}"),
        Value::Array(_) => "a list".into(),
        Value::Object(_) => "an object".into(),
    }
}
