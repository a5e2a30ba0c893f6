//! Configurations of networks without a controller, which members make up from the network ID. Specification: VL2 networks,
//! ad-hoc networks.

use std::net::Ipv4Addr;

use flowrules::{Kind, Rule};

use crate::derive::{SIX_PLANE_BITS, six_plane};
use crate::inet::Prefix;
use crate::netconf::{FLAG_NDP_EMULATION, NetworkConfig, Specialist};
use crate::{Address, NetworkId, Span, Time};

/// Greatest difference between timestamps; without credentials it has no effect.
const CREDENTIAL_WINDOW: Span = Span::secs(7_200);
/// How many members a multicast reaches on a flat network.
const MULTICAST_LIMIT: u32 = 1024;

/// What an ID without a controller stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Adhoc {
    /// This configuration.
    Config(Box<NetworkConfig>),
    /// A network that cannot exist: its last port is below its first one.
    NotFound,
    /// Nothing; there will never be a configuration.
    Never,
}

/// The configuration `member` makes for itself at `now`; `None` if the network has a controller.
#[must_use]
pub fn adhoc_config(network: NetworkId, member: Address, now: Time) -> Option<Adhoc> {
    if !network.is_adhoc() {
        return None;
    }
    let id = network.0;
    Some(if id & 0xff_ffff == 0 {
        let (first, last) = ((id >> 40) as u16, (id >> 24) as u16);
        if last < first {
            return Some(Adhoc::NotFound);
        }
        let mut config = base(network, member, now);
        config.name = format!("adhoc-{first:04x}-{last:04x}");
        config.rules = port_rules(first, last);
        Adhoc::Config(Box::new(config))
    } else if id & 0xff == 0x01 {
        let mut config = base(network, member, now);
        let net = (id >> 48) as u8;
        let [.., x, y, z] = member.to_bytes();
        config.name = format!("adhoc-{net}.0.0.0");
        config.multicast_limit = MULTICAST_LIMIT;
        config.addresses.extend(Prefix::new(Ipv4Addr::new(net, x, y, z).into(), 8));
        config.rules = vec![Kind::Accept.into()];
        let hub = Address::from_u64(id >> 8);
        if !hub.is_null() {
            // Without a role, as in the reference implementation: it is named and has no effect.
            config.specialists.push(Specialist { address: hub, roles: 0 });
        }
        Adhoc::Config(Box::new(config))
    } else {
        Adhoc::Never
    })
}

fn base(network: NetworkId, member: Address, now: Time) -> NetworkConfig {
    let mut config = NetworkConfig::new(network, member, now);
    config.credential_window = CREDENTIAL_WINDOW;
    config.revision = 1;
    config.flags = FLAG_NDP_EMULATION;
    config.public = true;
    config.addresses.extend(Prefix::new(six_plane(network, member).into(), SIX_PLANE_BITS));
    config
}

/// IPv6 only; ICMPv6, UDP and TCP to the ports, and answers.
fn port_rules(first: u16, last: u16) -> Vec<Rule> {
    const TCP_SYN: u64 = 0x02;
    const TCP_ACK: u64 = 0x10;
    let not = |kind| Rule { not: true, or: false, kind };
    let or = |kind| Rule { not: false, or: true, kind };
    vec![
        not(Kind::Ethertype(0x86dd)),
        Kind::Drop.into(),
        Kind::IpProtocol(58).into(),
        Kind::Accept.into(),
        Kind::IpProtocol(17).into(),
        or(Kind::IpProtocol(6)),
        Kind::DestPort(first, last).into(),
        Kind::Accept.into(),
        not(Kind::Characteristics(TCP_SYN)),
        Kind::Accept.into(),
        Kind::Characteristics(TCP_SYN).into(),
        Kind::Characteristics(TCP_ACK).into(),
        Kind::Accept.into(),
        Kind::Drop.into(),
    ]
}
