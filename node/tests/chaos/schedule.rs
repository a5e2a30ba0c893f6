//! What happens when: made of a seed.

use std::fmt;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::sim::{Nat, Weather};

/// One thing that happens. Hosts are by number; the first are the roots.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Happening {
    /// Nothing passes between two hosts any more, or from the first to the second only.
    Cut(usize, usize),
    CutOneWay(usize, usize),
    /// All is well between them again.
    Heal(usize, usize),
    /// A host has another address.
    Move(usize),
    /// Its NAT router has forgotten it.
    Rebind(usize),
    RootDies(usize),
    /// It starts again and remembers nothing.
    RootStarts(usize),
    /// A host's clock is so many ms further of a sudden, as if its loop had been held up: it hears what came meanwhile.
    Jump(usize, i64),
    /// A host sleeps for so long, and hears nothing meanwhile.
    Sleep(usize, i64),
}

/// What runs on a node.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    Ours,
    /// A double of zerotier-one.
    Double,
}

/// Hosts, the weather, and what happens.
#[derive(Clone, Debug)]
pub struct Schedule {
    pub seed: u64,
    pub roots: usize,
    /// Each node's NAT, if it has one.
    pub nodes: Vec<Option<Nat>>,
    /// And what runs on it.
    pub kinds: Vec<Kind>,
    pub weather: Weather,
    /// After how many ms, and what.
    pub happenings: Vec<(i64, Happening)>,
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, roots, nodes, kinds, weather, .. } = self;
        let nodes: Vec<_> = kinds.iter().zip(nodes).collect();
        writeln!(f, "CHAOS_SEED={seed}: {roots} root(s), nodes behind {nodes:?}, {weather:?}")?;
        self.happenings.iter().try_for_each(|(at, what)| writeln!(f, "  {at:>6} ms  {what:?}"))
    }
}

impl Schedule {
    /// The hosts that are no roots.
    pub fn members(&self) -> std::ops::Range<usize> {
        self.roots..self.roots + self.nodes.len()
    }

    /// Whether a double runs on a host.
    pub fn is_double(&self, host: usize) -> bool {
        host.checked_sub(self.roots).and_then(|node| self.kinds.get(node)) == Some(&Kind::Double)
    }

    /// How long it takes, ms.
    pub fn length(&self) -> i64 {
        self.happenings.last().map_or(0, |(at, _)| *at) + 6_000
    }

    /// The schedule of a seed.
    pub fn of(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed ^ 0x0063_6861_6f73);
        let roots = rng.random_range(1..=2);
        let kinds = [
            None,
            Some(Nat::FullCone),
            Some(Nat::Restricted),
            Some(Nat::PortRestricted),
            Some(Nat::Symmetric),
        ];
        let nodes: Vec<_> =
            (0..rng.random_range(2..=3)).map(|_| kinds[rng.random_range(0..kinds.len())]).collect();
        let latency = [(5, 10), (10, 18), (30, 37)][rng.random_range(0..3)];
        let loss = [0, 0, 0, 20, 100, 200][rng.random_range(0..6)];
        let mut schedule = Self {
            seed,
            roots,
            kinds: kinds_of(seed, nodes.len()),
            nodes,
            weather: Weather { latency, loss },
            happenings: Vec::new(),
        };
        let mut at = 1_000;
        let mut broken: Vec<(usize, usize)> = Vec::new();
        let mut dead: Vec<usize> = Vec::new();
        for _ in 0..rng.random_range(3..=6) {
            let what = schedule.next(&mut rng, &mut broken, &mut dead);
            schedule.happenings.push((at, what));
            at += rng.random_range(2_500..8_000);
        }
        schedule
    }

    fn next(&self, rng: &mut StdRng, broken: &mut Vec<(usize, usize)>, dead: &mut Vec<usize>) -> Happening {
        let members = self.members();
        let a = rng.random_range(members.clone());
        // Roots do not have to reach each other.
        let others: Vec<usize> = members.filter(|host| *host != a).collect();
        let b = others[rng.random_range(0..others.len())];
        let root = rng.random_range(0..self.roots);
        match rng.random_range(0..16) {
            0..=2 => {
                broken.push((a, b));
                Happening::Cut(a, b)
            }
            3..=4 => {
                broken.push((a, b));
                Happening::CutOneWay(a, b)
            }
            5..=7 if !broken.is_empty() => {
                let (a, b) = broken.swap_remove(rng.random_range(0..broken.len()));
                Happening::Heal(a, b)
            }
            8..=9 => Happening::Move(a),
            10..=11 => Happening::Rebind(a),
            12 | 13 if dead.contains(&root) => {
                dead.retain(|other| *other != root);
                Happening::RootStarts(root)
            }
            12 | 13 => {
                dead.push(root);
                Happening::RootDies(root)
            }
            14 => Happening::Jump(a, rng.random_range(300..15_000)),
            _ => Happening::Sleep(a, rng.random_range(300..5_000)),
        }
    }
}

/// What runs on the nodes of a seed's schedule: ours on one of them at least.
fn kinds_of(seed: u64, nodes: usize) -> Vec<Kind> {
    let mut rng = StdRng::seed_from_u64(seed ^ 0x6b69_6e64);
    let mut kinds: Vec<Kind> =
        (0..nodes).map(|_| if rng.random_range(0..4) == 0 { Kind::Double } else { Kind::Ours }).collect();
    if !kinds.contains(&Kind::Ours) {
        kinds[rng.random_range(0..nodes)] = Kind::Ours;
    }
    kinds
}
