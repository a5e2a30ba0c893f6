//! Which parts of a frame the entries of some lists look at.

use crate::evaluate::matches::TCP_BITS;
use crate::evaluate::{BROADCAST, MULTICAST, SENDER_IP_AUTHENTICATED, SENDER_MAC_AUTHENTICATED};
use crate::rule::{IntegerRange, Kind, Rule};

/// Fields an entry may look at, as bits.
pub(super) mod field {
    pub(crate) const VLAN: u16 = 1;
    pub(crate) const MAC_SOURCE: u16 = 1 << 1;
    pub(crate) const MAC_DEST: u16 = 1 << 2;
    pub(crate) const IPV4_SOURCE: u16 = 1 << 3;
    pub(crate) const IPV4_DEST: u16 = 1 << 4;
    pub(crate) const IPV6_SOURCE: u16 = 1 << 5;
    pub(crate) const IPV6_DEST: u16 = 1 << 6;
    pub(crate) const PROTOCOL: u16 = 1 << 7;
    pub(crate) const ICMP: u16 = 1 << 8;
    pub(crate) const SOURCE_PORT: u16 = 1 << 9;
    pub(crate) const DEST_PORT: u16 = 1 << 10;
    pub(crate) const MULTICAST: u16 = 1 << 11;
    pub(crate) const SENDER_IP: u16 = 1 << 12;
}

/// Integers of the payload whose comparisons are part of a key; with more the rules are evaluated each time.
pub(super) const MAX_RANGES: usize = 8;
/// Random matches of the base rules whose outcomes are part of a key; a frame that gets to another one is not remembered.
pub(super) const MAX_RANDOMS: usize = 8;

/// What the entries of some lists look at, beyond the two nodes, the direction and the ethertype, which always count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Reads {
    /// See [`field`].
    pub(super) fields: u16,
    /// Bits of the TOS octet or traffic class.
    pub(super) tos: u8,
    /// TCP flags and reserved bits, as characteristics number them.
    pub(super) tcp: u64,
    /// Frame sizes at which an outcome changes, ascending.
    pub(super) sizes: Vec<u32>,
    /// Integers compared, each once.
    pub(super) ranges: Vec<IntegerRange>,
    /// More integers than a key has room for.
    pub(super) too_much: bool,
}

impl Reads {
    /// Adds what a list looks at. Whether that was anything new.
    pub(super) fn widen(&mut self, rules: &[Rule]) -> bool {
        let mut changed = false;
        for rule in rules {
            changed |= self.widen_by(&rule.kind);
        }
        changed
    }

    fn widen_by(&mut self, kind: &Kind) -> bool {
        let fields = match kind {
            Kind::VlanId(_) => field::VLAN,
            Kind::MacSource(_) => field::MAC_SOURCE,
            Kind::MacDest(_) => field::MAC_DEST,
            Kind::Ipv4Source(..) => field::IPV4_SOURCE,
            Kind::Ipv4Dest(..) => field::IPV4_DEST,
            Kind::Ipv6Source(..) => field::IPV6_SOURCE,
            Kind::Ipv6Dest(..) => field::IPV6_DEST,
            Kind::IpProtocol(_) => field::PROTOCOL,
            Kind::Icmp { .. } => field::PROTOCOL | field::ICMP,
            Kind::SourcePort(..) => field::PROTOCOL | field::SOURCE_PORT,
            Kind::DestPort(..) => field::PROTOCOL | field::DEST_PORT,
            Kind::Characteristics(mask) => {
                let mut fields = 0;
                if mask & (MULTICAST | BROADCAST) != 0 {
                    fields |= field::MULTICAST;
                }
                if mask & SENDER_IP_AUTHENTICATED != 0 {
                    fields |= field::SENDER_IP | field::IPV4_SOURCE | field::IPV6_SOURCE;
                }
                if mask & SENDER_MAC_AUTHENTICATED != 0 {
                    fields |= field::MAC_SOURCE;
                }
                let tcp = self.tcp | (mask & TCP_BITS);
                let new = tcp != self.tcp;
                self.tcp = tcp;
                return self.widen_fields(fields) || new;
            }
            Kind::IpTos { mask, .. } => {
                let tos = self.tos | mask;
                let new = tos != self.tos;
                self.tos = tos;
                return new;
            }
            Kind::FrameSize(min, max) => {
                let min = self.widen_sizes(u32::from(*min));
                return self.widen_sizes(u32::from(*max) + 1) || min;
            }
            Kind::IntegerRange(range) => return self.widen_ranges(range),
            // The nodes, the direction and the ethertype are part of every key; tags and ownership follow from the nodes; a
            // random number follows from nothing.
            _ => return false,
        };
        self.widen_fields(fields)
    }

    fn widen_fields(&mut self, fields: u16) -> bool {
        let new = fields & !self.fields != 0;
        self.fields |= fields;
        new
    }

    fn widen_sizes(&mut self, size: u32) -> bool {
        match self.sizes.binary_search(&size) {
            Ok(_) => false,
            Err(at) => {
                self.sizes.insert(at, size);
                true
            }
        }
    }

    fn widen_ranges(&mut self, range: &IntegerRange) -> bool {
        if self.too_much || self.ranges.contains(range) {
            return false;
        }
        if self.ranges.len() == MAX_RANGES {
            self.too_much = true;
        } else {
            self.ranges.push(*range);
        }
        true
    }

    /// Whether some field of `wanted` is looked at.
    pub(super) fn any(&self, wanted: u16) -> bool {
        self.fields & wanted != 0
    }

    /// How many words of a key may differ from zero, an even number.
    pub(super) fn words(&self) -> usize {
        if self.any(field::MAC_SOURCE | field::MAC_DEST) {
            10
        } else if self.any(field::IPV6_SOURCE | field::IPV6_DEST) {
            8
        } else if self.any(field::IPV4_SOURCE | field::IPV4_DEST) {
            6
        } else {
            4
        }
    }
}
