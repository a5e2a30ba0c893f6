//! What `join` takes besides the network: the join token, as a word or in a file, and with it possibly a planet.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use protocol::join_token::{Damage, JoinToken, MAX_LENGTH, PREFIX, Place};
use zeroize::Zeroizing;

/// Longest token of an unknown kind, in octets: it must fit into what is sent to the controller.
const MAX_SENT: usize = 256;

/// What stands behind `join` besides the network, in switches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Joining {
    /// `--token`.
    pub token: Option<Zeroizing<String>>,
    /// `--token-file`.
    pub file: Option<PathBuf>,
    /// `--keep-planet`.
    pub keep_planet: bool,
}

/// What a `join` is about.
#[derive(Debug, PartialEq, Eq)]
pub struct Join {
    /// The network to be joined.
    pub network: String,
    /// The token that goes to its controller: without network and planet, which every controller understands.
    pub token: Option<Zeroizing<String>>,
    /// The planet that the network's nodes use, if the token names one and it is not to be passed over.
    pub planet: Option<Planet>,
}

/// A planet that a token names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planet {
    /// SHA-256 of its file.
    pub sha256: String,
    /// Where that is.
    pub source: Source,
}

/// Where the file of a planet is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// On the web.
    Url(String),
    /// Beside the file of the token.
    File(PathBuf),
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Url(url) => f.write_str(url),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// What is to be joined, by the word behind `join` (possibly none) and its switches.
///
/// # Errors
/// There is no network in it, or there are two; the token's file cannot be read. Tokens are not repeated in errors: they are
/// secrets.
pub fn of_join(word: &str, joining: &Joining) -> Result<Join, String> {
    let token = match &joining.file {
        Some(_) if joining.token.is_some() => {
            return Err("join: there are two join tokens; one is enough".into());
        }
        Some(path) => Some(read(path)?),
        None => joining.token.clone(),
    };
    let (word, text) = match (word, token) {
        (word, Some(_)) if word.starts_with(PREFIX) => {
            return Err("join: there are two join tokens; one is enough".into());
        }
        (word, None) if word.starts_with(PREFIX) => (None, Zeroizing::new(word.to_owned())),
        (word, None) => return Ok(Join { network: word.to_owned(), token: None, planet: None }),
        ("", Some(text)) => (None, text),
        (word, Some(text)) => (Some(word), text),
    };
    let token = match (JoinToken::parse(&text), word) {
        (Ok(token), _) => token,
        (Err(Damage::Planet(why)), _) => {
            return Err(format!(
                "join: the token is damaged, or made by a newer version: of the planet it names, {why}"
            ));
        }
        // Whatever it is, it is for the network's controller to know.
        (Err(Damage::Form), Some(network)) => {
            return Ok(Join { network: network.to_owned(), token: Some(text), planet: None });
        }
        (Err(Damage::Form), None) => {
            return Err("join: the token is damaged: it is ztt_, the network's 16 digits, and two more groups of digits, \
                        joined by _, and possibly those of a planet, as `ztnode-cli token create` prints it"
                .into());
        }
    };
    let network = match (word, token.network) {
        (Some(word), Some(network)) if !network.eq_ignore_ascii_case(word) => {
            return Err(format!("join: the token is one of network {network}, not of {word}"));
        }
        (Some(word), _) => word.to_owned(),
        (None, Some(network)) => network.to_ascii_lowercase(),
        (None, None) => {
            return Err(
                "join: this token does not say which network it is for; write join NETWORK --token TOKEN"
                    .into(),
            );
        }
    };
    let planet = token.planet.filter(|_| !joining.keep_planet).map(|planet| {
        let source = match (planet.place, &joining.file) {
            (Place::Url(url), _) => Source::Url(url.to_owned()),
            (Place::Beside(name), Some(file)) => Source::File(file.with_file_name(name)),
            (Place::Beside(name), None) => {
                return Err(format!(
                    "join: the token's planet is a file called {name} beside the token's own file; write the token into a \
                     file, and join --token-file FILE"
                ));
            }
        };
        Ok(Planet { sha256: planet.sha256.to_owned(), source })
    });
    Ok(Join { network, token: Some(Zeroizing::new(token.bare())), planet: planet.transpose()? })
}

/// The token in a file, without the white space around it.
fn read(path: &Path) -> Result<Zeroizing<String>, String> {
    let shown = path.display();
    let mut text = Zeroizing::new(String::new());
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_LENGTH as u64 + 16).read_to_string(&mut text))
        .map_err(|error| format!("join: cannot read the token in {shown}: {error}"))?;
    let token = Zeroizing::new(text.trim().to_owned());
    if !could_be_a_token(&token) {
        return Err(format!(
            "join: {shown} holds no join token: one line, as `ztnode-cli token create` prints it"
        ));
    }
    Ok(token)
}

fn could_be_a_token(text: &str) -> bool {
    let most = if text.starts_with(PREFIX) { MAX_LENGTH } else { MAX_SENT };
    (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Takes `--token T`, `--token-file F` and `--keep-planet` out of the arguments of `join`. Before the command `--token` is the
/// token of the control API, as with every other command, and so is `-T` everywhere.
///
/// # Errors
/// There is no token, or none that could be one.
pub fn take(arguments: &[String], reference: bool) -> Result<(Vec<String>, Joining), String> {
    let (mut left, mut joining, mut seen) = (Vec::new(), Joining::default(), false);
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let (name, joined) = match argument.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (argument.as_str(), None),
        };
        match name {
            "--token" if seen => {
                let text = joined.or_else(|| rest.next().map(String::as_str)).unwrap_or_default();
                if !could_be_a_token(text) {
                    return Err("--token takes a join token, visible characters without spaces, as `ztnode-cli token create` \
                                prints it; the token of the control API is given by -T"
                        .into());
                }
                joining.token = Some(Zeroizing::new(text.to_owned()));
                continue;
            }
            "--token-file" if seen => {
                let path = joined.or_else(|| rest.next().map(String::as_str)).unwrap_or_default();
                if path.is_empty() {
                    return Err("--token-file takes the name of a file with a join token".into());
                }
                joining.file = Some(path.into());
                continue;
            }
            "--keep-planet" if seen && joined.is_none() => {
                joining.keep_planet = true;
                continue;
            }
            _ => {}
        }
        left.push(argument.clone());
        if super::switches::takes_separate_value(argument, reference) {
            left.extend(rest.next().cloned());
        } else {
            seen |= argument == "join";
        }
    }
    Ok((left, joining))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NETWORK: &str = "37f2b7c94f000001";
    const LONG: &str = "ztt_37f2b7c94f000001_5f0c2a19_0123";
    const SHORT: &str = "ztt_5f0c2a19_0123";
    const SHA256: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn by(token: &str) -> Joining {
        Joining { token: Some(Zeroizing::new(token.to_owned())), ..Joining::default() }
    }

    fn join(token: Option<&str>, planet: Option<Planet>) -> Join {
        Join { network: NETWORK.into(), token: token.map(|token| Zeroizing::new(token.into())), planet }
    }

    #[test]
    fn the_join_token_and_that_of_the_control_api() {
        let taken = |line: &str| {
            let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            take(&words, true).map(|(left, joining)| (left.join(" "), joining))
        };
        let none = Joining::default;
        assert_eq!(taken("join N --token T -j"), Ok(("join N -j".into(), by("T"))));
        assert_eq!(taken("join --token=T N -Tapi"), Ok(("join N -Tapi".into(), by("T"))));
        assert_eq!(taken("--token api join N"), Ok(("--token api join N".into(), none())));
        assert_eq!(taken("--token join join N --token T"), Ok(("--token join join N".into(), by("T"))));
        assert_eq!(taken("-Tapi join N"), Ok(("-Tapi join N".into(), none())));
        let file = Joining { file: Some("f".into()), keep_planet: true, token: None };
        assert_eq!(taken("join --token-file f --keep-planet -j"), Ok(("join -j".into(), file.clone())));
        assert_eq!(taken("join --keep-planet --token-file=f"), Ok(("join".into(), file)));
        for bad in [
            "join N --token",
            "join N --token=",
            "join N --token é",
            "join --token-file",
            "join --token-file=",
        ] {
            assert!(taken(bad).is_err(), "{bad}");
        }
        let long = format!("join N --token {}", "x".repeat(257));
        assert!(taken(&long).is_err(), "the controller gets no more than 256");
    }

    #[test]
    fn a_token_names_its_network() {
        let joined = || Ok(join(Some(SHORT), None));
        assert_eq!(of_join(LONG, &Joining::default()), joined());
        assert_eq!(of_join(NETWORK, &by(LONG)), joined());
        assert_eq!(of_join("", &by(LONG)), joined());
        assert_eq!(of_join(NETWORK, &by(SHORT)), joined(), "as earlier versions made them");
        assert_eq!(of_join(NETWORK, &by("other")), Ok(join(Some("other"), None)));
        assert_eq!(of_join(NETWORK, &Joining::default()), Ok(join(None, None)));
        for (word, joining) in [
            ("37f2b7c94f000002", by(LONG)),
            (LONG, by(LONG)),
            (SHORT, Joining::default()),
            ("", by(SHORT)),
            ("ztt_", Joining::default()),
            ("ztt_37f2b7c94f00000_5f0c2a19_0123", Joining::default()),
            ("", by(&format!("{LONG}_{SHA256}_http://example.com/planet"))),
        ] {
            let why = of_join(word, &joining).unwrap_err();
            assert!(!why.contains("0123"), "{why}");
        }
    }

    #[test]
    fn a_token_names_the_planet_too() {
        let text = format!("{LONG}_{SHA256}_https://example.com/planet");
        let url = Planet { sha256: SHA256.into(), source: Source::Url("https://example.com/planet".into()) };
        assert_eq!(of_join(&text, &Joining::default()), Ok(join(Some(SHORT), Some(url))));
        let keep = Joining { keep_planet: true, ..Joining::default() };
        assert_eq!(of_join(&text, &keep), Ok(join(Some(SHORT), None)));
    }

    #[test]
    fn files_of_tokens_and_planets_lie_beside_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let joining = Joining { file: Some(path.clone()), ..Joining::default() };
        assert!(of_join("", &joining).unwrap_err().contains("cannot read the token in"));
        for bad in ["", " \n", "two words", &"x".repeat(300), &format!("{PREFIX}{}", "x".repeat(2000))] {
            std::fs::write(&path, bad).unwrap();
            assert!(of_join(NETWORK, &joining).unwrap_err().contains("holds no join token"), "{bad}");
        }
        let text = format!("{LONG}_{SHA256}_lab.planet");
        std::fs::write(&path, format!("{text}\r\n")).unwrap();
        let planet = Planet { sha256: SHA256.into(), source: Source::File(folder.path().join("lab.planet")) };
        assert_eq!(of_join("", &joining), Ok(join(Some(SHORT), Some(planet))));
        // Without a file there is nothing that it could lie beside.
        let why = of_join(&text, &Joining::default()).unwrap_err();
        assert!(why.contains("--token-file") && why.contains("lab.planet"), "{why}");
    }
}
