//! What a node knows about another member of a network: its certificate of membership, tags, capabilities, owned
//! addresses, and what was revoked. Specification: VL2 credentials, membership records and the gate.
//!
//! The caller finds the record by network and subject of a credential; the record does not check either.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{Com, Coo, HeldCapability, Signed, Tag, Verification, kind};
use crate::identity::Identity;
use crate::{Address, Mac, Span, Time};

/// Most tags kept of one member.
pub const MAX_TAGS: usize = 128;
/// Most capabilities kept of one member.
pub const MAX_CAPABILITIES: usize = 128;
/// Most certificates of ownership kept of one member.
pub const MAX_COOS: usize = 16;
/// Most revocation thresholds kept of one member.
pub const MAX_THRESHOLDS: usize = 512;

/// What became of a credential that was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// Accepted, and it changed something.
    New,
    /// Accepted before.
    Redundant,
    /// Refused: revoked, outdated, badly signed or of an unknown kind.
    Rejected,
    /// Cannot be judged before the identity of this node is known.
    UnknownSigner(Address),
}

impl Added {
    /// Whether the credential is genuine, which makes its bearer somebody to talk to.
    #[must_use]
    pub fn is_accepted(self) -> bool {
        matches!(self, Added::New | Added::Redundant)
    }
}

/// Which credentials are fresh enough to be used: those whose time of issue is near that of the own configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Timestamp of the own configuration.
    pub timestamp: Time,
    /// Greatest distance.
    pub max_delta: Span,
}

impl Window {
    /// Whether a credential issued at `timestamp` is near enough.
    #[must_use]
    pub fn contains(&self, timestamp: Time) -> bool {
        (self.timestamp - timestamp).abs() <= self.max_delta
    }
}

/// The record about one member of one network.
#[derive(Clone, Debug)]
pub struct Membership {
    com: Option<Signed<Com>>,
    /// Certificates of then or earlier are void. Those that tell no time, which is the epoch, always are.
    com_threshold: Time,
    /// By kind and id of the credential.
    thresholds: BTreeMap<(u8, u32), Time>,
    tags: BTreeMap<u32, Signed<Tag>>,
    capabilities: BTreeMap<u32, HeldCapability>,
    coos: BTreeMap<u32, Signed<Coo>>,
}

/// What tags, capabilities and certificates of ownership have in common.
trait Numbered: PartialEq {
    const KIND: u8;
    fn id(&self) -> u32;
    fn timestamp(&self) -> Time;
    fn check(&self, lookup: &dyn Fn(Address) -> Option<Identity>) -> Verification;
}

macro_rules! numbered {
    ($credential:ty, $kind:expr) => {
        impl Numbered for $credential {
            const KIND: u8 = $kind;
            fn id(&self) -> u32 {
                self.id
            }
            fn timestamp(&self) -> Time {
                self.timestamp
            }
            fn check(&self, lookup: &dyn Fn(Address) -> Option<Identity>) -> Verification {
                self.verify(lookup)
            }
        }
    };
}

numbered!(Signed<Tag>, kind::TAG);
numbered!(HeldCapability, kind::CAPABILITY);
numbered!(Signed<Coo>, kind::COO);

fn add_numbered<T: Numbered>(
    stored: &mut BTreeMap<u32, T>,
    most: usize,
    thresholds: &BTreeMap<(u8, u32), Time>,
    offered: T,
    lookup: &dyn Fn(Address) -> Option<Identity>,
) -> Added {
    let id = offered.id();
    if let Some(known) = stored.get(&id) {
        if known.timestamp() > offered.timestamp() {
            return Added::Rejected;
        }
        if *known == offered {
            return Added::Redundant;
        }
    }
    if thresholds.get(&(T::KIND, id)).is_some_and(|threshold| *threshold >= offered.timestamp()) {
        return Added::Rejected;
    }
    match offered.check(lookup) {
        Verification::Invalid => return Added::Rejected,
        Verification::UnknownSigner(signer) => return Added::UnknownSigner(signer),
        Verification::Valid => {}
    }
    if stored.len() >= most && !stored.contains_key(&id) {
        // Make room: the stalest goes, unless what is offered is staler.
        let stalest = stored.iter().min_by_key(|(_, c)| c.timestamp()).map(|(id, c)| (*id, c.timestamp()));
        match stalest {
            Some((stalest, timestamp)) if timestamp <= offered.timestamp() => {
                stored.remove(&stalest);
            }
            _ => return Added::Rejected,
        }
    }
    stored.insert(id, offered);
    Added::New
}

impl Default for Membership {
    fn default() -> Self {
        Self {
            com: None,
            com_threshold: Time::EPOCH,
            thresholds: BTreeMap::new(),
            tags: BTreeMap::new(),
            capabilities: BTreeMap::new(),
            coos: BTreeMap::new(),
        }
    }
}

impl Membership {
    /// A record that knows nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The latest certificate of membership, also if it has been revoked since.
    #[must_use]
    pub fn com(&self) -> Option<&Signed<Com>> {
        self.com.as_ref()
    }

    /// Whether the member, whose identity this is, may be on the network with the holder of `mine`.
    #[must_use]
    pub fn agrees(&self, mine: &Com, identity: &Identity) -> bool {
        self.com
            .as_ref()
            .is_some_and(|com| com.timestamp() > self.com_threshold && mine.agrees_with(com, identity))
    }

    /// Offers a certificate of membership.
    pub fn add_com(&mut self, com: Signed<Com>, lookup: impl Fn(Address) -> Option<Identity>) -> Added {
        if com.timestamp() <= self.com_threshold {
            return Added::Rejected;
        }
        if let Some(known) = &self.com {
            if known.timestamp() > com.timestamp() {
                return Added::Rejected;
            }
            if *known == com {
                return Added::Redundant;
            }
        }
        match com.verify(lookup) {
            Verification::Invalid => Added::Rejected,
            Verification::UnknownSigner(signer) => Added::UnknownSigner(signer),
            Verification::Valid => {
                self.com = Some(com);
                Added::New
            }
        }
    }

    /// Offers a tag.
    pub fn add_tag(&mut self, tag: Signed<Tag>, lookup: impl Fn(Address) -> Option<Identity>) -> Added {
        add_numbered(&mut self.tags, MAX_TAGS, &self.thresholds, tag, &lookup)
    }

    /// Offers a capability.
    pub fn add_capability(
        &mut self,
        capability: HeldCapability,
        lookup: impl Fn(Address) -> Option<Identity>,
    ) -> Added {
        add_numbered(&mut self.capabilities, MAX_CAPABILITIES, &self.thresholds, capability, &lookup)
    }

    /// Offers a certificate of ownership.
    pub fn add_coo(&mut self, coo: Signed<Coo>, lookup: impl Fn(Address) -> Option<Identity>) -> Added {
        add_numbered(&mut self.coos, MAX_COOS, &self.thresholds, coo, &lookup)
    }

    /// Notes that credentials of a kind with this timestamp or an earlier one are void, by a revocation that was verified
    /// already, now or in an earlier run. Unlike in the reference implementation, revoking a tag, capability or certificate of
    /// ownership does not cut off the member itself.
    pub fn raise_threshold(&mut self, kind: u8, id: u32, raised: Time) -> Added {
        let threshold = match kind {
            kind::COM => &mut self.com_threshold,
            kind::CAPABILITY | kind::TAG | kind::COO => {
                let key = (kind, id);
                if self.thresholds.len() >= MAX_THRESHOLDS && !self.thresholds.contains_key(&key) {
                    // The lowest is the one most likely to have outlived what it revokes.
                    let lowest = self.thresholds.iter().min_by_key(|(_, t)| **t).map(|(key, t)| (*key, *t));
                    match lowest {
                        Some((lowest, t)) if t < raised => self.thresholds.remove(&lowest),
                        _ => return Added::Rejected,
                    };
                }
                self.thresholds.entry(key).or_insert(Time::EPOCH)
            }
            _ => return Added::Rejected,
        };
        if raised <= *threshold {
            return Added::Redundant;
        }
        *threshold = raised;
        Added::New
    }

    /// The value of a tag that may be used.
    #[must_use]
    pub fn tag(&self, id: u32, window: Window) -> Option<u32> {
        self.tags.get(&id).filter(|tag| self.usable(*tag, window)).map(|tag| tag.value)
    }

    /// Whether nothing is known of the member that rules could ask about.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tags.is_empty() && self.capabilities.is_empty() && self.coos.is_empty()
    }

    /// The tags that may be used, by ascending id.
    pub fn tags(&self, window: Window) -> impl Iterator<Item = &Signed<Tag>> {
        self.tags.values().filter(move |t| self.usable(*t, window))
    }

    /// The capabilities that may be used, by ascending id.
    pub fn capabilities(&self, window: Window) -> impl Iterator<Item = &HeldCapability> {
        self.capabilities.values().filter(move |c| self.usable(*c, window))
    }

    /// The certificates of ownership that may be used.
    pub fn coos(&self, window: Window) -> impl Iterator<Item = &Signed<Coo>> {
        self.coos.values().filter(move |c| self.usable(*c, window))
    }

    /// Whether a certificate of ownership that may be used covers the address.
    #[must_use]
    pub fn owns_ip(&self, ip: IpAddr, window: Window) -> bool {
        self.coos(window).any(|coo| coo.owns_ip(ip))
    }

    /// Whether a certificate of ownership that may be used covers the MAC.
    #[must_use]
    pub fn owns_mac(&self, mac: Mac, window: Window) -> bool {
        self.coos(window).any(|coo| coo.owns_mac(mac))
    }

    fn usable<T: Numbered>(&self, credential: &T, window: Window) -> bool {
        window.contains(credential.timestamp())
            && self
                .thresholds
                .get(&(T::KIND, credential.id()))
                .is_none_or(|threshold| *threshold < credential.timestamp())
    }
}
