//! The grammar of the grouped commands as a whole: the switches they share, and which groups there are. What each
//! takes is in a file of its own.

use clap::{ArgAction, Args, Parser, Subcommand};

use super::Common;
use super::capture::Capture;
use super::container::Container;
use super::controller::ControllerCommand;
use super::identity::IdentityCommand;
use super::member::MemberCommand;
use super::migrate::Migrate;
use super::network::NetworkCommand;
use super::rules::RulesCommand;
use super::token::TokenCommand;
use super::world::{MoonCommand, RootCommand};

/// A command line of a group.
#[derive(Parser, Debug)]
#[command(
    name = "ztnode-cli",
    version,
    propagate_version = true,
    disable_version_flag = true,
    disable_help_subcommand = true,
    max_term_width = 100,
    about = "query and control the ztnode daemon on this machine",
    after_help = "`ztnode-cli help` lists the commands of the node itself (info, peers, join …)."
)]
pub struct Line {
    /// What every command understands.
    #[command(flatten)]
    pub switches: Switches,
    /// What to do.
    #[command(subcommand)]
    pub group: Group,
}

/// The switches as this grammar has them.
#[derive(Args, Debug)]
pub struct Switches {
    /// Home directory of the node [default: $ZEROTIER_HOME, /var/lib/ztnode if there is one, or /var/lib/zerotier-one]
    #[arg(short = 'D', long, global = true, value_name = "DIR", help_heading = "Switches")]
    home: Option<String>,
    /// JSON instead of tables
    #[arg(short, long, global = true, help_heading = "Switches")]
    json: bool,
    /// TCP port of the control API, instead of the Unix socket
    #[arg(short, long, global = true, value_name = "PORT", help_heading = "Switches",
        value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// Token for it (not a join token), instead of authtoken.secret
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

impl From<Switches> for Common {
    fn from(switches: Switches) -> Self {
        let Switches { home, json, port, token, host, .. } = switches;
        Self { json, home, port, token, host }
    }
}

/// The groups.
#[derive(Subcommand, Debug)]
pub enum Group {
    /// Networks this node's controller keeps
    #[command(subcommand)]
    Network(NetworkCommand),
    /// Members of those networks
    #[command(subcommand)]
    Member(MemberCommand),
    /// Join tokens: let nodes in without authorizing each
    #[command(subcommand)]
    Token(TokenCommand),
    /// Flow rules: compile, test and explain them, set them, see what they do
    #[command(subcommand)]
    Rules(RulesCommand),
    /// Record the packets of a network's TAP device here
    Capture(Capture),
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
    /// Take over the home of a zerotier-one: its address, networks, settings and controller
    Migrate(Migrate),
    /// Be the first process of a container; or its health check
    Container(Container),
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
