//! The evaluator and the flow cache against a model written from the specification, over generated rules, frames, tags,
//! capabilities and certificates of ownership.
//!
//! `ZTNODE_FLOW_CASES` sets the number of cases (rule sets with 24 frames each).
#![allow(unreachable_pub, clippy::unwrap_used)]

#[path = "model_support/model.rs"]
mod model;

use std::net::{IpAddr, Ipv6Addr};

use flowrules::evaluate::Entry;
use flowrules::{
    Accept, Context, Credentials, Direction, FlowCache, FlowStatistics, Frame, IntegerRange, Kind, Rule,
    Target, Verdict, encode, filter,
};
use model::{Done, Raw, Shown, Situation};

/// Frames judged with each rule set.
const FRAMES: usize = 24;

/// SplitMix64: a small generator whose runs can be repeated from the number of a case.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len() as u64) as usize]
    }
}

/// The node itself.
const US: u64 = 0x10;
/// Other nodes.
const PEERS: [u64; 3] = [0x11, 0x12, 0x13];
const MACS: [[u8; 6]; 4] = [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2], [0x33, 0x33, 0, 0, 0, 1], [0xff; 6]];
const PORTS: [u16; 7] = [0, 1, 22, 80, 443, 1024, 65_535];
const V4: [[u8; 4]; 4] = [[10, 0, 0, 1], [10, 0, 0, 2], [10, 1, 0, 1], [192, 168, 1, 1]];
const SIZES: [u16; 8] = [0, 19, 20, 39, 40, 63, 64, 100];

fn v6(d: &mut Dice) -> [u8; 16] {
    let mut a = [0; 16];
    (a[0], a[1]) = (0xfd, d.of(&[0, 1]));
    a[15] = d.of(&[0, 1, 2]);
    a
}

fn kind(d: &mut Dice) -> Kind {
    let target = |d: &mut Dice| Target {
        address: d.of(&[US, 0x11, 0x12, 0x13, 0x14, 0x15, 0]),
        flags: 0,
        length: d.of(&[0, 1, 30, 64, 9_000]),
    };
    let tag = |d: &mut Dice| (d.below(4) as u32, d.below(4) as u32);
    // Actions come often enough for sets of one or two matches.
    if d.below(5) < 2 {
        return match d.below(16) {
            0..3 => Kind::Drop,
            3..5 => Kind::Accept,
            5 => Kind::Break,
            6 => Kind::Redirect(target(d)),
            7 => Kind::Priority(d.below(12) as u8),
            8..10 => Kind::Watch(target(d)),
            10 => Kind::Unknown { number: 7 + d.below(9) as u8, value: vec![1] },
            _ => Kind::Tee(target(d)),
        };
    }
    match d.below(34) {
        0 => Kind::SourceAddress(d.of(&[US, 0x11, 0x12])),
        1 => Kind::DestAddress(d.of(&[US, 0x11, 0])),
        2 => Kind::VlanId(d.below(2) as u16),
        3 => Kind::VlanPcp(d.below(2) as u8),
        4 => Kind::VlanDei(d.below(2) as u8),
        5 => Kind::MacSource(d.of(&MACS)),
        6 => Kind::MacDest(d.of(&MACS)),
        7 => Kind::Ipv4Source(d.of(&V4).into(), d.of(&[0, 8, 24, 31, 32, 200])),
        8 => Kind::Ipv4Dest(d.of(&V4).into(), d.of(&[0, 8, 24, 31, 32])),
        9 => Kind::Ipv6Source(v6(d).into(), d.of(&[0, 15, 16, 127, 128, 200])),
        10 => Kind::Ipv6Dest(v6(d).into(), d.of(&[0, 16, 128])),
        11 => Kind::IpTos { mask: d.of(&[0xff, 0xfc, 3]), start: d.of(&[0, 1]), end: d.of(&[0, 2, 0xb8]) },
        12 | 13 => Kind::IpProtocol(d.of(&[1, 6, 17, 58, 132])),
        14 | 15 => Kind::Ethertype(d.of(&[0x0800, 0x0806, 0x86dd, 0x88b5])),
        16 => Kind::Icmp { kind: d.of(&[8, 0, 135, 136]), code: d.of(&[None, Some(0), Some(1)]) },
        17 | 18 => Kind::SourcePort(d.of(&PORTS), d.of(&PORTS)),
        19 | 20 => Kind::DestPort(d.of(&PORTS), d.of(&PORTS)),
        21 | 22 => Kind::Characteristics(1 << d.of(&[0u64, 1, 2, 4, 8, 11, 59, 60, 61, 62, 63])),
        23 => Kind::Characteristics(d.of(&[0x12, 0xfff, 1 << 60 | 2, 0, u64::MAX])),
        24 => Kind::FrameSize(d.of(&SIZES), d.of(&SIZES)),
        25 if d.one_in(3) => Kind::Random(d.of(&[0, 1 << 31, u32::MAX])),
        26 => Kind::TagsDifference(tag(d).0, tag(d).1),
        27 => Kind::TagsAnd(tag(d).0, tag(d).1),
        28 => Kind::TagsOr(tag(d).0, tag(d).1),
        29 => Kind::TagsXor(tag(d).0, tag(d).1),
        30 => Kind::TagsEqual(tag(d).0, tag(d).1),
        31 => Kind::TagSender(tag(d).0, tag(d).1),
        32 => Kind::TagReceiver(tag(d).0, tag(d).1),
        33 if d.one_in(2) => Kind::IntegerRange(IntegerRange {
            start: d.below(3),
            span: d.of(&[0, 5, u32::MAX]),
            index: d.of(&[0, 12, 30, 90]),
            format: d.of(&[0, 3, 7, 15, 63, 0x80, 0x83, 0x8f, 0xbf]),
        }),
        _ => Kind::Unknown { number: d.of(&[16, 23, 52, 63]), value: Vec::new() },
    }
}

fn rules(d: &mut Dice, most: u64) -> Vec<Rule> {
    let n = d.below(most);
    (0..n).map(|_| Rule { not: d.one_in(4), or: d.one_in(5), kind: kind(d) }).collect()
}

fn raw(rules: &[Rule]) -> Vec<Raw> {
    let mut raw = model::split(&encode(rules));
    for (raw, rule) in raw.iter_mut().zip(rules) {
        if let Kind::Priority(bucket) = rule.kind {
            raw.bucket = bucket;
        }
    }
    assert_eq!(raw.len(), rules.len());
    raw
}

fn shown(d: &mut Dice) -> Shown {
    let mut shown = Shown::default();
    for id in 0..4 {
        if d.one_in(2) {
            shown.tags.push((id, d.below(4) as u32));
        }
    }
    for v4 in V4 {
        if d.one_in(3) {
            shown.addresses.push(v4.to_vec());
        }
    }
    if d.one_in(2) {
        shown.addresses.push(v6(d).to_vec());
    }
    if d.one_in(2) {
        shown.macs.push(d.of(&MACS));
    }
    shown
}

/// A payload: IPv4, IPv6, ARP or anything, of any length.
fn payload(d: &mut Dice, ethertype: u16) -> Vec<u8> {
    let mut p = vec![0; 100];
    let transport = match ethertype {
        0x0800 => {
            p[0] = 0x40 | d.of(&[5, 5, 5, 6, 15]);
            p[9] = d.of(&[6, 6, 17, 1, 132, 47]);
            p[12..16].copy_from_slice(&d.of(&V4));
            p[16..20].copy_from_slice(&d.of(&V4));
            usize::from(p[0] & 15) * 4
        }
        0x86dd => {
            p[0] = 0x60;
            p[6] = d.of(&[6, 17, 58, 58, 0, 43, 59]);
            p[8..24].copy_from_slice(&v6(d));
            p[24..40].copy_from_slice(&v6(d));
            if matches!(p[6], 0 | 43) {
                (p[40], p[41]) = (d.of(&[6, 17, 58, 60]), d.of(&[0, 0, 1, 20]));
                48
            } else {
                p[48..64].copy_from_slice(&v6(d));
                40
            }
        }
        0x0806 => {
            p[14..18].copy_from_slice(&d.of(&V4));
            28
        }
        _ => 0,
    };
    let icmp = matches!(p[6], 58) && ethertype == 0x86dd || ethertype == 0x0800 && p[9] == 1;
    if let Some(head) = p.get_mut(transport..transport + 4) {
        if icmp {
            (head[0], head[1]) = (d.of(&[8, 0, 135, 136]), d.of(&[0, 1]));
        } else {
            head[..2].copy_from_slice(&d.of(&PORTS).to_be_bytes());
            head[2..].copy_from_slice(&d.of(&PORTS).to_be_bytes());
        }
    }
    p
}

/// Changes what varies inside a flow: TCP flags, length, TOS, some octets.
fn vary(d: &mut Dice, s: &mut Situation) {
    let p = &mut s.payload;
    for _ in 0..d.below(3) {
        let at = d.of(&[1, 0x20, 0x21, 0x34, 0x35, 30, 90]);
        if let Some(octet) = p.get_mut(at) {
            *octet = d.of(&[0, 1, 2, 0x10, 0x12, 0xb8, 0xff]);
        }
    }
    if d.one_in(4) {
        p.truncate(usize::from(d.of(&SIZES)) + d.below(2) as usize);
    }
}

struct Ends<'a>(&'a Situation);

fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

impl Credentials for Ends<'_> {
    fn local_tag(&self, id: u32) -> Option<u32> {
        self.0.local.tag(id)
    }
    fn remote_tag(&self, id: u32) -> Option<u32> {
        self.0.remote.tag(id)
    }
    fn local_owns_ip(&self, ip: IpAddr) -> bool {
        self.0.local.addresses.contains(&octets(ip))
    }
    fn remote_owns_ip(&self, ip: IpAddr) -> bool {
        self.0.remote.addresses.contains(&octets(ip))
    }
    fn local_owns_mac(&self, mac: [u8; 6]) -> bool {
        self.0.local.macs.contains(&mac)
    }
    fn remote_owns_mac(&self, mac: [u8; 6]) -> bool {
        self.0.remote.macs.contains(&mac)
    }
    fn emulated(&self, ip: Ipv6Addr) -> bool {
        self.0.emulated.contains(&ip.octets().to_vec())
    }
}

fn with_context<T>(s: &Situation, run: impl FnOnce(&mut Context<'_>) -> T) -> T {
    run(&mut Context {
        direction: if s.inbound { Direction::Inbound } else { Direction::Outbound },
        self_address: s.us,
        source: s.source,
        dest: s.dest,
        frame: Frame {
            source: s.mac_source,
            dest: s.mac_dest,
            ethertype: s.ethertype,
            vlan: s.vlan,
            payload: &s.payload,
        },
        match_unknown: s.match_unknown,
        random: &mut || s.random,
        credentials: &Ends(s),
    })
}

fn done(verdict: &Verdict) -> Done {
    let place = |entry: Entry| (entry.capability, usize::from(entry.index));
    Done {
        accept: match verdict.accept {
            Accept::Drop => 0,
            Accept::Accept => 1,
            Accept::SuperAccept => 2,
        },
        redirect: verdict.redirect,
        copies: verdict
            .copies
            .iter()
            .map(|c| (c.by.capability, (c.target, c.length, c.watch, usize::from(c.by.index))))
            .collect(),
        bucket: verdict.priority,
        by: verdict.by.map(place),
    }
}

type Capabilities = Vec<(u32, Vec<Rule>)>;

fn lists(capabilities: &Capabilities) -> impl Iterator<Item = (u32, &[Rule])> {
    capabilities.iter().map(|(id, rules)| (*id, &rules[..]))
}

fn some_capabilities(d: &mut Dice) -> Capabilities {
    (0..d.below(3) as u32).map(|id| (id * 7, rules(d, 12))).collect()
}

/// As any, but often with what most networks begin with.
fn base_rules(d: &mut Dice) -> Vec<Rule> {
    let mut base = rules(d, 40);
    if d.one_in(8) {
        base.insert(0, Rule::new(Kind::Accept));
    }
    base
}

fn case(number: u64, total: &mut FlowStatistics) {
    let d = &mut Dice(number.wrapping_mul(0xd134_2543_de82_ef95));
    // Long enough for the cache not to be passed by, with lists that end early and late.
    let mut base = rules(d, 30);
    if d.one_in(2) {
        let padding = Rule::from(Kind::Unknown { number: 15, value: Vec::new() });
        base.splice(0..0, std::iter::repeat_n(padding, 12));
    }
    let mut own = some_capabilities(d);
    let mut theirs: Vec<Capabilities> = PEERS.iter().map(|_| some_capabilities(d)).collect();
    let mut local = shown(d);
    let mut remote: Vec<Shown> = PEERS.iter().map(|_| shown(d)).collect();
    let match_unknown = d.one_in(2);
    let mut cache = FlowCache::new(&base, lists(&own).map(|(_, rules)| rules));
    if d.one_in(2) {
        for (_, rules) in theirs.iter().flatten() {
            cache.presented(rules);
        }
    }

    let mut flows: Vec<(usize, Situation)> = Vec::new();
    for _ in 0..3 {
        let peer = d.below(PEERS.len() as u64) as usize;
        let inbound = d.one_in(2);
        let ethertype = d.of(&[0x0800, 0x0800, 0x86dd, 0x86dd, 0x0806, 0x88b5]);
        let unknown = !inbound && d.one_in(4);
        flows.push((
            peer,
            Situation {
                inbound,
                us: US,
                source: if inbound { PEERS[peer] } else { US },
                dest: if inbound {
                    US
                } else if unknown {
                    0
                } else {
                    PEERS[peer]
                },
                mac_source: d.of(&MACS),
                mac_dest: d.of(&MACS),
                ethertype,
                vlan: u16::from(d.one_in(8)),
                payload: payload(d, ethertype),
                match_unknown,
                random: 0,
                local: Shown::default(),
                remote: Shown::default(),
                emulated: if d.one_in(3) { vec![v6(d).to_vec()] } else { Vec::new() },
            },
        ));
    }
    // One node emulates the same for all flows.
    let emulated = flows[0].1.emulated.clone();

    for frame in 0..FRAMES {
        let changed = d.below(PEERS.len() as u64) as usize;
        match d.below(24) {
            0 => {
                remote[changed] = shown(d);
                cache.forget(PEERS[changed]);
            }
            1 => {
                theirs[changed] = some_capabilities(d);
                cache.forget(PEERS[changed]);
            }
            2 => {
                local = shown(d);
                cache.clear();
            }
            3 => {
                (base, own) = (base_rules(d), some_capabilities(d));
                cache = FlowCache::new(&base, lists(&own).map(|(_, rules)| rules));
            }
            _ => {}
        }
        let (peer, mut s) = flows[d.below(3) as usize].clone();
        s.random = d.of(&[0, 1, 1 << 30, 1 << 31, u32::MAX]);
        s.local = local.clone();
        s.remote = if s.dest == 0 { Shown::default() } else { remote[peer].clone() };
        s.emulated = emulated.clone();
        vary(d, &mut s);
        let no_tee = !s.inbound && d.one_in(3);

        let capabilities = if s.inbound { &theirs[peer] } else { &own };
        let raw_capabilities: Vec<(u32, Vec<Raw>)> =
            capabilities.iter().map(|(id, rules)| (*id, raw(rules))).collect();
        let expected = model::filter(&raw(&base), &raw_capabilities, &s, no_tee);
        let plain = with_context(&s, |ctx| filter(&base, &mut lists(capabilities), ctx, no_tee));
        let what = || format!("case {number}, frame {frame}: {s:?}\n{base:?}\n{capabilities:?}");
        assert_eq!(done(&plain), expected, "the evaluator and the model, {}", what());
        // Cold or warm, then certainly warm.
        for _ in 0..2 {
            let cached = with_context(&s, |ctx| cache.filter(&base, &mut lists(capabilities), ctx, no_tee));
            assert_eq!(cached, plain, "the flow cache and the evaluator, {}", what());
        }
        let s = cache.statistics();
        if frame + 1 == FRAMES {
            total.hits += s.hits;
            total.misses += s.misses;
            total.bypassed += s.bypassed;
        }
    }
}

#[test]
fn evaluator_flow_cache_and_model_agree() {
    let cases = std::env::var("ZTNODE_FLOW_CASES").map_or(12_000, |n| n.parse().unwrap());
    let mut total = FlowStatistics::default();
    for number in 0..cases {
        case(number, &mut total);
    }
    println!("{cases} rule sets, {} frames: {total:?}", cases * FRAMES as u64);
    // All three ways through the cache were taken often.
    assert!(total.hits > cases && total.misses > cases && total.bypassed > cases / 2, "{total:?}");
}
