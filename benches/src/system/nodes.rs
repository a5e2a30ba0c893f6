//! Nodes of a virtual network: ztnode, zerotier-one, or one of each.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use lab::tool::{self, wait_for};
use lab::{Daemon, Seat};
use serde_json::{Value, json};

use super::link::{Cable, ETHERNET, Link, overlay};
use super::{System, process};

/// How long each step of the start may take.
const LIMIT: Duration = Duration::from_secs(20);
/// How long new rules may take. A zerotier-one that has been sent a new configuration every few seconds for two minutes
/// counts as gone at its own controller until it asks again, which it does after a minute without one.
const RULES_LIMIT: Duration = Duration::from_secs(100);

/// Two nodes and what is special about them.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    /// Whose programs; the first is root and controller.
    pub(crate) seats: [Seat; 2],
    /// A setting of `local.conf` for ours.
    pub(crate) setting: Option<(&'static str, &'static str)>,
    /// What lies between them.
    pub(crate) cable: Cable,
}

impl From<[Seat; 2]> for Setup {
    /// The defaults.
    fn from(seats: [Seat; 2]) -> Self {
        Self { seats, setting: None, cable: Cable::Direct(ETHERNET) }
    }
}

impl System {
    /// Two nodes in one network, which see each other directly.
    pub(crate) fn nodes(setup: impl Into<Setup>) -> Result<Self> {
        let Setup { seats, setting, cable } = setup.into();
        let link = Link::over(cable)?;
        let mut daemons = Vec::new();
        for (host, seat) in link.hosts.iter().zip(seats) {
            let daemon = Daemon::prepare(&link.lab, host, seat)?;
            if let Some((key, value)) = setting.filter(|_| seat == Seat::Ours) {
                daemon.set(key, value)?;
            }
            daemons.push(daemon);
        }
        daemons[0].make_planet()?;
        daemons[1].adopt_planet(&daemons[0])?;
        for daemon in &mut daemons {
            daemon.start()?;
        }
        for daemon in &mut daemons {
            daemon.wait_ready()?;
        }
        let network = make_network(&mut daemons)?;
        let sides = link.sides(|side| (overlay(side), daemons[side].pid()));
        process::meet([0, 1].map(|side| (&sides[side].namespace, overlay(side))))?;
        daemons[0].wait_direct(&daemons[1].address, LIMIT)?;
        daemons[1].wait_direct(&daemons[0].address, LIMIT)?;
        let name = match seats {
            [a, b] if a == b => a.name().to_owned(),
            [a, b] => format!("{} to {}", a.name(), b.name()),
        };
        let mut system = Self::assemble(&name, versions(seats), link, sides, Vec::new())?;
        system.daemons = daemons;
        system.network = network;
        Ok(system)
    }

    /// Replaces the network's rules (JSON) and waits until both daemons enforce them.
    pub(crate) fn set_rules(&self, rules: &[Value]) -> Result<()> {
        self.configure(&json!({ "rules": rules }))
    }

    /// Replaces the network's MTU and waits until both interfaces have it.
    pub(crate) fn set_mtu(&self, mtu: u32) -> Result<()> {
        self.configure(&json!({ "mtu": mtu }))?;
        for daemon in &self.daemons {
            let device = daemon.device(&self.network)?;
            let wanted = format!(" mtu {mtu} ");
            wait_for(&format!("MTU {mtu} of {device}"), LIMIT, Duration::from_millis(50), || {
                let shown = daemon.host.namespace.run("ip", &["link", "show", "dev", &device])?;
                Ok(shown.contains(&wanted).then_some(()))
            })?;
        }
        Ok(())
    }

    /// Changes the network and waits until both daemons know it.
    fn configure(&self, fields: &Value) -> Result<()> {
        let controller = self.daemons.first().context("no controller")?;
        let path = format!("/controller/network/{}", self.network);
        let saved = controller.post(&path, fields)?;
        let wanted = saved["revision"].as_u64().context("the network has no revision")?;
        for daemon in &self.daemons {
            wait_for(
                &format!("revision {wanted} at {}", daemon.name()),
                RULES_LIMIT,
                Duration::from_millis(50),
                || {
                    let network = daemon.network(&self.network)?.context("not joined")?;
                    Ok(network["netconfRevision"].as_u64().is_some_and(|r| r >= wanted).then_some(()))
                },
            )?;
        }
        Ok(())
    }
}

/// What the programs say when asked with `-v`.
fn versions(seats: [Seat; 2]) -> String {
    let version = |seat: Seat| {
        let mut command = Command::new(seat.program().ok()?);
        command.arg("-v");
        let said = tool::finish(command, None, tool::LIMIT).ok()?.stdout;
        Some(said.lines().next()?.trim().to_owned())
    };
    let mut found: Vec<String> = seats.into_iter().filter_map(version).collect();
    found.dedup();
    found.join(", ")
}

/// A private network at the first daemon, which both join.
fn make_network(daemons: &mut [Daemon]) -> Result<String> {
    let made = daemons[0].post(
        &format!("/controller/network/{}______", daemons[0].address),
        &json!({"name": "bench", "private": true, "v4AssignMode": {"zt": true},
                "routes": [{"target": "10.0.0.0/24", "via": null}]}),
    )?;
    let network = made["id"].as_str().context("the new network has no id")?.to_owned();
    for (side, daemon) in daemons.iter().enumerate() {
        let path = format!("/controller/network/{network}/member/{}", daemon.address);
        let member = json!({"authorized": true, "ipAssignments": [overlay(side).to_string()]});
        daemons[0].post(&path, &member)?;
    }
    for daemon in &*daemons {
        daemon.join(&network)?;
    }
    for (side, daemon) in daemons.iter_mut().enumerate() {
        daemon.wait_status(&network, "OK", LIMIT)?;
        let wanted = format!("{}/", overlay(side));
        wait_for(&format!("{wanted} of {}", daemon.name()), LIMIT, Duration::from_millis(20), || {
            Ok(daemon.host.namespace.run("ip", &["-4", "addr"])?.contains(&wanted).then_some(()))
        })?;
    }
    Ok(network)
}
