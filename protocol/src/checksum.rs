//! The checksum of IPv4, TCP, UDP and ICMP (RFC 1071): the one's complement sum of 16-bit big-endian words.
//!
//! A **partial sum** is an ordinary number that is congruent to the sum of the words modulo 0xffff. So parts are
//! simply added: words of a pseudo header, `u32::from(length)`, another partial sum. Everything here takes any `u32`
//! as a partial sum and gives one of at most 16 bits back, so tens of thousands of words can be added in between
//! without a thought for overflow. A sum is zero only if every word in it was.
//!
//! ```
//! use protocol::checksum;
//!
//! let header = [0x45, 0, 0, 0x73, 0, 0, 0x40, 0, 0x40, 0x11, 0, 0, 0xc0, 0xa8, 0, 1, 0xc0, 0xa8, 0, 0xc7];
//! assert_eq!(checksum::finish(checksum::sum(0, &header)), 0xb861);
//! // The same in two parts, of which the second begins at an odd offset.
//! let (a, b) = header.split_at(7);
//! let whole = checksum::combine(checksum::sum(0, a), checksum::sum(0, b), a.len());
//! assert_eq!(checksum::finish(whole), 0xb861);
//! ```

/// Octets summed at a time: wide enough for four 16-octet vectors in flight.
const STRIDE: usize = 64;

/// Adds `bytes`, read as big-endian words of which the first begins at the first octet, to the partial sum
/// `initial`. An odd octet at the end counts as the upper half of a word (RFC 1071, section 4.1), so only the last
/// part of a message may be of odd length; for others there is [`combine`].
#[inline]
#[must_use]
pub fn sum(initial: u32, bytes: &[u8]) -> u32 {
    // Words are added in the processor's own order: exchanging the octets of each word exchanges those of the
    // folded sum (RFC 1071, section 2(B)), so it is done once at the end.
    let native = fold_wide(native(bytes));
    fold(u64::from(initial) + u64::from(u16::from_be(native)))
}

/// The native-order sum of 32-bit words, unfolded. Even a slice of the whole address space does not overflow it.
#[inline]
fn native(bytes: &[u8]) -> u64 {
    let (strides, rest) = bytes.as_chunks::<STRIDE>();
    // Separate lanes, which the compiler keeps in vector registers.
    let mut lanes = [0u64; STRIDE / 4];
    for stride in strides {
        let (words, _) = stride.as_chunks::<4>();
        for (lane, word) in lanes.iter_mut().zip(words) {
            *lane += u64::from(u32::from_ne_bytes(*word));
        }
    }
    let mut total: u64 = lanes.iter().sum();
    let (words, rest) = rest.as_chunks::<4>();
    for word in words {
        total += u64::from(u32::from_ne_bytes(*word));
    }
    if !rest.is_empty() {
        let mut last = [0; 4];
        last[..rest.len()].copy_from_slice(rest);
        total += u64::from(u32::from_ne_bytes(last));
    }
    total
}

/// Folds a native-order sum to 16 bits.
#[inline]
fn fold_wide(sum: u64) -> u16 {
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    fold(sum) as u16
}

/// Folds what is at most 33 bits wide to 16 bits.
#[inline]
fn fold(sum: u64) -> u32 {
    // 33 bits leave at most 18, then 17, then 16.
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    ((sum >> 16) + (sum & 0xffff)) as u32
}

/// Joins the partial sums of two neighbouring pieces of a message: `second` was summed as if it began at an even
/// offset, but follows `first_len` octets. Also for a piece whose absolute offset is known: `combine(total, piece,
/// offset)`.
#[inline]
#[must_use]
pub fn combine(first: u32, second: u32, first_len: usize) -> u32 {
    let second = fold(u64::from(second));
    let second = if first_len % 2 == 1 { u32::from((second as u16).swap_bytes()) } else { second };
    fold(u64::from(first) + u64::from(second))
}

/// The partial sum without a part of it: `total` less `part`, which began at an even offset. For instance the
/// payload's sum from that of a whole segment and its header's.
#[inline]
#[must_use]
pub fn subtract(total: u32, part: u32) -> u32 {
    fold(u64::from(total) + u64::from(!(fold(u64::from(part)) as u16)))
}

/// The checksum field that belongs to a partial sum over everything else: the complement of the folded sum. UDP
/// sends a result of 0 as 0xffff instead (RFC 768); that is the caller's to know.
#[inline]
#[must_use]
pub fn finish(sum: u32) -> u16 {
    !(fold(u64::from(sum)) as u16)
}

/// Whether a partial sum over a message *including* its checksum field says that it arrived unharmed.
#[inline]
#[must_use]
pub fn verifies(sum: u32) -> bool {
    fold(u64::from(sum)) == 0xffff
}

/// The partial sum of the pseudo header of TCP, UDP and ICMPv6 (RFC 9293 section 3.1, RFC 8200 section 8.1), for
/// IPv4 and IPv6 alike: `addresses` is source and destination in one piece as they stand in the IP header (8 or 32
/// octets), `length` that of the transport header and its payload.
#[inline]
#[must_use]
pub fn pseudo_header(addresses: &[u8], protocol: u8, length: u32) -> u32 {
    sum(fold(u64::from(length) + u64::from(protocol)), addresses)
}

/// A checksum field after one 16-bit word under it changed from `old` to `new` (RFC 1624, equation 3).
#[inline]
#[must_use]
pub fn update(checksum: u16, old: u16, new: u16) -> u16 {
    finish(u32::from(!checksum) + u32::from(!old) + u32::from(new))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 1071, word by word.
    fn model(bytes: &[u8]) -> u32 {
        let mut sum = 0u32;
        for word in bytes.chunks(2) {
            sum += u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0));
            sum = (sum & 0xffff) + (sum >> 16);
        }
        sum
    }

    #[test]
    fn the_example_of_rfc_1071() {
        assert_eq!(sum(0, &[0, 1, 0xf2, 3, 0xf4, 0xf5, 0xf6, 0xf7]), 0xddf2);
    }

    #[test]
    fn extremes() {
        assert_eq!(sum(0, &[]), 0);
        assert_eq!(sum(0, &[0; 1000]), 0);
        assert_eq!(sum(0, &[0xff; 70_000]), 0xffff);
        assert_eq!(sum(u32::MAX, &[0xff; 64]), 0xffff);
        assert_eq!(combine(u32::MAX, u32::MAX, 1), 0xffff);
        assert_eq!(finish(0), 0xffff);
        assert!(!verifies(0));
        for len in 0..300 {
            assert_eq!(sum(0, &vec![0xff; len]), model(&vec![0xff; len]), "{len}");
        }
    }

    /// Equal as one's complement numbers, in which 0 and 0xffff are both zero.
    fn same(a: u32, b: u32) -> bool {
        a % 0xffff == b % 0xffff
    }

    proptest! {
        #[test]
        fn like_the_model(bytes in prop::collection::vec(any::<u8>(), 0..700), initial: u32, skip in 0usize..16) {
            let bytes = &bytes[skip.min(bytes.len())..];
            prop_assert_eq!(sum(0, bytes), model(bytes));
            let mut first = initial.to_be_bytes().to_vec();
            first.extend(bytes);
            prop_assert_eq!(sum(initial, bytes), model(&first));
        }

        #[test]
        fn parts_make_the_whole(bytes in prop::collection::vec(any::<u8>(), 0..700), cuts: [prop::sample::Index; 3]) {
            let mut cuts = cuts.map(|cut| cut.index(bytes.len() + 1));
            cuts.sort_unstable();
            let (mut total, mut at) = (0, 0);
            for end in cuts.into_iter().chain([bytes.len()]) {
                total = combine(total, sum(0, &bytes[at..end]), at);
                at = end;
            }
            prop_assert_eq!(total, model(&bytes));
            let even = cuts[0] & !1;
            let tail = subtract(total, sum(0, &bytes[..even]));
            prop_assert!(same(tail, model(&bytes[even..])));
        }

        #[test]
        fn a_finished_message_verifies(mut bytes in prop::collection::vec(any::<u8>(), 20..200), old in 0usize..8,
                                       new: u16) {
            bytes[18..20].fill(0);
            let field = finish(sum(0, &bytes));
            bytes[18..20].copy_from_slice(&field.to_be_bytes());
            prop_assert!(verifies(sum(0, &bytes)));
            let before = u16::from_be_bytes([bytes[old * 2], bytes[old * 2 + 1]]);
            bytes[old * 2..old * 2 + 2].copy_from_slice(&new.to_be_bytes());
            bytes[18..20].copy_from_slice(&update(field, before, new).to_be_bytes());
            prop_assert!(verifies(sum(0, &bytes)) || bytes.iter().all(|b| *b == 0));
        }

        #[test]
        fn pseudo_headers(addresses: [u8; 32], protocol: u8, length: u32) {
            let mut bytes = addresses.to_vec();
            bytes.extend(length.to_be_bytes());
            bytes.extend([0, 0, 0, protocol]);
            prop_assert_eq!(pseudo_header(&addresses, protocol, length), model(&bytes));
            let mut bytes = addresses[..8].to_vec();
            bytes.extend([0, protocol]);
            bytes.extend((length as u16).to_be_bytes());
            prop_assert_eq!(pseudo_header(&addresses[..8], protocol, length & 0xffff), model(&bytes));
        }
    }
}
