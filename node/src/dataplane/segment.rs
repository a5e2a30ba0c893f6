//! Finishing what the kernel left undone on a frame: checksums, and cutting super-frames into frames that fit the network.
//!
//! A super-frame is one TCP or UDP packet of up to 64 KiB that stands for many: equal headers, payloads one behind the other.
//! Every segment is written where it is wanted, headers and payload once, and its checksum is summed while it is still in the
//! processor's first cache. Specification: RFC 9293 (sequence numbers, flags), RFC 3168 section 6.1.2 (CWR), RFC 6864 (IDs).

use protocol::checksum;

use super::headers::{
    ETHERNET, Headers, IPV6_HEADER, TCP, TCP_CHECKSUM, UDP, UDP_CHECKSUM, locate, put_u16, skip_tags, u16_at,
    u32_at,
};
use super::vnet::{Checksum, Gso, Offload};

/// Segments of one super-frame at most. TCP's smallest sensible segments stay below it; more would only be an attempt to make us
/// work.
pub const MAX_SEGMENTS: usize = 8_192;

const CWR: u8 = 0x80;
const PUSH: u8 = 0x08;
const FIN: u8 = 0x01;
/// Offset of the flags in a TCP header.
const FLAGS: usize = 13;

/// The offload header does not describe the frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the frame is not what its offload header says")]
pub struct Refused;

/// Completes the checksum of a frame that is not to be cut. Nothing is changed unless the offload header asks for it.
///
/// # Errors
/// [`Refused`] if the field lies outside of the frame.
pub fn complete(checksum: Checksum, frame: &mut [u8]) -> Result<(), Refused> {
    let Checksum::Partial { start, offset } = checksum else { return Ok(()) };
    let part = frame.get_mut(usize::from(start)..).ok_or(Refused)?;
    let at = usize::from(offset);
    if part.len() < at + 2 {
        return Err(Refused);
    }
    let sum = never_zero(checksum::finish(checksum::sum(0, part)));
    put_u16(part, at, sum);
    Ok(())
}

/// A checksum of zero means "none" in UDP; all ones means the same to a receiver that sums.
fn never_zero(checksum: u16) -> u16 {
    if checksum == 0 { 0xffff } else { checksum }
}

/// A super-frame about to be cut.
#[derive(Clone, Debug)]
pub struct Cut<'a> {
    /// Everything behind the Ethernet header, VLAN tags included.
    body: &'a [u8],
    how: Cutting,
}

/// How a super-frame is to be cut, without the super-frame.
#[derive(Clone, Copy, Debug)]
pub struct Cutting {
    /// Where behind the Ethernet header the IP header begins.
    ip: usize,
    headers: Headers,
    /// Payload bytes in each segment but the last.
    size: usize,
    count: usize,
    /// Sum of the transport's pseudo header without the length.
    pseudo: u32,
    /// Sum of the IPv4 header without length, ID and checksum.
    fixed: u32,
}

impl<'a> Cut<'a> {
    /// Looks at a super-frame (with its Ethernet header).
    ///
    /// # Errors
    /// [`Refused`] if the frame is not of the kind the offload header says, or would make more than [`MAX_SEGMENTS`].
    pub fn new(offload: &Offload, frame: &'a [u8]) -> Result<Self, Refused> {
        let (size, v6, protocol) = match offload.gso {
            Gso::None => return Err(Refused),
            Gso::Tcp4 { size, .. } => (size, Some(false), TCP),
            Gso::Tcp6 { size, .. } => (size, Some(true), TCP),
            Gso::Udp { size } => (size, None, UDP),
        };
        let body = frame.get(ETHERNET..).ok_or(Refused)?;
        let (ethertype, ip) = skip_tags(u16_at(frame, ETHERNET - 2), body).ok_or(Refused)?;
        let packet = &body[ip..];
        let headers = locate(ethertype, packet).ok_or(Refused)?;
        if size == 0 || headers.protocol != protocol || v6.is_some_and(|v6| headers.v6 != v6) {
            return Err(Refused);
        }
        let data = packet.len() - headers.data;
        let size = usize::from(size).min(data.max(1));
        let count = data.div_ceil(size).max(1);
        if count > MAX_SEGMENTS || headers.data + size > usize::from(u16::MAX) {
            return Err(Refused);
        }
        let pseudo = match offload.checksum {
            // The field holds the sum of the pseudo header. It knows better than we where a routing header leads.
            Checksum::Partial { start, offset } => {
                let field = usize::from(start) + usize::from(offset);
                if usize::from(start) != ETHERNET + ip + headers.transport
                    || field != ETHERNET + ip + headers.checksum()
                {
                    return Err(Refused);
                }
                let length = (packet.len() - headers.transport) as u32;
                checksum::subtract(u32::from(u16_at(frame, field)), length)
            }
            _ => checksum::pseudo_header(headers.addresses(packet), protocol, 0),
        };
        let fixed = if headers.v6 {
            0
        } else {
            let sum = checksum::sum(0, &packet[..headers.transport]);
            [2, 4, 10].iter().fold(sum, |sum, at| checksum::subtract(sum, u32::from(u16_at(packet, *at))))
        };
        Ok(Self { body, how: Cutting { ip, headers, size, count, pseudo, fixed } })
    }

    /// How it is cut, to go on elsewhere with [`Cutting::of`].
    pub fn how(&self) -> Cutting {
        self.how
    }

    /// What stands behind the Ethernet header.
    pub fn body(&self) -> &'a [u8] {
        self.body
    }

    /// How many frames it makes, at least one.
    pub fn count(&self) -> usize {
        self.how.count
    }

    /// Bytes of the longest segment behind the Ethernet header.
    pub fn longest(&self) -> usize {
        (self.how.ip + self.how.headers.data + self.how.size).min(self.body.len())
    }

    /// Bytes of segment `index` behind the Ethernet header.
    ///
    /// # Panics
    /// If there is no such segment.
    pub fn length(&self, index: usize) -> usize {
        self.how.ip + self.how.headers.data + self.payload(index).len()
    }

    fn payload(&self, index: usize) -> &'a [u8] {
        let data = &self.body[self.how.ip + self.how.headers.data..];
        let end = ((index + 1) * self.how.size).min(data.len());
        &data[index * self.how.size..end]
    }

    /// Appends what of segment `index` stands behind the Ethernet header, which is the same for all.
    ///
    /// # Panics
    /// If there is no such segment.
    pub fn write(&self, index: usize, to: &mut Vec<u8>) {
        assert!(index < self.how.count, "segment {index} of {}", self.how.count);
        let start = to.len();
        to.extend_from_slice(&self.body[..self.how.ip + self.how.headers.data]);
        to.extend_from_slice(self.payload(index));
        let packet = &mut to[start + self.how.ip..];
        let length = packet.len();
        let transport = length - self.how.headers.transport;
        if self.how.headers.v6 {
            put_u16(packet, 4, (length - IPV6_HEADER) as u16);
        } else {
            // Some checksum over the whole header is right for exactly these three fields.
            let id = u16_at(packet, 4).wrapping_add(index as u16);
            put_u16(packet, 2, length as u16);
            put_u16(packet, 4, id);
            let sum = self.how.fixed + length as u32 + u32::from(id);
            put_u16(packet, 10, checksum::finish(sum));
        }
        let segment = &mut packet[self.how.headers.transport..];
        let field = if self.how.headers.protocol == TCP {
            let sequence = u32_at(segment, 4).wrapping_add((index * self.how.size) as u32);
            segment[4..8].copy_from_slice(&sequence.to_be_bytes());
            if index > 0 {
                segment[FLAGS] &= !CWR;
            }
            if index + 1 < self.how.count {
                segment[FLAGS] &= !(PUSH | FIN);
            }
            TCP_CHECKSUM
        } else {
            put_u16(segment, 4, transport as u16);
            UDP_CHECKSUM
        };
        put_u16(segment, field, 0);
        let sum = checksum::sum(self.how.pseudo + transport as u32, segment);
        put_u16(segment, field, never_zero(checksum::finish(sum)));
    }
}

impl Cutting {
    /// Goes on with the super-frame that was looked at; `body` = what stands behind its Ethernet header.
    pub fn of(self, body: &[u8]) -> Cut<'_> {
        Cut { body, how: self }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{Shape, check, shape};
    use super::*;

    fn cut(offload: &Offload, frame: &[u8]) -> Vec<Vec<u8>> {
        let cut = Cut::new(offload, frame).unwrap();
        (0..cut.count())
            .map(|index| {
                let mut out = frame[..ETHERNET].to_vec();
                cut.write(index, &mut out);
                assert_eq!(out.len(), ETHERNET + cut.length(index));
                assert!(out.len() <= ETHERNET + cut.longest());
                out
            })
            .collect()
    }

    proptest! {
        #[test]
        fn segments_are_the_stream_and_every_checksum_is_right(
            shape in shape(), data in prop::collection::vec(any::<u8>(), 1..9_000), size in 1u16..3_000,
            partial: bool,
        ) {
            let size = size.max(data.len().div_ceil(200) as u16);
            let frame = shape.frame(&data);
            let whole = check(&frame).expect("the model makes right frames");
            let (frame, offload) = shape.unfinished(frame, size, partial);
            let all = cut(&offload, &frame);
            prop_assert_eq!(all.len(), data.len().div_ceil(usize::from(size)));
            let mut joined = Vec::new();
            for (index, segment) in all.iter().enumerate() {
                let seen = check(segment).expect("a segment is a right frame");
                let (first, last) = (index == 0, index + 1 == all.len());
                if let Some(tcp) = &seen.tcp {
                    let of = whole.tcp.as_ref().unwrap();
                    prop_assert_eq!(tcp.sequence, of.sequence.wrapping_add(joined.len() as u32));
                    prop_assert_eq!((tcp.acknowledged, tcp.window), (of.acknowledged, of.window));
                    let kept = !(if first { 0 } else { CWR } | if last { 0 } else { PUSH | FIN });
                    prop_assert_eq!(tcp.flags, of.flags & kept);
                    prop_assert_eq!(&tcp.options, &of.options);
                }
                prop_assert_eq!(seen.id, whole.id.map(|id| id.wrapping_add(index as u16)));
                prop_assert!(last || seen.data.len() == usize::from(size));
                joined.extend_from_slice(&seen.data);
            }
            prop_assert_eq!(joined, data);
        }

        #[test]
        fn a_partial_checksum_is_completed_once(shape in shape(), data in prop::collection::vec(any::<u8>(), 0..2_000)) {
            let whole = shape.frame(&data);
            let (mut frame, offload) = shape.unfinished(whole.clone(), 1, true);
            prop_assert!(complete(offload.checksum, &mut frame).is_ok());
            prop_assert!(check(&frame).is_some());
            let again = frame.clone();
            prop_assert!(complete(Checksum::Whole, &mut frame).is_ok());
            prop_assert_eq!(again, frame);
        }

        #[test]
        fn hostile_headers_do_no_harm(
            bytes in prop::collection::vec(any::<u8>(), 0..200), header: [u8; 10], like in shape(),
            data in prop::collection::vec(any::<u8>(), 0..100), noise in prop::collection::vec((any::<u16>(), any::<u8>()), 0..4),
        ) {
            let mut frame = like.frame(&data);
            for (at, value) in noise {
                let at = usize::from(at) % frame.len();
                frame[at] = value;
            }
            for mut frame in [frame, bytes] {
                let Ok(offload) = Offload::parse(&header) else { continue };
                if let Ok(cut) = Cut::new(&offload, &frame) {
                    let mut out = Vec::new();
                    (0..cut.count()).for_each(|index| cut.write(index, &mut out));
                }
                let length = frame.len();
                let _ = complete(offload.checksum, &mut frame);
                prop_assert_eq!(frame.len(), length);
            }
        }
    }

    #[test]
    fn tags_stay_in_front() {
        let shape = Shape { tags: 2, ..Shape::default() };
        let data = vec![7; 3_000];
        let (frame, offload) = shape.unfinished(shape.frame(&data), 1_000, true);
        for segment in cut(&offload, &frame) {
            assert_eq!(segment[..22], frame[..22]);
            assert_eq!(check(&segment).unwrap().data, vec![7; 1_000]);
        }
    }

    #[test]
    fn what_the_header_does_not_describe_is_refused() {
        let shape = Shape::default();
        let frame = shape.frame(&[1; 100]);
        let (_, right) = shape.unfinished(frame.clone(), 10, true);
        assert!(Cut::new(&right, &frame).is_ok());
        let with = |gso| Offload { gso, ..right };
        for gso in [Gso::None, Gso::Tcp6 { size: 10, ecn: false }, Gso::Udp { size: 10 }] {
            assert_eq!(Cut::new(&with(gso), &frame).err(), Some(Refused));
        }
        let elsewhere = Checksum::Partial { start: 30, offset: 16 };
        assert_eq!(Cut::new(&Offload { checksum: elsewhere, ..right }, &frame).err(), Some(Refused));
        let long = shape.frame(&vec![0; 9_000]);
        let tiny = with(Gso::Tcp4 { size: 1, ecn: false });
        assert_eq!(Cut::new(&tiny, &long).err(), Some(Refused), "too many");
        assert_eq!(complete(Checksum::Partial { start: 50, offset: 500 }, &mut [0; 100]), Err(Refused));
        assert_eq!(
            complete(Checksum::Partial { start: u16::MAX, offset: u16::MAX }, &mut [0; 100]),
            Err(Refused)
        );
    }
}
