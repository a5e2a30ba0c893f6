//! A long stream through the tunnel, compared octet by octet: with and without the cable's offloads, with and without loss.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use lab::{Seat, traffic};
use serde_json::json;

use crate::arguments::Underlay;
use crate::machine;
use crate::report;
use crate::system::System;

/// A stream that says nothing for so long has failed.
const STALL: Duration = Duration::from_secs(30);

/// Sends `octets` through ztnode in each of the four circumstances, half in each direction.
///
/// # Errors
/// When one octet is wrong, missing or too many.
pub(crate) fn run(octets: u64, path: &Path) -> Result<()> {
    let machine = machine::describe();
    let system = System::nodes([Seat::Ours; 2])?;
    let half = usize::try_from(octets.div_ceil(2)).context("more octets than this machine can count")?;
    let [a, b] = &system.sides;
    let mut runs = Vec::new();
    for underlay in [Underlay::Offloads, Underlay::Plain] {
        system.set_underlay(underlay)?;
        for loss in [0, 1] {
            system.link.lab.loss(&system.link.hosts[1], loss)?;
            let mut seconds = Vec::new();
            for (from, to) in [(a, b), (b, a)] {
                let address = IpAddr::V4(to.address);
                let took = traffic::tcp(&from.namespace, &to.namespace, address, half, STALL)
                    .with_context(|| format!("underlay {}, {loss} % loss", underlay.name()))?;
                seconds.push(took.as_secs_f64());
            }
            println!(
                "underlay {}, {loss} % loss: {half} octets each way, all of them right, {:.1} and {:.1} s",
                underlay.name(),
                seconds[0],
                seconds[1]
            );
            runs.push(json!({"underlay": underlay.name(), "lossPercent": loss, "octetsEachWay": half,
                             "seconds": seconds, "right": true}));
        }
    }
    let result = json!({"version": env!("CARGO_PKG_VERSION"), "machine": machine, "integrity": runs});
    report::write(path, &result)?;
    println!("written to {}", path.display());
    Ok(())
}
