//! The network's rules applied to one frame.
//!
//! Specification: VL2 rules, "filtering a frame".

use std::net::{IpAddr, Ipv6Addr};

use flowrules::evaluate::{Accept, Context, Credentials, Direction, Frame, Verdict};
use protocol::credential::membership::{Membership, Window};
use protocol::netconf::NetworkConfig;
use protocol::{Address, Mac, Time, derive};
use rand::RngExt;

use super::ethernet::Ethernet;
use super::rules::Rules;
use crate::ground::event::{Event, RuleTrace, TRACE_HEAD};
use crate::link::Link;

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

/// A frame before the rules.
#[derive(Clone, Copy)]
pub(super) struct Case<'a> {
    pub(super) direction: Direction,
    /// The other end; null while unknown.
    pub(super) them: Address,
    /// What we hold about the other end.
    pub(super) record: Option<&'a Membership>,
    pub(super) frame: Ethernet<'a>,
    /// Copies are not asked for: they were made already.
    pub(super) no_tee: bool,
}

impl Rules {
    /// What the rules say of a frame; nothing is counted.
    fn judge(&mut self, link: &mut Link, config: &NetworkConfig, case: &Case<'_>) -> Verdict {
        let us = link.address();
        let Case { direction, them, record, frame, no_tee } = *case;
        let ends = Ends { config, us, them, remote: record };
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
        match direction {
            Direction::Outbound => {
                let mut capabilities = config.capabilities.iter().map(|c| (c.id, &c.rules[..]));
                self.cache.filter(&config.rules, &mut capabilities, &mut context, no_tee)
            }
            Direction::Inbound => {
                let mut capabilities =
                    record.into_iter().flat_map(|r| r.capabilities(window)).map(|c| (c.id, &c.rules[..]));
                self.cache.filter(&config.rules, &mut capabilities, &mut context, no_tee)
            }
        }
    }

    /// The verdict over all `frames` frames that a super-frame becomes, if there is one for all of them and it asks for neither
    /// copies nor a redirection: whether they may leave. `None` means that each has to be looked at.
    pub(super) fn verdict_for_all(
        &mut self,
        link: &mut Link,
        config: &NetworkConfig,
        case: &Case<'_>,
        frames: u64,
    ) -> Option<bool> {
        if !self.judges_at_once() {
            return None;
        }
        let verdict = self.judge(link, config, case);
        if verdict.redirect.is_some() || verdict.copies.iter().next().is_some() {
            return None;
        }
        self.count(&verdict, frames);
        self.cache.repeated(frames - 1);
        Some(verdict.accept != Accept::Drop)
    }

    /// Runs the rules over a frame.
    pub(super) fn verdict(
        &mut self,
        link: &mut Link,
        now: Time,
        config: &NetworkConfig,
        case: &Case<'_>,
    ) -> Verdict {
        let verdict = self.judge(link, config, case);
        self.count(&verdict, 1);
        if let Some(skipped) = self.traced(now) {
            let frame = &case.frame;
            let head = frame.payload[..frame.payload.len().min(TRACE_HEAD)].to_vec();
            link.outbox.events.push_back(Event::RuleTrace(Box::new(RuleTrace {
                network: config.network,
                at: now,
                direction: case.direction,
                them: case.them,
                source: frame.source,
                dest: frame.dest,
                ethertype: frame.ethertype,
                length: frame.payload.len(),
                head,
                verdict,
                skipped,
            })));
        }
        verdict
    }
}
