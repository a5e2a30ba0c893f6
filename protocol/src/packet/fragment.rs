//! Cutting packets into datagrams and putting them together again. Specification: VL1 packets, fragments.

use core::ops::Range;

use super::header::{
    Datagram, FRAGMENT_HEADER_LEN, MAX_FRAGMENTS, MAX_PACKET, classify, fragment_header, fragment_number,
    fragment_total, id,
};
use crate::{Span, Time};

/// Where a packet that is too long for one datagram is cut. Receivers only append, so the sender may choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Split {
    /// Every datagram but the last as large as allowed, as the reference does.
    Fill,
    /// Datagrams of equal size (the last may be a few bytes shorter), which the kernel can send and receive as one
    /// burst.
    Halves,
}

/// The longest packet a receiver accepts when datagrams carry `mtu` bytes.
#[must_use]
pub const fn max_packet(mtu: usize) -> usize {
    let longest = mtu + (MAX_FRAGMENTS - 1) * mtu.saturating_sub(FRAGMENT_HEADER_LEN);
    if longest < MAX_PACKET { longest } else { MAX_PACKET }
}

/// How a packet of `len` bytes is divided over datagrams of at most `mtu` bytes: the first range is the head, which
/// goes out as it is, the others are the data of fragments. One range if the packet fits. An `mtu` below 17 counts as
/// 17, for a fragment must carry something.
pub fn pieces(len: usize, mtu: usize, split: Split) -> impl ExactSizeIterator<Item = Range<usize>> + Clone {
    let mtu = mtu.max(FRAGMENT_HEADER_LEN + 1);
    let count = 1 + len.saturating_sub(mtu).div_ceil(mtu - FRAGMENT_HEADER_LEN);
    let size = match split {
        Split::Fill => mtu,
        Split::Halves => (len + FRAGMENT_HEADER_LEN * (count - 1)).div_ceil(count),
    };
    let step = size.saturating_sub(FRAGMENT_HEADER_LEN);
    // Piece `n` ends where n + 1 whole datagrams and n headers less have room.
    let end = move |n: usize| (size + n * step).min(len);
    (0..count).map(move |n| if n == 0 { 0..end(0) } else { end(n - 1)..end(n) })
}

/// Hands the datagrams of an armored packet to `emit`, the head first: the fragment header (empty for the head) and
/// the data. If there is more than one, the fragmented flag must have been set before armoring.
///
/// Returns how many there were; zero, and nothing is emitted, if no receiver would take so many (see
/// [`max_packet`]).
pub fn datagrams(packet: &[u8], mtu: usize, split: Split, mut emit: impl FnMut(&[u8], &[u8])) -> usize {
    let pieces = pieces(packet.len(), mtu, split);
    let total = pieces.len();
    if total > MAX_FRAGMENTS {
        return 0;
    }
    for (number, range) in pieces.enumerate() {
        if number == 0 {
            emit(&[], &packet[range]);
        } else {
            emit(&fragment_header(packet, number as u8, total as u8), &packet[range]);
        }
    }
    total
}

/// Does what [`datagrams`] does where the packet lies: it reaches from offset `start` to the end of `buffer`, which
/// grows by the headers of the fragments. Hands the place of each datagram to `emit`, the head first; they lie end to
/// end.
///
/// Returns how many there were; zero, and the packet is taken off the buffer, if no receiver would take so many.
pub fn cut_in_place(
    buffer: &mut Vec<u8>,
    start: usize,
    mtu: usize,
    split: Split,
    mut emit: impl FnMut(Range<usize>),
) -> usize {
    let length = buffer.len().saturating_sub(start);
    if length <= mtu {
        emit(start..buffer.len());
        return 1;
    }
    let pieces = pieces(length, mtu, split);
    let total = pieces.len();
    if total > MAX_FRAGMENTS {
        buffer.truncate(start);
        return 0;
    }
    let mut places = [(0, 0); MAX_FRAGMENTS];
    for (number, (place, piece)) in places.iter_mut().zip(pieces).enumerate() {
        *place = (start + piece.start + number * FRAGMENT_HEADER_LEN, piece.len());
    }
    buffer.resize(buffer.len() + (total - 1) * FRAGMENT_HEADER_LEN, 0);
    // The last first, so that nothing is overwritten before it has moved. Datagrams lie end to end, so the place of
    // each begins with its header.
    for (number, (at, len)) in places.into_iter().enumerate().take(total).skip(1).rev() {
        let from = at - number * FRAGMENT_HEADER_LEN;
        buffer.copy_within(from..from + len, at);
        let header = fragment_header(&buffer[start..], number as u8, total as u8);
        buffer[at - FRAGMENT_HEADER_LEN..at].copy_from_slice(&header);
    }
    for (number, (at, len)) in places.into_iter().enumerate().take(total) {
        let header = if number == 0 { 0 } else { FRAGMENT_HEADER_LEN };
        emit(at - header..at + len);
    }
    total
}

/// Joins a fragmented packet where it lies: `burst` holds datagrams of `size` bytes end to end (the last may be
/// shorter), of which the first is the head of a packet. If the others of that packet follow it in order, their data
/// is moved together; returns the length of the packet, which begins where `burst` does, and how many bytes of the
/// burst it took. `None`, and nothing is changed, if they do not.
pub fn join_in_place(burst: &mut [u8], size: usize) -> Option<(usize, usize)> {
    if size <= FRAGMENT_HEADER_LEN || burst.len() <= size || classify(&burst[..size]) != Datagram::Packet {
        return None;
    }
    let datagram = |number: usize| number * size..burst.len().min((number + 1) * size);
    let total = match burst.get(datagram(1)) {
        Some(second) if second.len() > FRAGMENT_HEADER_LEN => usize::from(fragment_total(second)),
        _ => return None,
    };
    if !(2..=MAX_FRAGMENTS).contains(&total) {
        return None;
    }
    let mut len = size;
    for number in 1..total {
        let part = burst.get(datagram(number))?;
        let belongs = classify(part) == Datagram::Fragment
            && part[..13] == burst[..13]
            && usize::from(fragment_number(part)) == number
            && usize::from(fragment_total(part)) == total;
        if !belongs {
            return None;
        }
        len += part.len() - FRAGMENT_HEADER_LEN;
    }
    if len > MAX_PACKET {
        return None;
    }
    let mut end = size;
    for number in 1..total {
        let part = number * size + FRAGMENT_HEADER_LEN..burst.len().min((number + 1) * size);
        let moved = part.len();
        burst.copy_within(part, end);
        end += moved;
    }
    Some((len, burst.len().min(total * size)))
}

/// How long an incomplete packet is waited for.
const MAX_AGE: Span = Span::secs(5);

/// A piece that arrived before the ones in front of it.
struct Early {
    number: u8,
    data: Vec<u8>,
}

/// One packet being put together.
struct Slot<K> {
    source: K,
    since: Time,
    /// Pieces in the packet; 0 until a fragment told.
    total: u8,
    /// Number of the first piece not yet in `packet`.
    next: u8,
    /// All pieces before `next`, joined.
    packet: Vec<u8>,
    /// Pieces beyond `next`.
    early: Vec<Early>,
    /// Bytes held in `packet` and `early`.
    held: usize,
    /// Marks of the datagrams so far, joined.
    mark: u8,
}

/// Puts fragmented packets together, in any order of arrival.
///
/// A packet is known by its ID and by `K`, the physical source of its datagrams, so that a third party cannot
/// interfere. Bounded: at most `capacity` packets are under way, the oldest making room; one is given up after five
/// seconds, and when its pieces add up to more than the largest packet. Buffers given back with
/// [`Reassembler::recycle`] are used again.
pub struct Reassembler<K> {
    /// Packet IDs of the slots, apart from them so that the search runs over contiguous memory. An entry is
    /// meaningful only where the slot is occupied.
    ids: Vec<u64>,
    slots: Vec<Option<Slot<K>>>,
    /// The slot that is claimed next.
    hand: usize,
    /// Slots that are occupied.
    occupied: usize,
    spare: Vec<Vec<u8>>,
    mark: u8,
    join_marks: fn(u8, u8) -> u8,
}

impl<K: Eq + Copy> Reassembler<K> {
    /// Room for `capacity` packets under way, at least one. The reference has room for 32.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let capacity = capacity.max(1);
        Self {
            ids: vec![0; capacity],
            slots: core::iter::repeat_with(|| None).take(capacity).collect(),
            hand: 0,
            occupied: 0,
            spare: Vec::new(),
            mark: 0,
            join_marks: u8::max,
        }
    }

    /// How the marks of a packet's datagrams become that of the packet, see [`Reassembler::set_mark`]. The larger one, if
    /// nothing is said.
    #[must_use]
    pub fn joining_marks(self, join: fn(u8, u8) -> u8) -> Self {
        Self { join_marks: join, ..self }
    }

    /// What is to be remembered of the datagrams taken from now on, such as the ECN bits they came with.
    pub fn set_mark(&mut self, mark: u8) {
        self.mark = mark;
    }

    /// The mark of the packet returned last, if that was the latest call that took a datagram; else the mark set last.
    #[must_use]
    pub fn mark(&self) -> u8 {
        self.mark
    }

    /// How many packets are under way (expired ones included until their slot is used again).
    #[must_use]
    pub fn len(&self) -> usize {
        self.occupied
    }

    /// Whether no packet is under way.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.occupied == 0
    }

    /// Takes the head of a fragmented packet (a whole datagram with the fragmented flag set) and returns the packet
    /// if it is complete now.
    ///
    /// # Panics
    /// If `head` has fewer than 8 bytes.
    pub fn insert_head(&mut self, now: Time, source: K, head: &[u8]) -> Option<Vec<u8>> {
        let at = self.slot(now, source, id(head))?;
        self.insert(at, 0, 0, head)
    }

    /// Takes a fragment (a whole datagram) and returns the packet if it is complete now. Refuses what cannot belong
    /// to a packet: a total outside 2 to 7, or a number that is zero or not below it. If fragments disagree about the
    /// total, the latest one is believed.
    ///
    /// # Panics
    /// If `datagram` has fewer than 16 bytes.
    pub fn insert_fragment(&mut self, now: Time, source: K, datagram: &[u8]) -> Option<Vec<u8>> {
        let (total, number) = (fragment_total(datagram), fragment_number(datagram));
        if !(2..=MAX_FRAGMENTS as u8).contains(&total) || number == 0 || number >= total {
            return None;
        }
        let at = self.slot(now, source, id(datagram))?;
        self.insert(at, number, total, &datagram[FRAGMENT_HEADER_LEN..])
    }

    /// Gives back the buffer of a packet that has been dealt with.
    pub fn recycle(&mut self, mut buffer: Vec<u8>) {
        if self.spare.len() < self.slots.len() && buffer.capacity() <= 2 * MAX_PACKET {
            buffer.clear();
            self.spare.push(buffer);
        }
    }

    /// Index of the slot of this packet; claims one if there is none.
    fn slot(&mut self, now: Time, source: K, id: u64) -> Option<usize> {
        let occupant = |at: &usize| self.slots[*at].as_ref().is_some_and(|slot| slot.source == source);
        // Mostly it is the packet that was begun last.
        let latest = (self.hand + self.ids.len() - 1) % self.ids.len();
        let found = if self.ids[latest] == id && occupant(&latest) {
            Some(latest)
        } else if self.occupied == 0 {
            // Nothing got lost lately, which is the rule: nothing to search.
            None
        } else {
            let known = self.ids.iter().enumerate().filter(|(_, known)| **known == id);
            known.map(|(at, _)| at).find(occupant)
        };
        if let Some(at) = found {
            if self.slots[at].as_ref().is_some_and(|slot| now - slot.since <= MAX_AGE) {
                return Some(at);
            }
            self.free(at);
        }
        let at = self.hand;
        self.hand = (at + 1) % self.slots.len();
        self.free(at);
        let packet = self.spare.pop().unwrap_or_default();
        self.ids[at] = id;
        self.occupied += 1;
        self.slots[at] = Some(Slot {
            source,
            since: now,
            total: 0,
            next: 0,
            packet,
            early: Vec::new(),
            held: 0,
            mark: self.mark,
        });
        Some(at)
    }

    /// Empties a slot and keeps its buffers.
    fn free(&mut self, at: usize) {
        if let Some(slot) = self.slots[at].take() {
            self.occupied -= 1;
            for early in slot.early {
                self.recycle(early.data);
            }
            self.recycle(slot.packet);
        }
    }

    /// Adds a piece to a slot; returns the packet if that completes it. A `total` of 0 is not known.
    fn insert(&mut self, at: usize, number: u8, total: u8, data: &[u8]) -> Option<Vec<u8>> {
        let slot = self.slots[at].as_mut()?;
        let known = number < slot.next || slot.early.iter().any(|early| early.number == number);
        if known {
            return None;
        }
        if total != 0 {
            slot.total = total;
        }
        slot.mark = (self.join_marks)(slot.mark, self.mark);
        slot.held += data.len();
        if slot.held > MAX_PACKET {
            self.free(at);
            return None;
        }
        if number != slot.next {
            let mut buffer = self.spare.pop().unwrap_or_default();
            buffer.extend_from_slice(data);
            slot.early.push(Early { number, data: buffer });
            return None;
        }
        slot.packet.extend_from_slice(data);
        slot.next += 1;
        while let Some(found) = slot.early.iter().position(|early| early.number == slot.next) {
            let mut early = slot.early.swap_remove(found);
            slot.packet.extend_from_slice(&early.data);
            slot.next += 1;
            if self.spare.len() < self.ids.len() {
                early.data.clear();
                self.spare.push(early.data);
            }
        }
        if slot.next != slot.total {
            return None;
        }
        let packet = core::mem::take(&mut slot.packet);
        self.mark = slot.mark;
        self.slots[at] = None;
        self.occupied -= 1;
        Some(packet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Address;
    use crate::packet::header;
    use crate::verb::Verb;

    fn packet(len: usize) -> Vec<u8> {
        let mut packet = Vec::new();
        let address = Address::from_u64(0x12_3456_7890);
        header::start(&mut packet, 77, address, address, Verb::Echo);
        header::set_fragmented(&mut packet, true);
        packet.extend((packet.len()..len).map(|i| i as u8));
        packet
    }

    fn cut(packet: &[u8], mtu: usize, split: Split) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        datagrams(packet, mtu, split, |header, data| all.push([header, data].concat()));
        all
    }

    #[test]
    fn a_frame_of_2800_bytes_takes_two_equal_datagrams() {
        let sizes = |split| cut(&packet(2838), 1432, split).iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(sizes(Split::Halves), [1427, 1427]);
        assert_eq!(sizes(Split::Fill), [1432, 1422]);
    }

    #[test]
    fn nothing_is_sent_that_no_receiver_takes() {
        assert_eq!(max_packet(1432), 9928);
        assert_eq!(max_packet(1400), 9704);
        assert_eq!(cut(&packet(9928), 1432, Split::Fill).len(), 7);
        assert_eq!(cut(&packet(9928), 1432, Split::Halves).len(), 7);
        assert_eq!(cut(&packet(9929), 1432, Split::Fill).len(), 0);
    }

    #[test]
    fn in_place_is_what_it_is_elsewhere() {
        for len in [40, 1_432, 1_433, 2_838, 2_851, 5_000, 9_928, 9_929] {
            let whole = packet(len);
            for split in [Split::Fill, Split::Halves] {
                let apart = cut(&whole, 1432, split);
                let mut buffer = [&b"before"[..], &whole].concat();
                let mut places = Vec::new();
                let count = cut_in_place(&mut buffer, 6, 1432, split, |place| places.push(place));
                assert_eq!((count, &buffer[..6]), (apart.len(), &b"before"[..]));
                let got: Vec<&[u8]> = places.iter().map(|place| &buffer[place.clone()]).collect();
                assert_eq!(got, apart);
                assert_eq!(buffer.len(), 6 + apart.iter().map(Vec::len).sum::<usize>());
                if apart.len() > 1 {
                    let mut burst = [&apart.concat(), &b"more"[..]].concat();
                    let size = apart[0].len();
                    // Something may follow only where the last one is as long as the others.
                    let end =
                        if apart.iter().all(|a| a.len() == size) { burst.len() } else { burst.len() - 4 };
                    let (joined, used) = join_in_place(&mut burst[..end], size).unwrap();
                    assert_eq!((&burst[..joined], used), (&whole[..], apart.concat().len()));
                }
            }
        }
    }

    #[test]
    fn only_the_parts_of_one_packet_in_order_are_joined() {
        let apart = cut(&packet(3_000), 1_100, Split::Halves);
        assert_eq!(apart.len(), 3);
        let size = apart[0].len();
        for order in [&[0, 2, 1][..], &[0, 1, 1], &[0, 1], &[1, 2, 0], &[0, 0, 1, 2], &[0]] {
            let mut burst: Vec<u8> = order.iter().flat_map(|n| apart[*n].clone()).collect();
            let before = burst.clone();
            assert_eq!(join_in_place(&mut burst, size), None, "{order:?}");
            assert_eq!(burst, before);
        }
        for (at, what) in [(0, "ID"), (9, "destination")] {
            let mut burst = apart.concat();
            burst[size + at] ^= 1;
            assert_eq!(join_in_place(&mut burst, size), None, "{what}");
        }
    }

    #[test]
    fn a_stranger_cannot_add_pieces() {
        let whole = packet(2000);
        let datagrams = cut(&whole, 1400, Split::Fill);
        let mut reassembler = Reassembler::new(4);
        assert_eq!(reassembler.insert_head(Time::EPOCH, 'a', &datagrams[0]), None);
        assert_eq!(reassembler.insert_fragment(Time::EPOCH, 'b', &datagrams[1]), None);
        assert_eq!(reassembler.insert_fragment(Time::EPOCH, 'a', &datagrams[1]), Some(whole));
    }

    #[test]
    fn marks_are_joined_packet_by_packet() {
        let (one, other) = (cut(&packet(4000), 1400, Split::Fill), cut(&packet(2000), 1400, Split::Fill));
        let mut reassembler = Reassembler::new(4).joining_marks(|a, b| if a == 3 || b == 3 { 3 } else { a });
        for marks in [[2, 3, 2], [3, 2, 2], [2, 2, 3], [2, 2, 2]] {
            reassembler.set_mark(marks[0]);
            assert_eq!(reassembler.insert_head(Time::EPOCH, 'a', &one[0]), None);
            reassembler.set_mark(1);
            assert_eq!(reassembler.insert_head(Time::EPOCH, 'b', &other[0]), None);
            reassembler.set_mark(marks[1]);
            assert_eq!(reassembler.insert_fragment(Time::EPOCH, 'a', &one[2]), None);
            reassembler.set_mark(marks[2]);
            assert!(reassembler.insert_fragment(Time::EPOCH, 'a', &one[1]).is_some());
            assert_eq!(reassembler.mark(), if marks == [2; 3] { 2 } else { 3 });
            reassembler.set_mark(1);
            assert!(reassembler.insert_fragment(Time::EPOCH, 'b', &other[1]).is_some());
            assert_eq!(reassembler.mark(), 1);
        }
    }

    #[test]
    fn incomplete_packets_expire_and_make_room() {
        let datagrams = cut(&packet(2000), 1400, Split::Fill);
        let mut reassembler = Reassembler::new(2);
        assert_eq!(reassembler.insert_head(Time::EPOCH, 0, &datagrams[0]), None);
        assert_eq!(reassembler.insert_fragment(Time::from_ms(5_001), 0, &datagrams[1]), None);
        let mut reassembler = Reassembler::new(2);
        for source in 0..3 {
            assert_eq!(reassembler.insert_head(Time::EPOCH, source, &datagrams[0]), None);
        }
        assert_eq!(reassembler.len(), 2);
        assert_eq!(
            reassembler.insert_fragment(Time::EPOCH, 0, &datagrams[1]),
            None,
            "pushed out by the third"
        );
        assert!(reassembler.insert_fragment(Time::EPOCH, 2, &datagrams[1]).is_some());
    }

    #[test]
    fn buffers_come_back() {
        let datagrams = cut(&packet(4000), 1400, Split::Halves);
        let mut reassembler = Reassembler::new(2);
        let mut seen = 0;
        for _ in 0..10 {
            for order in [[2, 0, 1], [0, 1, 2]] {
                for (n, at) in order.into_iter().enumerate() {
                    let datagram = &datagrams[at];
                    let done = match at {
                        0 => reassembler.insert_head(Time::EPOCH, (), datagram),
                        _ => reassembler.insert_fragment(Time::EPOCH, (), datagram),
                    };
                    assert_eq!(done.is_some(), n == 2);
                    if let Some(whole) = done {
                        assert_eq!(whole, packet(4000));
                        reassembler.recycle(whole);
                        seen += 1;
                    }
                }
            }
        }
        assert_eq!(seen, 20);
        assert!(reassembler.spare.len() <= 2, "{}", reassembler.spare.len());
        assert!(reassembler.is_empty());
    }
}
