//! The home directory of a container, made as the environment wants it. What is there already stays; where both say something
//! else, nothing is changed and somebody has to decide.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use protocol::SecretIdentity;
use zeroize::Zeroizing;

use super::given::Given;
use crate::commands::identity::read_text;
use crate::commands::planet_choice;
use crate::failure::{Failure, Io, Outcome};
use crate::home::write_home;

/// What lets a container at its home.
const REMEDY: &str = "give the container a volume there, and as root the capabilities CHOWN, DAC_OVERRIDE, SETGID and SETUID, else \
                      the user whom the volume belongs to (9993:9993)";

/// Prepares it.
///
/// # Errors
/// Exit code 2: the home holds another identity than the one given. 1: it cannot be read or written.
pub(super) fn home(program: &str, home: &Path, given: &Given, io: &mut Io<'_>) -> Outcome {
    let place = Place { program, home };
    // All that may be refused comes first.
    let kept = place.identity()?;
    place.judge(kept.as_ref(), given)?;
    place.folder(home)?;
    close(home);
    // A token moves no node to other roots that is there already.
    let is_new = !home.join("identity.secret").exists() && !home.join("planet").exists();
    let chosen = given.planet.as_ref().or(given.token_planet.as_ref().filter(|_| is_new));
    if let Some(source) = chosen {
        planet_choice::put(program, home, source, io)?;
    }
    if let Some(token) = &given.api_secret {
        place.put("authtoken.secret", token.as_bytes(), 0o600)?;
    }
    if let (Some(identity), None) = (&given.identity, &kept) {
        // The node completes what is missing from the secret, never the other way round.
        place.put("identity.secret", identity.to_secret_string().as_bytes(), 0o600)?;
        place.put("identity.public", identity.identity().to_string().as_bytes(), 0o644)?;
    }
    if !given.networks.is_empty() {
        place.folder(&home.join("networks.d"))?;
    }
    for (network, token) in &given.networks {
        place.join(network, token.as_ref())?;
    }
    Ok(())
}

/// Takes others' right to write away: engines make volumes that are open to all, which a node's home may not be.
fn close(home: &Path) {
    let open = fs::metadata(home).is_ok_and(|meta| meta.permissions().mode() & 0o002 != 0);
    if open {
        // Whoever may not do that is told by the daemon, if it matters.
        let _ = fs::set_permissions(home, fs::Permissions::from_mode(0o750));
    }
}

struct Place<'a> {
    program: &'a str,
    home: &'a Path,
}

impl Place<'_> {
    /// The identity that the home has.
    fn identity(&self) -> Result<Option<SecretIdentity>, Failure> {
        let path = self.home.join("identity.secret");
        match read_text(&path) {
            Ok(text) => {
                let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
                SecretIdentity::parse(text).map(Some).map_err(|_| {
                    let place = path.display();
                    let what = format!("{}: the identity in {place} is damaged", self.program);
                    Failure::error(format!(
                        "{what}; restore it from a backup, or remove it to start with another"
                    ))
                })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.unreadable(&path, &error)),
        }
    }

    /// Whether the home and what is given may be one node.
    fn judge(&self, kept: Option<&SecretIdentity>, given: &Given) -> Outcome {
        let (program, home) = (self.program, self.home.display());
        match (kept, &given.identity, &given.public) {
            (Some(kept), Some(identity), _) if kept.identity() != identity.identity() => {
                Err(Failure::usage(format!(
                    "{program}: {home} is the home of {}, and ZEROTIER_IDENTITY_SECRET is the identity of {}; give that \
                 node a volume of its own, or move identity.secret away to change this one's address",
                    kept.address(),
                    identity.address()
                )))
            }
            (Some(kept), None, Some(public)) if kept.identity() != public => Err(Failure::usage(format!(
                "{program}: {home} is the home of {}, and ZEROTIER_IDENTITY_PUBLIC is the identity of {}; leave the \
                 variable out, or give that node its own volume and its secret",
                kept.address(),
                public.address
            ))),
            (None, None, Some(_)) => Err(Failure::usage(format!(
                "{program}: ZEROTIER_IDENTITY_PUBLIC without ZEROTIER_IDENTITY_SECRET: the secret makes the node; give \
                 that, or neither"
            ))),
            _ => Ok(()),
        }
    }

    /// Marks a network as joined. The token is for a node that is not in yet: whoever puts it out later does not want it back by
    /// the same token.
    fn join(&self, network: &str, token: Option<&Zeroizing<String>>) -> Outcome {
        let mark = format!("networks.d/{network}.conf");
        let size = match fs::metadata(self.home.join(&mark)) {
            Ok(meta) => Some(meta.len()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(self.unreadable(&self.home.join(&mark), &error)),
        };
        let configured = size.is_some_and(|size| size > 1);
        if let (Some(token), false) = (token, configured) {
            self.put(&format!("networks.d/{network}.token"), token.as_bytes(), 0o600)?;
        }
        if size.is_none() { self.put(&mark, b"\n", 0o644) } else { Ok(()) }
    }

    /// Writes a file that does not say so already: a home that is as it should be may be read-only.
    fn put(&self, name: &str, bytes: &[u8], mode: u32) -> Outcome {
        let path = self.home.join(name);
        let same = read_text(&path).is_ok_and(|text| text.trim().as_bytes() == bytes.trim_ascii());
        if same {
            Ok(())
        } else {
            write_home(&path, bytes, mode).map_err(|error| self.not_written(&path, &error))
        }
    }

    fn folder(&self, path: &Path) -> Outcome {
        fs::create_dir_all(path).map_err(|error| self.not_written(path, &error))
    }

    fn not_written(&self, path: &Path, error: &io::Error) -> Failure {
        Failure::error(format!("{}: cannot write {}: {error}; {REMEDY}", self.program, path.display()))
    }

    fn unreadable(&self, path: &Path, error: &io::Error) -> Failure {
        Failure::error(format!("{}: cannot read {}: {error}; {REMEDY}", self.program, path.display()))
    }
}
