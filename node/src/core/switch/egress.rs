//! Frames on their way out: from the port, past the rules, to members. What the kernel hands over as one super-frame is judged and
//! routed once, and each frame it becomes is written where its datagrams leave from.
//!
//! Specification: VL2 frames, "frame entering from the TAP"; VL2 rules, "copies on the wire".

use flowrules::evaluate::{Accept, Direction, Verdict};
use protocol::multicast_group::MulticastGroup;
use protocol::verb::Verb;
use protocol::verbs::{ExtFrame, ext_frame};
use protocol::{Address, Mac, Time, ndp, packet};
use rand::seq::IndexedRandom;

use super::directory::Directory;
use super::ethernet::{Ethernet, HEADER, IPV6};
use super::multicast::Multicast;
use super::network::Network;
use crate::dataplane::segment::{Cut, complete};
use crate::dataplane::sending::Parts;
use crate::dataplane::vnet::{Gso, Offload};
use crate::link::Link;

/// Active bridges a frame for an unknown address goes to at most.
const MAX_FLOODED_BRIDGES: usize = 32;

impl Network {
    /// Takes in what the port gave: one frame, or several in one, with what the kernel left undone about it. What is not what
    /// `offload` says is dropped. `segment` is room for one frame.
    pub(super) fn port_frame(
        &mut self,
        link: &mut Link,
        directory: &mut Directory,
        segment: &mut Vec<u8>,
        now: Time,
        offload: &Offload,
        octets: &mut [u8],
    ) {
        if offload.gso == Gso::None {
            match complete(offload.checksum, octets) {
                Ok(()) => self.frame(link, directory, now, octets),
                Err(_) => self.frames.out_dropped += 1,
            }
            return;
        }
        let Ok(cut) = Cut::new(offload, octets) else {
            self.frames.out_dropped += 1;
            return;
        };
        if self.burst(link, now, octets, &cut) {
            return;
        }
        for index in 0..cut.count() {
            segment.clear();
            segment.extend_from_slice(&octets[..HEADER]);
            cut.write(index, segment);
            self.frame(link, directory, now, segment);
        }
    }

    /// Sends all frames of a super-frame if they can be treated alike: from us to another member, with one verdict for all.
    /// False, and nothing has happened, if not.
    fn burst(&mut self, link: &mut Link, now: Time, octets: &[u8], cut: &Cut<'_>) -> bool {
        let Some(config) = self.policy.config() else { return false };
        let Some(frame) = Ethernet::parse(octets, config.mtu) else { return false };
        let ours = self.mac;
        let simple = frame.source == ours && frame.dest != ours && !frame.dest.is_multicast();
        if !simple || cut.longest() > usize::from(config.mtu) {
            return false;
        }
        let Some(to) = frame.dest.member(self.id) else { return false };
        let frames = cut.count() as u64;
        let verdict = self.policy.verdict_for_all(link, now, to, frame, frames);
        let Some((accepted, has_ours)) = verdict else { return false };
        if !accepted {
            self.frames.out_dropped += frames;
            return true;
        }
        self.frames.out_accepted += frames;
        if !has_ours {
            self.policy.push_if_due(link, now, to);
        }
        link.send_frames(now, to, self.id, frame.ethertype, &Parts::Cut(cut));
        true
    }

    /// Takes in one Ethernet frame from the port.
    pub(in super::super) fn frame(
        &mut self,
        link: &mut Link,
        directory: &mut Directory,
        now: Time,
        octets: &[u8],
    ) {
        let Some(config) = self.policy.config() else { return };
        let Some(frame) = Ethernet::parse(octets, config.mtu) else { return };
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
        now: Time,
        frame: Ethernet<'_>,
        bridged: bool,
    ) -> bool {
        let Some(config) = self.config() else { return false };
        let mut group = MulticastGroup { mac: frame.dest, adi: 0 };
        if frame.dest.is_broadcast() {
            match frame.arp_request_target() {
                Some(target) => group.adi = target,
                None if !config.broadcast() => return false,
                None => {}
            }
        } else if frame.ethertype == IPV6
            && let Some(answer) = ndp::emulate(config, link.address(), frame.payload)
        {
            link.outbox.frames.push(self.id, frame.source.0, answer.source.0, IPV6, &answer.packet);
            return true;
        }
        if config.multicast_limit == 0 {
            return false;
        }
        if bridged && self.groups.use_bridged(now, group) {
            self.groups.announce_new(&mut self.policy, link, now, &[group]);
        }
        if !self.filter_out(link, now, Address::NULL, frame, false) {
            return false;
        }
        let source = bridged.then_some(frame.source);
        Multicast { group, frame, source, origin: None }.send(self, link, directory, now);
        true
    }

    fn unicast_from_port(
        &mut self,
        link: &mut Link,
        now: Time,
        to: Address,
        frame: Ethernet<'_>,
        bridged: bool,
    ) -> bool {
        let verdict = self.policy.verdict(link, now, Direction::Outbound, to, frame, false);
        let Some((verdict, has_ours)) = verdict else { return false };
        if self.carry_out(link, now, &verdict, frame, Direction::Outbound) == Accept::Drop {
            return false;
        }
        if !has_ours {
            self.policy.push_if_due(link, now, to);
        }
        if bridged {
            self.send_ext_frame(link, now, to, frame);
        } else {
            link.send_frames(now, to, self.id, frame.ethertype, &Parts::One(frame.payload));
        }
        true
    }

    fn bridged_from_port(&mut self, link: &mut Link, now: Time, frame: Ethernet<'_>) -> bool {
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
        let Some(config) = self.policy.config() else { return Vec::new() };
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

    fn send_ext_frame(&mut self, link: &mut Link, now: Time, to: Address, frame: Ethernet<'_>) {
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

    /// Whether a frame may leave towards `to` (null while unknown). Sends the copies and redirections the rules ask for.
    pub(super) fn filter_out(
        &mut self,
        link: &mut Link,
        now: Time,
        to: Address,
        frame: Ethernet<'_>,
        no_tee: bool,
    ) -> bool {
        let verdict = self.policy.verdict(link, now, Direction::Outbound, to, frame, no_tee);
        let Some((verdict, _)) = verdict else { return false };
        self.carry_out(link, now, &verdict, frame, Direction::Outbound) != Accept::Drop
    }

    /// Sends the copies that a verdict asks for, and redirects the frame if it says so. What is to become of the frame itself.
    #[inline]
    pub(super) fn carry_out(
        &mut self,
        link: &mut Link,
        now: Time,
        verdict: &Verdict,
        frame: Ethernet<'_>,
        direction: Direction,
    ) -> Accept {
        if verdict.redirect.is_none() && verdict.copies.iter().next().is_none() {
            return verdict.accept;
        }
        self.copy_and_redirect(link, now, verdict, frame, direction)
    }

    fn copy_and_redirect(
        &mut self,
        link: &mut Link,
        now: Time,
        verdict: &Verdict,
        frame: Ethernet<'_>,
        direction: Direction,
    ) -> Accept {
        let (watch, tee, redirect) = match direction {
            Direction::Outbound => {
                (ext_frame::WATCH_OUTBOUND, ext_frame::TEE_OUTBOUND, ext_frame::REDIRECT_OUTBOUND)
            }
            Direction::Inbound => {
                (ext_frame::WATCH_INBOUND, ext_frame::TEE_INBOUND, ext_frame::REDIRECT_INBOUND)
            }
        };
        for copy in verdict.copies.iter() {
            let payload = &frame.payload[..copy.length.min(frame.payload.len())];
            let copied = Ethernet { payload, ..frame };
            let to = Address::from_u64(copy.target);
            if !to.is_reserved() && link.has_room_for_copy(now, to) {
                let packet = self.copy_packet(link, now, to, copied, if copy.watch { watch } else { tee });
                link.send_copy(now, packet);
            }
        }
        if let Some(target) = verdict.redirect {
            // Not a copy but the frame itself: it takes the way of any other.
            let packet = self.copy_packet(link, now, Address::from_u64(target), frame, redirect);
            link.send(now, packet);
            return Accept::Drop;
        }
        verdict.accept
    }

    /// An EXT_FRAME for the target of an action. The target judges us by our certificate, so it gets that first.
    fn copy_packet(
        &mut self,
        link: &mut Link,
        now: Time,
        to: Address,
        frame: Ethernet<'_>,
        flags: u8,
    ) -> Vec<u8> {
        if link.topology.peers.contains_key(&to) {
            self.policy.push_if_due(link, now, to);
        }
        let mut packet = self.ext_frame(link, to, frame, flags);
        packet::compress(&mut packet, 0);
        packet
    }
}
