//! What somebody has to know and nobody asked for: files and settings that mean nothing, a node that reaches no root.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::host::until;
use crate::service::shared::Shared;

/// A node that has just started, or lost its roots, is told of after this time.
const OFFLINE: Duration = Duration::from_secs(10);
/// Most files named in one line.
const NAMED: usize = 5;

/// Tells people what they have to know.
pub(super) struct Notices {
    shared: Arc<Shared>,
    /// When somebody is to be told that no root answers; `None` while one does, and once that was told.
    due: Option<Instant>,
}

impl Notices {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let mut notices = Notices { shared, due: None };
        notices.set_online(false);
        notices
    }

    /// A root answers, or none does any more.
    pub(super) fn set_online(&mut self, online: bool) {
        self.due = (!online).then(|| Instant::now() + OFFLINE);
    }

    /// Waits until [`Self::tell_offline`] is due.
    pub(super) async fn offline(&self) {
        until(self.due).await;
    }

    /// Tells of names in the settings file and of files that nothing reads.
    pub(super) fn name_files(&self) {
        self.name_settings();
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
    pub(super) fn name_settings(&self) {
        for line in self.shared.state().conf.unknown_names() {
            tracing::warn!("local.conf: {line}");
        }
    }

    /// Says, once, that no root answers, and what to do about it.
    pub(super) fn tell_offline(&mut self) {
        self.due = None;
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
}

fn name(files: &[PathBuf]) -> String {
    let mut named: Vec<String> = files.iter().take(NAMED).map(|path| path.display().to_string()).collect();
    if files.len() > NAMED {
        named.push(format!("{} more", files.len() - NAMED));
    }
    named.join(", ")
}
