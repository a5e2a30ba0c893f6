//! Which flow a frame belongs to, as a number: all frames of one flow have the same, so that they can take the same way.
//!
//! A flow is what must not be reordered: one TCP connection or one pair of UDP ports; of other protocols everything between two
//! IP addresses; of what is not IP everything. The fragments of a datagram belong to the flow of its first one, which has
//! the ports.

use super::headers::{IPV4, IPV6_HEADER, TCP, UDP, skip_extensions, skip_tags, u16_at, u32_at};

/// Sets of fragmented datagrams that are remembered. Between two fragments of one, those of many others may pass: as many as wait
/// in queues and are under way.
const SETS: usize = 256;
/// Datagrams of a set, the newest first.
type Set = [(u64, u64); 4];

/// Numbers flows; remembers where the fragments of a datagram belong.
#[derive(Clone, Debug)]
pub struct Flows {
    key: u64,
    /// By the lower bits of the first: datagram, and flow of its first fragment.
    fragmented: Box<[Set]>,
}

impl Flows {
    /// With another `key`, flows get other numbers: strangers should not know it, or they could give all flows the same.
    pub fn new(key: u64) -> Self {
        Self { key, fragmented: vec![Set::default(); SETS].into() }
    }

    /// The number of the flow of a frame: its ethertype, and what stands behind the Ethernet header.
    pub fn of(&mut self, ethertype: u16, payload: &[u8]) -> u64 {
        let other = mix(self.key, u64::from(ethertype));
        let Some((ethertype, ip)) = skip_tags(ethertype, payload) else { return other };
        let packet = &payload[ip..];
        match ethertype {
            IPV4 => self.of_v4(packet).unwrap_or(other),
            _ => self.of_v6(packet).unwrap_or(other),
        }
    }

    /// Remembers the flow of a datagram whose first fragment this is, if it is one. For frames whose number nobody needs.
    pub fn notice(&mut self, ethertype: u16, payload: &[u8]) {
        let Some((ethertype, ip)) = skip_tags(ethertype, payload) else { return };
        let fragment = match (ethertype, &payload[ip..]) {
            (IPV4, packet) => packet.len() >= 20 && u16_at(packet, 6) & 0x3fff != 0,
            // Another header may stand before that of the fragment.
            (_, packet) => packet.get(6).is_some_and(|next| !matches!(*next, TCP | UDP)),
        };
        if fragment {
            self.of(ethertype, &payload[ip..]);
        }
    }

    fn of_v4(&mut self, packet: &[u8]) -> Option<u64> {
        let head = packet.get(..20)?;
        let header = usize::from(head[0] & 15) * 4;
        let addresses = u64::from(u32_at(head, 12)) << 32 | u64::from(u32_at(head, 16));
        let host = mix(mix(self.key, addresses), u64::from(head[9]));
        let place = u16_at(head, 6) & 0x3fff;
        let datagram = (place != 0).then(|| mix(host, u64::from(u16_at(head, 4))));
        Some(self.with_ports(host, head[9], packet.get(header..)?, datagram, place & 0x1fff == 0))
    }

    fn of_v6(&mut self, packet: &[u8]) -> Option<u64> {
        let head = packet.get(..IPV6_HEADER)?;
        let hosts = head[8..40].chunks_exact(4).map(|part| u64::from(u32_at(part, 0)));
        let host = hosts.fold(self.key, mix);
        let (mut protocol, mut transport) = skip_extensions(packet, head[6], IPV6_HEADER)?;
        let (mut datagram, mut first) = (None, true);
        if protocol == FRAGMENT {
            let fragment = packet.get(transport..transport + 8)?;
            first = u16_at(fragment, 2) & 0xfff8 == 0;
            datagram = Some(mix(host, u64::from(u32_at(fragment, 4))));
            (protocol, transport) = (fragment[0], transport + 8);
            if first {
                (protocol, transport) = skip_extensions(packet, protocol, transport)?;
            }
        }
        let host = if first { mix(host, u64::from(protocol)) } else { host };
        Some(self.with_ports(host, protocol, packet.get(transport..)?, datagram, first))
    }

    /// Adds the ports, or finds them by the `datagram` of which this is a fragment, perhaps the `first`.
    fn with_ports(
        &mut self,
        host: u64,
        protocol: u8,
        data: &[u8],
        datagram: Option<u64>,
        first: bool,
    ) -> u64 {
        let set = datagram.map(|number| (number, &mut self.fragmented[number as usize % SETS]));
        if let Some((number, set)) = &set
            && !first
        {
            return set.iter().find(|(of, _)| of == number).map_or(host, |(_, flow)| *flow);
        }
        let flow = match data.get(..4) {
            Some(ports) if matches!(protocol, TCP | UDP) => mix(host, u64::from(u32_at(ports, 0))),
            _ => host,
        };
        if let Some((number, set)) = set {
            // The same number again is another datagram, or the same fragment.
            let place = set.iter().position(|(of, _)| *of == number).unwrap_or(set.len() - 1);
            set[..=place].rotate_right(1);
            set[0] = (number, flow);
        }
        flow
    }
}

/// Next header of an IPv6 fragment.
const FRAGMENT: u8 = 44;

/// Which of `count` a flow takes, all equally likely; 0 if there is none to choose from.
pub fn share(flow: u64, count: usize) -> usize {
    ((u128::from(flow) * count as u128) >> 64) as usize
}

/// Adds a number to another, so that each bit of the result depends on all of both.
fn mix(one: u64, other: u64) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let product = u128::from(one ^ other.wrapping_mul(ODD) ^ ODD.rotate_left(21)) * u128::from(ODD);
    (product as u64) ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::headers::IPV6;
    use super::super::testing::{Shape, shape};
    use super::*;

    fn of(flows: &mut Flows, frame: &[u8]) -> u64 {
        flows.of(u16_at(frame, 12), &frame[14..])
    }

    proptest! {
        #[test]
        fn a_flow_has_one_number(
            shape in shape(), one in prop::collection::vec(any::<u8>(), 0..100), other in prop::collection::vec(any::<u8>(), 0..100),
            key: u64, id: u16,
        ) {
            let mut flows = Flows::new(key);
            let later = Shape { id, ..shape.clone() };
            prop_assert_eq!(of(&mut flows, &shape.frame(&one)), of(&mut flows, &later.frame(&other)));
        }

        #[test]
        fn never_panics(ethertype: u16, bytes in prop::collection::vec(any::<u8>(), 0..120), v6: bool, known: bool) {
            let ethertype = match (known, v6) { (true, true) => IPV6, (true, false) => IPV4, _ => ethertype };
            let mut flows = Flows::new(1);
            prop_assert!(share(flows.of(ethertype, &bytes), 3) < 3);
        }
    }

    /// An IPv4 datagram with these ports, or what follows of it.
    fn v4(ports: [u8; 4], id: u8, place: u16) -> Vec<u8> {
        let mut packet = vec![0x45, 0, 0, 0, 0, id, 0, 0, 64, UDP, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        packet[6..8].copy_from_slice(&place.to_be_bytes());
        packet.extend(ports);
        packet
    }

    fn v6(ports: [u8; 4], fragment: Option<(u8, u16)>) -> Vec<u8> {
        let mut packet = vec![0x60, 0, 0, 0, 0, 0, if fragment.is_some() { FRAGMENT } else { UDP }, 64];
        packet.extend([0xfd; 32]);
        if let Some((id, place)) = fragment {
            packet.extend([UDP, 0, (place >> 8) as u8, place as u8, 0, 0, 0, id]);
        }
        packet.extend(ports);
        packet
    }

    #[test]
    fn fragments_go_where_their_first_one_goes() {
        let mut flows = Flows::new(9);
        let mut aside = Flows::new(9);
        let data = [0xaa, 0xbb, 0xcc, 0xdd];
        for ports in [[1, 2, 3, 4], [1, 2, 3, 5]] {
            let whole = flows.of(IPV4, &v4(ports, 1, 0x4000));
            assert_ne!(whole, flows.of(IPV4, &v4([9; 4], 1, 0)));
            let all = [v4(ports, 7, 0x2000), v4(data, 7, 0x2010), v4(data, 7, 0x20)];
            assert!(all.iter().all(|packet| flows.of(IPV4, packet) == whole), "{ports:?}");
            aside.notice(IPV4, &all[0]);
            assert_eq!(aside.of(IPV4, &all[2]), whole);
            let whole = flows.of(IPV6, &v6(ports, None));
            let all = [v6(ports, Some((5, 1))), v6(data, Some((5, 0x101))), v6(data, Some((5, 0x200)))];
            assert!(all.iter().all(|packet| flows.of(IPV6, packet) == whole), "{ports:?}");
            aside.notice(IPV6, &all[0]);
            assert_eq!(aside.of(IPV6, &all[2]), whole);
        }
    }

    #[test]
    fn fragments_of_many_datagrams_may_pass_between_two_of_one() {
        let mut flows = Flows::new(5);
        let ports = |id: u16| [1, 2, (id >> 8) as u8, id as u8];
        let fragment = |id: u16, place: u16| {
            let mut packet = v4(ports(id), 0, place);
            packet[4..6].copy_from_slice(&id.to_be_bytes());
            packet
        };
        let first: Vec<_> = (0..200).map(|id| flows.of(IPV4, &fragment(id, 0x2000))).collect();
        let found = (0..200).filter(|id| flows.of(IPV4, &fragment(*id, 0x100)) == first[usize::from(*id)]);
        assert!(found.count() >= 195);
    }

    #[test]
    fn many_flows_take_equal_shares() {
        let mut flows = Flows::new(1234);
        let mut counts = [0; 3];
        for port in 0..3_000u16 {
            let [a, b] = port.to_be_bytes();
            counts[share(flows.of(IPV4, &v4([a, b, 20, 81], 0, 0)), 3)] += 1;
        }
        assert!(counts.iter().all(|count| (900..1_100).contains(count)), "{counts:?}");
    }
}
