#![no_main]

use std::net::{IpAddr, Ipv6Addr};

use flowrules::{Context, Credentials, Direction, FlowCache, Frame, decode, evaluate, filter};
use libfuzzer_sys::fuzz_target;

struct SomeCredentials;

impl Credentials for SomeCredentials {
    fn local_tag(&self, id: u32) -> Option<u32> {
        (id < 4).then_some(id)
    }
    fn remote_tag(&self, id: u32) -> Option<u32> {
        (id & 1 == 0).then_some(1)
    }
    fn local_owns_ip(&self, ip: IpAddr) -> bool {
        ip.is_ipv4()
    }
    fn remote_owns_ip(&self, ip: IpAddr) -> bool {
        ip.is_ipv6()
    }
    fn local_owns_mac(&self, _: [u8; 6]) -> bool {
        true
    }
    fn remote_owns_mac(&self, _: [u8; 6]) -> bool {
        false
    }
    fn emulated(&self, _: Ipv6Addr) -> bool {
        false
    }
}

// Any rules over any frame. Layout: direction, ethertype, length of the rules, rules, payload.
fuzz_target!(|data: &[u8]| {
    let [inbound, high, low, length, rest @ ..] = data else { return };
    let (rules, payload) = rest.split_at(rest.len().min(usize::from(*length)));
    let Ok(rules) = decode(rules) else { return };
    let inbound = inbound & 1 != 0;
    let mut ctx = Context {
        direction: if inbound { Direction::Inbound } else { Direction::Outbound },
        self_address: if inbound { 2 } else { 1 },
        source: 1,
        dest: 2,
        frame: Frame {
            source: [2; 6],
            dest: [3; 6],
            ethertype: u16::from_be_bytes([*high, *low]),
            vlan: 0,
            payload,
        },
        match_unknown: false,
        random: &mut || 1,
        credentials: &SomeCredentials,
    };
    let evaluation = evaluate(&rules, &mut ctx);
    if let Some(copy) = evaluation.copy {
        assert!(copy.length <= payload.len());
    }
    let verdict = filter(&rules, &mut std::iter::once((1, &rules[..])), &mut ctx, true);
    assert!(verdict.copies.is_empty());
    // The flow cache says the same, before and after it has learnt the verdict.
    let verdict = filter(&rules, &mut std::iter::once((1, &rules[..])), &mut ctx, false);
    let mut cache = FlowCache::new(&rules, std::iter::empty());
    for _ in 0..3 {
        let cached = cache.filter(&rules, &mut std::iter::once((1, &rules[..])), &mut ctx, false);
        assert_eq!(cached, verdict);
    }
});
