//! What `container` takes: the first process of a container image, and its health check.

use clap::{Args, Subcommand};

/// What the environment says, and examples.
const HELP: &str = "Prepares the home directory by what the environment says, and becomes ztnode.

  ZEROTIER_JOIN_NETWORKS    networks to join, or join tokens, with blanks or commas between them
  ZEROTIER_IDENTITY_SECRET  the node's identity, as identity.secret holds it
  ZEROTIER_IDENTITY_PUBLIC  its public part; goes with the secret and may be left out
  ZEROTIER_API_SECRET       token of the control API [default: one is made]
  ZTNODE_PLANET             the planet to start from: a file, or https://…/planet#sha256=HEX
                            [default: that of a join token, in a new home; else the public roots]

Each of the first four may be given as a file: ZEROTIER_IDENTITY_SECRET_FILE=/run/secrets/identity. What
is secret is then in no environment, no list of processes and no description of the container.
Networks that the home directory has joined stay joined.

Examples:
  ztnode-cli container 37f2b7c94f000001
  ztnode-cli container 37f2b7c94f000001 -- --port 9994
  ztnode-cli container health";

/// `container …`.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true, after_help = HELP)]
pub struct Container {
    /// Something else than starting
    #[command(subcommand)]
    pub action: Option<Action>,
    /// Networks to join: 16-digit IDs, or join tokens (others on the machine may see them here)
    #[arg(value_name = "NETWORK")]
    pub networks: Vec<String>,
    /// Switches for ztnode
    #[arg(last = true, value_name = "SWITCH")]
    pub switches: Vec<String>,
}

/// `container ACTION`.
#[derive(Subcommand, Debug)]
pub enum Action {
    /// Say whether the node answers and every network it has joined can be used
    #[command(after_help = "Examples:
  ztnode-cli container health
  ztnode-cli container health 37f2b7c94f000001

Says for every network that cannot be used what is missing. A node without networks only has to
answer.

Exit codes:
  0  healthy
  1  the node does not answer, or a network cannot be used
  2  bad arguments")]
    Health {
        /// Only these, which must be joined: 16-digit IDs
        #[arg(value_name = "NETWORK", value_parser = network)]
        networks: Vec<String>,
    },
}

/// A network's ID. For clap.
fn network(text: &str) -> Result<String, String> {
    if crate::validate::is_hex(text, 16) {
        Ok(text.to_ascii_lowercase())
    } else {
        Err("a network's ID is 16 hexadecimal digits, such as 37f2b7c94f000001".into())
    }
}
