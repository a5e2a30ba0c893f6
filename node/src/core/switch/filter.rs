//! The network's rules applied to one frame, and the copies they ask for.
//!
//! Specification: VL2 rules, "filtering a frame" and "copies on the wire".

use std::net::{IpAddr, Ipv6Addr};

use flowrules::evaluate::{Accept, Context, Credentials, Direction, Frame, Verdict};
use protocol::credential::membership::{Membership, Window};
use protocol::netconf::NetworkConfig;
use protocol::verbs::ext_frame;
use protocol::{Address, Mac, derive, packet};
use rand::RngExt;

use super::Network;
use crate::ground::event::{Event, RuleTrace, TRACE_HEAD};
use crate::link::Link;

/// An Ethernet frame with its addresses.
#[derive(Clone, Copy)]
pub(super) struct Ethernet<'a> {
    pub(super) dest: Mac,
    pub(super) source: Mac,
    pub(super) ethertype: u16,
    pub(super) payload: &'a [u8],
}

/// What the rules may ask about the two ends: our configuration and what we hold about the other.
struct Ends<'a> {
    config: &'a NetworkConfig,
    us: Address,
    them: Address,
    remote: Option<&'a Membership>,
}

impl Ends<'_> {
    fn window(&self) -> Window {
        self.config.window()
    }
}

impl Credentials for Ends<'_> {
    fn local_tag(&self, id: u32) -> Option<u32> {
        self.config.tag(id)
    }

    fn remote_tag(&self, id: u32) -> Option<u32> {
        self.remote?.tag(id, self.window())
    }

    fn local_owns_ip(&self, ip: IpAddr) -> bool {
        self.config.coos.iter().any(|c| c.owns_ip(ip))
    }

    fn remote_owns_ip(&self, ip: IpAddr) -> bool {
        self.remote.is_some_and(|r| r.owns_ip(ip, self.window()))
    }

    fn local_owns_mac(&self, mac: [u8; 6]) -> bool {
        self.config.coos.iter().any(|c| c.owns_mac(Mac(mac)))
    }

    fn remote_owns_mac(&self, mac: [u8; 6]) -> bool {
        self.remote.is_some_and(|r| r.owns_mac(Mac(mac), self.window()))
    }

    /// An address that neighbor discovery emulation answers for. Unlike the reference we want the sender's own address to be
    /// embedded in it: otherwise any member could speak for any other.
    fn emulated(&self, ip: Ipv6Addr) -> bool {
        if !self.config.ndp_emulation() {
            return false;
        }
        let ours = |address: Ipv6Addr| self.config.addresses.iter().any(|a| a.ip == IpAddr::V6(address));
        let network = self.config.network;
        let (plane, theirs) = (derive::six_plane(network, self.us), derive::six_plane(network, self.them));
        (ours(plane) && ip.octets()[..10] == theirs.octets()[..10])
            || (ours(derive::rfc4193(network, self.us)) && ip == derive::rfc4193(network, self.them))
    }
}

impl Network {
    /// What the rules of a joined network say of a frame; nothing is counted.
    fn judge(
        &mut self,
        link: &mut Link,
        direction: Direction,
        them: Address,
        frame: Ethernet<'_>,
        no_tee: bool,
    ) -> Option<Verdict> {
        let us = link.address();
        let Self { config, members, rules, .. } = self;
        let config = config.as_deref()?;
        let remote = members.get(&them).map(|m| &m.record);
        let ends = Ends { config, us, them, remote };
        let (source, dest) = match direction {
            Direction::Inbound => (them, us),
            Direction::Outbound => (us, them),
        };
        let rng = &mut link.rng;
        let mut context = Context {
            direction,
            self_address: us.to_u64(),
            source: source.to_u64(),
            dest: dest.to_u64(),
            frame: Frame {
                source: frame.source.0,
                dest: frame.dest.0,
                ethertype: frame.ethertype,
                vlan: 0,
                payload: frame.payload,
            },
            match_unknown: config.match_unknown(),
            random: &mut || rng.random(),
            credentials: &ends,
        };
        let window = ends.window();
        Some(match direction {
            Direction::Outbound => {
                let mut capabilities = config.capabilities.iter().map(|c| (c.id, &c.rules[..]));
                rules.cache.filter(&config.rules, &mut capabilities, &mut context, no_tee)
            }
            Direction::Inbound => {
                let mut capabilities =
                    remote.into_iter().flat_map(|r| r.capabilities(window)).map(|c| (c.id, &c.rules[..]));
                rules.cache.filter(&config.rules, &mut capabilities, &mut context, no_tee)
            }
        })
    }

    /// The verdict over all `frames` frames that a super-frame for `to` becomes, if there is one for all of them and it asks for
    /// neither copies nor a redirection: whether they may leave. `None` means that each has to be looked at.
    pub(super) fn filter_burst_out(
        &mut self,
        link: &mut Link,
        to: Address,
        frame: Ethernet<'_>,
        frames: u64,
    ) -> Option<bool> {
        if !self.rules.judges_at_once() {
            return None;
        }
        let verdict = self.judge(link, Direction::Outbound, to, frame, false)?;
        if verdict.redirect.is_some() || verdict.copies.iter().next().is_some() {
            return None;
        }
        let rules = &mut self.rules;
        rules.count(&verdict, frames);
        rules.cache.repeated(frames - 1);
        Some(verdict.accept != Accept::Drop)
    }

    /// Runs the rules of a joined network over a frame.
    fn verdict(
        &mut self,
        link: &mut Link,
        now: i64,
        direction: Direction,
        them: Address,
        frame: Ethernet<'_>,
        no_tee: bool,
    ) -> Option<Verdict> {
        let verdict = self.judge(link, direction, them, frame, no_tee)?;
        let rules = &mut self.rules;
        rules.count(&verdict, 1);
        if let Some(skipped) = rules.traced(now) {
            let head = frame.payload[..frame.payload.len().min(TRACE_HEAD)].to_vec();
            link.outbox.events.push_back(Event::RuleTrace(Box::new(RuleTrace {
                network: self.id,
                at: now,
                direction,
                them,
                source: frame.source,
                dest: frame.dest,
                ethertype: frame.ethertype,
                length: frame.payload.len(),
                head,
                verdict,
                skipped,
            })));
        }
        Some(verdict)
    }

    /// Whether a frame may leave towards `to` (null while unknown). Sends the copies and redirections the rules ask for.
    pub(super) fn filter_out(
        &mut self,
        link: &mut Link,
        now: i64,
        to: Address,
        frame: Ethernet<'_>,
        no_tee: bool,
    ) -> bool {
        let Some(verdict) = self.verdict(link, now, Direction::Outbound, to, frame, no_tee) else {
            return false;
        };
        let copies = |watch| if watch { ext_frame::WATCH_OUTBOUND } else { ext_frame::TEE_OUTBOUND };
        self.carry_out(link, now, &verdict, frame, copies, ext_frame::REDIRECT_OUTBOUND) != Accept::Drop
    }

    /// Whether a frame that came from `from` may enter.
    pub(super) fn filter_in(
        &mut self,
        link: &mut Link,
        now: i64,
        from: Address,
        frame: Ethernet<'_>,
    ) -> Accept {
        let Some(verdict) = self.verdict(link, now, Direction::Inbound, from, frame, false) else {
            return Accept::Drop;
        };
        let copies = |watch| if watch { ext_frame::WATCH_INBOUND } else { ext_frame::TEE_INBOUND };
        self.carry_out(link, now, &verdict, frame, copies, ext_frame::REDIRECT_INBOUND)
    }

    fn carry_out(
        &mut self,
        link: &mut Link,
        now: i64,
        verdict: &Verdict,
        frame: Ethernet<'_>,
        copy_flags: impl Fn(bool) -> u8,
        redirect_flags: u8,
    ) -> Accept {
        for copy in verdict.copies.iter() {
            let payload = &frame.payload[..copy.length.min(frame.payload.len())];
            let copied = Ethernet { payload, ..frame };
            let to = Address::from_u64(copy.target);
            if !to.is_reserved() && link.has_room_for_copy(now, to) {
                let packet = self.copy_packet(link, now, to, copied, copy_flags(copy.watch));
                link.send_copy(now, packet);
            }
        }
        if let Some(target) = verdict.redirect {
            // Not a copy but the frame itself: it takes the way of any other.
            let packet = self.copy_packet(link, now, Address::from_u64(target), frame, redirect_flags);
            link.send(now, packet);
            return Accept::Drop;
        }
        verdict.accept
    }

    /// An EXT_FRAME for the target of an action. The target judges us by our certificate, so it gets that first.
    fn copy_packet(
        &mut self,
        link: &mut Link,
        now: i64,
        to: Address,
        frame: Ethernet<'_>,
        flags: u8,
    ) -> Vec<u8> {
        if link.topology.peers.contains_key(&to) {
            self.push_credentials_if_due(link, now, to);
        }
        let mut packet = self.ext_frame(link, to, frame, flags);
        packet::compress(&mut packet, 0);
        packet
    }
}
