//! From a frame to words.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{ARP, ICMP, ICMP6, IPV4, IPV6, SCTP, TCP, UDP, UDPLITE, group_mac, names};
use crate::evaluate::Frame;

/// The words for a frame, on one line; [`parse`](super::parse) reads them.
///
/// `frame.payload` may be just the beginning of a payload of `length` bytes (as the trace shows it): what lies behind
/// the beginning is not described, but counts in `size`, which is written when it is not that of the headers alone.
pub fn describe(frame: &Frame<'_>, length: usize) -> String {
    let p = frame.payload;
    let length = length.max(p.len());
    let mut text = String::new();
    let plain = match frame.ethertype {
        IPV4 if p.len() >= 20 => v4(&mut text, frame),
        IPV6 if p.len() >= 40 => v6(&mut text, frame),
        ARP if p.len() >= 28 && arp(&mut text, frame) => Some(28),
        number => {
            let _ = match names::ethertype_name(number) {
                Some(name) => write!(text, "ether {name}"),
                None => write!(text, "ether {number:#06x}"),
            };
            let _ = write!(text, " {} > {}", mac_text(frame.source), mac_text(frame.dest));
            Some(0)
        }
    };
    if plain != Some(length) {
        let _ = write!(text, " size {}", length.min(usize::from(super::MAX_SIZE)));
    }
    text
}

/// `02:00:00:00:00:01`.
pub fn mac_text(mac: [u8; 6]) -> String {
    let [a, b, c, d, e, f] = mac;
    format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
}

/// Writing to a string cannot fail, here and below. Each returns the length of the headers it has described;
/// [`None`] if they are cut short, so that the size has to be told in any case.
fn v4(text: &mut String, frame: &Frame<'_>) -> Option<usize> {
    let p = frame.payload;
    let ip = |at: usize| Ipv4Addr::new(p[at], p[at + 1], p[at + 2], p[at + 3]);
    let (from, to) = (ip(12).to_string(), ip(16).to_string());
    let at = 4 * usize::from(p[0] & 15);
    let header = transport(text, frame, p[9], at, &from, &to, false);
    tos(text, p[1]);
    odd_mac(text, frame.dest, ip(16).into());
    Some(20 + header?)
}

fn v6(text: &mut String, frame: &Frame<'_>) -> Option<usize> {
    let p = frame.payload;
    let (from, to) = (v6_at(p, 8), v6_at(p, 24));
    let (protocol, at) = walk(p);
    let header = transport(text, frame, protocol, at, &from.to_string(), &to.to_string(), true);
    tos(text, (p[0] << 4) | (p[1] >> 4));
    odd_mac(text, frame.dest, to.into());
    Some(40 + header?)
}

/// A destination MAC that is a group's where the IP address is not, or the other way round.
fn odd_mac(text: &mut String, mac: [u8; 6], ip: IpAddr) {
    let implied = group_mac(ip);
    if mac == [0xff; 6] && implied != Some(mac) {
        text.push_str(" broadcast");
    } else if implied.is_some_and(|implied| implied != mac) || (implied.is_none() && mac[0] & 1 != 0) {
        let _ = write!(text, " to-mac {}", mac_text(mac));
    }
}

fn v6_at(p: &[u8], at: usize) -> Ipv6Addr {
    let mut octets = [0; 16];
    octets.copy_from_slice(&p[at..at + 16]);
    octets.into()
}

/// The last next-header and where it begins, as rules see it. A broken chain ends where it breaks.
fn walk(p: &[u8]) -> (u8, usize) {
    let (mut next, mut at) = (p[6], 40);
    while matches!(next, 0 | 43 | 60 | 135) {
        let (Some(following), Some(length)) = (p.get(at), p.get(at + 1)) else { break };
        let after = at + 8 * usize::from(*length) + 8;
        if after > p.len() {
            break;
        }
        (next, at) = (*following, after);
    }
    (next, at)
}

fn tos(text: &mut String, value: u8) {
    if value != 0 {
        let _ = write!(text, " tos {value:#04x}");
    }
}

fn transport(
    text: &mut String,
    frame: &Frame<'_>,
    protocol: u8,
    at: usize,
    from: &str,
    to: &str,
    v6: bool,
) -> Option<usize> {
    let p = frame.payload;
    let rest = p.get(at..).unwrap_or_default();
    let with_port = |ip: &str, port: u16| if v6 { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") };
    let (word, mut header) = match protocol {
        TCP => ("tcp", Some(20)),
        UDP => ("udp", Some(8)),
        SCTP => ("sctp", Some(12)),
        UDPLITE => ("udplite", Some(8)),
        ICMP if !v6 => return icmp(text, rest, from, to, false),
        ICMP6 if v6 => return icmp(text, rest, from, to, true),
        _ => {
            let _ = match names::protocol_name(protocol) {
                Some(name) => write!(text, "ip {name} {from} > {to}"),
                None => write!(text, "ip {protocol} {from} > {to}"),
            };
            // The version is plain from the addresses.
            return Some(0);
        }
    };
    match rest {
        // One byte behind the ports: so much the matches on ports want to see.
        [a, b, c, d, _, ..] => {
            let (source, dest) = (u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d]));
            let _ = write!(text, "{word} {} > {}", with_port(from, source), with_port(to, dest));
        }
        _ => {
            header = None;
            let _ = write!(text, "{word} {from} > {to}");
        }
    }
    if protocol == TCP {
        let high = rest.get(12).copied().unwrap_or(0) & 15;
        let flags = u16::from_be_bytes([high, rest.get(13).copied().unwrap_or(0)]);
        for (name, bit) in names::TCP_FLAGS {
            if flags & (1 << bit) != 0 {
                let _ = write!(text, " {name}");
            }
        }
    }
    header
}

fn icmp(text: &mut String, rest: &[u8], from: &str, to: &str, v6: bool) -> Option<usize> {
    let _ = write!(text, "{} {from} > {to}", if v6 { "icmp6" } else { "icmp" });
    let [kind, code, ..] = rest else { return None };
    let _ = match names::icmp_name(*kind, v6) {
        Some(name) => write!(text, " {name}"),
        None => write!(text, " {kind}"),
    };
    if *code != 0 {
        let _ = write!(text, "/{code}");
    }
    if !(v6 && matches!(kind, 135 | 136)) {
        return Some(8);
    }
    if rest.len() >= 24 {
        let _ = write!(text, " target {}", v6_at(rest, 8));
    }
    Some(24)
}

/// Requests and replies of Ethernet and IPv4 (RFC 826); anything else is not described as ARP.
fn arp(text: &mut String, frame: &Frame<'_>) -> bool {
    let p = frame.payload;
    let ip = |at: usize| Ipv4Addr::new(p[at], p[at + 1], p[at + 2], p[at + 3]);
    let mac = |at: usize| [p[at], p[at + 1], p[at + 2], p[at + 3], p[at + 4], p[at + 5]];
    match p[..8] {
        [0, 1, 8, 0, 6, 4, 0, 1] => {
            let _ = write!(text, "arp who-has {} tell {}", ip(24), ip(14));
            if frame.dest != [0xff; 6] {
                let _ = write!(text, " to-mac {}", mac_text(frame.dest));
            }
        }
        [0, 1, 8, 0, 6, 4, 0, 2] => {
            let _ = write!(text, "arp reply {} is-at {} to {}", ip(14), mac_text(mac(8)), ip(24));
        }
        _ => return false,
    }
    true
}
