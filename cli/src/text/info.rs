//! `info`, `status`.

use api::{CollisionSeen, GivesWay, KeptBecause, SeenClone, Status};

use super::printable;

/// `200 info <address> <version> <ONLINE|OFFLINE|TUNNELED>`.
pub fn line(status: &Status) -> String {
    let state = if status.tcp_fallback_active {
        "TUNNELED"
    } else if status.health.online {
        "ONLINE"
    } else {
        "OFFLINE"
    };
    format!("200 info {} {} {state}\n", printable(&status.address), printable(&status.health.version))
}

/// One line about a root that says another node owns our address.
pub fn collision(seen: &CollisionSeen) -> Option<String> {
    let root = printable(seen.root.as_deref()?);
    let why = match seen.kept_because {
        Some(KeptBecause::Accepted) => "it is no new one",
        Some(KeptBecause::Moved) => "it came from another machine",
        Some(KeptBecause::Joined) => "it has joined a network",
        Some(KeptBecause::Controls) => "it controls a network",
        Some(KeptBecause::Setting) => "settings.collision is \"warn\"",
        Some(KeptBecause::Failed) | None => "it cannot be put away",
    };
    let times = match seen.count {
        1 => "once".to_owned(),
        n => format!("{n} times"),
    };
    Some(format!(
        "the root {root} said {times} that another node owns this node's address; the identity was kept, since {why}"
    ))
}

/// One line about each other machine that runs with this node's identity.
pub fn clones(status: &Status) -> Vec<String> {
    let line = |clone: &SeenClone| {
        let places: Vec<String> = clone.addresses.iter().map(|place| printable(place)).collect();
        let who =
            if clone.same_machine_id { "a machine with the same machine-id" } else { "another machine" };
        let way = match clone.gives_way {
            GivesWay::This => "this one should give way",
            GivesWay::Other => "the other one should give way",
        };
        format!("{who} runs with this identity ({}); {way}", places.join(" "))
    };
    status.clones.seen.iter().map(line).collect()
}

/// What somebody should know besides, one line each: clones, collisions, a moved home, refused addresses and routes.
pub fn notes(status: &Status) -> Vec<String> {
    let mut notes = clones(status);
    if status.clones.machine == "moved" {
        notes.push("this home came from another machine; that one must not run with it any more".to_owned());
    }
    for address in &status.clones.former_addresses {
        let address = printable(address);
        notes.push(format!(
            "this node was {address} until another machine was seen with that identity (kept in identity.secret.old-{address}.*)"
        ));
    }
    notes.extend(status.collision.seen.as_ref().and_then(collision));
    let shown = |network: &Option<String>| network.as_deref().map_or_else(|| "-".to_owned(), printable);
    for refused in &status.refused {
        notes.push(format!(
            "network {}: the managed {} {} is not used: {}",
            shown(&refused.network),
            printable(&refused.kind),
            printable(&refused.target),
            printable(&refused.reason)
        ));
    }
    for overlap in &status.overlapping {
        notes.push(format!("network {}: {}", shown(&overlap.network), printable(&overlap.reason)));
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn notes_say_who_and_what() {
        assert!(notes(&Status::default()).is_empty(), "an older node");
        let status = json!({
            "clones": {"machine": "moved", "formerAddresses": ["0123456789"], "seen": [
                {"addresses": ["192.0.2.1/9993"], "sameMachineId": false, "givesWay": "this"}]},
            "collision": {"policy": "warn", "seen": {"root": "a11c3411ce", "count": 3, "keptBecause": "joined"}},
            "refused": [{"network": "37f2b7c94f000001", "kind": "route", "target": "10.0.0.0/8", "reason": "so"}],
            "overlapping": [{"network": "37f2b7c94f000001", "target": "10.0.0.0/8", "with": "0.0.0.0/1", "reason": "thus"}],
        });
        let notes = notes(&api::of(&status));
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
