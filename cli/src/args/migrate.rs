//! What `migrate` takes.

use std::path::PathBuf;

use clap::Args;

/// Examples, and the exit codes of `commands::migrate`.
const HELP: &str = "Examples:
  ztnode-cli migrate --from /var/lib/zerotier-one --dry-run

  systemctl disable --now zerotier-one
  ztnode-cli migrate --from /var/lib/zerotier-one
  systemctl enable --now ztnode

Copies the identity, planet, moons, joined networks with their settings, local.conf and the
controller's networks and members. The old home is left as it is, so going back is starting the old
service again. Run again, it does what is still missing.

Exit codes:
  0  everything is in the new home (--dry-run: it would be)
  1  something is damaged (nothing was changed), or cannot be read or written
  2  bad arguments, or no such home
  3  a zerotier-one or a ztnode runs on one of the homes; nothing was changed
  4  the new home is another node's, or has other settings or records; nothing was changed,
     --replace is needed";

/// `migrate …`.
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub struct Migrate {
    /// Home directory of the zerotier-one
    #[arg(long, value_name = "DIR")]
    pub from: PathBuf,
    /// Home directory to fill [default: --home, $ZEROTIER_HOME, else /var/lib/ztnode]
    #[arg(long, value_name = "DIR")]
    pub to: Option<PathBuf>,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Take the place of the node, or of the settings, that the new home has; they are kept in a dated folder in it
    #[arg(long)]
    pub replace: bool,
    /// The tokens of the control API too: for programs that keep a copy of them
    #[arg(long)]
    pub with_tokens: bool,
}
