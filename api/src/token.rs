//! Join tokens.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use protocol::NetworkId;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::lenient::{self, int32};
use crate::member::write_tags;
use crate::text;

/// What a token is called: eight hexadecimal digits, the part of it that is no secret.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct TokenId(pub u32);

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl FromStr for TokenId {
    type Err = ();

    /// Lower-case only: a token has one spelling.
    fn from_str(text: &str) -> Result<Self, ()> {
        let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() != 8 || !text.bytes().all(digit) {
            return Err(());
        }
        u32::from_str_radix(text, 16).map(Self).map_err(|_| ())
    }
}

/// A join token: all but what it opens with.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Token {
    /// What it is called.
    #[serde(serialize_with = "text::serialize", deserialize_with = "lenient::parsed")]
    pub id: TokenId,
    /// The network it lets into.
    #[serde(rename = "nwid", serialize_with = "text::serialize", deserialize_with = "lenient::parsed")]
    pub network: NetworkId,
    /// Always `token`.
    #[serde(skip_deserializing)]
    pub objtype: &'static str,
    /// What a member that it lets in is called; numbered if there can be several.
    #[serde(deserialize_with = "lenient::only_text")]
    pub name: Option<String>,
    /// Tags that a member gets.
    #[serde(serialize_with = "write_tags", deserialize_with = "tags")]
    pub tags: BTreeMap<u32, u32>,
    /// Addresses that a member gets.
    #[serde(rename = "ipAssignments", deserialize_with = "lenient::ips")]
    pub ips: Vec<IpAddr>,
    /// How many it lets in, 0 = any number. What is missing here and below must not open the door wider.
    #[serde(deserialize_with = "lenient::number::<1, _>")]
    pub uses: u64,
    /// How many it has let in.
    #[serde(deserialize_with = "lenient::number::<{ u64::MAX }, _>")]
    pub used: u64,
    /// ms since the epoch.
    #[serde(rename = "creationTime", deserialize_with = "lenient::time::<0, _>")]
    pub created: i64,
    /// ms since the epoch, 0 = never.
    #[serde(rename = "expiryTime", deserialize_with = "lenient::time::<1, _>")]
    pub expires: i64,
    /// ms since the epoch, 0 = it is not.
    #[serde(rename = "revocationTime", deserialize_with = "lenient::time::<0, _>")]
    pub revoked: i64,
    /// ms since the epoch, 0 = never.
    #[serde(rename = "lastUsedTime", deserialize_with = "lenient::time::<0, _>")]
    pub last_used: i64,
}

impl Default for Token {
    fn default() -> Self {
        Self {
            id: TokenId::default(),
            network: NetworkId::default(),
            objtype: "token",
            name: None,
            tags: BTreeMap::new(),
            ips: Vec::new(),
            uses: 1,
            used: u64::MAX,
            created: 0,
            expires: 1,
            revoked: 0,
            last_used: 0,
        }
    }
}

fn tags<'de, D: Deserializer<'de>>(field: D) -> Result<BTreeMap<u32, u32>, D::Error> {
    let pair = |pair: &Value| Some((int32(Some(pair.get(0)?)), int32(Some(pair.get(1)?))));
    Ok(lenient::list::<Value, D>(field)?.iter().filter_map(pair).collect())
}

/// How a token stands.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum TokenState {
    /// It lets nodes in.
    Good,
    /// It has let in as many as it was for.
    Spent,
    /// Its time is over.
    Expired,
    /// Somebody ended it.
    Revoked,
    /// Something else, as a later controller says.
    #[default]
    #[serde(other)]
    Unknown,
}

impl TokenState {
    /// As it is written.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Spent => "spent",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Unknown => "unknown",
        }
    }
}

/// A token as the store keeps it.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct StoredToken {
    /// What everybody may see of it.
    #[serde(flatten)]
    pub token: Token,
    /// SHA-256 of its text, hexadecimal.
    #[serde(deserialize_with = "lenient::only_text")]
    pub hash: Option<String>,
}

/// A token as the API shows it.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct ShownToken {
    /// What is kept of it.
    #[serde(flatten)]
    pub record: Token,
    /// How it stands.
    #[serde(deserialize_with = "lenient::or_default")]
    pub state: TokenState,
    /// Addresses of the members it let in.
    #[serde(deserialize_with = "lenient::list")]
    pub members: Vec<String>,
    /// Its text, when it was made just now.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::only_text")]
    pub token: Option<String>,
}

/// What a new token is to give: each field is read strictly by the controller, which says what is wrong with it.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TokenRequest {
    /// Name of a member.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::some_value")]
    pub name: Option<Value>,
    /// How many it lets in; 0 = any number.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::some_value")]
    pub uses: Option<Value>,
    /// ms; 0 = for ever.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::some_value")]
    pub lifetime: Option<Value>,
    /// Pairs of ID and value.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::some_value")]
    pub tags: Option<Value>,
    /// Addresses.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::some_value")]
    pub ip_assignments: Option<Value>,
    /// What is no such field.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}
