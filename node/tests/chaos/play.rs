//! Plays a schedule, with frames between all members, and holds what arrives against the model.

use std::collections::BTreeMap;

use node::core::info::NetworkStatus;
use protocol::{NetworkId, Span, Time};

use crate::model::Model;
use crate::schedule::{Happening, Schedule};
use crate::sim::{World, frame_between, is_direct};

/// From one frame of a stream to the next, ms.
const EVERY: i64 = 20;
/// What a frame's payload begins with.
const MARK: &[u8] = b"chaos";
/// Nothing may arrive late when nothing has happened for so long and the stream has kept its way.
const QUIET: i64 = 10_000;

/// Frames from one host to another.
#[derive(Default)]
struct Stream {
    /// By number: how often it arrived.
    arrived: Vec<u8>,
    last: Option<Time>,
    latest: usize,
    /// Since when it has to arrive.
    due: Option<Time>,
    /// Whether it goes directly, and since when.
    direct: (bool, Option<Time>),
}

/// All members joined, and those that can reach each other directly do.
fn joined(schedule: &Schedule) -> Result<(World, NetworkId), String> {
    let calm = crate::sim::Weather { loss: 0, ..schedule.weather };
    let mut world = World::with_roots(schedule.seed, calm, schedule.roots);
    for nat in &schedule.nodes {
        let nat = nat.map(|kind| world.add_nat(kind));
        let host = world.add_host(nat);
        if schedule.is_double(host) {
            world.make_double(host);
        }
    }
    let network = world.create_network(r#"{"private":false}"#);
    schedule.members().for_each(|host| world.join(host, network));
    let all = |w: &mut World| {
        schedule.members().all(|h| w.hosts[h].status.get(&network) == Some(&NetworkStatus::Ok))
    };
    if !world.run_until(20_000, all) {
        return Err("not all have joined within 20 s".to_owned());
    }
    for _ in 0..50 {
        for (from, to) in pairs(schedule) {
            let frame = frame_between(&world, network, from, to, b"to begin with");
            world.send_frame(from, network, &frame);
        }
        world.run(200);
    }
    world.weather = schedule.weather;
    Ok((world, network))
}

fn pairs(schedule: &Schedule) -> Vec<(usize, usize)> {
    let members = schedule.members();
    members.clone().flat_map(|a| members.clone().map(move |b| (a, b))).filter(|(a, b)| a != b).collect()
}

/// Plays it. What is wrong, if anything is.
pub fn play(schedule: &Schedule) -> Result<(), String> {
    let (mut world, network) = joined(schedule)?;
    let begun = world.now;
    let mut model = Model::new(schedule, begun);
    let mut streams: BTreeMap<(usize, usize), Stream> =
        pairs(schedule).into_iter().map(|pair| (pair, Stream::default())).collect();
    schedule.members().for_each(|host| world.hosts[host].received.clear());
    let mut coming = schedule.happenings.iter().copied().peekable();
    let mut asleep: Vec<(Time, usize)> = Vec::new();
    let mut happened = begun - Span::ms(QUIET);
    while world.now - begun < Span::ms(schedule.length()) {
        let now = world.now;
        for (_, host) in asleep.extract_if(.., |(until, _)| *until <= now) {
            world.wake(host);
            happened = now;
        }
        while let Some((_, what)) = coming.next_if(|(at, _)| Span::ms(*at) <= now - begun) {
            let sleeps = |host| asleep.iter().any(|(_, other)| *other == host);
            // Who sleeps does nothing else.
            if let Happening::Move(a) | Happening::Jump(a, _) | Happening::Sleep(a, _) = what
                && sleeps(a)
            {
                continue;
            }
            model.happen(now, what);
            happened = now;
            if let Happening::Sleep(a, ms) = what {
                asleep.push((now + Span::ms(ms), a));
            }
            carry_out(&mut world, what);
        }
        for ((from, to), stream) in &mut streams {
            if world.hosts[*from].up {
                let number = stream.arrived.len() as u32;
                let text = [MARK, &number.to_be_bytes()].concat();
                let frame = frame_between(&world, network, *from, *to, &text);
                world.send_frame(*from, network, &frame);
                stream.arrived.push(0);
            }
        }
        world.run(EVERY);
        if ((world.now - begun).as_ms() / EVERY) % 10 == 0 {
            look(&world, schedule, &mut model, &mut streams);
        }
        receive(&mut world, schedule, &mut streams, happened)
            .and_then(|()| judge(&world, &model, &mut streams))
            .map_err(|fault| format!("after {} ms {fault}", (world.now - begun).as_ms()))?;
    }
    Ok(())
}

fn carry_out(world: &mut World, what: Happening) {
    match what {
        Happening::Cut(a, b) => world.one_way.extend([(a, b), (b, a)]),
        Happening::CutOneWay(a, b) => drop(world.one_way.insert((a, b))),
        Happening::Heal(a, b) => world.one_way.retain(|way| *way != (a, b) && *way != (b, a)),
        Happening::Move(a) => world.change_address(a),
        Happening::Rebind(a) => drop(world.rebind(a)),
        Happening::RootDies(root) => world.stop(root),
        Happening::RootStarts(root) => world.restart_as_stranger(root),
        Happening::Jump(a, ms) => world.hosts[a].ahead += Span::ms(ms),
        Happening::Sleep(a, _) => world.stop(a),
    }
}

/// Which streams go directly.
fn look(
    world: &World,
    schedule: &Schedule,
    model: &mut Model,
    streams: &mut BTreeMap<(usize, usize), Stream>,
) {
    let pairs: Vec<(usize, usize)> = streams.keys().copied().collect();
    for (from, to) in pairs {
        let direct = is_direct(world, from, to);
        let there =
            |a, b| if schedule.is_double(a) { world.leads_there(a, b) } else { is_direct(world, a, b) };
        if there(from, to) && there(to, from) {
            model.found(world.now, from, to);
        }
        if let Some(stream) = streams.get_mut(&(from, to))
            && stream.direct.0 != direct
        {
            stream.direct = (direct, Some(world.now));
        }
    }
}

/// Takes in what has arrived.
fn receive(
    world: &mut World,
    schedule: &Schedule,
    streams: &mut BTreeMap<(usize, usize), Stream>,
    happened: Time,
) -> Result<(), String> {
    for to in schedule.members() {
        for (network, frame) in std::mem::take(&mut world.hosts[to].received) {
            let Some(number) = frame.get(14..).and_then(|payload| payload.strip_prefix(MARK)) else {
                continue;
            };
            let number = u32::from_be_bytes(number[..4].try_into().unwrap()) as usize;
            let from = schedule
                .members()
                .find(|host| frame[6..12] == protocol::Mac::for_member(network, world.address(*host)).0)
                .ok_or("a frame came from nobody")?;
            let stream = streams.get_mut(&(from, to)).ok_or("a frame came from elsewhere")?;
            stream.last = Some(world.now);
            stream.arrived[number] += 1;
            // zerotier-one does not know what it has had, and what goes to it while its way is in doubt goes twice.
            let most = if schedule.is_double(to) { 2 } else { 1 };
            if stream.arrived[number] > most {
                return Err(format!("frame {number} from {from} arrived once more at {to}"));
            }
            // A double takes the path that has the smallest latency just now.
            let calm = schedule.weather.loss == 0
                && !schedule.is_double(from)
                && world.now - happened >= Span::ms(QUIET)
                && stream.direct.1.is_none_or(|since| world.now - since >= Span::ms(QUIET));
            if number < stream.latest && calm {
                let latest = stream.latest;
                return Err(format!("frame {number} from {from} arrived behind {latest} at {to}"));
            }
            stream.latest = stream.latest.max(number);
        }
    }
    Ok(())
}

/// Holds the streams against the model.
fn judge(world: &World, model: &Model, streams: &mut BTreeMap<(usize, usize), Stream>) -> Result<(), String> {
    for ((from, to), stream) in streams {
        if !model.must_reach(world, *from, *to) {
            stream.due = None;
            continue;
        }
        let due = *stream.due.get_or_insert(world.now);
        let last = stream.last.unwrap_or(due);
        // The time of grace is over when it has to arrive; frames are on their way for a moment.
        let allowed = if last < due { model.moment() } else { model.grace() };
        let silent = world.now - last.max(due);
        if silent > allowed {
            return Err(format!(
                "nothing from {from} has arrived at {to} for {} ms",
                (world.now - last).as_ms()
            ));
        }
    }
    Ok(())
}
