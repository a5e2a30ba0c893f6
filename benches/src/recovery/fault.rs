//! What befalls a pair, and how it is undone.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use lab::{Family, Host};

use super::scene::Scene;

/// How long a cable is out.
const OUT: Duration = Duration::from_secs(2);
/// Outside ports that a NAT router has at a time.
const PORTS: u16 = 50;

/// One kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A gets another address.
    Address,
    /// A and B do, at the same moment.
    Both,
    /// The direct way dies in both directions, and nobody is told.
    Blind,
    /// It dies from A to B alone.
    Forth,
    /// It dies from B to A alone.
    Back,
    /// The NAT router in front of A makes new mappings.
    Rebind,
    /// It does, and the pair is relayed.
    RebindRelayed,
    /// Of two roots the one that relays what A sends dies.
    Relay,
    /// Of IPv4 and IPv6 the one that A uses dies there, and the other lives.
    Family,
    /// The pair has been idle, and the direct way has died meanwhile.
    Idle,
    /// The root is killed and started again; the pair is direct.
    Root,
    /// A's cable is out for two seconds.
    Cable,
    /// A's node is killed and started again.
    Kill,
    /// It is, with the root (and controller) dead.
    KillAlone,
}

/// What a pair of ends has to be like for a fault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    /// A is behind a NAT router.
    pub(crate) nat: bool,
    /// There is no direct way.
    pub(crate) relayed: bool,
    /// There are two roots.
    pub(crate) two_roots: bool,
    /// All have addresses of both families.
    pub(crate) both_families: bool,
}

/// What is allowed, in seconds without delivery.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bound {
    /// In the middle.
    pub(crate) median: f64,
    /// In 19 of 20 runs.
    pub(crate) p95: f64,
}

impl Fault {
    /// All, in the order of the table.
    pub(crate) const ALL: [Self; 14] = [
        Self::Address,
        Self::Both,
        Self::Blind,
        Self::Forth,
        Self::Back,
        Self::Rebind,
        Self::RebindRelayed,
        Self::Relay,
        Self::Family,
        Self::Idle,
        Self::Root,
        Self::Cable,
        Self::Kill,
        Self::KillAlone,
    ];

    /// As the command line calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Both => "both",
            Self::Blind => "blind",
            Self::Forth => "forth",
            Self::Back => "back",
            Self::Rebind => "rebind",
            Self::RebindRelayed => "rebind-relayed",
            Self::Relay => "relay",
            Self::Family => "family",
            Self::Idle => "idle",
            Self::Root => "root",
            Self::Cable => "cable",
            Self::Kill => "kill",
            Self::KillAlone => "kill-alone",
        }
    }

    /// The one called `name`.
    ///
    /// # Errors
    /// When none is: which there are.
    pub(crate) fn named(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|fault| fault.name() == name);
        let all = Self::ALL.map(Self::name).join(", ");
        found.with_context(|| format!("no fault is called `{name}`: there are {all}"))
    }

    /// As the table calls it.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Address => "A gets another address",
            Self::Both => "A and B get other addresses at once",
            Self::Blind => "the direct way dies blind, both ways",
            Self::Forth => "the direct way dies from A to B alone",
            Self::Back => "the direct way dies from B to A alone",
            Self::Rebind => "A's NAT router makes new mappings",
            Self::RebindRelayed => "A's NAT router makes new mappings, the pair is relayed",
            Self::Relay => "the root that relays A to B dies, another lives",
            Self::Family => "of IPv4 and IPv6 the one in use dies, the other lives",
            Self::Idle => "first packet after idling, the way died meanwhile",
            Self::Root => "the root is killed and restarted",
            Self::Cable => "A's cable is back in after 2 s",
            Self::Kill => "A's node is killed by -9 and started",
            Self::KillAlone => "A's node is killed by -9 and started, root and controller dead",
        }
    }

    /// What a ztnode is held to; [`Fault::Root`] is held to losing nothing besides.
    pub(crate) fn bound(self) -> Bound {
        let (median, p95) = match self {
            Self::Address => (0.3, 1.0),
            Self::Blind => (0.5, 1.0),
            Self::Forth | Self::Back => (1.0, 1.5),
            Self::Both | Self::Rebind | Self::RebindRelayed | Self::Relay => (1.0, 1.0),
            Self::Family | Self::Idle => (0.5, 0.5),
            Self::Root | Self::Cable => (0.3, 0.3),
            Self::Kill | Self::KillAlone => (1.5, 1.5),
        };
        Bound { median, p95 }
    }

    /// What the pair has to be like.
    pub(crate) fn needs(self) -> Needs {
        Needs {
            nat: matches!(self, Self::Rebind | Self::RebindRelayed),
            relayed: matches!(self, Self::RebindRelayed | Self::Relay),
            two_roots: self == Self::Relay,
            both_families: self == Self::Family,
        }
    }

    /// Lets it happen, for the `run`th time. Returns the moment from which on a lack of datagrams counts: when it was applied; where
    /// addresses change, when the kernel lists the new ones as usable; where something comes back, when that begins.
    ///
    /// # Errors
    /// When it cannot be applied.
    pub(crate) fn strike(self, scene: &mut Scene, run: u32) -> Result<Instant> {
        let now = Instant::now();
        let [a, b] = scene.hosts();
        match self {
            Self::Address => {
                return a.set_address(elsewhere(&a, moving(scene)?, run));
            }
            Self::Both => {
                let family = moving(scene)?;
                // Both have to be there.
                return std::thread::scope(|scope| {
                    let other = scope.spawn(|| b.set_address(elsewhere(&b, family, run)));
                    let first = a.set_address(elsewhere(&a, family, run))?;
                    Ok(first.max(other.join().map_err(|_| anyhow!("a thread panicked"))??))
                });
            }
            Self::Blind => scene.lab().forbid(&a, &b)?,
            Self::Forth => scene.lab().cut(&a, &b)?,
            Self::Back => scene.lab().cut(&b, &a)?,
            Self::Rebind | Self::RebindRelayed => {
                // Never the same twice in a row, nor those that a router picks by itself.
                let first = 20_000 + (run as u16 % 200) * PORTS;
                a.rebind(&(first..=first + PORTS - 1))?;
            }
            Self::Relay => {
                let busy = scene.busy_root()?;
                let now = Instant::now();
                // Lost on the way first: a dead machine does not say that nobody listens.
                let host = scene.roots()[busy].host.clone();
                scene.lab().isolate(&host)?;
                scene.root_mut(busy)?.kill()?;
                return Ok(now);
            }
            Self::Family => scene.lab().lose_family(&a, scene.family_in_use()?)?,
            Self::Idle => {
                scene.silence();
                std::thread::sleep(scene.idle / 2);
                scene.lab().forbid(&a, &b)?;
                std::thread::sleep(scene.idle / 2);
                let now = Instant::now();
                scene.speak()?;
                return Ok(now);
            }
            Self::Root => {
                let root = scene.root_mut(0)?;
                root.kill()?;
                root.start()?;
                root.wait_ready()?;
            }
            Self::Cable => {
                scene.lab().fix_neighbours()?;
                scene.lab().carrier(&a, false)?;
                std::thread::sleep(OUT);
                let now = Instant::now();
                scene.lab().carrier(&a, true)?;
                return Ok(now);
            }
            Self::Kill | Self::KillAlone => {
                if self == Self::KillAlone {
                    for number in 0..scene.roots().len() {
                        scene.root_mut(number)?.kill()?;
                    }
                }
                let node = scene.end_mut(0)?;
                node.kill()?;
                let now = Instant::now();
                node.start()?;
                return Ok(now);
            }
        }
        Ok(now)
    }

    /// Undoes what [`Fault::strike`] did, as far as it does not stay that way.
    ///
    /// # Errors
    /// When it cannot be undone.
    pub(crate) fn heal(self, scene: &mut Scene) -> Result<()> {
        let [a, b] = scene.hosts();
        match self {
            Self::Blind | Self::Idle => scene.lab().allow(&a, &b),
            Self::Forth => scene.lab().mend(&a, &b),
            Self::Back => scene.lab().mend(&b, &a),
            Self::Family => scene.lab().mend_family(&a),
            Self::Relay => {
                let dead = scene.roots().iter().position(|root| root.pid().is_none());
                let Some(dead) = dead else { bail!("no root is dead") };
                let host = scene.roots()[dead].host.clone();
                scene.lab().rejoin(&host)?;
                scene.root_mut(dead)?.start()?;
                scene.root_mut(dead)?.wait_ready()
            }
            Self::KillAlone => {
                for number in 0..scene.roots().len() {
                    scene.root_mut(number)?.start()?;
                    scene.root_mut(number)?.wait_ready()?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// Of which family machines get another address: the one in use.
fn moving(scene: &Scene) -> Result<Family> {
    match scene.hosts()[0].family {
        Family::Both => scene.family_in_use(),
        family => Ok(family),
    }
}

/// An address of a family for a machine that it has not had before, as far as there are some.
fn elsewhere(host: &Host, family: Family, run: u32) -> IpAddr {
    let number = 2 + (run % 250) as u8;
    match family {
        Family::V6 => {
            let mut segments = host.public6().segments();
            segments[7] = number.into();
            Ipv6Addr::from(segments).into()
        }
        Family::V4 | Family::Both => {
            let [a, b, c, _] = host.public.octets();
            Ipv4Addr::new(a, b, c, number).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_have_names() {
        for fault in Fault::ALL {
            assert_eq!(Fault::named(fault.name()).unwrap(), fault);
            assert!(fault.bound().median <= fault.bound().p95);
        }
        assert!(Fault::named("").is_err());
    }
}
