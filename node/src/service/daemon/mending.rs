//! Sockets that broke are bound anew.

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

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Mending {
    /// Sockets that broke; of those that are bound, so no more than these.
    broken: BTreeSet<SocketId>,
    /// When sockets were bound anew last.
    bound: Option<Instant>,
    pause: Duration,
}

impl Mending {
    /// A socket broke.
    pub(super) fn broke(&mut self, id: SocketId) {
        self.broken.insert(id);
    }

    /// When [`Self::take`] has something.
    pub(super) fn due(&self) -> Option<Instant> {
        (!self.broken.is_empty()).then(|| self.bound.map_or_else(Instant::now, |at| at + self.pause))
    }

    /// Those that are to be bound anew now.
    pub(super) fn take(&mut self, now: Instant) -> Option<BTreeSet<SocketId>> {
        if !self.broken.is_empty() && self.bound.is_none_or(|at| now >= at + self.pause) {
            let quiet = self.bound.is_none_or(|at| now - at >= QUIET);
            self.pause = if quiet { PAUSE } else { (self.pause * 2).min(LONGEST_PAUSE) };
            self.bound = Some(now);
            return Some(std::mem::take(&mut self.broken));
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
        let mut mending = Mending::default();
        assert_eq!((mending.due(), mending.take(begun)), (None, None));
        // Broken again as soon as it is bound, for ten minutes.
        let mut bound = 0;
        for tenth in 0..6_000 {
            let now = begun + Duration::from_millis(tenth * 100);
            mending.broke(SocketId(bound));
            if let Some(broken) = mending.take(now) {
                assert_eq!(broken, BTreeSet::from([SocketId(bound)]));
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
}
