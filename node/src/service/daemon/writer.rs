//! Writing the core's state objects, the ones that could not be written included.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::core::event::Object;
use crate::service::shared::{Shared, Unsaved};

/// Keeps the core's state objects in the home.
pub(super) struct Writer {
    shared: Arc<Shared>,
    /// What could not be written, as it should be.
    unsaved: BTreeMap<Object, Vec<u8>>,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Writer { shared, unsaved: BTreeMap::new() }
    }

    /// Keeps a state object. What cannot be written is kept in memory and tried again; it is told of once.
    pub(super) fn store(&mut self, object: Object, bytes: &[u8]) {
        let path = self.shared.home.object_path(object);
        match self.shared.home.store(object, bytes) {
            Ok(()) => {
                if self.unsaved.remove(&object).is_some() {
                    tracing::info!(path = %path.display(), "saved after all");
                    self.show(&path, None);
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
                self.show(&path, Some(error.to_string()));
            }
        }
    }

    /// Removes a state object, and forgets what could not be written of it.
    pub(super) fn delete(&mut self, object: Object) {
        if self.unsaved.remove(&object).is_some() {
            self.show(&self.shared.home.object_path(object), None);
        }
        self.shared.home.delete(object);
    }

    /// Tries again to write what could not be written.
    pub(super) fn try_again(&mut self) {
        for (object, bytes) in self.unsaved.clone() {
            self.store(object, &bytes);
        }
    }

    fn show(&self, path: &Path, error: Option<String>) {
        let unsaved = &mut self.shared.state_mut().unsaved;
        unsaved.retain(|entry| entry.path != path);
        unsaved.extend(error.map(|error| Unsaved { path: path.to_owned(), error }));
    }
}
