//! An identity that others have too: settling in where it moved to, or giving it up.

use super::Daemon;
use crate::core::event::{CloneSeen, Machine};
use crate::service::clones::{self, Verdict};
use crate::service::engine::Stopped;
use crate::service::machine::{self, Belonging};

impl Daemon {
    /// Other machines have our identity, or have it no more.
    pub(super) fn clones_seen(&mut self, seen: Vec<CloneSeen>) {
        let policy = self.shared.state().conf.typed.settings.clones;
        let verdict = clones::judge(policy, self.own, &self.shared.state().clones.seen, &seen);
        self.condition.cloned = !seen.is_empty();
        self.shared.state_mut().clones.seen = seen;
        match verdict {
            Verdict::Stay => {}
            Verdict::Stop => self.stop_as_clone = true,
            Verdict::Renew => match self.shared.home.give_up_identity(self.own) {
                Ok(saved) => {
                    tracing::warn!(old = %saved.display(), "starting again with a new identity: have the new address authorized in your networks");
                    self.collided = true;
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
        let Some(id) = self.moved_to.filter(|_| long && !self.condition.cloned) else { return Ok(()) };
        machine::bind(&self.shared.home, self.own, id);
        self.moved_to = None;
        self.shared.state_mut().clones.belonging = Belonging::Home;
        tracing::info!(address = %self.own, "nobody else was heard with this identity; it belongs to this machine now");
        self.shared.engine.post(move |core, now| core.watch_for_clones(now, Machine { id, at_home: true }))
    }

    pub(super) fn retire_identity(&mut self) {
        match self.shared.home.retire_identity() {
            Ok(saved) => {
                tracing::warn!(old = %saved.display(), "a root says another node owns our address; starting again with a new identity: have the new address authorized in your networks");
                self.collided = true;
            }
            Err(error) => {
                tracing::warn!(%error, "a root says another node owns our address, and the identity cannot be put away; stop this node or the other");
            }
        }
    }
}
