//! The text of a join token: which network it is for, what lets a node in there, and where that network's planet is found.
//!
//! ```text
//! ztt_ID_SECRET                            as earlier versions made them
//! ztt_NETWORK_ID_SECRET
//! ztt_NETWORK_ID_SECRET_SHA256_PLACE       PLACE: an https URL, or the name of a file beside the token's
//! ```
//!
//! Only `ztt_ID_SECRET` goes to the controller. Everything in the text is a word to any shell.

use std::fmt;
use std::net::IpAddr;

/// How every join token begins.
pub const PREFIX: &str = "ztt_";
/// Longest place of a planet, in octets.
const MAX_PLACE: usize = 512;
/// Longest name of a file beside the token's, in octets.
const MAX_NAME: usize = 128;
/// Longest join token, in octets.
pub const MAX_LENGTH: usize = 1024;

/// A join token in parts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct JoinToken<'a> {
    /// The network's ID, 16 digits in any case.
    pub network: Option<&'a str>,
    /// The part that is no secret.
    pub id: &'a str,
    /// The part that is one.
    pub secret: &'a str,
    /// The planet that the network's nodes use.
    pub planet: Option<Planet<'a>>,
}

/// Where a planet is found, and which it must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planet<'a> {
    /// SHA-256 of the file, 64 digits in lower case.
    pub sha256: &'a str,
    /// Where the file is.
    pub place: Place<'a>,
}

/// Where the file of a planet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place<'a> {
    /// An https URL, as [`Url`] takes it.
    Url(&'a str),
    /// The name of a file in the folder where the token's file is.
    Beside(&'a str),
}

/// Why a text is no join token. What it says repeats nothing of the token, which is a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Damage {
    /// It does not have the form of one.
    Form,
    /// What it says of a planet is wrong.
    Planet(String),
}

impl<'a> JoinToken<'a> {
    /// Reads the text of a token.
    ///
    /// # Errors
    /// [`Damage`].
    pub fn parse(text: &'a str) -> Result<Self, Damage> {
        let rest = text.strip_prefix(PREFIX).ok_or(Damage::Form)?;
        let (network, rest) = match rest.split_once('_') {
            Some((network, rest)) if is_hex(network, 16) => (Some(network), rest),
            _ => (None, rest),
        };
        let mut words = rest.splitn(3, '_');
        let (Some(id), Some(secret)) = (words.next(), words.next()) else { return Err(Damage::Form) };
        // It would be taken for a network where the token stands without one.
        if is_hex(id, 16) {
            return Err(Damage::Form);
        }
        let planet = match (words.next(), network) {
            (None, _) => None,
            (Some(planet), Some(_)) => Some(Planet::parse(planet)?),
            (Some(_), None) => return Err(Damage::Form),
        };
        Ok(Self { network, id, secret, planet })
    }

    /// The token as every controller knows it: without network and planet.
    #[must_use]
    pub fn bare(&self) -> String {
        format!("{PREFIX}{}_{}", self.id, self.secret)
    }
}

impl fmt::Debug for JoinToken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinToken")
            .field("id", &self.id)
            .field("planet", &self.planet)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for JoinToken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PREFIX)?;
        if let Some(network) = self.network {
            write!(f, "{network}_")?;
        }
        write!(f, "{}_{}", self.id, self.secret)?;
        match self.planet {
            Some(Planet { sha256, place }) => write!(f, "_{sha256}_{place}"),
            None => Ok(()),
        }
    }
}

impl<'a> Planet<'a> {
    /// `SHA256_PLACE`.
    fn parse(text: &'a str) -> Result<Self, Damage> {
        let wrong = |why: &str| Damage::Planet(why.to_owned());
        let (sha256, place) = text.split_once('_').ok_or_else(|| wrong("it does not say where it is"))?;
        if !is_hex(sha256, 64) || sha256.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(wrong("its SHA-256 is not 64 hexadecimal digits"));
        }
        Ok(Self { sha256, place: Place::parse(place).map_err(Damage::Planet)? })
    }
}

impl<'a> Place<'a> {
    /// Reads an https URL or the name of a file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &'a str) -> Result<Self, String> {
        if text.len() > MAX_PLACE {
            return Err(format!("the place of a planet has at most {MAX_PLACE} characters"));
        }
        if text.contains(':') {
            return Url::parse(text).map(|_| Self::Url(text));
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if text.contains('/') || text.starts_with(['.', '-']) || text.is_empty() || !text.bytes().all(plain) {
            return Err("an https URL is wanted, or the name of a file beside the token's: letters, digits, '.', '_' \
                        and '-', without folders"
                .into());
        }
        if text.len() > MAX_NAME {
            return Err(format!("the name of a file has at most {MAX_NAME} characters"));
        }
        Ok(Self::Beside(text))
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Url(text) | Self::Beside(text)) = self;
        f.write_str(text)
    }
}

/// An https URL in parts. It leads to a file: no user, no query, no fragment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Url<'a> {
    /// Name or address of the server, an IPv6 address without brackets.
    pub host: &'a str,
    /// The same as an address, if it is one.
    pub ip: Option<IpAddr>,
    /// The port.
    pub port: u16,
    /// What the server is asked for, with its `/`.
    pub path: &'a str,
    /// Host and port as they stand in the URL.
    pub authority: &'a str,
}

impl<'a> Url<'a> {
    /// Reads a URL.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &'a str) -> Result<Self, String> {
        let rest = text.split_at_checked(8).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("https://"));
        let Some((_, rest)) = rest else {
            return Err("a planet is fetched by https and nothing else; the URL begins with https://".into());
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err("no user and no password belong into the URL of a planet".into());
        }
        if path.len() < 2 || path.ends_with('/') {
            return Err("the URL of a planet leads to a file, such as https://example.com/planet".into());
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/%+,=@".contains(&byte);
        if !path.bytes().all(plain) {
            return Err("the URL of a planet leads to a file: letters, digits and -._~:/%+,=@ are possible in its path; there \
                        is no query and no fragment"
                .into());
        }
        let wrong = || "the URL is not of the form https://HOST[:PORT]/PATH".to_owned();
        let (host, ip, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (inner, port) = rest.split_once(']').ok_or_else(wrong)?;
                (inner, Some(IpAddr::V6(inner.parse().map_err(|_| wrong())?)), port)
            }
            None => {
                let (host, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
                let ip = host.parse().ok().map(IpAddr::V4);
                if ip.is_none() && !is_host_name(host) {
                    return Err(
                        "what stands behind https:// is neither an IP address nor the name of a host".into(),
                    );
                }
                (host, ip, port)
            }
        };
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => 443,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().ok().filter(|port| *port != 0).ok_or_else(wrong)?
            }
            _ => return Err(wrong()),
        };
        Ok(Self { host, ip, port, path, authority })
    }
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whether this is the name of a host: labels of letters, digits and hyphens, the last of which begins with a letter, so that it
/// is no number that a resolver would take for an address.
fn is_host_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let last = text.rsplit('.').next().unwrap_or_default();
    text.len() <= 253 && text.split('.').all(label) && last.starts_with(|c: char| c.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NETWORK: &str = "37f2b7c94f000001";
    const SHA256: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn with(place: &str) -> String {
        format!("ztt_{NETWORK}_5f0c2a19_0123_{SHA256}_{place}")
    }

    #[test]
    fn tokens_of_all_versions() {
        fn parse(text: &str) -> JoinToken<'_> {
            JoinToken::parse(text).unwrap()
        }
        let old = parse("ztt_5f0c2a19_0123");
        assert_eq!((old.network, old.id, old.secret, old.planet), (None, "5f0c2a19", "0123", None));
        let named = parse("ztt_37f2b7c94f000001_5f0c2a19_0123");
        assert_eq!((named.network, named.planet), (Some(NETWORK), None));
        let text = with("https://example.com/a_b/planet");
        let planet = parse(&text);
        assert_eq!(
            planet.planet,
            Some(Planet { sha256: SHA256, place: Place::Url("https://example.com/a_b/planet") })
        );
        let beside = with("planet_1.bin");
        assert_eq!(parse(&beside).planet.unwrap().place, Place::Beside("planet_1.bin"));
        for token in [old, named, planet] {
            assert_eq!(token.bare(), "ztt_5f0c2a19_0123");
        }
    }

    #[test]
    fn what_is_damaged_is_told_without_the_secret() {
        for text in
            ["", "ztt", "ztt_", "ztt_5f0c2a19", "ztt_5f0c2a19_secret_more", "ztt_37f2b7c94f000001_5f0c2a19"]
        {
            assert_eq!(JoinToken::parse(text), Err(Damage::Form), "{text}");
        }
        for text in [
            format!("ztt_{NETWORK}_5f0c2a19_secret_{SHA256}"),
            format!("ztt_{NETWORK}_5f0c2a19_secret_{}_planet", &SHA256[1..]),
            format!("ztt_{NETWORK}_5f0c2a19_secret_{}_planet", SHA256.to_uppercase()),
            format!("ztt_{NETWORK}_5f0c2a19_secret_{SHA256}_"),
        ] {
            let Err(Damage::Planet(why)) = JoinToken::parse(&text) else { panic!("{text}") };
            assert!(!why.contains("secret") && !why.is_empty(), "{why}");
        }
    }

    #[test]
    fn urls() {
        let url = Url::parse("HTTPS://example.com:8443/a/planet").unwrap();
        assert_eq!((url.host, url.ip, url.port, url.path), ("example.com", None, 8443, "/a/planet"));
        assert_eq!(url.authority, "example.com:8443");
        let url = Url::parse("https://[2001:db8::7]/planet").unwrap();
        assert_eq!((url.ip, url.port), ("2001:db8::7".parse().ok(), 443));
        assert_eq!(Url::parse("https://192.0.2.7/p").unwrap().ip, "192.0.2.7".parse().ok());
        for bad in [
            "http://example.com/planet",
            "file:///etc/passwd",
            "https:/planet",
            "https://example.com",
            "https://example.com/",
            "https://example.com/folder/",
            "https://example.com/planet?x=1",
            "https://example.com/planet#x",
            "https://user@example.com/planet",
            "https://example.com:0/planet",
            "https://example.com:/planet",
            "https://example.com:65536/planet",
            "https://example.com:+80/planet",
            "https:///planet",
            "https://2130706433/planet",
            "https://127.1/planet",
            "https://0x7f.1/planet",
            "https://127.0.0.1./planet",
            "https://1.2.3.4.5/planet",
            "https://[192.0.2.7]/planet",
            "https://[::1/planet",
            "https://[fe80::1%25eth0]/planet",
            "https://-x.example/planet",
            "https://exa mple.com/planet",
            "https://example.com/planet\n",
            "https://example..com/planet",
        ] {
            assert!(Url::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn files_are_beside_the_token() {
        for good in ["planet", "lab-1.planet", "a_b"] {
            assert_eq!(Place::parse(good), Ok(Place::Beside(good)));
        }
        for bad in ["", ".", "..", "../planet", "/etc/planet", "a/b", "-f", ".planet", "a b", "é", "a$b"] {
            assert!(Place::parse(bad).is_err(), "{bad}");
        }
        assert!(Place::parse(&"a".repeat(MAX_NAME + 1)).is_err());
        assert!(Place::parse(&format!("https://example.com/{}", "a".repeat(MAX_PLACE))).is_err());
    }

    fn secretless(text: &str) -> Result<(), TestCaseError> {
        match JoinToken::parse(text) {
            Ok(token) => {
                prop_assert_eq!(token.to_string(), text);
                let bare = token.bare();
                prop_assert_eq!(
                    JoinToken::parse(&bare),
                    Ok(JoinToken { network: None, planet: None, ..token })
                );
                if let Some(Planet { place: Place::Url(url), .. }) = token.planet {
                    let url = Url::parse(url).map_err(TestCaseError::fail)?;
                    prop_assert!(url.path.starts_with('/') && url.port != 0 && !url.host.is_empty());
                }
            }
            Err(Damage::Form) => {}
            Err(Damage::Planet(why)) => prop_assert!(!why.is_empty()),
        }
        Ok(())
    }

    proptest! {
        /// Any text is no token, or one that is written as it was read.
        #[test]
        fn any_text_is_survived(text in prop_oneof![
            ".{0,80}",
            "ztt_[0-9a-f]{16}_[0-9a-f]{8}_[0-9a-f]{40}(_.{0,80})?",
            "ztt_([0-9a-f]{16}_)?[0-9a-f]{8}_[0-9a-f]{40}_[0-9a-f]{64}_[a-z._/-]{0,20}",
            "ztt_[0-9a-f]{16}_[0-9a-f]{8}_[0-9a-f]{40}_[0-9a-f]{64}_https://[a-z0-9.:@\\[\\]_%-]{0,20}/[ -~]{0,20}",
        ]) {
            secretless(&text)?;
        }

        #[test]
        fn what_is_made_is_read(
            id in "[0-9a-f]{8}", secret in "[0-9a-f]{40}", sha256 in "[0-9a-f]{64}",
            place in prop_oneof!["[a-z0-9][a-z0-9._-]{0,40}", "https://[a-z][a-z0-9]{0,9}\\.[a-z]{2,5}(:[1-9][0-9]{0,3})?/[a-z0-9._~%-]{1,40}"],
        ) {
            let text = format!("ztt_{NETWORK}_{id}_{secret}_{sha256}_{place}");
            let token = JoinToken::parse(&text).map_err(|damage| TestCaseError::fail(format!("{damage:?}")))?;
            prop_assert_eq!(token.planet.map(|planet| (planet.sha256, planet.place.to_string())), Some((&*sha256, place)));
            prop_assert_eq!(token.to_string(), text);
        }
    }
}
