//! What `capture` takes.

use clap::Args;

/// `capture …`.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  ztnode-cli capture demo.lab\n  ztnode-cli capture demo.lab -w tap.pcapng \
    --seconds 60\n  ztnode-cli capture demo.lab -w - | tshark -r -\n\nWhat is seen is what passes the network's TAP \
    device here: own traffic, and the copies that tee and watch rules send to this node. Needs the capability \
    CAP_NET_RAW (root has it).\nExit code: 0 when ended by Ctrl-C, a count or a time."
)]
pub struct Capture {
    /// ID or name of a network this node has joined
    pub network: String,
    /// Write a pcapng file instead of a line per packet; - writes to standard output
    #[arg(short, long, value_name = "FILE")]
    pub write: Option<String>,
    /// End after so many packets
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// End after so many seconds
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub seconds: Option<u64>,
    /// Keep so many bytes of each frame
    #[arg(short, long, value_name = "BYTES", default_value_t = 65_535,
        value_parser = clap::value_parser!(u32).range(14..=65_535))]
    pub snaplen: u32,
}
