//! Ethernet frames: from the port to peers, and from peers to the port.
//!
//! Specification: VL2 frames, "frame entering from the TAP" and "frame arriving from a peer".

use flowrules::evaluate::Accept;
use protocol::multicast_group::MulticastGroup;
use protocol::ndp;
use protocol::verb::Verb;
use protocol::verbs::{ExtFrame, Frame, error_code};
use protocol::{Address, Mac, NetworkId, Result};
use rand::seq::IndexedRandom;

use super::super::link::Link;
use super::super::link::{Handled, Incoming};
use super::Switch;
use super::filter::Ethernet;
use crate::dataplane::ecn::{self, Arrival};
use crate::dataplane::sending::Parts;

/// Bytes of an Ethernet header: destination, source, ethertype.
pub(super) const ETHERNET_HEADER: usize = 14;
const ETHERTYPE_ARP: u16 = 0x0806;
const ETHERTYPE_IPV6: u16 = 0x86dd;
/// Active bridges a frame for an unknown address goes to at most.
const MAX_FLOODED_BRIDGES: usize = 32;

/// The address an ARP request for IPv4 asks for.
fn arp_request_target(frame: &Ethernet<'_>) -> Option<u32> {
    let p = frame.payload;
    let is_request =
        frame.ethertype == ETHERTYPE_ARP && p.len() >= 28 && p[2..6] == [0x08, 0x00, 6, 4] && p[7] == 1;
    is_request.then(|| u32::from_be_bytes([p[24], p[25], p[26], p[27]]))
}

impl Switch {
    /// Takes in one Ethernet frame from the port of a network.
    pub(in super::super) fn frame(&mut self, link: &mut Link, now: i64, id: NetworkId, bytes: &[u8]) {
        let Some(network) = self.networks.get(&id) else { return };
        let Some(config) = network.config.clone() else { return };
        if bytes.len() < ETHERNET_HEADER {
            return;
        }
        let (header, payload) = bytes.split_at(ETHERNET_HEADER);
        let mac = |at: usize| {
            Mac([header[at], header[at + 1], header[at + 2], header[at + 3], header[at + 4], header[at + 5]])
        };
        let frame = Ethernet {
            dest: mac(0),
            source: mac(6),
            ethertype: u16::from_be_bytes([header[12], header[13]]),
            payload: &payload[..payload.len().min(usize::from(config.mtu))],
        };
        let ours = network.mac;
        let bridged = frame.source != ours;
        let sent = if bridged && !config.is_active_bridge(link.address()) {
            false
        } else if frame.dest.is_multicast() {
            self.multicast_from_port(link, now, id, frame, bridged)
        } else if frame.dest == ours {
            link.outbox.frames.push(id, frame.dest.0, frame.source.0, frame.ethertype, frame.payload);
            true
        } else if let Some(member) = frame.dest.member(id) {
            self.unicast_from_port(link, now, id, member, frame, bridged)
        } else {
            self.bridged_from_port(link, now, id, frame)
        };
        if let Some(network) = self.networks.get_mut(&id) {
            *(if sent { &mut network.frames.out_accepted } else { &mut network.frames.out_dropped }) += 1;
        }
    }

    fn multicast_from_port(
        &mut self,
        link: &mut Link,
        now: i64,
        id: NetworkId,
        frame: Ethernet<'_>,
        bridged: bool,
    ) -> bool {
        let Some(config) = self.networks.get(&id).and_then(|n| n.config.clone()) else { return false };
        let mut group = MulticastGroup { mac: frame.dest, adi: 0 };
        if frame.dest.is_broadcast() {
            match arp_request_target(&frame) {
                Some(target) => group.adi = target,
                None if !config.broadcast() => return false,
                None => {}
            }
        } else if frame.ethertype == ETHERTYPE_IPV6
            && let Some(answer) = ndp::emulate(&config, link.address(), frame.payload)
        {
            link.outbox.frames.push(id, frame.source.0, answer.source.0, ETHERTYPE_IPV6, &answer.packet);
            return true;
        }
        if config.multicast_limit == 0 {
            return false;
        }
        if bridged && self.networks.get_mut(&id).is_some_and(|n| n.bridges.use_group(now, group)) {
            self.announce_new(link, now, id, &[group]);
        }
        if !self.filter_out(link, now, id, Address::NULL, frame, false) {
            return false;
        }
        self.send_multicast(link, now, id, group, frame, bridged.then_some(frame.source), None);
        true
    }

    fn unicast_from_port(
        &mut self,
        link: &mut Link,
        now: i64,
        id: NetworkId,
        to: Address,
        frame: Ethernet<'_>,
        bridged: bool,
    ) -> bool {
        if !self.filter_out(link, now, id, to, frame, false) {
            return false;
        }
        self.push_credentials_if_due(link, now, id, to);
        if bridged {
            self.send_ext_frame(link, now, id, to, frame);
        } else {
            self.send_frames(link, now, id, to, frame.ethertype, &Parts::One(frame.payload));
        }
        true
    }

    fn bridged_from_port(&mut self, link: &mut Link, now: i64, id: NetworkId, frame: Ethernet<'_>) -> bool {
        if !self.filter_out(link, now, id, Address::NULL, frame, false) {
            return false;
        }
        let bridges = self.choose_bridges(link, id, frame.dest);
        for bridge in &bridges {
            if self.filter_out(link, now, id, *bridge, frame, true) {
                self.send_ext_frame(link, now, id, *bridge, frame);
            }
        }
        !bridges.is_empty()
    }

    /// Whom a frame for a foreign MAC address goes to: the bridge it was seen behind, else all of them, else a random lot.
    fn choose_bridges(&mut self, link: &mut Link, id: NetworkId, mac: Mac) -> Vec<Address> {
        let us = link.address();
        let Some(network) = self.networks.get(&id) else { return Vec::new() };
        let Some(config) = network.config.as_deref() else { return Vec::new() };
        if let Some(bridge) = network.bridges.route(mac)
            && bridge != us
            && config.is_active_bridge(bridge)
        {
            return vec![bridge];
        }
        let bridges: Vec<Address> = config.active_bridges().filter(|b| *b != us).collect();
        if bridges.len() <= MAX_FLOODED_BRIDGES {
            return bridges;
        }
        bridges.sample(&mut link.rng, MAX_FLOODED_BRIDGES).copied().collect()
    }

    fn send_ext_frame(&mut self, link: &mut Link, now: i64, id: NetworkId, to: Address, frame: Ethernet<'_>) {
        let mut packet = link.begin(to, Verb::ExtFrame);
        ExtFrame {
            network: id,
            flags: 0,
            com: None,
            dest: frame.dest,
            source: frame.source,
            ethertype: frame.ethertype,
            payload: frame.payload,
        }
        .write(&mut packet);
        link.send(now, packet);
    }

    /// FRAME: addresses are implied by who sent it to whom.
    pub(in super::super) fn receive_frame(
        &mut self,
        link: &mut Link,
        now: i64,
        incoming: &Incoming<'_>,
    ) -> Result<Handled> {
        let packet = Frame::parse(incoming.payload)?;
        let id = packet.network;
        let Some(ours) = self.networks.get(&id).map(|n| n.mac) else { return Ok(Handled::Credit) };
        if !self.gate(link, now, id, incoming.source) {
            return Ok(self.refuse(link, now, incoming, Verb::Frame, id));
        }
        if !packet.payload.is_empty() {
            let frame = Ethernet {
                dest: ours,
                source: Mac::for_member(id, incoming.source),
                ethertype: packet.ethertype,
                payload: packet.payload,
            };
            let accepted = self.filter_in(link, now, id, incoming.source, frame) != Accept::Drop;
            self.deliver(link, id, incoming.ecn, frame, accepted);
        }
        Ok(Handled::Trust)
    }

    /// EXT_FRAME: a frame with explicit addresses, from a bridge or made by rules.
    pub(in super::super) fn receive_ext_frame(
        &mut self,
        link: &mut Link,
        now: i64,
        incoming: &Incoming<'_>,
    ) -> Result<Handled> {
        let packet = ExtFrame::parse(incoming.payload)?;
        let id = packet.network;
        let Some(ours) = self.networks.get(&id).map(|n| n.mac) else { return Ok(Handled::Credit) };
        if let Some(com) = &packet.com {
            self.offer_com(link, now, incoming, id, com.clone());
        }
        if !self.gate(link, now, id, incoming.source) {
            return Ok(self.refuse(link, now, incoming, Verb::ExtFrame, id));
        }
        let frame = Ethernet {
            dest: packet.dest,
            source: packet.source,
            ethertype: packet.ethertype,
            payload: packet.payload,
        };
        if !frame.payload.is_empty() {
            if frame.source == Mac([0; 6]) || frame.source == ours {
                return Ok(Handled::Trust);
            }
            let accepted = match self.filter_in(link, now, id, incoming.source, frame) {
                Accept::Drop => false,
                Accept::SuperAccept => true,
                Accept::Accept => match self.place(link, now, id, incoming.source, &frame) {
                    Some(accepted) => accepted,
                    None => {
                        self.deliver(link, id, incoming.ecn, frame, false);
                        return Ok(Handled::Trust);
                    }
                },
            };
            self.deliver(link, id, incoming.ecn, frame, accepted);
        }
        if packet.wants_acknowledgement() {
            let mut answer = link.begin_ok(incoming, Verb::ExtFrame);
            answer.extend_from_slice(&id.0.to_be_bytes());
            link.reply(now, incoming.via, answer);
        }
        Ok(Handled::Trust)
    }

    /// Whether an accepted frame's addresses are possible for its sender and for us. `None` means that it is not: the frame is
    /// dropped and not even acknowledged.
    fn place(
        &mut self,
        link: &mut Link,
        now: i64,
        id: NetworkId,
        from: Address,
        frame: &Ethernet<'_>,
    ) -> Option<bool> {
        let us = link.address();
        let network = self.networks.get_mut(&id)?;
        let config = network.config.as_deref()?;
        if frame.source != Mac::for_member(id, from) {
            if !config.is_active_bridge(from) {
                return None;
            }
            network.bridges.learn(now, frame.source, from);
            return Some(true);
        }
        if frame.dest == network.mac {
            return Some(true);
        }
        let wanted =
            if frame.dest.is_multicast() { config.multicast_limit != 0 } else { config.is_active_bridge(us) };
        wanted.then_some(true)
    }

    /// Writes an accepted frame into the port and counts it either way. Payloads larger than the network's MTU do not fit. What
    /// the underlay says about congestion goes on to the frame, or drops it if it cannot tell.
    pub(super) fn deliver(
        &mut self,
        link: &mut Link,
        id: NetworkId,
        ecn_bits: u8,
        frame: Ethernet<'_>,
        accepted: bool,
    ) {
        let Some(network) = self.networks.get_mut(&id) else { return };
        let mtu = network.config.as_ref().map_or(0, |c| usize::from(c.mtu));
        let arrival = ecn::arrival(ecn_bits, frame.ethertype, frame.payload);
        if accepted && frame.payload.len() <= mtu && arrival != Arrival::Drop {
            network.frames.in_accepted += 1;
            let Ethernet { dest, source, ethertype, mut payload } = frame;
            let mut marked = Vec::new();
            if let Arrival::Set(bits) = arrival {
                marked.extend_from_slice(payload);
                ecn::set(ethertype, &mut marked, bits);
                payload = &marked;
            }
            let (takes, addresses) = (network.takes, (dest.0, source.0));
            match &mut link.outbox.staging {
                Some(staging) => staging.deliver(id, takes, addresses, ethertype, payload),
                None => link.outbox.frames.push_joining(id, takes, dest.0, source.0, ethertype, payload),
            }
        } else {
            network.frames.in_dropped += 1;
        }
    }

    /// Tells a sender that we need its certificate, once; the packet waits for it.
    pub(super) fn refuse(
        &mut self,
        link: &mut Link,
        now: i64,
        incoming: &Incoming<'_>,
        verb: Verb,
        id: NetworkId,
    ) -> Handled {
        if !incoming.waited {
            link.answer_error(now, incoming, verb, error_code::NEED_MEMBERSHIP_CERTIFICATE, id);
        }
        Handled::Wait
    }
}
