//! Frames for one member, many at once: what the kernel hands over as one super-frame is judged and routed once, and each frame
//! it becomes is written where its datagrams leave from.

use protocol::packet::{self, HEADER_LEN};
use protocol::verb::Verb;
use protocol::verbs::{Frame, frame};
use protocol::{Address, Mac, NetworkId};
use rand::RngExt;

use super::super::Core;
use super::filter::Ethernet;
use super::frames::ETHERNET_HEADER;
use crate::dataplane::segment::{Cut, complete};
use crate::dataplane::vnet::{Gso, Offload};

/// Payloads (what stands behind the Ethernet header) of frames that differ in nothing else.
pub(super) enum Parts<'a> {
    One(&'a [u8]),
    Cut(&'a Cut<'a>),
}

impl Parts<'_> {
    fn count(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Cut(cut) => cut.count(),
        }
    }

    fn length(&self, index: usize) -> usize {
        match self {
            Self::One(payload) => payload.len(),
            Self::Cut(cut) => cut.length(index),
        }
    }

    fn write(&self, index: usize, to: &mut Vec<u8>) {
        match self {
            Self::One(payload) => to.extend_from_slice(payload),
            Self::Cut(cut) => cut.write(index, to),
        }
    }
}

impl Core {
    /// Takes in one Ethernet frame from the port of a network with what the kernel left undone about it: a checksum to be
    /// completed, or several frames' worth of data to be cut. A frame that is not what `offload` says is dropped.
    pub fn port_frame(&mut self, now: i64, id: NetworkId, offload: &Offload, bytes: &mut [u8]) {
        if offload.gso == Gso::None {
            match complete(offload.checksum, bytes) {
                Ok(()) => self.frame(now, id, bytes),
                Err(_) => self.drop_from_port(id),
            }
            return;
        }
        let Ok(cut) = Cut::new(offload, bytes) else {
            self.drop_from_port(id);
            return;
        };
        if self.burst_from_port(now, id, bytes, &cut) {
            return;
        }
        let mut one = std::mem::take(&mut self.segment);
        for index in 0..cut.count() {
            one.clear();
            one.extend_from_slice(&bytes[..ETHERNET_HEADER]);
            cut.write(index, &mut one);
            self.frame(now, id, &one);
        }
        self.segment = one;
    }

    fn drop_from_port(&mut self, id: NetworkId) {
        if let Some(network) = self.networks.get_mut(&id) {
            network.frames.out_dropped += 1;
        }
    }

    /// Sends all frames of a super-frame if they can be treated alike: from us to another member, with one verdict for all.
    /// False, and nothing has happened, if not.
    fn burst_from_port(&mut self, now: i64, id: NetworkId, bytes: &[u8], cut: &Cut<'_>) -> bool {
        let Some(network) = self.networks.get(&id) else { return false };
        let Some(config) = network.config.as_deref() else { return false };
        let Some((header, payload)) = bytes.split_first_chunk::<ETHERNET_HEADER>() else { return false };
        let mtu = usize::from(config.mtu);
        let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, e0, e1] = *header;
        let frame = Ethernet {
            dest: Mac([d0, d1, d2, d3, d4, d5]),
            source: Mac([s0, s1, s2, s3, s4, s5]),
            ethertype: u16::from_be_bytes([e0, e1]),
            payload: &payload[..payload.len().min(mtu)],
        };
        let ours = network.mac;
        if frame.source != ours || frame.dest == ours || frame.dest.is_multicast() || cut.longest() > mtu {
            return false;
        }
        let Some(to) = frame.dest.member(id) else { return false };
        let frames = cut.count() as u64;
        let Some(accepted) = self.filter_burst_out(id, to, frame, frames) else { return false };
        if let Some(network) = self.networks.get_mut(&id) {
            let counters = &mut network.frames;
            *(if accepted { &mut counters.out_accepted } else { &mut counters.out_dropped }) += frames;
        }
        if accepted {
            self.push_credentials_if_due(now, id, to);
            self.send_frames(now, id, to, frame.ethertype, &Parts::Cut(cut));
        }
        true
    }

    /// Sends FRAMEs that have passed the rules to a member, by the best path there is; without one they wait.
    pub(super) fn send_frames(
        &mut self,
        now: i64,
        id: NetworkId,
        to: Address,
        ethertype: u16,
        parts: &Parts<'_>,
    ) {
        let us = self.address();
        let key = if to == us { None } else { self.route(now, to) };
        let (Some(key), Some(peer)) = (key, self.topology.peers.get(&to)) else {
            for index in 0..parts.count() {
                let mut packet = self.begin(to, Verb::Frame);
                Frame { network: id, ethertype, payload: &[] }.write(&mut packet);
                parts.write(index, &mut packet);
                self.send(now, packet);
            }
            return;
        };
        let ip = key.remote.ip();
        let mtu = self.settings.mtu(ip);
        let longest = packet::max_packet(mtu);
        let trusted = self.settings.trusted_path(ip);
        let suite = peer.suite(self.settings.cipher);
        let mut head = std::mem::take(&mut self.scratch);
        head.clear();
        packet::start(&mut head, 0, to, us, Verb::Frame);
        Frame { network: id, ethertype, payload: &[] }.write(&mut head);
        debug_assert_eq!(head.len(), HEADER_LEN + frame::OVERHEAD);
        let (mut octets, mut sent) = (0, 0);
        for index in 0..parts.count() {
            let length = head.len() + parts.length(index);
            if length > longest {
                self.counters.dropped += 1;
                continue;
            }
            let packet_id: u64 = self.rng.random();
            octets += self.outbox.datagrams.push_packet(key.socket, key.remote, mtu, |buffer, start| {
                buffer.extend_from_slice(&head);
                buffer[start..start + 8].copy_from_slice(&packet_id.to_be_bytes());
                parts.write(index, buffer);
                let packet = &mut buffer[start..];
                packet::set_fragmented(packet, length > mtu);
                match trusted {
                    Some(path) => packet::mark_trusted(packet, path),
                    None => peer.keys.armor(packet, suite),
                }
            });
            sent += 1;
        }
        self.scratch = head;
        self.counters.bytes_out += octets as u64;
        self.counters.packets_out[Verb::Frame as usize] += sent;
        if sent > 0 {
            self.topology.paths.sent(&key, now);
        }
    }
}
