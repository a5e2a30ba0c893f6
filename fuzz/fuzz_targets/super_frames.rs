#![no_main]

//! Super-frames: what the kernel hands over is cut, whatever its header says; frames for a port are joined, and cutting gives as
//! many frames with as much data again.

use libfuzzer_sys::fuzz_target;
use protocol::NetworkId;

#[path = "../../node/src/dataplane/coalesce.rs"]
#[allow(dead_code)]
mod coalesce;
#[path = "../../node/src/dataplane/ecn.rs"]
#[allow(dead_code)]
mod ecn;
#[path = "../../node/src/dataplane/headers.rs"]
#[allow(dead_code)]
mod headers;
#[path = "../../node/src/dataplane/congestion.rs"]
#[allow(dead_code)]
mod congestion;
#[path = "../../node/src/dataplane/segment.rs"]
#[allow(dead_code)]
mod segment;
#[path = "../../node/src/dataplane/vnet.rs"]
#[allow(dead_code)]
mod vnet;

use coalesce::FrameBatch;
use segment::{Cut, complete};
use vnet::{Gso, HEADER, Offload, Offloads};

/// A virtio-net header and a frame.
fn outbound(data: &[u8]) {
    let Some((header, frame)) = data.split_first_chunk::<HEADER>() else { return };
    let Ok(offload) = Offload::parse(header) else { return };
    if let Ok(cut) = Cut::new(&offload, frame) {
        let mut out = Vec::new();
        for index in 0..cut.count() {
            out.clear();
            cut.write(index, &mut out);
            assert_eq!(out.len(), cut.length(index));
            assert!(out.len() <= cut.longest());
        }
    }
    let mut frame = frame.to_vec();
    let _ = complete(offload.checksum, &mut frame);
    congestion::mark(&mut frame);
    if let Some(start) = congestion::drop_first(&offload, &mut frame) {
        assert!(start < frame.len());
    }
}

/// What the port takes, then frames: length (2, little-endian, modulo 2000), kind (1), bytes behind the Ethernet header.
fn inbound(data: &[u8]) {
    let Some((takes, mut rest)) = data.split_first() else { return };
    let takes = Offloads { tso: takes & 1 != 0, uso: takes & 2 != 0, checksum: takes & 4 != 0 };
    let mut batch = FrameBatch::default();
    let mut frames = 0;
    while let [low, high, kind, after @ ..] = rest {
        let length = usize::from(u16::from_le_bytes([*low, *high]) % 2000).min(after.len());
        let (payload, after) = after.split_at(length);
        rest = after;
        let ethertype = [0x0800, 0x86dd, 0x0806, 0x8100][usize::from(kind & 3)];
        batch.push_joining(NetworkId(u64::from(kind >> 7)), takes, [2; 6], [4; 6], ethertype, payload);
        frames += 1;
    }
    let mut cut_again = 0;
    for delivery in batch.deliveries() {
        cut_again += match delivery.offload.gso {
            Gso::None => 1,
            _ => Cut::new(&delivery.offload, delivery.frame).expect("what was joined can be cut").count(),
        };
    }
    assert_eq!(cut_again, frames);
}

fuzz_target!(|data: &[u8]| {
    match data.split_first() {
        Some((0, data)) => outbound(data),
        Some((_, data)) => inbound(data),
        None => {}
    }
});
