//! What the home keeps of the joined networks: the configuration, which also marks a network as joined, what the user allows it,
//! its join token and its revocations.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use protocol::NetworkId;
use protocol::netconf::NetworkConfig;
use zeroize::Zeroizing;

use super::directory::Directory;
use super::files;

/// The folder with all of it.
pub(super) const FOLDER: &str = "networks.d";
/// How its files end.
pub(super) const SUFFIXES: &[&str] = &[".conf", ".local.conf", ".token", ".revoked"];
/// Interface names by network, as zerotier-one once kept them.
pub(super) const DEVICE_MAP: &str = "devicemap";

/// The joined networks' files.
#[derive(Debug)]
pub struct NetworkFiles {
    directory: Directory,
}

impl NetworkFiles {
    pub(super) fn new(directory: Directory) -> Self {
        NetworkFiles { directory }
    }

    /// Whether a network is joined, by what is on disk. A folder that cannot be read counts as one with networks.
    pub fn any(&self) -> bool {
        self.directory.may_have_files_in(FOLDER)
    }

    /// The networks to join, with the cached configuration where there is a good one. A damaged one is reported and asked
    /// for again.
    pub fn list(&self) -> Vec<(NetworkId, Option<Vec<u8>>)> {
        let found = self.directory.list(FOLDER, 16, ".conf");
        found
            .into_iter()
            .map(|(id, name)| {
                let network = NetworkId(id);
                let path = Path::new(FOLDER).join(name);
                let bytes = self.directory.read(&path).unwrap_or_else(|error| {
                    tracing::warn!(%network, %error, "cannot read the cached configuration; asking the controller again");
                    None
                });
                let bytes = bytes.filter(|b| b.len() > 1);
                if let Some(Err(error)) = bytes.as_deref().map(NetworkConfig::from_dictionary) {
                    let path = self.directory.path(path);
                    tracing::info!(%network, path = %path.display(), %error, "the cached configuration is damaged; asking the controller again");
                    return (network, None);
                }
                (network, bytes)
            })
            .collect()
    }

    /// What an earlier run kept of a network's revocations.
    pub fn revocations(&self, network: NetworkId) -> Option<Vec<u8>> {
        let path = self.directory.path(revocations_name(network));
        match fs::read(&path) {
            Ok(bytes) => Some(bytes),
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::warn!(path = %path.display(), %error, "cannot read the network's revocations; its controller tells them again");
                }
                None
            }
        }
    }

    /// The join token that a network's controller has not accepted yet.
    pub fn token(&self, network: NetworkId) -> Option<Zeroizing<String>> {
        let path = self.directory.path(token_name(network));
        let token = match fs::read(&path) {
            Ok(bytes) => String::from_utf8(bytes).map_err(|error| error.into_bytes()),
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::warn!(path = %path.display(), %error, "cannot read the join token; join again with it");
                }
                return None;
            }
        };
        match token {
            Ok(token) if is_join_token(&token) => {
                files::restrict(&path);
                Some(Zeroizing::new(token))
            }
            _ => {
                tracing::warn!(path = %path.display(), "the join token is damaged; join again with it");
                None
            }
        }
    }

    /// The interface name the legacy `devicemap` gives to a network.
    pub fn mapped_device(&self, network: NetworkId) -> Option<String> {
        let bytes = self.directory.read(DEVICE_MAP).ok().flatten()?;
        device_in_map(&String::from_utf8_lossy(&bytes), network)
    }

    /// Where a network's local settings are kept.
    pub fn settings_path(&self, network: NetworkId) -> PathBuf {
        self.directory.path(settings_name(network))
    }

    /// Keeps a network's local settings.
    ///
    /// # Errors
    /// They cannot be written; the old ones are still there.
    pub fn write_settings(&self, network: NetworkId, text: &str) -> io::Result<()> {
        self.directory.write(settings_name(network), text.as_bytes(), 0o666)
    }

    /// Marks a network as joined that is not, with its local settings.
    ///
    /// # Errors
    /// Something cannot be written; nothing is kept, a join token included.
    pub fn begin(&self, network: NetworkId, settings: &str) -> io::Result<()> {
        if self.is_marked(network) {
            return self.write_settings(network, settings);
        }
        let marked = self
            .write_settings(network, settings)
            .and_then(|()| self.directory.write(config_name(network), b"\n", 0o666));
        if marked.is_err() {
            self.delete(network);
        }
        marked
    }

    /// Whether a network is marked as joined.
    pub fn is_marked(&self, network: NetworkId) -> bool {
        self.directory.has(config_name(network))
    }

    /// Removes everything of a network.
    pub(super) fn delete(&self, network: NetworkId) {
        for name in [config_name, settings_name, token_name, revocations_name] {
            self.directory.remove(name(network));
        }
    }
}

pub(super) fn config_name(network: NetworkId) -> String {
    format!("{FOLDER}/{network}.conf")
}

fn settings_name(network: NetworkId) -> String {
    format!("{FOLDER}/{network}.local.conf")
}

pub(super) fn token_name(network: NetworkId) -> String {
    format!("{FOLDER}/{network}.token")
}

pub(super) fn revocations_name(network: NetworkId) -> String {
    format!("{FOLDER}/{network}.revoked")
}

/// Longest join token, bytes: it must fit into the metadata of a request.
pub const MAX_JOIN_TOKEN: usize = 256;

/// Whether this may be a join token: which one is good is for the controller to say.
pub fn is_join_token(text: &str) -> bool {
    (1..=MAX_JOIN_TOKEN).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Lines `<16 hex>=<device>`; the first that fits counts.
pub(super) fn device_in_map(text: &str, network: NetworkId) -> Option<String> {
    let valid = |name: &&str| {
        !name.is_empty() && name.len() < 16 && name.bytes().all(|b| b.is_ascii_graphic() && b != b'/')
    };
    text.split(['\n', '\r'])
        .filter_map(|line| line.split_once('='))
        .find(|(id, _)| id.trim().parse() == Ok(network))
        .map(|(_, device)| device.trim())
        .filter(valid)
        .map(str::to_owned)
}
