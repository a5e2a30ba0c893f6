//! The 28 bytes in front of every packet and the 16 bytes in front of every further fragment. Specification: VL1
//! packets, header.
//!
//! | Offset | Size | Packet | Fragment |
//! |---|---|---|---|
//! | 0 | 8 | packet ID | packet ID |
//! | 8 | 5 | destination | destination |
//! | 13 | 5 | source | `ff`, total and number (a nibble each), hops |
//! | 18 | 1 | flags, suite, hops | data |
//! | 19 | 8 | MAC | |
//! | 27 | 1 | verb | |
//!
//! The functions here work on raw bytes, so that a relay or a lookup costs no parsing. They panic on buffers shorter
//! than the header in question: call [`classify`] first.

use crate::Address;
use crate::verb::Verb;

/// Bytes of a packet header, verb included.
pub const HEADER_LEN: usize = 28;
/// Bytes of a fragment header.
pub const FRAGMENT_HEADER_LEN: usize = 16;
/// Most bytes of a packet, assembled and decompressed.
pub const MAX_PACKET: usize = 10_024;
/// Most pieces of a packet, the head included.
pub const MAX_FRAGMENTS: usize = 7;
/// Bytes of UDP payload sent unless configured otherwise.
pub const DEFAULT_MTU: usize = 1432;
/// Smallest configurable datagram size.
pub const MIN_MTU: usize = 1400;
/// Largest configurable datagram size.
pub const MAX_MTU: usize = 10_324;
/// Hop count at which relays stop forwarding.
pub const MAX_HOPS: u8 = 3;

/// Bytes of a LAN beacon.
pub const BEACON_LEN: usize = 13;

/// Offset of the flags byte.
pub const FLAGS: usize = 18;
/// Offset of the MAC, or of the trusted path ID.
pub const MAC: usize = 19;
/// Offset of the verb byte.
pub const VERB: usize = 27;

/// Flag: fragments follow.
pub const FLAG_FRAGMENTED: u8 = 0x40;
/// Flag: set exactly in suite 1.
pub const FLAG_ENCRYPTED: u8 = 0x80;
/// Bits of the flags byte that count hops.
pub const HOPS_MASK: u8 = 0x07;
/// Bit of the verb byte: the payload is compressed.
pub const VERB_COMPRESSED: u8 = 0x80;
/// Bits of the verb byte that number the verb.
pub const VERB_MASK: u8 = 0x1f;

/// What stands in a fragment where a packet has the first byte of its source.
const FRAGMENT_MARK: u8 = 0xff;

/// What a received datagram is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Datagram {
    /// A LAN beacon: eight arbitrary bytes and an address.
    Beacon,
    /// Nothing; NAT-opening datagrams end here.
    Junk,
    /// A fragment other than the head.
    Fragment,
    /// A packet, or the head of a fragmented one.
    Packet,
}

/// Sorts a datagram by its length and the mark of fragments.
#[inline]
#[must_use]
pub fn classify(datagram: &[u8]) -> Datagram {
    match datagram.len() {
        BEACON_LEN => Datagram::Beacon,
        0..=FRAGMENT_HEADER_LEN => Datagram::Junk,
        _ if datagram[13] == FRAGMENT_MARK => Datagram::Fragment,
        HEADER_LEN.. => Datagram::Packet,
        _ => Datagram::Junk,
    }
}

#[inline]
fn address_at(bytes: &[u8], at: usize) -> Address {
    let b = &bytes[at..at + 5];
    Address::from_bytes([b[0], b[1], b[2], b[3], b[4]])
}

/// The packet ID of a packet or fragment.
///
/// # Panics
/// If there are fewer than 8 bytes.
#[inline]
#[must_use]
pub fn id(datagram: &[u8]) -> u64 {
    let b = &datagram[..8];
    u64::from_be_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]])
}

/// The destination of a packet or fragment.
///
/// # Panics
/// If there are fewer than 13 bytes.
#[inline]
#[must_use]
pub fn dest(datagram: &[u8]) -> Address {
    address_at(datagram, 8)
}

/// The source of a packet.
///
/// # Panics
/// If there are fewer than 18 bytes.
#[inline]
#[must_use]
pub fn source(packet: &[u8]) -> Address {
    address_at(packet, 13)
}

/// How often a packet has been relayed.
///
/// # Panics
/// If there are fewer than 19 bytes.
#[inline]
#[must_use]
pub fn hops(packet: &[u8]) -> u8 {
    packet[FLAGS] & HOPS_MASK
}

/// The number of the cipher suite, 0 to 7.
///
/// # Panics
/// If there are fewer than 19 bytes.
#[inline]
#[must_use]
pub fn suite(packet: &[u8]) -> u8 {
    packet[FLAGS] >> 3 & 7
}

/// Whether fragments of this packet follow.
///
/// # Panics
/// If there are fewer than 19 bytes.
#[inline]
#[must_use]
pub fn is_fragmented(packet: &[u8]) -> bool {
    packet[FLAGS] & FLAG_FRAGMENTED != 0
}

/// Sets or clears the fragmented flag. It is authenticated, so this must happen before armoring.
///
/// # Panics
/// If there are fewer than 19 bytes.
#[inline]
pub fn set_fragmented(packet: &mut [u8], fragmented: bool) {
    packet[FLAGS] = packet[FLAGS] & !FLAG_FRAGMENTED | if fragmented { FLAG_FRAGMENTED } else { 0 };
}

/// The verb byte with its compression flag; of a protected packet it is ciphertext.
///
/// # Panics
/// If there are fewer than 28 bytes.
#[inline]
#[must_use]
pub fn verb_byte(packet: &[u8]) -> u8 {
    packet[VERB]
}

/// The verb, or `None` if its number is unassigned.
///
/// # Panics
/// If there are fewer than 28 bytes.
#[inline]
#[must_use]
pub fn verb(packet: &[u8]) -> Option<Verb> {
    Verb::from_byte(packet[VERB] & VERB_MASK)
}

/// Counts one more hop, modulo 8.
///
/// # Panics
/// If there are fewer than 19 bytes.
#[inline]
pub fn increment_hops(packet: &mut [u8]) {
    packet[FLAGS] = packet[FLAGS] & !HOPS_MASK | packet[FLAGS].wrapping_add(1) & HOPS_MASK;
}

/// How many pieces the packet of this fragment has, the head included: 0 to 15, not checked.
///
/// # Panics
/// If there are fewer than 15 bytes.
#[inline]
#[must_use]
pub fn fragment_total(fragment: &[u8]) -> u8 {
    fragment[14] >> 4
}

/// Which piece this fragment is: 0 to 15, not checked; the head is piece 0.
///
/// # Panics
/// If there are fewer than 15 bytes.
#[inline]
#[must_use]
pub fn fragment_number(fragment: &[u8]) -> u8 {
    fragment[14] & 0x0f
}

/// How often a fragment has been relayed.
///
/// # Panics
/// If there are fewer than 16 bytes.
#[inline]
#[must_use]
pub fn fragment_hops(fragment: &[u8]) -> u8 {
    fragment[15] & HOPS_MASK
}

/// Counts one more hop of a fragment, modulo 8, and clears the unused bits.
///
/// # Panics
/// If there are fewer than 16 bytes.
#[inline]
pub fn increment_fragment_hops(fragment: &mut [u8]) {
    fragment[15] = fragment[15].wrapping_add(1) & HOPS_MASK;
}

/// The header of fragment `number` of `total` of an armored packet.
///
/// # Panics
/// If the packet has fewer than 13 bytes.
#[inline]
#[must_use]
pub fn fragment_header(packet: &[u8], number: u8, total: u8) -> [u8; FRAGMENT_HEADER_LEN] {
    let mut header = [0; FRAGMENT_HEADER_LEN];
    header[..13].copy_from_slice(&packet[..13]);
    header[13] = FRAGMENT_MARK;
    header[14] = total << 4 | number & 0x0f;
    header
}

/// Appends the header of a new packet: no flags, no hops, MAC still zero. The payload follows directly.
#[inline]
pub fn start(to: &mut Vec<u8>, id: u64, dest: Address, source: Address, verb: Verb) {
    to.extend_from_slice(&header(id, dest, source, verb));
}

/// The header of a new packet: no flags, no hops, MAC still zero.
#[inline]
pub fn header(id: u64, dest: Address, source: Address, verb: Verb) -> [u8; HEADER_LEN] {
    let mut header = [0; HEADER_LEN];
    header[..8].copy_from_slice(&id.to_be_bytes());
    header[8..13].copy_from_slice(&dest.to_bytes());
    header[13..18].copy_from_slice(&source.to_bytes());
    header[VERB] = verb as u8;
    header
}
