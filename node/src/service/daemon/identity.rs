//! An identity that others have too: settling in where it moved to, or giving it up.

use std::sync::Arc;
use std::time::Instant;

use protocol::Address;
use serde_json::Value;

use crate::core::event::{CloneSeen, Machine};
use crate::service::clones::{self, Verdict};
use crate::service::collision::{Kept, Policy};
use crate::service::engine::Stopped;
use crate::service::machine::{self, Belonging};
use crate::service::shared::Shared;

/// Why this node goes on no longer as who it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Over {
    /// The identity was put away: start again with a new one.
    PutAway,
    /// Another machine has the identity, and we are to stop.
    Cloned,
}

/// Our identity: whether it is ours alone, belongs to this machine, and may be replaced.
pub(super) struct OwnIdentity {
    shared: Arc<Shared>,
    own: Address,
    /// It was made here, and no root accepted it yet.
    new: bool,
    /// Hash of this machine's ID, while the identity belongs to another.
    moved_to: Option<[u8; 16]>,
    online_since: Option<Instant>,
    over: Option<Over>,
}

impl OwnIdentity {
    pub(super) fn new(shared: Arc<Shared>, own: Address, moved_to: Option<[u8; 16]>) -> Self {
        let new = shared.home.identity.is_new(own);
        OwnIdentity { shared, own, new, moved_to, online_since: None, over: None }
    }

    /// Why the node ends, if it does.
    pub(super) fn over(&self) -> Option<Over> {
        self.over
    }

    /// A root answers, or none does any more.
    pub(super) fn set_online(&mut self, online: bool) {
        self.online_since = online.then(Instant::now);
    }

    /// Other machines have our identity, or have it no more.
    pub(super) fn set_clones(&mut self, seen: Vec<CloneSeen>) {
        let policy = self.shared.state().conf.typed.settings.clones;
        let verdict = clones::judge(policy, self.own, &self.shared.state().clones.seen, &seen);
        self.shared.state_mut().clones.seen = seen;
        match verdict {
            Verdict::Stay => {}
            Verdict::Stop => self.over = self.over.or(Some(Over::Cloned)),
            Verdict::Renew => match self.shared.home.identity.give_up(self.own) {
                Ok(saved) => {
                    tracing::warn!(old = %saved.display(), "starting again with a new identity: have the new address authorized in your networks");
                    self.over = Some(Over::PutAway);
                }
                Err(error) => {
                    tracing::warn!(%error, "the identity cannot be put away; stop this node or the other");
                }
            },
        }
    }

    /// An identity that moved belongs here when nobody else was heard with it for long.
    pub(super) fn settle_in(&mut self) -> Result<(), Stopped> {
        let long = self.online_since.is_some_and(|since| since.elapsed() >= clones::SETTLED);
        let alone = self.shared.state().clones.seen.is_empty();
        let Some(id) = self.moved_to.filter(|_| long && alone) else { return Ok(()) };
        machine::bind(&self.shared.home, self.own, id);
        self.moved_to = None;
        self.shared.state_mut().clones.belonging = Belonging::Home;
        tracing::info!(address = %self.own, "nobody else was heard with this identity; it belongs to this machine now");
        self.shared.engine.post(move |core, now| core.watch_for_clones(now, Machine { id, at_home: true }))
    }

    /// A root accepted us: from now on nothing but a person replaces this identity.
    pub(super) fn accepted(&mut self) {
        self.new = false;
        if let Err(error) = self.shared.home.identity.accepted() {
            tracing::warn!(%error, "cannot note that a root accepted this identity; correct owner and mode of the home directory");
        }
    }

    /// A root says that another node owns our address. Returns whether the identity stays all the same.
    pub(super) async fn collided(&mut self, root: Address) -> bool {
        let kept = match self.irreplaceable().await {
            Some(kept) => kept,
            None => match self.shared.home.identity.retire(self.own) {
                Ok(saved) => {
                    tracing::warn!(%root, old = %saved.display(), "a root says another node owns our new address; starting again with another identity");
                    self.over = Some(Over::PutAway);
                    return false;
                }
                Err(error) => {
                    tracing::debug!(%error, "the identity cannot be put away");
                    Kept::Failed
                }
            },
        };
        let now = self.shared.clock.now();
        self.shared.state_mut().collision.kept(now, self.own, root, kept);
        self.shared.waits.tell();
        true
    }

    /// Why the identity may not be replaced; `None` = it may.
    async fn irreplaceable(&self) -> Option<Kept> {
        let policy = self.shared.state().conf.typed.settings.collision;
        if !self.new {
            Some(Kept::Accepted)
        } else if self.shared.state().clones.belonging == Belonging::Moved {
            Some(Kept::Moved)
        } else if !self.shared.state().networks.is_empty() || self.shared.home.networks.any() {
            Some(Kept::Joined)
        } else if policy == Policy::Warn {
            Some(Kept::Setting)
        } else {
            self.controls_networks().await.then_some(Kept::Controls)
        }
    }

    /// Whether our controller has networks of this address. One that does not answer may have some.
    async fn controls_networks(&self) -> bool {
        let asked = self.shared.controller.http("GET".into(), "/controller/network".into(), Vec::new());
        let Ok(reply) = asked.await else { return true };
        let own = self.own.to_string();
        let is_ours = |id: &Value| id.as_str().is_none_or(|id| id.starts_with(&own));
        reply.body.as_ref().and_then(Value::as_array).is_none_or(|ids| ids.iter().any(is_ours))
    }
}
