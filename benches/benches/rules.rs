//! Rules over one frame, evaluated or remembered by the flow cache: what every frame costs at both ends.
#![allow(missing_docs, clippy::unwrap_used, reason = "criterion's macros; a benchmark may stop with a panic")]

use std::hint::black_box;
use std::net::{IpAddr, Ipv6Addr};

use criterion::{Criterion, criterion_group, criterion_main};
use flowrules::evaluate::{Context, Credentials, Direction, Frame, Outcome, evaluate};
use flowrules::{FlowCache, Rule, from_json};
use serde_json::{Value, json};

/// Neither side has anything to show.
struct Nothing;

impl Credentials for Nothing {
    fn local_tag(&self, _: u32) -> Option<u32> {
        None
    }
    fn remote_tag(&self, _: u32) -> Option<u32> {
        None
    }
    fn local_owns_ip(&self, _: IpAddr) -> bool {
        false
    }
    fn remote_owns_ip(&self, _: IpAddr) -> bool {
        false
    }
    fn local_owns_mac(&self, _: [u8; 6]) -> bool {
        false
    }
    fn remote_owns_mac(&self, _: [u8; 6]) -> bool {
        false
    }
    fn emulated(&self, _: Ipv6Addr) -> bool {
        false
    }
}

/// An IPv4 packet with a TCP segment to port 443.
fn tcp() -> Vec<u8> {
    let mut packet = vec![0; 1_400];
    packet[0] = 0x45;
    packet[9] = 6;
    packet[12..16].copy_from_slice(&[10, 0, 0, 1]);
    packet[16..20].copy_from_slice(&[10, 0, 0, 2]);
    packet[20..24].copy_from_slice(&[0xc3, 0x50, 0x01, 0xbb]);
    packet[32] = 0x50;
    packet[33] = 0x10;
    packet
}

/// What a new network has: IPv4, ARP and IPv6 pass, all else is dropped.
fn ethertypes() -> Vec<Value> {
    let only = |ethertype: u16| json!({"type": "MATCH_ETHERTYPE", "etherType": ethertype, "not": true});
    vec![only(0x0800), only(0x0806), only(0x86dd), json!({"type": "ACTION_DROP"})]
}

fn rules(list: Vec<Value>) -> Vec<Rule> {
    list.iter().map(|value| from_json(value).expect("a rule")).collect()
}

fn accept() -> Value {
    json!({"type": "ACTION_ACCEPT"})
}

fn lists() -> Vec<(&'static str, Vec<Rule>)> {
    let port = |port: u16| json!({"type": "MATCH_IP_DEST_PORT_RANGE", "start": port, "end": port});
    let protocol = json!({"type": "MATCH_IP_PROTOCOL", "ipProtocol": 6});
    let mut firewall = ethertypes();
    firewall.extend([protocol.clone(), port(22), accept(), protocol.clone(), port(443), accept()]);
    firewall.push(json!({"type": "ACTION_DROP"}));
    // As many entries as a list may have; only the last one decides.
    let mut longest = Vec::new();
    while longest.len() + 4 <= flowrules::MAX_RULES {
        longest.extend([protocol.clone(), port(1), json!({"type": "ACTION_DROP"})]);
    }
    longest.push(accept());
    vec![
        ("accept all", rules(vec![accept()])),
        ("ethertypes", rules([ethertypes(), vec![accept()]].concat())),
        ("two TCP ports", rules(firewall)),
        ("longest list", rules(longest)),
    ]
}

fn evaluation(criterion: &mut Criterion) {
    let payload = tcp();
    let mut random = || 4;
    let mut group = criterion.benchmark_group("evaluate");
    for (name, rules) in lists() {
        let mut context = Context {
            direction: Direction::Inbound,
            self_address: 1,
            source: 2,
            dest: 1,
            frame: Frame {
                source: [2, 0, 0, 0, 0, 2],
                dest: [2, 0, 0, 0, 0, 1],
                ethertype: 0x0800,
                vlan: 0,
                payload: &payload,
            },
            match_unknown: true,
            random: &mut random,
            credentials: &Nothing,
        };
        assert!(matches!(evaluate(&rules, &mut context).outcome, Outcome::Accept), "{name}");
        group.bench_function(name, |bencher| {
            bencher.iter(|| evaluate(black_box(&rules), &mut context));
        });
    }
}

/// `entries` (an odd number) entries of which only the last one, ACCEPT, decides: ports nobody uses are dropped.
fn long_list(entries: u16) -> Vec<Rule> {
    let mut list = Vec::new();
    for port in 1..=entries / 2 {
        list.push(json!({"type": "MATCH_IP_DEST_PORT_RANGE", "start": port, "end": port}));
        list.push(json!({"type": "ACTION_DROP"}));
    }
    list.push(accept());
    rules(list)
}

/// A packet of TCP flow `n`.
fn flow(n: u16) -> Vec<u8> {
    let mut packet = tcp();
    packet[18..20].copy_from_slice(&n.to_be_bytes());
    packet[20..22].copy_from_slice(&(40_000 ^ n).to_be_bytes());
    packet
}

fn cached(criterion: &mut Criterion) {
    for (flows, name) in [(1, "filter, one flow"), (256, "filter, 256 flows in turn")] {
        let packets: Vec<Vec<u8>> = (0..flows).map(flow).collect();
        let mut group = criterion.benchmark_group(name);
        for entries in [1, 3, 5, 7, 9, 11, 13, 15, 21, 101, 1_001] {
            let list = long_list(entries);
            assert!(list.len() == usize::from(entries) && list.len() <= flowrules::MAX_RULES);
            let mut cache = FlowCache::new(&list, std::iter::empty());
            for way in ["plain", "cache"] {
                let mut at = 0;
                let mut random = || 4;
                group.bench_function(format!("{entries} entries, {way}"), |bencher| {
                    bencher.iter(|| {
                        at = (at + 1) % packets.len();
                        let mut context = Context {
                            direction: Direction::Inbound,
                            self_address: 1,
                            source: 2,
                            dest: 1,
                            frame: Frame {
                                source: [2, 0, 0, 0, 0, 2],
                                dest: [2, 0, 0, 0, 0, 1],
                                ethertype: 0x0800,
                                vlan: 0,
                                payload: black_box(&packets[at]),
                            },
                            match_unknown: true,
                            random: &mut random,
                            credentials: &Nothing,
                        };
                        let none = &mut std::iter::empty();
                        if way == "plain" {
                            flowrules::filter(black_box(&list), none, &mut context, false)
                        } else {
                            cache.filter(black_box(&list), none, &mut context, false)
                        }
                    });
                });
            }
        }
    }
}

criterion_group!(all, evaluation, cached);
criterion_main!(all);
