//! Frames on their way in: from members, past the rules, to the port.
//!
//! Specification: VL2 frames, "frame arriving from a peer".

use flowrules::evaluate::{Accept, Direction};
use protocol::verb::Verb;
use protocol::verbs::{ExtFrame, Frame, MulticastFrame, error_code};
use protocol::{Address, Mac, Time};

use super::directory::Directory;
use super::ethernet::Ethernet;
use super::multicast::Multicast;
use super::network::Network;
use crate::dataplane::ecn::{self, Arrival};
use crate::link::{Handled, Incoming, Link};

/// Octets of a multicast frame's payload at most.
const MAX_MULTICAST_PAYLOAD: usize = 10_000;

impl Network {
    /// FRAME: addresses are implied by who sent it to whom.
    pub(super) fn receive_frame(
        &mut self,
        link: &mut Link,
        now: Time,
        incoming: &Incoming<'_>,
        packet: &Frame<'_>,
    ) -> Handled {
        if !self.gate(link, now, incoming.source) {
            return self.refuse(link, now, incoming, Verb::Frame);
        }
        if !packet.payload.is_empty() {
            let frame = Ethernet {
                dest: self.mac,
                source: Mac::for_member(self.id, incoming.source),
                ethertype: packet.ethertype,
                payload: packet.payload,
            };
            let accepted = self.filter_in(link, now, incoming.source, frame) != Accept::Drop;
            self.deliver(link, incoming.ecn, frame, accepted);
        }
        Handled::Trust
    }

    /// EXT_FRAME: a frame with explicit addresses, from a bridge or made by rules.
    pub(super) fn receive_ext_frame(
        &mut self,
        link: &mut Link,
        now: Time,
        incoming: &Incoming<'_>,
        packet: &ExtFrame<'_>,
    ) -> Handled {
        let from = incoming.source;
        if !self.gate(link, now, from) {
            return self.refuse(link, now, incoming, Verb::ExtFrame);
        }
        let frame = Ethernet {
            dest: packet.dest,
            source: packet.source,
            ethertype: packet.ethertype,
            payload: packet.payload,
        };
        if !frame.payload.is_empty() {
            if frame.is_forged(self.mac) {
                return Handled::Trust;
            }
            let accepted = match self.filter_in(link, now, from, frame) {
                Accept::Drop => false,
                Accept::SuperAccept => true,
                Accept::Accept if self.is_possible(link.address(), now, from, &frame) => true,
                Accept::Accept => {
                    // Not even acknowledged.
                    self.deliver(link, incoming.ecn, frame, false);
                    return Handled::Trust;
                }
            };
            self.deliver(link, incoming.ecn, frame, accepted);
        }
        if packet.wants_acknowledgement() {
            let mut answer = link.begin_ok(incoming, Verb::ExtFrame);
            answer.extend_from_slice(&self.id.0.to_be_bytes());
            link.reply(now, incoming.via, answer);
        }
        Handled::Trust
    }

    /// MULTICAST_FRAME: a frame for a group.
    pub(super) fn receive_multicast(
        &mut self,
        link: &mut Link,
        directory: &mut Directory,
        now: Time,
        incoming: &Incoming<'_>,
        packet: &MulticastFrame<'_>,
    ) -> Handled {
        let from = incoming.source;
        if !self.gate(link, now, from) {
            return self.refuse(link, now, incoming, Verb::MulticastFrame);
        }
        let Some(config) = self.policy.config() else { return Handled::Credit };
        if config.multicast_limit == 0 {
            return Handled::Trust;
        }
        let am_replicator = config.replicators().any(|r| r == link.address());
        let may_bridge = config.is_active_bridge(from);
        let derived = Mac::for_member(self.id, from);
        let frame = Ethernet {
            dest: packet.group.mac,
            source: packet.source.unwrap_or(derived),
            ethertype: packet.ethertype,
            payload: packet.payload,
        };
        if !frame.payload.is_empty() {
            let impossible = !frame.dest.is_multicast()
                || frame.is_forged(self.mac)
                || frame.source.is_multicast()
                || frame.payload.len() > MAX_MULTICAST_PAYLOAD;
            if impossible {
                self.deliver(link, incoming.ecn, frame, false);
                return Handled::Trust;
            }
            if packet.replicate && am_replicator {
                let source = Some(frame.source);
                let multicast = Multicast { group: packet.group, frame, source, origin: Some(from) };
                multicast.send(self, link, directory, now);
            }
            if frame.source != derived {
                if !may_bridge {
                    self.deliver(link, incoming.ecn, frame, false);
                    return Handled::Trust;
                }
                self.bridges.learn(now, frame.source, from);
            }
            let accepted = self.filter_in(link, now, from, frame) != Accept::Drop;
            self.deliver(link, incoming.ecn, frame, accepted);
        }
        if let Some(limit) = packet.gather_limit.filter(|l| *l > 0) {
            directory.tell_more(self, link, now, incoming, packet.group, limit as usize);
        }
        Handled::Trust
    }

    /// Whether a frame that came from `from` may enter.
    fn filter_in(&mut self, link: &mut Link, now: Time, from: Address, frame: Ethernet<'_>) -> Accept {
        let verdict = self.policy.verdict(link, now, Direction::Inbound, from, frame, false);
        let Some((verdict, _)) = verdict else { return Accept::Drop };
        self.carry_out(link, now, &verdict, frame, Direction::Inbound)
    }

    /// Whether an accepted frame's addresses are possible for its sender and for us.
    fn is_possible(&mut self, us: Address, now: Time, from: Address, frame: &Ethernet<'_>) -> bool {
        let Some(config) = self.policy.config() else { return false };
        if frame.source != Mac::for_member(self.id, from) {
            let bridges = config.is_active_bridge(from);
            if bridges {
                self.bridges.learn(now, frame.source, from);
            }
            return bridges;
        }
        match frame.dest {
            dest if dest == self.mac => true,
            dest if dest.is_multicast() => config.multicast_limit != 0,
            _ => config.is_active_bridge(us),
        }
    }

    /// Writes an accepted frame into the port and counts it either way. Payloads larger than the network's MTU do not fit. What
    /// the underlay says about congestion goes on to the frame, or drops it if it cannot tell.
    fn deliver(&mut self, link: &mut Link, ecn_bits: u8, frame: Ethernet<'_>, accepted: bool) {
        let mtu = self.policy.config().map_or(0, |config| usize::from(config.mtu));
        let arrival = ecn::arrival(ecn_bits, frame.ethertype, frame.payload);
        if !accepted || frame.payload.len() > mtu || arrival == Arrival::Drop {
            self.frames.in_dropped += 1;
            return;
        }
        self.frames.in_accepted += 1;
        let Ethernet { dest, source, ethertype, mut payload } = frame;
        let mut marked = Vec::new();
        if let Arrival::Set(bits) = arrival {
            marked.extend_from_slice(payload);
            ecn::set(ethertype, &mut marked, bits);
            payload = &marked;
        }
        link.outbox.deliver(self.id, self.takes, (dest.0, source.0), ethertype, payload);
    }

    /// Tells a sender that we need its certificate, once; the packet waits for it.
    pub(super) fn refuse(&self, link: &mut Link, now: Time, incoming: &Incoming<'_>, verb: Verb) -> Handled {
        if !incoming.waited {
            link.answer_error(now, incoming, verb, error_code::NEED_MEMBERSHIP_CERTIFICATE, self.id);
        }
        Handled::Wait
    }
}
