//! What `member …` takes.

use std::net::IpAddr;

use clap::{Args, Subcommand};

use super::network::Sure;
use crate::validate;

/// `member …`.
#[derive(Subcommand, Debug)]
pub enum MemberCommand {
    /// List the members of a network and who asks to become one; without a network, who asks anywhere
    #[command(after_help = "Examples:\n  ztnode-cli member list demo.lab\n  ztnode-cli member list")]
    List {
        /// ID or name [default: all networks, only the nodes that ask]
        network: Option<String>,
    },
    /// Show one member, its tags and capabilities by name
    #[command(after_help = "Example:\n  ztnode-cli member show demo.lab aws")]
    Show {
        /// The member
        #[command(flatten)]
        which: Which,
    },
    /// Authorize a node
    #[command(
        after_help = "Examples:\n  ztnode-cli member authorize demo.lab 5aca06ff8e\n  ztnode-cli member \
        authorize demo.lab 5aca06ff8e --name aws --ip 10.0.1.1 --tag department=sales --capability ssh"
    )]
    Authorize {
        /// The member
        #[command(flatten)]
        which: Which,
        /// What is said about it
        #[command(flatten)]
        settings: MemberSettings,
    },
    /// Revoke a node's access; its traffic is cut off at once
    #[command(
        after_help = "Example:\n  ztnode-cli member deauthorize demo.lab aws\n\nSays who of the other members has \
        acknowledged it (waits up to 5 s for that). Who cannot be reached is told when it asks the controller again."
    )]
    Deauthorize {
        /// The member
        #[command(flatten)]
        which: Which,
    },
    /// Change a member; anything not mentioned is left unchanged
    #[command(
        after_help = "Examples:\n  ztnode-cli member set demo.lab aws --bridge --ip 10.0.1.1 --ip fd00::1\n  \
        ztnode-cli member set demo.lab aws --tag department=sales --tag 1000=5 --capability ssh --no-capability \
        admin\n\nAddresses (--ip) are replaced as a whole; tags and capabilities one by one."
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
    /// Delete a member, which may ask again; asks first when there is a terminal
    #[command(after_help = "Example:\n  ztnode-cli member delete demo.lab aws")]
    Delete {
        /// The member
        #[command(flatten)]
        which: Which,
        /// Whether to ask
        #[command(flatten)]
        sure: Sure,
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
    /// Address assigned to it, in one of the network's routes; may be repeated
    #[arg(long, value_parser = validate::ip)]
    pub ip: Vec<IpAddr>,
    /// May bridge other devices into the network
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub bridge: Option<bool>,
    /// Gets no address from the pools
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub no_auto_assign_ips: Option<bool>,
    /// A capability it gets, by its name in the network's rules or by ID; may be repeated
    #[arg(long, value_name = "NAME")]
    pub capability: Vec<String>,
    /// A capability it loses; may be repeated
    #[arg(long, value_name = "NAME")]
    pub no_capability: Vec<String>,
    /// A tag it carries, NAME=VALUE with names from the network's rules, or numbers; may be repeated
    #[arg(long, value_name = "TAG", value_parser = validate::tag)]
    pub tag: Vec<(String, String)>,
    /// A tag to remove (the network's default applies again); may be repeated
    #[arg(long, value_name = "NAME")]
    pub no_tag: Vec<String>,
}
