//! The grouped commands: networks and members of the controller, identities, planets and moons.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand};
use serde_json::Value;

use super::Common;
use crate::commands::{self, Session};
use crate::failure::{Failure, Io, Outcome};
use crate::validate;

#[derive(Parser, Debug)]
#[command(
    name = "ztnode-cli",
    version,
    propagate_version = true,
    disable_version_flag = true,
    disable_help_subcommand = true,
    max_term_width = 100,
    about = "asks and steers the ztnode on this machine",
    after_help = "`ztnode-cli help` lists the commands of the node itself (info, peers, join …)."
)]
struct Line {
    #[command(flatten)]
    switches: Switches,
    #[command(subcommand)]
    group: Group,
}

#[derive(Args, Debug)]
struct Switches {
    /// Home directory of the node [default: $ZEROTIER_HOME or /var/lib/zerotier-one]
    #[arg(short = 'D', long, global = true, value_name = "DIR", help_heading = "Switches")]
    home: Option<String>,
    /// JSON instead of tables
    #[arg(short, long, global = true, help_heading = "Switches")]
    json: bool,
    /// TCP port of the control API, instead of the Unix socket
    #[arg(short, long, global = true, value_name = "PORT", help_heading = "Switches",
        value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// Token for it, instead of authtoken.secret
    #[arg(short = 'T', long, global = true, value_name = "TOKEN", help_heading = "Switches")]
    token: Option<String>,
    /// IP address for it [default: 127.0.0.1]
    #[arg(short = 'H', long, global = true, value_name = "IP", help_heading = "Switches")]
    host: Option<String>,
    /// Print the version
    #[arg(short = 'v', long = "version", global = true, action = ArgAction::Version, help_heading = "Switches")]
    version: (),
    #[arg(short = 'q', global = true, hide = true)]
    quiet: bool,
}

#[derive(Subcommand, Debug)]
enum Group {
    /// Networks this node's controller keeps
    #[command(subcommand)]
    Network(NetworkCommand),
    /// Members of those networks
    #[command(subcommand)]
    Member(MemberCommand),
    /// The controller itself
    #[command(subcommand)]
    Controller(ControllerCommand),
    /// Identities: the key pair that is a node's address
    #[command(subcommand)]
    Identity(IdentityCommand),
    /// A planet of your own: the roots every node of it starts from
    #[command(subcommand)]
    Root(RootCommand),
    /// Moons: further roots that nodes may choose to use
    #[command(subcommand)]
    Moon(MoonCommand),
}

/// `network …`.
#[derive(Subcommand, Debug)]
pub enum NetworkCommand {
    /// Create a network on this controller
    #[command(
        after_help = "Examples:\n  ztnode-cli network create --name demo.lab --route 10.0.0.0/16 --pool \
        10.0.0.1-10.0.0.254\n  ztnode-cli network create --name lan6 --rfc4193 --6plane --public --dns \
        domain=lan6.example,server=10.0.0.1"
    )]
    Create {
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
    /// Change a network; what is not named stays as it is
    #[command(
        after_help = "Examples:\n  ztnode-cli network set demo.lab --mtu 1400 --broadcast=false\n  ztnode-cli \
        network set 37f2b7c94f000001 --route 10.0.0.0/16 --route 192.168.7.0/24,via=10.0.0.7\n\nLists (--route, \
        --pool) are replaced as a whole."
    )]
    Set {
        /// ID or name
        network: String,
        /// What is said about it
        #[command(flatten)]
        settings: NetworkSettings,
        /// Remove all routes
        #[arg(long, conflicts_with = "route")]
        no_routes: bool,
        /// Remove all pools
        #[arg(long, conflicts_with = "pool")]
        no_pools: bool,
    },
    /// Delete a network with all its members
    #[command(after_help = "Example:\n  ztnode-cli network delete 37f2b7c94f000001")]
    Delete {
        /// ID or name
        network: String,
    },
}

/// What `network create` and `network set` may say about a network.
#[derive(Args, Debug, Default)]
pub struct NetworkSettings {
    /// Name
    #[arg(long)]
    pub name: Option<String>,
    /// Route given to the members: TARGET[,via=GATEWAY]; may be repeated
    #[arg(long, value_name = "ROUTE", value_parser = validate::route)]
    pub route: Vec<Value>,
    /// Addresses to assign: FIRST-LAST; may be repeated
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
    /// Everybody who knows the ID may join
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

/// `controller …`.
#[derive(Subcommand, Debug)]
pub enum ControllerCommand {
    /// Whether the controller is ready, and what it keeps
    Status,
    /// Write all networks and members to a file, while the node runs
    #[command(after_help = "Example:\n  ztnode-cli controller backup /root/networks.db")]
    Backup {
        /// Path on the node's machine
        file: PathBuf,
    },
    /// Replace all networks and members by those of a backup
    #[command(after_help = "Example:\n  ztnode-cli controller restore /root/networks.db")]
    Restore {
        /// Path on the node's machine
        file: PathBuf,
    },
}

/// Where a new identity goes.
#[derive(Args, Debug)]
pub struct Outputs {
    /// File for the secret identity (readable for its owner only)
    #[arg(long, value_name = "FILE")]
    pub out_secret: Option<PathBuf>,
    /// File for the public identity
    #[arg(long, value_name = "FILE")]
    pub out_public: Option<PathBuf>,
    /// Overwrite files that exist
    #[arg(long)]
    pub force: bool,
}

/// `identity …`. An identity is given as text or as the name of a file that holds it.
#[derive(Subcommand, Debug)]
pub enum IdentityCommand {
    /// Make a new identity; without files it is printed
    #[command(after_help = "Examples:\n  ztnode-cli identity new\n  ztnode-cli identity new --out-secret \
        identity.secret --out-public identity.public")]
    New {
        /// Where it goes
        #[command(flatten)]
        outputs: Outputs,
    },
    /// Check that an identity's address belongs to its key
    #[command(after_help = "Example:\n  ztnode-cli identity validate /var/lib/zerotier-one/identity.public")]
    Validate {
        /// Text or file
        identity: String,
    },
    /// Print the public part
    #[command(after_help = "Example:\n  ztnode-cli identity public identity.secret")]
    Public {
        /// Text or file
        identity: String,
    },
    /// Sign a file; prints the signature in hexadecimal
    #[command(after_help = "Example:\n  ztnode-cli identity sign identity.secret letter.txt > letter.sig")]
    Sign {
        /// Secret identity, text or file
        identity: String,
        /// What to sign
        file: PathBuf,
    },
    /// Check a file's signature
    #[command(after_help = "Example:\n  ztnode-cli identity verify identity.public letter.txt letter.sig")]
    Verify {
        /// Text or file
        identity: String,
        /// What was signed
        file: PathBuf,
        /// Hexadecimal digits or file
        signature: String,
    },
    /// Make an identity whose address begins as you like: 16 times the work for every digit
    #[command(after_help = "Example:\n  ztnode-cli identity vanity c0 --out-secret identity.secret")]
    Vanity {
        /// 1 to 10 hexadecimal digits
        prefix: String,
        /// Where it goes
        #[command(flatten)]
        outputs: Outputs,
    },
}

/// Endpoints of a root.
#[derive(Args, Debug)]
pub struct Endpoints {
    /// Where other nodes reach the root: HOST[/PORT], comma-separated or repeated
    #[arg(long = "endpoint", value_name = "HOST/PORT", value_delimiter = ',', required = true)]
    pub endpoint: Vec<String>,
}

/// `root …`.
#[derive(Subcommand, Debug)]
pub enum RootCommand {
    /// Make a planet whose root is this node; works without a running node
    #[command(
        after_help = "Example:\n  ztnode-cli root init --endpoint 203.0.113.7/9993,2001:db8::7/9993\n\nThe \
        planet goes to <home>/planet (or --out), the key that signs its later versions to planet.key beside the \
        identity. Copy the planet to <home>/planet of every node and restart them."
    )]
    Init {
        /// Where it is reached
        #[command(flatten)]
        endpoints: Endpoints,
        /// File for the planet, instead of the one in the home directory
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Name from which the planet's ID is derived
        #[arg(long, conflicts_with = "id")]
        name: Option<String>,
        /// ID of the planet [default: random]
        #[arg(long, value_parser = validate::world_id)]
        id: Option<u64>,
        /// Replace a planet (and key) that exists: nodes of the old one will not follow by themselves
        #[arg(long)]
        force: bool,
    },
    /// Add another root to the planet and sign it anew; nodes take it over from their roots
    #[command(
        after_help = "Example:\n  ztnode-cli root add second/identity.public --endpoint 198.51.100.9/9993"
    )]
    Add {
        /// The other root's public identity, text or file
        identity: String,
        /// Where it is reached
        #[command(flatten)]
        endpoints: Endpoints,
        /// The planet, instead of the one in the home directory
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Take a root out of the planet and sign it anew
    #[command(after_help = "Example:\n  ztnode-cli root remove 5aca06ff8e")]
    Remove {
        /// The root's address
        #[arg(value_parser = validate::address)]
        address: String,
        /// The planet, instead of the one in the home directory
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Sign the planet anew, with other endpoints for this node if you like
    #[command(after_help = "Example:\n  ztnode-cli root sign --endpoint 203.0.113.8/9993")]
    Sign {
        /// New endpoints of this node: HOST[/PORT], comma-separated or repeated
        #[arg(long, value_name = "HOST/PORT", value_delimiter = ',')]
        endpoint: Vec<String>,
        /// The planet, instead of the one in the home directory
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Show a planet or moon file
    #[command(
        after_help = "Examples:\n  ztnode-cli root show\n  ztnode-cli root show 000000deadbeef00.moon -j"
    )]
    Show {
        /// File [default: the planet in the home directory]
        file: Option<PathBuf>,
    },
}

/// `moon …`.
#[derive(Subcommand, Debug)]
pub enum MoonCommand {
    /// Describe a moon whose first root is this node (or the identity given), with a new key to sign it
    #[command(
        after_help = "Example:\n  ztnode-cli moon init --endpoint 203.0.113.7/9993 --out moon.json\n  \
        ztnode-cli moon sign moon.json\n\nKeep the description: it holds the key for later versions. To add roots, \
        add them to its \"roots\"."
    )]
    Init {
        /// Public identity of the first root, text or file [default: this node's]
        identity: Option<String>,
        /// Where other nodes reach it: HOST[/PORT], comma-separated or repeated
        #[arg(long, value_name = "HOST/PORT", value_delimiter = ',')]
        endpoint: Vec<String>,
        /// File for the description, readable for its owner only [default: print it]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Make the signed moon file of a description
    #[command(
        after_help = "Example:\n  ztnode-cli moon sign moon.json --out-dir /var/lib/zerotier-one/moons.d"
    )]
    Sign {
        /// The description
        file: PathBuf,
        /// Directory for the file, which is named after the ID
        #[arg(long, value_name = "DIR", default_value = ".")]
        out_dir: PathBuf,
    },
    /// List the moons this node orbits
    List,
    /// Use a moon's roots
    #[command(
        after_help = "Example:\n  ztnode-cli moon orbit deadbeef00\n\nThe seed, the address of one of the \
        moon's roots, is by convention the same as its ID."
    )]
    Orbit {
        /// The moon's ID, 10 or 16 digits
        id: String,
        /// Address of one of its roots [default: the ID]
        seed: Option<String>,
    },
    /// Forget a moon
    Deorbit {
        /// The moon's ID, 10 or 16 digits
        id: String,
    },
}

fn network_id(text: &str) -> Result<String, String> {
    if validate::is_hex(text, 16) {
        Ok(text.to_ascii_lowercase())
    } else {
        Err("a network ID is 16 hexadecimal digits, such as 37f2b7c94f000001".into())
    }
}

/// Parses and runs a grouped command.
///
/// # Errors
/// Exit code 2 with clap's explanation for a malformed line; what the command failed with.
pub fn run(program: &str, arguments: &[String], io: &mut Io<'_>) -> Outcome {
    let words = std::iter::once("ztnode-cli").chain(arguments.iter().map(String::as_str));
    let line = match Line::try_parse_from(words) {
        Ok(line) => line,
        Err(error) if error.use_stderr() => return Err(Failure::usage(error.to_string().trim_end())),
        Err(error) if error.kind() == clap::error::ErrorKind::DisplayVersion => {
            return Ok(writeln!(io.out, "{}", crate::VERSION)?);
        }
        Err(error) => return Ok(write!(io.out, "{error}")?),
    };
    let Switches { home, json, port, token, host, .. } = line.switches;
    let common = Common { json, home, port, token, host };
    let open = |common: Common| Session::open(program, common);
    match line.group {
        Group::Network(command) => commands::network::run(&open(common)?, command, io),
        Group::Member(command) => commands::member::run(&open(common)?, command, io),
        Group::Controller(command) => commands::controller::run(&open(common)?, command, io),
        Group::Identity(command) => commands::identity::run(&common, command, io),
        Group::Root(command) => commands::root::run(program, &common, command, io),
        Group::Moon(command) => commands::moon::run(program, common, command, io),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_definitions_are_sound_and_every_group_is_known_to_the_help() {
        Line::command().debug_assert();
        let names: Vec<_> =
            Line::command().get_subcommands().map(|group| group.get_name().to_owned()).collect();
        assert_eq!(names, crate::text::help::GROUPS.map(|(name, _)| name));
    }

    #[test]
    fn glued_switches_work_here_too() {
        let line =
            Line::try_parse_from(["x", "-j", "-p9993", "network", "list", "-D/home/x", "-Ttok", "-H::1"])
                .unwrap();
        assert_eq!(
            (line.switches.json, line.switches.port, line.switches.home.as_deref()),
            (true, Some(9993), Some("/home/x"))
        );
        assert_eq!(
            (line.switches.token.as_deref(), line.switches.host.as_deref()),
            (Some("tok"), Some("::1"))
        );
    }
}
