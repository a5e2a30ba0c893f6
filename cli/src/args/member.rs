//! What `member …` takes.

use std::net::IpAddr;

use clap::{Args, Subcommand};

use crate::validate;

/// `member …`.
#[derive(Subcommand, Debug)]
pub enum MemberCommand {
    /// List the members of a network, and who asks to become one
    #[command(after_help = "Example:\n  ztnode-cli member list demo.lab")]
    List {
        /// ID or name
        network: String,
    },
    /// Let a node in
    #[command(
        after_help = "Examples:\n  ztnode-cli member authorize demo.lab 5aca06ff8e\n  ztnode-cli member \
        authorize demo.lab 5aca06ff8e --name aws --ip 10.0.1.1"
    )]
    Authorize {
        /// The member
        #[command(flatten)]
        which: Which,
        /// What is said about it
        #[command(flatten)]
        settings: MemberSettings,
    },
    /// Put a node out; its traffic is cut off at once
    #[command(after_help = "Example:\n  ztnode-cli member deauthorize demo.lab aws")]
    Deauthorize {
        /// The member
        #[command(flatten)]
        which: Which,
    },
    /// Change a member; what is not named stays as it is
    #[command(
        after_help = "Example:\n  ztnode-cli member set demo.lab aws --bridge --ip 10.0.1.1 --ip fd00::1"
    )]
    Set {
        /// The member
        #[command(flatten)]
        which: Which,
        /// What is said about it
        #[command(flatten)]
        settings: MemberSettings,
        /// Remove all assigned addresses
        #[arg(long, conflicts_with = "ip")]
        no_ips: bool,
    },
    /// Delete a member; it may ask again
    #[command(after_help = "Example:\n  ztnode-cli member delete demo.lab aws")]
    Delete {
        /// The member
        #[command(flatten)]
        which: Which,
    },
}

/// One member of one network.
#[derive(Args, Debug)]
pub struct Which {
    /// ID or name of the network
    pub network: String,
    /// Address or name of the member
    #[arg(value_name = "ADDRESS")]
    pub member: String,
}

/// What may be said about a member.
#[derive(Args, Debug, Default)]
pub struct MemberSettings {
    /// Name
    #[arg(long)]
    pub name: Option<String>,
    /// Address of the network assigned to it; may be repeated
    #[arg(long, value_parser = validate::ip)]
    pub ip: Vec<IpAddr>,
    /// May bridge other devices into the network
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub bridge: Option<bool>,
    /// Gets no address from the pools
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub no_auto_assign_ips: Option<bool>,
    /// ID of a capability it holds; may be repeated
    #[arg(long, value_name = "ID")]
    pub capability: Vec<u32>,
    /// A tag it carries, ID=VALUE; may be repeated
    #[arg(long, value_parser = validate::tag)]
    pub tag: Vec<(u32, u32)>,
}
