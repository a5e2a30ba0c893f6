//! What goes wrong underneath: ways that die without a word, cables that are pulled, machines that move, NAT routers that
//! forget.
//!
//! What is lost here is lost between the hosts, at the internet's bridge: no host is told, as it would be of a datagram that its
//! own firewall refuses.

use std::fs;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::Value;

use crate::emulator;
use crate::host::{Family, Host, Lab};
use crate::tool;

/// How long the kernel may take to see that a cable is plugged in, or that an address is usable.
const PATIENCE: Duration = Duration::from_secs(5);

/// UDP, in the words of nft.
const UDP: [&str; 2] = ["ether type ip ip protocol udp", "ether type ip6 ip6 nexthdr udp"];

/// What comes in and goes out at a port of the bridge, in the words of nft.
fn at(port: &str) -> [String; 2] {
    ["iifname", "oifname"].map(|side| format!("{side} \"{port}\""))
}

/// Waits until the namespace of this thread lists the address as usable; the last moment at which it did not.
fn wait_usable(address: IpAddr) -> Result<Instant> {
    let begin = Instant::now();
    let mut last = begin;
    loop {
        let now = Instant::now();
        if is_usable(address)? {
            return Ok(last);
        }
        last = now;
        ensure!(begin.elapsed() < PATIENCE, "{address} is not usable after {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Whether the namespace of this thread has the address, and if it is an IPv6 one knows it to be no duplicate.
fn is_usable(address: IpAddr) -> Result<bool> {
    const TENTATIVE: u32 = 0x40;
    match address {
        IpAddr::V4(address) => {
            let table = fs::read_to_string("/proc/thread-self/net/fib_trie")?;
            let leaf = format!("|-- {address}");
            let mut lines = table.lines().map(str::trim);
            Ok(lines.any(|line| line == leaf) && lines.next() == Some("/32 host LOCAL"))
        }
        IpAddr::V6(address) => {
            let table = fs::read_to_string("/proc/thread-self/net/if_inet6")?;
            let written: String = address.octets().iter().map(|octet| format!("{octet:02x}")).collect();
            let flags = table.lines().find_map(|line| {
                let mut words = line.split_whitespace();
                if words.next()? == written { u32::from_str_radix(words.nth(3)?, 16).ok() } else { None }
            });
            Ok(flags.is_some_and(|flags| flags & TENTATIVE == 0))
        }
    }
}

impl Lab {
    /// The port of the internet's bridge behind which the host is.
    fn port(&self, host: &Host) -> Result<String> {
        let number = self.number(host)?;
        Ok(if self.has_line(number) { emulator::outer(number) } else { format!("p{number}") })
    }

    /// From now on UDP that `from` sends to `to` is lost on the way. The other direction stays as it is.
    ///
    /// # Errors
    /// When the rules cannot be loaded.
    pub fn cut(&self, from: &Host, to: &Host) -> Result<()> {
        let (from, to) = (self.port(from)?, self.port(to)?);
        self.lose(&format!("cut_{from}_{to}"), &UDP, &[format!("iifname \"{from}\" oifname \"{to}\"")])
    }

    /// Undoes [`Lab::cut`].
    ///
    /// # Errors
    /// When nothing was cut.
    pub fn mend(&self, from: &Host, to: &Host) -> Result<()> {
        let (from, to) = (self.port(from)?, self.port(to)?);
        self.internet().nft(&format!("delete table bridge cut_{from}_{to}\n"))
    }

    /// From now on UDP between two hosts is lost on the way, in both directions.
    ///
    /// # Errors
    /// When the rules cannot be loaded.
    pub fn forbid(&self, a: &Host, b: &Host) -> Result<()> {
        let (a, b) = (self.port(a)?, self.port(b)?);
        let ways = [(&a, &b), (&b, &a)].map(|(from, to)| format!("iifname \"{from}\" oifname \"{to}\""));
        self.lose(&format!("forbid_{a}_{b}"), &UDP, &ways)
    }

    /// Undoes [`Lab::forbid`].
    ///
    /// # Errors
    /// When it was not forbidden.
    pub fn allow(&self, a: &Host, b: &Host) -> Result<()> {
        let (a, b) = (self.port(a)?, self.port(b)?);
        self.internet().nft(&format!("delete table bridge forbid_{a}_{b}\n"))
    }

    /// From now on all UDP to and from the host is lost on the way, as if the machine had died.
    ///
    /// # Errors
    /// When the rules cannot be loaded.
    pub fn isolate(&self, host: &Host) -> Result<()> {
        let port = self.port(host)?;
        self.lose(&format!("isolate_{port}"), &UDP, &at(&port))
    }

    /// Undoes [`Lab::isolate`].
    ///
    /// # Errors
    /// When it was not isolated.
    pub fn rejoin(&self, host: &Host) -> Result<()> {
        self.internet().nft(&format!("delete table bridge isolate_{}\n", self.port(host)?))
    }

    /// From now on UDP over this family to and from the host is lost on the way. The other stays as it is.
    ///
    /// # Errors
    /// When the rules cannot be loaded.
    pub fn lose_family(&self, host: &Host, family: Family) -> Result<()> {
        let kinds = match family {
            Family::V4 => &UDP[..1],
            Family::V6 => &UDP[1..],
            Family::Both => &UDP[..],
        };
        let port = self.port(host)?;
        self.lose(&format!("family_{port}"), kinds, &at(&port))
    }

    /// Undoes [`Lab::lose_family`].
    ///
    /// # Errors
    /// When nothing was lost.
    pub fn mend_family(&self, host: &Host) -> Result<()> {
        self.internet().nft(&format!("delete table bridge family_{}\n", self.port(host)?))
    }

    /// Loses at the bridge what goes one of these ways and is one of these kinds.
    fn lose(&self, table: &str, kinds: &[&str], ways: &[String]) -> Result<()> {
        let pairs = ways.iter().flat_map(|way| kinds.iter().map(move |kind| (way, kind)));
        let rules: String = pairs.map(|(way, kind)| format!("    {way} {kind} drop\n")).collect();
        self.internet().nft(&format!(
            "table bridge {table} {{\n  chain forward {{\n    type filter hook forward priority 0; policy accept;\n\
             {rules}  }}\n}}\n"
        ))
    }

    /// Tells the kernels of all hosts the hardware addresses of all others for good, as they would know that of their router: one
    /// that has lost its carrier forgets them, and asks again but once a second.
    ///
    /// # Errors
    /// When an interface cannot be read or changed.
    pub fn fix_neighbours(&self) -> Result<()> {
        let mut known = Vec::new();
        for host in self.hosts() {
            let text = host.border.run("ip", &["-j", "link", "show", "dev", host.outside()])?;
            let shown: Value = serde_json::from_str(&text)?;
            let mac =
                shown[0]["address"].as_str().with_context(|| format!("no hardware address in {text}"))?;
            known.extend(host.addresses().into_iter().map(|address| (&host.name, address, mac.to_owned())));
        }
        for host in self.hosts() {
            let others = known.iter().filter(|(name, ..)| **name != host.name);
            let entry = |(_, address, mac): &(&String, IpAddr, String)| {
                format!("neigh replace {address} lladdr {mac} dev {} nud permanent\n", host.outside())
            };
            host.border.ip(&others.map(entry).collect::<String>())?;
        }
        Ok(())
    }

    /// Pulls the host's cable at its far end, or plugs it in again: the host loses its carrier, and keeps its addresses. Returns
    /// when the host's kernel has seen it.
    ///
    /// # Errors
    /// When the interface cannot be changed.
    pub fn carrier(&self, host: &Host, plugged: bool) -> Result<()> {
        let number = self.number(host)?;
        self.internet().ip(&format!("link set p{number} {}\n", if plugged { "up" } else { "down" }))?;
        let (what, interface) = (format!("the carrier of {}", host.name), host.outside());
        tool::wait_for(&what, PATIENCE, Duration::from_millis(1), || {
            let text = host.border.run("ip", &["-j", "link", "show", "dev", interface])?;
            let shown: Value = serde_json::from_str(&text)?;
            Ok(((shown[0]["operstate"] == "UP") == plugged).then_some(()))
        })
    }
}

impl Host {
    /// The host, or the router in front of it, has this public address from now on, in place of any other of its family. Returns
    /// the last moment at which the kernel was seen not to list it as usable, which an IPv6 address is once it was found to be no
    /// duplicate.
    ///
    /// # Errors
    /// When the interface cannot be changed.
    pub fn set_address(&self, address: IpAddr) -> Result<Instant> {
        let device = self.outside();
        let (segment, length) = if address.is_ipv4() { ("80.0.0.0/16", 16) } else { ("2a99::/64", 64) };
        let batch =
            format!("addr flush to {segment} dev {device}\naddr add {address}/{length} dev {device}\n");
        std::thread::scope(|scope| {
            let change = scope.spawn(|| self.border.ip(&batch));
            // Looked at from here: on a busy machine a tool returns long after it has done its work.
            let seen = self.border.inside(|| wait_usable(address));
            change.join().map_err(|_| anyhow!("a thread panicked"))??;
            seen?
        })
    }

    /// The router in front of the host forgets all mappings, and makes new ones with these outside ports alone.
    ///
    /// Mappings go when the outside address goes: the router loses it and gets it back at once.
    ///
    /// # Errors
    /// When the host has no router in front, or the rules cannot be loaded.
    pub fn rebind(&self, ports: &RangeInclusive<u16>) -> Result<()> {
        let device = self.outside();
        self.border.nft(&format!(
            "flush chain ip nat postrouting\n\
             add rule ip nat postrouting oifname \"{device}\" ip protocol udp masquerade to :{}-{}\n\
             add rule ip nat postrouting oifname \"{device}\" masquerade\n",
            ports.start(),
            ports.end()
        ))?;
        // Which may be another than at first, see [`Host::set_address`].
        let text = self.border.run("ip", &["-4", "-j", "addr", "show", "dev", device])?;
        let shown: Value = serde_json::from_str(&text)?;
        let address = shown[0]["addr_info"][0]["local"].as_str().context("the router has no address")?;
        self.border.ip(&format!("addr del {address}/16 dev {device}\naddr add {address}/16 dev {device}\n"))
    }
}
