//! What `identity …` takes.

use std::path::PathBuf;

use clap::{Args, Subcommand};

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
