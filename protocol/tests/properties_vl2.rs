//! Properties of VL2's formats: what is written is read again, limits hold, and no input makes a parser panic.
#![allow(clippy::unwrap_used)]

use std::net::IpAddr;

use flowrules::{Kind, Rule};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use protocol::adhoc::{Adhoc, adhoc_config};
use protocol::credential::capability::Custody;
use protocol::credential::com::Qualifier;
use protocol::credential::coo::{MAX_THINGS, Thing};
use protocol::credential::membership::{self, Added, Window};
use protocol::credential::{
    Capability, Com, Coo, Credential, HeldCapability, Membership, Revocation, Signature, Signed, Tag, kind,
};
use protocol::derive::{interface_name, rfc4193, six_plane};
use protocol::dictionary::Dictionary;
use protocol::inet::Prefix;
use protocol::metadata::RequestMetadata;
use protocol::multicast_group::MulticastGroup;
use protocol::netconf::{self, Dns, NetworkConfig, Route, RuleLines, Specialist, Sso, StatementLine};
use protocol::verbs::{
    ConfigChunk, ConfigRequest, ExtFrame, Frame, Gathered, MulticastFrame, MulticastGather, MulticastLike,
    NetworkCredentials, OkGather, OkMulticastFrame, config_chunk,
};
use protocol::{Address, Identity, Mac, NetworkId, Reader, Result, SecretIdentity, Span, Time, ndp};

/// A throw-away identity with a valid address, so that no test needs to find one.
const CONTROLLER: &str = "a2164671da:0:2c42160999c126bdc0aad689d18c90cb29d331a5238ceb71f4dfbe10e201c02c5f326c95c1c3e7b9f17ba587f34b4e49b6acd6c4a47b5668ae3b07232a866eb0:ff82adf2f573c601e2ad285daf876d825c8a10053b3dee3ea268a4155607480e47a06a094fb46ec122b934d249cafdd3fbbf34756de3f4af9da0fed350ce0c72";

fn controller() -> SecretIdentity {
    SecretIdentity::parse(CONTROLLER).unwrap()
}

/// A network of [`controller`].
fn its_network() -> NetworkId {
    NetworkId(controller().address().to_u64() << 24 | 7)
}

fn bytes(max: usize) -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..max)
}

fn address() -> impl Strategy<Value = Address> {
    any::<u64>().prop_map(Address::from_u64)
}

fn network() -> impl Strategy<Value = NetworkId> {
    any::<u64>().prop_map(NetworkId)
}

fn mac() -> impl Strategy<Value = Mac> {
    any::<[u8; 6]>().prop_map(Mac)
}

fn group() -> impl Strategy<Value = MulticastGroup> {
    (mac(), any::<u32>()).prop_map(|(mac, adi)| MulticastGroup { mac, adi })
}

fn signature() -> impl Strategy<Value = Signature> {
    any::<[[u8; 32]; 3]>().prop_map(|parts| parts.concat().try_into().unwrap())
}

fn ip() -> impl Strategy<Value = IpAddr> {
    prop_oneof![any::<[u8; 4]>().prop_map(IpAddr::from), any::<[u8; 16]>().prop_map(IpAddr::from)]
}

fn prefix() -> impl Strategy<Value = Prefix> {
    (ip(), 0u8..=32).prop_map(|(ip, bits)| Prefix { ip, bits })
}

fn rules(most: usize) -> impl Strategy<Value = Vec<Rule>> {
    let kind = prop_oneof![
        Just(Kind::Drop),
        Just(Kind::Accept),
        any::<u16>().prop_map(Kind::Ethertype),
        any::<(u16, u16)>().prop_map(|(a, b)| Kind::DestPort(a, b)),
        bytes(9).prop_map(|value| Kind::Unknown { number: 60, value }),
    ];
    vec((any::<bool>(), any::<bool>(), kind).prop_map(|(not, or, kind)| Rule { not, or, kind }), 0..most)
}

/// What somebody claims was signed, made as it arrives.
fn claimed<T: Credential>(credential: &T, signer: Address, signature: &Signature) -> Signed<T> {
    let mut octets = Vec::new();
    credential.write_fields(signer, &mut octets);
    T::write_signature(signer, signature, &mut octets);
    Signed::read(&mut Reader::new(&octets)).unwrap()
}

/// A capability that is said to have come this way, made as it arrives.
fn held(capability: &Capability, custody: &[Custody]) -> HeldCapability {
    // The signed message is the object without the entries, between eight octets on each side.
    let message = capability.message();
    let mut octets = message[8..message.len() - 10].to_vec();
    for Custody { to, from, signature } in custody {
        octets.extend_from_slice(&[&to.to_bytes()[..], &from.to_bytes(), &[1, 0, 96], signature].concat());
    }
    octets.extend_from_slice(&[0; 7]);
    HeldCapability::read(&mut Reader::new(&octets)).unwrap()
}

fn com() -> impl Strategy<Value = Signed<Com>> {
    let qualifier = any::<(u64, u64, u64)>();
    (vec(qualifier, 0..=8), address(), signature()).prop_map(|(qualifiers, signer, signature)| {
        let mut qualifiers: Vec<_> =
            qualifiers.into_iter().map(|(id, value, max_delta)| Qualifier { id, value, max_delta }).collect();
        qualifiers.sort_by_key(|qualifier| qualifier.id);
        claimed(&Com { qualifiers }, signer, &signature)
    })
}

fn time() -> impl Strategy<Value = Time> {
    any::<i64>().prop_map(Time::from_ms)
}

fn tag() -> impl Strategy<Value = Signed<Tag>> {
    (network(), time(), any::<(u32, u32)>(), address(), address(), signature()).prop_map(
        |(network, timestamp, (id, value), issued_to, signer, signature)| {
            claimed(&Tag { network, timestamp, id, value, issued_to }, signer, &signature)
        },
    )
}

fn coo() -> impl Strategy<Value = Signed<Coo>> {
    let things = vec(any::<(u8, [u8; 16])>().prop_map(|(kind, value)| Thing { kind, value }), 0..=MAX_THINGS);
    (network(), (time(), any::<u64>(), any::<u32>()), things, address(), address(), signature()).prop_map(
        |(network, (timestamp, flags, id), things, issued_to, signer, signature)| {
            claimed(&Coo { network, timestamp, flags, id, things, issued_to }, signer, &signature)
        },
    )
}

fn capability() -> impl Strategy<Value = HeldCapability> {
    let custody = (1u64..1 << 40, address(), signature()).prop_map(|(to, from, signature)| Custody {
        to: Address::from_u64(to),
        from,
        signature,
    });
    (network(), time(), any::<u32>(), rules(64), 1u8..=7, vec(custody, 0..=7)).prop_map(
        |(network, timestamp, id, rules, max_custody_chain, mut custody)| {
            custody.truncate(max_custody_chain.into());
            held(&Capability { network, timestamp, id, rules, max_custody_chain }, &custody)
        },
    )
}

fn revocation() -> impl Strategy<Value = Signed<Revocation>> {
    (any::<(u32, u32, u64, u8)>(), time(), network(), address(), address(), signature()).prop_map(
        |((id, credential_id, flags, kind), threshold, network, target, signer, signature)| {
            let revocation = Revocation { id, network, credential_id, threshold, flags, target, kind };
            claimed(&revocation, signer, &signature)
        },
    )
}

fn credentials() -> impl Strategy<Value = NetworkCredentials> {
    (vec(com(), 0..3), vec(capability(), 0..3), vec(tag(), 0..9), vec(revocation(), 0..3), vec(coo(), 0..3))
        .prop_map(|(coms, capabilities, tags, revocations, coos)| NetworkCredentials {
            coms,
            capabilities,
            tags,
            revocations,
            coos,
        })
}

fn sso() -> impl Strategy<Value = Sso> {
    let text = || "[ -~é]{0,20}";
    prop_oneof![
        Just(Sso::default()),
        (text(), any::<i64>()).prop_map(|(url, expiry)| Sso {
            enabled: true,
            authentication_url: url,
            authentication_expiry: Some(expiry.max(-i64::MAX)).filter(|at| *at != 0).map(Time::from_ms),
            ..Sso::default()
        }),
        (text(), text(), text(), text()).prop_map(|(issuer, nonce, state, provider)| Sso {
            enabled: true,
            version: 1,
            issuer_url: issuer,
            nonce,
            state,
            provider,
            ..Sso::default()
        }),
    ]
}

fn rule_lines() -> impl Strategy<Value = RuleLines> {
    let list = |most| {
        vec(
            any::<(u32, Option<u32>)>().prop_map(|(line, included_at)| StatementLine { line, included_at }),
            0..most,
        )
    };
    (list(30), proptest::collection::btree_map(any::<u32>(), list(5), 0..5))
        .prop_map(|(base, capabilities)| RuleLines { base, capabilities: capabilities.into_iter().collect() })
}

fn config() -> impl Strategy<Value = NetworkConfig> {
    let scalars = (
        (1u64.., 1u64..1 << 40, time(), any::<(i64, u64)>()),
        (address(), any::<(u32, u64, u32, bool)>(), "[ -~é\n]{0,60}", netconf::MIN_MTU..=netconf::MAX_MTU),
    );
    let credentials = (option::of(com()), vec(capability(), 0..3), vec(tag(), 0..4), vec(coo(), 0..=4));
    let specialist = (address(), any::<u64>())
        .prop_map(|(address, roles)| Specialist { address, roles: roles >> 40 << 40 });
    let route = (prefix(), option::of(ip()), any::<(u16, u16)>())
        .prop_map(|(target, via, (flags, metric))| Route { target, via, flags, metric });
    let dns = ("[a-z.]{0,120}", vec(ip(), 0..=4)).prop_map(|(domain, servers)| Dns { domain, servers });
    let rules = (rules(30), rule_lines());
    let lists = (vec(specialist, 0..5), vec(route, 0..5), vec(prefix(), 0..5), rules, dns, sso());
    (scalars, credentials, lists).prop_map(|(scalars, credentials, lists)| {
        let ((network, issued_to, timestamp, (window, revision)), rest) = scalars;
        let (trace_target, (trace_level, flags, multicast_limit, public), name, mtu) = rest;
        let (com, mut capabilities, mut tags, coos) = credentials;
        capabilities.sort_by_key(|c| c.id);
        tags.sort_by_key(|t| t.id);
        let (specialists, routes, addresses, (rules, rule_lines), dns, sso) = lists;
        NetworkConfig {
            credential_window: Span::ms(window),
            revision,
            trace_target,
            trace_level,
            flags,
            multicast_limit,
            public,
            name,
            mtu,
            com: com.filter(|com| !com.qualifiers.is_empty()),
            capabilities,
            tags,
            coos,
            specialists,
            routes,
            addresses,
            rules,
            rule_lines,
            dns,
            sso,
            ..NetworkConfig::new(NetworkId(network), Address::from_u64(issued_to), timestamp)
        }
    })
}

fn written<T>(object: &T, write: impl Fn(&T, &mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(object, &mut out);
    out
}

/// Reads what was written, with something behind it; and refuses every truncation.
fn round_trip<T: PartialEq + std::fmt::Debug>(
    object: &T,
    write: impl Fn(&T, &mut Vec<u8>),
    read: impl Fn(&mut Reader<'_>) -> Result<T>,
) {
    let mut out = written(object, write);
    let length = out.len();
    for cut in [0, length / 2, length - 1] {
        assert!(read(&mut Reader::new(&out[..cut])).is_err());
    }
    out.push(0xaa);
    let mut reader = Reader::new(&out);
    assert_eq!(read(&mut reader).as_ref(), Ok(object));
    assert_eq!(reader.at(), length);
}

proptest! {
    #[test]
    fn credentials_round_trip(
        com in com(), tag in tag(), coo in coo(), capability in capability(), revocation in revocation(),
    ) {
        round_trip(&com, Signed::write, Signed::read);
        round_trip(&tag, Signed::write, Signed::read);
        round_trip(&coo, Signed::write, Signed::read);
        round_trip(&capability, HeldCapability::write, HeldCapability::read);
        round_trip(&revocation, Signed::write, Signed::read);
    }

    #[test]
    fn sets_of_credentials_round_trip_whole_and_in_packets(set in credentials(), most in 2000usize..10000) {
        let payload = written(&set, NetworkCredentials::write);
        prop_assert_eq!(NetworkCredentials::parse(&payload), Ok(set.clone()));
        let mut together = NetworkCredentials::default();
        for packet in set.packets(most) {
            prop_assert!(packet.len() <= most);
            let part = NetworkCredentials::parse(&packet).unwrap();
            prop_assert!(!part.is_empty());
            together.coms.extend(part.coms);
            together.capabilities.extend(part.capabilities);
            together.tags.extend(part.tags);
            together.revocations.extend(part.revocations);
            together.coos.extend(part.coos);
        }
        prop_assert_eq!(together, set);
    }

    #[test]
    fn a_set_of_credentials_may_end_after_any_section(com in com(), tag in tag()) {
        let mut payload = Vec::new();
        prop_assert_eq!(NetworkCredentials::parse(&payload), Ok(NetworkCredentials::default()));
        com.write(&mut payload);
        prop_assert_eq!(NetworkCredentials::parse(&payload).unwrap().coms.len(), 1);
        payload.push(0);
        prop_assert_eq!(NetworkCredentials::parse(&payload).unwrap().coms.len(), 1);
        payload.extend_from_slice(&[0, 0, 0, 1]);
        prop_assert!(NetworkCredentials::parse(&payload).is_err());
        tag.write(&mut payload);
        prop_assert_eq!(NetworkCredentials::parse(&payload).unwrap().tags, [tag]);
    }

    #[test]
    fn dictionaries_keep_every_value(values in vec((bytes(40), any::<u64>(), any::<i64>(), any::<bool>()), 0..6)) {
        let mut d = Dictionary::new();
        for (i, (value, hex, signed, flag)) in values.iter().enumerate() {
            d.push_bytes(&format!("b{i}"), value);
            d.push_hex(&format!("h{i}"), *hex);
            d.push_signed(&format!("s{i}"), *signed);
            d.push_bool(&format!("f{i}"), *flag);
        }
        let d = Dictionary::from_bytes(&d.into_bytes());
        for (i, (value, hex, signed, flag)) in values.iter().enumerate() {
            prop_assert_eq!(d.get(&format!("b{i}")), Some(value.clone()));
            prop_assert_eq!(d.get_hex(&format!("h{i}"), !hex), *hex);
            prop_assert_eq!(d.get_signed(&format!("s{i}"), !signed), *signed);
            prop_assert_eq!(d.get_bool(&format!("f{i}"), !flag), *flag);
        }
    }

    #[test]
    fn configurations_round_trip(config in config()) {
        let dictionary = config.to_dictionary();
        prop_assert_eq!(NetworkConfig::from_dictionary(dictionary.as_bytes()), Ok(config));
    }

    #[test]
    fn chunks_of_a_dictionary_make_it_whole(length in 0usize..30_000, update_id in 1u64..) {
        let dictionary: Vec<u8> = (0..length).map(|i| (i * 7) as u8).collect();
        let network = its_network();
        let secret = controller();
        let mut assembled = vec![0; length];
        for chunk in config_chunk::cut(network, &dictionary, 1, update_id, &secret) {
            let chunk = ConfigChunk::parse(&chunk).unwrap();
            prop_assert!(chunk.verify(secret.identity()));
            prop_assert!(chunk.fast_propagate());
            prop_assert_eq!((chunk.update_id, chunk.total as usize), (update_id, length));
            let at = chunk.offset as usize;
            assembled[at..at + chunk.data.len()].copy_from_slice(chunk.data);
        }
        prop_assert_eq!(assembled, dictionary);
    }

    #[test]
    fn frames_round_trip(
        network in network(), ethertype: u16, payload in bytes(100), flags: u8, com in option::of(com()),
        dest in mac(), source in mac(), group in group(), replicate: bool, gather_limit: Option<u32>,
        explicit in option::of(mac()),
    ) {
        let frame = Frame { network, ethertype, payload: &payload };
        let out = written(&frame, Frame::write);
        prop_assert_eq!(Frame::parse(&out), Ok(frame));

        let flags = flags & 0xfe | u8::from(com.is_some());
        let frame = ExtFrame { network, flags, com: com.clone(), dest, source, ethertype, payload: &payload };
        let out = written(&frame, ExtFrame::write);
        prop_assert_eq!(ExtFrame::parse(&out), Ok(frame));

        let frame = MulticastFrame {
            network, replicate, com, gather_limit, source: explicit, group, ethertype, payload: &payload,
        };
        let out = written(&frame, MulticastFrame::write);
        prop_assert_eq!(MulticastFrame::parse(&out), Ok(frame));
    }

    #[test]
    fn multicast_verbs_round_trip(
        network in network(), group in group(), limit: u32, com in option::of(com()),
        gathered in option::of((any::<u32>(), vec(address(), 0..20))), likes in vec((network(), group()), 0..9),
    ) {
        let gather = MulticastGather { network, group, limit, com: com.clone() };
        let out = written(&gather, MulticastGather::write);
        prop_assert_eq!(MulticastGather::parse(&out), Ok(gather));

        let (total, members) = gathered.clone().unwrap_or_default();
        let reply = OkGather { network, group, total, members };
        let out = written(&reply, OkGather::write);
        prop_assert!(OkGather::parse(&out[..out.len() - 1]).is_err());
        prop_assert_eq!(OkGather::parse(&out), Ok(reply));

        let gathered = gathered.map(|(total, members)| Gathered { total, members });
        let reply = OkMulticastFrame { network, group, com, gathered };
        let out = written(&reply, OkMulticastFrame::write);
        prop_assert_eq!(OkMulticastFrame::parse(&out), Ok(reply));

        let mut out = Vec::new();
        for (network, group) in &likes {
            MulticastLike::write(*network, *group, &mut out);
        }
        let read: Vec<_> = MulticastLike::parse(&out).unwrap().iter().collect();
        prop_assert_eq!(read, likes);
    }

    #[test]
    fn requests_round_trip(network in network(), metadata in bytes(60), revision: u64, timestamp: u64) {
        let request = ConfigRequest {
            network, metadata: &metadata, revision: Some(revision), timestamp: Some(timestamp),
        };
        let out = written(&request, ConfigRequest::write);
        prop_assert_eq!(ConfigRequest::parse(&out), Ok(request));
        let short = ConfigRequest::parse(&out[..10 + metadata.len()]).unwrap();
        prop_assert_eq!((short.metadata, short.revision, short.timestamp), (&metadata[..], None, None));
        prop_assert!(ConfigRequest::parse(&out[..8]).unwrap().metadata.is_empty());
    }

    #[test]
    fn no_input_makes_a_parser_panic(input in bytes(400)) {
        let _ = Signed::<Com>::read(&mut Reader::new(&input));
        let _ = Signed::<Tag>::read(&mut Reader::new(&input));
        let _ = Signed::<Coo>::read(&mut Reader::new(&input));
        let _ = HeldCapability::read(&mut Reader::new(&input));
        let _ = Signed::<Revocation>::read(&mut Reader::new(&input));
        let _ = NetworkCredentials::parse(&input);
        let _ = ConfigChunk::parse(&input);
        let _ = ConfigRequest::parse(&input);
        let _ = ExtFrame::parse(&input);
        let _ = MulticastFrame::parse(&input);
        let _ = MulticastGather::parse(&input);
        let _ = OkGather::parse(&input);
        let _ = OkMulticastFrame::parse(&input);
        let _ = RequestMetadata::from_dictionary(&input);
        let _ = Sso::from_error(&input);
    }

    #[test]
    fn no_blob_makes_a_configuration_panic(blobs in vec((0usize..10, bytes(200)), 0..4)) {
        const KEYS: [&str; 10] = ["C", "CAP", "TAG", "COO", "S", "RT", "I", "R", "DNS", "n"];
        let mut d = Dictionary::new();
        d.push_str("v", "7");
        d.push_hex("nwid", 1);
        d.push_str("id", "0000000001");
        for (key, blob) in blobs {
            d.push_bytes(KEYS[key], &blob);
        }
        if let Ok(config) = NetworkConfig::from_dictionary(d.as_bytes()) {
            // Once read, it is stable.
            let again = NetworkConfig::from_dictionary(config.to_dictionary().as_bytes()).unwrap();
            prop_assert_eq!(again.routes, config.routes);
            prop_assert_eq!(again.rules, config.rules);
            prop_assert_eq!(again.tags, config.tags);
        }
    }

    #[test]
    fn derived_addresses_lead_back_to_the_member(network in network(), own in address(), other in address()) {
        prop_assume!(!own.is_null() && !other.is_null() && own != other);
        let mut config = NetworkConfig::new(network, own, Time::EPOCH);
        config.flags = netconf::FLAG_NDP_EMULATION;
        config.addresses = vec![
            Prefix { ip: six_plane(network, own).into(), bits: 40 },
            Prefix { ip: rfc4193(network, own).into(), bits: 88 },
        ];
        for theirs in [six_plane(network, other), rfc4193(network, other)] {
            let mut solicitation = [0; 72];
            solicitation[6] = 58;
            solicitation[40] = 135;
            solicitation[48..64].copy_from_slice(&theirs.octets());
            let answer = ndp::emulate(&config, own, &solicitation).unwrap();
            prop_assert_eq!(answer.source, Mac::for_member(network, other));
        }
        prop_assert_eq!(Mac::for_member(network, other).member(network), Some(other));
    }

    #[test]
    fn interface_names_fit_and_change_with_the_trial(network in network(), trial: u64) {
        let name = interface_name(network, trial);
        prop_assert!(name.len() == 10 && name.is_ascii());
        prop_assert_ne!(interface_name(network, trial.wrapping_add(1)), name);
    }

    #[test]
    fn adhoc_configurations_survive_the_wire(id in 0xff00_0000_0000_0000u64.., member in address(), now in 0i64..) {
        prop_assume!(!member.is_null());
        for id in [id, id & !0xff_ffff, id & !0xff | 1] {
            if let Some(Adhoc::Config(config)) = adhoc_config(NetworkId(id), member, Time::from_ms(now)) {
                let dictionary = config.to_dictionary();
                prop_assert_eq!(NetworkConfig::from_dictionary(dictionary.as_bytes()), Ok(*config));
            }
        }
    }
}

fn known(controller: &SecretIdentity) -> impl Fn(Address) -> Option<Identity> + Copy + '_ {
    move |who| (who == controller.address()).then(|| controller.identity().clone())
}

#[test]
fn a_certificate_with_too_many_things_is_malformed() {
    let things = [Thing { kind: 2, value: [1; 16] }; MAX_THINGS + 5];
    let coo = Coo::new(NetworkId(1), Time::from_ms(2), 3, Address::NULL, things).sign(&controller());
    assert_eq!(coo.things.len(), MAX_THINGS);
    let mut bytes = written(&coo, Signed::write);
    let count = 8 + 8 + 8 + 4;
    bytes[count + 1] += 1;
    bytes.splice(count + 2..count + 2, [2; 17]);
    let refused = Signed::<Coo>::read(&mut Reader::new(&bytes)).unwrap_err();
    assert_eq!(refused.at, count);
}

#[test]
fn a_chunk_that_does_not_fit_into_its_dictionary_is_malformed() {
    let secret = controller();
    let network = its_network();
    for (total, offset, fits) in
        [(5, 0, true), (4, 0, false), (9, 4, true), (9, 5, false), (9, u32::MAX, false)]
    {
        let chunk = config_chunk::sign(network, b"a=b=c", 0, 1, total, offset, &secret);
        assert_eq!(ConfigChunk::parse(&chunk).is_ok(), fits, "{total} {offset}");
    }
    let chunk = config_chunk::sign(network, b"a=b=c", 0, 1, 5, 0, &secret);
    assert!(ConfigChunk::parse(&chunk[..chunk.len() - 1]).is_err());
    let unsigned = ConfigChunk::parse(&chunk[..15]).unwrap();
    assert_eq!((unsigned.data, unsigned.total, unsigned.signature), (&b"a=b=c"[..], 5, None));
    assert!(!unsigned.verify(secret.identity()));
    // Signed well, but by somebody who is not the controller.
    let foreign = config_chunk::sign(NetworkId(1 << 24), b"a=b=c", 0, 1, 5, 0, &secret);
    assert!(!ConfigChunk::parse(&foreign).unwrap().verify(secret.identity()));
}

#[test]
fn a_configuration_beyond_the_limits_is_cut() {
    let member = Address::from_u64(5);
    let secret = controller();
    let tag = Tag::new(NetworkId(9), Time::from_ms(1), 1, 2, member).sign(&secret);
    let coo = Coo::new(NetworkId(9), Time::from_ms(1), 1, member, []).sign(&secret);
    let capability =
        Capability::new(NetworkId(9), Time::from_ms(1), 1, 1, Vec::new()).hand_to(&secret, member);
    let route = Route { target: "10.0.0.0/8".parse().unwrap(), via: None, flags: 0, metric: 0 };
    let blob = |one: Vec<u8>, times: usize| one.repeat(times);
    let mut d = Dictionary::new();
    d.push_hex("v", 7);
    d.push_hex("nwid", 9);
    d.push_address("id", member);
    d.push_bytes("TAG", &blob(written(&tag, Signed::write), 200));
    d.push_bytes("COO", &blob(written(&coo, Signed::write), 9));
    d.push_bytes("CAP", &blob(written(&capability, HeldCapability::write), 200));
    d.push_bytes("S", &[1; 8 * 300]);
    d.push_bytes("R", &[1, 0].repeat(2000));
    d.push_bytes("RT", &blob([&[4, 10, 0, 0, 0, 0, 8][..], &[0; 5]].concat(), 200));
    d.push_bytes("I", &[4, 10, 0, 0, 0, 0, 8].repeat(50));
    d.push_bytes("n", &[b'n'; 200]);
    let config = NetworkConfig::from_dictionary(d.as_bytes()).unwrap();
    assert_eq!(config.tags.len(), netconf::MAX_TAGS);
    assert_eq!(config.coos.len(), netconf::MAX_COOS);
    assert_eq!(config.capabilities.len(), netconf::MAX_CAPABILITIES);
    assert_eq!(config.specialists.len(), netconf::MAX_SPECIALISTS);
    assert_eq!(config.rules.len(), flowrules::MAX_RULES);
    assert_eq!(config.routes, vec![route; netconf::MAX_ROUTES]);
    assert_eq!(config.addresses.len(), netconf::MAX_ADDRESSES);
    assert_eq!(config.name.len(), netconf::MAX_NAME);
}

#[test]
fn a_membership_record_is_bounded_and_keeps_the_freshest() {
    let secret = controller();
    let network = its_network();
    let member = Address::from_u64(5);
    let mut record = Membership::new();
    let tag =
        |id: u32, timestamp: i64| Tag::new(network, Time::from_ms(timestamp), id, id, member).sign(&secret);
    for id in 0..membership::MAX_TAGS as u32 {
        assert_eq!(record.add_tag(tag(id, 1000 + i64::from(id)), known(&secret)), Added::New);
    }
    let window = Window { timestamp: Time::from_ms(1000), max_delta: Span::secs(10) };
    assert_eq!(record.add_tag(tag(900, 999), known(&secret)), Added::Rejected);
    assert_eq!(record.add_tag(tag(901, 5000), known(&secret)), Added::New);
    assert_eq!(record.tag(0, window), None, "the stalest made room");
    assert_eq!(record.tag(1, window), Some(1));
    assert_eq!(record.tag(901, window), Some(901));
    let window = Window { timestamp: Time::from_ms(5000), max_delta: Span::ms(10) };
    assert_eq!((record.tag(1, window), record.tag(901, window)), (None, Some(901)));
}

#[test]
fn thresholds_are_bounded_and_the_highest_stay() {
    let mut record = Membership::new();
    let mut raise = |id: u32, threshold: i64| record.raise_threshold(kind::TAG, id, Time::from_ms(threshold));
    for id in 0..membership::MAX_THRESHOLDS as u32 {
        assert_eq!(raise(id, 10 + i64::from(id)), Added::New);
    }
    assert_eq!(raise(9999, 9), Added::Rejected);
    assert_eq!(raise(9999, 5000), Added::New);
    assert_eq!(raise(9999, 5000), Added::Redundant);
}

#[test]
fn a_credential_of_an_unknown_signer_waits() {
    let secret = controller();
    let tag = Tag::new(its_network(), Time::from_ms(1), 1, 1, Address::from_u64(5)).sign(&secret);
    let mut record = Membership::new();
    assert_eq!(record.add_tag(tag.clone(), |_| None), Added::UnknownSigner(secret.address()));
    assert_eq!(record.add_tag(tag, known(&secret)), Added::New);
}

#[test]
fn revoking_a_tag_does_not_cut_off_the_member() {
    let secret = controller();
    let network = its_network();
    let member = secret.identity();
    let com = Com::new(Time::from_ms(1000), Span::ms(500), network, member).sign(&secret);
    let mut record = Membership::new();
    assert_eq!(record.add_com(com.clone(), known(&secret)), Added::New);
    assert!(record.agrees(&com, member));
    assert_eq!(record.raise_threshold(kind::TAG, 7, Time::from_ms(2000)), Added::New);
    assert!(record.agrees(&com, member));
    assert_eq!(record.raise_threshold(kind::COM, 0, Time::from_ms(2000)), Added::New);
    assert!(!record.agrees(&com, member));
}
