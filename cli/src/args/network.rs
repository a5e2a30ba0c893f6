//! What `network …` takes.

use clap::{Args, Subcommand};
use protocol::inet::Prefix;
use serde_json::Value;

use crate::validate;

/// `network …`.
#[derive(Subcommand, Debug)]
pub enum NetworkCommand {
    /// Create a network on this controller
    #[command(
        after_help = "Examples:\n  ztnode-cli network create demo.lab --subnet 10.0.0.0/16\n  ztnode-cli network create \
        demo.lab --route 10.0.0.0/16 --pool 10.0.0.1-10.0.0.254\n  ztnode-cli network create lan6 --rfc4193 --6plane \
        --public --dns domain=lan6.example,server=10.0.0.1"
    )]
    Create {
        /// Name, the same as --name
        #[arg(value_name = "NAME", conflicts_with = "name", value_parser = name)]
        called: Option<String>,
        /// ID instead of one with a random end: 16 digits, beginning with this controller's address
        #[arg(long, value_name = "NETWORK", value_parser = network_id)]
        id: Option<String>,
        /// What is said about it
        #[command(flatten)]
        settings: NetworkSettings,
    },
    /// List all networks
    #[command(after_help = "Examples:\n  ztnode-cli network list\n  ztnode-cli network list -j")]
    List,
    /// Show one network
    #[command(after_help = "Example:\n  ztnode-cli network show demo.lab")]
    Show {
        /// ID or name
        network: String,
    },
    /// Change a network; anything not mentioned is left unchanged
    #[command(
        after_help = "Examples:\n  ztnode-cli network set demo.lab --mtu 1400 --broadcast=false\n  ztnode-cli \
        network set 37f2b7c94f000001 --route 10.0.0.0/16 --route 192.168.7.0/24,via=10.0.0.7\n\nLists (--route, \
        --pool) are replaced as a whole; --subnet replaces both."
    )]
    Set {
        /// ID or name
        network: String,
        /// What is said about it
        #[command(flatten)]
        settings: NetworkSettings,
        /// Remove all routes
        #[arg(long, conflicts_with_all = ["route", "subnet"])]
        no_routes: bool,
        /// Remove all pools
        #[arg(long, conflicts_with_all = ["pool", "subnet"])]
        no_pools: bool,
        /// Offer no name servers any more
        #[arg(long, conflicts_with = "dns")]
        no_dns: bool,
    },
    /// Delete a network with all its members; asks first when there is a terminal
    #[command(
        after_help = "Examples:\n  ztnode-cli network delete demo.lab\n  ztnode-cli network delete demo.lab --dry-run"
    )]
    Delete {
        /// ID or name
        network: String,
        /// Whether to ask
        #[command(flatten)]
        sure: Sure,
    },
}

/// Whether a command that cannot be taken back asks first.
#[derive(Args, Debug)]
pub struct Sure {
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
    /// Only say what would be done
    #[arg(long)]
    pub dry_run: bool,
}

/// What `network create` and `network set` may say about a network.
#[derive(Args, Debug, Default)]
pub struct NetworkSettings {
    /// Name
    #[arg(long, value_parser = name)]
    pub name: Option<String>,
    /// One subnet for the network: a route, a pool of its addresses, and their assignment; may be repeated
    #[arg(long, value_name = "PREFIX", value_parser = validate::subnet)]
    pub subnet: Vec<Prefix>,
    /// Route given to the members: TARGET[,via=GATEWAY]; may be repeated
    #[arg(long, value_name = "ROUTE", value_parser = validate::route)]
    pub route: Vec<Value>,
    /// Addresses to assign: FIRST-LAST or PREFIX; may be repeated
    #[arg(long, value_name = "POOL", value_parser = validate::pool)]
    pub pool: Vec<Value>,
    /// Assign IPv4 addresses from the pools [default: when there is an IPv4 pool]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub v4_zt: Option<bool>,
    /// Assign IPv6 addresses from the pools
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub v6_zt: Option<bool>,
    /// Derive an RFC 4193 IPv6 address for every member
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub rfc4193: Option<bool>,
    /// Derive a 6PLANE IPv6 address (with a /80 behind it) for every member
    #[arg(long = "6plane", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub six_plane: Option<bool>,
    /// Members need authorization (the default)
    #[arg(long, conflicts_with = "public")]
    pub private: bool,
    /// Anyone with the ID may join
    #[arg(long)]
    pub public: bool,
    /// Largest frame payload, 1280 to 10000
    #[arg(long, value_parser = clap::value_parser!(u16).range(1280..=10000))]
    pub mtu: Option<u16>,
    /// To how many members a multicast goes at most
    #[arg(long, value_name = "MEMBERS")]
    pub multicast_limit: Option<u32>,
    /// Whether ff:ff:ff:ff:ff:ff reaches everybody
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub broadcast: Option<bool>,
    /// Name servers for a domain: domain=NAME,server=IP[,server=IP…]
    #[arg(long, value_name = "DNS", value_parser = validate::dns)]
    pub dns: Option<Value>,
}

/// A name that no command could take for an ID, and that fits into one line.
fn name(text: &str) -> Result<String, String> {
    if validate::is_hex(text, 16) {
        return Err("16 hexadecimal digits are a network ID; give it another name, or use --id".into());
    }
    if text.chars().any(char::is_control) {
        return Err("a name has no control characters".into());
    }
    Ok(text.to_owned())
}

fn network_id(text: &str) -> Result<String, String> {
    if validate::is_hex(text, 16) {
        Ok(text.to_ascii_lowercase())
    } else {
        Err("a network ID is 16 hexadecimal digits, such as 37f2b7c94f000001".into())
    }
}
