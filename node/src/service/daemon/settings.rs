//! The settings file while the daemon runs: changed by people through the API, or by hand.

use std::fs;
use std::path::Path;
use std::time::SystemTime;

use serde_json::{Map, Value};

use super::Daemon;
use crate::service::args::DEFAULT_PORT;
use crate::service::clouds::Profile;
use crate::service::engine::Stopped;
use crate::service::home::{CONTROLLER_FOLDER, SETTINGS_FILE, StartError};
use crate::service::local_conf::LocalConf;
use crate::service::shared::NotSet;

impl Daemon {
    pub(super) async fn change_settings(
        &mut self,
        changes: &Map<String, Value>,
    ) -> Result<Result<(), NotSet>, Stopped> {
        let path = self.shared.home.path(SETTINGS_FILE);
        let merged = self.shared.state().conf.merged(changes, &path);
        let (conf, text) = match merged {
            Ok(merged) => merged,
            Err(error) => return Ok(Err(NotSet::Wrong(error.to_string()))),
        };
        if let Err(error) = self.shared.home.write_settings(&text) {
            return Ok(Err(NotSet::NotKept(format!("cannot write {}: {error}", path.display()))));
        }
        self.settings_seen = stamp(&path);
        self.use_settings(conf).await?;
        Ok(Ok(()))
    }

    /// Reads the settings file again; a bad one changes nothing.
    pub(super) async fn reload(&mut self) -> Result<(), Stopped> {
        let path = self.shared.home.path(SETTINGS_FILE);
        self.settings_seen = stamp(&path);
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
            other => other,
        };
        let conf = text
            .map_err(|e| {
                StartError::new(
                    format!("cannot read it ({e})"),
                    path.display().to_string(),
                    "correct its mode",
                )
            })
            .and_then(|text| LocalConf::parse(&text, &path));
        match conf {
            Ok(conf) => {
                tracing::info!(path = %path.display(), "settings read again");
                self.use_settings(conf).await?;
                self.tell_of_names();
                Ok(())
            }
            Err(error) => {
                tracing::warn!("the settings stay as they were: {error}");
                Ok(())
            }
        }
    }

    pub(super) async fn use_settings(&mut self, conf: LocalConf) -> Result<(), Stopped> {
        let core_settings = conf.core_settings();
        let exposed = !conf.typed.settings.allow_management_from.is_empty();
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
        self.shared.engine.post(move |core, _| core.set_settings(core_settings))?;
        if let Some(server) = &mut self.server
            && let Err(error) = server.listen_tcp(exposed).await
        {
            tracing::warn!(%error, "the control API cannot listen on TCP; the Unix socket still works");
        }
        self.listen_for_scrapers();
        self.binder.refresh(&self.shared, self.ports.indices()).await
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
