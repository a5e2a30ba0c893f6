//! `info`, `status`.

use serde_json::Value;

use super::json;

/// `200 info <address> <version> <ONLINE|OFFLINE|TUNNELED>` from a status object.
pub fn line(status: &Value) -> String {
    let state = if json::flag(status, "tcpFallbackActive") {
        "TUNNELED"
    } else if json::flag(status, "online") {
        "ONLINE"
    } else {
        "OFFLINE"
    };
    format!("200 info {} {} {state}\n", json::text(status, "address"), json::text(status, "version"))
}

/// One line about a root that says another node owns our address, from `collision.seen` of a status; `None` if none did.
pub fn collision(seen: &Value) -> Option<String> {
    let root = seen.get("root")?.as_str().map(super::printable)?;
    let why = match seen["keptBecause"].as_str().unwrap_or_default() {
        "accepted" => "it is no new one",
        "moved" => "it came from another machine",
        "joined" => "it has joined a network",
        "controls" => "it controls a network",
        "setting" => "settings.collision is \"warn\"",
        _ => "it cannot be put away",
    };
    let times = match json::int(seen, "count") {
        1 => "once".to_owned(),
        n => format!("{n} times"),
    };
    Some(format!(
        "the root {root} said {times} that another node owns this node's address; the identity was kept, since {why}"
    ))
}

/// One line about each other machine that runs with this node's identity.
pub fn clones(status: &Value) -> Vec<String> {
    let line = |clone: &Value| {
        let places = json::items(clone, "addresses").iter().filter_map(Value::as_str).map(super::printable);
        let who = if json::flag(clone, "sameMachineId") {
            "a machine with the same machine-id"
        } else {
            "another machine"
        };
        let way = match clone["givesWay"].as_str() {
            Some("this") => "this one should give way",
            _ => "the other one should give way",
        };
        format!("{who} runs with this identity ({}); {way}", places.collect::<Vec<_>>().join(" "))
    };
    json::items(&status["clones"], "seen").iter().map(line).collect()
}

/// What somebody should know besides, one line each: clones, collisions, a moved home, refused addresses and routes.
pub fn notes(status: &Value) -> Vec<String> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut notes = self::clones(status);
    let clones = &status["clones"];
    if clones["machine"] == "moved" {
        notes.push("this home came from another machine; that one must not run with it any more".to_owned());
    }
    for address in list(&clones["formerAddresses"]).iter().filter_map(Value::as_str) {
        let address = super::printable(address);
        notes.push(format!(
            "this node was {address} until another machine was seen with that identity (kept in identity.secret.old-{address}.*)"
        ));
    }
    notes.extend(collision(&status["collision"]["seen"]));
    for refused in list(&status["refused"]) {
        let text = |name| super::printable(&json::text(&refused, name));
        notes.push(format!(
            "network {}: the managed {} {} is not used: {}",
            text("network"),
            text("kind"),
            text("target"),
            text("reason")
        ));
    }
    for overlap in list(&status["overlapping"]) {
        let text = |name| super::printable(&json::text(&overlap, name));
        notes.push(format!("network {}: {}", text("network"), text("reason")));
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn notes_say_who_and_what() {
        assert!(notes(&json!({})).is_empty(), "an older node");
        let status = json!({
            "clones": {"machine": "moved", "formerAddresses": ["0123456789"], "seen": [
                {"addresses": ["192.0.2.1/9993"], "sameMachineId": false, "givesWay": "this"}]},
            "collision": {"policy": "warn", "seen": {"root": "a11c3411ce", "count": 3, "keptBecause": "joined"}},
            "refused": [{"network": "37f2b7c94f000001", "kind": "route", "target": "10.0.0.0/8", "reason": "so"}],
            "overlapping": [{"network": "37f2b7c94f000001", "target": "10.0.0.0/8", "with": "0.0.0.0/1", "reason": "thus"}],
        });
        let notes = notes(&status);
        assert_eq!(
            notes[0],
            "another machine runs with this identity (192.0.2.1/9993); this one should give way"
        );
        assert_eq!(notes.len(), 6);
        assert_eq!(notes[5], "network 37f2b7c94f000001: thus");
        assert_eq!(
            notes[3],
            "the root a11c3411ce said 3 times that another node owns this node's address; the identity was kept, since it \
             has joined a network"
        );
        assert_eq!(notes[4], "network 37f2b7c94f000001: the managed route 10.0.0.0/8 is not used: so");
    }
}
