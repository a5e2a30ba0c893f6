//! What `root …` and `moon …` take.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::validate;

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
    /// Put somebody's planet into the home directory, which the node uses from its next start
    #[command(after_help = "Examples:\n  ztnode-cli root use company.planet\n  ztnode-cli root use \
        https://planets.example.com/planet#sha256=HEX\n\nWithout it a node starts from the public roots. A newer version of the same \
        planet stays. Works without a running node; one that runs is restarted: systemctl restart ztnode")]
    Use {
        /// File, with #sha256=HEX behind it if it has to be a certain one; or https URL, which must have that
        planet: String,
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
