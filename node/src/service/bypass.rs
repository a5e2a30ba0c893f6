//! Keeps the node's own packets on the way they had before a joined network took the machine's default route, and lets the
//! kernel know that way: where reverse path filtering is strict, it takes nothing that comes by another.

use std::collections::{BTreeSet, VecDeque};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use nix::net::if_::if_indextoname;
use tokio::time::Instant;

use crate::os::netlink::{Netlink, NetlinkError};
use crate::os::rules::{Family, Rule, WayChanges, wanted};

/// Changes that come within this time of one another are looked at once.
const SETTLE: Duration = Duration::from_millis(100);
/// So many repairs in a minute are done at once; more wait.
const REPAIRS: usize = 5;
const MINUTE: Duration = Duration::from_secs(60);
/// Settings of interfaces, among them their reverse path filter.
const FILTERS: &str = "/proc/sys/net/ipv4/conf";
const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

/// Policy rules and a table for the node's own packets, while a default route leads through one of our ports.
pub(super) struct Bypass {
    netlink: Option<Netlink>,
    changes: Option<WayChanges>,
    /// For which families they are there, and what they were made of.
    active: [bool; 2],
    own: BTreeSet<u32>,
    udp: Vec<(SocketAddr, Option<u32>)>,
    /// When to look whether they are still right.
    due: Option<Instant>,
    /// The last repairs.
    repairs: VecDeque<Instant>,
    /// The last problem, so that it is reported once.
    problem: Option<String>,
}

impl Bypass {
    pub(super) fn new(netlink: Option<Netlink>) -> Self {
        Bypass {
            netlink,
            changes: None,
            active: [false; 2],
            own: BTreeSet::new(),
            udp: Vec::new(),
            due: None,
            repairs: VecDeque::new(),
            problem: None,
        }
    }

    /// Removes whatever is there, also of an earlier run that was killed.
    pub(super) async fn clear(&mut self) {
        for family in FAMILIES {
            if let Err(error) = self.set(family, false).await {
                tracing::debug!(%error, "policy rules or routes of an earlier run may be left");
            }
        }
        (self.active, self.changes, self.due) = ([false; 2], None, None);
    }

    /// Puts right what is not. `defaults`: whether a default route leads through one of our ports, for IPv4 and IPv6; `udp`: our
    /// sockets, each with the index of the interface that it cannot but send by; `own`: indices of our ports.
    pub(super) async fn keep(
        &mut self,
        defaults: [bool; 2],
        udp: Vec<(SocketAddr, Option<u32>)>,
        own: BTreeSet<u32>,
    ) {
        let now = Instant::now();
        let is_due = self.due.is_some_and(|due| due <= now);
        let began = self.active != defaults || self.own != own || self.udp != udp;
        if !began && !is_due {
            return;
        }
        self.due = None;
        (self.own, self.udp) = (own, udp);
        // Listening first: what changes after that is seen.
        match defaults {
            [false, false] => self.changes = None,
            _ if self.changes.is_none() => {
                self.changes = WayChanges::subscribe()
                    .inspect_err(|error| tracing::debug!(%error, "changes of policy rules are not seen"))
                    .ok();
            }
            _ => {}
        }
        let mut problem = None;
        let mut changed = false;
        for (at, family) in FAMILIES.into_iter().enumerate() {
            if !defaults[at] && !self.active[at] {
                continue;
            }
            match self.set(family, defaults[at]).await {
                Ok(did) => changed |= did,
                Err(error) => problem = problem.or(Some(error.to_string())),
            }
        }
        self.active = defaults;
        if changed && !began {
            tracing::info!(
                "policy rules or routes for the node's own packets were not as they should be, and were set again"
            );
            self.repairs.push_back(now);
            self.repairs.truncate(REPAIRS);
        }
        if let Some(text) = problem.as_ref().filter(|_| problem != self.problem) {
            tracing::warn!("{text}{}", remedy(&strict_interfaces(Path::new(FILTERS))));
        }
        self.problem = problem;
    }

    /// Makes rules and table of a family what they should be. Returns whether something was changed.
    async fn set(&self, family: Family, active: bool) -> Result<bool, NetlinkError> {
        let Some(netlink) = &self.netlink else { return Ok(false) };
        let rules = if active { self.wanted(family) } else { Vec::new() };
        let own = |index| self.own.contains(&index);
        // The table comes before the rules that lead to it, and goes after them.
        if !rules.is_empty() {
            let copied = netlink.copy_default_routes(family, Some(&own)).await?;
            return Ok(netlink.set_rules(family, &rules).await? || copied);
        }
        let removed = netlink.set_rules(family, &rules).await?;
        Ok(netlink.copy_default_routes(family, None).await? || removed)
    }

    /// The rules that a family cannot do without. Each costs every packet of the machine some time: where sockets are tied to their
    /// interface and nothing is filtered, there are none.
    fn wanted(&self, family: Family) -> Vec<Rule> {
        let of_family = self.udp.iter().filter(|(local, _)| local.is_ipv6() == (family == Family::V6));
        let marked = of_family.clone().any(|(_, tied)| tied.is_none());
        let strict = strict_interfaces(Path::new(FILTERS));
        let mut filtered = Vec::new();
        for (local, tied) in of_family {
            let name =
                tied.map(|index| if_indextoname(index).map(|name| name.to_string_lossy().into_owned()));
            let is_filtered = match name {
                Some(Ok(name)) => strict.contains(&name),
                Some(Err(_)) | None => !strict.is_empty(),
            };
            if let SocketAddr::V4(local) = local
                && is_filtered
            {
                filtered.push(*local);
            }
        }
        wanted(marked, &filtered)
    }

    /// Waits until somebody changed something.
    pub(super) async fn changed(&mut self) {
        let told = match &mut self.changes {
            Some(changes) => changes.next().await,
            None => std::future::pending().await,
        };
        if told.is_none() {
            // A look from time to time has to do.
            self.changes = None;
        }
    }

    /// Something may not be right any more: [`Self::due`] says when to look.
    pub(super) fn doubt(&mut self) {
        let now = Instant::now();
        self.repairs.retain(|then| now - *then < MINUTE);
        let crowded = self.repairs.front().filter(|_| self.repairs.len() >= REPAIRS);
        let when = crowded.map_or(now + SETTLE, |first| *first + MINUTE);
        self.due = Some(self.due.map_or(when, |due| due.min(when)));
    }

    /// When [`Self::keep`] has something to look at.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// What keeps it from working, for people.
    pub(super) fn problem(&self) -> Option<String> {
        let strict = remedy(&strict_interfaces(Path::new(FILTERS)));
        self.problem.as_ref().map(|problem| format!("{problem}{strict}"))
    }
}

/// What a person can do when there can be no rules.
fn remedy(strict: &[String]) -> String {
    match strict.first() {
        None => String::new(),
        Some(name) => format!(
            "; reverse path filtering of {} drops what peers send while a joined network has the default route: set net.ipv4.conf.{name}.rp_filter to 2",
            strict[..strict.len().min(3)].join(", ")
        ),
    }
}

/// Interfaces whose reverse path filtering is strict, by the settings in a folder: the greater one of its own and everybody's
/// counts.
fn strict_interfaces(folder: &Path) -> Vec<String> {
    let level = |name: &str| {
        let text = fs::read_to_string(folder.join(name).join("rp_filter")).unwrap_or_default();
        text.trim().parse::<u32>().unwrap_or(0)
    };
    let all = level("all");
    let names = fs::read_dir(folder).into_iter().flatten().flatten();
    let names = names.filter_map(|entry| entry.file_name().into_string().ok());
    let real = names.filter(|name| !["all", "default", "lo"].contains(&name.as_str()));
    let mut strict: Vec<String> = real.filter(|name| level(name).max(all) == 1).collect();
    strict.sort_unstable();
    strict
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn repairs_are_damped() {
        let mut bypass = Bypass::new(None);
        let begun = Instant::now();
        for _ in 0..REPAIRS {
            bypass.due = None;
            bypass.doubt();
            assert_eq!(bypass.due(), Some(Instant::now() + SETTLE));
            bypass.repairs.push_back(Instant::now());
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        bypass.due = None;
        bypass.doubt();
        assert_eq!(bypass.due(), Some(begun + MINUTE));
        tokio::time::advance(MINUTE).await;
        bypass.due = None;
        bypass.doubt();
        assert_eq!(bypass.due(), Some(Instant::now() + SETTLE));
    }

    #[test]
    fn names_the_interfaces_that_filter() {
        let folder = tempfile::tempdir().unwrap();
        let set = |name: &str, value: &str| {
            fs::create_dir_all(folder.path().join(name)).unwrap();
            fs::write(folder.path().join(name).join("rp_filter"), value).unwrap();
        };
        for (name, value) in [
            ("all", "0\n"),
            ("default", "1\n"),
            ("lo", "1"),
            ("eth0", "1\n"),
            ("eth1", "2\n"),
            ("eth2", "0\n"),
        ] {
            set(name, value);
        }
        assert_eq!(strict_interfaces(folder.path()), ["eth0"]);
        set("all", "1\n");
        assert_eq!(strict_interfaces(folder.path()), ["eth0", "eth2"]);
        assert!(remedy(&["eth0".into()]).contains("net.ipv4.conf.eth0.rp_filter to 2"));
        set("all", "2\n");
        assert_eq!(strict_interfaces(folder.path()), [""; 0]);
        assert_eq!(strict_interfaces(&folder.path().join("absent")), [""; 0]);
    }
}
