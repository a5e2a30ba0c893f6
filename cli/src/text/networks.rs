//! `listnetworks` and the values of `get`.

use std::fmt::Write as _;

use api::{JoinedNetwork, NetworkStatus};
use serde_json::Value;

use super::{json, printable};

/// The list of joined networks; `now` in milliseconds since the Unix epoch.
pub fn list(networks: &[JoinedNetwork], now: i64) -> String {
    let mut lines =
        "200 listnetworks <nwid> <name> <mac> <status> <type> <dev> <ZT assigned ips>\n".to_owned();
    let mut rows: Vec<&JoinedNetwork> = networks.iter().collect();
    rows.sort_by(|a, b| a.nwid.cmp(&b.nwid));
    for network in rows {
        let addresses: Vec<String> =
            network.assigned_addresses.iter().map(|address| printable(address)).collect();
        let addresses = if addresses.is_empty() { "-".to_owned() } else { addresses.join(",") };
        let [id, name, mac, status, kind, device] = [
            &network.nwid,
            &network.name,
            &network.mac,
            network.status.name(),
            &network.kind,
            &network.port_device_name,
        ]
        .map(printable);
        // Writing to a string cannot fail.
        let _ = writeln!(lines, "200 listnetworks {id} {name} {mac} {status} {kind} {device} {addresses}");
        match network.status {
            _ if network.sso_enabled != Some(true) => {}
            NetworkStatus::AuthenticationRequired => {
                let url = network.authentication_url.as_deref().unwrap_or("(null)");
                let _ = writeln!(lines, "    AUTH EXPIRED, URL: {}", printable(url));
            }
            NetworkStatus::Ok => {
                let left = network.authentication_expiry_time.unwrap_or_default().saturating_sub(now);
                if left >= 0 {
                    let _ = writeln!(lines, "    AUTH OK, expires in: {} seconds", left / 1000);
                }
            }
            _ => {}
        }
    }
    lines
}

/// What `get` prints for one property, without the final newline; `None` = no such property, or not a single value.
pub fn property(network: &Value, name: &str) -> Option<String> {
    let typed: JoinedNetwork = api::of(network);
    let wanted: fn(&str) -> bool = match name {
        "ip" => |_| true,
        "ip4" => |address| address.contains('.'),
        "ip6" => |address| address.contains(':'),
        "ip6plane" | "ip6prefix" => |address| address.starts_with("fc") && address.contains(':'),
        // As the file has it: a truth value, or what it is confined to.
        "allowManaged" if !typed.allow_managed_within.is_empty() => {
            let within = typed.allow_managed_within.iter().map(|prefix| printable(prefix));
            return Some(within.collect::<Vec<_>>().join(","));
        }
        _ => return json::scalar(&network[name]),
    };
    let lines: Vec<String> = typed
        .assigned_addresses
        .iter()
        .filter(|address| wanted(address))
        .map(|address| {
            let bare = address.split('/').next().unwrap_or(address);
            if name == "ip6prefix" { machines_prefix(bare) } else { printable(bare) }
        })
        .collect();
    Some(lines.join("\n"))
}

/// The first 80 bits of a 6PLANE address, all 24 characters of them: `::/80` behind it makes it a subnet, which is the machine's
/// own. (The reference tool cuts the text, which is short of them where a group begins with 0.)
fn machines_prefix(address: &str) -> String {
    let Ok(address) = address.parse::<std::net::Ipv6Addr>() else { return printable(address) };
    let groups: Vec<String> = address.segments()[..5].iter().map(|group| format!("{group:04x}")).collect();
    groups.join(":")
}

/// The names that [`property`] knows, and those of lists of texts.
pub fn properties(network: &Value) -> Vec<String> {
    let fields = network.as_object().into_iter().flatten();
    let listed = |value: &Value| value.as_array().is_some_and(|items| items.iter().all(Value::is_string));
    let single = fields
        .filter(|(_, value)| json::scalar(value).is_some() || listed(value))
        .map(|(name, _)| name.clone());
    let mut names: Vec<String> =
        single.chain(["ip", "ip4", "ip6", "ip6plane", "ip6prefix"].map(str::to_owned)).collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn network() -> Value {
        json!({"nwid": "361884d8f6000001", "id": "361884d8f6000001", "name": "testnet", "mac": "02:36:18:72:00:72",
            "status": "OK", "type": "PUBLIC", "portDeviceName": "zt53xijwhx", "mtu": 2800, "allowDNS": false, "dns": {},
            "assignedAddresses": ["fd36:1884:d8f6:0:199:9336:1884:d8f6/88", "fcc0:1884:d936:1884:d8f6::1/40", "10.9.0.201/24"]})
    }

    #[test]
    fn rows_are_sorted_and_nameless_networks_have_two_blanks() {
        let requesting = json!({"nwid": "5aca06ff8eabcdef", "name": "", "mac": "ee:cd:db:65:ce:e4",
            "status": "REQUESTING_CONFIGURATION", "type": "PRIVATE", "portDeviceName": "ztuvck2mtb", "assignedAddresses": []});
        assert_eq!(
            list(&api::all(&[requesting, network()]), 0),
            "200 listnetworks <nwid> <name> <mac> <status> <type> <dev> <ZT assigned ips>\n\
             200 listnetworks 361884d8f6000001 testnet 02:36:18:72:00:72 OK PUBLIC zt53xijwhx \
             fd36:1884:d8f6:0:199:9336:1884:d8f6/88,fcc0:1884:d936:1884:d8f6::1/40,10.9.0.201/24\n\
             200 listnetworks 5aca06ff8eabcdef  ee:cd:db:65:ce:e4 REQUESTING_CONFIGURATION PRIVATE ztuvck2mtb -\n"
        );
    }

    #[test]
    fn sso_networks_have_a_second_line() {
        let mut network = network();
        network["ssoEnabled"] = true.into();
        network["authenticationExpiryTime"] = 61_500.into();
        assert!(
            list(&api::all(&[network.clone()]), 1000).ends_with("\n    AUTH OK, expires in: 60 seconds\n")
        );
        assert!(!list(&api::all(&[network.clone()]), 61_501).contains("AUTH"));
        network["status"] = "AUTHENTICATION_REQUIRED".into();
        network["authenticationURL"] = "https://id.example/".into();
        assert!(list(&api::all(&[network]), 0).ends_with("\n    AUTH EXPIRED, URL: https://id.example/\n"));
    }

    #[test]
    fn properties() {
        let mut network = network();
        (network["allowManaged"], network["allowManagedWithin"]) = (true.into(), json!([]));
        assert_eq!(property(&network, "allowManaged").as_deref(), Some("1"));
        network["allowManagedWithin"] = json!(["10.0.0.0/8", "fd00::/8"]);
        assert_eq!(property(&network, "allowManaged").as_deref(), Some("10.0.0.0/8,fd00::/8"));
        for (name, value) in [
            ("status", "OK"),
            ("mtu", "2800"),
            ("allowDNS", "0"),
            ("ip", "fd36:1884:d8f6:0:199:9336:1884:d8f6\nfcc0:1884:d936:1884:d8f6::1\n10.9.0.201"),
            ("ip4", "10.9.0.201"),
            ("ip6", "fd36:1884:d8f6:0:199:9336:1884:d8f6\nfcc0:1884:d936:1884:d8f6::1"),
            ("ip6plane", "fcc0:1884:d936:1884:d8f6::1"),
            ("ip6prefix", "fcc0:1884:d936:1884:d8f6"),
        ] {
            assert_eq!(property(&network, name).as_deref(), Some(value), "{name}");
        }
        network["assignedAddresses"] = json!(["fc00:84:d906:0:8::1/40"]);
        assert_eq!(property(&network, "ip6prefix").as_deref(), Some("fc00:0084:d906:0000:0008"));
        for name in ["dns", "assignedAddresses", "nonsense"] {
            assert_eq!(property(&network, name), None, "{name}");
        }
    }
}
