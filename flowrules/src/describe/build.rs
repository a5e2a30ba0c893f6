//! From a [`Description`] to bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{
    ARP, DescribeError, Description, EPHEMERAL_PORT, End, ICMP, ICMP6, IPV4, IPV6, Known, Packet, SCTP, TCP,
    UDP, UDPLITE, What, Who, group_mac,
};

const ECHO_REQUEST: u8 = 8;
const ECHO_REQUEST_6: u8 = 128;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
/// Hop limit a neighbour discovery message must have (RFC 4861); other packets have the usual 64.
const DISCOVERY_HOPS: u8 = 255;
const USUAL_HOPS: u8 = 64;

impl Description {
    /// Makes the packet. `source` and `dest` fill in what the description leaves open; ends given by a name count as
    /// open, so whoever calls this has looked the names up.
    ///
    /// # Errors
    /// [`DescribeError`] if an IP address is neither said nor known. A MAC that is not known is zero.
    pub fn build(&self, source: &Known, dest: &Known) -> Result<Packet, DescribeError> {
        let (ethertype, mut payload, implied) = match &self.what {
            What::Ether(ethertype) => (*ethertype, Vec::new(), None),
            What::ArpRequest => {
                let [asks, wanted] = self.both_v4(source, dest)?;
                let own = self.from_mac.or(source.mac).unwrap_or_default();
                (ARP, arp(1, own, asks, [0; 6], wanted), Some([0xff; 6]))
            }
            What::ArpReply { at } => {
                let [answers, asked] = self.both_v4(source, dest)?;
                let at = at.or(self.from_mac).or(source.mac).unwrap_or_default();
                let to = self.to_mac.or(dest.mac).unwrap_or_default();
                (ARP, arp(2, at, answers, to, asked), None)
            }
            _ if self.is_v6(source, dest) => {
                let [from, to] = [
                    self.ipv6_of(&self.source, source, "sender")?,
                    self.ipv6_of(&self.dest, dest, "receiver")?,
                ];
                (IPV6, self.v6(from, to), group_mac(to.into()))
            }
            _ => {
                let [from, to] = self.both_v4(source, dest)?;
                (IPV4, self.v4(from, to), group_mac(to.into()))
            }
        };
        let size = self.size.map_or(payload.len(), usize::from);
        self.resize(ethertype, &mut payload, size);
        let end_mac = |end: &End| if let Who::Mac(mac) = end.who { Some(mac) } else { None };
        Ok(Packet {
            source: self.from_mac.or(end_mac(&self.source)).or(source.mac).unwrap_or_default(),
            dest: self.to_mac.or(end_mac(&self.dest)).or(implied).or(dest.mac).unwrap_or_default(),
            ethertype,
            payload,
        })
    }

    /// The IP version: as said, as the addresses say, as both ends can (IPv4 first).
    pub fn is_v6(&self, source: &Known, dest: &Known) -> bool {
        match self.what {
            What::Icmp { .. } | What::ArpRequest | What::ArpReply { .. } => return false,
            What::Icmp6 { .. } => return true,
            _ => {}
        }
        if let Some(v6) = self.ipv6 {
            return v6;
        }
        let said = |end: &End| if let Who::Ip(ip) = end.who { Some(ip.is_ipv6()) } else { None };
        said(&self.source).or(said(&self.dest)).unwrap_or_else(|| {
            let no_v4 = source.ipv4.is_none() || dest.ipv4.is_none();
            no_v4 && source.ipv6.is_some() && dest.ipv6.is_some()
        })
    }

    fn both_v4(&self, source: &Known, dest: &Known) -> Result<[Ipv4Addr; 2], DescribeError> {
        let find = |end: &End, known: &Known, who: &str| match end.who {
            Who::Ip(IpAddr::V4(ip)) => Ok(ip),
            _ => known.ipv4.ok_or_else(|| unknown(end, "IPv4", who)),
        };
        Ok([find(&self.source, source, "sender")?, find(&self.dest, dest, "receiver")?])
    }

    fn ipv6_of(&self, end: &End, known: &Known, who: &str) -> Result<Ipv6Addr, DescribeError> {
        match end.who {
            Who::Ip(IpAddr::V6(ip)) => Ok(ip),
            _ => known.ipv6.ok_or_else(|| unknown(end, "IPv6", who)),
        }
    }

    fn v4(&self, from: Ipv4Addr, to: Ipv4Addr) -> Vec<u8> {
        let (protocol, transport) = self.transport();
        let mut p = vec![0x45, self.tos, 0, 0, 0, 0, 0x40, 0, USUAL_HOPS, protocol, 0, 0];
        p.extend(from.octets());
        p.extend(to.octets());
        p.extend(transport);
        p
    }

    fn v6(&self, from: Ipv6Addr, to: Ipv6Addr) -> Vec<u8> {
        let (protocol, mut transport) = self.transport();
        let mut hops = USUAL_HOPS;
        if let What::Icmp6 { message: Some((kind @ (SOLICITATION | ADVERTISEMENT), _)), target } = self.what {
            hops = DISCOVERY_HOPS;
            // A solicitation asks about whom it goes to, an advertisement tells about its sender, unless said otherwise.
            let about = target.unwrap_or(if kind == SOLICITATION { to } else { from });
            transport.extend(about.octets());
        }
        let mut p = vec![0x60 | (self.tos >> 4), self.tos << 4, 0, 0, 0, 0, protocol, hops];
        p.extend(from.octets());
        p.extend(to.octets());
        p.extend(transport);
        p
    }

    /// Protocol number and the transport header.
    fn transport(&self) -> (u8, Vec<u8>) {
        let short = self.size.is_some() && self.dest.port.is_none();
        let mut ports = Vec::new();
        let source = self.source.port.unwrap_or(if short { 0 } else { EPHEMERAL_PORT });
        ports.extend(source.to_be_bytes());
        ports.extend(self.dest.port.unwrap_or(0).to_be_bytes());
        match &self.what {
            What::Tcp { flags } => {
                let [high, low] = flags.to_be_bytes();
                ports.extend([0, 0, 0, 0, 0, 0, 0, 0, 0x50 | (high & 15), low, 0xff, 0xff, 0, 0, 0, 0]);
                (TCP, ports)
            }
            What::Ports(protocol) => {
                ports.extend([0; 8].get(..if *protocol == SCTP { 8 } else { 4 }).unwrap_or_default());
                (*protocol, ports)
            }
            What::Icmp { message } => {
                let (kind, code) = message.unwrap_or((ECHO_REQUEST, 0));
                (ICMP, vec![kind, code, 0, 0, 0, 0, 0, 0])
            }
            What::Icmp6 { message, .. } => {
                let (kind, code) = message.unwrap_or((ECHO_REQUEST_6, 0));
                (ICMP6, vec![kind, code, 0, 0, 0, 0, 0, 0])
            }
            What::Ip(protocol) => (*protocol, Vec::new()),
            What::ArpRequest | What::ArpReply { .. } | What::Ether(_) => (0, Vec::new()),
        }
    }

    fn resize(&self, ethertype: u16, payload: &mut Vec<u8>, size: usize) {
        payload.resize(size, 0);
        match ethertype {
            _ if matches!(self.what, What::Ether(_)) => {}
            IPV4 => set_u16(payload, 2, |whole| whole),
            IPV6 => set_u16(payload, 4, |whole| whole.saturating_sub(40)),
            _ => {}
        }
        let udp_at = match (&self.what, ethertype) {
            (What::Ports(UDP | UDPLITE), IPV4) => 20,
            (What::Ports(UDP | UDPLITE), IPV6) => 40,
            _ => return,
        };
        set_u16(payload, udp_at + 4, |whole| whole.saturating_sub(udp_at));
    }
}

/// Writes a length field if the payload reaches that far.
fn set_u16(payload: &mut [u8], at: usize, length: impl FnOnce(usize) -> usize) {
    let value = u16::try_from(length(payload.len())).unwrap_or(u16::MAX);
    if let Some(field) = payload.get_mut(at..at + 2) {
        field.copy_from_slice(&value.to_be_bytes());
    }
}

fn arp(
    operation: u8,
    sender_mac: [u8; 6],
    sender: Ipv4Addr,
    target_mac: [u8; 6],
    target: Ipv4Addr,
) -> Vec<u8> {
    let mut p = vec![0, 1, 8, 0, 6, 4, 0, operation];
    p.extend(sender_mac);
    p.extend(sender.octets());
    p.extend(target_mac);
    p.extend(target.octets());
    p
}

fn unknown(end: &End, family: &str, who: &str) -> DescribeError {
    DescribeError::new(
        end.at.clone(),
        format!("the {family} address of the {who} is not known"),
        format!(
            "write it into the packet, such as {}",
            if family == "IPv6" { "fd00::1" } else { "10.0.1.1" }
        ),
    )
}
