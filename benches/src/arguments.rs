//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};

use crate::plan::{Conditions, Figures};
use crate::system::peers::Peer;

/// What the cable between the two namespaces does for those who send on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Underlay {
    /// It carries UDP super-packets whole, as a card with segmentation offload in hardware does.
    #[default]
    Offloads,
    /// Neither UDP segmentation offload nor GRO: the kernel cuts everything before it goes out, one packet a datagram.
    Plain,
}

impl Underlay {
    /// As JSON and tables call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Offloads => "offloads",
            Self::Plain => "plain",
        }
    }
}

/// What a run is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Systems beside each other.
    Compare,
    /// ztnode and zerotier-one at either end.
    Mixed,
    /// What rules cost.
    Rules,
    /// Which MTU a network should have.
    Mtus,
    /// What a daemon costs that does nothing.
    Idle,
    /// So many octets, each compared.
    Integrity(u64),
    /// The order of so many packets.
    Reordering(u64),
    /// How long a pair is without traffic when something happens to it.
    Recovery,
    /// The document from a result.
    Report(PathBuf),
}

#[derive(Parser, Debug)]
#[command(
    about = "Throughput, latency and cost of two joined nodes, ztnode and others in turn (as root)",
    after_help = "zerotier-one takes part when ZEROTIER_ONE names its binary, an older ztnode when ZTNODE_OLD names the \
                  folder of its programs; WG_GO names a wireguard-go to use in place of the installed one."
)]
pub(crate) struct Arguments {
    /// How often each system is measured. Every other round goes through the systems backwards.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,
    /// Length of each stream in seconds.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=60))]
    pub(crate) seconds: u32,
    /// The result goes to benches/results/NAME.json. Without it: `latest`, or what is measured instead.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Three minutes: 3 rounds of 2 s, the main figures only, no other peers.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Say what would be measured and how long it would take, and measure nothing.
    #[arg(long, conflicts_with_all = ["rules", "mtus", "idle", "integrity", "reordering", "recovery", "report"])]
    pub(crate) dry_run: bool,
    /// Which other systems take part: names separated by commas, `all` or `none`. Without it, those installed.
    #[arg(long, value_name = "NAMES")]
    pub(crate) peers: Option<String>,
    /// What the cable does for those who send on it.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) underlay: Underlay,
    /// One core a side: daemon and iperf3 of a side share it.
    #[arg(long)]
    pub(crate) pin: bool,
    /// Leave out the cable without any VPN.
    #[arg(long)]
    pub(crate) no_cable: bool,
    /// Leave out the ceiling probe.
    #[arg(long)]
    pub(crate) no_probe: bool,
    /// Instead: one TCP stream through ztnode while 1 and 1000 rules take turns, in a dozen pairs a round.
    #[arg(long, group = "instead")]
    pub(crate) rules: bool,
    /// Instead: ztnode at one end and zerotier-one at the other, with either cipher, beside zerotier-one to itself.
    #[arg(long, group = "instead")]
    pub(crate) mixed: bool,
    /// Instead: networks of different MTU over cables of different MTU, with and without loss.
    #[arg(long, group = "instead")]
    pub(crate) mtus: bool,
    /// Instead: what an idle daemon costs, how fast `ztnode-cli info` answers, and what idle pairs send, by verb: ztnode's, with
    /// ZTNODE_OLD and ZEROTIER_ONE theirs and mixed ones too. Seven minutes.
    #[arg(long, group = "instead")]
    pub(crate) idle: bool,
    /// Instead: that many octets (suffixes M, G) through ztnode in each of eight circumstances, every one compared: the
    /// interface's and the cable's offloads on and off, with and without loss.
    #[arg(long, group = "instead", value_name = "OCTETS", value_parser = count)]
    pub(crate) integrity: Option<u64>,
    /// Instead: how many of that many arriving datagrams (1e8) overtake another of their flow, in ztnode.
    #[arg(long, group = "instead", value_name = "PACKETS", value_parser = count)]
    pub(crate) reordering: Option<u64>,
    /// Instead: how long a pair is without traffic when addresses change, ways die, NAT routers forget, roots and nodes are killed:
    /// ztnode, zerotier-one and both together; and what becomes of streams over TCP meanwhile, and over lines of poor quality. Fails
    /// when a bound for ztnode is missed, or a stream does not arrive as it was sent.
    #[arg(long, group = "instead")]
    pub(crate) recovery: bool,
    /// What that takes.
    #[command(flatten)]
    pub(crate) recovery_options: crate::recovery::Options,
    /// Instead: the tables of a result, and of mixed.json, mtus.json, rules.json, integrity.json, reordering.json, idle.json
    /// and plain.json beside it, put into docs/performance.md; and docs/performance.svg. Of a result of
    /// --recovery the tables, into docs/reliability.md. Measures nothing.
    #[arg(long, group = "instead", value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
}

impl Arguments {
    /// What the run is for.
    pub(crate) fn mode(&self) -> Mode {
        if self.mixed {
            Mode::Mixed
        } else if self.rules {
            Mode::Rules
        } else if self.mtus {
            Mode::Mtus
        } else if self.idle {
            Mode::Idle
        } else if let Some(octets) = self.integrity {
            Mode::Integrity(octets)
        } else if let Some(packets) = self.reordering {
            Mode::Reordering(packets)
        } else if self.recovery {
            Mode::Recovery
        } else if let Some(file) = &self.report {
            Mode::Report(file.clone())
        } else {
            Mode::Compare
        }
    }

    /// What the result is called.
    pub(crate) fn name(&self) -> &str {
        let usual = match self.mode() {
            Mode::Compare if self.underlay == Underlay::Plain => "plain",
            Mode::Compare | Mode::Report(_) => "latest",
            Mode::Mixed => "mixed",
            Mode::Rules => "rules",
            Mode::Mtus => "mtus",
            Mode::Idle => "idle",
            Mode::Integrity(_) => "integrity",
            Mode::Reordering(_) => "reordering",
            Mode::Recovery => "recovery",
        };
        self.name.as_deref().unwrap_or(usual)
    }

    /// In what circumstances, and how much of it.
    pub(crate) fn conditions(&self) -> Conditions {
        Conditions {
            rounds: if self.quick { self.rounds.min(3) } else { self.rounds },
            length: Duration::from_secs(if self.quick { self.seconds.min(2) } else { self.seconds }.into()),
            underlay: self.underlay,
            pinned: self.pin,
            figures: match self.mode() {
                Mode::Mixed => Figures::Directions,
                _ if self.quick => Figures::Main,
                _ => Figures::All,
            },
        }
    }

    /// Which peers take part.
    ///
    /// # Errors
    /// A name that is none, or a system asked for by name that is not installed.
    pub(crate) fn peers(&self) -> anyhow::Result<Vec<Peer>> {
        match self.peers.as_deref() {
            None if self.quick => Ok(Vec::new()),
            Some("none" | "") => Ok(Vec::new()),
            None | Some("all") => Ok(Peer::ALL.into_iter().filter(|peer| peer.missing().is_none()).collect()),
            Some(names) => names.split(',').map(Peer::named).collect(),
        }
    }
}

/// `1000`, `10G`, `1e8`.
fn count(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.strip_suffix(['k', 'M', 'G']) {
        Some(digits) if text.ends_with('k') => (digits, 1e3),
        Some(digits) if text.ends_with('M') => (digits, 1e6),
        Some(digits) => (digits, 1e9),
        None => (text, 1.0),
    };
    match digits.parse::<f64>() {
        Ok(number) if (1.0..=1e15).contains(&(number * unit)) => Ok((number * unit) as u64),
        _ => Err("a positive number, such as 1000, 1e8 or 10G".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts() {
        assert_eq!(count("10G"), Ok(10_000_000_000));
        assert_eq!(count("1e8"), Ok(100_000_000));
        assert_eq!(count("2.5M"), Ok(2_500_000));
        for bad in ["", "G", "-1", "0", "1e99", "nan", "x"] {
            assert!(count(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        <Arguments as clap::CommandFactory>::command().debug_assert();
    }
}
