//! Joining and leaving networks, and what the user lets them do here.

use std::fs;
use std::io;

use protocol::NetworkId;
use zeroize::Zeroizing;

use super::Daemon;
use super::settings::stamp;
use crate::core::event::Object;
use crate::service::engine::Stopped;
use crate::service::network_settings::{Found, NetworkSettings, SettingsChange};
use crate::service::shared::NotSet;

impl Daemon {
    /// The text of the file with a network's settings; none means the usual ones.
    fn network_settings_text(&self, network: NetworkId) -> io::Result<String> {
        match fs::read(self.shared.home.networks.settings_path(network)) {
            Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            Err(error) => Err(error),
        }
    }

    /// Reads a network's settings at the start: what cannot be understood is not allowed.
    pub(super) fn read_network_settings(&mut self, network: NetworkId) {
        let path = self.shared.home.networks.settings_path(network);
        self.network_settings_seen.insert(network, stamp(&path));
        let (settings, problem) = match self.network_settings_text(network) {
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
    /// nothing.
    pub(super) async fn reload_networks(&mut self, all: bool) {
        let networks: Vec<_> = self.shared.state().networks.keys().copied().collect();
        self.network_settings_seen.retain(|network, _| networks.contains(network));
        for network in networks {
            let seen = stamp(&self.shared.home.networks.settings_path(network));
            if self.network_settings_seen.insert(network, seen) == Some(seen) && !all {
                continue;
            }
            let (settings, problem) = match self.network_settings_text(network) {
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
            if let Some(settings) = settings {
                self.use_network_settings(network, settings).await;
            }
        }
    }

    async fn use_network_settings(&mut self, network: NetworkId, settings: NetworkSettings) {
        {
            let mut state = self.shared.state_mut();
            let view = state.networks.entry(network).or_default();
            if view.settings == settings {
                return;
            }
            tracing::info!(%network, settings = settings.write_into("").trim_end().replace('\n', " "), "settings");
            view.settings = settings;
        }
        self.ports.settings_changed(network).await;
    }

    pub(super) async fn join(
        &mut self,
        network: NetworkId,
        changes: SettingsChange,
        token: Option<Zeroizing<String>>,
    ) -> Result<Result<bool, NotSet>, Stopped> {
        // First of all, what has to be kept: whoever was told that the network is joined may restart the machine.
        let fresh = !self.shared.state().networks.contains_key(&network);
        let marked = self.shared.home.networks.is_marked(network);
        let settings = if fresh || !changes.is_empty() {
            match self.keep_settings(network, fresh, changes, token.as_ref()) {
                Ok(settings) => Some(settings),
                Err(error) => return Ok(Err(error)),
            }
        } else {
            if let Some(token) = &token
                && let Err(error) = self.shared.home.store(Object::Token(network), token.as_bytes())
            {
                return Ok(Err(self.not_kept(network, &error)));
            }
            None
        };
        if let Some(settings) = settings {
            if fresh {
                self.shared.state_mut().networks.entry(network).or_default().settings = settings;
            } else {
                if let Some(view) = self.shared.state_mut().networks.get_mut(&network) {
                    view.settings_problem = None;
                }
                self.use_network_settings(network, settings).await;
            }
        }
        let joined =
            self.shared.engine.call(move |core, now| core.join_with(now, network, None, token)).await?;
        if !joined {
            self.shared.state_mut().networks.remove(&network);
            self.shared.home.delete(if marked { Object::Token(network) } else { Object::Network(network) });
            return Ok(Ok(false));
        }
        self.settle().await?;
        if fresh {
            tracing::info!(%network, "joined");
        }
        self.try_way_again().await;
        self.ports.sync(network).await;
        Ok(Ok(true))
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
            .network_settings_text(network)
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
        self.network_settings_seen.insert(network, stamp(&path));
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

    pub(super) async fn leave(&mut self, network: NetworkId) -> Result<Result<bool, String>, Stopped> {
        if let Err(error) = self.shared.home.unmark(Object::Network(network)) {
            let path = self.shared.home.object_path(Object::Network(network));
            return Ok(Err(format!("cannot remove {}: {error}", path.display())));
        }
        let left = self.shared.engine.call(move |core, _| core.leave(network)).await?;
        self.settle().await?;
        if left {
            tracing::info!(%network, "left");
        }
        Ok(Ok(left))
    }
}
