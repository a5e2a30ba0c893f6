//! tap_frames.json: what becomes of frames from the port.

use flowrules::rule::{Kind, Rule};
use node::core::Core;
use protocol::netconf::{
    FLAG_BROADCAST, FLAG_NDP_EMULATION, MAX_MTU, NetworkConfig, ROLE_ACTIVE_BRIDGE, Specialist,
};
use protocol::verb::Verb;
use protocol::verbs::{MulticastFrame, MulticastGather, MulticastLike};
use protocol::world::{Root, World, WorldKey, WorldKind};
use protocol::{Mac, MulticastGroup, NetworkId, SecretIdentity, Span, Time};

use super::bad_packets::ethernet;
use super::support::{Value, flag, hex, list, load, name, number, text, unhex};
use super::world::secret_of;
use super::{Other, Output, core, drain, open};

const NOW: Time = Time::from_ms(1_700_000_000_000);

fn config(file: &Value, case: &Value) -> NetworkConfig {
    let us = text(file, "my_address").parse().unwrap();
    let mut config = NetworkConfig::new(text(file, "network_id").parse().unwrap(), us, NOW);
    config.public = true;
    config.mtu = MAX_MTU;
    config.multicast_limit = u32::try_from(number(case, "multicast_limit")).unwrap();
    if flag(case, "broadcast_enabled") {
        config.flags |= FLAG_BROADCAST;
    }
    if flag(case, "ndp_emulation") {
        config.flags |= FLAG_NDP_EMULATION;
    }
    if flag(case, "i_am_active_bridge") {
        config.specialists.push(Specialist { address: us, roles: ROLE_ACTIVE_BRIDGE });
    }
    config.addresses = case["my_static_ips"]
        .as_array()
        .unwrap()
        .iter()
        .map(|a| a.as_str().unwrap().parse().unwrap())
        .collect();
    config.rules = vec![Rule::new(Kind::Accept)];
    config
}

/// What became of the frame, in the words of the vectors.
struct Seen<'a> {
    core: &'a mut Core,
    output: Output,
    root: Other,
    member: Other,
}

#[test]
fn tap_frame_vectors() {
    let file = load("tap_frames.json");
    let us = secret_of(text(&file, "my_address"));
    let network: NetworkId = text(&file, "network_id").parse().unwrap();
    // The member that listens is the one that frames are sent to; any other node can be the root.
    let member = list(&file, "cases").iter().find_map(|c| c["to"].as_str()).expect("a frame for one member");
    let member = secret_of(member);
    let root = SecretIdentity::generate();
    let endpoint = "198.18.0.1:9993".parse().unwrap();
    let roots = vec![Root { identity: root.identity().clone(), endpoints: vec![endpoint] }];
    let planet =
        World::new_signed(WorldKind::Planet, 1, 1, &WorldKey::from_secret([9; 64]), roots).to_bytes();
    for case in list(&file, "cases") {
        let name = name(case);
        let mut core = core(&us, &planet, Default::default(), NOW);
        assert!(core.join(NOW, network, Some(config(&file, case).to_dictionary().as_bytes())));
        assert_eq!(core.view().networks()[0].mac.to_string(), text(&file, "my_mac"));
        let mut root = Other::new(&root, us.identity(), endpoint);
        let mut member = Other::new(&member, us.identity(), "198.18.7.1:40007".parse().unwrap());
        root.meet(&mut core, NOW);
        member.meet(&mut core, NOW);
        drain(&mut core);
        if let Some(joined) = core.joined(network) {
            joined.frame(NOW + Span::ms(1), &ethernet(case));
        }
        let output = drain(&mut core);
        check(name, case, network, Seen { core: &mut core, output, root, member });
    }
}

fn check(name: &str, case: &Value, network: NetworkId, seen: Seen<'_>) {
    let Seen { core, output, root, mut member } = seen;
    let us = core.view().status().identity;
    let keys = Other::keys(&[&root.secret, &member.secret], &us);
    let packets: Vec<_> = open(&output.datagrams, &keys)
        .into_iter()
        // The ECHO is ours: it asks whether the way of the frame is heard.
        .filter(|p| !matches!(p.verb, Verb::NetworkCredentials | Verb::MulticastLike | Verb::Echo))
        .collect();
    let frames: Vec<&Vec<u8>> = output.frames.iter().map(|(_, frame)| frame).collect();
    match text(case, "outcome") {
        "dropped" => assert!(packets.is_empty() && frames.is_empty(), "{name}: {packets:?} {frames:?}"),
        "local_reply" => {
            assert!(packets.is_empty(), "{name}: {packets:?}");
            assert_eq!(frames, [&ethernet(&case["reply"])], "{name}");
        }
        "unicast" => {
            assert!(frames.is_empty(), "{name}");
            assert_eq!(packets.len(), 1, "{name}: {packets:?}");
            assert_eq!(packets[0].dest.to_string(), text(case, "to"), "{name}");
            assert_eq!(packets[0].verb.name(), text(case, "verb"), "{name}");
            assert_eq!(hex(&packets[0].payload), text(case, "packet_payload"), "{name}");
        }
        "multicast" => {
            assert!(frames.is_empty(), "{name}");
            let group = MulticastGroup {
                mac: text(case, "group_mac").parse().unwrap(),
                adi: u32::from_str_radix(text(case, "group_adi"), 16).unwrap(),
            };
            let gather = packets.iter().find(|p| p.verb == Verb::MulticastGather).expect(name);
            let gather = MulticastGather::parse(&gather.payload).unwrap();
            assert_eq!((gather.network, gather.group), (network, group), "{name}");
            // Whoever subscribes now still gets the frame.
            let mut likes = Vec::new();
            MulticastLike::write(network, group, &mut likes);
            member.send(core, NOW + Span::ms(2), Verb::MulticastLike, &likes);
            let packets = open(&drain(core).datagrams, &keys);
            let copy = packets.iter().find(|p| p.verb == Verb::MulticastFrame).expect(name);
            assert_eq!(copy.dest, member.address(), "{name}");
            let copy = MulticastFrame::parse(&copy.payload).unwrap();
            assert_eq!((copy.network, copy.group), (network, group), "{name}");
            assert_eq!(u64::from(copy.ethertype), number(case, "ethertype"), "{name}");
            assert_eq!(copy.payload, unhex(text(case, "frame")), "{name}");
            let explicit: Option<Mac> = case["explicit_source_mac"].as_str().map(|m| m.parse().unwrap());
            assert_eq!(copy.source, explicit, "{name}");
        }
        other => panic!("{name}: unknown outcome {other}"),
    }
}
