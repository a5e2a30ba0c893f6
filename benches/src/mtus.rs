//! Which MTU a virtual network should have: what frames of one datagram, of two and of seven carry, over cables that take
//! whole datagrams, shorter ones than either end can see, or longer ones, with and without loss.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use lab::{Seat, binaries};
use serde_json::{Value, json};

use crate::arguments::Underlay;
use crate::instruments::flow::{self, Flow};
use crate::instruments::iperf::{self, Direction};
use crate::instruments::usage;
use crate::machine;
use crate::progress::Progress;
use crate::report::{self, render};
use crate::statistics::{Summary, summarize};
use crate::system::{Cable, ETHERNET, Setup, System};

/// MTUs of the network: the largest whose frames fit one datagram below us, the usual one in two, a jumbo one.
pub(crate) const MTUS: [u32; 3] = [1394, 2800, 9000];
/// Percent of the packets on the cable that are lost.
const LOSSES: [u8; 2] = [0, 1];
/// Datagrams of one flow, as many as go.
const DATAGRAM: usize = 1400;
const FLOW: Duration = Duration::from_secs(1);
/// Starting a pair, and changing its MTU; beginning and ending a measurement.
const START: Duration = Duration::from_secs(6);
const CHANGE: Duration = Duration::from_millis(800);
const AROUND: Duration = Duration::from_secs(1);

/// One row of the result: a cable, and who is at its ends.
struct Way {
    name: &'static str,
    cable: Cable,
    far: Seat,
}

const WAYS: [Way; 4] = [
    Way { name: "cable of 1500", cable: Cable::Direct(ETHERNET), far: Seat::Ours },
    Way { name: "1400 behind a router", cable: Cable::Clamped(1400), far: Seat::Ours },
    Way { name: "cable of 9000", cable: Cable::Direct(9000), far: Seat::Ours },
    Way { name: "1500, to zerotier-one", cable: Cable::Direct(ETHERNET), far: Seat::Reference },
];

/// What was measured in one combination, a value a round; or why not.
#[derive(Debug, Default)]
struct Cell {
    gbps: Vec<f64>,
    cpu: Vec<f64>,
    kpps: Vec<f64>,
    failures: Vec<String>,
}

/// Measures every combination `rounds` times, shows a table and writes everything to `path`.
pub(crate) fn run(rounds: u32, length: Duration, path: &Path) -> Result<()> {
    let machine = machine::describe();
    let ways: Vec<&Way> =
        WAYS.iter().filter(|way| way.far == Seat::Ours || binaries::reference().is_some()).collect();
    let turn = length + FLOW + 2 * AROUND;
    let way = START + (CHANGE + turn * LOSSES.len() as u32) * MTUS.len() as u32 * rounds;
    let mut progress = Progress::new(way * ways.len() as u32);
    let mut cells: Vec<[[Cell; LOSSES.len()]; MTUS.len()]> =
        ways.iter().map(|_| Default::default()).collect();
    let mut systems = Vec::new();
    for way in &ways {
        let setup = Setup { cable: way.cable, ..Setup::from([Seat::Ours, way.far]) };
        systems.push(System::nodes(setup).with_context(|| way.name)?);
        progress.add(START);
    }
    for round in 1..=rounds {
        for (index, way) in ways.iter().enumerate() {
            for (column, mtu) in MTUS.into_iter().enumerate() {
                let system = &systems[index];
                system.set_mtu(mtu).with_context(|| way.name)?;
                progress.add(CHANGE);
                for (line, loss) in LOSSES.into_iter().enumerate() {
                    let cell = &mut cells[index][column][line];
                    let said = match measure(system, loss, length, cell) {
                        Ok(()) => cell.said(),
                        Err(error) => {
                            cell.failures.push(format!("{error:#}"));
                            format!("{error:#}")
                        }
                    };
                    progress.add(turn);
                    eprintln!(
                        "{} round {round} of {rounds}: {}, MTU {mtu}, {loss} % loss: {said}",
                        progress.line(),
                        way.name
                    );
                }
            }
        }
        let result = json!({"version": env!("CARGO_PKG_VERSION"), "machine": machine,
                            "streamSeconds": length.as_secs(), "mtus": written(&ways, &cells)});
        report::write(path, &result)?;
    }
    println!("{}", tables(&written(&ways, &cells)));
    println!("written to {}", path.display());
    Ok(())
}

/// One combination, once.
fn measure(system: &System, loss: u8, length: Duration, cell: &mut Cell) -> Result<()> {
    // Loss strikes single datagrams only where the cable carries them one by one.
    system.set_underlay(if loss == 0 { Underlay::Offloads } else { Underlay::Plain })?;
    system.link.lose(loss)?;
    let before = usage::cpu_seconds(system)?;
    let stream = iperf::tcp(system, 1, Direction::Forth, length)?;
    cell.gbps.push(stream.gbps);
    cell.cpu.push((usage::cpu_seconds(system)? - before) / (stream.octets / 1e9));
    let flow = flow::send(system, Flow { size: DATAGRAM, rate: None, packets: u64::MAX, length: FLOW })?;
    cell.kpps.push(flow.rate() / 1e3);
    Ok(())
}

impl Cell {
    /// The last round, for people who watch.
    fn said(&self) -> String {
        let last = |list: &[f64]| list.last().copied().unwrap_or_default();
        let (gbps, cpu, kpps) = (last(&self.gbps), last(&self.cpu), last(&self.kpps));
        format!("{gbps:.2} Gbit/s, {cpu:.2} CPU-s per GB, {kpps:.0} kpps")
    }
}

fn written(ways: &[&Way], cells: &[[[Cell; LOSSES.len()]; MTUS.len()]]) -> Value {
    let shown = |values: &[f64]| match summarize(values.iter().copied()) {
        None => Value::Null,
        Some(Summary { median, min, max }) => json!({"median": median, "min": min, "max": max}),
    };
    let mut list = Vec::new();
    for (way, columns) in ways.iter().zip(cells) {
        for (mtu, lines) in MTUS.iter().zip(columns) {
            for (loss, cell) in LOSSES.iter().zip(lines) {
                list.push(json!({
                    "way": way.name, "mtu": mtu, "lossPercent": loss,
                    "tcp1Gbps": shown(&cell.gbps), "cpuSecondsPerGigabyte": shown(&cell.cpu),
                    "udp1400Kpps": shown(&cell.kpps), "failures": cell.failures,
                }));
            }
        }
    }
    list.into()
}

/// The result as Markdown: a row for each way and loss, a column for each MTU and figure.
pub(crate) fn tables(list: &Value) -> String {
    const FIGURES: [(&str, &str, usize); 3] = [
        ("tcp1Gbps", "TCP, Gbit/s", 2),
        ("cpuSecondsPerGigabyte", "CPU-s per GB", 2),
        ("udp1400Kpps", "UDP 1400 B, kpps", 0),
    ];
    let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
    let mut head = vec!["".to_owned(), "loss".to_owned()];
    for (_, title, _) in FIGURES {
        head.extend(MTUS.map(|mtu| format!("{title}, MTU {mtu}")));
    }
    let mut rows = vec![head];
    for entry in list {
        let [way, loss] = ["way", "lossPercent"].map(|key| &entry[key]);
        // Each row once: where its first column is.
        if entry["mtu"] != MTUS[0] {
            continue;
        }
        let mut row = vec![way.as_str().unwrap_or_default().to_owned(), format!("{loss} %")];
        for (key, _, digits) in FIGURES {
            row.extend(MTUS.map(|mtu| {
                let same =
                    list.iter().find(|e| e["way"] == *way && e["lossPercent"] == *loss && e["mtu"] == mtu);
                let median = same.and_then(|entry| entry[key]["median"].as_f64());
                median.map_or_else(|| "–".to_owned(), |value| format!("{value:.digits$}"))
            }));
        }
        rows.push(row);
    }
    render(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_combination_has_its_place_in_the_table() {
        let ways: Vec<&Way> = WAYS.iter().collect();
        let mut cells: Vec<[[Cell; LOSSES.len()]; MTUS.len()]> =
            ways.iter().map(|_| Default::default()).collect();
        cells[1][2][1].gbps.push(4.5);
        let text = tables(&written(&ways, &cells));
        assert_eq!(text.lines().count(), 2 + WAYS.len() * LOSSES.len(), "{text}");
        let line =
            text.lines().find(|line| line.contains("behind a router") && line.contains("1 %")).unwrap();
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        assert_eq!(cells[3..6], ["–", "–", "4.50"], "{text}");
    }
}
