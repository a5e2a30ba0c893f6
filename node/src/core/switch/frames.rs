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

use super::directory::Directory;
use super::filter::Ethernet;
use super::multicast::Multicast;
use super::{Network, Switch};
use crate::dataplane::ecn::{self, Arrival};
use crate::dataplane::sending::Parts;
use crate::link::Link;
use crate::link::{Handled, Incoming};

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

impl Network {
    /// Takes in one Ethernet frame from the port of a network.
    pub(in super::super) fn frame(
        &mut self,
        link: &mut Link,
        directory: &mut Directory,
        now: i64,
        bytes: &[u8],
    ) {
        let Some(config) = self.config.as_deref() else { return };
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
        let ours = self.mac;
        let bridged = frame.source != ours;
        let allowed = !bridged || config.is_active_bridge(link.address());
        let sent = if !allowed {
            false
        } else if frame.dest.is_multicast() {
            self.multicast_from_port(link, directory, now, frame, bridged)
        } else if frame.dest == ours {
            link.outbox.frames.push(self.id, frame.dest.0, frame.source.0, frame.ethertype, frame.payload);
            true
        } else if let Some(member) = frame.dest.member(self.id) {
            self.unicast_from_port(link, now, member, frame, bridged)
        } else {
            self.bridged_from_port(link, now, frame)
        };
        *(if sent { &mut self.frames.out_accepted } else { &mut self.frames.out_dropped }) += 1;
    }

    fn multicast_from_port(
        &mut self,
        link: &mut Link,
        directory: &mut Directory,
        now: i64,
        frame: Ethernet<'_>,
        bridged: bool,
    ) -> bool {
        let Some(config) = self.config.clone() else { return false };
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
            link.outbox.frames.push(self.id, frame.source.0, answer.source.0, ETHERTYPE_IPV6, &answer.packet);
            return true;
        }
        if config.multicast_limit == 0 {
            return false;
        }
        if bridged && self.bridges.use_group(now, group) {
            self.announce_new(link, now, &[group]);
        }
        if !self.filter_out(link, now, Address::NULL, frame, false) {
            return false;
        }
        let source = bridged.then_some(frame.source);
        self.send_multicast(link, directory, now, Multicast { group, frame, source, origin: None });
        true
    }

    fn unicast_from_port(
        &mut self,
        link: &mut Link,
        now: i64,
        to: Address,
        frame: Ethernet<'_>,
        bridged: bool,
    ) -> bool {
        if !self.filter_out(link, now, to, frame, false) {
            return false;
        }
        self.push_credentials_if_due(link, now, to);
        if bridged {
            self.send_ext_frame(link, now, to, frame);
        } else {
            self.send_frames(link, now, to, frame.ethertype, &Parts::One(frame.payload));
        }
        true
    }

    fn bridged_from_port(&mut self, link: &mut Link, now: i64, frame: Ethernet<'_>) -> bool {
        if !self.filter_out(link, now, Address::NULL, frame, false) {
            return false;
        }
        let bridges = self.choose_bridges(link, frame.dest);
        for bridge in &bridges {
            if self.filter_out(link, now, *bridge, frame, true) {
                self.send_ext_frame(link, now, *bridge, frame);
            }
        }
        !bridges.is_empty()
    }

    /// Whom a frame for a foreign MAC address goes to: the bridge it was seen behind, else all of them, else a random lot.
    fn choose_bridges(&mut self, link: &mut Link, mac: Mac) -> Vec<Address> {
        let us = link.address();
        let Some(config) = self.config.as_deref() else { return Vec::new() };
        if let Some(bridge) = self.bridges.route(mac)
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

    fn send_ext_frame(&mut self, link: &mut Link, now: i64, to: Address, frame: Ethernet<'_>) {
        let packet = self.ext_frame(link, to, frame, 0);
        link.send(now, packet);
    }

    /// An EXT_FRAME with these flags.
    pub(super) fn ext_frame(&self, link: &mut Link, to: Address, frame: Ethernet<'_>, flags: u8) -> Vec<u8> {
        let mut packet = link.begin(to, Verb::ExtFrame);
        ExtFrame {
            network: self.id,
            flags,
            com: None,
            dest: frame.dest,
            source: frame.source,
            ethertype: frame.ethertype,
            payload: frame.payload,
        }
        .write(&mut packet);
        packet
    }

    /// Whether an accepted frame's addresses are possible for its sender and for us. `None` means that it is not: the frame is
    /// dropped and not even acknowledged.
    fn place(&mut self, link: &mut Link, now: i64, from: Address, frame: &Ethernet<'_>) -> Option<bool> {
        let us = link.address();
        let config = self.config.as_deref()?;
        if frame.source != Mac::for_member(self.id, from) {
            if !config.is_active_bridge(from) {
                return None;
            }
            self.bridges.learn(now, frame.source, from);
            return Some(true);
        }
        if frame.dest == self.mac {
            return Some(true);
        }
        let wanted =
            if frame.dest.is_multicast() { config.multicast_limit != 0 } else { config.is_active_bridge(us) };
        wanted.then_some(true)
    }

    /// Writes an accepted frame into the port and counts it either way. Payloads larger than the network's MTU do not fit. What
    /// the underlay says about congestion goes on to the frame, or drops it if it cannot tell.
    pub(super) fn deliver(&mut self, link: &mut Link, ecn_bits: u8, frame: Ethernet<'_>, accepted: bool) {
        let mtu = self.config.as_ref().map_or(0, |c| usize::from(c.mtu));
        let arrival = ecn::arrival(ecn_bits, frame.ethertype, frame.payload);
        if accepted && frame.payload.len() <= mtu && arrival != Arrival::Drop {
            self.frames.in_accepted += 1;
            let Ethernet { dest, source, ethertype, mut payload } = frame;
            let mut marked = Vec::new();
            if let Arrival::Set(bits) = arrival {
                marked.extend_from_slice(payload);
                ecn::set(ethertype, &mut marked, bits);
                payload = &marked;
            }
            let (takes, addresses) = (self.takes, (dest.0, source.0));
            match &mut link.outbox.staging {
                Some(staging) => staging.deliver(self.id, takes, addresses, ethertype, payload),
                None => link.outbox.frames.push_joining(self.id, takes, dest.0, source.0, ethertype, payload),
            }
        } else {
            self.frames.in_dropped += 1;
        }
    }
}

impl Switch {
    /// FRAME: addresses are implied by who sent it to whom.
    pub(in super::super) fn receive_frame(
        &mut self,
        link: &mut Link,
        now: i64,
        incoming: &Incoming<'_>,
    ) -> Result<Handled> {
        let packet = Frame::parse(incoming.payload)?;
        let Some(network) = self.networks.get_mut(&packet.network) else { return Ok(Handled::Credit) };
        if !network.gate(link, now, incoming.source) {
            return Ok(refuse(link, now, incoming, Verb::Frame, packet.network));
        }
        if !packet.payload.is_empty() {
            let frame = Ethernet {
                dest: network.mac,
                source: Mac::for_member(packet.network, incoming.source),
                ethertype: packet.ethertype,
                payload: packet.payload,
            };
            let accepted = network.filter_in(link, now, incoming.source, frame) != Accept::Drop;
            network.deliver(link, incoming.ecn, frame, accepted);
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
        let (id, from) = (packet.network, incoming.source);
        if let Some(com) = &packet.com
            && self.networks.contains_key(&id)
        {
            self.offer_com(link, now, incoming, id, com.clone());
        }
        let Some(network) = self.networks.get_mut(&id) else { return Ok(Handled::Credit) };
        if !network.gate(link, now, from) {
            return Ok(refuse(link, now, incoming, Verb::ExtFrame, id));
        }
        let frame = Ethernet {
            dest: packet.dest,
            source: packet.source,
            ethertype: packet.ethertype,
            payload: packet.payload,
        };
        if !frame.payload.is_empty() {
            if frame.source == Mac([0; 6]) || frame.source == network.mac {
                return Ok(Handled::Trust);
            }
            let accepted = match network.filter_in(link, now, from, frame) {
                Accept::Drop => false,
                Accept::SuperAccept => true,
                Accept::Accept => match network.place(link, now, from, &frame) {
                    Some(accepted) => accepted,
                    None => {
                        network.deliver(link, incoming.ecn, frame, false);
                        return Ok(Handled::Trust);
                    }
                },
            };
            network.deliver(link, incoming.ecn, frame, accepted);
        }
        if packet.wants_acknowledgement() {
            let mut answer = link.begin_ok(incoming, Verb::ExtFrame);
            answer.extend_from_slice(&id.0.to_be_bytes());
            link.reply(now, incoming.via, answer);
        }
        Ok(Handled::Trust)
    }
}

/// Tells a sender that we need its certificate, once; the packet waits for it.
pub(super) fn refuse(
    link: &mut Link,
    now: i64,
    incoming: &Incoming<'_>,
    verb: Verb,
    network: NetworkId,
) -> Handled {
    if !incoming.waited {
        link.answer_error(now, incoming, verb, error_code::NEED_MEMBERSHIP_CERTIFICATE, network);
    }
    Handled::Wait
}
