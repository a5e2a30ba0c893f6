//! Which way packets to a peer take, and what is done while that is in doubt.
//!
//! A peer's best direct path is taken as long as it is sound ([`liveness`](super::liveness)); while it is in doubt packets go by it, and
//! in copies by the next best way: another path, else a root. When that lasts the flow moves. A way that has been left is preferred
//! again when it has answered for a while. Each peer's choice is kept until something has to be asked or changes, so that a frame
//! costs one comparison.
//!
//! Copies of numbered packets carry the same number, of which their receiver takes each once.

use std::collections::BTreeSet;

use protocol::verb::Verb;
use protocol::{Address, Time};

use crate::ground::gate::Allowance;
use crate::ground::limits::{COPY_BURST, MOVE_AFTER, RELAYED_COPY_BURST};
use crate::link::Link;
use crate::link::extension::Known;
use crate::link::liveness::{Act, Pace, Standing};
use crate::link::path::PathKey;
use crate::link::peer::{Choice, PeerPath};
use crate::link::root_ways::RootWays;

/// Where a packet goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Way {
    pub(crate) key: PathKey,
    /// Whether that is a path of the receiver, and no relay.
    pub(crate) direct: bool,
    /// Where a copy of it goes, since that way is in doubt.
    pub(crate) copy: Option<PathKey>,
}

/// What a place is from which a peer's packet came, and that is no path of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Place {
    /// It has answered there.
    Proven,
    /// It may be there.
    Possible,
    /// Another port of a place where it still is.
    Another,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Ways {
    /// Paths with something to do by the clock, each once.
    due: BTreeSet<(Time, Address, PathKey)>,
    /// What may be sent twice by relays.
    relayed_copies: Allowance,
    /// Of that, by roots of others.
    foreign_copies: Allowance,
}

impl Ways {
    /// When there is something to do by the clock.
    pub(crate) fn next(&self) -> Option<Time> {
        self.due.first().map(|(due, ..)| *due)
    }

    /// The way to `dest`. `traffic`: for frames, which have their way watched.
    pub(crate) fn choose(link: &mut Link, now: Time, dest: Address, traffic: bool) -> Option<Way> {
        let best = |link: &Link| {
            let peer = link.topology.peers.get(&dest)?;
            Some(peer.best_path(now, &link.topology.paths))
        };
        let mut direct = best(link)?;
        if let Some(found) = direct
            && traffic
            && (found.heard || found.standing != Standing::Sound)
        {
            Self::watch(link, now, dest, found.key);
            direct = best(link)?;
        }
        match direct {
            Some(found) if found.is_sound() => {
                Self::settle(link, now, dest, found.key, traffic);
                return Some(Way { key: found.key, direct: true, copy: None });
            }
            Some(found) if found.standing == Standing::Sound && !found.questioned => {
                link.confirm(now, dest, found.key);
            }
            Some(_) => {}
            None => link.try_hints(now, dest),
        }
        let relay = link.topology.relay_for(now, dest, &[dest]);
        if let Some((root, path)) = relay {
            if traffic {
                Self::watch_roots(link, now, dest);
            }
            if path.is_alive() {
                RootWays::relays(link, now, dest, root);
                link.greet_through(now, dest, path.key);
            }
        }
        let relay = relay.and_then(|_| link.topology.relay_for(now, dest, &[dest]));
        let relayed = |key, copy| Some(Way { key, direct: false, copy });
        match (direct, relay) {
            (Some(direct), relay) if direct.is_alive() => {
                Some(Way { key: direct.key, direct: true, copy: relay.map(|(_, path)| path.key) })
            }
            (_, Some((_, path))) if path.is_sound() => relayed(path.key, None),
            (Some(direct), Some((_, path))) if path.is_alive() => relayed(path.key, Some(direct.key)),
            (None, Some((root, path))) if path.is_alive() => {
                let second = link.topology.relay_for(now, dest, &[dest, root]).map(|(_, path)| path.key);
                relayed(path.key, second)
            }
            (Some(direct), relay) => {
                Some(Way { key: direct.key, direct: true, copy: relay.map(|(_, path)| path.key) })
            }
            (None, Some((_, path))) => relayed(path.key, None),
            (None, None) => {
                let peer = link.topology.peers.get(&dest)?;
                let last = peer.any_path(now, &link.topology.paths)?;
                Some(Way { key: last.key, direct: true, copy: None })
            }
        }
    }

    /// Traffic goes by a root, and what is answered may come by any: each has to know where we are.
    fn watch_roots(link: &mut Link, now: Time, but: Address) {
        const MANY: usize = 8;
        let mut paths = [None; MANY];
        let roots = link.topology.upstreams.keys().filter(|root| **root != but);
        for (place, root) in paths.iter_mut().zip(roots) {
            let peer = link.topology.peers.get(root);
            *place =
                peer.and_then(|peer| peer.any_path(now, &link.topology.paths)).map(|best| (*root, best.key));
        }
        for (root, key) in paths.into_iter().flatten() {
            Self::watch(link, now, root, key);
        }
    }

    /// A sound path is taken until something has to be asked.
    fn settle(link: &mut Link, now: Time, dest: Address, key: PathKey, used: bool) {
        let Some(peer) = link.topology.peers.get_mut(&dest) else { return };
        let until = peer.path_mut(&key).map_or(now, |path| path.liveness.calm_until(now));
        let used = used || peer.course.choice.is_some_and(|choice| choice.key == key && choice.used);
        peer.course.choice = Some(Choice { key, until: Some(until), used });
    }

    /// Traffic goes by a path: probes it, if that is due.
    fn watch(link: &mut Link, now: Time, peer: Address, key: PathKey) {
        let Some((path, pace)) = Self::path(link, peer, &key) else { return };
        let (_, act) = path.liveness.sent(now, pace);
        if let Some(act) = act {
            Self::act(link, now, peer, key, act);
        }
    }

    fn path<'a>(link: &'a mut Link, peer: Address, key: &PathKey) -> Option<(&'a mut PeerPath, Pace)> {
        let is_root = link.topology.is_upstream(peer);
        let peer = link.topology.peers.get_mut(&peer)?;
        let pace = peer.pace(is_root);
        Some((peer.path_mut(key)?, pace))
    }

    fn act(link: &mut Link, now: Time, peer: Address, key: PathKey, act: Act) {
        Self::time(link, peer, &key);
        if let Some(choice) = link.topology.peers.get_mut(&peer).and_then(|peer| peer.course.choice.as_mut())
        {
            choice.used &= choice.key != key;
        }
        // A node that was started again knows us by a HELLO only.
        let restarted = Self::path(link, peer, &key)
            .is_some_and(|(path, _)| path.liveness.standing() >= Standing::Doubtful);
        if restarted {
            link.say_hello(now, peer, Some(key.socket), key.remote);
        }
        link.contact(now, peer, Some(key.socket), key.remote);
        if act == Act::Doubt {
            if let Some(peer) = link.topology.peers.get_mut(&peer) {
                peer.reconsider();
                for other in peer.paths.iter_mut().filter(|path| path.key != key) {
                    other.liveness.question();
                }
            }
            Self::ask_others(link, now, peer, &key);
        }
    }

    /// Asks on all other paths of a peer whether they would do.
    pub(crate) fn ask_others(link: &mut Link, now: Time, peer: Address, but: &PathKey) {
        let others: Vec<PathKey> = link
            .topology
            .peers
            .get(&peer)
            .map(|peer| peer.paths.iter().map(|path| path.key).filter(|key| key != but).collect())
            .unwrap_or_default();
        for key in others {
            Self::ask(link, now, peer, key);
        }
    }

    /// Probes a path now.
    pub(crate) fn ask(link: &mut Link, now: Time, peer: Address, key: PathKey) {
        let Some((path, pace)) = Self::path(link, peer, &key) else { return };
        if path.liveness.ask(now, pace) {
            Self::act(link, now, peer, key, Act::Probe);
        }
    }

    /// A path is to be measured by an ECHO. Whoever is no ztnode answers but so many of a path: until when that has to wait, if it has
    /// to. Else probes wait for it.
    pub(crate) fn make_room(link: &mut Link, now: Time, peer: Address, key: &PathKey) -> Option<Time> {
        let (path, pace) = Self::path(link, peer, key)?;
        if pace == Pace::OURS {
            return None;
        }
        let later = path.liveness.hears_from(pace).filter(|later| now < *later);
        if later.is_none() {
            path.liveness.make_room(now, pace);
        }
        later
    }

    /// Has the clock look at a path when it is due.
    fn time(link: &mut Link, peer: Address, key: &PathKey) {
        let Some((path, _)) = Self::path(link, peer, key) else { return };
        if let Some(due) = path.liveness.due().filter(|_| !path.timed) {
            path.timed = true;
            link.ways.due.insert((due, peer, *key));
        }
    }

    /// Does what is due by the clock.
    pub(crate) fn tick(link: &mut Link, now: Time) {
        while let Some(&(due, peer, key)) = link.ways.due.first().filter(|(due, ..)| *due <= now) {
            link.ways.due.remove(&(due, peer, key));
            let has_other = Self::has_other(link, now, peer, &key);
            let choice = link.topology.peers.get(&peer).and_then(|peer| peer.course.choice);
            let used = choice.is_some_and(|choice| choice.key == key && choice.used);
            let Some((path, pace)) = Self::path(link, peer, &key) else { continue };
            path.timed = false;
            let late = now - due;
            if late >= path.liveness.timeout(pace) / 2 && path.liveness.due() == Some(due) {
                // We have not listened ourselves.
                path.liveness.excuse(now, pace);
            }
            let act = path.liveness.tick(now, pace, has_other, used);
            let standing = path.liveness.standing();
            match act {
                Some(act) => Self::act(link, now, peer, key, act),
                None => Self::time(link, peer, &key),
            }
            if standing != Standing::Sound
                && let Some(peer) = link.topology.peers.get_mut(&peer)
            {
                peer.reconsider();
            }
        }
    }

    /// Whether a peer is reached in another way than by this path.
    fn has_other(link: &Link, now: Time, peer: Address, key: &PathKey) -> bool {
        let Some(known) = link.topology.peers.get(&peer) else { return false };
        known.paths.iter().any(|path| path.key != *key && path.liveness.standing() == Standing::Sound)
            || link.topology.relay_path(now, &[peer]).is_some_and(|(_, best)| best.is_sound())
    }

    /// A peer has answered, from where it was asked, what was sent at `sent`.
    pub(crate) fn answered(link: &mut Link, now: Time, peer: Address, key: PathKey, sent: Time) {
        let Some((path, pace)) = Self::path(link, peer, &key) else { return };
        let before = path.liveness.standing();
        let until = path.liveness.answered(now, sent, pace);
        let same = before == path.liveness.standing();
        let Some(known) = link.topology.peers.get_mut(&peer) else { return };
        match &mut known.course.choice {
            Some(choice) if same && choice.key == key => choice.until = Some(until),
            Some(choice) => choice.until = None,
            None => {}
        }
        Self::time(link, peer, &key);
    }

    /// What a place is from which a peer's packet came, and that is no path of it. Where a sibling of it is in use, that is asked: it
    /// stays what it is if it answers first.
    pub(crate) fn newcomer(
        link: &mut Link,
        now: Time,
        peer: Address,
        via: PathKey,
        (proves, fresh): (bool, bool),
        verb: Option<Verb>,
    ) -> Place {
        let Some(known) = link.topology.peers.get_mut(&peer) else { return Place::Another };
        let is_ours = matches!(known.extensions.known, Known::Ztnode(_));
        let Some(sibling) = known.live_sibling(now, &link.topology.paths, &via) else {
            return if proves { Place::Proven } else { Place::Possible };
        };
        let (old, asking) = (sibling.key, sibling.liveness.is_asking());
        if proves {
            if !asking {
                return Place::Another;
            }
            sibling.liveness.suspect(now);
            known.reconsider();
            return Place::Proven;
        }
        // Others say HELLO from all their sockets, which says nothing about the one they use. A root gets no frames, and is what a
        // relayed peer is found by.
        let shows = match verb {
            Some(Verb::Frame | Verb::ExtFrame) => true,
            Some(Verb::Hello) | None => false,
            Some(_) => is_ours || link.topology.am_root,
        };
        if !(fresh && shows) {
            return Place::Another;
        }
        Self::ask(link, now, peer, old);
        Place::Possible
    }

    /// A peer says from a path that it has moved there. When that is known its other paths are none until they answer.
    pub(crate) fn moved(link: &mut Link, now: Time, peer: Address, to: &PathKey) {
        let Some(known) = link.topology.peers.get_mut(&peer) else { return };
        if known.path_mut(to).is_none() {
            known.course.moved_to = Some(*to);
            return;
        }
        known.course.moved_to = None;
        for path in known.paths.iter_mut().filter(|path| path.key != *to) {
            path.liveness.suspect(now);
        }
        known.reconsider();
        Self::ask_others(link, now, peer, to);
    }

    /// Whether a copy of so many octets may go to a peer by a path. Where that is too much the flow leaves the way in doubt.
    pub(crate) fn may_copy(link: &mut Link, now: Time, peer: Address, way: &Way, octets: usize) -> bool {
        let Some(copy) = way.copy else { return false };
        // What goes in clear by a trusted path is the same octets elsewhere, where everybody reads them.
        let trusted = |key: PathKey| link.settings.trusted_path(key.remote.ip());
        if trusted(way.key) != trusted(copy) {
            return false;
        }
        let Some(known) = link.topology.peers.get_mut(&peer) else { return false };
        let relayed = known.path_mut(&copy).is_none();
        let foreign = relayed && link.topology.is_foreign_root_at(&copy);
        let Some(known) = link.topology.peers.get_mut(&peer) else { return false };
        let (limits, ways) = (link.settings.copies, &mut link.ways);
        // Nothing at once either where nothing is allowed.
        let take = |allowance: &mut Allowance, rate: i64, burst: i64| {
            rate > 0 && allowance.take(now, octets, rate, burst)
        };
        let may = take(&mut known.course.copies, limits.peer, COPY_BURST)
            && (!relayed
                || (!foreign || take(&mut ways.foreign_copies, limits.foreign, COPY_BURST))
                    && take(&mut ways.relayed_copies, limits.relayed, RELAYED_COPY_BURST));
        if !may
            && Self::has_other(link, now, peer, &way.key)
            && let Some((path, _)) = Self::path(link, peer, &way.key)
            && path.liveness.doubted_for(now) >= Some(MOVE_AFTER)
        {
            path.liveness.give_up();
        }
        may
    }
}

#[cfg(feature = "work")]
impl Ways {
    /// See `filling`. Nothing becomes due while a test goes on.
    pub(crate) fn fill(&mut self, now: Time, peer: impl Fn(u64) -> Address, via: impl Fn(u64) -> PathKey) {
        use crate::ground::limits::MAX_PATHS;

        let due = now + protocol::Span::secs(1_000_000);
        for number in self.due.len() as u64..MAX_PATHS as u64 {
            self.due.insert((due, peer(number), via(number)));
        }
    }

    /// See `filling`.
    pub(crate) fn len(&self) -> usize {
        self.due.len()
    }
}
