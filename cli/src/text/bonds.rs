//! `listbonds`, `bond list` and `bond show`.

use std::fmt::Write as _;

use api::Peer;

use super::printable;

const POLICIES: [&str; 6] =
    ["none", "active-backup", "broadcast", "balance-rr", "balance-xor", "balance-aware"];
const RULER: usize = 120;

fn or_0(value: Option<i64>) -> i64 {
    value.unwrap_or_default()
}

/// The bonded peers among all peers.
pub fn list(peers: &[Peer]) -> String {
    let mut lines = "    <peer>                        <bondtype>     <links>\n".to_owned();
    let mut any = false;
    for peer in peers.iter().filter(|peer| peer.is_bonded) {
        any = true;
        let policy = usize::try_from(or_0(peer.bond.bonding_policy_code)).ok();
        let policy = policy.and_then(|code| POLICIES.get(code)).unwrap_or(&"none");
        let (alive, total) = (or_0(peer.bond.num_alive_links), or_0(peer.bond.num_total_links));
        // Writing to a string cannot fail.
        let _ = writeln!(lines, "{:>10}  {policy:>32}         {alive}/{total}", printable(&peer.address));
    }
    if !any {
        lines.push_str("      NONE\t\t\t\tNONE\t    NONE       NONE\n");
    }
    lines
}

/// One bond in full; `address` as the caller typed it.
pub fn show(address: &str, peer: &Peer) -> String {
    let mut lines = String::new();
    let bond = &peer.bond;
    let links = format!("{}/{}", or_0(bond.num_alive_links), or_0(bond.num_total_links));
    let number = |value| or_0(value).to_string();
    let policy = bond.bonding_policy_str.as_deref().map_or_else(|| "-".to_owned(), printable);
    for (name, value) in [
        ("Peer", printable(address)),
        ("Bond", policy),
        ("Link Select Method", number(bond.link_select_method)),
        ("Links", links),
        ("Failover Interval (ms)", number(bond.failover_interval)),
        ("Up Delay (ms)", number(bond.up_delay)),
        ("Down Delay (ms)", number(bond.down_delay)),
        ("Packets Per Link", number(bond.packets_per_link)),
    ] {
        let _ = writeln!(lines, "{name:<23}: {value}");
    }
    let Some(paths) = &peer.paths.first().map(|_| &peer.paths) else { return lines };
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
            path.link.ifname.as_deref().map_or_else(|| "-".to_owned(), printable),
            printable(&path.address),
            path.local_socket,
            path.local_port,
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
            path.link.latency_mean.unwrap_or_default(),
            path.link.latency_variance.unwrap_or_default(),
            or_0(path.link.given_link_speed),
            path.link.relative_quality.unwrap_or_default(),
            or_0(path.link.last_in_age),
            or_0(path.link.last_out_age),
            path.link.eligible.map_or(0, i64::from),
            path.link.bonded.map_or(0, i64::from),
            or_0(path.link.assigned_flow_count),
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
            list(&api::all(&[json!({"isBonded": false})])),
            format!("{header}      NONE\t\t\t\tNONE\t    NONE       NONE\n")
        );
        let peer = json!({"address": "5aca06ff8e", "isBonded": true, "bondingPolicyCode": 5, "numAliveLinks": 2, "numTotalLinks": 3});
        assert_eq!(
            list(&api::all(&[peer])),
            format!("{header}5aca06ff8e                     balance-aware         2/3\n")
        );
    }

    #[test]
    fn one_bond_in_full() {
        let bond = json!({"bondingPolicyStr": "balance-rr", "numAliveLinks": 1, "numTotalLinks": 1, "failoverInterval": 5000,
            "paths": [{"ifname": "eth0", "address": "10.77.0.1/9993", "localSocket": 255, "localPort": 9993,
                "latencyMean": 1.5, "relativeQuality": 0.25, "eligible": true, "bonded": true}]});
        let text = show("5aca06ff8e", &api::of(&bond));
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
