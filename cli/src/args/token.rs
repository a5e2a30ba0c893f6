//! What `token …` takes, and the join token of `join TOKEN` and `join NETWORK --token TOKEN`.

use std::net::IpAddr;

use clap::{Args, Subcommand};

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

/// How every join token begins.
pub const PREFIX: &str = "ztt_";

/// A join token in parts: `ztt_NETWORK_ID_SECRET`, or `ztt_ID_SECRET` as earlier versions made them.
struct Parts<'a> {
    network: Option<&'a str>,
    id: &'a str,
    secret: &'a str,
}

impl<'a> Parts<'a> {
    fn of(text: &'a str) -> Option<Self> {
        let words: Vec<&str> = text.strip_prefix(PREFIX)?.split('_').collect();
        match words.as_slice() {
            [network, id, secret] if validate::is_hex(network, 16) => {
                Some(Self { network: Some(network), id, secret })
            }
            [id, secret] => Some(Self { network: None, id, secret }),
            _ => None,
        }
    }
}

/// The network that is to be joined and the token that goes to its controller, of what stands behind `join` and of its
/// `--token`. The token goes without the network in it, which every controller understands.
///
/// # Errors
/// There is no network in it, or there are two. Tokens are not repeated in errors: they are secrets.
pub fn of_join(word: &str, token: Option<String>) -> Result<(String, Option<String>), String> {
    let short = |parts: &Parts<'_>| format!("{PREFIX}{}_{}", parts.id, parts.secret);
    if !word.starts_with(PREFIX) {
        let Some(token) = token else { return Ok((word.to_owned(), None)) };
        return match Parts::of(&token) {
            Some(Parts { network: Some(network), .. }) if !network.eq_ignore_ascii_case(word) => {
                Err(format!("join: the token is one of network {network}, not of {word}"))
            }
            Some(parts) if parts.network.is_some() => Ok((word.to_owned(), Some(short(&parts)))),
            _ => Ok((word.to_owned(), Some(token))),
        };
    }
    if token.is_some() {
        return Err("join: there are two join tokens; one is enough".into());
    }
    match Parts::of(word) {
        Some(Parts { network: None, .. }) => Err(
            "join: this token does not say which network it is for; write join NETWORK --token TOKEN".into()
        ),
        Some(parts) => Ok((parts.network.unwrap_or_default().to_ascii_lowercase(), Some(short(&parts)))),
        None => Err("join: the token is damaged: it is ztt_, the network's 16 digits, and two more groups of digits, \
                     joined by _, as `ztnode-cli token create` prints it"
            .into()),
    }
}

/// The ID of a token given by ID or as a whole.
fn token_id(text: &str) -> Result<String, String> {
    let id = Parts::of(text).map_or(text, |parts| parts.id);
    if validate::is_hex(id, 8) {
        Ok(id.to_ascii_lowercase())
    } else {
        // Not repeated: it may be a secret.
        Err("8 hexadecimal digits are wanted, as `ztnode-cli token list` shows them".into())
    }
}

/// Takes `--token T` out of the arguments of `join`. Before the command it is the token of the control API, as with every
/// other command, and so is `-T` everywhere.
///
/// # Errors
/// There is no token, or none that could be one.
pub fn take(arguments: &[String], reference: bool) -> Result<(Vec<String>, Option<String>), String> {
    let (mut left, mut token, mut seen) = (Vec::new(), None, false);
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let joined = argument.strip_prefix("--token=");
        if seen && (argument == "--token" || joined.is_some()) {
            let text = joined.or_else(|| rest.next().map(String::as_str)).unwrap_or_default();
            if !(1..=256).contains(&text.len()) || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err("--token takes a join token, 1 to 256 visible characters without spaces, as `ztnode-cli token \
                            create` prints it; the token of the control API is given by -T"
                    .into());
            }
            token = Some(text.to_owned());
            continue;
        }
        left.push(argument.clone());
        if super::switches::takes_separate_value(argument, reference) {
            left.extend(rest.next().cloned());
        } else {
            seen |= argument == "join";
        }
    }
    Ok((left, token))
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

    #[test]
    fn the_join_token_and_that_of_the_control_api() {
        let taken = |line: &str| {
            let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            take(&words, true).map(|(left, token)| (left.join(" "), token))
        };
        let token = |text: &str| Some(text.to_owned());
        assert_eq!(taken("join N --token T -j"), Ok(("join N -j".into(), token("T"))));
        assert_eq!(taken("join --token=T N -Tapi"), Ok(("join N -Tapi".into(), token("T"))));
        assert_eq!(taken("--token api join N"), Ok(("--token api join N".into(), None)));
        assert_eq!(taken("--token join join N --token T"), Ok(("--token join join N".into(), token("T"))));
        assert_eq!(taken("-Tapi join N"), Ok(("-Tapi join N".into(), None)));
        for bad in ["join N --token", "join N --token=", "join N --token é"] {
            assert!(taken(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_token_names_its_network() {
        const NETWORK: &str = "37f2b7c94f000001";
        let long = "ztt_37f2b7c94f000001_5f0c2a19_0123".to_owned();
        let short = Some("ztt_5f0c2a19_0123".to_owned());
        let joined = Ok((NETWORK.to_owned(), short.clone()));
        assert_eq!(of_join(&long, None), joined);
        assert_eq!(of_join(NETWORK, Some(long.clone())), joined);
        assert_eq!(of_join(NETWORK, short.clone()), joined, "as earlier versions made them");
        assert_eq!(of_join(NETWORK, Some("other".into())), Ok((NETWORK.into(), Some("other".into()))));
        assert_eq!(of_join(NETWORK, None), Ok((NETWORK.into(), None)));
        for (word, token) in [
            ("37f2b7c94f000002", Some(long.clone())),
            (long.as_str(), Some(long.clone())),
            ("ztt_5f0c2a19_0123", None),
            ("ztt_", None),
            ("ztt_37f2b7c94f00000_5f0c2a19_0123", None),
        ] {
            let why = of_join(word, token).unwrap_err();
            assert!(!why.contains("0123"), "{why}");
        }
    }
}
