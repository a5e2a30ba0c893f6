//! The usual combination: a root, a controller, members, and a network they have all joined.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::daemon::{Daemon, Seat};
use crate::host::{Access, Family, Lab};
use crate::nat::NatKind;
use crate::traffic::{self, Group};

/// How long members may take from joining to having their configuration.
pub const JOIN_LIMIT: Duration = Duration::from_secs(20);

/// What to build.
#[derive(Clone, Debug)]
pub struct Plan {
    root: Seat,
    second_root: Option<Seat>,
    controller: Option<Seat>,
    members: Vec<(String, Seat, Access)>,
    network: Value,
    settings: Value,
    family: Family,
}

impl Default for Plan {
    fn default() -> Self {
        Self::new()
    }
}

impl Plan {
    /// A root of ours that is the controller too, and no members yet.
    pub fn new() -> Self {
        Self {
            root: Seat::Ours,
            second_root: None,
            controller: None,
            members: Vec::new(),
            network: json!({}),
            settings: json!({}),
            family: Family::V4,
        }
    }

    /// Whose program the root is.
    #[must_use]
    pub fn root(mut self, seat: Seat) -> Self {
        self.root = seat;
        self
    }

    /// Adds a second root of the same planet.
    #[must_use]
    pub fn second_root(mut self, seat: Seat) -> Self {
        self.second_root = Some(seat);
        self
    }

    /// Puts the controller on a host of its own.
    #[must_use]
    pub fn controller(mut self, seat: Seat) -> Self {
        self.controller = Some(seat);
        self
    }

    /// Adds a member. The n-th one gets the address 10.0.n.1.
    #[must_use]
    pub fn member(mut self, name: &str, seat: Seat, access: Access) -> Self {
        self.members.push((name.to_owned(), seat, access));
        self
    }

    /// Adds a member of ours behind a port-restricted NAT, the usual cloud or home.
    #[must_use]
    pub fn cloud(self, name: &str) -> Self {
        self.member(name, Seat::Ours, Access::Nat(NatKind::PortRestricted))
    }

    /// Which addresses the hosts have on the internet segment.
    #[must_use]
    pub fn family(mut self, family: Family) -> Self {
        self.family = family;
        self
    }

    /// Sets fields of the network, over the usual ones.
    #[must_use]
    pub fn network(mut self, fields: Value) -> Self {
        self.network = fields;
        self
    }

    /// Sets fields of the section `settings` in every node's `local.conf`, over the usual ones. What the environment variable
    /// `ZTLAB_SETTINGS` says (a JSON object) comes last.
    #[must_use]
    pub fn settings(mut self, fields: Value) -> Self {
        self.settings = fields;
        self
    }

    /// Whether any seat is the reference implementation's.
    pub fn needs_reference(&self) -> bool {
        let mut seats = self
            .members
            .iter()
            .map(|(_, seat, _)| *seat)
            .chain([self.root])
            .chain(self.second_root)
            .chain(self.controller);
        seats.any(|seat| seat == Seat::Reference)
    }

    /// Builds the lab, starts the daemons, makes the network, joins and authorizes everybody, and waits until all have
    /// their configuration.
    ///
    /// # Errors
    /// Which step failed, and why.
    pub fn start(&self) -> Result<Cluster> {
        let mut cluster = self.prepare(Lab::new()?)?;
        if let Err(error) = cluster.start() {
            return Err(error.context(cluster.report()));
        }
        Ok(cluster)
    }

    /// Builds the lab with homes, identities and the planet, and starts nothing.
    ///
    /// # Errors
    /// Which step failed, and why.
    pub fn prepare(&self, mut lab: Lab) -> Result<Cluster> {
        lab.set_family(self.family);
        let mut seats = vec![(lab.add("root", Access::Public)?, self.root)];
        if let Some(seat) = self.second_root {
            seats.push((lab.add("second", Access::Public)?, seat));
        }
        if let Some(seat) = self.controller {
            seats.push((lab.add("controller", Access::Public)?, seat));
        }
        for (name, seat, access) in &self.members {
            seats.push((lab.add(name, *access)?, *seat));
        }
        let forced = match std::env::var("ZTLAB_SETTINGS") {
            Ok(text) => serde_json::from_str(&text).context("ZTLAB_SETTINGS is no JSON")?,
            Err(_) => json!({}),
        };
        let mut daemons = Vec::new();
        for (host, seat) in &seats {
            let daemon = Daemon::prepare(&lab, host, *seat)?;
            for (key, value) in [&self.settings, &forced].into_iter().filter_map(Value::as_object).flatten() {
                daemon.set(key, value.clone())?;
            }
            daemons.push(daemon);
        }
        let planet = daemons[0].make_planet().context("making the planet")?.stdout;
        if self.second_root.is_some() {
            daemons[0].add_root(&daemons[1]).context("adding the second root")?;
        }
        for daemon in &daemons[1..] {
            daemon.adopt_planet(&daemons[0])?;
        }
        let mut network = json!({
            "name": "lab", "private": true,
            "v4AssignMode": {"zt": true}, "v6AssignMode": {"zt": true, "rfc4193": true, "6plane": true},
            "routes": [{"target": "10.0.0.0/16", "via": null}, {"target": "fd0e:10::/64", "via": null}],
            "ipAssignmentPools": [
                {"ipRangeStart": "10.0.0.1", "ipRangeEnd": "10.0.0.254"},
                {"ipRangeStart": "fd0e:10::1", "ipRangeEnd": "fd0e:10::ffff"}]
        });
        if let (Value::Object(all), Value::Object(fields)) = (&mut network, &self.network) {
            all.extend(fields.clone());
        }
        let mut daemons = daemons.into_iter();
        let root = daemons.next().context("invariant: the root was pushed first")?;
        let second_root = self.second_root.and_then(|_| daemons.next());
        let controller = self.controller.and_then(|_| daemons.next());
        let members = daemons.collect();
        Ok(Cluster {
            planet,
            root,
            second_root,
            controller,
            members,
            network: String::new(),
            started: Instant::now(),
            settings: network,
            lab,
        })
    }
}

/// Daemons and the network they share. The lab goes last, after its daemons.
#[derive(Debug)]
pub struct Cluster {
    /// What the tool that made the planet said.
    pub planet: String,
    /// The only root of the lab's planet, or the first of two.
    pub root: Daemon,
    /// The second one, where the plan has it.
    pub second_root: Option<Daemon>,
    /// The controller, when it is not the root.
    pub controller: Option<Daemon>,
    /// The members, in the order of the plan.
    pub members: Vec<Daemon>,
    /// The network's 16-digit ID; empty until it was made.
    pub network: String,
    /// When the first daemon was started.
    pub started: Instant,
    settings: Value,
    /// The namespaces underneath.
    pub lab: Lab,
}

impl Cluster {
    /// Starts everything that [`Plan::prepare`] left.
    ///
    /// # Errors
    /// Which step failed, and why.
    pub fn start(&mut self) -> Result<()> {
        self.started = Instant::now();
        for daemon in self.daemons_mut() {
            daemon.start()?;
        }
        for daemon in self.daemons_mut() {
            daemon.wait_ready()?;
        }
        self.create_network()?;
        for index in 0..self.members.len() {
            self.authorize(index, true)?;
        }
        for index in 0..self.members.len() {
            self.members[index].join(&self.network)?;
        }
        for index in 0..self.members.len() {
            self.wait_joined(index)?;
        }
        Ok(())
    }

    /// Makes the network at the controller and remembers its ID.
    ///
    /// # Errors
    /// When the controller refuses.
    pub fn create_network(&mut self) -> Result<()> {
        let controller = self.controller();
        let made = controller
            .post(&format!("/controller/network/{}______", controller.address), &self.settings)
            .context("making the network")?;
        self.network = made["id"].as_str().context("the new network has no id")?.to_owned();
        Ok(())
    }

    /// Sets member `index`'s authorization, and gives it its fixed address.
    ///
    /// # Errors
    /// When the controller refuses.
    pub fn authorize(&self, index: usize, authorized: bool) -> Result<()> {
        let member = json!({"authorized": authorized, "ipAssignments": [self.fixed(index).to_string()]});
        self.set_member(index, &member)
    }

    /// Changes member `index`'s record at the controller.
    ///
    /// # Errors
    /// When the controller refuses.
    pub fn set_member(&self, index: usize, fields: &Value) -> Result<()> {
        self.set_member_of(&self.members[index].address, fields)
    }

    /// Changes the record of the member `address` at the controller.
    ///
    /// # Errors
    /// When the controller refuses.
    pub fn set_member_of(&self, address: &str, fields: &Value) -> Result<()> {
        let path = format!("/controller/network/{}/member/{address}", self.network);
        self.controller().post(&path, fields)?;
        Ok(())
    }

    /// Waits until member `index` has its configuration and its addresses on the interface.
    ///
    /// # Errors
    /// After [`JOIN_LIMIT`].
    pub fn wait_joined(&mut self, index: usize) -> Result<()> {
        let network = self.network.clone();
        self.members[index].wait_status(&network, "OK", JOIN_LIMIT)?;
        let (member, wanted) = (&self.members[index], format!("{}/", self.fixed(index)));
        let what = format!("{wanted} on the interface of {}", member.name());
        crate::tool::wait_for(&what, JOIN_LIMIT, Duration::from_millis(20), || {
            // The status may come from the stored configuration, before the interface is there.
            let device = member.device(&network)?;
            let shown = member.host.namespace.run("ip", &["-4", "addr", "show", "dev", &device])?;
            Ok(shown.contains(&wanted).then_some(()))
        })
    }

    /// The address that the controller holds for member `index`: 10.0.n.1, n counted from 1.
    pub fn fixed(&self, index: usize) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, u8::try_from(index + 1).unwrap_or(u8::MAX), 1)
    }

    /// Member `index`'s managed IPv6 addresses: RFC 4193, 6PLANE, and one of the pool.
    ///
    /// # Errors
    /// When it has not joined.
    pub fn ip6(&self, index: usize) -> Result<Vec<Ipv6Addr>> {
        self.members[index].ip6(&self.network)
    }

    /// The node that is the controller.
    pub fn controller(&self) -> &Daemon {
        self.controller.as_ref().unwrap_or(&self.root)
    }

    /// The member called `name`.
    ///
    /// # Errors
    /// When there is none.
    pub fn index(&self, name: &str) -> Result<usize> {
        self.members.iter().position(|m| m.name() == name).with_context(|| format!("no member {name}"))
    }

    /// All daemons: roots, controller, members.
    pub fn daemons(&self) -> impl Iterator<Item = &Daemon> {
        std::iter::once(&self.root).chain(&self.second_root).chain(&self.controller).chain(&self.members)
    }

    /// All daemons: roots, controller, members.
    pub fn daemons_mut(&mut self) -> impl Iterator<Item = &mut Daemon> {
        std::iter::once(&mut self.root)
            .chain(&mut self.second_root)
            .chain(&mut self.controller)
            .chain(&mut self.members)
    }

    /// Pings from one member to another's fixed address until the first answer; the round trip in milliseconds.
    ///
    /// # Errors
    /// After `limit`.
    pub fn ping(&self, from: usize, to: usize, limit: Duration) -> Result<f64> {
        traffic::first_ping(&self.members[from].host.namespace, IpAddr::V4(self.fixed(to)), limit)
    }

    /// Pings from one member to each managed IPv6 address of another until the first answer.
    ///
    /// # Errors
    /// After `limit`, or when the other has none.
    pub fn ping6(&self, from: usize, to: usize, limit: Duration) -> Result<()> {
        let addresses = self.ip6(to)?;
        anyhow::ensure!(!addresses.is_empty(), "{} has no IPv6 address", self.members[to].name());
        for address in addresses {
            traffic::first_ping(&self.members[from].host.namespace, IpAddr::V6(address), limit)?;
        }
        Ok(())
    }

    /// A checked TCP stream between members, to the fixed address.
    ///
    /// # Errors
    /// When it fails, stalls for 20 s or is damaged.
    pub fn tcp(&self, from: usize, to: usize, bytes: usize) -> Result<Duration> {
        let (a, b) = (&self.members[from].host.namespace, &self.members[to].host.namespace);
        traffic::tcp(a, b, IpAddr::V4(self.fixed(to)), bytes, Duration::from_secs(20))
    }

    /// Sends to a group from one member until all the others have heard it.
    ///
    /// The first datagram goes out when the listening nodes have noticed that their machines joined the group: a sender
    /// who asks for members too early asks again only a minute later.
    ///
    /// # Errors
    /// After `limit`: who heard nothing.
    pub fn one_to_many(&self, from: usize, group: Group, limit: Duration) -> Result<()> {
        let device = self.members[from].device(&self.network)?;
        let others: Vec<&Daemon> = self
            .members
            .iter()
            .enumerate()
            .filter(|(index, _)| *index != from)
            .map(|(_, member)| member)
            .collect();
        let listeners: Vec<_> =
            others.iter().map(|member| (&member.host.namespace, device.as_str())).collect();
        let sender = (&self.members[from].host.namespace, device.as_str());
        traffic::one_to_many(sender, &listeners, group, limit, || {
            for member in &others {
                self.wait_subscribed(member, group)?;
            }
            Ok(())
        })
    }

    fn wait_subscribed(&self, member: &Daemon, group: Group) -> Result<()> {
        if matches!(group, Group::Broadcast(_)) {
            return Ok(());
        }
        let mac = group.mac();
        let what = format!("{} to notice the group {mac}", member.name());
        let seen = || {
            let network = member.network(&self.network)?.context("not joined")?;
            let groups = network["multicastSubscriptions"].as_array().cloned().unwrap_or_default();
            Ok(groups.iter().any(|entry| entry["mac"] == mac.as_str()).then_some(()))
        };
        let step = Duration::from_millis(50);
        match member.seat {
            Seat::Ours | Seat::Older => crate::tool::wait_for(&what, JOIN_LIMIT, step, seen),
            // It looks every 5 s, but shows the list as it was at the last change of the configuration.
            Seat::Reference => {
                let _ = crate::tool::wait_for(&what, Duration::from_secs(6), step, seen);
                Ok(())
            }
        }
    }

    /// Everything that helps to see why something failed.
    pub fn report(&mut self) -> String {
        let mut text = format!("--- lab {}, network {} ---\n", self.lab.name(), self.network);
        let network = self.network.clone();
        for daemon in self.daemons_mut() {
            let running = daemon.running();
            // A String takes whatever is written to it.
            let _ = writeln!(
                text,
                "## {} ({}, {}, {}, public {}) running: {running}",
                daemon.name(),
                daemon.seat.name(),
                daemon.address,
                daemon.host.access.name(),
                daemon.host.public
            );
            if running {
                for path in ["/status".to_owned(), format!("/network/{network}"), "/peer".to_owned()] {
                    let reply = daemon.request("GET", &path, None);
                    let shown = reply
                        .map_or_else(|error| format!("{error:#}"), |r| format!("{} {}", r.status, r.body));
                    let _ = writeln!(text, "{path}: {shown}");
                }
            }
            for arguments in [["-br", "addr"], ["-br", "neigh"], ["-br", "route"]] {
                let _ = write!(text, "{}", daemon.host.namespace.run("ip", &arguments).unwrap_or_default());
            }
            let _ = writeln!(text, "log:\n{}\n", daemon.log_tail(40));
        }
        text
    }
}
