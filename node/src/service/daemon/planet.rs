//! Another planet while the node runs, for a node that nothing depends on yet.

use std::sync::Arc;

use protocol::world::World;

use crate::service::engine::Stopped;
use crate::service::planets::{Kept, NotTaken, kept_because};
use crate::service::shared::Shared;

/// What becomes of a planet that somebody wants in force.
pub(super) enum Plan {
    /// It is in force already.
    InForce,
    /// Another one stays.
    Refuse(Kept),
    /// It takes the other's place.
    Take,
}

/// The node's planet, and whether its roots were heard.
pub(super) struct OwnPlanet {
    shared: Arc<Shared>,
    /// That a root was heard could not be noted the last time.
    unsaved: bool,
}

impl OwnPlanet {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        OwnPlanet { shared, unsaved: false }
    }

    /// What is to become of another planet.
    pub(super) async fn plan(&self, planet: &World) -> Result<Plan, Stopped> {
        let (in_force, kept) = kept_because(&self.shared).await?;
        Ok(match kept {
            _ if in_force == *planet => Plan::InForce,
            Some(kept) => Plan::Refuse(kept),
            None => Plan::Take,
        })
    }

    /// Puts another planet in force and into the home: both, or neither.
    pub(super) async fn take(&self, planet: World) -> Result<Result<(), NotTaken>, Stopped> {
        // First the file: the new roots may answer at once, and from then on nothing is taken back.
        let home = &self.shared.home;
        let not_kept = |error| {
            NotTaken::NotKept(format!("cannot keep the planet in {}: {error}", home.root().display()))
        };
        if let Err(error) = home.planet.replace(&planet.to_bytes()) {
            return Ok(Err(not_kept(error)));
        }
        let taken = planet.clone();
        let replaced = self.shared.engine.call(move |core, now| {
            // One may have answered just now.
            (!core.heard_root_since(None)).then(|| core.replace_planet(now, taken))
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

    /// A root answered: no token replaces the planet any more.
    pub(super) fn note_root_heard(&mut self) {
        match self.shared.home.planet.note_root_heard() {
            Ok(()) => self.unsaved = false,
            Err(error) => {
                if !std::mem::replace(&mut self.unsaved, true) {
                    tracing::warn!(%error, "cannot note that a root was heard; correct owner and mode of the home directory");
                }
            }
        }
    }

    /// Notes it again if that failed.
    pub(super) fn try_again(&mut self) {
        if self.unsaved {
            self.note_root_heard();
        }
    }
}
