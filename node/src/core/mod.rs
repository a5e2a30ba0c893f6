//! The deciding core: VL1 and VL2 as a deterministic state machine.
//!
//! Time, randomness, datagrams, Ethernet frames and commands come in as arguments; datagrams, frames and [`event::Event`]s go
//! out through [`Core::outbox`]; [`Core::next_deadline`] says when [`Core::tick`] wants to run next. There is no socket, no
//! clock, no lock and no thread in here, so the same code runs in the daemon, in the simulator (hundreds of nodes on a virtual
//! clock) and under the fuzzers, and the same inputs always give the same outputs.
//!
//! A [`Core`] is two machines: the underlay (VL1, `crate::link`), which knows peers, paths and roots, and the switch (VL2,
//! `switch/`), which knows networks and sends through the link it is handed. What is here is their shell.
//!
//! | module | subject |
//! |---|---|
//! | `receive` | a datagram, from one machine to the other |
//! | [`view`] | what the node tells about itself |
//! | [`joined`] | one joined network, as the service sees it |
//! | `switch/` | VL2 |
//! | [`bounds`] | the registry of tables |
//!
//! Time must not run backwards.

pub mod bounds;
#[cfg(feature = "work")]
mod filling;
pub mod joined;
mod receive;
mod switch;
pub mod view;

pub use crate::ground::outbox::{Carrier, Outbox};
pub use crate::ground::{event, info, limits, work};
pub use crate::link::{extension, path, peer, replay};

use std::net::SocketAddr;

use controller::Action;
use protocol::world::World;
use protocol::{Address, Identity, NetworkId, Prefix, Result, SecretIdentity, Time};
use zeroize::Zeroizing;

use crate::dataplane::frame_pool::PortFrame;
use crate::ground::event::{Event, Machine, Object, Settings};
use crate::ground::info::QueueCounters;
use crate::ground::limits::{BACKGROUND, HOUSEKEEPING};
use crate::link::path::SocketId;
use crate::link::{Link, Underlay};
use joined::Joined;
use switch::Switch;
use view::View;

/// What a node is made of.
pub struct CoreConfig {
    /// Who we are.
    pub identity: SecretIdentity,
    /// The roots to use until a newer planet is learned.
    pub planet: World,
    /// Seed of the generator for packet IDs and choices. Must come from the operating system's generator except in simulations.
    pub seed: [u8; 32],
    /// Initial settings.
    pub settings: Settings,
}

/// One node.
pub struct Core {
    underlay: Underlay,
    switch: Switch,
    next_housekeeping: Time,
    next_background: Time,
}

impl Core {
    /// A node at time `now`. It does nothing until it is ticked and given sockets.
    pub fn new(config: CoreConfig, now: Time) -> Self {
        let CoreConfig { identity, planet, seed, settings } = config;
        let (underlay, hash) = Underlay::new(identity, planet, settings, seed, now);
        Self {
            underlay,
            switch: Switch::new(hash),
            next_housekeeping: now + HOUSEKEEPING,
            next_background: now + BACKGROUND,
        }
    }

    /// Our address.
    pub fn address(&self) -> Address {
        self.underlay.link.address()
    }

    /// What has to be done outside; the caller drains it after every call.
    #[inline]
    pub fn outbox(&mut self) -> &mut Outbox {
        &mut self.underlay.link.outbox
    }

    /// What the node tells about itself.
    pub fn view(&self) -> View<'_> {
        View { link: &self.underlay.link, contacts: &self.underlay.contacts, switch: &self.switch }
    }

    /// A joined network.
    pub fn joined(&mut self, id: NetworkId) -> Option<Joined<'_>> {
        self.switch.joined(&mut self.underlay.link, id)
    }

    /// Counts datagrams of copies that the operating system had no room for.
    pub fn copies_congested(&mut self, datagrams: u64) {
        self.underlay.link.counters.copies.congested += datagrams;
    }

    /// The counters of what waits outside of the core.
    pub fn queues_mut(&mut self) -> &mut QueueCounters {
        &mut self.underlay.link.counters.queues
    }

    /// When [`Core::tick`] wants to run next.
    pub fn next_deadline(&self) -> Time {
        let mut next = self.underlay.next_deadline().min(self.next_housekeeping);
        if self.underlay.has_waiting() {
            next = next.min(self.next_background);
        }
        self.switch.next_deadline().map_or(next, |due| next.min(due))
    }

    /// Does what is due: queue retries, contact checks, configuration requests, expiry. Calling it early is harmless.
    pub fn tick(&mut self, now: Time) {
        if now >= self.next_background {
            self.next_background = now + BACKGROUND;
            self.underlay.link.retry_sending(now, None);
            self.retry_parked(now, None);
        }
        let Underlay { link, contacts, .. } = &mut self.underlay;
        if now >= contacts.next_ping {
            contacts.ping_check(link, now, self.switch.always_contact());
            self.after_contact(now);
            self.switch.announce_groups(&mut self.underlay.link, now);
        }
        self.underlay.tick(now);
        self.switch.tick(&mut self.underlay.link, now);
        if now >= self.next_housekeeping {
            self.next_housekeeping = now + HOUSEKEEPING;
            self.underlay.expire(now);
            self.switch.expire(&self.underlay.link, now);
        }
    }

    /// Replaces the settings.
    pub fn set_settings(&mut self, settings: Settings) {
        self.underlay.link.settings = settings;
    }

    /// Confines probing to be kind to clouds: of private, shared and link-local addresses that others tell us only those inside
    /// `prefixes` are tried. `None` = no such limit. Addresses that the user or a planet names are not concerned, nor are
    /// those from which an authentic packet came.
    pub fn confine_probes(&mut self, prefixes: Option<Vec<Prefix>>) {
        self.underlay.link.on_link = prefixes;
    }

    /// Tells which sockets exist and under which local address each can be reached. Paths over sockets that are gone are
    /// forgotten and the roots are greeted at once over the new ones.
    pub fn set_local_addresses(&mut self, now: Time, local: Vec<(SocketId, SocketAddr)>) {
        self.underlay.set_local_addresses(now, local);
    }

    /// Orbits a moon: `cached` is its definition from our own disk, `seed` a node that will tell it otherwise.
    pub fn orbit(&mut self, now: Time, id: u64, seed: Option<Address>, cached: Option<World>) {
        self.underlay.orbit(now, id, seed, cached);
    }

    /// Leaves a moon and forgets its file.
    pub fn deorbit(&mut self, now: Time, id: u64) {
        self.underlay.deorbit(now, id);
    }

    /// Puts another planet in force, whoever signed it, greets its roots and gives back the former one. Whether it may be replaced,
    /// and storing it, is the caller's business.
    pub fn replace_planet(&mut self, now: Time, planet: World) -> World {
        self.underlay.replace_planet(now, planet)
    }

    /// Greets all roots at once, on every path and at every address that is known of them: whether they still answer is to be seen.
    pub fn greet_roots(&mut self, now: Time) {
        let Underlay { link, contacts, .. } = &mut self.underlay;
        contacts.greet_roots(link, now);
    }

    /// Whether a root was heard since then, or ever. A root asks nobody.
    pub fn heard_root_since(&self, then: Option<Time>) -> bool {
        self.underlay.contacts.heard_root_since(&self.underlay.link, then)
    }

    /// Joins a network: its port is wanted at once, its configuration is asked for. `cached` is the configuration dictionary
    /// an earlier run kept; it is in force until the controller answers. False when too many networks are joined.
    pub fn join(&mut self, now: Time, id: NetworkId, cached: Option<&[u8]>) -> bool {
        self.join_with(now, id, cached, None)
    }

    /// [`Core::join`] with a join token for the controller. It goes with every request until one is answered by a
    /// configuration; then [`event::Object::Token`] is to be deleted. On a network that is joined
    /// already it takes the place of an earlier one, and the controller is asked at once.
    pub fn join_with(
        &mut self,
        now: Time,
        id: NetworkId,
        cached: Option<&[u8]>,
        token: Option<Zeroizing<String>>,
    ) -> bool {
        self.switch.join(&mut self.underlay.link, now, id, cached, token)
    }

    /// Leaves a network. False when it was not joined.
    pub fn leave(&mut self, id: NetworkId) -> bool {
        self.switch.leave(&mut self.underlay.link, id)
    }

    /// Takes in what the port of a network gave, with what the kernel left undone about it: a checksum to be completed, or several
    /// frames' worth of data to be cut. A frame that is not what it says is dropped. Its memory may be exchanged for other memory.
    #[inline]
    pub fn port_frame(&mut self, now: Time, id: NetworkId, frame: PortFrame<'_>) {
        let PortFrame { memory, range, offload } = frame;
        let (link, start) = (&mut self.underlay.link, range.start);
        if let Some(octets) = memory.get_mut(range) {
            self.switch.port_frame(link, now, id, &offload, octets);
            link.outbox.take_over(memory, start);
        }
    }

    /// Begins to look out for other machines with our identity; again: the machine turned out to be another (or the identity
    /// was bound to it).
    pub fn watch_for_clones(&mut self, now: Time, machine: Machine) {
        let Underlay { link, clones, .. } = &mut self.underlay;
        clones.watch_for_clones(link, now, machine);
    }

    /// Carries out what our own controller has decided.
    pub fn controller_action(&mut self, now: Time, action: Action) {
        self.switch.controller_action(&mut self.underlay.link, now, action);
    }

    /// The outcome of an [`event::Errand::CheckIdentity`]: whether the address belongs to the key.
    pub fn identity_checked(&mut self, now: Time, identity: &Identity, valid: bool) {
        let address = identity.address;
        let Some(greeted) = self.underlay.identity_checked(now, identity, valid) else { return };
        if greeted {
            self.switch.greeted(&mut self.underlay.link, now, address, None);
        }
        // For a controller's identity its members' credentials wait as well.
        let controls = self.underlay.link.controllers.contains(&address);
        self.retry_parked(now, (!controls).then_some(address));
        self.after_contact(now);
    }

    /// Takes in a peer's record from an earlier run; it is a peer when its identity has been checked. Its addresses are tried when
    /// there is something to send to it.
    ///
    /// # Errors
    /// [`protocol::Malformed`] if it is none.
    pub fn restore_peer(&mut self, record: &[u8]) -> Result<()> {
        let Underlay { link, earlier, .. } = &mut self.underlay;
        earlier.restore(link, record)
    }

    /// Puts the records of all live peers into the outbox: the last thing to do before the process ends.
    pub fn save_peers(&mut self, now: Time) {
        let Link { topology, outbox, .. } = &mut self.underlay.link;
        outbox.events.extend(topology.records(now).map(|(address, bytes)| {
            let object = Object::Peer(address);
            Event::Store { object, bytes }
        }));
    }

    /// Takes in what an earlier run kept as [`event::Object::Counts`]. Anything else is as good as nothing.
    pub fn resume_counting(&mut self, now: Time, kept: &[u8]) {
        self.underlay.link.topology.resume_counting(now, kept);
    }

    /// A root may have begun to answer: networks without a configuration ask at once.
    fn after_contact(&mut self, now: Time) {
        if self.underlay.contacts.take_came_online() {
            self.switch.hurry_requests(&mut self.underlay.link, now);
        }
    }
}
