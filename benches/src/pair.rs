//! Two cores that are members of a private network, without daemons, sockets or a kernel in between.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Context, Result, bail, ensure};
use controller::{Controller, MemoryStore};
use node::core::event::{Errand, Event, Settings};
use node::core::path::SocketId;
use node::core::{Core, CoreConfig};
use protocol::world::{Root, World, WorldKey, WorldKind};
use protocol::{Mac, NetworkId, SecretIdentity, Span, Time};
use serde_json::json;

/// The only socket of either core.
const SOCKET: SocketId = SocketId(0);
/// The time at which everything happens, milliseconds since the Unix epoch.
const START: Time = Time::from_ms(1_700_000_000_000);
/// An ethertype for experiments (IEEE 802, local experimental 1): nobody looks into such frames.
const ETHERTYPE: u16 = 0x88b5;

/// Core 0 is root and controller as well; both have joined the network and know a direct path to each other.
pub struct Pair {
    cores: [Core; 2],
    at: [SocketAddr; 2],
    controller: Controller,
    network: NetworkId,
    now: Time,
    datagram: Vec<u8>,
    joined: [bool; 2],
    delivered: u64,
}

impl Pair {
    /// Makes both cores, the network, and lets them meet.
    ///
    /// # Errors
    /// When they do not get together within ten seconds of their own clock.
    pub fn new() -> Result<Self> {
        let identities = [SecretIdentity::generate(), SecretIdentity::generate()];
        let at = [1, 2].map(|n| SocketAddr::new(IpAddr::V4(Ipv4Addr::new(80, 0, 0, n)), 9993));
        let root = Root { identity: identities[0].identity().clone(), endpoints: vec![at[0]] };
        let key = WorldKey::from_secret([7; 64]);
        let planet = World::new_signed(WorldKind::Planet, 4711, 1, &key, vec![root]);
        let mut controller =
            Controller::open_with_seed(identities[0].clone(), Box::new(MemoryStore::new()), [9; 32])?;
        let network = make_network(&mut controller, &identities)?;
        let mut index = 0;
        let cores = identities.map(|identity| {
            let settings = Settings { controller: index == 0, ..Settings::default() };
            let config = CoreConfig { identity, planet: planet.clone(), seed: [index; 32], settings };
            let mut core = Core::new(config, START);
            core.set_local_addresses(START, vec![(SOCKET, at[usize::from(index)])]);
            core.join(START, network, None);
            index += 1;
            core
        });
        let mut pair = Self {
            cores,
            at,
            controller,
            network,
            now: START,
            datagram: Vec::new(),
            joined: [false; 2],
            delivered: 0,
        };
        pair.meet()?;
        Ok(pair)
    }

    /// Lets time pass until a frame gets through in both directions.
    fn meet(&mut self) -> Result<()> {
        while self.now < START + Span::secs(10) {
            self.now += Span::ms(50);
            for core in &mut self.cores {
                core.tick(self.now);
            }
            self.settle();
            if self.joined == [true; 2] {
                let before = self.delivered;
                for from in 0..2 {
                    self.send(from, &self.frame(from, 64));
                }
                self.settle();
                // Each finds out by a probe what the other is: what is measured is how it goes on from there.
                if self.delivered == before + 2 && self.now >= START + Span::secs(5) {
                    return Ok(());
                }
            }
        }
        bail!("the cores did not meet (joined: {:?})", self.joined)
    }

    /// Carries everything that waits in the outboxes, until both are empty.
    fn settle(&mut self) {
        while self.cores.iter_mut().any(|core| {
            let outbox = core.outbox();
            let quiet = outbox.errands.is_empty() && outbox.events.is_empty();
            !quiet || !outbox.datagrams.is_empty() || !outbox.frames.is_empty()
        }) {
            for from in 0..2 {
                self.carry(from);
                while let Some(errand) = self.cores[from].outbox().errands.pop_front() {
                    match errand {
                        Errand::ConfigRequest(request) => {
                            for action in self.controller.request(self.now, request) {
                                self.cores[from].controller_action(self.now, action);
                            }
                        }
                        Errand::CheckIdentity { identity, .. } => {
                            self.cores[from].identity_checked(self.now, &identity, true);
                        }
                        Errand::Acknowledged(_) => {}
                    }
                }
                while let Some(event) = self.cores[from].outbox().events.pop_front() {
                    self.joined[from] |= matches!(event, Event::Config { .. });
                }
            }
        }
    }

    /// An Ethernet frame from one core's port to the other's, with a payload of `length` octets.
    pub fn frame(&self, from: usize, length: usize) -> Vec<u8> {
        let mac = |index: usize| Mac::for_member(self.network, self.cores[index].address());
        let mut frame = Vec::with_capacity(14 + length);
        frame.extend_from_slice(&mac(1 - from).0);
        frame.extend_from_slice(&mac(from).0);
        frame.extend_from_slice(&ETHERTYPE.to_be_bytes());
        frame.extend((0..length).map(|n| n as u8));
        frame
    }

    /// Gives a frame to the port of core `from`; the datagrams it becomes stay in its outbox.
    pub fn send(&mut self, from: usize, frame: &[u8]) {
        if let Some(joined) = self.cores[from].joined(self.network) {
            joined.frame(self.now, frame);
        }
    }

    /// How many datagrams wait in the outbox of core `from`.
    pub fn waiting(&mut self, from: usize) -> usize {
        self.cores[from].outbox().datagrams.segments().len()
    }

    /// Throws away the datagrams in the outbox of core `from`.
    pub fn discard(&mut self, from: usize) {
        self.cores[from].outbox().datagrams.clear();
    }

    /// Takes the datagrams from the outbox of core `from` to the other core, and the frames it makes of them out of its
    /// outbox. Returns how many frames those were.
    pub fn carry(&mut self, from: usize) -> usize {
        let (left, right) = self.cores.split_at_mut(1);
        let (sender, receiver) =
            if from == 0 { (&mut left[0], &mut right[0]) } else { (&mut right[0], &mut left[0]) };
        let batch = &sender.outbox().datagrams;
        let whole = batch.whole().iter().map(|segment| (segment, &batch.buffer()[segment.range.clone()]));
        for (segment, data) in batch.iter().chain(whole) {
            // Junk that opens NATs dies on the way, and there is nobody else to send to.
            if segment.ttl.is_none() && segment.to == self.at[1 - from] {
                self.datagram.clear();
                self.datagram.extend_from_slice(data);
                receiver.datagram(self.now, SOCKET, self.at[from], &mut self.datagram);
            }
        }
        sender.outbox().datagrams.clear();
        let frames = receiver.outbox().frames.iter().count();
        receiver.outbox().frames.clear();
        self.delivered += frames as u64;
        frames
    }
}

/// A private network of which both are authorized members.
fn make_network(controller: &mut Controller, members: &[SecretIdentity; 2]) -> Result<NetworkId> {
    let mut post = |path: &str, body: serde_json::Value| {
        let (reply, _) = controller.http(START, "POST", path, body.to_string().as_bytes());
        ensure!(reply.status == 200, "POST {path}: {} {:?}", reply.status, reply.body);
        reply.body.context("an empty reply")
    };
    let made = post("/controller/network", json!({"name": "pair", "private": true}))?;
    let id = made["nwid"].as_str().context("a network without ID")?.to_owned();
    for member in members {
        let path = format!("/controller/network/{id}/member/{}", member.address());
        post(&path, json!({"authorized": true}))?;
    }
    Ok(id.parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_go_through_in_as_many_datagrams_as_expected() {
        let mut pair = Pair::new().unwrap();
        for (length, datagrams) in [(64, 1), (1_300, 1), (2_800, 2)] {
            for from in 0..2 {
                let frame = pair.frame(from, length);
                pair.send(from, &frame);
                assert_eq!(pair.waiting(from), datagrams);
                assert_eq!(pair.carry(from), 1);
            }
        }
    }
}
