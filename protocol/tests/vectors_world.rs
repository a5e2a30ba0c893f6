//! Golden vectors of worlds. The sequences, which are about a node's state, belong to the core.
#![allow(clippy::unwrap_used)]

mod support;

use protocol::world::{Root, World, WorldKey, WorldKind};
use protocol::{Identity, Reader};
use support::{Value, array, bytes, endpoint, flag, hex, id, list, load, name, number, text};

fn world(case: &Value) -> World {
    let roots = case["roots"].as_array().unwrap().iter().map(|root| Root {
        identity: Identity::parse(text(root, "identity")).unwrap(),
        endpoints: root
            .get("stable_endpoints")
            .unwrap_or(&root["endpoints"])
            .as_array()
            .unwrap()
            .iter()
            .map(|text| protocol::inet::parse_endpoint(text.as_str().unwrap()).unwrap())
            .collect(),
    });
    World {
        kind: match number(case, "type") {
            0 => WorldKind::Null,
            1 => WorldKind::Planet,
            127 => WorldKind::Moon,
            other => panic!("type {other}"),
        },
        id: id(case, "id"),
        timestamp: number(case, "timestamp"),
        must_sign: array(case, "updates_must_be_signed_by"),
        signature: array(case, "signature"),
        roots: roots.collect(),
    }
}

#[test]
fn world_vectors() {
    let file = load("world.json");
    for case in list(&file, "worlds") {
        let name = name(case);
        let world = world(case);
        assert_eq!(hex(&world.to_bytes()), text(case, "serialized"), "{name}");
        assert_eq!(World::parse(&bytes(case, "serialized")).as_ref(), Ok(&world), "{name}");
        assert_eq!(hex(&world.sign_data()), text(case, "sign_data"), "{name}");
        if let Some(key) = file["signing_keys"].get(text(case, "signed_with")) {
            let signed = world.is_signed_by(&array(key, "public"));
            let tampered = name.contains("bad_signature") || name.contains("altered");
            assert_eq!(signed, !tampered, "{name}");
            let key = WorldKey::from_secret(array(key, "private"));
            assert_eq!(hex(&key.public), text(&file["signing_keys"][text(case, "signed_with")], "public"));
            if signed {
                let again = World::new_signed_by(
                    world.kind,
                    world.id,
                    world.timestamp,
                    world.must_sign,
                    &key,
                    world.roots.clone(),
                );
                assert_eq!(again, world, "{name}");
            }
        }
    }
}

#[test]
fn world_update_vectors() {
    let file = load("world.json");
    let find = |name: &str| {
        let case = list(&file, "worlds").iter().find(|case| text(case, "name") == name);
        World::parse(&bytes(case.unwrap_or_else(|| panic!("no world {name}")), "serialized")).unwrap()
    };
    for pair in list(&file, "update_pairs") {
        let (current, update) = (text(pair, "current"), text(pair, "update"));
        let expected = flag(pair, "should_be_replaced_by");
        assert_eq!(find(update).may_replace(&find(current)), expected, "{current} by {update}");
    }
}

#[test]
fn world_parsing_vectors() {
    for case in list(&load("world.json"), "parsing") {
        let name = name(case);
        let input = bytes(case, "input");
        let mut reader = Reader::new(&input);
        let parsed = World::read(&mut reader);
        assert_eq!(parsed.is_ok(), flag(case, "ok"), "{name}: {parsed:?}");
        if let Ok(world) = parsed {
            assert_eq!(reader.at(), input.len().min(number(case, "consumed") as usize), "{name}");
            assert_eq!(world.roots.len() as u64, number(case, "roots"), "{name}");
        }
    }
}

#[test]
fn public_planet_vector() {
    let file = load("public-planet.json");
    let planet = World::public_planet();
    assert_eq!(hex(&planet.to_bytes()), text(&file, "binary"));
    assert_eq!(planet, world_of_decimal_id(&file));
}

/// The public planet gives its ID in decimal.
fn world_of_decimal_id(file: &Value) -> World {
    let mut file = file.clone();
    file["id"] = Value::from(format!("{:016x}", number(&file, "id")));
    let planet = world(&file);
    assert!(file["roots"].as_array().unwrap().iter().all(|root| endpoint(root, "none").is_none()));
    planet
}
