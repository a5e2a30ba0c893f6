//! The threads that this node runs beside the daemon's task.

use std::thread::JoinHandle;

use crate::service::identities::IdentityChecks;
use crate::service::shared::Shared;

/// Threads that end with the daemon.
pub(super) struct Threads {
    pub(super) packets: JoinHandle<()>,
    pub(super) controlling: JoinHandle<()>,
    pub(super) checking: JoinHandle<()>,
    pub(super) checks: IdentityChecks,
}

impl Threads {
    /// Ends them, and waits until they have. The packet thread closes the TAPs, which takes the interfaces away.
    pub(super) fn stop(self, shared: &Shared) {
        shared.controller.stop();
        shared.engine.stop();
        self.checks.stop();
        for thread in [self.packets, self.controlling, self.checking] {
            if thread.join().is_err() {
                tracing::error!("a thread of this node had panicked; please report the lines above");
            }
        }
    }
}
