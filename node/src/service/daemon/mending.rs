//! Sockets that are of no use: which broke is bound anew, and if nobody at all was heard for long, another port is tried.
//!
//! A NAT router can hold a mapping that leads nowhere for as long as something is sent from its port; whoever waits for it to
//! mend is silent for ever.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use crate::core::path::SocketId;

/// Sockets that break again at once are bound anew after this time, which doubles …
const PAUSE: Duration = Duration::from_secs(1);
/// … up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// After so long a time with whole sockets everything is as at the beginning.
const QUIET: Duration = Duration::from_secs(300);
/// No root, and nobody else, was heard for so long.
const SILENCE: Duration = Duration::from_secs(120);

/// What is to be done.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Step {
    /// Bind these anew.
    Bind(BTreeSet<SocketId>),
    /// No root has answered for long: if nobody else did, try another port.
    AnotherPort,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Mending {
    /// Sockets that broke; of those that are bound, so no more than these.
    broken: BTreeSet<SocketId>,
    /// When sockets were bound anew last.
    bound: Option<Instant>,
    pause: Duration,
    /// When it has been silent for too long.
    silent: Option<Instant>,
}

impl Mending {
    pub(super) fn new(now: Instant) -> Self {
        Mending { broken: BTreeSet::new(), bound: None, pause: Duration::ZERO, silent: Some(now + SILENCE) }
    }

    /// A socket broke.
    pub(super) fn broke(&mut self, id: SocketId) {
        self.broken.insert(id);
    }

    /// A root answers, or none does any more.
    pub(super) fn set_online(&mut self, now: Instant, online: bool) {
        self.silent = if online { None } else { self.silent.or(Some(now + SILENCE)) };
    }

    /// When [`Self::take`] has something.
    pub(super) fn due(&self) -> Option<Instant> {
        let bind =
            (!self.broken.is_empty()).then(|| self.bound.map_or_else(Instant::now, |at| at + self.pause));
        bind.into_iter().chain(self.silent).min()
    }

    /// What is to be done now.
    pub(super) fn take(&mut self, now: Instant) -> Option<Step> {
        if !self.broken.is_empty() && self.bound.is_none_or(|at| now >= at + self.pause) {
            let quiet = self.bound.is_none_or(|at| now - at >= QUIET);
            self.pause = if quiet { PAUSE } else { (self.pause * 2).min(LONGEST_PAUSE) };
            self.bound = Some(now);
            return Some(Step::Bind(std::mem::take(&mut self.broken)));
        }
        if self.silent.is_some_and(|at| now >= at) {
            self.silent = Some(now + SILENCE);
            return Some(Step::AnotherPort);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_breaks_again_and_again_is_bound_ever_less_often() {
        let begun = Instant::now();
        let mut mending = Mending::new(begun);
        mending.set_online(begun, true);
        assert_eq!((mending.due(), mending.take(begun)), (None, None));
        // Broken again as soon as it is bound, for ten minutes.
        let mut bound = 0;
        for tenth in 0..6_000 {
            let now = begun + Duration::from_millis(tenth * 100);
            mending.broke(SocketId(bound));
            if let Some(step) = mending.take(now) {
                assert_eq!(step, Step::Bind([SocketId(bound)].into()));
                bound += 1;
            }
        }
        assert!((20..=30).contains(&bound), "{bound} times");
        let later = begun + Duration::from_secs(600) + QUIET;
        mending.broke(SocketId(99));
        assert!(mending.due().is_some_and(|due| due <= later) && mending.take(later).is_some());
        mending.broke(SocketId(100));
        assert_eq!(mending.take(later), None);
        assert!(mending.take(later + PAUSE).is_some(), "patient again");
    }

    #[tokio::test(start_paused = true)]
    async fn another_port_every_two_minutes_of_silence() {
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let mut mending = Mending::new(begun);
        assert_eq!(mending.take(at(119)), None);
        assert_eq!(mending.take(at(120)), Some(Step::AnotherPort));
        assert_eq!(mending.take(at(121)), None);
        mending.set_online(at(122), true);
        assert_eq!((mending.due(), mending.take(at(900))), (None, None));
        mending.set_online(at(1_000), false);
        mending.set_online(at(1_100), false);
        assert_eq!(mending.take(at(1_119)), None);
        assert_eq!(mending.take(at(1_120)), Some(Step::AnotherPort));
    }
}
