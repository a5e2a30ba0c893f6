//! A frame's whole way through two cores: rules, packet, AES, datagrams; reassembly, AES, membership, rules, frame.
//! Everything a daemon does but the system calls.
#![allow(missing_docs, clippy::unwrap_used, reason = "criterion's macros; a benchmark may stop with a panic")]

use benches::pair::Pair;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

/// Payloads: a small one, one datagram, the default MTU in two.
const SIZES: [usize; 3] = [64, 1_370, 2_800];

fn frames(criterion: &mut Criterion) {
    let mut pair = Pair::new().unwrap();
    for (name, both_ends) in [("frame out", false), ("frame out and in", true)] {
        let mut group = criterion.benchmark_group(name);
        for size in SIZES {
            let frame = pair.frame(0, size);
            group.throughput(Throughput::Bytes(size as u64));
            group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
                bencher.iter(|| {
                    pair.send(0, &frame);
                    if both_ends {
                        assert_eq!(pair.carry(0), 1);
                    } else {
                        pair.discard(0);
                    }
                });
            });
        }
    }
}

criterion_group!(all, frames);
criterion_main!(all);
