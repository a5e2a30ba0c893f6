//! Rules at work among three members on a virtual clock: copies and redirections on both sides, changes that take effect at
//! once, counters, traces, and copies that do not hold up what they are copies of.

mod sim;

use controller::Action;
use node::core::event::Event;
use node::core::info::{CopyCounters, NetworkStatus};
use protocol::credential::{Credential, Revocation, kind};
use protocol::{Mac, NetworkId, Span, Time};
use sim::{START, Weather, World, identity, reaches};

const CALM: Weather = Weather { latency: (10, 20), loss: 0 };
/// Who gets the copies.
const OBSERVER: usize = 3;
/// Enough entries that never match for verdicts to be remembered.
const PADDING: &str = r#"{"type":"MATCH_ETHERTYPE","etherType":4660},{"type":"ACTION_DROP"},"#;

fn padding() -> String {
    PADDING.repeat(10)
}

/// Root and controller, and three members who can all reach each other.
fn three() -> (World, NetworkId) {
    let mut world = World::new(11, CALM);
    for _ in 0..3 {
        world.add_host(None);
    }
    let network = world.create_network(r#"{"name":"rules"}"#);
    for host in 1..=3 {
        authorize(&mut world, network, host, "");
        world.join(host, network);
    }
    let joined = world
        .run_until(10_000, |w| (1..=3).all(|h| w.hosts[h].status.get(&network) == Some(&NetworkStatus::Ok)));
    assert!(joined, "all join within ten seconds");
    for (from, to) in [(1, 2), (2, 3), (3, 1), (2, 1), (3, 2), (1, 3)] {
        assert!(reaches(&mut world, network, from, to, 5_000), "{from} reaches {to}");
    }
    world.run(5_000);
    (world, network)
}

fn authorize(world: &mut World, network: NetworkId, host: usize, more: &str) {
    let path = format!("/controller/network/{network}/member/{}", world.address(host));
    world.http("POST", &path, &format!(r#"{{"authorized":true{more}}}"#));
}

/// Sets the network's rules and waits until they are in force everywhere.
fn set_rules(world: &mut World, network: NetworkId, rules: &str) {
    let path = format!("/controller/network/{network}");
    world.http("POST", &path, &format!(r#"{{"rules":[{rules}]}}"#));
    world.run(500);
    let now = world.now;
    assert!(now > START);
    for host in 1..=3 {
        world.hosts[host].received.clear();
    }
}

fn frame(world: &World, network: NetworkId, from: usize, to: Option<usize>, payload: &[u8]) -> Vec<u8> {
    let mac = |host| Mac::for_member(network, world.address(host)).0;
    let mut frame = to.map_or([0xff; 6], mac).to_vec();
    frame.extend_from_slice(&mac(from));
    frame.extend_from_slice(&[0x88, 0xb5]);
    frame.extend_from_slice(payload);
    frame
}

/// What came out of a host's port since the rules were set.
fn received(world: &World, host: usize) -> Vec<Vec<u8>> {
    world.hosts[host].received.iter().map(|(_, frame)| frame.clone()).collect()
}

fn copies(world: &World, host: usize) -> CopyCounters {
    world.hosts[host].core.view().counters().copies
}

fn action(name: &str, world: &World, host: usize, length: u16) -> String {
    format!(r#"{{"type":"ACTION_{name}","address":"{}","length":{length}}}"#, world.address(host))
}

const ACCEPT: &str = r#"{"type":"ACTION_ACCEPT"}"#;
const INBOUND: &str = r#"{"type":"MATCH_CHARACTERISTICS","mask":"8000000000000000"}"#;

#[test]
fn tee_copies_on_both_sides_up_to_its_length() {
    let (mut world, network) = three();
    let tee = action("TEE", &world, OBSERVER, 64);
    set_rules(&mut world, network, &format!("{tee},{ACCEPT}"));
    let whole = frame(&world, network, 1, Some(2), &[7; 100]);
    world.send_frame(1, network, &whole);
    world.run(1_000);
    assert_eq!(received(&world, 2), std::slice::from_ref(&whole));
    // The sender's copy and the receiver's, with the original addresses.
    assert_eq!(received(&world, OBSERVER), [whole[..14 + 64].to_vec(), whole[..14 + 64].to_vec()]);
    assert_eq!((copies(&world, 1).sent, copies(&world, 2).sent, copies(&world, 3).sent), (1, 1, 0));
    assert!(received(&world, 1).is_empty());

    // Nothing is copied to who has it anyway.
    world.hosts[OBSERVER].received.clear();
    let to_observer = frame(&world, network, 1, Some(OBSERVER), &[8; 100]);
    world.send_frame(1, network, &to_observer);
    let from_observer = frame(&world, network, OBSERVER, Some(2), &[9; 100]);
    world.send_frame(OBSERVER, network, &from_observer);
    world.run(1_000);
    assert_eq!(received(&world, OBSERVER), [to_observer]);
    assert_eq!(received(&world, 2), [whole, from_observer]);
    assert_eq!((copies(&world, 1).sent, copies(&world, 2).sent, copies(&world, 3).sent), (1, 1, 0));
}

#[test]
fn watch_inbound_copies_once_and_is_acknowledged() {
    let (mut world, network) = three();
    let watch = action("WATCH", &world, OBSERVER, 65_535);
    set_rules(&mut world, network, &format!("{INBOUND},{watch},{ACCEPT}"));
    // Whether the path is heard is asked as well, and how large it is: the answers to ECHO are OKs, too.
    let oks = |world: &World, host: usize| {
        let counters = world.hosts[host].core.view().counters();
        counters.packets_in[3] - counters.packets_out[8]
    };
    let whole = frame(&world, network, 1, Some(2), &[7; 3_000 - 300]);
    world.send_frame(1, network, &whole);
    world.run(5_000);
    world.hosts[2].received.clear();
    world.hosts[OBSERVER].received.clear();
    let (before, sent) = ((oks(&world, 1), oks(&world, 2)), copies(&world, 2).sent);
    world.send_frame(1, network, &whole);
    world.run(2_000);
    assert_eq!(received(&world, 2), std::slice::from_ref(&whole));
    assert_eq!(received(&world, OBSERVER), [whole]);
    assert_eq!((copies(&world, 1).sent, copies(&world, 2).sent), (0, sent + 1));
    assert_eq!((oks(&world, 1), oks(&world, 2)), (before.0, before.1 + 1));
}

#[test]
fn redirect_takes_the_frame_elsewhere() {
    let (mut world, network) = three();
    let only = format!(r#"{{"type":"MATCH_DEST_ZEROTIER_ADDRESS","zt":"{}"}}"#, world.address(2));
    let redirect = action("REDIRECT", &world, OBSERVER, 0);
    // On the sender.
    set_rules(&mut world, network, &format!("{only},{redirect},{ACCEPT}"));
    let whole = frame(&world, network, 1, Some(2), &[7; 100]);
    world.send_frame(1, network, &whole);
    world.run(1_000);
    assert_eq!((received(&world, 2), received(&world, OBSERVER)), (vec![], vec![whole.clone()]));
    // On the receiver.
    set_rules(&mut world, network, &format!("{only},{INBOUND},{redirect},{ACCEPT}"));
    world.send_frame(1, network, &whole);
    world.run(1_000);
    assert_eq!((received(&world, 2), received(&world, OBSERVER)), (vec![], vec![whole]));
}

#[test]
fn a_dropped_frame_is_not_copied_and_a_copy_of_a_multicast_is_made_once() {
    let (mut world, network) = three();
    let tee = action("TEE", &world, OBSERVER, 0);
    set_rules(&mut world, network, &format!(r#"{tee},{{"type":"ACTION_DROP"}}"#));
    let broadcast = frame(&world, network, 1, None, &[7; 100]);
    world.send_frame(1, network, &broadcast);
    world.run(1_000);
    assert_eq!(copies(&world, 1), CopyCounters::default());

    set_rules(&mut world, network, &format!("{tee},{ACCEPT}"));
    world.send_frame(1, network, &broadcast);
    world.run(10_000);
    assert_eq!(received(&world, 2), std::slice::from_ref(&broadcast));
    // The sender's copy, the receiver's copy, and the multicast itself, since the observer is a member.
    assert_eq!(received(&world, OBSERVER), [broadcast.clone(), broadcast.clone(), broadcast]);
    assert_eq!((copies(&world, 1).sent, copies(&world, 2).sent), (1, 1));
}

fn hits(world: &World, network: NetworkId, host: usize) -> u64 {
    world.hosts[host].core.view().rules(network).expect("a configuration").flows.hits
}

#[test]
fn new_rules_take_effect_on_a_remembered_flow() {
    let (mut world, network) = three();
    let whole = frame(&world, network, 1, Some(2), &[7; 100]);
    let send = |world: &mut World| {
        for _ in 0..5 {
            world.send_frame(1, network, &whole);
        }
        world.run(300);
        received(world, 2).len()
    };
    set_rules(&mut world, network, &format!("{}{ACCEPT}", padding()));
    assert_eq!(send(&mut world), 5);
    let (ours, theirs) = (hits(&world, network, 1), hits(&world, network, 2));
    assert!(ours >= 3 && theirs >= 3, "the flow cache is at work: {ours}, {theirs}");
    let drop = r#"{"type":"MATCH_ETHERTYPE","etherType":34997},{"type":"ACTION_DROP"}"#;
    set_rules(&mut world, network, &format!("{}{drop},{ACCEPT}", padding()));
    assert_eq!(send(&mut world), 0);
    let only_inbound = format!(r#"{}{{"type":"MATCH_ETHERTYPE","etherType":34997}},{INBOUND}"#, padding());
    set_rules(&mut world, network, &format!(r#"{only_inbound},{{"type":"ACTION_DROP"}},{ACCEPT}"#));
    assert_eq!(send(&mut world), 0);
    // The sender lets go what only the receiver drops.
    assert!(hits(&world, network, 2) >= 3);
    set_rules(&mut world, network, &format!("{}{ACCEPT}", padding()));
    assert_eq!(send(&mut world), 5);
}

#[test]
fn a_tag_given_or_revoked_takes_effect_on_a_remembered_flow() {
    let (mut world, network) = three();
    let path = format!("/controller/network/{network}");
    world.http("POST", &path, r#"{"tags":[{"id":1,"default":null}]}"#);
    let sender = r#"{"type":"MATCH_TAG_SENDER","id":1,"value":5}"#;
    set_rules(&mut world, network, &format!("{}{sender},{ACCEPT}", padding()));
    let whole = frame(&world, network, 1, Some(2), &[7; 100]);
    let send = |world: &mut World| {
        world.hosts[2].received.clear();
        for _ in 0..5 {
            world.send_frame(1, network, &whole);
            world.run(100);
        }
        world.run(300);
        received(world, 2).len()
    };
    assert_eq!(send(&mut world), 0);
    authorize(&mut world, network, 1, r#","tags":[[1,5]]"#);
    world.run(2_000);
    assert!(send(&mut world) >= 4, "the first frame may be ahead of the tag");
    assert_eq!(send(&mut world), 5);
    assert!(hits(&world, network, 2) >= 4, "the flow cache is at work");
    let shown = world.hosts[2].core.view().rules(network).expect("a configuration").members;
    assert!(shown.iter().any(|m| m.address == world.address(1) && m.tags == [(1, 5)]), "{shown:?}");

    let secret = identity(0);
    let revocation = Revocation {
        id: 77,
        network,
        credential_id: 1,
        threshold: world.now,
        flags: 0,
        target: world.address(1),
        kind: kind::TAG,
    };
    let revocation = revocation.sign(&secret);
    let (now, to) = (world.now, vec![world.address(2)]);
    world.hosts[0].core.controller_action(now, Action::Revoke { to, revocation });
    world.http("GET", &path, "");
    world.run(100);
    assert_eq!(send(&mut world), 0, "the sender lets it go, the receiver does not");
}

#[test]
fn a_capability_takes_effect_when_it_is_presented() {
    let (mut world, network) = three();
    let path = format!("/controller/network/{network}");
    world.http(
        "POST",
        &path,
        &format!(r#"{{"capabilities":[{{"id":9,"default":false,"rules":[{ACCEPT}]}}]}}"#),
    );
    set_rules(&mut world, network, &format!(r#"{}{{"type":"ACTION_BREAK"}}"#, padding()));
    let whole = frame(&world, network, 1, Some(2), &[7; 100]);
    let send = |world: &mut World| {
        world.hosts[2].received.clear();
        for _ in 0..5 {
            world.send_frame(1, network, &whole);
            world.run(100);
        }
        received(world, 2).len()
    };
    assert_eq!(send(&mut world), 0);
    authorize(&mut world, network, 1, r#","capabilities":[9]"#);
    world.run(2_000);
    assert!(send(&mut world) >= 4);
    assert_eq!(send(&mut world), 5);
    let counters = world.hosts[2].core.view().rules(network).expect("a configuration").counters;
    assert!(counters.capabilities[&9][0] >= 9, "{counters:?}");
    // It does not work for others.
    world.hosts[2].received.clear();
    let other = frame(&world, network, 3, Some(2), &[7; 100]);
    world.send_frame(3, network, &other);
    world.run(500);
    assert!(received(&world, 2).is_empty());
}

#[test]
fn entries_are_counted_and_frames_traced_at_a_limited_rate() {
    let (mut world, network) = three();
    let tee = action("TEE", &world, OBSERVER, 0);
    let drop = r#"{"type":"MATCH_FRAME_SIZE_RANGE","start":0,"end":50},{"type":"ACTION_DROP"}"#;
    let rules = format!("{}{tee},{drop},{ACCEPT}", padding());
    set_rules(&mut world, network, &rules);
    let (long, short) =
        (frame(&world, network, 1, Some(2), &[7; 100]), frame(&world, network, 1, Some(2), &[7; 20]));
    for _ in 0..3 {
        world.send_frame(1, network, &long);
        world.send_frame(1, network, &short);
    }
    let counters =
        |world: &World| world.hosts[1].core.view().rules(network).expect("a configuration").counters;
    let counted = counters(&world);
    // The copies were made for accepted frames only.
    assert_eq!(counted.base[20..], [3, 0, 3, 3]);
    assert_eq!((counted.base[..20].iter().sum::<u64>(), counted.nothing_matched), (0, 0));

    // A refreshed configuration with the same rules goes on counting.
    world.run(70_000);
    assert_eq!(counters(&world).base[20..], [3, 0, 3, 3]);
    set_rules(&mut world, network, &format!("{rules},{ACCEPT}"));
    assert_eq!(counters(&world).base[20..], [0, 0, 0, 0, 0]);

    let now = world.now;
    let core = &mut world.hosts[1].core;
    let traced = |core: &mut node::core::Core, at: Time| {
        if let Some(joined) = core.joined(network) {
            joined.frame(at, &short);
        }
        let events: Vec<Event> = core.outbox().events.drain(..).collect();
        core.outbox().datagrams.clear();
        events.into_iter().find_map(|event| match event {
            Event::RuleTrace(trace) => Some(trace),
            _ => None,
        })
    };
    assert!(traced(core, now).is_none(), "off");
    core.joined(network).unwrap().set_trace(2);
    let first = traced(core, now).expect("shown");
    assert_eq!((first.length, first.skipped, first.verdict.by.map(|e| e.index)), (20, 0, Some(22)));
    assert!(traced(core, now).is_some());
    assert!(traced(core, now).is_none() && traced(core, now + Span::ms(999)).is_none(), "two a second");
    assert_eq!(traced(core, now + Span::secs(1)).map(|t| t.skipped), Some(2));
    core.joined(network).unwrap().set_trace(0);
    assert!(traced(core, now + Span::secs(5)).is_none(), "off again");
}

#[test]
fn a_tee_to_nobody_does_not_hold_up_the_flow() {
    let (mut world, network) = three();
    let tee = r#"{"type":"ACTION_TEE","address":"0123456789","length":0}"#;
    set_rules(&mut world, network, &format!("{tee},{ACCEPT}"));
    let whole = frame(&world, network, 1, Some(2), &[7; 100]);
    for _ in 0..500 {
        world.send_frame(1, network, &whole);
    }
    world.run(10_000);
    assert_eq!(received(&world, 2).len(), 500);
    let CopyCounters { sent, unreachable, .. } = copies(&world, 1);
    assert_eq!((sent, unreachable), (0, 500));
}

#[test]
fn copies_leave_last_and_not_too_many_at_once() {
    let (mut world, network) = three();
    let tee = action("TEE", &world, OBSERVER, 0);
    set_rules(&mut world, network, &format!("{tee},{ACCEPT}"));
    let whole = frame(&world, network, 1, Some(2), &[7; 100]);
    let now = world.now;
    let core = &mut world.hosts[1].core;
    core.outbox().datagrams.clear();
    for _ in 0..1_000 {
        if let Some(joined) = core.joined(network) {
            joined.frame(now, &whole);
        }
    }
    let batch = &core.outbox().datagrams;
    let most = node::dataplane::datagrams::MAX_COPIES;
    // Beside the frames there may be certificates.
    assert!(batch.segments().len() >= 1_000);
    assert_eq!(batch.copies().len(), most);
    let observer = batch.copies()[0].to;
    assert!(batch.iter().skip(batch.segments().len()).all(|(segment, _)| segment.to == observer));
    assert_eq!(copies(&world, 1).too_many, 1_000 - most as u64);
}

/// A configuration that is pushed must not make a member look gone to its controller, however many come in a row.
#[test]
fn pushes_never_end() {
    let (mut world, network) = three();
    authorize(&mut world, network, 0, "");
    world.join(0, network);
    world.run(1_000);
    for round in 0..40 {
        let path = format!("/controller/network/{network}");
        let rules = format!(
            r#"{{"rules":[{{"type":"MATCH_ETHERTYPE","etherType":{round}}},{{"type":"ACTION_DROP"}}]}}"#
        );
        world.http("POST", &path, &rules);
        world.run(1_000);
        let revision = world.http("GET", &path, "")["revision"].as_u64().unwrap();
        for host in 0..=3 {
            let info = world.hosts[host].core.view().rules(network).unwrap();
            assert_eq!(info.config.revision, revision, "host {host}, round {round}");
        }
        world.run(9_000);
    }
}
