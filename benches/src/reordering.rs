//! Whether packets of one flow overtake each other in ztnode.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use lab::Seat;
use serde_json::json;

use crate::arguments::Underlay;
use crate::instruments::flow::{self, Flow};
use crate::machine;
use crate::report;
use crate::system::System;

/// UDP payloads: one datagram below us, two, and a mix of neither in step with the batches.
const SIZES: [usize; 3] = [64, 1400, 2000];
/// No flow of a measurement is longer.
const LIMIT: Duration = Duration::from_secs(3_600);
/// So many at a time, to say how it goes.
const PORTION: u64 = 5_000_000;

/// Sends at least `packets` datagrams of each size in one flow, as fast as they go, and counts those that come late.
pub(crate) fn run(packets: u64, path: &Path) -> Result<()> {
    let machine = machine::describe();
    let system = System::nodes([Seat::Ours; 2])?;
    let mut runs = Vec::new();
    for underlay in [Underlay::Offloads, Underlay::Plain] {
        system.set_underlay(underlay)?;
        for size in SIZES {
            let (mut sent, mut received, mut late) = (0, 0, 0);
            let share = packets.div_ceil(2 * SIZES.len() as u64);
            // What is lost in a flood cannot be late: it is arrivals that count.
            while received < share {
                let flow = Flow { size, rate: None, packets: PORTION.min(share), length: LIMIT };
                let outcome = flow::send(&system, flow)?;
                anyhow::ensure!(outcome.received > 0, "nothing of {} datagrams arrived", outcome.sent);
                sent += outcome.sent;
                received += outcome.received;
                late += outcome.late;
            }
            println!(
                "underlay {}, {size} octets: {received} of {sent} arrived, {late} of them late",
                underlay.name()
            );
            runs.push(json!({"underlay": underlay.name(), "size": size, "sent": sent,
                             "received": received, "late": late}));
        }
    }
    let result = json!({"version": env!("CARGO_PKG_VERSION"), "machine": machine, "reordering": runs});
    report::write(path, &result)?;
    println!("written to {}", path.display());
    Ok(())
}
