//! Policy rules for the node's own packets, and the routing table that they lead to: the default routes that the machine had
//! before a joined network took its traffic.
//!
//! Specification: ip-rule(8); Linux, `fib_rules.h`. Rules and routes bear a protocol number of their own: nothing else is ever
//! removed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV4};

use futures_util::stream::{StreamExt, TryStreamExt};
use rtnetlink::packet_core::NetlinkPayload;
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol, RouteType,
};
use rtnetlink::packet_route::rule::{RuleAction, RuleAttribute, RuleMessage, RulePortRange};
use rtnetlink::packet_route::{AddressFamily, IpProtocol, RouteNetlinkMessage};
use rtnetlink::{IpVersion, MulticastGroup, RouteMessageBuilder, new_multicast_connection};
use tokio::sync::mpsc;

use super::netlink::{Netlink, NetlinkError};
use super::udp::{MARK, MARK_MASK};

/// Number of the rules: the last before the main table's, so that whatever the administrator has comes first. Rules made without
/// a number lie here or above, and those that are there already stay before ours.
pub const PRIORITY: u32 = 32_765;
/// Number of the table.
pub const TABLE: u32 = 9993;
/// Protocol number of the rules and of the routes in the table, as `ip -d rule` shows it.
pub const PROTOCOL: u8 = 0x7a;
/// Routes no longer than this count as default routes: a half of everything is a default route in disguise.
const HALF: u32 = 1;

/// With more sockets than this, rules are for their ports alone: every packet of the machine passes all rules.
const MAX_SOCKETS: usize = 8;

/// What is done when it fails.
const ADD_RULES: &str = "add policy rules for the node's own packets";

/// The two families of addresses, each of which has rules and tables of its own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl From<Family> for AddressFamily {
    fn from(family: Family) -> Self {
        match family {
            Family::V4 => AddressFamily::Inet,
            Family::V6 => AddressFamily::Inet6,
        }
    }
}

impl From<Family> for IpVersion {
    fn from(family: Family) -> Self {
        match family {
            Family::V4 => IpVersion::V4,
            Family::V6 => IpVersion::V6,
        }
    }
}

/// Whose packets a rule is for.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Who {
    /// What bears the mark of our sockets.
    Marked,
    /// What comes from one of our UDP sockets (its address, or any, and its port), without a mark: the kernel asks so for the way
    /// back to whoever sent us a packet, when reverse path filtering is on. (`iif lo` would be more exact, but then the kernel
    /// does not look at ports when it asks.)
    Socket(Option<Ipv4Addr>, u16),
}

/// Where a rule leads.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Where {
    /// To the main table, but not to a default route of it.
    Specific,
    /// To our table.
    Ours,
}

/// A rule of ours.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rule {
    /// Whose packets it is for.
    pub who: Who,
    /// Where it leads.
    pub leads: Where,
}

/// The rules for what is `marked`, if that is needed, and for these sockets, in this order.
pub fn wanted(marked: bool, sockets: &[SocketAddrV4]) -> Vec<Rule> {
    let alone = sockets.len() > MAX_SOCKETS;
    let who = |socket: &SocketAddrV4| {
        let ip = Some(*socket.ip()).filter(|ip| !ip.is_unspecified() && !alone);
        Who::Socket(ip, socket.port())
    };
    let mut all: Vec<Who> = sockets.iter().map(who).chain(marked.then_some(Who::Marked)).collect();
    all.sort_unstable();
    all.dedup();
    let pair = |who| [Where::Specific, Where::Ours].map(|leads| Rule { who, leads });
    all.into_iter().flat_map(pair).collect()
}

impl Rule {
    fn message(self, family: Family) -> RuleMessage {
        let mut message = RuleMessage::default();
        message.header.family = family.into();
        message.header.action = RuleAction::ToTable;
        let attributes = &mut message.attributes;
        attributes.push(RuleAttribute::Priority(PRIORITY));
        attributes.push(RuleAttribute::Protocol(PROTOCOL.into()));
        match self.leads {
            Where::Specific => {
                attributes.push(RuleAttribute::Table(RouteHeader::RT_TABLE_MAIN.into()));
                attributes.push(RuleAttribute::SuppressPrefixLen(HALF));
            }
            Where::Ours => attributes.push(RuleAttribute::Table(TABLE)),
        }
        match self.who {
            Who::Marked => {
                attributes.push(RuleAttribute::FwMark(MARK));
                attributes.push(RuleAttribute::FwMask(MARK_MASK));
            }
            Who::Socket(ip, port) => {
                if let Some(ip) = ip {
                    message.header.src_len = 32;
                    attributes.push(RuleAttribute::Source(IpAddr::V4(ip)));
                }
                attributes.push(RuleAttribute::IpProtocol(IpProtocol::Udp));
                attributes.push(RuleAttribute::SourcePortRange(RulePortRange { start: port, end: port }));
            }
        }
        message
    }

    /// Reads a rule. `None`: not one that this version makes.
    fn read(message: &RuleMessage) -> Option<Self> {
        let (mut table, mut suppressed) = (u32::from(message.header.table), None);
        let (mut mark, mut mask, mut source, mut udp, mut port) = (None, None, None, false, None);
        for attribute in &message.attributes {
            match attribute {
                RuleAttribute::Table(number) => table = *number,
                RuleAttribute::SuppressPrefixLen(bits) if *bits != u32::MAX => suppressed = Some(*bits),
                RuleAttribute::FwMark(number) => mark = Some(*number),
                RuleAttribute::FwMask(number) => mask = Some(*number),
                RuleAttribute::Source(IpAddr::V4(ip)) if message.header.src_len == 32 => source = Some(*ip),
                RuleAttribute::IpProtocol(protocol) => udp = *protocol == IpProtocol::Udp,
                RuleAttribute::SourcePortRange(range) if range.start == range.end => port = Some(range.start),
                _ => {}
            }
        }
        let leads = match (table, suppressed) {
            (TABLE, None) => Where::Ours,
            (table, Some(HALF)) if table == u32::from(RouteHeader::RT_TABLE_MAIN) => Where::Specific,
            _ => return None,
        };
        let who = match (mark.zip(mask), port) {
            (Some((MARK, MARK_MASK)), None) => Who::Marked,
            (None, Some(port)) if udp => Who::Socket(source, port),
            _ => return None,
        };
        Some(Rule { who, leads })
    }
}

/// What distinguishes the default routes of a table from one another.
type Key = (Option<IpAddr>, Option<u32>, Option<u32>, usize);

fn key(message: &RouteMessage) -> Key {
    let mut key = Key::default();
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Gateway(RouteAddress::Inet(ip)) => key.0 = Some(IpAddr::V4(*ip)),
            RouteAttribute::Gateway(RouteAddress::Inet6(ip)) => key.0 = Some(IpAddr::V6(*ip)),
            RouteAttribute::Oif(index) => key.1 = Some(*index),
            RouteAttribute::Priority(metric) => key.2 = Some(*metric),
            RouteAttribute::MultiPath(hops) => key.3 = hops.len(),
            _ => {}
        }
    }
    key
}

/// The table that a route is in.
fn table(message: &RouteMessage) -> u32 {
    let named = message.attributes.iter().find_map(|a| match a {
        RouteAttribute::Table(table) => Some(*table),
        _ => None,
    });
    named.unwrap_or(message.header.table.into())
}

fn is_default(message: &RouteMessage) -> bool {
    message.header.destination_prefix_length == 0 && message.header.kind == RouteType::Unicast
}

fn is_of_main_table(message: &RouteMessage) -> bool {
    is_default(message) && table(message) == u32::from(RouteHeader::RT_TABLE_MAIN)
}

fn is_ours(message: &RouteMessage) -> bool {
    table(message) == TABLE && message.header.protocol == RouteProtocol::from(PROTOCOL)
}

/// The same route for our table.
fn copy(message: &RouteMessage) -> RouteMessage {
    let mut copy = message.clone();
    copy.header.table = RouteHeader::RT_TABLE_UNSPEC;
    copy.header.protocol = PROTOCOL.into();
    // Others tell what became of the route, and are refused.
    copy.header.flags &= RouteFlags::Onlink;
    copy.attributes.retain(|attribute| {
        !matches!(
            attribute,
            RouteAttribute::Table(_)
                | RouteAttribute::CacheInfo(_)
                | RouteAttribute::Expires(_)
                | RouteAttribute::NhId(_)
                | RouteAttribute::Uid(_)
        )
    });
    copy.attributes.push(RouteAttribute::Table(TABLE));
    copy
}

impl Netlink {
    /// Makes a family's rules of ours these, in this order; none = removes all. Returns whether something had to be changed.
    ///
    /// # Errors
    /// [`NetlinkError`], also when the kernel did not understand them; then there are none.
    pub async fn set_rules(&self, family: Family, wanted: &[Rule]) -> Result<bool, NetlinkError> {
        let present = self.own_rules(family).await?;
        if present.iter().map(Rule::read).eq(wanted.iter().map(|rule| Some(*rule))) {
            return Ok(false);
        }
        // Their order counts, so that one is not mended alone.
        self.remove_rules(present).await?;
        for rule in wanted {
            let mut request = self.handle.rule().add();
            *request.message_mut() = rule.message(family);
            match request.execute().await.map_err(|e| NetlinkError::new(ADD_RULES, &e)) {
                Err(error) if !error.is(libc::EEXIST) => {
                    let added = self.own_rules(family).await?;
                    self.remove_rules(added).await?;
                    return Err(error);
                }
                _ => {}
            }
        }
        let added = self.own_rules(family).await?;
        if !added.iter().map(Rule::read).eq(wanted.iter().map(|rule| Some(*rule))) {
            self.remove_rules(added).await?;
            // What it does not know it leaves out, and a rule with less in it is for others' packets, too.
            return Err(NetlinkError::because(ADD_RULES, "this kernel does not know all that is in them"));
        }
        Ok(true)
    }

    async fn own_rules(&self, family: Family) -> Result<Vec<RuleMessage>, NetlinkError> {
        let mut found = Vec::new();
        let mut stream = std::pin::pin!(self.handle.rule().get(family.into()).execute());
        while let Some(message) =
            stream.try_next().await.map_err(|e| NetlinkError::new("list policy rules", &e))?
        {
            if message.attributes.contains(&RuleAttribute::Protocol(PROTOCOL.into())) {
                found.push(message);
            }
        }
        Ok(found)
    }

    async fn remove_rules(&self, rules: Vec<RuleMessage>) -> Result<(), NetlinkError> {
        for rule in rules {
            let result = self.handle.rule().del(rule).execute().await;
            match result.map_err(|e| NetlinkError::new("remove a policy rule", &e)) {
                Err(error) if !error.is(libc::ENOENT) => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Makes our table hold the main table's default routes, but none by `own` ports; `None` = empties it. Returns whether
    /// something had to be changed.
    ///
    /// # Errors
    /// [`NetlinkError`].
    pub async fn copy_default_routes(
        &self,
        family: Family,
        own: Option<&dyn Fn(u32) -> bool>,
    ) -> Result<bool, NetlinkError> {
        let query = match family {
            Family::V4 => RouteMessageBuilder::<Ipv4Addr>::new().build(),
            Family::V6 => RouteMessageBuilder::<Ipv6Addr>::new().build(),
        };
        let (mut there, mut wanted) = (Vec::new(), Vec::new());
        let mut stream = std::pin::pin!(self.handle.route().get(query).execute());
        while let Some(message) = stream.try_next().await.map_err(|e| NetlinkError::new("list routes", &e))? {
            if is_ours(&message) {
                there.push(message);
            } else if is_of_main_table(&message)
                && own.is_some_and(|own| key(&message).1.is_none_or(|index| !own(index)))
            {
                wanted.push(copy(&message));
            }
        }
        let mut changed = false;
        for old in there.iter().filter(|old| !wanted.iter().any(|new| key(new) == key(old))) {
            changed = true;
            let result = self.handle.route().del(old.clone()).execute().await;
            match result.map_err(|e| NetlinkError::new("remove a copied default route", &e)) {
                Err(error) if !error.is(libc::ESRCH) => return Err(error),
                _ => {}
            }
        }
        for new in wanted.iter().filter(|new| !there.iter().any(|old| key(old) == key(new))) {
            changed = true;
            let result = self.handle.route().add(new.clone()).execute().await;
            match result.map_err(|e| NetlinkError::new("copy a default route", &e)) {
                // Of several equal ones the first has to do.
                Err(error) if !error.is(libc::EEXIST) => return Err(error),
                _ => {}
            }
        }
        Ok(changed)
    }
}

/// Tells when somebody else changed policy rules or default routes.
#[derive(Debug)]
pub struct WayChanges {
    receiver: mpsc::Receiver<()>,
}

impl WayChanges {
    /// Subscribes; a task on the current tokio runtime listens until the value is dropped.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub fn subscribe() -> std::io::Result<Self> {
        let groups = [
            MulticastGroup::Ipv4Rule,
            MulticastGroup::Ipv6Rule,
            MulticastGroup::Ipv4Route,
            MulticastGroup::Ipv6Route,
        ];
        let (connection, handle, mut messages) = new_multicast_connection(&groups)?;
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(connection);
        tokio::spawn(async move {
            // The connection lives as long as its handle.
            let _handle = handle;
            loop {
                let message = tokio::select! {
                    message = messages.next() => message,
                    () = sender.closed() => None,
                };
                let Some((message, _)) = message else { break };
                if let NetlinkPayload::InnerMessage(message) = &message.payload
                    && concerns(message)
                {
                    // One waiting notice is as good as many.
                    let _ = sender.try_send(());
                }
            }
        });
        Ok(WayChanges { receiver })
    }

    /// Waits for a change. `None`: the kernel closed the socket.
    pub async fn next(&mut self) -> Option<()> {
        self.receiver.recv().await
    }
}

/// Whether a message may mean that our rules or our table are not right any more.
fn concerns(message: &RouteNetlinkMessage) -> bool {
    match message {
        RouteNetlinkMessage::DelRule(_) => true,
        RouteNetlinkMessage::NewRoute(route) => is_of_main_table(route),
        RouteNetlinkMessage::DelRoute(route) => is_of_main_table(route) || is_ours(route),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::testing::{in_namespace, ip};

    fn sockets() -> Vec<SocketAddrV4> {
        ["192.0.2.7:9993", "0.0.0.0:65535"].map(|text| text.parse().unwrap()).into()
    }

    fn said(words: &str) -> String {
        let output = std::process::Command::new("ip").args(words.split_whitespace()).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn rules_are_read_as_they_are_written() {
        for family in [Family::V4, Family::V6] {
            for rule in wanted(true, &sockets()) {
                assert_eq!(Rule::read(&rule.message(family)), Some(rule));
            }
        }
        assert_eq!(Rule::read(&RuleMessage::default()), None);
        assert_eq!(
            (wanted(true, &sockets()).len(), wanted(true, &[]).len(), wanted(false, &[]).len()),
            (6, 2, 0)
        );
        let many: Vec<SocketAddrV4> =
            (0..100).map(|n| SocketAddrV4::new([10, 0, 0, n].into(), 9993)).collect();
        assert_eq!(wanted(true, &many)[2].who, Who::Socket(None, 9993));
        assert_eq!(wanted(true, &many).len(), 4);
    }

    #[test]
    fn sets_mends_and_removes_rules_and_copies_and_nothing_else() {
        in_namespace(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let netlink = Netlink::connect().unwrap();
                ip("link add one type veth peer name two");
                for words in [
                    "addr add 192.0.2.7/24 dev one",
                    "addr add 2001:db8::7/64 dev one nodad",
                    "link set one up",
                    "link set two up",
                    "route add default via 192.0.2.1 metric 100 mtu 1400",
                    "route add default via 192.0.2.2 metric 200",
                    "-6 route add default via 2001:db8::1",
                    "rule add from 192.0.2.9 lookup 77",
                    "rule add pref 32765 from 192.0.2.10 lookup 77",
                ] {
                    ip(words);
                }
                let before = (said("rule"), said("-6 rule"), said("route show table all"));
                let own = |_| false;
                let one = [sockets()[0]];
                for (family, count) in [(Family::V4, 4), (Family::V6, 2)] {
                    let rules = wanted(true, if family == Family::V4 { &one } else { &[] });
                    assert!(netlink.set_rules(family, &rules).await.unwrap());
                    assert!(!netlink.set_rules(family, &rules).await.unwrap(), "nothing is left to do");
                    assert!(netlink.copy_default_routes(family, Some(&own)).await.unwrap());
                    assert!(!netlink.copy_default_routes(family, Some(&own)).await.unwrap());
                    let words = if family == Family::V4 { "rule" } else { "-6 rule" };
                    let shown = said(words);
                    assert_eq!(
                        shown.lines().filter(|l| l.starts_with("32765:") && !l.contains("lookup 77")).count(),
                        count,
                        "{shown}"
                    );
                }
                let shown = said("route show table 9993");
                assert!(shown.contains("via 192.0.2.1 dev one") && shown.contains("mtu 1400"), "{shown}");
                assert!(shown.contains("via 192.0.2.2 dev one"), "{shown}");
                assert!(said("-6 route show table 9993").contains("via 2001:db8::1 dev one"));
                // What was there stays before ours.
                let shown = said("rule");
                assert!(shown.find("192.0.2.10").unwrap() < shown.find("fwmark").unwrap(), "{shown}");

                ip("rule del fwmark 0x7a/0xff lookup 9993");
                let rules = wanted(true, &one);
                assert!(netlink.set_rules(Family::V4, &rules).await.unwrap());
                assert!(!netlink.set_rules(Family::V4, &rules).await.unwrap());
                ip("route del default via 192.0.2.1");
                ip("route add default via 192.0.2.3 metric 100");
                assert!(netlink.copy_default_routes(Family::V4, Some(&own)).await.unwrap());
                let shown = said("route show table 9993");
                assert!(shown.contains("192.0.2.3") && !shown.contains("192.0.2.1 "), "{shown}");
                assert!(netlink.copy_default_routes(Family::V4, Some(&|_| true)).await.unwrap());
                assert_eq!(said("route show table 9993"), "", "by our own ports");
                ip("route replace default via 192.0.2.1 metric 100 mtu 1400");

                for family in [Family::V4, Family::V6] {
                    netlink.set_rules(family, &[]).await.unwrap();
                    netlink.copy_default_routes(family, None).await.unwrap();
                }
                assert_eq!((said("rule"), said("-6 rule"), said("route show table all")), before);
            });
        });
    }

    #[test]
    fn tells_of_changes_of_others() {
        in_namespace(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                ip("link add one type veth peer name two");
                ip("addr add 192.0.2.7/24 dev one");
                ip("link set one up");
                ip("rule add pref 100 lookup 77");
                let mut changes = WayChanges::subscribe().unwrap();
                let limit = std::time::Duration::from_secs(20);
                for words in ["rule del pref 100", "route add default via 192.0.2.1", "route del default"] {
                    ip(words);
                    assert!(tokio::time::timeout(limit, changes.next()).await.is_ok(), "{words}");
                }
            });
        });
    }
}
