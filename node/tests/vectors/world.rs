//! world.json: planets and moons as a running node meets them.

use node::core::event::{Event, Object};
use node::core::info::Role;
use protocol::world::{World, WorldKind};
use protocol::{Address, SecretIdentity, Span, Time};

use super::support::{Value, bytes, flag, folder, id, list, load, name, number, text};
use super::{Other, core, drain};

const NOW: Time = Time::from_ms(1_700_000_000_000);

/// The secret of an address, from wherever in the vectors it stands.
pub(super) fn secret_of(address: &str) -> SecretIdentity {
    // Address, type, both public keys, both private keys.
    const LENGTH: usize = 10 + 3 + 128 + 1 + 128;
    let start = format!("\"{address}:0:");
    let mut files: Vec<_> = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort_unstable();
    for file in files.iter().filter(|f| f.extension().is_some_and(|e| e == "json")) {
        let content = std::fs::read_to_string(file).unwrap();
        let found = content
            .match_indices(&start)
            .filter_map(|(at, _)| SecretIdentity::parse(content.get(at + 1..at + 1 + LENGTH)?).ok())
            .find(|secret| secret.is_consistent() && secret.identity().locally_valid());
        if let Some(secret) = found {
            return secret;
        }
    }
    panic!("no secret of {address}")
}

fn world(file: &Value, wanted: &str) -> Vec<u8> {
    let found = list(file, "worlds").iter().find(|w| name(w) == wanted);
    bytes(found.unwrap_or_else(|| panic!("no world {wanted}")), "serialized")
}

#[test]
fn world_sequence_vectors() {
    let file = load("world.json");
    for case in list(&file, "sequences") {
        let name = name(case);
        let secret = secret_of(text(case, "own_address"));
        let mut now = NOW;
        let planet = world(&file, text(case, "cached_planet_at_start"));
        let mut core = core(&secret, &planet, Default::default(), now);
        let orbit = &case["orbit_requested"];
        if !orbit.is_null() {
            core.orbit(now, id(orbit, "world_id"), Some(text(orbit, "seed").parse().unwrap()), None);
        }
        for (index, step) in list(case, "steps").iter().enumerate() {
            let at = format!("{name}, step {index}");
            let bytes = world(&file, text(step, "add"));
            drain(&mut core);
            // Old enough for everybody who is greeted now and then to be greeted again.
            now += Span::secs(70);
            if flag(step, "always_accept_new_moon") {
                let moon = World::parse(&bytes).unwrap();
                assert_eq!(moon.kind, WorldKind::Moon);
                core.orbit(now, moon.id, None, Some(moon));
            } else {
                let Some(root) = core.view().peers(now).into_iter().find(|p| p.role == Role::Planet) else {
                    panic!("{at}: nobody to tell about a world")
                };
                core.tick(now);
                let mut root = Other::new(
                    &secret_of(&root.address.to_string()),
                    secret.identity(),
                    "203.0.113.5:9993".parse().unwrap(),
                );
                let hellos = drain(&mut core);
                assert!(root.answer_hello(&mut core, now, &hellos, &bytes), "{at}: the root is greeted");
            }
            let stored = drain(&mut core).events.into_iter().any(
                |e| matches!(e, Event::Store { object: Object::Planet | Object::Moon(_), bytes: kept } if kept == bytes),
            );
            assert_eq!(stored, flag(step, "accepted"), "{at}: accepted");
            let status = core.view().status();
            assert_eq!(status.planet_id, id(step, "planet_id"), "{at}");
            assert_eq!(status.planet_timestamp, number(step, "planet_timestamp"), "{at}");
            let moons: Vec<(u64, u64)> =
                core.view().moons().into_iter().filter_map(|m| Some((m.id, m.world?.timestamp))).collect();
            let expected: Vec<(u64, u64)> = step["moons"]
                .as_array()
                .unwrap()
                .iter()
                .map(|m| (id(m, "id"), number(m, "timestamp")))
                .collect();
            assert_eq!(moons, expected, "{at}: moons");
            let upstreams: Vec<Address> = core
                .view()
                .peers(now)
                .into_iter()
                .filter(|p| p.role != Role::Leaf)
                .map(|p| p.address)
                .collect();
            let mut expected: Vec<Address> = step["upstreams"]
                .as_array()
                .unwrap()
                .iter()
                .map(|a| a.as_str().unwrap().parse().unwrap())
                .collect();
            expected.sort_unstable();
            assert_eq!(upstreams, expected, "{at}: upstreams");
            if flag(step, "am_upstream") {
                core.tick(now);
                assert!(core.view().status().online, "{at}: a root is online by itself");
            }
        }
    }
}
