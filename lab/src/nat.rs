//! NAT routers, as nft rule sets.
//!
//! Names as in RFC 4787: *mapping* is whether one inside port shows as the same outside port towards everybody;
//! *filtering* is who may answer to that port. Unsolicited datagrams are dropped in the router's input hook, before
//! conntrack confirms them: otherwise a hole-punching datagram that arrives a moment early would occupy the tuple our own
//! outbound flow needs, and the kernel would map that to another port.

/// The behaviour of a NAT router for UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NatKind {
    /// Endpoint-independent mapping and filtering ("full cone"): once a port is open, anybody may send to it.
    FullCone,
    /// Endpoint-independent mapping, address-dependent filtering: any port of a host we sent to may answer.
    Restricted,
    /// Endpoint-independent mapping, address and port-dependent filtering: plain Linux masquerading, most home routers.
    PortRestricted,
    /// Address and port-dependent mapping with random ports: the kind that hole punching without port prediction loses
    /// against, unless the other side is open or full cone.
    Symmetric,
}

impl NatKind {
    /// All kinds, the most permissive first.
    pub const ALL: [Self; 4] = [Self::FullCone, Self::Restricted, Self::PortRestricted, Self::Symmetric];

    /// As a person calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::FullCone => "full cone",
            Self::Restricted => "restricted",
            Self::PortRestricted => "port-restricted",
            Self::Symmetric => "symmetric",
        }
    }

    /// Can two nodes behind these kinds find a direct path with RENDEZVOUS and pushed addresses alone?
    ///
    /// A symmetric NAT shows the peer a port nobody could announce beforehand, so the other side must let strangers'
    /// ports in: full cone and address-restricted do, port-restricted and symmetric do not.
    pub fn punches(self, other: Self) -> bool {
        match (self, other) {
            (Self::Symmetric, far) | (far, Self::Symmetric) => {
                matches!(far, Self::FullCone | Self::Restricted)
            }
            _ => true,
        }
    }

    /// The nft script for a router whose interfaces are `wan` and `lan`.
    pub fn ruleset(self) -> String {
        let random = if self == Self::Symmetric { " random,fully-random" } else { "" };
        // The cone remembers which inside socket opened which outside port (masquerading keeps the port).
        let (cone, learn, admit, allow) = match self {
            Self::FullCone => (
                "  map cone {\n    type inet_service : ipv4_addr . inet_service\n    flags dynamic,timeout\n    timeout 5m\n    size 4096\n  }\n",
                "    iifname \"lan\" meta l4proto udp update @cone { udp sport : ip saddr . udp sport }\n",
                "    iifname \"wan\" meta l4proto udp dnat ip to udp dport map @cone\n",
                "    iifname \"wan\" ct status dnat accept\n",
            ),
            Self::Restricted => (
                "  map cone {\n    type ipv4_addr . inet_service : ipv4_addr . inet_service\n    flags dynamic,timeout\n    timeout 5m\n    size 4096\n  }\n",
                "    iifname \"lan\" meta l4proto udp update @cone { ip daddr . udp sport : ip saddr . udp sport }\n",
                "    iifname \"wan\" meta l4proto udp dnat ip to ip saddr . udp dport map @cone\n",
                "    iifname \"wan\" ct status dnat accept\n",
            ),
            Self::PortRestricted | Self::Symmetric => ("", "", "", ""),
        };
        format!(
            "table ip nat {{\n{cone}\
  chain prerouting {{\n    type nat hook prerouting priority dstnat; policy accept;\n{admit}  }}\n\
  chain postrouting {{\n    type nat hook postrouting priority srcnat; policy accept;\n    oifname \"wan\" masquerade{random}\n  }}\n\
  chain forward {{\n    type filter hook forward priority filter; policy drop;\n{learn}\
    ct state established,related accept\n    iifname \"lan\" oifname \"wan\" accept\n{allow}  }}\n\
  chain input {{\n    type filter hook input priority filter; policy accept;\n    iifname \"wan\" ct state established,related accept\n    iifname \"wan\" drop\n  }}\n}}\n"
        )
    }
}
