//! Super-frames: cutting one into segments, and joining what arrives into one, TCP and UDP. No cipher, no datagrams.
#![allow(missing_docs, clippy::unwrap_used, reason = "criterion's macros; a benchmark may stop with a panic")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use node::dataplane::FrameBatch;
use node::dataplane::segment::Cut;
use node::dataplane::vnet::{Checksum, Gso, Offload, Offloads};
use protocol::NetworkId;

const ETHERNET: usize = 14;
const IPV4: usize = 20;
/// IP packets of segments: below one datagram of ours, and two of them; for UDP a small one too.
const TCP_SIZES: [usize; 2] = [1_394, 2_800];
const UDP_SIZES: [usize; 2] = [64 + 28, 1_394];
/// What a super-frame may carry.
const LARGEST: usize = 65_000;
/// Segments of a UDP super-frame at most.
const DATAGRAMS: usize = 64;

/// A frame that is still to be cut into packets of `size` octets, and what the kernel says of it.
fn super_frame(tcp: bool, size: usize) -> (Offload, Vec<u8>) {
    let transport = if tcp { 32 } else { 8 };
    let payload = size - IPV4 - transport;
    let segments = (LARGEST / payload).min(if tcp { usize::MAX } else { DATAGRAMS });
    let mut frame = vec![0; ETHERNET];
    frame[..12].copy_from_slice(&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2]);
    frame[12..].copy_from_slice(&0x0800u16.to_be_bytes());
    let length = (IPV4 + transport + segments * payload) as u16;
    frame.extend([0x45, 0]);
    frame.extend(length.to_be_bytes());
    frame.extend([0, 1, 0x40, 0, 64, if tcp { 6 } else { 17 }, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    frame.extend([0xc3, 0x50, 0x14, 0x51]);
    if tcp {
        // Sequence, acknowledgement, 32 octets of header, ACK, window, checksum, and the timestamp option.
        frame.extend([0, 0, 1, 0, 0, 0, 2, 0, 0x80, 0x10, 1, 0, 0, 0, 0, 0]);
        frame.extend([1, 1, 8, 10, 0, 0, 0, 3, 0, 0, 0, 4]);
    } else {
        frame.extend(((transport + segments * payload) as u16).to_be_bytes());
        frame.extend([0, 0]);
    }
    frame.extend((0..segments * payload).map(|n| n as u8));
    let start = (ETHERNET + IPV4) as u16;
    let gso = payload as u16;
    let offload = Offload {
        // Whatever the frame's own checksum is: each segment gets its own.
        checksum: Checksum::Whole,
        gso: if tcp { Gso::Tcp4 { size: gso, ecn: false } } else { Gso::Udp { size: gso } },
        header_len: start + transport as u16,
    };
    (offload, frame)
}

fn kinds() -> impl Iterator<Item = (String, bool, usize)> {
    let tcp = TCP_SIZES.map(|size| (format!("TCP {size}"), true, size));
    let udp = UDP_SIZES.map(|size| (format!("UDP {size}"), false, size));
    tcp.into_iter().chain(udp)
}

/// The headers of every segment written, its checksum summed while the octets are copied.
fn cut(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("cut super-frame");
    for (name, tcp, size) in kinds() {
        let (offload, frame) = super_frame(tcp, size);
        let mut buffer = Vec::with_capacity(2 * frame.len());
        group.throughput(Throughput::Bytes(frame.len() as u64));
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter(|| {
                buffer.clear();
                let cut = Cut::new(&offload, black_box(&frame)).unwrap();
                for index in 0..cut.count() {
                    cut.write(index, &mut buffer);
                }
                black_box(buffer.len())
            });
        });
    }
}

/// Every checksum verified, and the segments of one flow joined again.
fn join(criterion: &mut Criterion) {
    let network: NetworkId = "0000000000000001".parse().unwrap();
    let takes = Offloads { tso: true, uso: true, checksum: true };
    let mut group = criterion.benchmark_group("join super-frame");
    for (name, tcp, size) in kinds() {
        let (offload, frame) = super_frame(tcp, size);
        let cut = Cut::new(&offload, &frame).unwrap();
        let segments: Vec<Vec<u8>> = (0..cut.count())
            .map(|index| {
                let mut packet = Vec::new();
                cut.write(index, &mut packet);
                packet
            })
            .collect();
        let mut batch = FrameBatch::default();
        let (dest, source) = ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
        group.throughput(Throughput::Bytes(frame.len() as u64));
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter(|| {
                for packet in &segments {
                    batch.push_joining(network, takes, dest, source, 0x0800, black_box(packet));
                }
                let joined = batch.deliveries().count();
                batch.clear();
                assert!(joined <= 2, "{joined} frames");
            });
        });
    }
}

criterion_group!(all, cut, join);
criterion_main!(all);
