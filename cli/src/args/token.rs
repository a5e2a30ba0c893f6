//! What `token …` takes.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};
use protocol::join_token::{JoinToken, Place};

use super::user_data::UserData;
use crate::validate;

/// `token …`.
#[derive(Subcommand, Debug)]
pub enum TokenCommand {
    /// Make a join token and print it; it is shown this once
    #[command(
        after_help = "Examples:\n  ztnode-cli token create demo.lab\n  ztnode-cli token create demo.lab --name aws \
        --tag department=sales --ip 10.0.2.1\n  ztnode-cli token create demo.lab --uses 20 --expires 7d --name web\n\n\
        Whoever has the token can join with it while it is valid: ztnode-cli join TOKEN --wait\nOnly the token goes to \
        standard output, so that a script can take it; what it is valid for goes to standard error."
    )]
    Create(Create),
    /// List the join tokens of a network, valid or not, and who used them
    #[command(
        after_help = "Examples:\n  ztnode-cli token list demo.lab\n  ztnode-cli token list demo.lab -j"
    )]
    List {
        /// ID or name of the network
        network: String,
    },
    /// Revoke a join token; the members it let in stay
    #[command(after_help = "Example:\n  ztnode-cli token revoke demo.lab 5f0c2a19")]
    Revoke {
        /// ID or name of the network
        network: String,
        /// ID as `token list` shows it, or the token itself
        #[arg(value_name = "TOKEN-ID", value_parser = token_id)]
        id: String,
    },
}

/// `token create`.
#[derive(Args, Debug)]
pub struct Create {
    /// ID or name of the network
    pub network: String,
    /// How many nodes it lets in: a number, or `unlimited`
    #[arg(long, default_value = "1", value_parser = uses)]
    pub uses: u64,
    /// How long it is valid (controller's clock): a number with s, m, h or d, or `never` if it is not to expire
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = lifetime)]
    pub expires: i64,
    /// Name of the member; with more than one use, NAME-1, NAME-2 …
    #[arg(long)]
    pub name: Option<String>,
    /// A tag the member carries, NAME=VALUE with names from the network's rules, or numbers; may be repeated
    #[arg(long, value_name = "TAG", value_parser = validate::tag)]
    pub tag: Vec<(String, String)>,
    /// Address of the network assigned to it, kept free meanwhile; may be repeated; only with one use
    #[arg(long, value_parser = validate::ip)]
    pub ip: Vec<IpAddr>,
    /// Where a new node finds the planet of this network's nodes: an https URL that leads to its file, or the name of a
    /// file that lies beside the token's [default: the name of --planet]
    #[arg(long, value_name = "URL", value_parser = place)]
    pub planet_url: Option<String>,
    /// File of that planet, whose SHA-256 goes into the token [default: with --planet-url, the planet of this node]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub planet: Option<PathBuf>,
    /// User-data for a machine that joins with it.
    #[command(flatten)]
    pub user_data: UserData,
}

/// Where a planet is found, as the token has it.
fn place(text: &str) -> Result<String, String> {
    Place::parse(text).map(|place| place.to_string())
}

/// A number of uses; 0 = unlimited, as the controller has it.
fn uses(text: &str) -> Result<u64, String> {
    match text.parse() {
        _ if text == "unlimited" => Ok(0),
        Ok(uses @ 1..=1_000_000) => Ok(uses),
        _ => Err("a number from 1 to 1000000 is wanted, or `unlimited`".into()),
    }
}

/// A time in milliseconds; 0 = for ever, as the controller has it.
fn lifetime(text: &str) -> Result<i64, String> {
    if text == "never" {
        return Ok(0);
    }
    let units = [("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
    units
        .iter()
        .find_map(|(unit, ms)| text.strip_suffix(unit)?.parse::<u32>().ok().map(|n| i64::from(n) * ms))
        .filter(|ms| (1..=3650 * 86_400_000).contains(ms))
        .ok_or_else(|| "a time is a number with s, m, h or d, such as 90m, 3650d at most, or `never`".into())
}

/// The ID of a token given by ID or as a whole.
fn token_id(text: &str) -> Result<String, String> {
    let token = JoinToken::parse(text);
    let id = token.as_ref().map_or(text, |token| token.id);
    if validate::is_hex(id, 8) {
        Ok(id.to_ascii_lowercase())
    } else {
        // Not repeated: it may be a secret.
        Err("8 hexadecimal digits are wanted, as `ztnode-cli token list` shows them".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uses_times_and_ids() {
        assert_eq!((uses("1"), uses("unlimited")), (Ok(1), Ok(0)));
        for bad in ["0", "-1", "", "1000001", "all", "1.5"] {
            assert!(uses(bad).is_err(), "{bad}");
        }
        let good =
            [("1s", 1000), ("90m", 5_400_000), ("1h", 3_600_000), ("3650d", 315_360_000_000), ("never", 0)];
        for (text, ms) in good {
            assert_eq!(lifetime(text), Ok(ms), "{text}");
        }
        for bad in ["0s", "1", "h", "", "-1h", "3651d", "1w", "1.5h", "99999999999999999999d"] {
            assert!(lifetime(bad).is_err(), "{bad}");
        }
        assert_eq!(token_id("5F0C2A19"), Ok("5f0c2a19".into()));
        assert_eq!(token_id("ztt_5f0c2a19_0123"), Ok("5f0c2a19".into()));
        assert_eq!(token_id("ztt_37f2b7c94f000001_5f0c2a19_0123"), Ok("5f0c2a19".into()));
        assert!(token_id("5f0c2a1").is_err() && token_id("ztt_").is_err());
    }
}
