//! What is measured: two namespaces joined by a cable, with two daemons or without.

use std::net::{IpAddr, Ipv4Addr};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use lab::tool::{self, wait_for};
use lab::{Access, Daemon, Host, Lab, Namespace, Seat, traffic};
use serde_json::{Value, json};

/// How long each step of the start may take.
const LIMIT: Duration = Duration::from_secs(20);
/// How long new rules may take. A zerotier-one that has been sent a new configuration every few seconds for two minutes
/// counts as gone at its own controller until it asks again, which it does after a minute without one.
const RULES_LIMIT: Duration = Duration::from_secs(100);
/// iperf3's usual port.
const IPERF_PORT: u16 = 5201;

/// The ends of the cable: addresses that nodes take for global ones, in the namespaces only.
fn cable_end(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(80, 0, 1, n)
}

/// The addresses inside the overlay.
fn overlay(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, n)
}

/// One system under test. Fields are dropped in order: processes before their namespaces.
pub(crate) struct System {
    /// As tables show it.
    pub(crate) name: &'static str,
    /// Where streams start.
    pub(crate) from: Namespace,
    /// The address they end at; iperf3 serves there.
    pub(crate) target: Ipv4Addr,
    /// The daemons in `from` (root and controller as well) and `to`; empty for the bare cable.
    pub(crate) daemons: Vec<Daemon>,
    /// The network the daemons have joined, at the first one's controller; empty for the bare cable.
    pub(crate) network: String,
    server: Server,
    _lab: Lab,
}

impl System {
    /// The cable alone.
    pub(crate) fn cable() -> Result<Self> {
        let lab = Lab::new()?;
        let [from, to] = join(&lab)?;
        let server = Server::start(&to.namespace)?;
        Ok(Self {
            name: "cable, no VPN",
            from: from.namespace.clone(),
            target: cable_end(2),
            daemons: Vec::new(),
            network: String::new(),
            server,
            _lab: lab,
        })
    }

    /// Two daemons of one kind in one network with the default settings, which see each other directly.
    pub(crate) fn daemons(seat: Seat) -> Result<Self> {
        let lab = Lab::new()?;
        let hosts = join(&lab)?;
        let mut daemons = Vec::new();
        for host in &hosts {
            daemons.push(Daemon::prepare(&lab, host, seat)?);
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
        let [from, to] = [&hosts[0].namespace, &hosts[1].namespace].map(Namespace::clone);
        traffic::first_ping(&from, IpAddr::V4(overlay(2)), LIMIT)?;
        traffic::first_ping(&to, IpAddr::V4(overlay(1)), LIMIT)?;
        daemons[0].wait_direct(&daemons[1].address, LIMIT)?;
        daemons[1].wait_direct(&daemons[0].address, LIMIT)?;
        let server = Server::start(&to)?;
        Ok(Self { name: seat.name(), from, target: overlay(2), daemons, network, server, _lab: lab })
    }

    /// Replaces the network's rules (JSON) and waits until both daemons enforce them.
    pub(crate) fn set_rules(&self, rules: &[Value]) -> Result<()> {
        let controller = self.daemons.first().context("a bare cable has no rules")?;
        let path = format!("/controller/network/{}", self.network);
        let saved = controller.post(&path, &json!({ "rules": rules }))?;
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

    /// The port iperf3 listens on.
    pub(crate) fn port(&self) -> u16 {
        self.server.port
    }
}

/// Two hosts with a veth pair (MTU 1500) between them.
fn join(lab: &Lab) -> Result<[Arc<Host>; 2]> {
    let host = |name: &str, n: u8| -> Result<Arc<Host>> {
        let namespace = Namespace::create(lab.name(), name)?;
        Ok(Arc::new(Host {
            name: name.to_owned(),
            border: namespace.clone(),
            namespace,
            access: Access::Public,
            public: cable_end(n),
        }))
    };
    let hosts = [host("a", 1)?, host("b", 2)?];
    hosts[0]
        .namespace
        .ip(&format!("link add eth0 type veth peer name eth0 netns {}\n", hosts[1].namespace.name()))?;
    for host in &hosts {
        host.namespace.ip(&format!("addr add {}/24 dev eth0\nlink set eth0 up\n", host.public))?;
    }
    Ok(hosts)
}

/// A private network at the first daemon, which both join.
fn make_network(daemons: &mut [Daemon]) -> Result<String> {
    let made = daemons[0].post(
        &format!("/controller/network/{}______", daemons[0].address),
        &json!({"name": "bench", "private": true, "v4AssignMode": {"zt": true},
                "routes": [{"target": "10.0.0.0/24", "via": null}]}),
    )?;
    let network = made["id"].as_str().context("the new network has no id")?.to_owned();
    for (n, daemon) in (1..).zip(&*daemons) {
        let path = format!("/controller/network/{network}/member/{}", daemon.address);
        let member = json!({"authorized": true, "ipAssignments": [overlay(n).to_string()]});
        daemons[0].post(&path, &member)?;
    }
    for daemon in &*daemons {
        daemon.join(&network)?;
    }
    for (n, daemon) in (1..).zip(daemons) {
        daemon.wait_status(&network, "OK", LIMIT)?;
        let wanted = format!("{}/", overlay(n));
        wait_for(&format!("{wanted} of {}", daemon.name()), LIMIT, Duration::from_millis(20), || {
            Ok(daemon.host.namespace.run("ip", &["-4", "addr"])?.contains(&wanted).then_some(()))
        })?;
    }
    Ok(network)
}

/// An iperf3 server; ends with this value.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start(namespace: &Namespace) -> Result<Self> {
        let port = IPERF_PORT;
        let mut command = namespace.command("iperf3");
        command.args(["-s", "-p", &port.to_string()]).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().with_context(|| format!("cannot run `{}`", tool::shown(&command)))?;
        let server = Self { child, port };
        let filter = format!("sport = :{port}");
        wait_for("iperf3 to listen", LIMIT, Duration::from_millis(20), || {
            Ok((!namespace.run("ss", &["-Hltn", &filter])?.is_empty()).then_some(()))
        })
        .context("is the package iperf3 installed?")?;
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
