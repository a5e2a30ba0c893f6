//! Another planet while the node runs, for a node that nothing depends on yet.

use protocol::world::World;

use super::Daemon;
use crate::service::engine::Stopped;
use crate::service::planets::{Kept, NotTaken, kept_because};

impl Daemon {
    /// Puts another planet in force and into the home: both, or neither.
    pub(super) async fn take_planet(&mut self, planet: World) -> Result<Result<(), NotTaken>, Stopped> {
        let shared = self.shared.clone();
        let (in_force, kept) = kept_because(&shared).await?;
        if in_force == planet {
            return Ok(Ok(()));
        }
        if let Some(kept) = kept {
            return Ok(Err(NotTaken::Kept(kept)));
        }
        // What the core has had to say so far, a new version of the planet in force perhaps, comes first.
        self.settle().await?;
        // Then the file: the new roots may answer at once, and from then on nothing is taken back.
        let home = &shared.home;
        let not_kept = |error| {
            NotTaken::NotKept(format!("cannot keep the planet in {}: {error}", home.root().display()))
        };
        if let Err(error) = home.planet.replace(&planet.to_bytes()) {
            return Ok(Err(not_kept(error)));
        }
        let taken = planet.clone();
        let replaced = shared.engine.call(move |core, now| {
            // One may have answered just now.
            (!core.heard_root_since(0)).then(|| core.replace_planet(now, taken))
        });
        let Some(former) = replaced.await? else {
            return Ok(Err(home.planet.restore().map_or_else(not_kept, |()| NotTaken::Kept(Kept::Heard))));
        };
        tracing::info!(
            from = format!("{:016x}", former.id),
            to = format!("{:016x}", planet.id),
            "another planet, by request: its roots are asked from now on"
        );
        Ok(Ok(()))
    }

    /// A root answered: no token replaces the planet any more. Tried again when it could not be noted.
    pub(super) fn note_root_heard(&mut self) {
        match self.shared.home.planet.note_root_heard() {
            Ok(()) => self.root_heard_unsaved = false,
            Err(error) => {
                if !std::mem::replace(&mut self.root_heard_unsaved, true) {
                    tracing::warn!(%error, "cannot note that a root was heard; correct owner and mode of the home directory");
                }
            }
        }
    }
}
