//! A lab: the internet segment and the hosts on it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, bail};

use crate::emulator::{Emulator, Quality};
use crate::namespace::Namespace;
use crate::nat::NatKind;
use crate::registry;

/// How a host is attached to the internet segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// With a public address of its own.
    Public,
    /// Behind a router of this kind, as 192.168.1.10 in 192.168.1.0/24: the same in every cloud.
    Nat(NatKind),
}

impl Access {
    /// As a person calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Public => "no NAT",
            Self::Nat(kind) => kind.name(),
        }
    }
}

impl Access {
    /// Whether two nodes attached like this can find a direct path, see [`NatKind::punches`].
    pub fn punches(self, other: Self) -> bool {
        match (self, other) {
            (Self::Nat(a), Self::Nat(b)) => a.punches(b),
            _ => true,
        }
    }
}

/// Which addresses hosts have on the internet segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Family {
    /// IPv4 alone.
    #[default]
    V4,
    /// IPv6 alone.
    V6,
    /// Both.
    Both,
}

/// The address of every host behind a NAT.
pub const INSIDE: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 10);

/// A machine of the lab.
#[derive(Debug)]
pub struct Host {
    /// Its name in the lab: `aws`, `root` …
    pub name: String,
    /// Where its processes run.
    pub namespace: Namespace,
    /// Where its traffic meets the internet: its NAT router, or itself.
    pub border: Namespace,
    /// How it is attached.
    pub access: Access,
    /// The IPv4 address the others see, if any: see `family`.
    pub public: Ipv4Addr,
    /// Which addresses it has.
    pub family: Family,
}

impl Host {
    /// The IPv6 address the others see, if any: 2a99::n:1 in 2a99::/64, where the IPv4 address is 80.0.n.1.
    pub fn public6(&self) -> Ipv6Addr {
        Ipv6Addr::new(0x2a99, 0, 0, 0, 0, 0, self.public.octets()[2].into(), 1)
    }

    /// All addresses the others see.
    pub fn addresses(&self) -> Vec<IpAddr> {
        let (four, six) = (IpAddr::V4(self.public), IpAddr::V6(self.public6()));
        match self.family {
            Family::V4 => vec![four],
            Family::V6 => vec![six],
            Family::Both => vec![four, six],
        }
    }

    /// Streams of this host repeat themselves at least once a second from now on, where the kernel can be told so (Linux 6.15):
    /// where a third of all frames is lost, TCP's doubling pauses soon outlast any limit of a test, and it is the node that is
    /// tested.
    ///
    /// # Errors
    /// When the namespace cannot be entered.
    pub fn limit_pauses(&self) -> Result<()> {
        self.namespace.inside(|| std::fs::write("/proc/sys/net/ipv4/tcp_rto_max_ms", "1000").ok())?;
        Ok(())
    }

    /// The interface of [`Host::border`] that meets the internet.
    pub fn outside(&self) -> &'static str {
        if self.access == Access::Public { "eth0" } else { "wan" }
    }
}

/// Network namespaces that belong together. Dropping a lab removes it, unless [`Lab::keep`] was called.
#[derive(Debug)]
pub struct Lab {
    name: String,
    dir: PathBuf,
    internet: Namespace,
    hosts: Vec<Arc<Host>>,
    family: Family,
    /// Lines in front of hosts, by the hosts' numbers.
    lines: BTreeMap<usize, Emulator>,
    kept: bool,
}

static COUNT: AtomicU32 = AtomicU32::new(0);

impl Lab {
    /// A lab with a name nobody else uses.
    ///
    /// # Errors
    /// Without the rights to make namespaces.
    pub fn new() -> Result<Self> {
        Self::named(&format!("t{:x}x{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)))
    }

    /// A lab called `name`: at most 12 letters and digits.
    ///
    /// # Errors
    /// When it exists already, or without the rights to make namespaces.
    pub fn named(name: &str) -> Result<Self> {
        let dir = registry::enter(name)?;
        let made = Namespace::create(name, "internet").and_then(|internet| {
            internet.ip("link add br0 type bridge\nlink set br0 up\n")?;
            Ok(internet)
        });
        match made {
            Ok(internet) => Ok(Self {
                name: name.to_owned(),
                dir,
                internet,
                hosts: Vec::new(),
                family: Family::V4,
                lines: BTreeMap::new(),
                kept: false,
            }),
            Err(error) => {
                // The error above is the one worth reporting.
                let _ = registry::down(name);
                Err(error.context("cannot make the lab's internet segment"))
            }
        }
    }

    /// Its name, as `ztlab down` takes it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it keeps homes and logs.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The namespace of the bridge that everything public is plugged into.
    pub fn internet(&self) -> &Namespace {
        &self.internet
    }

    /// All hosts, in the order they were added.
    pub fn hosts(&self) -> &[Arc<Host>] {
        &self.hosts
    }

    /// The host called `name`.
    ///
    /// # Errors
    /// When there is none.
    pub fn host(&self, name: &str) -> Result<Arc<Host>> {
        let found = self.hosts.iter().find(|host| host.name == name);
        found.cloned().with_context(|| format!("lab {} has no host {name}", self.name))
    }

    /// Leaves the lab up when this value goes away.
    ///
    /// # Errors
    /// When that cannot be written down.
    pub fn keep(&mut self) -> Result<()> {
        self.kept = true;
        registry::keep(&self.name)
    }

    /// Which addresses hosts have that are added from now on.
    pub fn set_family(&mut self, family: Family) {
        self.family = family;
    }

    /// Adds a host.
    ///
    /// The public side is 80.0.0.0/16: addresses that ZeroTier counts as global, unlike the documentation ranges, which
    /// it treats as private. They exist in the lab's namespaces only.
    ///
    /// # Errors
    /// When the name is taken, or the namespaces or interfaces cannot be made.
    pub fn add(&mut self, name: &str, access: Access) -> Result<Arc<Host>> {
        if self.hosts.iter().any(|host| host.name == name) {
            bail!("lab {} has a host {name} already", self.name);
        }
        let number = u8::try_from(self.hosts.len() + 1).context("a lab has at most 255 hosts")?;
        let public = Ipv4Addr::new(80, 0, number, 1);
        if access != Access::Public && self.family != Family::V4 {
            bail!("{name}: NAT routers of a lab are for IPv4 alone");
        }
        let namespace = Namespace::create(&self.name, name)?;
        let border = match access {
            Access::Public => {
                self.plug(number, &namespace, "eth0")?;
                namespace.clone()
            }
            Access::Nat(kind) => {
                let router = Namespace::create(&self.name, &format!("{name}-nat"))?;
                self.plug(number, &router, "wan")?;
                router.ip(&format!("link add lan type veth peer name eth0 netns {}\n", namespace.name()))?;
                router.ip("addr add 192.168.1.1/24 dev lan\nlink set lan up\n")?;
                namespace.ip(&format!(
                    "addr add {INSIDE}/24 dev eth0\nlink set eth0 up\nroute add default via 192.168.1.1\n"
                ))?;
                router.run("sysctl", &["-qw", "net.ipv4.ip_forward=1"])?;
                router.nft(&kind.ruleset())?;
                router
            }
        };
        let host = Host { name: name.to_owned(), namespace, border, access, public, family: self.family };
        for address in host.addresses() {
            // No other has it, and nobody shall have to wait until the kernel has found that out.
            let (length, once) = if address.is_ipv4() { (16, "") } else { (64, " nodad") };
            host.border.ip(&format!("addr add {address}/{length} dev {}{once}\n", host.outside()))?;
        }
        let host = Arc::new(host);
        self.hosts.push(Arc::clone(&host));
        Ok(host)
    }

    /// Connects `namespace` to the bridge by an interface that has no address yet.
    fn plug(&self, number: u8, namespace: &Namespace, interface: &str) -> Result<()> {
        self.internet.ip(&format!(
            "link add p{number} type veth peer name {interface} netns {}\n\
             link set p{number} master br0\nlink set p{number} up\n",
            namespace.name()
        ))?;
        namespace.ip(&format!("link set {interface} up\n"))
    }

    /// Drops all UDP between two hosts, both ways. Everything else, and the way over a third host, stays open.
    ///
    /// # Errors
    /// When the rules cannot be loaded.
    pub fn block_udp(&self, a: &Host, b: &Host) -> Result<()> {
        for (here, there) in [(a, b), (b, a)] {
            let far = there.public;
            let chain = |hook: &str| {
                format!(
                    "  chain {hook} {{\n    type filter hook {hook} priority -200; policy accept;\n    \
                     meta l4proto udp ip saddr {far} drop\n    meta l4proto udp ip daddr {far} drop\n  }}\n"
                )
            };
            let chains: String = ["input", "output", "forward"].map(chain).concat();
            here.border.nft(&format!("table ip block_{} {{\n{chains}}}\n", there.name.replace('-', "_")))?;
        }
        Ok(())
    }

    /// Undoes [`Lab::block_udp`].
    ///
    /// # Errors
    /// When it was not blocked.
    pub fn unblock_udp(&self, a: &Host, b: &Host) -> Result<()> {
        for (here, there) in [(a, b), (b, a)] {
            here.border.nft(&format!("delete table ip block_{}\n", there.name.replace('-', "_")))?;
        }
        Ok(())
    }

    /// From now on the line in front of `host` is like this: `out` for what it sends, `back` for what it gets. The line is put in
    /// at the first call, with `seed`; later ones change it and leave its dice as they are.
    ///
    /// Before that no fault may have been applied to the host: faults strike beyond the line.
    ///
    /// # Errors
    /// When the host is not of this lab, or the devices cannot be made.
    pub fn line(&mut self, host: &Host, out: Quality, back: Quality, seed: u64) -> Result<()> {
        let number = self.number(host)?;
        if !self.lines.contains_key(&number) {
            self.lines.insert(number, Emulator::insert(&self.internet, number, seed)?);
        }
        self.lines[&number].set(out, back);
        Ok(())
    }

    /// The host's number, from which its addresses and devices have their names.
    pub(crate) fn number(&self, host: &Host) -> Result<usize> {
        let index = self.hosts.iter().position(|other| other.name == host.name);
        Ok(1 + index.with_context(|| format!("lab {} has no host {}", self.name, host.name))?)
    }

    /// Whether there is a line in front of the host with this number.
    pub(crate) fn has_line(&self, number: usize) -> bool {
        self.lines.contains_key(&number)
    }

    /// From now on `percent` of the host's UDP datagrams are lost, in each direction. 0 ends it.
    ///
    /// The pauses of its streams are limited, see [`Host::limit_pauses`].
    ///
    /// # Errors
    /// When the rules cannot be loaded.
    pub fn loss(&self, host: &Host, percent: u8) -> Result<()> {
        let chain = |hook: &str| {
            format!(
                "  chain {hook} {{\n    type filter hook {hook} priority -190; policy accept;\n    \
                 meta l4proto udp numgen random mod 100 < {percent} drop\n  }}\n"
            )
        };
        let hooks: &[&str] = match host.access {
            Access::Public => &["input", "output"],
            Access::Nat(_) => &["forward"],
        };
        let chains: String = hooks.iter().map(|hook| chain(hook)).collect();
        host.limit_pauses()?;
        host.border.nft(&format!("table ip loss\ndelete table ip loss\ntable ip loss {{\n{chains}}}\n"))
    }

    /// Pulls or plugs the host's cable to the internet.
    ///
    /// # Errors
    /// When the interface cannot be changed.
    pub fn cable(&self, host: &Host, plugged: bool) -> Result<()> {
        let interface = host.outside();
        host.border.ip(&format!("link set {interface} {}\n", if plugged { "up" } else { "down" }))
    }

    /// Bytes the host has sent to the internet segment so far: the difference tells who carries a stream.
    ///
    /// # Errors
    /// When the counters cannot be read.
    pub fn sent_bytes(&self, host: &Host) -> Result<u64> {
        let interface = host.outside();
        let text = host.border.run("ip", &["-s", "-j", "link", "show", "dev", interface])?;
        let json: serde_json::Value = serde_json::from_str(&text)?;
        json[0]["stats64"]["tx"]["bytes"].as_u64().with_context(|| format!("no counters in {text}"))
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // They need this process in any case.
        self.lines.clear();
        if self.kept {
            return;
        }
        if let Err(error) = registry::down(&self.name) {
            eprintln!("lab {} is not gone: {error:#}", self.name);
        }
    }
}
