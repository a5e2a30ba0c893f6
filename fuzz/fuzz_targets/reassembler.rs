#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::packet::fragment::Reassembler;
use protocol::packet::header::{self, Datagram, MAX_PACKET};
use protocol::{Span, Time};

// A stream of datagrams: length (2, little-endian, modulo 2000), sender and age (1), bytes.
fuzz_target!(|data: &[u8]| {
    let mut reassembler = Reassembler::new(4);
    let (mut rest, mut now) = (data, Time::EPOCH);
    while let [low, high, who, after @ ..] = rest {
        let length = usize::from(u16::from_le_bytes([*low, *high]) % 2000).min(after.len());
        let (datagram, after) = after.split_at(length);
        rest = after;
        now += Span::secs(i64::from(who >> 4));
        let source = who & 3;
        let packet = match header::classify(datagram) {
            Datagram::Fragment => reassembler.insert_fragment(now, source, datagram),
            Datagram::Packet if header::is_fragmented(datagram) => {
                reassembler.insert_head(now, source, datagram)
            }
            _ => None,
        };
        if let Some(packet) = packet {
            assert!(packet.len() <= MAX_PACKET);
            reassembler.recycle(packet);
        }
        assert!(reassembler.len() <= 4);
    }
});
