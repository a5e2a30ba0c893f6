//! Requests that are let through while their answers are not: rules keep no state, which everybody forgets who comes from
//! firewalls that do.

use std::collections::BTreeSet;

use super::reach::Frame;
use super::{Report, program, sections};
use crate::language::{Place, Program};
use crate::rule::Kind;

/// The protocols with ports that people write rules about, and the words for them.
const PROTOCOLS: [(u8, &str); 2] = [(6, "tcp"), (17, "udp")];
/// Most services looked at: each takes walks through all rules.
const MOST: usize = 64;

/// What a statement lets through: a port, and a protocol if it names one.
type Service = (Option<u8>, u16);

pub(super) fn check(program: &Program, report: &mut Report<'_>) {
    let mut seen = BTreeSet::new();
    for section in sections(program) {
        let mut wanted: Vec<u16> = Vec::new();
        let mut protocol = None;
        for (rule, place) in section.rules.iter().zip(&section.places) {
            match &rule.kind {
                // Of a range the port at its beginning stands for all.
                Kind::DestPort(first, last) if !rule.not && (*first, *last) != (0, u16::MAX) => {
                    wanted.push(*first);
                }
                Kind::IpProtocol(number) if !rule.not => protocol = Some(*number),
                Kind::Accept => {
                    for port in wanted.drain(..) {
                        if seen.len() < MOST && seen.insert((protocol, port)) {
                            service(program, (protocol, port), place, report);
                        }
                    }
                    protocol = None;
                }
                kind if kind.is_action() => {
                    wanted.clear();
                    protocol = None;
                }
                _ => {}
            }
        }
    }
}

/// Notes a service whose requests may pass while no answer can.
fn service(program: &Program, (protocol, port): Service, place: &Place, report: &mut Report<'_>) {
    let mut unanswered = None;
    for (number, name) in PROTOCOLS.iter().filter(|(number, _)| protocol.is_none_or(|only| only == *number)) {
        for ipv6 in [false, true] {
            let packet = |answer| Frame::Packet { ipv6, protocol: *number, port, answer };
            if !program::may_pass(program, packet(false)) {
                continue;
            }
            if program::may_pass(program, packet(true)) {
                // Somebody thought of it, for one protocol or family at least.
                return;
            }
            unanswered = unanswered.or(Some(*name));
        }
    }
    let Some(name) = unanswered else { return };
    let answers = match name {
        "tcp" => "`accept ipprotocol tcp and chr tcp_ack;`".to_owned(),
        _ => format!("`accept ipprotocol udp and sport {port};`"),
    };
    report.add(
        *place,
        "no-answer",
        format!(
            "`{}` lets requests to port {port} through, but nothing accepts the answers, which come from port {port}",
            report.quote(place)
        ),
        format!("rules keep no state, so both directions need a statement: add {answers}"),
    );
}
