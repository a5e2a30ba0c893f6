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
}
