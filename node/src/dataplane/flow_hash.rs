//! Which flow a frame belongs to: a keyed hash of what names it.

use rand::RngExt;

use super::headers::{ETHERNET, IPV4, IPV6, IPV6_HEADER, locate, skip_tags, u16_at};

/// A keyed hash of flows. The key is random, so that nobody can choose flows that collide.
#[derive(Clone, Debug)]
pub struct FlowHash {
    key: [u64; 2],
}

impl FlowHash {
    /// With a key of that generator.
    pub fn new(rng: &mut impl rand::Rng) -> Self {
        // The multiplier must be odd to lose nothing.
        Self { key: [rng.random(), rng.random::<u64>() | 1] }
    }

    /// The flow of a frame (Ethernet header first) that goes through a port: addresses, protocol and, for what is not
    /// fragmented, ports of IP; Ethernet addresses and ethertype of anything else.
    pub fn of(&self, port: u64, frame: &[u8]) -> u64 {
        let start = self.mix(self.key[0], port);
        let Some((header, tagged)) = frame.split_at_checked(ETHERNET) else { return start };
        if let Some((ethertype, ip)) = skip_tags(u16_at(header, ETHERNET - 2), tagged)
            && let Some(hash) = self.of_packet(start, ethertype, &tagged[ip..])
        {
            return hash;
        }
        let hash = self.mix(start, word(&header[..8]));
        self.mix(hash, word(&header[6..]))
    }

    fn of_packet(&self, start: u64, ethertype: u16, packet: &[u8]) -> Option<u64> {
        let (addresses, protocol) = match ethertype {
            IPV4 => (packet.get(12..20)?, packet[9]),
            IPV6 => (packet.get(8..IPV6_HEADER)?, packet[6]),
            _ => return None,
        };
        let mut hash = start;
        for part in addresses.chunks_exact(8) {
            hash = self.mix(hash, word(part));
        }
        let ports = match locate(ethertype, packet) {
            Some(headers) => &packet[headers.transport..headers.transport + 4],
            None => &[0; 4],
        };
        let ports = u32::from_ne_bytes([ports[0], ports[1], ports[2], ports[3]]);
        Some(self.mix(hash, u64::from(protocol) << 32 | u64::from(ports)))
    }

    /// Both halves of a product depend on all bits of both factors.
    fn mix(&self, hash: u64, word: u64) -> u64 {
        let product = u128::from(hash ^ word) * u128::from(self.key[1]);
        (product >> 64) as u64 ^ (product as u64).rotate_left(29)
    }
}

/// # Panics
/// If there are fewer than 8 octets.
fn word(bytes: &[u8]) -> u64 {
    bytes[..8].iter().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::super::testing::{Shape, shape};
    use super::*;

    fn hash() -> FlowHash {
        FlowHash::new(&mut StdRng::from_seed([3; 32]))
    }

    #[test]
    fn flows_spread() {
        let all: Vec<_> = (0..2_000u16)
            .map(|port| hash().of(1, &Shape { ports: (port, 80), ..Shape::default() }.frame(&[0; 10])))
            .collect();
        let buckets: BTreeSet<_> = all.iter().map(|hash| hash % 256).collect();
        assert_eq!(buckets.len(), 256);
        let most = (0..256).map(|bucket| all.iter().filter(|hash| **hash % 256 == bucket).count()).max();
        assert!(most < Some(24), "{most:?}");
    }

    #[test]
    fn what_names_a_flow_counts() {
        let of = |shape: Shape| hash().of(1, &shape.frame(&[1, 2, 3]));
        let one = of(Shape::default());
        assert_eq!(one, of(Shape { sequence: 9, flags: 0x18, id: 77, ttl: 3, tos: 2, ..Shape::default() }));
        for other in [
            Shape { ports: (1, 3), ..Shape::default() },
            Shape { ports: (2, 1), ..Shape::default() },
            Shape { udp: true, ..Shape::default() },
            Shape { v6: true, ..Shape::default() },
        ] {
            assert_ne!(one, of(other));
        }
        assert_ne!(one, hash().of(2, &Shape::default().frame(&[1, 2, 3])));
        let other_key = FlowHash::new(&mut StdRng::from_seed([4; 32]));
        assert_ne!(one, other_key.of(1, &Shape::default().frame(&[1, 2, 3])));
    }

    proptest! {
        #[test]
        fn payload_does_not_matter(
            shape in shape(), one in prop::collection::vec(any::<u8>(), 0..50), other in prop::collection::vec(any::<u8>(), 0..50),
        ) {
            prop_assert_eq!(hash().of(5, &shape.frame(&one)), hash().of(5, &shape.frame(&other)));
        }

        #[test]
        fn hostile_frames_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..100), ethertype in 0usize..4) {
            let mut bytes = bytes;
            if let (Some(field), Some(ethertype)) =
                (bytes.get_mut(12..14), [[8, 0], [0x86, 0xdd], [0x81, 0]].get(ethertype))
            {
                field.copy_from_slice(ethertype);
            }
            hash().of(1, &bytes);
        }
    }
}
