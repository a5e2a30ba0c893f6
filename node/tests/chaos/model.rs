//! Who has to reach whom, and from when on.
//!
//! Two nodes have to while there is a way between them that works in both directions: a root that is alive and both have greeted
//! lately, or a direct path that both have found and nothing has happened to. After each happening they have a time of grace.

use std::collections::{BTreeMap, BTreeSet};

use protocol::{Span, Time};

use crate::schedule::{Happening, Schedule};
use crate::sim::{BINDING, World};

/// Grace after a happening: a way that dies is in doubt by then, and whoever moved has told so.
const GRACE: i64 = 1_000;
/// More of it, where many probes get lost: more of them in a row have to, before that means anything.
const GRACE_PER_LOSS: i64 = 5;
/// A path is taken for alive so long after its last packet where nobody watches it: a node that did not use a root while it was dead
/// may find that out by asking only, and it does when it has to.
const UNWATCHED: i64 = 1_000;
/// Whoever has moved greets its roots before those who have no direct path to it find it by them: the contact check is due by then, and
/// the way it left has been asked.
const MOVED: i64 = 6_000;
/// Whom a NAT router forgot does not know that: a root forwards to where it was until that path is taken for dead.
const REBOUND: i64 = 19_000;
/// What a double asks its best root every now and then, by which that knows where it is.
const QUESTION: i64 = 5_000;
/// A root that has been started again is greeted by then.
const GREETED: i64 = 8_000;
/// Where packets get lost, a greeting or its answer may be one, and comes again with the next check.
const GREETED_AGAIN: i64 = 5_000;

/// See the module.
pub struct Model {
    grace: i64,
    greeted: Span,
    /// Directions in which nothing passes.
    broken: BTreeSet<(usize, usize)>,
    /// Since when each root is alive.
    alive: Vec<Option<Time>>,
    /// Pairs, the smaller number first, that have a direct path in both directions that nothing happened to.
    direct: BTreeSet<(usize, usize)>,
    /// Doubles, and those of them that not all roots know how to reach: they greet a root that they have a path to every 224 s, and talk
    /// with the best of them meanwhile.
    doubles: BTreeSet<usize>,
    unknown: BTreeSet<usize>,
    /// Whether no root has died: a double goes on with one that did as long as it seems the best.
    roots_live: bool,
    /// Until when hosts are elsewhere engaged, or find out that something has happened.
    grace_of: BTreeMap<usize, Time>,
}

impl Model {
    pub fn new(schedule: &Schedule, now: Time) -> Self {
        Self {
            greeted: Span::ms(GREETED + if schedule.weather.loss > 0 { GREETED_AGAIN } else { 0 }),
            grace: GRACE + GRACE_PER_LOSS * i64::from(schedule.weather.loss),
            broken: BTreeSet::new(),
            alive: vec![Some(now - Span::ms(GREETED + GREETED_AGAIN)); schedule.roots],
            direct: BTreeSet::new(),
            doubles: schedule.members().filter(|host| schedule.is_double(*host)).collect(),
            unknown: BTreeSet::new(),
            roots_live: true,
            grace_of: BTreeMap::new(),
        }
    }

    /// How long nothing may arrive.
    pub fn grace(&self) -> Span {
        Span::ms(self.grace)
    }

    /// How long what is due may be on its way: a frame or two, and what gets lost.
    pub fn moment(&self) -> Span {
        Span::ms(150 + (self.grace - GRACE) / GRACE_PER_LOSS)
    }

    /// Something happens.
    pub fn happen(&mut self, now: Time, what: Happening) {
        // A second way that nobody watched may turn out to be none either.
        let mut until = now + Span::ms(self.grace + UNWATCHED);
        let touched: Vec<usize> = match what {
            Happening::Cut(a, b) => {
                self.broken.extend([(a, b), (b, a)]);
                self.forget(|pair| pair == (a.min(b), a.max(b)));
                vec![a, b]
            }
            Happening::CutOneWay(a, b) => {
                self.broken.insert((a, b));
                self.forget(|pair| pair == (a.min(b), a.max(b)));
                vec![a, b]
            }
            Happening::Heal(a, b) => {
                self.broken.retain(|way| *way != (a, b) && *way != (b, a));
                vec![a, b]
            }
            Happening::Move(a) | Happening::Rebind(a) => {
                self.forget(|pair| pair.0 == a || pair.1 == a);
                until += Span::ms(if matches!(what, Happening::Move(_)) { MOVED } else { REBOUND });
                if self.doubles.contains(&a) {
                    until += Span::ms(QUESTION);
                    if matches!(what, Happening::Move(_)) {
                        until += BINDING;
                    }
                    if self.alive.len() > 1 {
                        self.unknown.insert(a);
                    }
                }
                vec![a]
            }
            Happening::RootDies(root) => {
                self.alive[root] = None;
                self.roots_live = false;
                Vec::new()
            }
            Happening::RootStarts(root) => {
                self.alive[root] = Some(now);
                self.unknown.extend(&self.doubles);
                Vec::new()
            }
            Happening::Jump(a, _) => vec![a],
            Happening::Sleep(a, ms) => {
                until += Span::ms(ms);
                // Who sleeps greets nobody.
                if self.alive.iter().flatten().any(|since| now - *since < self.greeted) {
                    until += self.greeted;
                }
                self.forget(|pair| pair.0 == a || pair.1 == a);
                vec![a]
            }
        };
        let all = matches!(what, Happening::RootDies(_) | Happening::RootStarts(_));
        if all {
            self.grace_of.insert(usize::MAX, until);
        }
        for host in touched {
            let of = self.grace_of.entry(host).or_insert(until);
            *of = until.max(*of);
        }
    }

    fn forget(&mut self, which: impl Fn((usize, usize)) -> bool) {
        self.direct.retain(|pair| !which(*pair));
    }

    /// Two hosts are seen to have a direct path to each other. While they may not have found out what happened that says nothing.
    pub fn found(&mut self, now: Time, a: usize, b: usize) {
        let passes = !self.broken.contains(&(a, b)) && !self.broken.contains(&(b, a));
        if passes && self.can_relay(now) && !self.in_grace(now, a, b) {
            self.direct.insert((a.min(b), a.max(b)));
        }
    }

    fn in_grace(&self, now: Time, a: usize, b: usize) -> bool {
        [a, b, usize::MAX].iter().any(|host| self.grace_of.get(host).is_some_and(|until| now < *until))
    }

    /// Whoever greets a root that has forgotten the other cannot know that another root would do.
    fn can_relay(&self, now: Time) -> bool {
        let mut alive = self.alive.iter().flatten().peekable();
        alive.peek().is_some() && alive.all(|since| now - *since >= self.greeted)
    }

    /// Whether something has to arrive from one host at another by now, however long ago the last did.
    pub fn must_reach(&self, world: &World, a: usize, b: usize) -> bool {
        let now = world.now;
        if self.in_grace(now, a, b) || !world.hosts[a].up || !world.hosts[b].up {
            return false;
        }
        let relayed = self.can_relay(now) && !self.unknown.contains(&a) && !self.unknown.contains(&b);
        if self.doubles.contains(&a) {
            // It takes a direct path until its own timers say that there is none, wherever that leads.
            let direct = world.double(a).path_to(world.time(a), world.address(b)).is_some();
            let arrives = world.leads_there(a, b) && !self.broken.contains(&(a, b));
            return if direct { arrives } else { relayed && self.roots_live };
        }
        relayed || self.direct.contains(&(a.min(b), a.max(b)))
    }
}
