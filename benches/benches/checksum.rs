//! The internet checksum over a small packet, one datagram, one frame and a super-frame.
#![allow(missing_docs, clippy::unwrap_used, reason = "criterion's macros; a benchmark may stop with a panic")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use protocol::checksum;

fn sum(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("checksum");
    for size in [20, 64, 1_400, 2_800, 65_535] {
        let bytes = vec![0xa5; size];
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::new("sum", size), |bencher| {
            bencher.iter(|| checksum::sum(0, black_box(&bytes)));
        });
    }
}

criterion_group!(all, sum);
criterion_main!(all);
