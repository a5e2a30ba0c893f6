//! Frames for tests, and an independent, slow reader of frames that checks every length and checksum.

use proptest::prelude::*;

use super::vnet::{Checksum, Gso, Offload};

/// What a frame looks like apart from its payload.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) tags: usize,
    pub(crate) v6: bool,
    pub(crate) udp: bool,
    /// IPv4 options or one IPv6 extension header.
    pub(crate) extended: bool,
    pub(crate) ports: (u16, u16),
    pub(crate) sequence: u32,
    pub(crate) acknowledged: u32,
    pub(crate) flags: u8,
    pub(crate) window: u16,
    /// TCP options, a multiple of four octets.
    pub(crate) options: Vec<u8>,
    pub(crate) id: u16,
    pub(crate) ttl: u8,
    pub(crate) tos: u8,
    pub(crate) dont_fragment: bool,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            tags: 0,
            v6: false,
            udp: false,
            extended: false,
            ports: (1, 2),
            sequence: 1_000,
            acknowledged: 7,
            flags: 0x10,
            window: 500,
            options: vec![1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2],
            id: 5,
            ttl: 64,
            tos: 0,
            dont_fragment: true,
        }
    }
}

/// Any shape.
pub(crate) fn shape() -> impl Strategy<Value = Shape> {
    let kind = (0usize..3, any::<bool>(), any::<bool>(), any::<bool>(), any::<(u16, u16)>(), any::<bool>());
    let tcp = (any::<u32>(), any::<u32>(), any::<u8>(), any::<u16>(), 0usize..=10);
    (kind, tcp, any::<(u16, u8, u8)>()).prop_map(|(kind, tcp, ip)| {
        let (tags, v6, udp, extended, ports, dont_fragment) = kind;
        let (sequence, acknowledged, flags, window, options) = tcp;
        let (id, ttl, tos) = ip;
        let options = (0..options * 4).map(|i| i as u8).collect();
        Shape {
            tags,
            v6,
            udp,
            extended,
            ports,
            sequence,
            acknowledged,
            flags,
            window,
            options,
            id,
            ttl,
            tos,
            dont_fragment,
        }
    })
}

/// The one's complement sum, word by word.
fn sum(bytes: &[u8]) -> u16 {
    let mut sum = 0u32;
    for word in bytes.chunks(2) {
        sum += u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

fn pseudo(addresses: &[u8], protocol: u8, length: usize) -> Vec<u8> {
    let mut bytes = addresses.to_vec();
    bytes.extend((length as u32).to_be_bytes());
    bytes.extend([0, 0, 0, protocol]);
    bytes
}

impl Shape {
    /// Where the transport header begins.
    fn transport(&self) -> usize {
        14 + 4 * self.tags + if self.v6 { 40 } else { 20 } + if self.extended { 8 } else { 0 }
    }

    /// A right frame.
    pub(crate) fn frame(&self, data: &[u8]) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
        for _ in 0..self.tags {
            frame.extend([0x81, 0x00, 0x00, 0x05]);
        }
        frame.extend(if self.v6 { [0x86, 0xdd] } else { [0x08, 0x00] });
        let protocol = if self.udp { 17 } else { 6 };
        let mut segment = Vec::new();
        segment.extend(self.ports.0.to_be_bytes());
        segment.extend(self.ports.1.to_be_bytes());
        let field = if self.udp {
            segment.extend((8 + data.len() as u16).to_be_bytes());
            segment.extend([0, 0]);
            6
        } else {
            segment.extend(self.sequence.to_be_bytes());
            segment.extend(self.acknowledged.to_be_bytes());
            segment.extend([(5 + self.options.len() as u8 / 4) << 4, self.flags]);
            segment.extend(self.window.to_be_bytes());
            segment.extend([0, 0, 0, 0]);
            segment.extend(&self.options);
            16
        };
        segment.extend(data);
        let addresses: Vec<u8> = (1..=if self.v6 { 32 } else { 8 }).collect();
        let check = !sum(&[pseudo(&addresses, protocol, segment.len()), segment.clone()].concat());
        let check = if check == 0 { 0xffff } else { check };
        segment[field..field + 2].copy_from_slice(&check.to_be_bytes());
        let extension = if self.extended { 8 } else { 0 };
        if self.v6 {
            let next = if self.extended { 60 } else { protocol };
            frame.extend([0x60 | self.tos >> 4, self.tos << 4, 0, 0]);
            frame.extend(((segment.len() + extension) as u16).to_be_bytes());
            frame.extend([next, self.ttl]);
            frame.extend(&addresses);
            if self.extended {
                frame.extend([protocol, 0, 1, 4, 0, 0, 0, 0]);
            }
        } else {
            let mut header = vec![0x45 + if self.extended { 2 } else { 0 }, self.tos];
            header.extend(((20 + extension + segment.len()) as u16).to_be_bytes());
            header.extend(self.id.to_be_bytes());
            header.extend([if self.dont_fragment { 0x40 } else { 0 }, 0, self.ttl, protocol, 0, 0]);
            header.extend(&addresses);
            if self.extended {
                header.extend([1; 8]);
            }
            let check = !sum(&header);
            header[10..12].copy_from_slice(&check.to_be_bytes());
            frame.extend(header);
        }
        frame.extend(segment);
        frame
    }

    /// The frame as a kernel with offloads hands it over: to be cut into segments of `size`, its checksum perhaps partial.
    pub(crate) fn unfinished(&self, mut frame: Vec<u8>, size: u16, partial: bool) -> (Vec<u8>, Offload) {
        let gso = match (self.udp, self.v6) {
            (true, _) => Gso::Udp { size },
            (false, false) => Gso::Tcp4 { size, ecn: false },
            (false, true) => Gso::Tcp6 { size, ecn: false },
        };
        if !partial {
            return (frame, Offload { checksum: Checksum::Whole, gso, header_len: 0 });
        }
        let start = self.transport();
        let (offset, protocol) = if self.udp { (6, 17) } else { (16, 6) };
        let addresses: Vec<u8> = (1..=if self.v6 { 32 } else { 8 }).collect();
        let partial = sum(&pseudo(&addresses, protocol, frame.len() - start));
        frame[start + offset..start + offset + 2].copy_from_slice(&partial.to_be_bytes());
        let checksum = Checksum::Partial { start: start as u16, offset: offset as u16 };
        (frame, Offload { checksum, gso, header_len: 0 })
    }
}

/// The TCP header of a frame.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Tcp {
    pub(crate) sequence: u32,
    pub(crate) acknowledged: u32,
    pub(crate) flags: u8,
    pub(crate) window: u16,
    pub(crate) options: Vec<u8>,
}

/// What a frame says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Seen {
    pub(crate) id: Option<u16>,
    pub(crate) tcp: Option<Tcp>,
    pub(crate) data: Vec<u8>,
}

/// Reads a TCP or UDP frame; `None` if some length or checksum in it is wrong.
pub(crate) fn check(frame: &[u8]) -> Option<Seen> {
    let number = |bytes: &[u8]| bytes.iter().fold(0u32, |n, b| n << 8 | u32::from(*b));
    let mut at = 12;
    while frame[at..at + 2] == [0x81, 0x00] {
        at += 4;
    }
    let v6 = frame[at..at + 2] == [0x86, 0xdd];
    let packet = &frame[at + 2..];
    let (id, addresses, protocol, transport) = if v6 {
        if number(&packet[4..6]) as usize + 40 != packet.len() {
            return None;
        }
        let extended = packet[6] == 60;
        let (protocol, transport) = if extended { (packet[40], 48) } else { (packet[6], 40) };
        (None, &packet[8..40], protocol, transport)
    } else {
        let length = usize::from(packet[0] & 15) * 4;
        if number(&packet[2..4]) as usize != packet.len() || sum(&packet[..length]) != 0xffff {
            return None;
        }
        (Some(number(&packet[4..6]) as u16), &packet[12..20], packet[9], length)
    };
    let segment = &packet[transport..];
    if sum(&[pseudo(addresses, protocol, segment.len()), segment.to_vec()].concat()) != 0xffff {
        return None;
    }
    if protocol == 17 {
        let right = number(&segment[4..6]) as usize == segment.len() && segment[6..8] != [0, 0];
        return right.then(|| Seen { id, tcp: None, data: segment[8..].to_vec() });
    }
    let header = usize::from(segment[12] >> 4) * 4;
    let tcp = Tcp {
        sequence: number(&segment[4..8]),
        acknowledged: number(&segment[8..12]),
        flags: segment[13],
        window: number(&segment[14..16]) as u16,
        options: segment[20..header].to_vec(),
    };
    Some(Seen { id, tcp: Some(tcp), data: segment[header..].to_vec() })
}
