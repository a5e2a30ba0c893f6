//! What is taken from a frame so that its sender slows down: as little as possible.
//!
//! A stream whose ends understand ECN gets the mark "congestion experienced" (RFC 3168) and loses nothing. Of a super-frame
//! one segment is lost, its first, so that those behind it report the gap at once. Only a frame that is one segment by itself
//! is lost as a whole.

use protocol::checksum;

use super::ecn;
use super::headers::{ETHERNET, IPV6_HEADER, TCP, locate, put_u16, skip_tags, u16_at, u32_at};
use super::vnet::{Checksum, Gso, Offload};

/// Marks a frame (Ethernet header first) as having met congestion, if it is IP and its ends asked for marks. True if it bears
/// the mark now.
pub fn mark(frame: &mut [u8]) -> bool {
    let Some(tagged) = frame.get(ETHERNET..) else { return false };
    let Some((ethertype, ip)) = skip_tags(u16_at(frame, ETHERNET - 2), tagged) else { return false };
    let packet = &mut frame[ETHERNET + ip..];
    ecn::of(ethertype, packet) != ecn::NOT_CAPABLE && ecn::set(ethertype, packet, ecn::CONGESTED)
}

/// Takes the first segment out of a super-frame (Ethernet header first). What is left begins at the offset that is returned,
/// and `offload` describes it as before. `None`, and nothing has happened, if it has no second segment or is not what
/// `offload` says.
pub fn drop_first(offload: &Offload, frame: &mut [u8]) -> Option<usize> {
    let (Gso::Tcp4 { size, .. } | Gso::Tcp6 { size, .. } | Gso::Udp { size }) = offload.gso else {
        return None;
    };
    let size = usize::from(size);
    let (ethertype, ip) = skip_tags(u16_at(frame.get(..ETHERNET)?, ETHERNET - 2), &frame[ETHERNET..])?;
    let at = ETHERNET + ip;
    let headers = locate(ethertype, &frame[at..])?;
    let transport = at + headers.transport;
    let data = at + headers.data;
    if size == 0 || frame.len() - data <= size {
        return None;
    }
    if let Checksum::Partial { start, offset } = offload.checksum {
        // The field holds the sum of the pseudo header, the length in it.
        let field = at + headers.checksum();
        if usize::from(start) != transport || usize::from(start) + usize::from(offset) != field {
            return None;
        }
        let sum = checksum::subtract(u32::from(u16_at(frame, field)), size as u32);
        put_u16(frame, field, !checksum::finish(sum));
    }
    frame.copy_within(..data, size);
    let packet = &mut frame[size + at..];
    let length = packet.len();
    if headers.v6 {
        put_u16(packet, 4, (length - IPV6_HEADER) as u16);
    } else {
        let id = u16_at(packet, 4).wrapping_add(1);
        put_u16(packet, 2, length as u16);
        put_u16(packet, 4, id);
        put_u16(packet, 10, 0);
        let sum = checksum::finish(checksum::sum(0, &packet[..headers.transport]));
        put_u16(packet, 10, sum);
    }
    let segment = &mut packet[headers.transport..];
    if headers.protocol == TCP {
        let sequence = u32_at(segment, 4).wrapping_add(size as u32);
        segment[4..8].copy_from_slice(&sequence.to_be_bytes());
    } else {
        let length = segment.len() as u16;
        put_u16(segment, 4, length);
    }
    Some(size)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::segment::Cut;
    use super::super::testing::{Shape, check, shape};
    use super::*;

    fn cut(offload: &Offload, frame: &[u8]) -> Vec<Vec<u8>> {
        let cut = Cut::new(offload, frame).unwrap();
        let one = |index| {
            let mut out = frame[..ETHERNET].to_vec();
            cut.write(index, &mut out);
            out
        };
        (0..cut.count()).map(one).collect()
    }

    proptest! {
        #[test]
        fn what_is_left_is_the_segments_without_the_first(
            shape in shape(), data in prop::collection::vec(any::<u8>(), 2..9_000), size in 1u16..3_000, partial: bool,
        ) {
            // CWR stays with what is left: the receiver still learns that its echo was heard.
            let shape = Shape { flags: shape.flags & !0x80, ..shape };
            let size = size.max(data.len().div_ceil(200) as u16);
            let (mut frame, offload) = shape.unfinished(shape.frame(&data), size, partial);
            let whole = cut(&offload, &frame);
            let before = frame.clone();
            match drop_first(&offload, &mut frame) {
                None => {
                    prop_assert_eq!(whole.len(), 1);
                    prop_assert_eq!(frame, before);
                }
                Some(start) => prop_assert_eq!(cut(&offload, &frame[start..]), &whole[1..]),
            }
        }

        #[test]
        fn a_mark_leaves_everything_else_right(shape in shape(), data in prop::collection::vec(any::<u8>(), 0..100)) {
            let before = shape.frame(&data);
            let mut frame = before.clone();
            prop_assert_eq!(mark(&mut frame), shape.tos & 3 != 0);
            prop_assert!(check(&frame).is_some());
            let marked = Shape { tos: if shape.tos & 3 == 0 { shape.tos } else { shape.tos | 3 }, ..shape };
            prop_assert_eq!(frame, marked.frame(&data));
        }

        #[test]
        fn hostile_frames_do_no_harm(
            bytes in prop::collection::vec(any::<u8>(), 0..200), header: [u8; 10], like in shape(),
            data in prop::collection::vec(any::<u8>(), 0..100), noise in prop::collection::vec((any::<u16>(), any::<u8>()), 0..4),
        ) {
            let mut frame = like.frame(&data);
            for (at, value) in noise {
                let at = usize::from(at) % frame.len();
                frame[at] = value;
            }
            for mut frame in [frame, bytes] {
                mark(&mut frame);
                if let Ok(offload) = Offload::parse(&header)
                    && let Some(start) = drop_first(&offload, &mut frame)
                {
                    prop_assert!(start < frame.len());
                }
            }
        }
    }
}
