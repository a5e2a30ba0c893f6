//! `listpeers` and `peers`.

use std::fmt::Write as _;

use api::{Path, Peer};

use super::printable;

/// The terse list; `now` in milliseconds since the Unix epoch.
pub fn terse(peers: &[Peer], now: i64) -> String {
    let mut lines = "200 listpeers <ztaddr> <path> <latency> <version> <role>\n".to_owned();
    for peer in peers {
        let path = match preferred(peer) {
            Some(path) => {
                let (sent, received) = ages(path, now);
                format!("{};{sent};{received}", printable(&path.address))
            }
            None => "-".to_owned(),
        };
        let (address, role) = (printable(&peer.address), printable(&peer.role));
        let latency = peer.latency;
        // Writing to a string cannot fail.
        let _ = writeln!(lines, "200 listpeers {address} {path} {latency} {} {role}", version(peer));
    }
    lines
}

/// The table for people; `now` in milliseconds since the Unix epoch.
pub fn table(peers: &[Peer], now: i64) -> String {
    let mut lines =
        "200 peers\n<ztaddr>   <ver>  <role> <lat> <link>   <lastTX> <lastRX> <path>\n".to_owned();
    let mut any_tunneled = false;
    for peer in peers {
        let tunneled = peer.tunneled;
        any_tunneled |= tunneled;
        let link = match preferred(peer) {
            Some(path) => {
                let (sent, received) = ages(path, now);
                let kind = if tunneled { "RELAY " } else { "DIRECT   " };
                format!("{kind}{sent:<8} {received:<8} {}", printable(&path.address))
            }
            None => "RELAY".to_owned(),
        };
        let (address, role) = (printable(&peer.address), printable(&peer.role));
        let latency = peer.latency;
        let _ = writeln!(lines, "{address} {:<6} {role:<6} {latency:>5} {link}", version(peer));
    }
    if any_tunneled {
        lines.push_str("NOTE: a TCP relay carries the traffic at present; UDP seems to be blocked here.\n");
    }
    lines
}

fn preferred(peer: &Peer) -> Option<&Path> {
    peer.paths.iter().find(|path| path.preferred)
}

/// Milliseconds since the last datagram out and in, -1 for never.
fn ages(path: &Path, now: i64) -> (i64, i64) {
    let age = |at| match at {
        0 => -1,
        time => now.saturating_sub(time),
    };
    (age(path.last_send), age(path.last_receive))
}

fn version(peer: &Peer) -> String {
    match peer.version_major {
        Some(major @ 0..) => format!("{major}.{}.{}", peer.version_minor, peer.version_rev),
        _ => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW: i64 = 1_795_378_785_362;

    fn sample(tunneled: bool) -> Vec<Peer> {
        api::all(&[
            json!({"address": "5aca06ff8e", "latency": 17, "role": "MOON", "tunneled": tunneled,
                "versionMajor": 1, "versionMinor": 14, "versionRev": 1, "version": "1.14.1",
                "paths": [{"address": "10.0.0.9/1", "preferred": false},
                    {"address": "10.77.0.1/9993", "preferred": true, "lastSend": NOW - 1468, "lastReceive": NOW - 1467}]}),
            json!({"address": "62f865ae71", "latency": -1, "role": "PLANET", "tunneled": tunneled,
                "versionMajor": -1, "versionMinor": -1, "versionRev": -1, "paths": []}),
        ])
    }

    #[test]
    fn terse_rows() {
        assert_eq!(
            terse(&sample(false), NOW),
            "200 listpeers <ztaddr> <path> <latency> <version> <role>\n\
             200 listpeers 5aca06ff8e 10.77.0.1/9993;1468;1467 17 1.14.1 MOON\n\
             200 listpeers 62f865ae71 - -1 - PLANET\n"
        );
    }

    #[test]
    fn table_rows() {
        assert_eq!(
            table(&sample(false), NOW),
            "200 peers\n\
             <ztaddr>   <ver>  <role> <lat> <link>   <lastTX> <lastRX> <path>\n\
             5aca06ff8e 1.14.1 MOON      17 DIRECT   1468     1467     10.77.0.1/9993\n\
             62f865ae71 -      PLANET    -1 RELAY\n"
        );
        let tunneled = table(&sample(true), NOW);
        assert!(tunneled.contains(" RELAY 1468     1467     10.77.0.1/9993\n"), "{tunneled}");
        assert!(tunneled.lines().last().unwrap().starts_with("NOTE: "), "{tunneled}");
    }

    #[test]
    fn never_is_minus_one() {
        let peers =
            [json!({"address": "5aca06ff8e", "paths": [{"address": "1.2.3.4/5", "preferred": true}]})];
        assert!(terse(&api::all(&peers), NOW).ends_with("200 listpeers 5aca06ff8e 1.2.3.4/5;-1;-1 0 - -\n"));
    }
}
