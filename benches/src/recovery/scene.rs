//! A pair of nodes with a root (and controller), with traffic in both directions.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::emulator::Quality;
use lab::flow::{self, Direction};
use lab::{Access, Cluster, Daemon, Family, Host, Lab, NatKind, Plan, tool};

use super::fault::Needs;
use super::row::Row;
use super::table::Underlay;

/// How long a pair may take until its traffic goes the way it should.
const SETTLING: Duration = Duration::from_secs(120);
/// A root is watched for so long to see whether it carries traffic.
const GLANCE: Duration = Duration::from_millis(1000);
/// Octets a root sends at most in that time when it carries nothing, and at least when it carries one direction.
const CHATTER: u64 = 5_000;

/// The pair, its root, and the datagrams between them. Fields are dropped in order: sockets before their namespaces.
pub(crate) struct Scene {
    flows: Option<[Direction; 2]>,
    cluster: Cluster,
    needs: Needs,
    /// How long `Fault::Idle` idles.
    pub(crate) idle: Duration,
}

impl Scene {
    /// Builds it and starts everything.
    ///
    /// # Errors
    /// Which step failed, and why.
    pub(crate) fn build(row: Row, needs: Needs, underlay: Underlay, idle: Duration) -> Result<Self> {
        let access = if needs.nat { Access::Nat(NatKind::PortRestricted) } else { Access::Public };
        let [a, b] = row.ends;
        let mut plan = Plan::new().root(row.root).member("a", a, access).member("b", b, Access::Public);
        plan = plan.family(underlay.family);
        if needs.two_roots {
            plan = plan.second_root(row.root);
        }
        let cluster = plan.prepare(Lab::new()?)?;
        let mut scene = Self { flows: None, cluster, needs, idle };
        if underlay.rtt >= 1.0 {
            scene.set_round_trip(Duration::from_secs_f64(underlay.rtt / 1e3))?;
        }
        if needs.relayed {
            let [a, b] = scene.hosts();
            scene.lab().forbid(&a, &b)?;
        }
        if let Err(error) = scene.cluster.start() {
            return Err(error.context(scene.cluster.report()));
        }
        scene.speak()?;
        Ok(scene)
    }

    /// A datagram passes the lines of two machines on its way, and so does its answer.
    fn set_round_trip(&mut self, time: Duration) -> Result<()> {
        let quality = Quality::delayed(time / 4);
        for (seed, host) in (1..).zip(self.lab().hosts().to_vec()) {
            self.cluster.lab.line(&host, quality, quality, seed)?;
        }
        Ok(())
    }

    /// The machines of A and B.
    pub(crate) fn hosts(&self) -> [Arc<Host>; 2] {
        [0, 1].map(|end: usize| Arc::clone(&self.cluster.members[end].host))
    }

    /// The namespaces underneath.
    pub(crate) fn lab(&self) -> &Lab {
        &self.cluster.lab
    }

    /// The roots.
    pub(crate) fn roots(&self) -> Vec<&Daemon> {
        std::iter::once(&self.cluster.root).chain(&self.cluster.second_root).collect()
    }

    /// One of them.
    ///
    /// # Errors
    /// When there is none with this number.
    pub(crate) fn root_mut(&mut self, number: usize) -> Result<&mut Daemon> {
        let mut all = std::iter::once(&mut self.cluster.root).chain(&mut self.cluster.second_root);
        all.nth(number).context("no such root")
    }

    /// A or B.
    ///
    /// # Errors
    /// When there is none with this number.
    pub(crate) fn end_mut(&mut self, number: usize) -> Result<&mut Daemon> {
        self.cluster.members.get_mut(number).context("no such end")
    }

    /// Begins to send in both directions.
    ///
    /// # Errors
    /// When the sockets cannot be opened.
    pub(crate) fn speak(&mut self) -> Result<()> {
        self.flows = Some(flow::both_ways(&self.cluster, [0, 1])?);
        Ok(())
    }

    /// Sends nothing any more.
    pub(crate) fn silence(&mut self) {
        self.flows = None;
    }

    /// A to B, and B to A.
    ///
    /// # Errors
    /// While there is silence.
    pub(crate) fn flows(&self) -> Result<&[Direction; 2]> {
        self.flows.as_ref().context("nothing is sent")
    }

    /// Tells each end's kernel the other's hardware address for good. What is measured is the nodes: a kernel that does not get an
    /// answer for three seconds forgets its neighbour, and asks for it but once a second.
    ///
    /// # Errors
    /// While one of them has no interface.
    pub(crate) fn introduce(&self) -> Result<()> {
        let network = &self.cluster.network;
        for (end, other) in [(0, 1), (1, 0)] {
            let (here, there) = (&self.cluster.members[end], &self.cluster.members[other]);
            let (mac, device) = (there.mac(network)?, here.device(network)?);
            let address = self.cluster.fixed(other);
            let entry = format!("neigh replace {address} lladdr {mac} dev {device} nud permanent\n");
            here.host.namespace.ip(&entry)?;
        }
        Ok(())
    }

    /// Waits until traffic goes the way it should: directly, or by a root where there is no direct way.
    ///
    /// # Errors
    /// When it does not, for two minutes: with all states and logs.
    pub(crate) fn settle(&mut self) -> Result<()> {
        let settled = tool::wait_for("the pair's traffic", SETTLING, Duration::from_millis(100), || {
            let flows = self.flows()?;
            ensure!(flows.iter().all(Direction::flows), "it does not flow");
            ensure!(self.is_relayed()? == self.needs.relayed, "it goes another way");
            ensure!(flows.iter().all(Direction::flows), "it does not flow any more");
            self.introduce()?;
            Ok(Some(()))
        });
        settled.map_err(|error| error.context(self.cluster.report()))
    }

    /// The number of the root that carries what A sends. What B sends may go by another: numbered datagrams pause meanwhile.
    ///
    /// # Errors
    /// When none does.
    pub(crate) fn busy_root(&self) -> Result<usize> {
        let back = self.flows.as_ref().map(|[_, back]| back);
        back.inspect(|back| back.pause(true));
        let carried = self.carried();
        back.inspect(|back| back.pause(false));
        let carried = carried?;
        let busy = (0..carried.len()).max_by_key(|number| carried[*number]).context("no root")?;
        ensure!(carried[busy] > CHATTER, "no root carries the traffic: {carried:?} octets");
        Ok(busy)
    }

    /// Whether a root carries traffic.
    ///
    /// # Errors
    /// When its counters cannot be read.
    pub(crate) fn is_relayed(&self) -> Result<bool> {
        Ok(self.carried()?.into_iter().sum::<u64>() > CHATTER)
    }

    /// The network of the pair, whole.
    pub(crate) fn cluster_mut(&mut self) -> &mut Cluster {
        &mut self.cluster
    }

    /// By which family A reaches B directly.
    ///
    /// # Errors
    /// When it does not, or nothing answers.
    pub(crate) fn family_in_use(&self) -> Result<Family> {
        let [a, b] = [0, 1].map(|end: usize| &self.cluster.members[end]);
        let path = a.path_to(&b.address)?.context("no direct path")?;
        Ok(if path.contains(':') { Family::V6 } else { Family::V4 })
    }

    /// What each of the roots sends in [`GLANCE`], octets.
    fn carried(&self) -> Result<Vec<u64>> {
        let sent = || -> Result<Vec<u64>> {
            self.roots().iter().map(|root| self.lab().sent_bytes(&root.host)).collect()
        };
        let before = sent()?;
        std::thread::sleep(GLANCE);
        Ok(sent()?.iter().zip(before).map(|(after, before)| after.saturating_sub(before)).collect())
    }
}
