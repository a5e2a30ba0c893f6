//! Two machines with one identity, and everything that only looks like it, on a virtual clock.

mod sim;

use node::core::event::Machine;
use sim::{Nat, Weather, World};

const CALM: Weather = Weather { latency: (10, 40), loss: 0 };
const HERE: Machine = Machine { id: [1; 16], at_home: true };
const ELSEWHERE: Machine = Machine { id: [2; 16], at_home: false };

/// A root, and a machine at home that has been online for a minute; host 1.
fn world(seed: u64, nat: Nat) -> World {
    let mut world = World::new(seed, CALM);
    let nat = world.add_nat(nat);
    world.add_host(Some(nat));
    watch(&mut world, 1, HERE);
    world.run(60_000);
    assert!(world.hosts[1].clones.is_empty());
    world
}

fn watch(world: &mut World, host: usize, machine: Machine) {
    world.hosts[host].core.watch_for_clones(world.now, machine);
}

fn both_know(world: &World, a: usize, b: usize) -> bool {
    [a, b].iter().all(|h| world.hosts[*h].clones.len() == 1)
}

fn gives_way(world: &World, host: usize) -> bool {
    world.hosts[host].clones.iter().any(|c| c.give_way)
}

#[test]
fn both_learn_of_it_within_seconds_behind_every_kind_of_nat() {
    let kinds = [Nat::FullCone, Nat::Restricted, Nat::PortRestricted, Nat::Symmetric];
    for (seed, (a, b)) in kinds.into_iter().flat_map(|a| kinds.map(|b| (a, b))).enumerate() {
        let mut world = world(seed as u64, a);
        let nat = world.add_nat(b);
        let clone = world.add_host_as(1, Some(nat));
        watch(&mut world, clone, ELSEWHERE);
        assert!(world.run_until(10_000, |w| both_know(w, 1, 2)), "{a:?} and {b:?}");
        assert!(!gives_way(&world, 1), "who is at home stays");
        assert!(gives_way(&world, clone), "who is elsewhere gives way");
        assert!(!world.hosts[1].clones[0].same_machine);
    }
}

#[test]
fn both_learn_of_it_behind_one_nat() {
    for (seed, kind) in [Nat::FullCone, Nat::PortRestricted, Nat::Symmetric].into_iter().enumerate() {
        let mut world = world(seed as u64, kind);
        let clone = world.add_host_as(1, Some(0));
        watch(&mut world, clone, ELSEWHERE);
        assert!(world.run_until(30_000, |w| both_know(w, 1, 2)), "{kind:?}");
    }
}

#[test]
fn of_two_with_the_same_machine_id_the_later_gives_way() {
    let mut world = world(1, Nat::PortRestricted);
    let nat = world.add_nat(Nat::PortRestricted);
    let clone = world.add_host_as(1, Some(nat));
    watch(&mut world, clone, HERE);
    assert!(world.run_until(30_000, |w| both_know(w, 1, 2)));
    assert!(gives_way(&world, clone) && !gives_way(&world, 1));
    assert!(world.hosts[1].clones[0].same_machine);
}

#[test]
fn a_machine_at_home_that_comes_second_still_stays() {
    let mut world = World::new(2, CALM);
    for machine in [ELSEWHERE, HERE] {
        let nat = world.add_nat(Nat::PortRestricted);
        let host = world.add_host_as(1, Some(nat));
        watch(&mut world, host, machine);
        world.run(20_000);
    }
    assert!(both_know(&world, 1, 2));
    assert!(gives_way(&world, 1) && !gives_way(&world, 2));
}

#[test]
fn heavy_loss_only_costs_time() {
    let mut world = world(3, Nat::PortRestricted);
    world.weather.loss = 250;
    let nat = world.add_nat(Nat::Symmetric);
    let clone = world.add_host_as(1, Some(nat));
    watch(&mut world, clone, ELSEWHERE);
    assert!(world.run_until(30_000, |w| both_know(w, 1, 2)));
}

#[test]
fn three_machines_from_one_image_leave_one() {
    let mut world = world(4, Nat::PortRestricted);
    for _ in 0..2 {
        let nat = world.add_nat(Nat::PortRestricted);
        let host = world.add_host_as(1, Some(nat));
        watch(&mut world, host, ELSEWHERE);
    }
    world.run(30_000);
    assert!(!gives_way(&world, 1) && gives_way(&world, 2) && gives_way(&world, 3));
    assert_eq!(world.hosts[1].clones.len(), 2);
}

#[test]
fn a_clone_that_has_gone_is_forgotten() {
    let mut world = world(5, Nat::PortRestricted);
    let nat = world.add_nat(Nat::PortRestricted);
    let clone = world.add_host_as(1, Some(nat));
    watch(&mut world, clone, ELSEWHERE);
    assert!(world.run_until(30_000, |w| both_know(w, 1, 2)));
    world.stop(clone);
    assert!(world.run_until(180_000, |w| w.hosts[1].clones.is_empty()));
}

#[test]
fn quick_restarts_raise_no_alarm() {
    for seed in 0..20 {
        let mut world = world(seed, Nat::PortRestricted);
        for pause in [0, 1, 15, 700, 5_000] {
            world.stop(1);
            world.run(pause);
            world.restart(1, 1);
            watch(&mut world, 1, HERE);
            world.run(20_000 + i64::from(seed as u32) * 37);
            assert!(world.hosts[1].clones.is_empty(), "seed {seed}, off for {pause} ms");
        }
    }
}

#[test]
fn roaming_and_forgetful_nats_raise_no_alarm() {
    let mut world = world(6, Nat::PortRestricted);
    for round in 0..6 {
        if round % 2 == 0 {
            world.forget_mappings(0);
        } else {
            let nat = world.add_nat(Nat::Symmetric);
            world.move_to(1, nat);
        }
        world.run(47_000);
        assert!(world.hosts[1].clones.is_empty(), "round {round}");
    }
}

#[test]
fn nodes_that_do_not_watch_are_left_alone() {
    let mut world = World::new(7, CALM);
    for _ in 0..2 {
        let nat = world.add_nat(Nat::PortRestricted);
        world.add_host_as(1, Some(nat));
    }
    world.run(60_000);
    assert!(world.hosts.iter().all(|h| h.clones.is_empty()));
}
