//! The binary values inside a configuration dictionary.

use std::net::{IpAddr, SocketAddr};

use super::{Dns, MAX_ADDRESSES, MAX_DNS_SERVERS, MAX_ROUTES, MAX_SPECIALISTS, Route, Specialist};
use crate::inet::{Prefix, encode_inet};
use crate::{Address, Reader, Result};

/// Bytes of the domain name, NUL included.
const DOMAIN_LEN: usize = 128;

/// Objects back to back; at most `most` are kept. With `lenient` a malformed one ends the list instead of failing.
pub(super) fn read_list<T>(
    bytes: &[u8],
    most: usize,
    lenient: bool,
    read: impl Fn(&mut Reader<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    let mut reader = Reader::new(bytes);
    let mut list = Vec::new();
    while !reader.is_empty() {
        match read(&mut reader) {
            Ok(_) if list.len() >= most && !lenient => {}
            Ok(_) if list.len() >= most => break,
            Ok(item) => list.push(item),
            Err(_) if lenient => break,
            Err(malformed) => return Err(malformed),
        }
    }
    Ok(list)
}

pub(super) fn read_specialists(bytes: &[u8]) -> Vec<Specialist> {
    let specialist = |chunk: &[u8]| {
        let value = chunk.iter().fold(0u64, |value, byte| value << 8 | u64::from(*byte));
        Specialist { address: Address::from_u64(value), roles: value & !0xff_ffff_ffff }
    };
    bytes.chunks_exact(8).take(MAX_SPECIALISTS).map(specialist).collect()
}

pub(super) fn write_specialists(specialists: &[Specialist]) -> Vec<u8> {
    let values = specialists.iter().take(MAX_SPECIALISTS);
    values.flat_map(|s| (s.roles & !0xff_ffff_ffff | s.address.to_u64()).to_be_bytes()).collect()
}

/// A route without a usable target is skipped.
pub(super) fn read_routes(bytes: &[u8]) -> Result<Vec<Route>> {
    let mut reader = Reader::new(bytes);
    let mut routes = Vec::new();
    while !reader.is_empty() && routes.len() < MAX_ROUTES {
        let target = reader.inet("route target")?;
        let via = reader.inet("route gateway")?.map(|via| via.ip());
        let flags = reader.u16("route flags")?;
        let metric = reader.u16("route metric")?;
        if let Some(target) = target.and_then(Prefix::from_socket_addr) {
            routes.push(Route { target, via, flags, metric });
        }
    }
    Ok(routes)
}

pub(super) fn write_routes(routes: &[Route]) -> Vec<u8> {
    let mut out = Vec::new();
    for route in routes.iter().take(MAX_ROUTES) {
        encode_inet(&mut out, Some(route.target.to_socket_addr()));
        encode_inet(&mut out, route.via.map(without_port));
        out.extend_from_slice(&route.flags.to_be_bytes());
        out.extend_from_slice(&route.metric.to_be_bytes());
    }
    out
}

/// What is no address, or has an impossible prefix length, is skipped.
pub(super) fn read_addresses(bytes: &[u8]) -> Result<Vec<Prefix>> {
    let mut reader = Reader::new(bytes);
    let mut addresses = Vec::new();
    while !reader.is_empty() && addresses.len() < MAX_ADDRESSES {
        addresses.extend(reader.inet("managed address")?.and_then(Prefix::from_socket_addr));
    }
    Ok(addresses)
}

pub(super) fn write_addresses(addresses: &[Prefix]) -> Vec<u8> {
    let mut out = Vec::new();
    for address in addresses.iter().take(MAX_ADDRESSES) {
        encode_inet(&mut out, Some(address.to_socket_addr()));
    }
    out
}

pub(super) fn read_dns(bytes: &[u8]) -> Result<Dns> {
    let mut reader = Reader::new(bytes);
    let domain = reader.bytes(DOMAIN_LEN, "DNS domain")?;
    let end = domain.iter().position(|b| *b == 0).unwrap_or(DOMAIN_LEN - 1);
    let domain = String::from_utf8_lossy(&domain[..end]).into_owned();
    let mut servers = Vec::new();
    for _ in 0..MAX_DNS_SERVERS {
        servers.extend(reader.inet("DNS server")?.map(|server| server.ip()));
    }
    Ok(Dns { domain, servers })
}

pub(super) fn write_dns(dns: &Dns) -> Vec<u8> {
    let mut out = truncated(&dns.domain, DOMAIN_LEN - 1).as_bytes().to_vec();
    out.resize(DOMAIN_LEN, 0);
    for at in 0..MAX_DNS_SERVERS {
        encode_inet(&mut out, dns.servers.get(at).copied().map(without_port));
    }
    out
}

/// The longest head of a text that fits into `most` bytes.
pub(super) fn truncated(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

fn without_port(ip: IpAddr) -> SocketAddr {
    SocketAddr::new(ip, 0)
}
