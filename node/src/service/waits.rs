//! Telling those who wait for a network that they should look again.
//!
//! There is nothing to be lost here: a waiter that is told looks at the state itself, and changes that come meanwhile are told
//! as one.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// Waiters at once, all networks together. Each holds a connection of the control API, so it is well below their number.
pub const MAX_WAITERS: usize = 16;

/// Everybody who waits.
pub struct Waits {
    changed: watch::Sender<()>,
    places: Arc<Semaphore>,
}

/// One who waits. Dropping it makes room for another.
pub struct Waiter {
    changed: watch::Receiver<()>,
    _place: OwnedSemaphorePermit,
}

impl Default for Waits {
    fn default() -> Self {
        Waits { changed: watch::Sender::new(()), places: Arc::new(Semaphore::new(MAX_WAITERS)) }
    }
}

impl Waits {
    /// Whether a network is usable, or what it lacks, may have changed.
    pub fn tell(&self) {
        self.changed.send_replace(());
    }

    /// Begins to wait: changes from now on are told. `None`: [`MAX_WAITERS`] are there.
    pub fn enter(&self) -> Option<Waiter> {
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        Some(Waiter { changed: self.changed.subscribe(), _place: place })
    }
}

impl Waiter {
    /// Waits for a change since the last call.
    pub async fn change(&mut self) {
        if self.changed.changed().await.is_err() {
            // The node ends: nothing will change any more.
            std::future::pending::<()>().await;
        }
    }
}
