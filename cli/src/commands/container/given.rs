//! What the environment and the command line of a container give. Nothing of it is repeated in an error: it may be secret.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;

use protocol::SecretIdentity;
use protocol::identity::Identity;
use protocol::join_token::{JoinToken, Place};
use zeroize::Zeroizing;

use crate::args::join::{Joining, of_join};
use crate::validate::is_hex;

const API_SECRET: &str = "ZEROTIER_API_SECRET";
const IDENTITY_PUBLIC: &str = "ZEROTIER_IDENTITY_PUBLIC";
const IDENTITY_SECRET: &str = "ZEROTIER_IDENTITY_SECRET";
const JOIN_NETWORKS: &str = "ZEROTIER_JOIN_NETWORKS";
const PLANET: &str = "ZTNODE_PLANET";

/// All variables that are read, which the daemon has no use for.
pub(super) const VARIABLES: [&str; 9] = [
    API_SECRET,
    "ZEROTIER_API_SECRET_FILE",
    IDENTITY_PUBLIC,
    "ZEROTIER_IDENTITY_PUBLIC_FILE",
    IDENTITY_SECRET,
    "ZEROTIER_IDENTITY_SECRET_FILE",
    JOIN_NETWORKS,
    "ZEROTIER_JOIN_NETWORKS_FILE",
    PLANET,
];

/// Longest value, in bytes.
const LONGEST: u64 = 64 * 1024;
/// Most networks: what a node joins.
const MOST_NETWORKS: usize = 256;

/// What a container is to be.
#[derive(Default)]
pub(super) struct Given {
    /// Token of the control API.
    pub(super) api_secret: Option<Zeroizing<String>>,
    /// The node's identity.
    pub(super) identity: Option<SecretIdentity>,
    /// Its public part, where only that is given.
    pub(super) public: Option<Identity>,
    /// Where the planet is.
    pub(super) planet: Option<String>,
    /// Where the planet is that a join token names: for a home that has no node yet.
    pub(super) token_planet: Option<String>,
    /// Networks to join, with the join token for each where there is one.
    pub(super) networks: BTreeMap<String, Option<Zeroizing<String>>>,
}

impl Given {
    /// Reads the environment, the files that it names, and the networks of the command line.
    ///
    /// # Errors
    /// What is wrong, with the name of the variable.
    pub(super) fn read(words: &[String]) -> Result<Self, String> {
        Self::from(|name| std::env::var_os(name).map(|value| value.into_encoded_bytes()), words)
    }

    fn from(variable: impl Fn(&str) -> Option<Vec<u8>>, words: &[String]) -> Result<Self, String> {
        let value = |name: &str| value(&variable, name);
        let api_secret = value(API_SECRET)?;
        if api_secret.as_ref().is_some_and(|token| !token.bytes().all(|byte| byte.is_ascii_graphic())) {
            return Err(format!(
                "{API_SECRET}: a token has letters, digits and signs only, as authtoken.secret of a node has them"
            ));
        }
        let secret = value(IDENTITY_SECRET)?;
        let identity = secret.map(|text| whole(&text)).transpose()?;
        let public = value(IDENTITY_PUBLIC)?;
        let public = public.map(|text| half(&text)).transpose()?;
        if let (Some(identity), Some(public)) = (&identity, &public)
            && identity.identity() != public
        {
            return Err(format!(
                "{IDENTITY_PUBLIC}: it is the identity of {}, and {IDENTITY_SECRET} is that of {}; leave the public \
                 one out",
                public.address,
                identity.address()
            ));
        }
        let planet = variable(PLANET).map(|bytes| text(bytes, PLANET)).transpose()?;
        let planet = planet.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        let mut networks = BTreeMap::new();
        let mut token_planet = None;
        let is_chosen = planet.is_some();
        for word in words {
            token_planet = token_planet.or(add(&mut networks, word, "argument", is_chosen)?);
        }
        if let Some(list) = value(JOIN_NETWORKS)? {
            let between = |c: char| c.is_ascii_whitespace() || c == ',';
            for word in list.split(between).filter(|word| !word.is_empty()) {
                token_planet = token_planet.or(add(&mut networks, word, JOIN_NETWORKS, is_chosen)?);
            }
        }
        Ok(Self { api_secret, identity, public, planet, token_planet, networks })
    }
}

/// A network's ID or a join token. Where the planet is, if the token names one on the web; one that it says lies beside its own file
/// has to be chosen by a variable.
fn add(
    networks: &mut BTreeMap<String, Option<Zeroizing<String>>>,
    word: &str,
    place: &str,
    is_chosen: bool,
) -> Result<Option<String>, String> {
    let join = of_join(word, &Joining { keep_planet: true, ..Joining::default() })
        .map_err(|why| format!("{place}: {}", why.strip_prefix("join: ").unwrap_or(&why)))?;
    let network = join.network;
    if !is_hex(&network, 16) {
        // What is no ID may be a secret in the wrong place.
        return Err(format!(
            "{place}: a network's ID is 16 hexadecimal digits, such as 37f2b7c94f000001, and one of the words is neither \
             that nor a join token"
        ));
    }
    let entry = networks.entry(network.to_ascii_lowercase()).or_default();
    if let Some(token) = join.token {
        *entry = Some(token);
    }
    if networks.len() > MOST_NETWORKS {
        return Err(format!("{place}: {MOST_NETWORKS} networks are the most that a node joins"));
    }
    let Some(planet) = JoinToken::parse(word).ok().and_then(|token| token.planet) else { return Ok(None) };
    match planet.place {
        Place::Url(url) => Ok(Some(format!("{url}#sha256={}", planet.sha256))),
        Place::Beside(_) if is_chosen => Ok(None),
        Place::Beside(name) => Err(format!(
            "{place}: the planet of the token is a file called {name}, which does not come with it; mount that file into the \
             container and name it by {PLANET}"
        )),
    }
}

/// The value of a variable, or of the file that the variable with `_FILE` behind its name names, without white space around it.
/// An empty one is none.
fn value(
    variable: &impl Fn(&str) -> Option<Vec<u8>>,
    name: &str,
) -> Result<Option<Zeroizing<String>>, String> {
    let from_file = format!("{name}_FILE");
    let direct = variable(name).filter(|value| !value.is_empty());
    let file = variable(&from_file).filter(|value| !value.is_empty());
    let found = match (direct, file) {
        (Some(_), Some(_)) => return Err(format!("{name} and {from_file} are both given; one is enough")),
        (None, None) => return Ok(None),
        (Some(direct), None) => Zeroizing::new(text(direct, name)?),
        (None, Some(file)) => {
            let path = PathBuf::from(text(file, &from_file)?);
            let mut content = Zeroizing::new(String::new());
            let read = File::open(&path).and_then(|file| file.take(LONGEST + 1).read_to_string(&mut content));
            read.map_err(|error| format!("{from_file}: cannot read {}: {error}", path.display()))?;
            if content.len() as u64 > LONGEST {
                return Err(format!("{from_file}: {} is longer than {LONGEST} octets", path.display()));
            }
            content
        }
    };
    let trimmed = found.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    Ok((!trimmed.is_empty()).then(|| Zeroizing::new(trimmed.to_owned())))
}

fn text(bytes: Vec<u8>, name: &str) -> Result<String, String> {
    String::from_utf8(bytes).map_err(|error| {
        drop(Zeroizing::new(error.into_bytes()));
        format!("{name}: it is no UTF-8 text")
    })
}

/// An identity with its secret.
fn whole(text: &str) -> Result<SecretIdentity, String> {
    let wrong = |what: &str| {
        format!(
            "{IDENTITY_SECRET}: {what}; it is the one line of a node's identity.secret: ADDRESS:0:PUBLIC:SECRET"
        )
    };
    match SecretIdentity::parse(text) {
        Ok(identity) if identity.is_consistent() && identity.identity().locally_valid() => Ok(identity),
        Ok(_) => Err(wrong("its keys and its address do not belong together")),
        Err(_) => Err(wrong("this is no identity")),
    }
}

/// The public part of one. With the secret behind it, it is no public one.
fn half(text: &str) -> Result<Identity, String> {
    let wrong = |what: &str| {
        format!("{IDENTITY_PUBLIC}: {what}; it is the one line of a node's identity.public: ADDRESS:0:PUBLIC")
    };
    if SecretIdentity::parse(text).is_ok() {
        return Err(wrong("this is a secret"));
    }
    Identity::parse(text).map_err(|_| wrong("this is no identity"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)], words: &[&str]) -> Result<Given, String> {
        let pairs: BTreeMap<&str, &str> = pairs.iter().copied().collect();
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        Given::from(|name| pairs.get(name).map(|value| value.as_bytes().to_vec()), &words)
    }

    #[track_caller]
    fn complaint(pairs: &[(&str, &str)], words: &[&str]) -> String {
        let complaint = read(pairs, words).err().unwrap();
        assert!(!complaint.contains('\n'), "{complaint}");
        complaint
    }

    #[test]
    fn nothing_given_is_nothing_wanted() {
        for pairs in
            [&[][..], &[(API_SECRET, ""), (JOIN_NETWORKS, " \n"), (PLANET, ""), (IDENTITY_SECRET, "\n")]]
        {
            let given = read(pairs, &[]).unwrap();
            assert!(given.api_secret.is_none() && given.identity.is_none() && given.planet.is_none());
            assert!(given.networks.is_empty());
        }
    }

    #[test]
    fn networks_and_tokens_come_from_both_sides() {
        let list = " 8056C2E21C000001,\n ztt_37f2b7c94f000001_5f0c2a19_00 8056c2e21c000001";
        let given = read(&[(JOIN_NETWORKS, list)], &["1c33c1ced07ac85d"]).unwrap();
        let networks: Vec<_> = given
            .networks
            .iter()
            .map(|(id, token)| (id.as_str(), token.as_ref().map(|t| t.as_str())))
            .collect();
        assert_eq!(
            networks,
            [
                ("1c33c1ced07ac85d", None),
                ("37f2b7c94f000001", Some("ztt_5f0c2a19_00")),
                ("8056c2e21c000001", None)
            ]
        );
        let secret = "correct-horse";
        for wrong in [complaint(&[(JOIN_NETWORKS, secret)], &[]), complaint(&[], &[secret, "ztt_broken"])] {
            assert!(!wrong.contains(secret) && wrong.contains("16 hexadecimal digits"), "{wrong}");
        }
        assert!(complaint(&[], &["ztt_broken"]).contains("the token is damaged"));
    }

    #[test]
    fn a_token_says_where_the_planet_is() {
        let token = "ztt_37f2b7c94f000001_5f0c2a19_00";
        let sha256 = "0123456789abcdef".repeat(4);
        let web = format!("{token}_{sha256}_https://planets.example/planet");
        let place = Some(format!("https://planets.example/planet#sha256={sha256}"));
        for given in [read(&[], &[&web]), read(&[(JOIN_NETWORKS, &format!("1c33c1ced07ac85d {web}"))], &[])] {
            let given = given.unwrap();
            assert_eq!(given.token_planet, place);
            let sent = given.networks["37f2b7c94f000001"].as_ref().map(|token| token.as_str());
            assert_eq!(sent, Some("ztt_5f0c2a19_00"), "the controller has no part in it");
        }
        // Of several the first one counts, and none where there is none.
        let other = web.replace("planets", "others");
        assert_eq!(read(&[(JOIN_NETWORKS, &other)], &[&web]).unwrap().token_planet, place);
        assert_eq!(read(&[], &[token]).unwrap().token_planet, None);
        // What is chosen is kept apart: it goes before a token's.
        let both = read(&[(PLANET, " /run/planet\n")], &[&web]).unwrap();
        assert_eq!((both.planet.as_deref(), both.token_planet), (Some("/run/planet"), place));
        // Beside a token in the environment lies nothing.
        let file = format!("{token}_{sha256}_lab.planet");
        for wrong in [complaint(&[], &[&file]), complaint(&[(JOIN_NETWORKS, &file)], &[])] {
            assert!(wrong.contains("lab.planet") && wrong.contains(PLANET), "{wrong}");
            assert!(!wrong.contains("5f0c2a19") && !wrong.contains("--token-file"), "{wrong}");
        }
        let given = read(&[(PLANET, "/run/planet")], &[&file]).unwrap();
        assert_eq!((given.token_planet, given.networks.len()), (None, 1));
        assert!(complaint(&[], &[&web.replace("https", "http")]).contains("https and nothing else"));
    }

    #[test]
    fn identities_must_be_whole_and_are_not_repeated() {
        let (one, other) = (SecretIdentity::generate(), SecretIdentity::generate());
        let (secret, public) = (one.to_secret_string(), one.identity().to_string());
        let line = format!("{}\n", secret.as_str());
        let given = read(&[(IDENTITY_SECRET, &line), (IDENTITY_PUBLIC, &public)], &[]).unwrap();
        assert_eq!(given.identity.unwrap().address(), one.address());
        let foreign =
            complaint(&[(IDENTITY_SECRET, &line), (IDENTITY_PUBLIC, &other.identity().to_string())], &[]);
        assert!(foreign.contains(&other.address().to_string()), "{foreign}");
        let cut = &secret.as_str()[..secret.len() - 8];
        for (name, value) in
            [(IDENTITY_SECRET, cut), (IDENTITY_SECRET, &public), (IDENTITY_PUBLIC, secret.as_str())]
        {
            let wrong = complaint(&[(name, value)], &[]);
            assert!(wrong.starts_with(name) && !wrong.contains(&value[20..40]), "{wrong}");
        }
    }

    #[test]
    fn a_file_stands_for_a_value() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "abc\n").unwrap();
        let path = path.to_str().unwrap();
        let given = read(&[("ZEROTIER_API_SECRET_FILE", path)], &[]).unwrap();
        assert_eq!(given.api_secret.unwrap().as_str(), "abc");
        assert!(complaint(&[("ZEROTIER_API_SECRET_FILE", path), (API_SECRET, "x")], &[]).contains("both"));
        let absent = format!("{path}.absent");
        assert!(complaint(&[("ZEROTIER_API_SECRET_FILE", &absent)], &[]).contains(&absent));
        std::fs::write(path, vec![b'a'; 70_000]).unwrap();
        assert!(complaint(&[("ZEROTIER_API_SECRET_FILE", path)], &[]).contains("longer"));
        assert!(complaint(&[(API_SECRET, "two words")], &[]).starts_with(API_SECRET));
    }

    #[test]
    fn all_that_is_read_is_kept_from_the_daemon() {
        for name in [API_SECRET, IDENTITY_PUBLIC, IDENTITY_SECRET, JOIN_NETWORKS] {
            assert!(VARIABLES.contains(&name) && VARIABLES.contains(&format!("{name}_FILE").as_str()));
        }
    }
}
