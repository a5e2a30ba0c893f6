//! Cutting packets into datagrams and putting them together again.
#![allow(missing_docs, clippy::unwrap_used, reason = "criterion's macros; a benchmark may stop with a panic")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use protocol::packet::{self, DEFAULT_MTU, Reassembler, Split};
use protocol::verb::Verb;
use protocol::{Address, Time};

/// Packets in two, four and seven datagrams.
const SIZES: [usize; 3] = [2_838, 5_600, 9_900];

fn packet(length: usize) -> Vec<u8> {
    let mut packet = Vec::new();
    let (a, b) = (Address::from_u64(0x11_2233_4455), Address::from_u64(0x66_7788_99aa));
    packet::start(&mut packet, 1, a, b, Verb::Frame);
    packet.extend((packet.len()..length).map(|n| n as u8));
    packet::set_fragmented(&mut packet, true);
    packet
}

fn cut(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("cut");
    for size in SIZES {
        let packet = packet(size);
        let mut buffer = Vec::with_capacity(2 * size);
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter(|| {
                buffer.clear();
                packet::datagrams(black_box(&packet), DEFAULT_MTU, Split::Halves, |head, data| {
                    buffer.extend_from_slice(head);
                    buffer.extend_from_slice(data);
                })
            });
        });
    }
}

fn join(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("join");
    for size in SIZES {
        let packet = packet(size);
        let mut datagrams = Vec::new();
        packet::datagrams(&packet, DEFAULT_MTU, Split::Halves, |head, data| {
            datagrams.push([head, data].concat());
        });
        let mut reassembler = Reassembler::new(32);
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter(|| {
                let mut whole = reassembler.insert_head(Time::EPOCH, (), &datagrams[0]);
                for datagram in &datagrams[1..] {
                    whole = reassembler.insert_fragment(Time::EPOCH, (), black_box(datagram));
                }
                let whole = whole.expect("the last fragment completes the packet");
                assert_eq!(whole.len(), size);
                reassembler.recycle(whole);
            });
        });
    }
}

criterion_group!(all, cut, join);
criterion_main!(all);
