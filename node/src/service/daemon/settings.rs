//! The settings file while the daemon runs: changed by people through the API, or by hand.

use std::fs;
use std::path::Path;
use std::time::SystemTime;

use serde_json::{Map, Value};

use super::Daemon;
use crate::service::clouds::Profile;
use crate::service::engine::Stopped;
use crate::service::home::{SETTINGS_FILE, StartError};
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
                self.use_settings(conf).await
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
        if restart_matters(&self.shared.state().conf, &conf) {
            tracing::info!("ports, lanes and the controller's folder change at the next start");
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
        self.binder.refresh(&self.shared, self.ports.devices()).await
    }
}

/// Whether something changed that takes effect at a start only.
fn restart_matters(old: &LocalConf, new: &LocalConf) -> bool {
    let at_start = |conf: &LocalConf| {
        let settings = &conf.typed.settings;
        (settings.primary_port, conf.extra_ports(), settings.controller_db_path.clone(), settings.lanes)
    };
    at_start(old) != at_start(new)
}

/// When the file was changed last, and how long it is.
pub(super) fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let meta = fs::metadata(path).ok()?;
    Some((meta.modified().ok()?, meta.len()))
}
