//! FRAMEs on their way out: the one place where a frame's peer, path and datagram size are looked up, once for all that leave
//! together.
//!
//! Specification: VL2 frames, "FRAME"; VL1 behaviour, "path state and selection".

use protocol::packet::{self, DEFAULT_MTU};
use protocol::verb::Verb;
use protocol::verbs::Frame;
use protocol::{Address, NetworkId};

use super::Link;
use crate::dataplane::ecn;
use crate::dataplane::sending::{HEAD, Orders, Parts};
use crate::link::path_mtu::FLOOR;

impl Link {
    /// Sends FRAMEs of a network to a member, by the best path there is; without one they wait.
    pub(crate) fn send_frames(
        &mut self,
        now: i64,
        to: Address,
        network: NetworkId,
        ethertype: u16,
        parts: &Parts<'_>,
    ) {
        let us = self.address();
        let direct = |link: &mut Self| {
            let peer = link.topology.peers.get_mut(&to)?;
            peer.take_live_path(now, &mut link.topology.paths)
        };
        let (key, is_direct) = match direct(self) {
            Some(key) => (key, true),
            None => match self.route(now, to).filter(|_| to != us) {
                Some(key) => (key, false),
                None => return self.let_frames_wait(now, to, network, ethertype, parts),
            },
        };
        let Some(peer) = self.topology.peers.get_mut(&to) else { return };
        let physical = self.settings.physical(key.remote.ip());
        let bits = parts.ecn(ethertype);
        let length = HEAD + parts.longest();
        // On the way over somebody else nobody knows what comes after him.
        let belongs = is_direct || peer.paths.iter().any(|known| known.key == key);
        let configured = physical.and_then(|physical| physical.datagram_size());
        let is_measured = configured.is_none() && length > FLOOR && belongs && peer.version.answers_echo();
        let (measured, takes_ecn) = if is_measured {
            self.path_mtus.in_use(now, to, &key)
        } else {
            (DEFAULT_MTU, bits != ecn::NOT_CAPABLE && self.path_mtus.takes_ecn(to, &key))
        };
        let mtu = match configured {
            Some(size) => size,
            // A packet has so many fragments at most; rather let IP cut them once more.
            None if length > packet::max_packet(measured) => measured.max(DEFAULT_MTU),
            None => measured,
        };
        let mut head = [0; HEAD];
        head[..packet::HEADER_LEN].copy_from_slice(&packet::header(0, to, us, Verb::Frame));
        head[packet::HEADER_LEN..].copy_from_slice(&Frame::head(network, ethertype));
        let orders = Orders {
            head,
            keys: &peer.keys,
            suite: peer.suite(self.settings.cipher),
            trusted: physical.and_then(|physical| physical.trusted_path()),
            socket: key.socket,
            remote: key.remote,
            mtu,
            ecn: if takes_ecn { bits } else { ecn::NOT_CAPABLE },
        };
        let first = if orders.are_numbered() { peer.sent.take(parts.count()) } else { 0 };
        let amount = match &mut self.outbox.staging {
            Some(staging) => staging.send(ethertype, &orders, first, parts),
            None => orders.carry_out(parts, first, &mut self.rng, &mut self.outbox.datagrams),
        };
        peer.packets.sent += amount.packets;
        self.counters.dropped += amount.too_long;
        self.counters.bytes_out += amount.octets;
        self.counters.packets_out[Verb::Frame as usize] += amount.packets;
        if amount.packets > 0 && !is_direct {
            self.topology.paths.sent(&key, now);
        }
    }

    /// Frames for a member that cannot be reached yet.
    fn let_frames_wait(
        &mut self,
        now: i64,
        to: Address,
        network: NetworkId,
        ethertype: u16,
        parts: &Parts<'_>,
    ) {
        for index in 0..parts.count() {
            let mut packet = self.begin(to, Verb::Frame);
            Frame { network, ethertype, payload: &[] }.write(&mut packet);
            parts.write(index, &mut packet);
            self.send(now, packet);
        }
    }
}
