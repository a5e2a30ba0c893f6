//! Golden vectors of the evaluator.
#![allow(clippy::unwrap_used)]

mod support;

use std::net::{IpAddr, Ipv6Addr};

use flowrules::{
    Accept, Context, Credentials, Direction, Evaluation, Frame, Outcome, Rule, decode, evaluate, filter,
};
use support::{Value, bytes, cases, hex, hex_number, load, mac, rules, text};

/// Tags and owned things of both sides.
#[derive(Default)]
struct Ends {
    local_tags: Vec<(u32, u32)>,
    remote_tags: Vec<(u32, u32)>,
    local_ips: Vec<IpAddr>,
    remote_ips: Vec<IpAddr>,
    local_macs: Vec<[u8; 6]>,
    remote_macs: Vec<[u8; 6]>,
    /// Prefixes in which addresses are emulated.
    emulated: Vec<(Ipv6Addr, u32)>,
}

fn tag(tags: &[(u32, u32)], id: u32) -> Option<u32> {
    tags.iter().find(|tag| tag.0 == id).map(|tag| tag.1)
}

impl Credentials for Ends {
    fn local_tag(&self, id: u32) -> Option<u32> {
        tag(&self.local_tags, id)
    }
    fn remote_tag(&self, id: u32) -> Option<u32> {
        tag(&self.remote_tags, id)
    }
    fn local_owns_ip(&self, ip: IpAddr) -> bool {
        self.local_ips.contains(&ip)
    }
    fn remote_owns_ip(&self, ip: IpAddr) -> bool {
        self.remote_ips.contains(&ip)
    }
    fn local_owns_mac(&self, mac: [u8; 6]) -> bool {
        self.local_macs.contains(&mac)
    }
    fn remote_owns_mac(&self, mac: [u8; 6]) -> bool {
        self.remote_macs.contains(&mac)
    }
    fn emulated(&self, ip: Ipv6Addr) -> bool {
        self.emulated.iter().any(|(own, bits)| (own.to_bits() ^ ip.to_bits()) >> (128 - bits) == 0)
    }
}

/// Objects with id and value, or pairs of them.
fn tags(value: &Value) -> Vec<(u32, u32)> {
    let number = |tag: &Value, key: &str, at: usize| {
        let field = if tag.is_array() { &tag[at] } else { &tag[key] };
        field.as_u64().unwrap() as u32
    };
    let list = value.as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter().map(|tag| (number(tag, "id", 0), number(tag, "value", 1))).collect()
}

/// `ip` or `ip/bits`.
fn ip(text: &str) -> IpAddr {
    text.split('/').next().unwrap().parse().unwrap()
}

fn outcome_name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::NoMatch => "no_match",
        Outcome::Drop => "drop",
        Outcome::Redirect(_) => "redirect",
        Outcome::Accept => "accept",
        Outcome::SuperAccept => "super_accept",
    }
}

fn check_base_table(name: &str, expected: &Value, evaluation: &Evaluation) {
    assert_eq!(outcome_name(evaluation.outcome), text(expected, "result"), "{name}");
    if let Outcome::Redirect(target) = evaluation.outcome {
        assert_eq!(format!("{target:010x}"), text(expected, "redirect_to"), "{name}");
    }
    match evaluation.copy {
        None => assert!(expected["copy_to"].is_null(), "{name}"),
        Some(copy) => {
            assert_eq!(format!("{:010x}", copy.target), text(expected, "copy_to"), "{name}");
            assert_eq!(Some(copy.length as u64), expected["copy_length"].as_u64(), "{name}");
            assert_eq!(Some(copy.watch), expected["watch"].as_bool(), "{name}");
        }
    }
    if let Some(bucket) = expected["qos_bucket"].as_u64() {
        assert_eq!(u64::from(evaluation.priority.unwrap_or(0)), bucket, "{name}");
    }
}

/// The rules in their JSON form if there is one, because the binary form loses a little.
fn rule_list(case: &Value) -> Vec<Rule> {
    let binary = decode(&bytes(case, "rules_binary")).unwrap();
    match &case["rules"] {
        Value::Null => binary,
        json => {
            let rules = rules(json);
            assert_eq!(rules.len(), binary.len());
            rules
        }
    }
}

fn check_rules_eval(file: &Value, case: &Value) {
    let name = text(case, "name");
    let outbound = text(case, "direction") == "outbound";
    let source_mac = mac(text(case, "mac_source"));

    let config_timestamp = file["config_timestamp"].as_i64().unwrap();
    let max_delta = file["credential_time_max_delta"].as_u64().unwrap();
    let their_timestamp = case["their_credential_timestamp"].as_i64().unwrap_or(config_timestamp);
    let fresh = config_timestamp.abs_diff(their_timestamp) <= max_delta;

    let mut ends = Ends { local_tags: tags(&case["my_tags"]), ..Ends::default() };
    let owned = |value: &Value| -> (Vec<IpAddr>, Vec<[u8; 6]>) {
        let list = value["ips"].as_array().map(Vec::as_slice).unwrap_or_default();
        let ips = list.iter().map(|text| ip(text.as_str().unwrap())).collect();
        let macs = if value["source_mac"] == true { vec![source_mac] } else { Vec::new() };
        (ips, macs)
    };
    (ends.local_ips, ends.local_macs) = owned(&case["my_ownership"]);
    if fresh {
        ends.remote_tags = tags(&case["their_tags"]);
        (ends.remote_ips, ends.remote_macs) = owned(&case["their_ownership"]);
    }

    let capabilities = match &case[if outbound { "my_capabilities" } else { "their_capabilities" }] {
        Value::Null => &[][..],
        _ if !outbound && (!fresh || case["capabilities_presented"] == false) => &[][..],
        list => list.as_array().unwrap(),
    };
    let mut capabilities: Vec<(u64, Vec<Rule>)> =
        capabilities.iter().map(|c| (c["id"].as_u64().unwrap(), rule_list(c))).collect();
    capabilities.sort_by_key(|capability| capability.0);

    let rules = rule_list(case);
    let payload = bytes(case, "frame");
    let flags = case["network_flags"].as_str().map_or(0, hex_number);
    let mut random = || 0x8000_0000;
    let mut ctx = Context {
        direction: if outbound { Direction::Outbound } else { Direction::Inbound },
        self_address: hex_number(text(file, "my_address")),
        source: hex_number(text(case, "zt_source")),
        dest: case["zt_dest"].as_str().map_or(0, hex_number),
        frame: Frame {
            source: source_mac,
            dest: mac(text(case, "mac_dest")),
            ethertype: case["ethertype"].as_u64().unwrap() as u16,
            vlan: case["vlan_id"].as_u64().unwrap_or(0) as u16,
            payload: &payload,
        },
        match_unknown: flags & 0x08 != 0,
        random: &mut random,
        credentials: &ends,
    };

    check_base_table(name, &case["base_table"], &evaluate(&rules, &mut ctx));

    let verdict = filter(&rules, &mut capabilities.iter().map(|c| (c.0 as u32, &c.1[..])), &mut ctx, false);
    let accept = match verdict.accept {
        Accept::Drop => 0,
        Accept::Accept => 1,
        Accept::SuperAccept => 2,
    };
    assert_eq!(Some(accept), case["accept"].as_u64(), "{name}: {verdict:?}");
    if let Some(bucket) = case["qos_bucket"].as_u64() {
        assert_eq!(u64::from(verdict.priority), bucket, "{name}");
    }

    let flags = |watch: bool| match (outbound, watch) {
        (true, false) => 0x02,
        (true, true) => 0x16,
        (false, false) => 0x08,
        (false, true) => 0x1c,
    };
    let mut sent: Vec<(String, u64, String)> = Vec::new();
    for copy in verdict.copies.iter() {
        sent.push((format!("{:010x}", copy.target), flags(copy.watch), hex(&payload[..copy.length])));
    }
    if let Some(target) = verdict.redirect {
        sent.push((format!("{target:010x}"), if outbound { 0x04 } else { 0x0a }, hex(&payload)));
    }
    let mut expected: Vec<(String, u64, String)> = case["also_sent"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| (text(s, "to").to_owned(), s["flags"].as_u64().unwrap(), text(s, "frame").to_owned()))
        .collect();
    sent.sort();
    expected.sort();
    assert_eq!(sent, expected, "{name}");
}

#[test]
fn vector_rules_eval_cases() {
    let file = load("rules_eval.json");
    for case in cases(&file["cases"]) {
        check_rules_eval(&file, case);
    }
}

#[test]
fn vector_rules_eval_random_cases() {
    let file = load("rules_eval.json");
    for case in cases(&file["random_cases"]) {
        check_rules_eval(&file, case);
    }
}

/// The prefixes in which the node's own derived addresses make others trustworthy.
fn emulated(network: u64, own: u64, static_ips: &[IpAddr]) -> Vec<(Ipv6Addr, u32)> {
    let fold = u128::from((network ^ (network >> 32)) as u32);
    let six_plane = (0xfc << 120) | (fold << 88) | (u128::from(own) << 48) | 1;
    let rfc4193 = (0xfd << 120) | (u128::from(network) << 56) | (0x9993 << 40) | u128::from(own);
    [(six_plane, 40), (rfc4193, 88)]
        .into_iter()
        .map(|(bits, length)| (Ipv6Addr::from_bits(bits), length))
        .filter(|(address, _)| static_ips.contains(&IpAddr::V6(*address)))
        .collect()
}

#[test]
fn vector_vl2_rule_eval() {
    for case in cases(&load("vl2/rule-eval.json")) {
        let name = text(case, "name");
        let things = |key: &str| -> (Vec<IpAddr>, Vec<[u8; 6]>) {
            let (mut ips, mut macs) = (Vec::new(), Vec::new());
            for thing in case[key].as_array().unwrap() {
                match thing.as_str().unwrap() {
                    text if text.starts_with("mac:") => macs.push(mac(&text[4..])),
                    text => ips.push(ip(text)),
                }
            }
            (ips, macs)
        };
        let own = hex_number(text(case, "self"));
        let network_flags = case["networkFlags"].as_u64().unwrap();
        let mut ends = Ends { local_tags: tags(&case["localTags"]), ..Ends::default() };
        (ends.local_ips, ends.local_macs) = things("localOwned");
        (ends.remote_ips, ends.remote_macs) = things("remoteOwned");
        if case["remoteTagsStale"] != true {
            ends.remote_tags = tags(&case["remoteTags"]);
        }
        if network_flags & 0x04 != 0 {
            let static_ips: Vec<IpAddr> =
                case["staticIps"].as_array().unwrap().iter().map(|t| ip(t.as_str().unwrap())).collect();
            ends.emulated = emulated(hex_number(text(case, "networkId")), own, &static_ips);
        }
        let rules = decode(&bytes(case, "rules")).unwrap();
        assert_eq!(Some(rules.len() as u64), case["ruleCount"].as_u64(), "{name}");
        let payload = bytes(case, "frame");
        let mut random = || 0x8000_0000;
        let mut ctx = Context {
            direction: if case["inbound"] == true { Direction::Inbound } else { Direction::Outbound },
            self_address: own,
            source: hex_number(text(case, "ztSource")),
            dest: hex_number(text(case, "ztDest")),
            frame: Frame {
                source: mac(text(case, "macSource")),
                dest: mac(text(case, "macDest")),
                ethertype: case["etherType"].as_u64().unwrap() as u16,
                vlan: 0,
                payload: &payload,
            },
            match_unknown: network_flags & 0x08 != 0,
            random: &mut random,
            credentials: &ends,
        };
        let evaluation = evaluate(&rules, &mut ctx);
        let expect = &case["expect"];
        assert_eq!(outcome_name(evaluation.outcome).to_uppercase(), text(expect, "result"), "{name}");
        let dest = if let Outcome::Redirect(target) = evaluation.outcome { target } else { ctx.dest };
        assert_eq!(format!("{dest:010x}"), text(expect, "ztDest"), "{name}");
        match evaluation.copy {
            None => assert!(expect["cc"].is_null(), "{name}"),
            Some(copy) => {
                let cc = &expect["cc"];
                assert_eq!(format!("{:010x}", copy.target), text(cc, "to"), "{name}");
                assert_eq!(Some(copy.length as u64), cc["length"].as_u64(), "{name}");
                assert_eq!(Some(copy.watch), cc["watch"].as_bool(), "{name}");
            }
        }
        if let Some(bucket) = expect["qosBucket"].as_u64() {
            assert_eq!(evaluation.priority.map(u64::from), Some(bucket), "{name}");
        }
    }
}
