//! What a network and this machine both want, for `doctor`.

use api::JoinedNetwork;

use super::doctor::{Finding, Level};
use super::printable;

/// Looks at one element of `GET /network`. What an older node does not tell is left out.
pub fn findings(network: &JoinedNetwork, subject: &str) -> Vec<Finding> {
    let finding = |level, text: String, remedy: &str| Finding {
        level,
        subject: subject.to_owned(),
        text,
        remedy: remedy.to_owned(),
    };
    let mut findings = Vec::new();
    for refused in &network.refused {
        let (level, remedy) = match refused.cause.as_str() {
            // Nobody has to do anything about what this machine does not have, or has in another way.
            "unavailable" | "bridged" => (Level::Note, ""),
            "taken" => (
                Level::Bad,
                "take one of the two away, or confine what the network may manage (allowManaged)",
            ),
            _ => (
                Level::Bad,
                "ask the network's owner for another subnet, or leave out what this machine has there already",
            ),
        };
        let [kind, target, reason] =
            [&refused.kind, &refused.target, &refused.reason].map(|text| printable(text));
        findings.push(finding(level, format!("the {kind} {target} is not used: {reason}"), remedy));
    }
    for overlap in &network.overlapping {
        findings.push(finding(Level::Note, printable(&overlap.reason), ""));
    }
    if let Some(problem) = &network.settings_problem {
        let remedy = "until then what cannot be understood is not allowed, or stays as it was";
        findings.push(finding(Level::Bad, printable(problem), remedy));
    }
    findings
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_has_to_be_done_is_bad_and_the_rest_are_notes() {
        let shown = |network: &serde_json::Value| -> Vec<String> {
            findings(&api::of(network), "n").iter().map(|f| format!("{:?} {}", f.level, f.text)).collect()
        };
        assert!(shown(&json!({})).is_empty(), "an older node");
        let refused =
            |cause: &str| json!({"kind": "route", "target": "10.0.0.0/8", "cause": cause, "reason": "why"});
        let network = json!({
            "refused": [refused("shadows"), refused("taken"), refused("unavailable")],
            "overlapping": [{"reason": "so"}], "settingsProblem": "thus"});
        let found = shown(&network);
        assert_eq!(found[0], "Bad the route 10.0.0.0/8 is not used: why");
        assert!(found[1].starts_with("Bad ") && found[2].starts_with("Note "), "{found:?}");
        assert_eq!(found[3..], ["Note so", "Bad thus"]);
    }
}
