//! Properties of the forms and the evaluator over generated input.
#![allow(clippy::unwrap_used)]

use std::net::{IpAddr, Ipv6Addr};

use flowrules::{
    Accept, Context, Credentials, Direction, Frame, IntegerRange, Kind, MAX_RULES, Outcome, Rule, Target,
    decode, encode, evaluate, filter, from_json, to_json,
};
use proptest::collection::vec;
use proptest::prelude::*;

fn address() -> impl Strategy<Value = u64> {
    prop_oneof![0u64..4, 0u64..1 << 40]
}

fn target() -> impl Strategy<Value = Target> {
    (address(), any::<u32>(), any::<u16>()).prop_map(|(address, flags, length)| Target {
        address,
        flags,
        length,
    })
}

fn kind() -> impl Strategy<Value = Kind> {
    let small = || 0u32..4;
    prop_oneof![
        Just(Kind::Drop),
        Just(Kind::Accept),
        Just(Kind::Break),
        target().prop_map(Kind::Tee),
        target().prop_map(Kind::Watch),
        target().prop_map(Kind::Redirect),
        Just(Kind::Priority(0)),
        address().prop_map(Kind::SourceAddress),
        address().prop_map(Kind::DestAddress),
        any::<u16>().prop_map(Kind::VlanId),
        any::<u8>().prop_map(Kind::VlanPcp),
        any::<u8>().prop_map(Kind::VlanDei),
        any::<[u8; 6]>().prop_map(Kind::MacSource),
        any::<[u8; 6]>().prop_map(Kind::MacDest),
        (any::<[u8; 4]>(), any::<u8>()).prop_map(|(ip, bits)| Kind::Ipv4Source(ip.into(), bits)),
        (any::<[u8; 4]>(), any::<u8>()).prop_map(|(ip, bits)| Kind::Ipv4Dest(ip.into(), bits)),
        (any::<[u8; 16]>(), any::<u8>()).prop_map(|(ip, bits)| Kind::Ipv6Source(ip.into(), bits)),
        (any::<[u8; 16]>(), any::<u8>()).prop_map(|(ip, bits)| Kind::Ipv6Dest(ip.into(), bits)),
        any::<[u8; 3]>().prop_map(|[mask, start, end]| Kind::IpTos { mask, start, end }),
        any::<u8>().prop_map(Kind::IpProtocol),
        any::<u16>().prop_map(Kind::Ethertype),
        (any::<u8>(), any::<Option<u8>>()).prop_map(|(kind, code)| Kind::Icmp { kind, code }),
        any::<(u16, u16)>().prop_map(|(a, b)| Kind::SourcePort(a, b)),
        any::<(u16, u16)>().prop_map(|(a, b)| Kind::DestPort(a, b)),
        any::<u64>().prop_map(Kind::Characteristics),
        any::<(u16, u16)>().prop_map(|(a, b)| Kind::FrameSize(a, b)),
        any::<u32>().prop_map(Kind::Random),
        (small(), small()).prop_map(|(id, v)| Kind::TagsDifference(id, v)),
        (small(), small()).prop_map(|(id, v)| Kind::TagsAnd(id, v)),
        (small(), small()).prop_map(|(id, v)| Kind::TagsOr(id, v)),
        (small(), small()).prop_map(|(id, v)| Kind::TagsXor(id, v)),
        (small(), small()).prop_map(|(id, v)| Kind::TagsEqual(id, v)),
        (small(), small()).prop_map(|(id, v)| Kind::TagSender(id, v)),
        (small(), small()).prop_map(|(id, v)| Kind::TagReceiver(id, v)),
        any::<(u64, u32, u16, u8)>().prop_map(|(start, span, index, format)| {
            Kind::IntegerRange(IntegerRange { start, span, index, format })
        }),
        (prop_oneof![7u8..24, 52u8..64], vec(any::<u8>(), 0..20))
            .prop_map(|(number, value)| Kind::Unknown { number, value }),
    ]
}

fn rule() -> impl Strategy<Value = Rule> {
    (any::<bool>(), any::<bool>(), kind()).prop_map(|(not, or, kind)| Rule { not, or, kind })
}

struct Tags;

impl Credentials for Tags {
    fn local_tag(&self, id: u32) -> Option<u32> {
        (id < 2).then_some(id)
    }
    fn remote_tag(&self, id: u32) -> Option<u32> {
        (id & 1 == 0).then_some(3)
    }
    fn local_owns_ip(&self, _: IpAddr) -> bool {
        true
    }
    fn remote_owns_ip(&self, ip: IpAddr) -> bool {
        ip.is_ipv4()
    }
    fn local_owns_mac(&self, _: [u8; 6]) -> bool {
        false
    }
    fn remote_owns_mac(&self, _: [u8; 6]) -> bool {
        true
    }
    fn emulated(&self, _: Ipv6Addr) -> bool {
        true
    }
}

fn with_context<T>(
    inbound: bool,
    ethertype: u16,
    payload: &[u8],
    run: impl FnOnce(&mut Context<'_>) -> T,
) -> T {
    run(&mut Context {
        direction: if inbound { Direction::Inbound } else { Direction::Outbound },
        self_address: if inbound { 2 } else { 1 },
        source: 1,
        dest: 2,
        frame: Frame { source: [2; 6], dest: [3; 6], ethertype, vlan: 0, payload },
        match_unknown: false,
        random: &mut || 7,
        credentials: &Tags,
    })
}

fn ethertype() -> impl Strategy<Value = u16> {
    prop_oneof![Just(0x0800u16), Just(0x86dd), Just(0x0806), any::<u16>()]
}

/// Payloads that look enough like IP to get deep into the matches.
fn payload() -> impl Strategy<Value = Vec<u8>> {
    (vec(any::<u8>(), 0..120), prop_oneof![Just(6u8), Just(17), Just(1), Just(58), Just(0), Just(43)])
        .prop_map(|(mut bytes, protocol)| {
            for at in [6, 9] {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = protocol;
                }
            }
            bytes
        })
}

proptest! {
    #[test]
    fn the_binary_form_round_trips(rules in vec(rule(), 0..40)) {
        prop_assert_eq!(decode(&encode(&rules)).unwrap(), rules);
    }

    #[test]
    fn the_json_form_round_trips(mut rule in rule()) {
        let read = from_json(&to_json(&rule));
        if matches!(rule.kind, Kind::Priority(_) | Kind::Unknown { .. }) {
            prop_assert_eq!(read, None);
            return Ok(());
        }
        if rule.kind.is_action() {
            (rule.not, rule.or) = (false, false);
        }
        match &mut rule.kind {
            Kind::Redirect(target) => target.length = 0,
            Kind::IntegerRange(range) => range.format &= 0xbf,
            Kind::Ipv4Source(_, bits) | Kind::Ipv4Dest(_, bits) => *bits = (*bits).min(32),
            Kind::Ipv6Source(_, bits) | Kind::Ipv6Dest(_, bits) => *bits = (*bits).min(128),
            _ => {}
        }
        prop_assert_eq!(read, Some(rule));
    }

    #[test]
    fn any_bytes_decode_or_fail_and_what_decodes_is_stable(bytes in vec(any::<u8>(), 0..300)) {
        if let Ok(rules) = decode(&bytes) {
            prop_assert!(rules.len() <= MAX_RULES);
            prop_assert_eq!(decode(&encode(&rules)).unwrap(), rules);
        }
    }

    #[test]
    fn evaluation_takes_any_frame(
        rules in vec(rule(), 0..30),
        inbound: bool,
        ethertype in ethertype(),
        payload in payload(),
    ) {
        let evaluation = with_context(inbound, ethertype, &payload, |ctx| evaluate(&rules, ctx));
        if let Some(copy) = evaluation.copy {
            prop_assert!(copy.length <= payload.len());
        }
        prop_assert!(inbound || evaluation.outcome != Outcome::SuperAccept);
        prop_assert_eq!(
            evaluation.by.is_none(),
            evaluation.by.is_none_or(|at| !rules[at].kind.is_action())
        );
    }

    #[test]
    fn a_capability_can_only_add_acceptance(
        base in vec(rule(), 0..12),
        capability in vec(rule(), 0..12),
        inbound: bool,
        ethertype in ethertype(),
        payload in payload(),
    ) {
        let (alone, with) = with_context(inbound, ethertype, &payload, |ctx| {
            let alone = filter(&base, &mut std::iter::empty(), ctx, false);
            (alone, filter(&base, &mut std::iter::once((1, &capability[..])), ctx, false))
        });
        if alone.accept != Accept::Drop || alone.redirect.is_some() {
            prop_assert_eq!(alone, with);
        }
    }

    #[test]
    fn nothing_is_sent_for_a_dropped_frame(
        base in vec(rule(), 0..12),
        inbound: bool,
        ethertype in ethertype(),
        payload in payload(),
    ) {
        let verdict = with_context(inbound, ethertype, &payload, |ctx| {
            filter(&base, &mut std::iter::empty(), ctx, false)
        });
        if verdict.accept == Accept::Drop && verdict.redirect.is_none() {
            prop_assert!(verdict.copies.is_empty());
        }
    }
}
