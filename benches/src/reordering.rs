//! Whether packets of one flow overtake each other in ztnode.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::Seat;
use serde_json::json;

use crate::arguments::Underlay;
use crate::instruments::burst::{self, Burst};
use crate::instruments::iperf::{self, Direction};
use crate::instruments::usage;
use crate::machine;
use crate::progress::Progress;
use crate::report;
use crate::system::System;

/// What is sent: UDP payload, whether by segmentation offload, and its share of all. Sizes are one small and one large
/// datagram below us, and two.
const SHAPES: [(usize, bool, f64); 6] = [
    (64, true, 0.5),
    (64, false, 0.2),
    (1400, true, 0.1),
    (1400, false, 0.1),
    (2000, true, 0.05),
    (2000, false, 0.05),
];
/// Flows at the same time.
const FLOWS: u8 = 4;
/// So many at a time, to say how it goes.
const PORTION: u64 = 2_000_000;
/// What should arrive a second, to tell how long it takes.
const PACE: f64 = 300_000.0;
/// How long TCP is watched.
const STREAM: Duration = Duration::from_secs(5);

/// Sends until `packets` datagrams have arrived in all and counts those that came late; and what TCP noticed.
pub(crate) fn run(packets: u64, path: &Path) -> Result<()> {
    let machine = machine::describe();
    let system = System::nodes([Seat::Ours; 2])?;
    let sender = system.sides[0].pid.context("no daemon")?;
    let estimate = |packets: u64| Duration::from_secs_f64(packets as f64 / PACE);
    let mut progress = Progress::new(estimate(packets) + 4 * STREAM);
    let (mut runs, mut all, mut all_late) = (Vec::new(), 0, 0);
    for underlay in [Underlay::Offloads, Underlay::Plain] {
        system.set_underlay(underlay)?;
        for (size, offload, share) in SHAPES {
            let wanted = (packets as f64 * share / 2.0).ceil() as u64;
            let (mut sent, mut received, mut late) = (0, 0, 0);
            while received < wanted {
                let portion = PORTION.min(wanted - received);
                let outcome = burst::run(&system, Burst { size, offload, flows: FLOWS, packets: portion })?;
                ensure!(outcome.received > 0, "nothing of {} datagrams arrived", outcome.sent);
                sent += outcome.sent;
                received += outcome.received;
                late += outcome.late;
                progress.add(estimate(outcome.received));
                eprintln!("{} {} arrived, {} late", progress.line(), all + received, all_late + late);
            }
            all += received;
            all_late += late;
            println!(
                "underlay {}, {size} octets, {}: {received} of {sent} arrived, {late} of them late",
                underlay.name(),
                if offload { "bursts" } else { "single" }
            );
            runs.push(json!({"underlay": underlay.name(), "size": size, "bursts": offload, "flows": FLOWS,
                             "sent": sent, "received": received, "late": late}));
        }
        for streams in [1, 4] {
            let before = usage::tcp_reordered(sender)?;
            let carried = iperf::tcp(&system, streams, Direction::Forth, STREAM)?;
            let reordered = usage::tcp_reordered(sender)? - before;
            progress.add(STREAM);
            println!(
                "underlay {}, TCP, {streams} streams, {:.1} GB: {reordered} times reordered",
                underlay.name(),
                carried.octets / 1e9
            );
            runs.push(json!({"underlay": underlay.name(), "tcpStreams": streams, "octets": carried.octets,
                             "reordered": reordered}));
        }
        let result = json!({"version": env!("CARGO_PKG_VERSION"), "machine": machine,
                            "received": all, "late": all_late, "reordering": runs});
        report::write(path, &result)?;
    }
    println!("{all} datagrams arrived, {all_late} of them late; written to {}", path.display());
    Ok(())
}
