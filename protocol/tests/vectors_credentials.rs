//! Golden vectors of the credentials and of membership records.
#![allow(clippy::unwrap_used)]

mod support;

use protocol::credential::coo::Thing;
use protocol::credential::membership::{Added, Window};
use protocol::credential::{
    Capability, Com, Coo, Credential, HeldCapability, Membership, Revocation, Signature, Signed, Tag,
    Verification, kind,
};
use protocol::identity::{Identity, SecretIdentity};
use protocol::{Address, NetworkId, Reader, Result, Span, Time};
use std::collections::HashMap;
use std::net::IpAddr;
use support::{Value, array, bytes, flag, hex, id, list, load, name, number, text};

fn address(value: &Value, key: &str) -> Address {
    text(value, key).parse().unwrap()
}

fn network(value: &Value, key: &str) -> NetworkId {
    text(value, key).parse().unwrap()
}

fn time(value: &Value, key: &str) -> Time {
    Time::from_ms(number(value, key).cast_signed())
}

fn signature(value: &Value) -> Signature {
    match text(value, "signature") {
        "" => [0; 96],
        _ => array(value, "signature"),
    }
}

/// Reads a whole object and checks that writing gives the same bytes.
fn read<T>(bytes: &[u8], read: impl Fn(&mut Reader<'_>) -> Result<T>, write: impl Fn(&T, &mut Vec<u8>)) -> T {
    let mut reader = Reader::new(bytes);
    let object = read(&mut reader).unwrap();
    assert!(reader.is_empty());
    let mut out = Vec::new();
    write(&object, &mut out);
    assert_eq!(hex(&out), hex(bytes));
    object
}

fn verdict(verification: Verification) -> i64 {
    match verification {
        Verification::Valid => 0,
        Verification::UnknownSigner(_) => 1,
        Verification::Invalid => -1,
    }
}

/// Who is looking: a node knows its own identity and no other.
struct Views {
    controller: SecretIdentity,
    stranger: SecretIdentity,
}

impl Views {
    fn of(file: &Value) -> Self {
        let secret = |key| SecretIdentity::parse(text(file, key)).unwrap();
        Self {
            controller: secret("controller_identity_secret"),
            stranger: secret("stranger_identity_secret"),
        }
    }

    fn check(&self, case: &Value, verify: impl Fn(&dyn Fn(Address) -> Option<Identity>) -> Verification) {
        let views = [("verify", &self.controller), ("verify_by_stranger", &self.stranger)];
        for (key, view) in views {
            let lookup = |who: Address| (view.identity().address == who).then(|| view.identity().clone());
            assert_eq!(Some(verdict(verify(&lookup))), case[key].as_i64(), "{} {key}", name(case));
        }
    }
}

#[test]
fn vector_credentials_com() {
    let file = load("credentials.json");
    let views = Views::of(&file);
    for case in list(&file, "com") {
        let com: Signed<Com> = read(&bytes(case, "serialized"), Signed::read, Signed::write);
        assert_eq!(com.timestamp(), time(case, "timestamp"), "{}", name(case));
        assert_eq!(com.network(), network(case, "network_id"), "{}", name(case));
        assert_eq!(com.issued_to(), address(case, "issued_to"), "{}", name(case));
        assert_eq!(com.signer(), address(case, "signed_by"), "{}", name(case));
        let qualifiers = case["qualifiers"].as_array().unwrap();
        assert_eq!(com.qualifiers.len(), qualifiers.len(), "{}", name(case));
        for (qualifier, expected) in com.qualifiers.iter().zip(qualifiers) {
            assert_eq!(qualifier.id, number(expected, "id"), "{}", name(case));
            assert_eq!(qualifier.value, id(expected, "value"), "{}", name(case));
            assert_eq!(qualifier.max_delta, id(expected, "max_delta"), "{}", name(case));
        }
        if let Some(message) = case["signed_data"].as_str() {
            assert_eq!(hex(&com.message(com.signer())), message, "{}", name(case));
        }
        views.check(case, |lookup| com.verify(lookup));

        if name(case).starts_with("good") {
            let member: Identity = text(case, "issued_to_identity").parse().unwrap();
            let max_delta = com.qualifiers[0].max_delta;
            let made = Com::new(com.timestamp(), Span::ms(max_delta.cast_signed()), com.network(), &member);
            assert_eq!(made.sign(&views.controller), com, "{}", name(case));
        }
    }
}

fn check_parsing<T>(
    file: &Value,
    key: &str,
    read: impl Fn(&mut Reader<'_>) -> Result<T>,
    check: impl Fn(&T, &Value),
) {
    for case in list(file, key) {
        let input = bytes(case, "input");
        let mut reader = Reader::new(&input);
        let object = read(&mut reader);
        assert_eq!(object.is_ok(), flag(case, "ok"), "{key} {}", name(case));
        if let Ok(object) = object {
            assert_eq!(reader.at() as u64, number(case, "consumed"), "{key} {}", name(case));
            check(&object, case);
        }
    }
}

#[test]
fn vector_credentials_parsing() {
    let file = load("credentials.json");
    check_parsing(&file, "com_parsing", Signed::<Com>::read, |com, case| {
        assert_eq!(com.qualifiers.len() as u64, number(case, "qualifiers"));
        assert_eq!(com.signer(), address(case, "signed_by"));
    });
    check_parsing(&file, "capability_parsing", HeldCapability::read, |capability, case| {
        assert_eq!(capability.rules.len() as u64, number(case, "rule_count"));
        assert_eq!(capability.issued_to(), address(case, "issued_to"));
    });
}

#[test]
fn vector_credentials_com_agrees_with() {
    for case in list(&load("credentials.json"), "com_agrees_with") {
        let mine: Signed<Com> = read(&bytes(case, "mine"), Signed::read, Signed::write);
        let theirs: Signed<Com> = read(&bytes(case, "theirs"), Signed::read, Signed::write);
        let identity: Identity = text(case, "their_identity").parse().unwrap();
        assert_eq!(mine.agrees_with(&theirs, &identity), flag(case, "agrees"), "{}", name(case));
    }
}

#[test]
fn vector_credentials_tag() {
    let file = load("credentials.json");
    let views = Views::of(&file);
    for case in list(&file, "tag") {
        let tag: Signed<Tag> = read(&bytes(case, "serialized"), Signed::read, Signed::write);
        let expected = Tag {
            network: network(case, "network_id"),
            timestamp: time(case, "timestamp"),
            id: number(case, "id") as u32,
            value: number(case, "value") as u32,
            issued_to: address(case, "issued_to"),
        };
        assert_eq!(*tag, expected, "{}", name(case));
        let signed = (tag.signer(), *tag.signature());
        assert_eq!(signed, (address(case, "signed_by"), signature(case)), "{}", name(case));
        assert_eq!(hex(&tag.message(tag.signer())), text(case, "signed_data"), "{}", name(case));
        views.check(case, |lookup| tag.verify(lookup));
        if name(case).starts_with("good") {
            assert_eq!(expected.sign(&views.controller), tag, "{}", name(case));
        }
    }
}

#[test]
fn vector_credentials_coo() {
    let file = load("credentials.json");
    let views = Views::of(&file);
    for case in list(&file, "coo") {
        let coo: Signed<Coo> = read(&bytes(case, "serialized"), Signed::read, Signed::write);
        assert_eq!(coo.network, network(case, "network_id"), "{}", name(case));
        assert_eq!(coo.timestamp, time(case, "timestamp"), "{}", name(case));
        assert_eq!(coo.flags, id(case, "flags"), "{}", name(case));
        assert_eq!(u64::from(coo.id), number(case, "id"), "{}", name(case));
        assert_eq!(coo.issued_to, address(case, "issued_to"), "{}", name(case));
        assert_eq!(coo.signer(), address(case, "signed_by"), "{}", name(case));
        assert_eq!(*coo.signature(), signature(case), "{}", name(case));
        let things: Vec<Thing> = case["things"]
            .as_array()
            .unwrap()
            .iter()
            .map(|thing| {
                let mut value = bytes(thing, "value");
                value.resize(16, 0);
                Thing { kind: number(thing, "type") as u8, value: value.try_into().unwrap() }
            })
            .collect();
        assert_eq!(coo.things, things, "{}", name(case));
        assert_eq!(hex(&coo.message(coo.signer())), text(case, "signed_data"), "{}", name(case));
        views.check(case, |lookup| coo.verify(lookup));
        for question in list(case, "owns") {
            let thing = text(question, "thing");
            let owns = match thing.split_once('/') {
                Some((ip, _)) => coo.owns_ip(ip.parse::<IpAddr>().unwrap()),
                None => coo.owns_mac(thing.parse().unwrap()),
            };
            assert_eq!(owns, flag(question, "owns"), "{} {thing}", name(case));
        }
    }
}

#[test]
fn vector_credentials_capability() {
    let file = load("credentials.json");
    let views = Views::of(&file);
    for case in list(&file, "capability") {
        let capability = read(&bytes(case, "serialized"), HeldCapability::read, HeldCapability::write);
        assert_eq!(capability.network, network(case, "network_id"), "{}", name(case));
        assert_eq!(capability.timestamp, time(case, "timestamp"), "{}", name(case));
        assert_eq!(u64::from(capability.id), number(case, "id"), "{}", name(case));
        assert_eq!(
            u64::from(capability.max_custody_chain),
            number(case, "max_custody_chain_length"),
            "{}",
            name(case)
        );
        assert_eq!(capability.issued_to(), address(case, "issued_to"), "{}", name(case));
        if let Some(rules) = case["rules"].as_array() {
            let rules: Vec<_> = rules.iter().map(|rule| flowrules::from_json(rule).unwrap()).collect();
            assert_eq!(capability.rules, rules, "{}", name(case));
        }
        let custody = case["custody"].as_array().unwrap();
        assert_eq!(capability.custody().len(), custody.len(), "{}", name(case));
        for (entry, expected) in capability.custody().iter().zip(custody) {
            assert_eq!(entry.to, address(expected, "to"), "{}", name(case));
            assert_eq!(entry.from, address(expected, "from"), "{}", name(case));
            assert_eq!(entry.signature, signature(expected), "{}", name(case));
        }
        if let Some(message) = case["signed_data"].as_str() {
            assert_eq!(hex(&capability.message()), message, "{}", name(case));
        }
        views.check(case, |lookup| capability.verify(lookup));
        if name(case) == "basic" {
            let made = Capability::clone(&capability).hand_to(&views.controller, capability.issued_to());
            assert_eq!(made, capability);
        }
    }
}

#[test]
fn vector_credentials_revocation() {
    let file = load("credentials.json");
    let views = Views::of(&file);
    for case in list(&file, "revocation") {
        let revocation: Signed<Revocation> = read(&bytes(case, "serialized"), Signed::read, Signed::write);
        let expected = Revocation {
            id: number(case, "id") as u32,
            network: network(case, "network_id"),
            credential_id: number(case, "credential_id") as u32,
            threshold: time(case, "threshold"),
            flags: id(case, "flags"),
            target: address(case, "target"),
            kind: number(case, "credential_type") as u8,
        };
        assert_eq!(*revocation, expected, "{}", name(case));
        let signed = (revocation.signer(), *revocation.signature());
        assert_eq!(signed, (address(case, "signed_by"), signature(case)), "{}", name(case));
        assert_eq!(
            hex(&revocation.message(revocation.signer())),
            text(case, "signed_data"),
            "{}",
            name(case)
        );
        views.check(case, |lookup| revocation.verify(lookup));
        if name(case).starts_with("type") {
            assert_eq!(expected.sign(&views.controller), revocation, "{}", name(case));
        }
    }
}

#[test]
fn vector_credentials_membership_sequences() {
    let file = load("credentials.json");
    let views = Views::of(&file);
    let known = views.controller.identity();
    let lookup = |who: Address| (known.address == who).then(|| known.clone());
    for case in list(&file, "membership_sequences") {
        let config = &case["my_config"];
        let window = Window {
            timestamp: time(config, "timestamp"),
            max_delta: Span::ms(number(config, "credential_time_max_delta").cast_signed()),
        };
        let mine: Signed<Com> = read(&bytes(config, "my_com"), Signed::read, Signed::write);
        let identity: Identity = text(case, "remote_member").parse().unwrap();
        let mut record = Membership::new();
        let mut last_tag = None;
        // Where the reference cuts off a member because one of its tags was revoked, this crate does not.
        let mut cut_off_by_reference = false;
        for step in list(case, "steps") {
            let what = format!("{}: {}", name(case), text(step, "what"));
            let object = bytes(step, "bytes");
            let added = match text(step, "add") {
                "com" => record.add_com(read(&object, Signed::read, Signed::write), lookup),
                "tag" => {
                    let tag: Signed<Tag> = read(&object, Signed::read, Signed::write);
                    last_tag = Some(tag.id);
                    record.add_tag(tag, lookup)
                }
                "capability" => {
                    record.add_capability(read(&object, HeldCapability::read, HeldCapability::write), lookup)
                }
                "coo" => record.add_coo(read(&object, Signed::read, Signed::write), lookup),
                "revocation" => {
                    let revocation: Signed<Revocation> = read(&object, Signed::read, Signed::write);
                    if revocation.kind == kind::TAG {
                        last_tag = Some(revocation.credential_id);
                    }
                    // As a node does it: checked, then put into force.
                    let added = match revocation.verify(lookup) {
                        Verification::Valid => record.raise_threshold(
                            revocation.kind,
                            revocation.credential_id,
                            revocation.threshold,
                        ),
                        Verification::Invalid => Added::Rejected,
                        Verification::UnknownSigner(signer) => Added::UnknownSigner(signer),
                    };
                    cut_off_by_reference |= revocation.kind != kind::COM && added == Added::New;
                    added
                }
                other => panic!("{what}: {other}"),
            };
            let result = match added {
                Added::New => "accepted_new",
                Added::Redundant => "accepted_redundant",
                Added::Rejected => "rejected",
                Added::UnknownSigner(_) => "unknown_signer",
            };
            assert_eq!(result, text(step, "result"), "{what}");
            if let Some(allowed) = step["allowed_on_network"].as_bool() {
                let agrees = record.agrees(&mine, &identity);
                if cut_off_by_reference && !allowed {
                    assert!(record.com().is_some() || !agrees, "{what}");
                } else {
                    assert_eq!(agrees, allowed, "{what}");
                }
            }
            if let (Some(expected), Some(tag)) = (step.get("tag_in_force"), last_tag) {
                let value = record.tag(tag, window).map(u64::from);
                assert_eq!(value, expected.as_u64(), "{what}");
            }
        }
    }
}

#[test]
fn vector_vl2_credentials() {
    let file = load("vl2/credentials.json");
    let secrets: HashMap<&str, SecretIdentity> = file["identities"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, secret)| (name.as_str(), SecretIdentity::parse(secret.as_str().unwrap()).unwrap()))
        .collect();
    let controller = &secrets["controller"];
    let issued_to = |case: &Value| secrets[text(case, "issuedTo")].identity().clone();
    let lookup = |who: Address| {
        secrets.values().map(SecretIdentity::identity).find(|identity| identity.address == who).cloned()
    };

    for (who, hash) in file["publicKeyHashSHA384"].as_object().unwrap() {
        assert_eq!(hex(&secrets[who.as_str()].identity().hash384()), hash.as_str().unwrap());
    }
    let network = network(&file, "networkId");

    for case in list(&file, "com") {
        let com: Signed<Com> = read(&bytes(case, "serialized"), Signed::read, Signed::write);
        assert_eq!(hex(&com.message(com.signer())), text(case, "signingInput"));
        assert_eq!(com.verify(lookup), Verification::Valid);
        let made = Com::new(
            com.timestamp(),
            Span::ms(number(case, "maxDelta").cast_signed()),
            network,
            &issued_to(case),
        );
        assert_eq!(made.sign(controller), com);
    }
    let unsigned: Signed<Com> = read(&bytes(&file, "comUnsigned"), Signed::read, Signed::write);
    assert_eq!(unsigned.verify(lookup), Verification::Invalid);
    for case in list(&file, "comAgreement") {
        let mine: Signed<Com> = read(&bytes(case, "mine"), Signed::read, Signed::write);
        let other: Signed<Com> = read(&bytes(case, "other"), Signed::read, Signed::write);
        let identity = lookup(address(case, "otherIdentity")).unwrap();
        assert_eq!(mine.agrees_with(&other, &identity), flag(case, "agrees"), "{}", name(case));
    }

    let case = &file["tag"];
    let tag: Signed<Tag> = read(&bytes(case, "serialized"), Signed::read, Signed::write);
    assert_eq!(hex(&tag.message(tag.signer())), text(case, "signingInput"));
    let made = Tag::new(
        network,
        time(case, "timestamp"),
        number(case, "id") as u32,
        number(case, "value") as u32,
        issued_to(case).address,
    );
    assert_eq!(made.sign(controller), tag);

    let case = &file["certificateOfOwnership"];
    let coo: Signed<Coo> = read(&bytes(case, "serialized"), Signed::read, Signed::write);
    assert_eq!(hex(&coo.message(coo.signer())), text(case, "signingInput"));
    assert_eq!(coo.verify(lookup), Verification::Valid);
    let things = list(case, "things").iter().map(|thing| {
        let (kind, value) = thing.as_str().unwrap().split_once(' ').unwrap();
        match kind {
            "mac" => value.parse::<protocol::Mac>().unwrap().into(),
            _ => value.parse::<IpAddr>().unwrap().into(),
        }
    });
    let made = Coo::new(
        network,
        time(case, "timestamp"),
        number(case, "id") as u32,
        issued_to(case).address,
        things,
    );
    assert_eq!(made.sign(controller), coo);

    let case = &file["revocation"];
    let revocation: Signed<Revocation> = read(&bytes(case, "serialized"), Signed::read, Signed::write);
    assert_eq!(hex(&revocation.message(revocation.signer())), text(case, "signingInput"));
    let made = Revocation {
        id: number(case, "id") as u32,
        network,
        credential_id: number(case, "credentialId") as u32,
        threshold: time(case, "threshold"),
        flags: number(case, "flags"),
        target: secrets[text(case, "target")].identity().address,
        kind: number(case, "type") as u8,
    };
    assert_eq!(made.sign(controller), revocation);

    for case in list(&file, "capability") {
        let capability = read(&bytes(case, "serialized"), HeldCapability::read, HeldCapability::write);
        assert_eq!(hex(&capability.message()), text(case, "signingInput"));
        assert_eq!(capability.verify(lookup), Verification::Valid);
        // Both kinds of entry can be made again: signatures are deterministic.
        for (number, entry) in capability.custody().iter().enumerate() {
            let giver = secrets.values().find(|secret| secret.identity().address == entry.from).unwrap();
            let made = Capability::clone(&capability).hand_to(giver, entry.to);
            assert_eq!(made.custody()[0], capability.custody()[number]);
        }
    }
}
