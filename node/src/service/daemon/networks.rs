//! What the home says of joined networks, and what the user lets them do here.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::sync::Arc;

use protocol::NetworkId;
use zeroize::Zeroizing;

use super::settings::{Stamp, stamp};
use crate::core::event::Object;
use crate::service::network_settings::{Found, NetworkSettings, SettingsChange};
use crate::service::shared::{NotSet, Shared};

/// A network that may be joined now.
pub(super) struct Prepared {
    /// It was not joined before.
    pub(super) fresh: bool,
    /// The home said before that it is joined.
    marked: bool,
    /// It was joined before, and has other settings now.
    pub(super) changed: bool,
}

/// The joined networks as their files have them.
pub(super) struct NetworkTable {
    shared: Arc<Shared>,
    /// The files with settings as they were read or written last.
    seen: BTreeMap<NetworkId, Option<Stamp>>,
}

impl NetworkTable {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        NetworkTable { shared, seen: BTreeMap::new() }
    }

    /// The text of the file with a network's settings; none means the usual ones.
    fn text(&self, network: NetworkId) -> io::Result<String> {
        match fs::read(self.shared.home.networks.settings_path(network)) {
            Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            Err(error) => Err(error),
        }
    }

    /// Reads a network's settings at the start: what cannot be understood is not allowed.
    pub(super) fn read(&mut self, network: NetworkId) {
        let path = self.shared.home.networks.settings_path(network);
        self.seen.insert(network, stamp(&path));
        let (settings, problem) = match self.text(network) {
            Ok(text) => {
                let found = NetworkSettings::read(&text);
                (found.settings.clone(), self.judge(network, &found))
            }
            Err(error) => {
                let problem = format!("cannot read {} ({error}); correct its mode", path.display());
                tracing::warn!(%network, "{problem}; nothing of the network is used until then");
                let managed = protocol::permission::Managed::Nothing;
                (NetworkSettings { managed, ..NetworkSettings::default() }, Some(problem))
            }
        };
        let mut state = self.shared.state_mut();
        let view = state.networks.entry(network).or_default();
        (view.settings, view.settings_problem) = (settings, problem);
    }

    /// Says what is wrong with a file, if anything is.
    fn judge(&self, network: NetworkId, found: &Found) -> Option<String> {
        let path = self.shared.home.networks.settings_path(network);
        for (line, key) in &found.unknown {
            tracing::warn!(%network, path = %path.display(), line, key, "nobody knows this setting; it does nothing");
        }
        let complaint = format!("{}: {}; correct the file", path.display(), found.complaint()?);
        tracing::warn!(%network, "{complaint}");
        Some(complaint)
    }

    /// Reads the networks' settings again: all, or those whose file is another one than last time. A bad file changes
    /// nothing. Returns those that have other settings now.
    pub(super) fn read_again(&mut self, all: bool) -> Vec<NetworkId> {
        let mut changed = Vec::new();
        let networks: Vec<_> = self.shared.state().networks.keys().copied().collect();
        self.seen.retain(|network, _| networks.contains(network));
        for network in networks {
            let seen = stamp(&self.shared.home.networks.settings_path(network));
            if self.seen.insert(network, seen) == Some(seen) && !all {
                continue;
            }
            let (settings, problem) = match self.text(network) {
                Ok(text) => {
                    let found = NetworkSettings::read(&text);
                    let problem = self.judge(network, &found);
                    (problem.is_none().then_some(found.settings), problem)
                }
                Err(error) => {
                    let path = self.shared.home.networks.settings_path(network);
                    let problem = format!("cannot read {} ({error}); correct its mode", path.display());
                    tracing::warn!(%network, "{problem}; the settings stay as they were");
                    (None, Some(problem))
                }
            };
            if let Some(view) = self.shared.state_mut().networks.get_mut(&network) {
                view.settings_problem = problem;
            }
            if settings.is_some_and(|settings| self.put_in_force(network, settings)) {
                changed.push(network);
            }
        }
        changed
    }

    /// Puts settings in force; returns whether they differ from those that were.
    fn put_in_force(&self, network: NetworkId, settings: NetworkSettings) -> bool {
        let mut state = self.shared.state_mut();
        let view = state.networks.entry(network).or_default();
        if view.settings == settings {
            return false;
        }
        tracing::info!(%network, settings = settings.write_into("").trim_end().replace('\n', " "), "settings");
        view.settings = settings;
        true
    }

    /// Writes down that a network is to be joined, or a change of a joined one, and puts it in force: whoever is told that the
    /// network is joined may restart the machine.
    ///
    /// # Errors
    /// Something is not right or cannot be written: nothing was changed.
    pub(super) fn prepare(
        &mut self,
        network: NetworkId,
        changes: SettingsChange,
        token: Option<&Zeroizing<String>>,
    ) -> Result<Prepared, NotSet> {
        let fresh = !self.shared.state().networks.contains_key(&network);
        let marked = self.shared.home.networks.is_marked(network);
        let mut changed = false;
        if fresh || !changes.is_empty() {
            let settings = self.keep_settings(network, fresh, changes, token)?;
            if fresh {
                self.shared.state_mut().networks.entry(network).or_default().settings = settings;
            } else {
                if let Some(view) = self.shared.state_mut().networks.get_mut(&network) {
                    view.settings_problem = None;
                }
                changed = self.put_in_force(network, settings);
            }
        } else if let Some(token) = token {
            let stored = self.shared.home.store(Object::Token(network), token.as_bytes());
            stored.map_err(|error| self.not_kept(network, &error))?;
        }
        Ok(Prepared { fresh, marked, changed })
    }

    /// The core has no room for the network: takes back what [`Self::prepare`] did.
    pub(super) fn take_back(&mut self, network: NetworkId, prepared: &Prepared) {
        self.shared.state_mut().networks.remove(&network);
        let object = if prepared.marked { Object::Token(network) } else { Object::Network(network) };
        self.shared.home.delete(object);
    }

    /// Takes away what would bring a network back at the next start.
    ///
    /// # Errors
    /// It is still there, for people.
    pub(super) fn unmark(&self, network: NetworkId) -> Result<(), String> {
        self.shared.home.unmark(Object::Network(network)).map_err(|error| {
            let path = self.shared.home.object_path(Object::Network(network));
            format!("cannot remove {}: {error}", path.display())
        })
    }

    fn not_kept(&self, network: NetworkId, error: &io::Error) -> NotSet {
        let path = self.shared.home.object_path(Object::Network(network));
        NotSet::NotKept(format!("cannot keep the network in {}: {error}", path.display()))
    }

    /// Writes down what a join, or a change of a joined network, is about: all of it or nothing. What somebody wrote into the
    /// file meanwhile counts.
    fn keep_settings(
        &mut self,
        network: NetworkId,
        fresh: bool,
        changes: SettingsChange,
        token: Option<&Zeroizing<String>>,
    ) -> Result<NetworkSettings, NotSet> {
        let path = self.shared.home.networks.settings_path(network);
        let text = self
            .text(network)
            .map_err(|e| NotSet::NotKept(format!("cannot read {}: {e}", path.display())))?;
        let found = NetworkSettings::read(&text);
        if let Some(complaint) = found.complaint() {
            return Err(NotSet::Wrong(format!(
                "{}: {complaint}; correct the file first, nothing was changed",
                path.display()
            )));
        }
        let mut settings = found.settings;
        changes.apply(&mut settings);
        self.keep_join(network, fresh, &settings.write_into(&text), token)
            .map_err(|error| self.not_kept(network, &error))?;
        self.seen.insert(network, stamp(&path));
        Ok(settings)
    }

    fn keep_join(
        &self,
        network: NetworkId,
        fresh: bool,
        settings: &str,
        token: Option<&Zeroizing<String>>,
    ) -> io::Result<()> {
        let home = &self.shared.home;
        let object = Object::Token(network);
        let before = home.networks.token(network);
        if let Some(token) = token {
            home.store(object, token.as_bytes())?;
        }
        let kept = if fresh {
            home.networks.begin(network, settings)
        } else {
            home.networks.write_settings(network, settings)
        };
        if kept.is_err() && token.is_some() {
            match before.filter(|_| !fresh) {
                // The same number of octets, most likely in the same place; and if not, the core still has it.
                Some(before) => home.store(object, before.as_bytes())?,
                None => home.delete(object),
            }
        }
        kept
    }
}
