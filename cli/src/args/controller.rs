//! What `controller …` takes.

use std::path::PathBuf;

use clap::Subcommand;

use super::network::Sure;

/// `controller …`.
#[derive(Subcommand, Debug)]
pub enum ControllerCommand {
    /// Whether the controller is ready, and what it keeps
    Status,
    /// Write all networks and members to a file, while the node runs
    #[command(after_help = "Example:\n  ztnode-cli controller backup /root/networks.db")]
    Backup {
        /// File to write; one that is there is replaced
        file: PathBuf,
    },
    /// Replace all networks and members with those of a backup; asks first when there is a terminal
    #[command(
        after_help = "Example:\n  ztnode-cli controller restore /root/networks.db\n\nThe database that was in use stays in \
        the home as controller.d/controller.sqlite.replaced."
    )]
    Restore {
        /// File that `backup` wrote
        file: PathBuf,
        /// Whether to ask
        #[command(flatten)]
        sure: Sure,
    },
    /// Take over what is newer in a zerotier-one controller's files in controller.d
    #[command(
        after_help = "Only files that were changed after the last time are taken over; they replace what is \
                            here. Everything else stays.\n\nExample:\n  ztnode-cli controller import"
    )]
    Import,
}
