//! LZ4 compression of payloads. Specification: VL1 packets, compression.
//!
//! One raw LZ4 block replaces everything after the verb byte, whose highest bit then is set.

use lz4_flex::block;

use super::header::{HEADER_LEN, MAX_PACKET, VERB, VERB_COMPRESSED};
use crate::{Malformed, Result};

/// Payloads of at most this many bytes are left alone.
const MIN_PAYLOAD: usize = 64;

/// Most bytes a payload may expand to.
const MAX_PAYLOAD: usize = MAX_PACKET - HEADER_LEN;

/// Compresses the payload of the packet that begins at offset `start` of `buffer` and reaches to its end, if that
/// makes it smaller. Before armoring. Says whether it did.
pub fn compress(buffer: &mut Vec<u8>, start: usize) -> bool {
    let Some(packet) = buffer.get(start..) else { return false };
    if packet.len() <= HEADER_LEN + MIN_PAYLOAD || packet[VERB] & VERB_COMPRESSED != 0 {
        return false;
    }
    let compressed = block::compress(&packet[HEADER_LEN..]);
    if compressed.len() >= packet.len() - HEADER_LEN {
        return false;
    }
    buffer[start + VERB] |= VERB_COMPRESSED;
    buffer.truncate(start + HEADER_LEN);
    buffer.extend_from_slice(&compressed);
    true
}

/// Expands the payload of a decrypted packet if it is compressed, and clears the flag.
///
/// # Errors
/// [`Malformed`] if the block is damaged or expands to nothing or beyond the largest packet; the packet is
/// unchanged then.
pub fn decompress(packet: &mut Vec<u8>) -> Result<()> {
    if packet.len() < HEADER_LEN {
        return Err(Malformed { what: "packet header", at: packet.len() });
    }
    if packet[VERB] & VERB_COMPRESSED == 0 {
        return Ok(());
    }
    if packet.len() > HEADER_LEN {
        let refused = Malformed { what: "compressed payload", at: HEADER_LEN };
        let mut expanded = [0; MAX_PAYLOAD];
        match block::decompress_into(&packet[HEADER_LEN..], &mut expanded) {
            Ok(length @ 1..=MAX_PAYLOAD) => {
                packet.truncate(HEADER_LEN);
                packet.extend_from_slice(&expanded[..length]);
            }
            Ok(_) | Err(_) => return Err(refused),
        }
    }
    packet[VERB] &= !VERB_COMPRESSED;
    Ok(())
}
