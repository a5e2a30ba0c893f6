//! Protecting and opening packets: every suite and every size, and every back end this processor has with full
//! packets. One core, in place.
#![allow(missing_docs, clippy::unwrap_used, reason = "criterion's macros; a benchmark may stop with a panic")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use protocol::Address;
use protocol::crypto::Backend;
use protocol::packet::{self, SessionKeys, Suite};
use protocol::verb::Verb;

const SUITES: [(&str, Suite); 3] =
    [("clear", Suite::Clear), ("salsa", Suite::Salsa), ("aes-gmac-siv", Suite::AesGmacSiv)];
/// Octets after the header: a small frame, one datagram of other nodes, a full frame at the default MTU, a jumbo frame.
const SIZES: [usize; 5] = [64, 256, 1_400, 2_810, 9_000];
/// Octets after the header for the comparison of back ends.
const FULL: usize = 2_810;

fn packet(payload: usize) -> Vec<u8> {
    let mut packet = Vec::new();
    let (a, b) = (Address::from_u64(0x11_2233_4455), Address::from_u64(0x66_7788_99aa));
    packet::start(&mut packet, 0x0123_4567_89ab_cdef, a, b, Verb::Frame);
    packet.extend((0..payload).map(|n| n as u8));
    packet
}

fn armor(criterion: &mut Criterion) {
    let keys = SessionKeys::new(&[42; 48]);
    let mut group = criterion.benchmark_group("armor");
    for (name, suite) in SUITES {
        for size in SIZES {
            let mut packet = packet(size);
            group.throughput(Throughput::Bytes(size as u64));
            group.bench_function(BenchmarkId::new(name, size), |bencher| {
                // Again and again over its own output: the cost does not depend on the content.
                bencher.iter(|| keys.armor(black_box(&mut packet), suite));
            });
        }
    }
}

fn dearmor(criterion: &mut Criterion) {
    let keys = SessionKeys::new(&[42; 48]);
    let mut group = criterion.benchmark_group("dearmor");
    for (name, suite) in SUITES {
        for size in SIZES {
            let mut armored = packet(size);
            keys.armor(&mut armored, suite);
            let mut buffer = armored.clone();
            group.throughput(Throughput::Bytes(size as u64));
            group.bench_function(BenchmarkId::new(name, size), |bencher| {
                // Includes copying the packet, as the kernel would; that is some 1 % of it.
                bencher.iter(|| {
                    buffer.copy_from_slice(&armored);
                    assert!(keys.dearmor(black_box(&mut buffer)));
                });
            });
        }
    }
}

fn backends(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("backends");
    group.throughput(Throughput::Bytes(FULL as u64));
    for (name, suite) in SUITES {
        for backend in Backend::ALL {
            // Where the processor lacks one, its fastest is measured again.
            let keys = SessionKeys::with_backend(&[42; 48], backend);
            let mut packet = packet(FULL);
            group.bench_function(BenchmarkId::new(name, format!("{backend:?}")), |bencher| {
                bencher.iter(|| keys.armor(black_box(&mut packet), suite));
            });
        }
    }
}

/// What a new peer costs: both key schedules and the powers of the hash key.
fn keys(criterion: &mut Criterion) {
    criterion
        .bench_function("session keys", |bencher| bencher.iter(|| SessionKeys::new(black_box(&[42; 48]))));
}

criterion_group!(all, armor, dearmor, backends, keys);
criterion_main!(all);
