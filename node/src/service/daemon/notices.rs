//! What somebody has to know and nobody asked for: files that mean nothing, files that cannot be written, a node that reaches
//! no root.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::Daemon;
use crate::core::event::Object;
use crate::service::engine::Stopped;
use crate::service::http::metrics_text;
use crate::service::shared::Unsaved;

/// A node that has just started, or lost its roots, is told of after this time.
const OFFLINE: Duration = Duration::from_secs(10);
/// How often the metrics are written to a file, if they are: as zerotier-one does it.
pub(super) const METRICS: Duration = Duration::from_secs(5);
/// Most files named in one line.
const NAMED: usize = 5;

/// When a node that is offline from now on is told of.
pub(super) fn offline_deadline() -> Instant {
    Instant::now() + OFFLINE
}

/// Waits until then; for ever without a time.
pub(super) async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

impl Daemon {
    /// Tells of names in the settings file and of files that nothing reads.
    pub(super) fn tell_of_files(&self) {
        self.tell_of_names();
        let ignored = self.shared.home.ignored_files();
        if !ignored.is_empty() {
            let files = name(&ignored);
            tracing::warn!(
                files,
                "these files are ignored: a network's file is called by its 16-digit ID and .conf or .local.conf, a moon's by its ID and .moon"
            );
        }
    }

    /// Tells of names in the settings file that nothing reads.
    pub(super) fn tell_of_names(&self) {
        for line in self.shared.state().conf.unknown_names() {
            tracing::warn!("local.conf: {line}");
        }
    }

    /// Says, once, that no root answers, and what to do about it.
    pub(super) fn tell_offline(&mut self) {
        self.offline_told_at = None;
        if self.condition.online {
            return;
        }
        let seconds = OFFLINE.as_secs();
        let state = self.shared.state();
        if state.listening.is_empty() {
            let ignored = state.interfaces.iter().flat_map(|interface| {
                interface.ignored.iter().map(|(ip, reason)| format!("{ip} on {}: {reason}", interface.name))
            });
            let ignored: Vec<String> = ignored.take(NAMED).collect();
            let ignored = if ignored.is_empty() { "none".to_owned() } else { ignored.join("; ") };
            tracing::warn!(
                ignored,
                "OFFLINE for {seconds} s: this machine has no address to send from; bring its network up, or change `bind`, `interfacePrefixAllow` and `interfacePrefixBlacklist`"
            );
            return;
        }
        let ports: Vec<String> =
            state.ports.iter().filter(|port| **port != 0).map(ToString::to_string).collect();
        let ports = ports.join(", ");
        tracing::warn!(
            "OFFLINE for {seconds} s: no root answers; let UDP out, and in on port {ports}, through this machine's firewall and its cloud's security group; with roots of your own, check the planet file here and that they run"
        );
    }

    /// Opens the scrapers' own doors, as the settings say.
    pub(super) fn listen_for_scrapers(&mut self) {
        let wanted: Vec<SocketAddr> = self
            .shared
            .state()
            .conf
            .typed
            .settings
            .metrics_listen
            .iter()
            .map(|endpoint| endpoint.0.0)
            .collect();
        let Some(server) = &mut self.server else { return };
        for (endpoint, error) in server.listen_metrics(&wanted) {
            tracing::warn!(%endpoint, %error, "metricsListen: cannot listen there; name an address of this machine and a port that is free");
        }
    }

    /// Writes the metrics to their file, if somebody wants one.
    pub(super) async fn write_metrics(&mut self) -> Result<(), Stopped> {
        if !self.shared.state().conf.typed.settings.metrics_file {
            self.metrics_failed = false;
            return Ok(());
        }
        let text = metrics_text(&self.shared).await?;
        let written = self.shared.home.write_metrics(&text);
        if let Err(error) = &written
            && !self.metrics_failed
        {
            tracing::warn!(%error, "the metrics cannot be written to their file; it is tried again");
        }
        self.metrics_failed = written.is_err();
        Ok(())
    }

    /// Keeps a state object. What cannot be written is kept in memory and tried again; it is told of once.
    pub(super) fn store(&mut self, object: Object, bytes: &[u8]) {
        let path = self.shared.home.object_path(object);
        match self.shared.home.store(object, bytes) {
            Ok(()) => {
                if self.unsaved.remove(&object).is_some() {
                    tracing::info!(path = %path.display(), "saved after all");
                    self.show_unsaved(&path, None);
                }
            }
            // Strangers decide how many there are, and nothing is lost that could not be learned again.
            Err(error) if matches!(object, Object::Peer(_)) => {
                tracing::debug!(path = %path.display(), %error, "cannot cache a peer's record");
            }
            Err(error) => {
                if self.unsaved.insert(object, bytes.to_vec()).is_none() {
                    tracing::warn!(path = %path.display(), %error, "cannot save; the file keeps its old content, and this is tried again every half minute");
                }
                self.show_unsaved(&path, Some(error.to_string()));
            }
        }
    }

    /// Tries again to write what could not be written.
    pub(super) fn save_again(&mut self) {
        for (object, bytes) in self.unsaved.clone() {
            self.store(object, &bytes);
        }
    }

    fn show_unsaved(&self, path: &std::path::Path, error: Option<String>) {
        let unsaved = &mut self.shared.state_mut().unsaved;
        unsaved.retain(|entry| entry.path != path);
        unsaved.extend(error.map(|error| Unsaved { path: path.to_owned(), error }));
    }

    /// An object is gone, and with it what could not be written of it.
    pub(super) fn forget_unsaved(&mut self, object: Object) {
        if self.unsaved.remove(&object).is_some() {
            self.show_unsaved(&self.shared.home.object_path(object), None);
        }
    }
}

fn name(files: &[PathBuf]) -> String {
    let mut named: Vec<String> = files.iter().take(NAMED).map(|path| path.display().to_string()).collect();
    if files.len() > NAMED {
        named.push(format!("{} more", files.len() - NAMED));
    }
    named.join(", ")
}
