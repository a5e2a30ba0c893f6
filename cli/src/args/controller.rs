//! What `controller …` takes.

use std::path::PathBuf;

use clap::Subcommand;

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
    /// Replace all networks and members by those of a backup
    #[command(after_help = "Example:\n  ztnode-cli controller restore /root/networks.db")]
    Restore {
        /// File that `backup` wrote
        file: PathBuf,
    },
    /// Take over what is newer in a zerotier-one controller's files in controller.d
    #[command(
        after_help = "Only files that were changed after the last time are taken over; they replace what is \
                            here. Everything else stays.\n\nExample:\n  ztnode-cli controller import"
    )]
    Import,
}
