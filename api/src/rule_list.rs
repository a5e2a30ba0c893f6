//! A list of flow rules as it is stored and as it is enforced.

use flowrules::{Kind, Rule};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};

use crate::lenient;

/// Flow rules of a network or a capability: the JSON a client sees and the rules it stands for.
///
/// The JSON of a stored record is kept as it was (an old record may hold fields that are not rendered today); rules
/// that arrive through the API are parsed and rendered anew, so both forms agree.
#[derive(Clone, Debug, Default)]
pub struct RuleList {
    json: Vec<Value>,
    rules: Vec<Rule>,
}

impl PartialEq for RuleList {
    fn eq(&self, other: &Self) -> bool {
        self.json == other.json
    }
}

impl RuleList {
    /// The list of a fresh network: accept everything.
    #[must_use]
    pub fn accept_all() -> Self {
        Self::from_stored(&[json!({"not": false, "or": false, "type": Kind::Accept.name()})])
    }

    /// Rules as found in a stored record: kept as they are, entries that are no rule are not enforced.
    #[must_use]
    pub fn from_stored(list: &[Value]) -> Self {
        Self { json: list.to_vec(), rules: list.iter().filter_map(flowrules::json::from_json).collect() }
    }

    /// Rules as posted by a client: entries that are no rule are dropped, the others stored in their rendered form.
    ///
    /// Specification: VL2 flow rules, JSON form.
    #[must_use]
    pub fn from_input(list: &[Value]) -> Self {
        let rules: Vec<Rule> = list.iter().filter_map(flowrules::json::from_json).collect();
        Self { json: rules.iter().map(flowrules::json::to_json).collect(), rules }
    }

    /// What the members enforce.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// What the API shows.
    #[must_use]
    pub fn json(&self) -> &[Value] {
        &self.json
    }
}

impl Serialize for RuleList {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.json.serialize(serializer)
    }
}

/// As stored; empty when it is no array.
impl<'de> Deserialize<'de> for RuleList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        Ok(Self::from_stored(lenient::array(Some(&value)).unwrap_or_default()))
    }
}

/// The rules of a stored network: everything is accepted when they are no array.
pub(crate) fn stored<'de, D: Deserializer<'de>>(field: D) -> Result<RuleList, D::Error> {
    let value = Value::deserialize(field)?;
    Ok(lenient::array(Some(&value)).map_or_else(RuleList::accept_all, RuleList::from_stored))
}

/// The rules in a request: none when they are no array.
pub(crate) fn posted<'de, D: Deserializer<'de>>(field: D) -> Result<Option<RuleList>, D::Error> {
    let value = Value::deserialize(field)?;
    Ok(lenient::array(Some(&value)).map(RuleList::from_input))
}
