//! `listbonds`, `bond list` and `bond show`.

use std::fmt::Write as _;

use serde_json::Value;

use super::{json, printable};

const POLICIES: [&str; 6] =
    ["none", "active-backup", "broadcast", "balance-rr", "balance-xor", "balance-aware"];
const RULER: usize = 120;

/// The bonded peers among all peers.
pub fn list(peers: &[Value]) -> String {
    let mut lines = "    <peer>                        <bondtype>     <links>\n".to_owned();
    let mut any = false;
    for peer in peers.iter().filter(|peer| json::flag(peer, "isBonded")) {
        any = true;
        let policy = usize::try_from(json::int(peer, "bondingPolicyCode")).ok();
        let policy = policy.and_then(|code| POLICIES.get(code)).unwrap_or(&"none");
        let (alive, total) = (json::int(peer, "numAliveLinks"), json::int(peer, "numTotalLinks"));
        // Writing to a string cannot fail.
        let _ = writeln!(lines, "{:>10}  {policy:>32}         {alive}/{total}", json::text(peer, "address"));
    }
    if !any {
        lines.push_str("      NONE\t\t\t\tNONE\t    NONE       NONE\n");
    }
    lines
}

/// One bond in full; `address` as the caller typed it.
pub fn show(address: &str, bond: &Value) -> String {
    let mut lines = String::new();
    let links = format!("{}/{}", json::int(bond, "numAliveLinks"), json::int(bond, "numTotalLinks"));
    let number = |field| json::int(bond, field).to_string();
    for (name, value) in [
        ("Peer", printable(address)),
        ("Bond", json::text(bond, "bondingPolicyStr")),
        ("Link Select Method", number("linkSelectMethod")),
        ("Links", links),
        ("Failover Interval (ms)", number("failoverInterval")),
        ("Up Delay (ms)", number("upDelay")),
        ("Down Delay (ms)", number("downDelay")),
        ("Packets Per Link", number("packetsPerLink")),
    ] {
        let _ = writeln!(lines, "{name:<23}: {value}");
    }
    let Some(paths) = bond["paths"].as_array() else { return lines };
    let ruler = "-".repeat(RULER);
    let _ = writeln!(
        lines,
        "\nidx{:>27}{:>38}{:>21}{:>23}\n{ruler}",
        "interface", "path", "socket", "local port"
    );
    for (index, path) in paths.iter().enumerate() {
        let _ = writeln!(
            lines,
            "{index:>2}: {:>26} {:>51} {:016x} {:>12}",
            json::text(path, "ifname"),
            json::text(path, "address"),
            json::int(path, "localSocket"),
            json::int(path, "localPort"),
        );
    }
    let _ = writeln!(
        lines,
        "\nidx     lat      pdv    capacity    qual      rx_age      tx_age  eligible  bonded   flows\n{ruler}"
    );
    for (index, path) in paths.iter().enumerate() {
        let _ = writeln!(
            lines,
            "{index:>2}: {:>8.2} {:>8.2} {:>10} {:>7.4} {:>11} {:>11} {:>9} {:>7} {:>7}",
            json::float(path, "latencyMean"),
            json::float(path, "latencyVariance"),
            json::int(path, "givenLinkSpeed"),
            json::float(path, "relativeQuality"),
            json::int(path, "lastInAge"),
            json::int(path, "lastOutAge"),
            json::int(path, "eligible"),
            json::int(path, "bonded"),
            json::int(path, "assignedFlowCount"),
        );
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn no_bonds_and_one_bond() {
        let header = "    <peer>                        <bondtype>     <links>\n";
        assert_eq!(
            list(&[json!({"isBonded": false})]),
            format!("{header}      NONE\t\t\t\tNONE\t    NONE       NONE\n")
        );
        let peer = json!({"address": "5aca06ff8e", "isBonded": true, "bondingPolicyCode": 5, "numAliveLinks": 2, "numTotalLinks": 3});
        assert_eq!(
            list(&[peer]),
            format!("{header}5aca06ff8e                     balance-aware         2/3\n")
        );
    }

    #[test]
    fn one_bond_in_full() {
        let bond = json!({"bondingPolicyStr": "balance-rr", "numAliveLinks": 1, "numTotalLinks": 1, "failoverInterval": 5000,
            "paths": [{"ifname": "eth0", "address": "10.77.0.1/9993", "localSocket": 255, "localPort": 9993,
                "latencyMean": 1.5, "relativeQuality": 0.25, "eligible": true, "bonded": true}]});
        let text = show("5aca06ff8e", &bond);
        assert!(
            text.starts_with("Peer                   : 5aca06ff8e\nBond                   : balance-rr\n"),
            "{text}"
        );
        assert!(text.contains("\nidx                  interface                                  path               socket             local port\n"), "{text}");
        assert!(
            text.contains(&format!(
                " 0: {:>26} {:>51} 00000000000000ff         9993\n",
                "eth0", "10.77.0.1/9993"
            )),
            "{text}"
        );
        assert!(text.contains("\n 0:     1.50     0.00          0  0.2500           0           0         1       1       0\n"), "{text}");
        assert_eq!(text.matches(&format!("\n{}\n", "-".repeat(120))).count(), 2, "{text}");
    }
}
