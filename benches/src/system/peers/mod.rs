//! Other systems, one a file. Each runs with the defaults its package gives it; only addresses and keys are ours.

mod n2n;
mod nebula;
mod probe;
mod tinc;
mod wireguard;

use anyhow::{Context, Result, bail};

use super::link::{self, Link};
use super::process::{self, Process};
use super::{Scope, System};

/// Another system that can take part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// wireguard-go, in user space.
    WireguardGo,
    /// Nebula.
    Nebula,
    /// tinc as a switch.
    Tinc,
    /// n2n.
    N2n,
    /// The ceiling probe: our offloads, no crypto, no protocol.
    Probe,
}

impl Peer {
    /// Those of other people.
    pub(crate) const ALL: [Self; 4] = [Self::WireguardGo, Self::Nebula, Self::Tinc, Self::N2n];

    /// As the command line and the tables call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::WireguardGo => "wireguard-go",
            Self::Nebula => "nebula",
            Self::Tinc => "tinc",
            Self::N2n => "n2n",
            Self::Probe => "ceiling probe",
        }
    }

    /// The peer called `name`, which must be installed.
    ///
    /// # Errors
    /// When there is no such peer, or one of its programs is absent.
    pub(crate) fn named(name: &str) -> Result<Self> {
        let Some(peer) = Self::ALL.into_iter().find(|peer| peer.name() == name) else {
            let names = Self::ALL.map(Self::name).join(", ");
            bail!("no peer `{name}`: there are {names}");
        };
        if let Some((program, package)) = peer.missing() {
            bail!(
                "{name}: no program `{program}`: install the package {package} (`make bench PEERS=1` does)"
            );
        }
        Ok(peer)
    }

    /// The first program it needs that cannot be found, and its Debian package.
    pub(crate) fn missing(self) -> Option<(&'static str, &'static str)> {
        let needs: &[(&str, &str)] = match self {
            Self::WireguardGo if std::env::var_os("WG_GO").is_some() => &[("wg", "wireguard-tools")],
            Self::WireguardGo => &[("wg", "wireguard-tools"), ("wireguard-go", "wireguard-go")],
            Self::Nebula => &[("nebula", "nebula"), ("nebula-cert", "nebula")],
            Self::Tinc => &[("tincd", "tinc")],
            Self::N2n => &[("edge", "n2n"), ("supernode", "n2n")],
            Self::Probe => &[],
        };
        if self == Self::Probe && !probe::program().is_ok_and(|program| program.is_file()) {
            return Some(("ztprobe", "none: `cargo build --package benches --bins`"));
        }
        needs.iter().copied().find(|(program, _)| !process::installed(program))
    }

    /// Starts it at both ends of a new cable.
    ///
    /// # Errors
    /// When it does not start or its ends do not reach each other.
    pub(crate) fn start(self) -> Result<System> {
        let link = Link::new()?;
        let started = match self {
            Self::WireguardGo => wireguard::start(&link),
            Self::Nebula => nebula::start(&link),
            Self::Tinc => tinc::start(&link),
            Self::N2n => n2n::start(&link),
            Self::Probe => probe::start(&link),
        };
        let started = started.context(self.name())?;
        let sides = link.sides(|side| (link::overlay(side), Some(started.processes[side].pid())));
        process::meet([0, 1].map(|side| (&sides[side].namespace, sides[side].address)))?;
        let mut system = System::assemble(self.name(), started.version, link, sides, started.processes)?;
        system.scope = self.scope();
        Ok(system)
    }

    /// How much of it is measured: all of what is close to us, the main figures of the rest.
    pub(crate) fn scope(self) -> Scope {
        match self {
            Self::Probe => Scope::All,
            Self::WireguardGo => Scope::Conditions,
            _ => Scope::Main,
        }
    }
}

/// The running programs: the daemons of both sides first, then helpers.
struct Started {
    version: String,
    processes: Vec<Process>,
}
