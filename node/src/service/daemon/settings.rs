//! The settings file while the daemon runs: changed by people through the API, or by hand.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use serde_json::{Map, Value};

use crate::service::args::DEFAULT_PORT;
use crate::service::clouds::Profile;
use crate::service::engine::Stopped;
use crate::service::home::{CONTROLLER_FOLDER, SETTINGS_FILE, StartError};
use crate::service::local_conf::LocalConf;
use crate::service::shared::{NotSet, Shared};

/// The settings file.
pub(super) struct SettingsFile {
    shared: Arc<Shared>,
    path: PathBuf,
    /// The file as it was read or written last.
    seen: Option<Stamp>,
}

impl SettingsFile {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let path = shared.home.path(SETTINGS_FILE);
        SettingsFile { seen: stamp(&path), path, shared }
    }

    /// Writes changes into the file. Returns what has to be put in force.
    ///
    /// # Errors
    /// They are not right, or cannot be written: nothing was changed.
    pub(super) fn merge(&mut self, changes: &Map<String, Value>) -> Result<LocalConf, NotSet> {
        let merged = self.shared.state().conf.merged(changes, &self.path);
        let (conf, text) = merged.map_err(|error| NotSet::Wrong(error.to_string()))?;
        self.shared
            .home
            .write_settings(&text)
            .map_err(|error| NotSet::NotKept(format!("cannot write {}: {error}", self.path.display())))?;
        self.seen = stamp(&self.path);
        Ok(conf)
    }

    /// Whether somebody changed the file.
    pub(super) fn has_changed(&self) -> bool {
        stamp(&self.path) != self.seen
    }

    /// Reads the file again. Returns what has to be put in force; a bad file is told of and changes nothing.
    pub(super) fn read_again(&mut self) -> Option<LocalConf> {
        self.seen = stamp(&self.path);
        let text = match fs::read_to_string(&self.path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
            other => other,
        };
        let place = self.path.display();
        let conf = text
            .map_err(|e| {
                StartError::new(format!("cannot read it ({e})"), place.to_string(), "correct its mode")
            })
            .and_then(|text| LocalConf::parse(&text, &self.path));
        match &conf {
            Ok(_) => tracing::info!(path = %place, "settings read again"),
            Err(error) => tracing::warn!("the settings stay as they were: {error}"),
        }
        conf.ok()
    }

    /// Puts settings in force, as far as this daemon's own state and the core go.
    pub(super) fn put_in_force(&self, conf: LocalConf) -> Result<(), Stopped> {
        let core_settings = conf.core_settings();
        let at_start = {
            let state = self.shared.state();
            changes_at_start(&state.conf, &conf, state.ports[0])
        };
        if !at_start.is_empty() {
            tracing::info!("at the next start: {}", at_start.join(", "));
        }
        let profile = Profile::choose(conf.typed.settings.profile, Path::new("/"));
        {
            let mut state = self.shared.state_mut();
            (state.conf, state.profile) = (conf, profile);
        }
        self.shared.engine.post(move |core, _| core.set_settings(core_settings))
    }
}

/// What changed that takes effect at a start only. `primary` is the port in use.
fn changes_at_start(old: &LocalConf, new: &LocalConf, primary: u16) -> Vec<String> {
    let (before, after) = (&old.typed.settings, &new.typed.settings);
    let mut changes = Vec::new();
    let mut changed = |what: &str, from: String, to: String| {
        if from != to {
            changes.push(format!("{what} {from} \u{2192} {to}"));
        }
    };
    if before.primary_port != after.primary_port {
        // What is not written may come from the command line.
        let from = before.primary_port.filter(|port| *port != 0).unwrap_or(primary);
        let to =
            after.primary_port.unwrap_or(if before.primary_port.is_none() { primary } else { DEFAULT_PORT });
        changed("primaryPort", from.to_string(), to.to_string());
    }
    let ports = |conf: &LocalConf| {
        let shown = |port: &u16| if *port == 0 { "random".to_owned() } else { port.to_string() };
        let ports = conf.extra_ports();
        if ports.is_empty() {
            "none".to_owned()
        } else {
            ports.iter().map(shown).collect::<Vec<_>>().join(" ")
        }
    };
    changed("further ports", ports(old), ports(new));
    let folder = |path: &Option<String>| path.clone().unwrap_or_else(|| CONTROLLER_FOLDER.to_owned());
    changed("controllerDbPath", folder(&before.controller_db_path), folder(&after.controller_db_path));
    changed("lanes", before.lanes.to_string(), after.lanes.to_string());
    changes
}

/// When a file was changed last, and how long it is.
pub(super) type Stamp = (SystemTime, u64);

/// The stamp of a file; `None` without one.
pub(super) fn stamp(path: &Path) -> Option<Stamp> {
    let meta = fs::metadata(path).ok()?;
    Some((meta.modified().ok()?, meta.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_changes_at_a_start_is_told() {
        let changes = |old: &str, new: &str| {
            let conf = |settings: &str| {
                LocalConf::parse(&format!("{{\"settings\": {{{settings}}}}}"), Path::new("x")).unwrap()
            };
            changes_at_start(&conf(old), &conf(new), 9993)
        };
        for (old, new) in [
            ("", ""),
            ("", "\"primaryPort\": 9993"),
            ("\"primaryPort\": 9993", ""),
            ("\"lowBandwidthMode\": true", "\"allowManagementFrom\": [\"10.0.0.0/8\"]"),
            ("\"allowSecondaryPort\": false", "\"allowSecondaryPort\": false, \"primaryPort\": \"9993\""),
        ] {
            assert!(changes(old, new).is_empty(), "{old} to {new}: {:?}", changes(old, new));
        }
        assert_eq!(changes("", "\"primaryPort\": 9999"), ["primaryPort 9993 \u{2192} 9999"]);
        assert_eq!(changes("\"primaryPort\": 9999", ""), ["primaryPort 9999 \u{2192} 9993"]);
        assert_eq!(
            changes("\"lanes\": 2", "\"lanes\": \"auto\", \"secondaryPort\": 7"),
            ["further ports none \u{2192} 7", "lanes 2 \u{2192} auto"]
        );
    }
}
