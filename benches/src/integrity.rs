//! A long stream through the tunnel, compared octet by octet: with and without offloads, of the cable and of the node's own
//! interface, with and without loss.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use lab::{Seat, traffic};
use serde_json::json;

use crate::arguments::Underlay;
use crate::machine;
use crate::progress::Progress;
use crate::report;
use crate::system::{Setup, System};

/// A stream that says nothing for so long has failed.
const STALL: Duration = Duration::from_secs(30);
/// How the nodes make their interfaces (`settings.tap`), and what the cable does.
const OFFLOADS: [(&str, Underlay); 4] = [
    ("auto", Underlay::Offloads),
    ("auto", Underlay::Plain),
    ("plain", Underlay::Offloads),
    ("plain", Underlay::Plain),
];
/// Percent of packets lost.
const LOSSES: [u8; 2] = [0, 1];
/// So many octets at a time, to say how it goes.
const PORTION: u64 = 500_000_000;
/// What a stream should carry in each of the circumstances, octets a second, to tell how long it takes.
const PACE: f64 = 3e8;

/// Sends `octets` through ztnode in each of the circumstances, half in each direction.
///
/// # Errors
/// When one octet is wrong, missing or too many.
pub(crate) fn run(octets: u64, path: &Path) -> Result<()> {
    let machine = machine::describe();
    let estimate = |octets: u64| Duration::from_secs_f64(octets as f64 / PACE);
    let all = octets * (OFFLOADS.len() * LOSSES.len()) as u64;
    let mut progress = Progress::new(estimate(all));
    let mut runs = Vec::new();
    for (tap, underlay) in OFFLOADS {
        let setup = Setup { setting: Some(("tap", tap)), ..Setup::from([Seat::Ours; 2]) };
        let system = System::nodes(setup)?;
        system.set_underlay(underlay)?;
        let [a, b] = &system.sides;
        for loss in LOSSES {
            system.link.lose(loss)?;
            let circumstances = format!("tap {tap}, underlay {}, {loss} % loss", underlay.name());
            let mut seconds = Vec::new();
            let mut compared = 0;
            for (from, to) in [(a, b), (b, a)] {
                let (mut left, mut took) = (octets.div_ceil(2), 0.0);
                while left > 0 {
                    let portion = left.min(PORTION);
                    let length = usize::try_from(portion).context("a portion fits")?;
                    let address = IpAddr::V4(to.address);
                    let time = traffic::tcp(&from.namespace, &to.namespace, address, length, STALL)
                        .with_context(|| circumstances.clone())?;
                    took += time.as_secs_f64();
                    compared += portion;
                    left -= portion;
                    progress.add(estimate(portion));
                    eprintln!("{} {circumstances}: {compared} octets right", progress.line());
                }
                seconds.push(took);
            }
            println!(
                "{circumstances}: {compared} octets, all of them right, {:.1} s forth and {:.1} s back",
                seconds[0], seconds[1]
            );
            runs.push(json!({"tap": tap, "underlay": underlay.name(), "lossPercent": loss,
                             "octets": compared, "seconds": seconds, "right": true}));
            let result = json!({"version": env!("CARGO_PKG_VERSION"), "machine": machine, "integrity": runs});
            report::write(path, &result)?;
        }
    }
    println!("written to {}", path.display());
    Ok(())
}
