//! `ztflood`: floods that a stranger could send, and what is left of a stream beside them.
//!
//! `ztflood fire` is the attacker: one process on one core that sends one kind of flood at a rate, from its own address or from
//! forged ones. It is meant for network namespaces and refuses to run outside of one that a lab made.
//!
//! `ztflood measure` builds a lab and fires each kind at a node that carries a TCP stream between two known peers; then the same
//! datagrams at a port where nobody listens. The stream has to keep nine tenths of its rate, the node has to answer its owner and
//! to keep within its memory, and ten seconds after ten times the rate nothing may be broken.

mod contest;
mod fire;
mod kinds;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser, Debug)]
#[command(about = "Floods a stranger could send, and what they do (as root, in network namespaces)")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Sends one kind of flood.
    Fire(fire::Fire),
    /// Measures a stream beside each kind.
    Measure(contest::Measure),
}

fn main() -> Result<()> {
    match Arguments::parse().command {
        Command::Fire(fire) => fire.run(),
        Command::Measure(measure) => measure.run(),
    }
}
