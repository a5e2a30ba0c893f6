//! `firewall`.

use std::fmt::Write as _;

use api::Status;
use serde_json::{Value, json};

/// The UDP ports of a node, primary first.
pub fn ports(status: &Status) -> Vec<u16> {
    let settings = &status.config.settings;
    let ports = [settings.primary_port, settings.secondary_port, settings.tertiary_port];
    ports.into_iter().filter_map(|port| u16::try_from(port).ok()).filter(|port| *port != 0).collect()
}

/// Rules for one port: what takes them, and the line to give it.
fn rules(port: u16) -> [(&'static str, String); 4] {
    [
        ("nftables", format!("nft add rule inet filter input udp dport {port} accept")),
        ("firewalld", format!("firewall-cmd --permanent --add-port={port}/udp && firewall-cmd --reload")),
        ("ufw", format!("ufw allow {port}/udp")),
        ("iptables", format!("iptables -A INPUT -p udp --dport {port} -j ACCEPT (the same with ip6tables)")),
    ]
}

/// For people.
pub fn advice(ports: &[u16]) -> String {
    let list: Vec<String> = ports.iter().map(u16::to_string).collect();
    let noun = if ports.len() == 1 { "port" } else { "ports" };
    let list = list.join(", ");
    // Writing to a string cannot fail, here and below.
    let mut text = format!(
        "This node sends and receives on UDP {noun} {list} and on no other port.\n\
         Outgoing UDP is all it needs. Where it comes in as well, peers reach it at once and from everywhere:\n"
    );
    for port in ports {
        for (tool, line) in rules(*port) {
            let _ = writeln!(text, "  {tool:<11}{line}");
        }
        let _ = writeln!(
            text,
            "  {:<11}an ingress rule of the security group (network security group, VPC firewall,\n  \
             {:<11}security list): UDP, port {port}, source 0.0.0.0/0 and ::/0",
            "cloud", ""
        );
    }
    text
}

/// For programs.
pub fn json(ports: &[u16]) -> Value {
    let one = |port: &u16| {
        let rules: serde_json::Map<_, _> =
            rules(*port).into_iter().map(|(tool, line)| (tool.to_owned(), Value::from(line))).collect();
        json!({"protocol": "udp", "port": port, "rules": rules})
    };
    Value::from(ports.iter().map(one).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_port_in_use_is_named() {
        let status =
            json!({"config": {"settings": {"primaryPort": 9993, "secondaryPort": 0, "tertiaryPort": 0}}});
        assert_eq!(ports(&api::of(&status)), [9993]);
        let text = advice(&[9993]);
        assert!(text.starts_with("This node sends and receives on UDP port 9993 and on no other port.\n"));
        assert!(text.contains("nft add rule inet filter input udp dport 9993 accept\n"));
        assert!(text.contains("UDP, port 9993, source 0.0.0.0/0 and ::/0\n"));
        assert_eq!(json(&[1, 2])[1]["rules"]["ufw"], "ufw allow 2/udp");
        assert!(ports(&Status::default()).is_empty());
    }
}
