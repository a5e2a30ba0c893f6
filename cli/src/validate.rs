//! Checks on what a person typed, before anything is sent. Each error says what, where and how it should look.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _};

use protocol::inet::{self, Prefix};
use serde_json::{Value, json};

use crate::failure::Failure;

/// Port of an endpoint that names none.
const DEFAULT_PORT: u16 = 9993;
/// Smallest and largest MTU a network may have (Specification: network object).
pub const MTU_RANGE: std::ops::RangeInclusive<u16> = 1280..=10_000;

/// Whether `text` is exactly `digits` hexadecimal digits.
pub fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// A node address: 10 hexadecimal digits, not a reserved one. For clap.
pub fn address(text: &str) -> Result<String, String> {
    match text.parse::<protocol::Address>() {
        Ok(address) if is_hex(text, 10) && !address.is_reserved() => Ok(address.to_string()),
        _ => {
            Err("a node address is 10 hexadecimal digits, as `ztnode-cli info` shows it on that node".into())
        }
    }
}

/// An IP address. For clap.
pub fn ip(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| "an IP address without /bits is wanted, such as 10.0.1.1 or fd00::1".into())
}

/// `TARGET[,via=GATEWAY]` of `--route`, as the JSON the controller takes. For clap.
pub fn route(text: &str) -> Result<Value, String> {
    let (target, via) = match text.split_once(',') {
        None => (text, None),
        Some((target, rest)) => {
            let gateway = rest.strip_prefix("via=").ok_or("after the comma only via=GATEWAY may stand")?;
            (target, Some(gateway))
        }
    };
    let target: Prefix =
        target.parse().map_err(|_| format!("{target} is no prefix; write it as 10.0.0.0/16 or fd00::/64"))?;
    if target.network().ip != target.ip {
        return Err(format!("{target} has bits set beyond its length; did you mean {}?", target.network()));
    }
    let via = via.map(ip).transpose()?;
    if via.is_some_and(|via| via.is_ipv4() != target.ip.is_ipv4()) {
        return Err("the gateway must be of the same family (IPv4 or IPv6) as the target".into());
    }
    Ok(json!({"target": target.to_string(), "via": via.map(|via| via.to_string())}))
}

/// `PREFIX` of `--subnet`. For clap.
pub fn subnet(text: &str) -> Result<Prefix, String> {
    let subnet: Prefix =
        text.parse().map_err(|_| format!("{text} is no subnet; write it as 10.20.0.0/16 or fd00:20::/64"))?;
    if subnet.network().ip != subnet.ip {
        return Err(format!("{subnet} has bits set beyond its length; did you mean {}?", subnet.network()));
    }
    let bits = if subnet.ip.is_ipv4() { 32 } else { 128 };
    if subnet.bits < 8 || bits - subnet.bits < 2 {
        return Err(format!(
            "{subnet} is too {}",
            if subnet.bits < 8 { "wide" } else { "small for two members" }
        ));
    }
    Ok(subnet)
}

/// The addresses of a subnet that members can have, as the JSON the controller takes.
pub fn pool_of(subnet: Prefix) -> Value {
    let [first, last] = match subnet.ip {
        IpAddr::V4(ip) => {
            let (first, all) = (ip.to_bits(), u32::MAX.checked_shr(subnet.bits.into()).unwrap_or(0));
            // Neither the subnet's own address nor its broadcast.
            [first + 1, (first | all) - 1].map(|ip| IpAddr::from(Ipv4Addr::from_bits(ip)))
        }
        IpAddr::V6(ip) => {
            let (first, all) = (ip.to_bits(), u128::MAX.checked_shr(subnet.bits.into()).unwrap_or(0));
            [first + 1, first | all].map(|ip| IpAddr::from(Ipv6Addr::from_bits(ip)))
        }
    };
    json!({"ipRangeStart": first.to_string(), "ipRangeEnd": last.to_string()})
}

/// `FIRST-LAST` or `PREFIX` of `--pool`, as the JSON the controller takes. For clap.
pub fn pool(text: &str) -> Result<Value, String> {
    if text.contains('/') {
        return subnet(text).map(pool_of);
    }
    let (first, last) = text
        .split_once('-')
        .ok_or("a pool is FIRST-LAST or a prefix, such as 10.0.0.1-10.0.0.254 or 10.0.0.0/24")?;
    let (first, last) = (ip(first.trim())?, ip(last.trim())?);
    if first.is_ipv4() != last.is_ipv4() {
        return Err("both ends of a pool must be of the same family (IPv4 or IPv6)".into());
    }
    if first > last {
        return Err(format!("the pool is empty: {first} comes after {last}"));
    }
    Ok(json!({"ipRangeStart": first.to_string(), "ipRangeEnd": last.to_string()}))
}

/// `domain=NAME,server=IP[,server=IP…]` of `--dns`, as the JSON the controller takes. For clap.
pub fn dns(text: &str) -> Result<Value, String> {
    let (mut domain, mut servers) = (None, Vec::new());
    for part in text.split(',') {
        match part.split_once('=') {
            Some(("domain", name)) if !name.is_empty() && domain.is_none() => domain = Some(name),
            Some(("server", server)) => servers.push(ip(server)?.to_string()),
            _ => return Err(format!("{part:?}: write domain=NAME,server=IP[,server=IP…]")),
        }
    }
    let domain = domain.ok_or("the domain is missing: write domain=NAME,server=IP[,server=IP…]")?;
    if servers.is_empty() {
        return Err("the server is missing: write domain=NAME,server=IP[,server=IP…]".into());
    }
    Ok(json!({"domain": domain, "servers": servers}))
}

/// `NAME=VALUE` of `--tag`; what the names mean is for the network's rules to say. For clap.
pub fn tag(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .filter(|(name, value)| !name.is_empty() && !value.is_empty())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .ok_or_else(|| "a tag is NAME=VALUE, such as department=sales, or in numbers 1000=5".into())
}

/// A world's ID: decimal or 0x-hexadecimal, not 0. For clap.
pub fn world_id(text: &str) -> Result<u64, String> {
    let id = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    };
    id.filter(|id| *id != 0)
        .ok_or_else(|| "a world's ID is a number other than 0, decimal or 0x-hexadecimal".into())
}

/// `HOST[/PORT]` of `--endpoint`: an IP address, or a name that is looked up once, here.
///
/// # Errors
/// Exit code 2, saying what is wrong with the endpoint; a port of 0, an address nobody could reach.
pub fn endpoint(text: &str) -> Result<Vec<SocketAddr>, Failure> {
    let wrong = |why: &str| {
        Failure::usage(format!(
            "--endpoint {text}: {why}; write HOST/PORT, such as 203.0.113.7/9993 or 2001:db8::7/9993"
        ))
    };
    let (host, port) = match text.split_once('/') {
        // As most programs write it, and IPv6 addresses in brackets.
        None if text.parse::<SocketAddr>().is_ok() => {
            let endpoint: SocketAddr = text.parse().map_err(|_| wrong("it cannot be read"))?;
            return Err(wrong(&format!("did you mean {}?", inet::format_endpoint(endpoint))));
        }
        None => (text, DEFAULT_PORT),
        Some((host, port)) => {
            (host, port.parse().map_err(|_| wrong("the port is no number from 1 to 65535"))?)
        }
    };
    if port == 0 {
        return Err(wrong("the port is no number from 1 to 65535"));
    }
    let found: Vec<SocketAddr> = match host.parse::<IpAddr>() {
        Ok(ip) => vec![SocketAddr::new(ip, port)],
        Err(_) if host.contains(':') || host.is_empty() || host.contains(char::is_whitespace) => {
            return Err(wrong("the host is neither an IP address nor a name"));
        }
        Err(_) => (host, port)
            .to_socket_addrs()
            .map_err(|error| wrong(&format!("the name {host} cannot be looked up ({error})")))?
            .collect(),
    };
    for address in &found {
        if !inet::usable_for_paths(address.ip()) {
            return Err(wrong(&format!("no other node can reach {}", address.ip())));
        }
    }
    if found.is_empty() { Err(wrong("the name has no address")) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_input_becomes_the_controllers_json() {
        assert_eq!(route("10.0.0.0/16").unwrap(), json!({"target": "10.0.0.0/16", "via": null}));
        assert_eq!(
            route("fd00:1::/64,via=fd00::1").unwrap(),
            json!({"target": "fd00:1::/64", "via": "fd00::1"})
        );
        assert_eq!(
            pool("10.0.0.1-10.0.0.254").unwrap(),
            json!({"ipRangeStart": "10.0.0.1", "ipRangeEnd": "10.0.0.254"})
        );
        assert_eq!(
            pool("10.0.0.0/24").unwrap(),
            json!({"ipRangeStart": "10.0.0.1", "ipRangeEnd": "10.0.0.254"})
        );
        assert_eq!(
            pool_of(subnet("fd00:20::/64").unwrap()),
            json!({"ipRangeStart": "fd00:20::1", "ipRangeEnd": "fd00:20::ffff:ffff:ffff:ffff"})
        );
        assert_eq!(
            dns("domain=home.arpa,server=10.0.0.1,server=fd00::1").unwrap(),
            json!({"domain": "home.arpa", "servers": ["10.0.0.1", "fd00::1"]})
        );
        assert_eq!(tag("department=sales").unwrap(), ("department".to_owned(), "sales".to_owned()));
        assert_eq!(address("5ACA06FF8E").unwrap(), "5aca06ff8e");
        assert_eq!(endpoint("203.0.113.7").unwrap(), ["203.0.113.7:9993".parse().unwrap()]);
        assert_eq!(endpoint("2001:db8::7/443").unwrap(), ["[2001:db8::7]:443".parse().unwrap()]);
    }

    #[test]
    fn bad_input_is_refused_with_a_remedy() {
        for text in [
            "10.0.0.0",
            "10.0.0.0/33",
            "10.0.0.1/16",
            "x/8",
            "10.0.0.0/8,via=fd00::1",
            "10.0.0.0/8,gw=1.2.3.4",
        ] {
            assert!(route(text).is_err(), "{text}");
        }
        for text in ["10.0.0.0/32", "10.0.0.0/31", "10.0.0.1/24", "0.0.0.0/0", "x", "10.0.0.0"] {
            assert!(subnet(text).is_err(), "{text}");
        }
        for text in ["10.0.0.1", "10.0.0.9-10.0.0.1", "10.0.0.1-fd00::1", "a-b"] {
            assert!(pool(text).is_err(), "{text}");
        }
        for text in
            ["home.arpa", "server=10.0.0.1", "domain=x,server=y", "domain=x,domain=y", "domain=", "domain=x"]
        {
            assert!(dns(text).is_err(), "{text}");
        }
        for text in ["", "5aca06ff8", "5aca06ff8ee", "ff00000000", "0000000000", "xaca06ff8e"] {
            assert!(address(text).is_err(), "{text}");
        }
        for text in [
            "",
            "/9993",
            "1.2.3.4/0",
            "1.2.3.4/65536",
            "1.2.3.4:9993",
            "[::1]/9993",
            "127.0.0.1/9993",
            "0.0.0.0/1",
        ] {
            assert!(endpoint(text).is_err(), "{text}");
        }
        assert!(tag("1").is_err() && tag("=1").is_err() && tag("1=").is_err());
        assert!(world_id("0").is_err() && world_id("0x0").is_err() && world_id("-1").is_err());
    }
}
