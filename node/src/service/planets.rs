//! The planet in force, and why it stays.

use std::sync::Arc;

use protocol::world::World;

use super::engine::Stopped;
use super::shared::Shared;

/// Why no other planet is taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kept {
    /// A network is joined.
    Joined,
    /// This node is a root.
    Root,
    /// A root was heard.
    Heard,
    /// The key of a planet lies in the home.
    Signs,
}

impl Kept {
    /// The word for programs.
    pub fn name(self) -> &'static str {
        match self {
            Kept::Joined => "joined",
            Kept::Root => "root",
            Kept::Heard => "heard",
            Kept::Signs => "signs",
        }
    }

    /// For people.
    pub fn reason(self) -> &'static str {
        match self {
            Kept::Joined => "this node has joined a network",
            Kept::Root => "this node is a root of its planet",
            Kept::Heard => "a root has answered this node",
            Kept::Signs => "this node has the key of a planet (planet.key)",
        }
    }
}

/// Why a planet was not taken.
#[derive(Debug, thiserror::Error)]
pub enum NotTaken {
    /// The one in force stays.
    #[error("{}, so that its planet is not replaced; nothing was changed", .0.reason())]
    Kept(Kept),
    /// It cannot be stored.
    #[error("{0}")]
    NotKept(String),
}

/// The planet in force, and why it may not be replaced; `None` = it may.
pub(super) async fn kept_because(shared: &Arc<Shared>) -> Result<(World, Option<Kept>), Stopped> {
    let asked = shared.engine.call(|core, _| {
        let own = core.address();
        let planet = core.view().planet().clone();
        let root = planet.roots.iter().any(|root| root.identity.address == own);
        (planet, root, core.heard_root_since(None))
    });
    let (planet, is_root, heard) = asked.await?;
    let home = &shared.home;
    let kept = if !shared.state().networks.is_empty() || home.networks.any() {
        Some(Kept::Joined)
    } else if home.planet.is_signed_here() {
        Some(Kept::Signs)
    } else if is_root {
        Some(Kept::Root)
    } else if heard || home.planet.root_was_heard() {
        Some(Kept::Heard)
    } else {
        None
    };
    Ok((planet, kept))
}
