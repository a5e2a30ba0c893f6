//! What is counted.

use std::hint::black_box;
use std::net::{IpAddr, Ipv6Addr};

use anyhow::{Context as _, Result, ensure};
use benches::pair::Pair;
use flowrules::evaluate::{Context, Credentials, Direction, Frame};
use flowrules::{FlowCache, Rule, from_json};
use protocol::packet::{self, DEFAULT_MTU, Reassembler, SessionKeys, Split, Suite};
use protocol::verb::Verb;
use protocol::{Address, Time};
use serde_json::json;

/// Packets: a small one, the largest of one datagram, a frame of 2800 octets.
const PACKETS: [usize; 3] = [92, 1_427, 2_838];
/// Payloads of frames.
const FRAMES: [usize; 3] = [64, 1_370, 2_800];

/// Gives every case to `run`.
pub(crate) fn all(run: &mut dyn FnMut(&str, &mut dyn FnMut())) -> Result<()> {
    armor(run);
    fragments(run)?;
    rules(run)?;
    frames(run)
}

fn a_packet(length: usize) -> Vec<u8> {
    let mut packet = Vec::new();
    let (a, b) = (Address::from_u64(0x11_2233_4455), Address::from_u64(0x66_7788_99aa));
    packet::start(&mut packet, 0x0123_4567_89ab_cdef, a, b, Verb::Frame);
    packet.extend((packet.len()..length).map(|n| n as u8));
    packet
}

fn armor(run: &mut dyn FnMut(&str, &mut dyn FnMut())) {
    let keys = SessionKeys::new(&[42; 48]);
    for (name, suite) in [("salsa", Suite::Salsa), ("aes", Suite::AesGmacSiv)] {
        for size in PACKETS {
            let mut sealed = a_packet(size);
            run(&format!("armor {name} {size}"), &mut || keys.armor(black_box(&mut sealed), suite));
            let mut sealed = a_packet(size);
            keys.armor(&mut sealed, suite);
            let mut buffer = sealed.clone();
            run(&format!("dearmor {name} {size}"), &mut || {
                buffer.copy_from_slice(&sealed);
                assert!(keys.dearmor(black_box(&mut buffer)));
            });
        }
    }
}

fn fragments(run: &mut dyn FnMut(&str, &mut dyn FnMut())) -> Result<()> {
    let mut packet = a_packet(2_838);
    packet::set_fragmented(&mut packet, true);
    let mut buffer = Vec::with_capacity(2 * packet.len());
    run("cut 2838", &mut || {
        buffer.clear();
        packet::datagrams(black_box(&packet), DEFAULT_MTU, Split::Halves, |head, data| {
            buffer.extend_from_slice(head);
            buffer.extend_from_slice(data);
        });
    });
    let mut datagrams = Vec::new();
    packet::datagrams(&packet, DEFAULT_MTU, Split::Halves, |head, data| {
        datagrams.push([head, data].concat());
    });
    let [head, tail] = &datagrams[..] else { anyhow::bail!("two datagrams, not {}", datagrams.len()) };
    let mut reassembler = Reassembler::new(32);
    let mut joined = 0;
    run("join 2838", &mut || {
        let _ = reassembler.insert_head(Time::EPOCH, (), head);
        if let Some(whole) = reassembler.insert_fragment(Time::EPOCH, (), black_box(tail)) {
            joined += whole.len();
            reassembler.recycle(whole);
        }
    });
    ensure!(joined > 0 && joined.is_multiple_of(packet.len()), "the parts do not join");
    Ok(())
}

/// Neither side has anything to show.
struct Nothing;

impl Credentials for Nothing {
    fn local_tag(&self, _: u32) -> Option<u32> {
        None
    }
    fn remote_tag(&self, _: u32) -> Option<u32> {
        None
    }
    fn local_owns_ip(&self, _: IpAddr) -> bool {
        false
    }
    fn remote_owns_ip(&self, _: IpAddr) -> bool {
        false
    }
    fn local_owns_mac(&self, _: [u8; 6]) -> bool {
        false
    }
    fn remote_owns_mac(&self, _: [u8; 6]) -> bool {
        false
    }
    fn emulated(&self, _: Ipv6Addr) -> bool {
        false
    }
}

fn rules(run: &mut dyn FnMut(&str, &mut dyn FnMut())) -> Result<()> {
    let mut list = Vec::new();
    for port in 1..=50 {
        list.push(json!({"type": "MATCH_IP_DEST_PORT_RANGE", "start": port, "end": port}));
        list.push(json!({"type": "ACTION_DROP"}));
    }
    list.push(json!({"type": "ACTION_ACCEPT"}));
    let list: Vec<Rule> = list.iter().map(from_json).collect::<Option<_>>().context("rules")?;
    let mut payload = vec![0; 1_400];
    payload[..10].copy_from_slice(&[0x45, 0, 5, 0x78, 0, 0, 0, 0, 64, 6]);
    payload[12..24].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2, 0xc3, 0x50, 0x01, 0xbb]);
    payload[32] = 0x50;
    let mut cache = FlowCache::new(&list, std::iter::empty());
    let mut random = || 4;
    run("verdict cached, 101 entries", &mut || {
        let (source, dest) = ([2, 0, 0, 0, 0, 2], [2, 0, 0, 0, 0, 1]);
        let frame = Frame { source, dest, ethertype: 0x0800, vlan: 0, payload: black_box(&payload) };
        let mut context = Context {
            direction: Direction::Inbound,
            self_address: 1,
            source: 2,
            dest: 1,
            frame,
            match_unknown: true,
            random: &mut random,
            credentials: &Nothing,
        };
        black_box(cache.filter(&list, &mut std::iter::empty(), &mut context, false));
    });
    Ok(())
}

fn frames(run: &mut dyn FnMut(&str, &mut dyn FnMut())) -> Result<()> {
    let mut pair = Pair::new()?;
    for size in FRAMES {
        let frame = pair.frame(0, size);
        run(&format!("frame out {size}"), &mut || {
            pair.send(0, black_box(&frame));
            pair.discard(0);
        });
        let mut arrived = 0;
        run(&format!("frame out and in {size}"), &mut || {
            pair.send(0, black_box(&frame));
            arrived += pair.carry(0);
        });
        ensure!(arrived > 0, "no frame of {size} octets arrived");
    }
    Ok(())
}
