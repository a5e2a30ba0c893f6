//! User-data for machines that a cloud starts, with a join token in it: `token create --cloud-init`.
//!
//! The text is the example in `packaging/cloud-init`, filled in.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::Session;
use crate::args::user_data::UserData;
use crate::failure::{Failure, Io, Outcome};
use crate::home::write_atomic;

/// The example that is filled in.
const EXAMPLE: &str = include_str!("../../../packaging/cloud-init/token.yaml");

/// What stands in it for the network.
const NETWORK: &str = "37f2b7c94f000001";

/// No cloud takes more user-data than this, in octets.
const LIMIT: usize = 16_384;

/// User-data that only lacks its token.
pub struct Plan {
    text: String,
    out: Option<PathBuf>,
    print: bool,
}

impl Plan {
    /// Looks at everything that can be wrong before there is a token; `None` when no user-data is wanted.
    ///
    /// # Errors
    /// Exit code 2 for what cannot be right, 1 for files that cannot be read or written.
    pub fn new(session: &Session, user_data: &UserData, network: &str) -> Result<Option<Self>, Failure> {
        let (true, Some(url), Some(key)) = (user_data.cloud_init, &user_data.repository, &user_data.key)
        else {
            return Ok(None);
        };
        let program = &session.program;
        if session.common.json {
            return Err(Failure::usage(format!(
                "{program}: --cloud-init writes user-data; leave -j out, or make it from the token yourself"
            )));
        }
        let keys = keys(key).map_err(|why| {
            Failure::error(format!(
                "{program}: {}: {why}; --key takes ztnode-archive-keyring.asc of the repository",
                key.display()
            ))
        })?;
        let text = EXAMPLE.replace(NETWORK, network).replace("REPOSITORY", url).replace("KEY", &keys);
        if let Some(out) = &user_data.out {
            writable(out).map_err(|why| {
                Failure::error(format!("{program}: {}: {why}; there is no token", out.display()))
            })?;
        }
        Ok(Some(Self { text, out: user_data.out.clone(), print: user_data.print }))
    }

    /// Puts the token in, and the text where it belongs. `id` is the part of the token that is no secret.
    ///
    /// # Errors
    /// It cannot be written: the token is of no use then, and `revoke` says how to be rid of it.
    pub fn finish(&self, session: &Session, token: &str, id: &str, revoke: &str, io: &mut Io<'_>) -> Outcome {
        let program = &session.program;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._~+/=:%,@-".contains(&byte);
        let text = self.text.replace("TOKEN", token);
        if token.is_empty() || !token.bytes().all(plain) {
            return Err(Failure::error(format!(
                "{program}: the controller made a token that is no word; {revoke}"
            )));
        }
        if text.len() > LIMIT {
            return Err(Failure::error(format!(
                "{program}: the user-data has {} octets, and clouds take {LIMIT}; {revoke}",
                text.len()
            )));
        }
        if self.print {
            write!(io.out, "{text}")?;
            io.out.flush()?;
            return Ok(());
        }
        let out = self.out.clone().unwrap_or_else(|| PathBuf::from(format!("cloud-init-{id}.yaml")));
        write_atomic(&out, text.as_bytes(), 0o600)
            .map_err(|why| Failure::error(format!("{program}: {}: {why}; {revoke}", out.display())))?;
        writeln!(io.out, "{}", out.display())?;
        io.out.flush()?;
        Ok(())
    }
}

/// The keys of a repository, from a file, as they stand in a quoted string of YAML.
fn keys(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    let limit = LIMIT as u64;
    File::open(path).and_then(|file| file.take(limit).read_to_string(&mut text)).map_err(|why| {
        if why.kind() == io::ErrorKind::InvalidData { "no text".to_owned() } else { why.to_string() }
    })?;
    if text.contains("PRIVATE KEY") {
        return Err("this is a secret key, which belongs on no other machine".into());
    }
    if !text.starts_with("-----BEGIN PGP PUBLIC KEY BLOCK-----")
        || !text.contains("-----END PGP PUBLIC KEY BLOCK-----")
    {
        return Err("no public key in text form (armour)".into());
    }
    let plain = |byte: u8| {
        (byte.is_ascii_graphic() || byte == b' ' || byte == b'\n') && byte != b'"' && byte != b'\\'
    };
    if !text.bytes().all(plain) {
        return Err("no public key in text form (armour) alone".into());
    }
    Ok(text.replace('\n', "\\n"))
}

/// Could the file be written?
fn writable(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Err(io::Error::other("it is a directory"));
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !fs::metadata(parent)?.is_dir() {
        return Err(io::Error::other("it would not be in a directory"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_has_every_word_once() {
        for word in [NETWORK, "REPOSITORY", "\"KEY\"", "--token TOKEN"] {
            assert_eq!(EXAMPLE.matches(word).count(), 1, "{word}");
        }
    }
}
