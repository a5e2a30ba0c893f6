//! Work per datagram is a law: with every table of the core at its cap, a datagram of any verb, from anybody, costs about as much
//! as with empty tables, and little in any case. Counted are turns of loops and looks into tables, allocations, and octets sent.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Mutex;

use hostile::body::VERBS;
use hostile::cast::{ACTORS, Actor};
use hostile::choices::Choices;
use hostile::scene::SOCKET;
use hostile::{Role, Scene, step};
use node::core::bounds::TABLES;
use node::core::work;
use protocol::Span;
use protocol::packet;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static ALLOCATED: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, counted on each thread.
struct Counting;

// SAFETY: everything is handed on to the system's allocator as it came.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        ALLOCATED.set(ALLOCATED.get() + layout.size() as u64);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`, and the pointer came from the system's allocator.
        unsafe { System.dealloc(pointer, layout) };
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What one datagram caused.
#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    steps: u64,
    allocations: u64,
    allocated: u64,
    octets_in: u64,
    octets_out: u64,
}

/// Steps that a datagram may cost at all. The largest there is holds some 150 records, each of which is looked at and looked up.
const MOST_STEPS: u64 = 2_000;
/// Steps that it may cost more with full tables than with empty ones: a few shares of one source, each at its limit.
const MORE_STEPS: u64 = 400;
/// A root that is heard again has everything sent that waits for one: up to the cap of that queue, twice looked at.
const ALL_THAT_WAITS: u64 = 2 * 1_024 + 2 * 128;
/// Allocations that it may cost, and how many more with full tables than with empty ones.
const MOST_ALLOCATIONS: u64 = 600;
const MORE_ALLOCATIONS: u64 = 40;
/// Octets allocated.
const MOST_ALLOCATED: u64 = 256 << 10;
/// Octets that may leave for one that came, and beyond that: what goes to whom is `Promise::Amplification`.
const OCTETS_OUT: u64 = 4;
const MORE_OCTETS: u64 = 1_500;
/// Packets of each verb from each actor.
const VARIANTS: usize = 6;

/// xorshift64*.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 56) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// What every verb costs from every actor.
fn costs(role: Role, filled: bool) -> BTreeMap<(Actor, u8, usize), Cost> {
    let mut scene = Scene::new(role);
    let mut costs = BTreeMap::new();
    for actor in ACTORS {
        for verb in VERBS {
            for variant in 0..VARIANTS {
                let now = scene.now;
                if filled {
                    scene.core_mut().fill_for_test(now);
                }
                let octets = noise((actor as u64) << 32 | u64::from(verb) << 16 | variant as u64, 400);
                let mut packet = step::sealed(&mut scene, actor, verb, &mut Choices::new(&octets));
                if packet.len() > packet::DEFAULT_MTU {
                    // Several datagrams: the last one is what everything comes of.
                    packet.truncate(packet::DEFAULT_MTU);
                }
                let endpoint = actor.endpoint(variant % 4);
                let core = scene.core_mut();
                let out = core.view().counters().bytes_out;
                let octets_in = packet.len() as u64;
                work::taken();
                let before = (ALLOCATIONS.get(), ALLOCATED.get());
                core.datagram(now, SOCKET, endpoint, &mut packet);
                let cost = Cost {
                    steps: work::taken(),
                    allocations: ALLOCATIONS.get() - before.0,
                    allocated: ALLOCATED.get() - before.1,
                    octets_in,
                    octets_out: core.view().counters().bytes_out - out,
                };
                costs.insert((actor, verb, variant), cost);
                scene.follow();
                scene.now += Span::ms(25);
            }
        }
    }
    if filled {
        scene.friends_talk();
        let broken = scene.violations.iter().find(|v| v.promise == hostile::Promise::Service);
        assert!(broken.is_none(), "{role:?}, all tables full: {broken:?}");
    }
    costs
}

fn law(role: Role) {
    // One at a time: full tables take some hundred MB.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let empty = costs(role, false);
    let full = costs(role, true);
    let mut offenders = Vec::new();
    for (what, full) in &full {
        let empty = empty[what];
        let waiting = if what.0.is_root() { ALL_THAT_WAITS } else { 0 };
        let broken = full.steps > MOST_STEPS + waiting
            || full.steps > 2 * empty.steps + MORE_STEPS + waiting
            || full.allocations > MOST_ALLOCATIONS
            || full.allocations > 2 * empty.allocations + MORE_ALLOCATIONS + waiting
            || full.allocated > MOST_ALLOCATED
            || full.octets_out > OCTETS_OUT * full.octets_in + MORE_OCTETS;
        if broken {
            offenders.push((full.steps, format!("{what:?}\n    full:  {full:?}\n    empty: {empty:?}")));
        }
    }
    let most = full.values().map(|cost| cost.steps).max();
    println!("{role:?}: {} kinds of datagrams, at most {most:?} steps with full tables", full.len());
    offenders.sort_by_key(|(steps, _)| std::cmp::Reverse(*steps));
    let list: Vec<&str> = offenders.iter().take(20).map(|(_, text)| text.as_str()).collect();
    assert!(offenders.is_empty(), "{role:?}: {} break the law:\n{}", offenders.len(), list.join("\n"));
}

#[test]
fn a_datagram_costs_a_member_the_same_with_full_tables() {
    law(Role::Member);
}

#[test]
fn a_datagram_costs_a_controller_the_same_with_full_tables() {
    law(Role::Controller);
}

#[test]
fn a_datagram_costs_a_root_the_same_with_full_tables() {
    law(Role::Root);
}

#[test]
fn a_datagram_costs_a_relay_the_same_with_full_tables() {
    law(Role::Relay);
}

/// Every table has a cap, the door for tests reaches it, and nobody goes beyond.
#[test]
fn every_table_is_filled_to_its_cap() {
    let mut scene = Scene::new(Role::Member);
    let now = scene.now;
    scene.core_mut().fill_for_test(now);
    // Of these only users and holders of secrets can have more, or the share of one source is their cap.
    const NOT_FILLED: [&str; 10] = [
        "Spaced.later",
        "Peer.paths",
        "PeerGates.confirmations",
        "Topology.moons",
        "Topology.seeds",
        "Switch.networks",
        "Groups.port",
        "Groups.bridged",
        "Group.pending",
        "Watch.others",
    ];
    let sizes = scene.core().table_sizes();
    for bound in TABLES {
        for (index, holder) in bound.holders.iter().enumerate() {
            let most = sizes.iter().filter(|(name, _)| name == holder).map(|(_, size)| *size).max();
            // What a table holds besides its entries is no more than these.
            if index > 0 || NOT_FILLED.contains(holder) {
                assert!(most.is_none_or(|most| most <= bound.cap), "{holder}: {most:?} of {}", bound.cap);
            } else {
                assert_eq!(most, Some(bound.cap), "{holder}");
            }
        }
    }
}
