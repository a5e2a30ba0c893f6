//! Frames for one member, many at once: what the kernel hands over as one super-frame is judged and routed once, and each frame
//! it becomes is written where its datagrams leave from.

use protocol::packet;
use protocol::verb::Verb;
use protocol::verbs::Frame;
use protocol::{Address, Mac, NetworkId};

use super::filter::Ethernet;
use super::frames::ETHERNET_HEADER;
use super::{Network, Switch};
use crate::dataplane::ecn;
use crate::dataplane::segment::{Cut, complete};
use crate::dataplane::sending::{HEAD, Orders, Parts};
use crate::dataplane::vnet::{Gso, Offload};
use crate::link::Link;

impl Network {
    /// Sends all frames of a super-frame if they can be treated alike: from us to another member, with one verdict for all.
    /// False, and nothing has happened, if not.
    fn burst_from_port(&mut self, link: &mut Link, now: i64, bytes: &[u8], cut: &Cut<'_>) -> bool {
        let Some(config) = self.config.as_deref() else { return false };
        let Some((header, payload)) = bytes.split_first_chunk::<ETHERNET_HEADER>() else { return false };
        let mtu = usize::from(config.mtu);
        let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, e0, e1] = *header;
        let frame = Ethernet {
            dest: Mac([d0, d1, d2, d3, d4, d5]),
            source: Mac([s0, s1, s2, s3, s4, s5]),
            ethertype: u16::from_be_bytes([e0, e1]),
            payload: &payload[..payload.len().min(mtu)],
        };
        let ours = self.mac;
        if frame.source != ours || frame.dest == ours || frame.dest.is_multicast() || cut.longest() > mtu {
            return false;
        }
        let Some(to) = frame.dest.member(self.id) else { return false };
        let frames = cut.count() as u64;
        let Some(accepted) = self.filter_burst_out(link, to, frame, frames) else { return false };
        let counters = &mut self.frames;
        *(if accepted { &mut counters.out_accepted } else { &mut counters.out_dropped }) += frames;
        if accepted {
            self.push_credentials_if_due(link, now, to);
            self.send_frames(link, now, to, frame.ethertype, &Parts::Cut(cut));
        }
        true
    }

    /// Sends FRAMEs that have passed the rules to a member, by the best path there is; without one they wait.
    pub(super) fn send_frames(
        &mut self,
        link: &mut Link,
        now: i64,
        to: Address,
        ethertype: u16,
        parts: &Parts<'_>,
    ) {
        let us = link.address();
        let key = if to == us { None } else { link.route(now, to) };
        let length = HEAD + parts.longest();
        let mtu = key.map_or(0, |key| link.datagram_size(now, to, &key, length));
        let (Some(key), Some(peer)) = (key, link.topology.peers.get_mut(&to)) else {
            for index in 0..parts.count() {
                let mut packet = link.begin(to, Verb::Frame);
                Frame { network: self.id, ethertype, payload: &[] }.write(&mut packet);
                parts.write(index, &mut packet);
                link.send(now, packet);
            }
            return;
        };
        let ip = key.remote.ip();
        let mut head = std::mem::take(&mut link.scratch);
        head.clear();
        packet::start(&mut head, 0, to, us, Verb::Frame);
        Frame { network: self.id, ethertype, payload: &[] }.write(&mut head);
        let ecn = match parts.ecn(ethertype) {
            ecn::NOT_CAPABLE => ecn::NOT_CAPABLE,
            bits if link.path_mtus.takes_ecn(to, &key) => bits,
            _ => ecn::NOT_CAPABLE,
        };
        let orders = Orders {
            head: *head.first_chunk().expect("invariant: a FRAME begins with HEAD octets"),
            keys: &peer.keys,
            suite: peer.suite(link.settings.cipher),
            trusted: link.settings.trusted_path(ip),
            socket: key.socket,
            remote: key.remote,
            mtu,
            ecn,
        };
        link.scratch = head;
        let first = if orders.are_numbered() { peer.sent.take(parts.count()) } else { 0 };
        let amount = match &mut link.outbox.staging {
            Some(staging) => staging.send(ethertype, &orders, first, parts),
            None => orders.carry_out(parts, first, &mut link.rng, &mut link.outbox.datagrams),
        };
        peer.packets.sent += amount.packets;
        link.counters.dropped += amount.too_long;
        link.counters.bytes_out += amount.octets;
        link.counters.packets_out[Verb::Frame as usize] += amount.packets;
        if amount.packets > 0 {
            link.topology.paths.sent(&key, now);
        }
    }
}

impl Switch {
    /// Takes in one Ethernet frame from the port of a network with what the kernel left undone about it: a checksum to be
    /// completed, or several frames' worth of data to be cut. A frame that is not what `offload` says is dropped.
    pub(in super::super) fn port_frame(
        &mut self,
        link: &mut Link,
        now: i64,
        id: NetworkId,
        offload: &Offload,
        bytes: &mut [u8],
    ) {
        let Some(network) = self.networks.get_mut(&id) else { return };
        if offload.gso == Gso::None {
            match complete(offload.checksum, bytes) {
                Ok(()) => network.frame(link, &mut self.directory, now, bytes),
                Err(_) => network.frames.out_dropped += 1,
            }
            return;
        }
        let Ok(cut) = Cut::new(offload, bytes) else {
            network.frames.out_dropped += 1;
            return;
        };
        if network.burst_from_port(link, now, bytes, &cut) {
            return;
        }
        for index in 0..cut.count() {
            self.segment.clear();
            self.segment.extend_from_slice(&bytes[..ETHERNET_HEADER]);
            cut.write(index, &mut self.segment);
            network.frame(link, &mut self.directory, now, &self.segment);
        }
    }
}
