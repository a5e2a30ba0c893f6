//! The kinds of floods: what is sent, from where, how fast.

use std::net::{Ipv4Addr, SocketAddrV4};

use clap::ValueEnum;
use hostile::body::claimed;
use hostile::cast::{self, Actor};
use hostile::live::Attacker;
use protocol::credential::{Revocation, kind};
use protocol::metadata::{ANNOUNCED_VERSION, PROTOCOL_VERSION};
use protocol::packet::{self, SessionKeys, Suite};
use protocol::verb::Verb;
use protocol::verbs::{Frame, Hello, MulticastLike, NetworkCredentials, Whois, write_hello};
use protocol::{Address, Identity, Mac, MulticastGroup, NetworkId, Time};

/// One kind of flood.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Kind {
    /// NETWORK_CREDENTIALS with two revocations nobody signed, of members that do not exist.
    Revocations,
    /// MULTICAST_LIKE of 75 groups.
    Likes,
    /// WHOIS of one address nineteen times, from forged endpoints.
    Whois,
    /// Empty ECHOs from forged endpoints.
    Echoes,
    /// HELLOs from forged endpoints, sealed with no key.
    Unsealed,
    /// HELLOs from forged endpoints, sealed, of identities whose address is not that of their key.
    Sealed,
    /// HELLOs from as many prefixes as there are, sealed with no key.
    Prefixes,
    /// A NOP from a forged endpoint, and packets from there for somebody else.
    Relays,
    /// Frames of somebody who is no member, from forged endpoints.
    Frames,
    /// Packets for others with a sender that is somebody else.
    Pairs,
    /// HELLOs of a known peer from all its ports, each telling another outside address.
    Surfaces,
}

impl Kind {
    /// All kinds.
    pub(crate) const ALL: [Self; 11] = [
        Self::Revocations,
        Self::Likes,
        Self::Whois,
        Self::Echoes,
        Self::Unsealed,
        Self::Sealed,
        Self::Prefixes,
        Self::Relays,
        Self::Frames,
        Self::Pairs,
        Self::Surfaces,
    ];

    /// Whether the root is what it is aimed at, else a member.
    pub(crate) fn at_root(self) -> bool {
        matches!(self, Self::Likes | Self::Whois | Self::Pairs)
    }

    /// Datagrams a second.
    pub(crate) fn rate(self) -> u32 {
        match self {
            Self::Revocations => 40,
            Self::Likes => 120,
            Self::Unsealed | Self::Sealed => 60,
            Self::Surfaces => 200,
            Self::Whois | Self::Echoes | Self::Relays | Self::Frames | Self::Pairs => 1_000,
            Self::Prefixes => 55_000,
        }
    }

    /// What the table calls it.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Revocations => "revocations nobody signed",
            Self::Likes => "announcements of multicast groups",
            Self::Whois => "WHOIS, forged endpoints",
            Self::Echoes => "ECHO, forged endpoints",
            Self::Unsealed => "HELLO without a key, forged endpoints",
            Self::Sealed => "HELLO with made-up identities, forged endpoints",
            Self::Prefixes => "HELLO without a key, forged prefixes",
            Self::Relays => "packets to be relayed, forged endpoints",
            Self::Frames => "frames of a stranger, forged endpoints",
            Self::Pairs => "packets to be relayed, forged senders",
            Self::Surfaces => "HELLO from many ports",
        }
    }
}

/// xorshift64*.
#[derive(Clone, Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// The next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

/// Makes the datagrams of a flood.
pub(crate) struct Generator {
    kind: Kind,
    victim: Identity,
    network: NetworkId,
    /// The attacker's own endpoint.
    own: SocketAddrV4,
    others: Vec<Address>,
    stranger: Attacker,
    keys: Vec<SessionKeys>,
    random: Random,
    count: u64,
}

/// Any address in 32.0.0.0/3: none of them exists in a lab.
fn forged(random: &mut Random) -> SocketAddrV4 {
    let ip = 0x2000_0000 | random.next() as u32 & 0x1fff_ffff;
    SocketAddrV4::new(Ipv4Addr::from(ip), 1_024 + (random.next() as u16 & 0x7fff))
}

impl Generator {
    /// For a victim that has joined `network`; `others` are known to it.
    pub(crate) fn new(
        kind: Kind,
        victim: Identity,
        network: NetworkId,
        own: SocketAddrV4,
        others: Vec<Address>,
    ) -> Self {
        let authority = cast::secret(cast::CONTROLLER);
        let stranger = Attacker::new(Actor::Stranger, &victim, network, authority);
        let keys = (0..32).filter_map(|number| cast::secret(number).agree(&victim));
        let keys = keys.map(|agreed| SessionKeys::new(&agreed)).collect();
        let seed = std::process::id().into();
        Self { kind, victim, network, own, others, stranger, keys, random: Random(seed), count: 0 }
    }

    /// The stranger's introduction.
    pub(crate) fn hello(&mut self, now: Time) -> Vec<u8> {
        self.stranger.hello(now)
    }

    /// Answers what the victim sends to the stranger, as any node would; `None` if it is no request.
    pub(crate) fn answer(&mut self, heard: &mut [u8]) -> Option<Vec<u8>> {
        self.stranger.answer(heard)
    }

    fn made_up_hello(&mut self, now: Time, number: usize) -> Vec<u8> {
        let address = Address::from_u64(self.random.next() & 0x7f_ffff_ffff | 1);
        let public = cast::secret(number).identity().public;
        let (major, minor, revision) = ANNOUNCED_VERSION;
        let hello = Hello {
            protocol: PROTOCOL_VERSION,
            major,
            minor,
            revision,
            timestamp: now.as_ms().cast_unsigned(),
            identity: Identity { address, public },
            sent_to: None,
            planet: None,
            masked_tail_at: None,
        };
        let mut data = Vec::new();
        packet::start(&mut data, self.random.next(), self.victim.address, address, Verb::Hello);
        write_hello(&mut data, 0, &hello, &[], &self.keys[number]);
        data
    }

    /// The next datagram and where it is said to come from.
    pub(crate) fn next(&mut self, now: Time) -> (SocketAddrV4, Vec<u8>) {
        self.count += 1;
        let mut body = Vec::new();
        match self.kind {
            Kind::Revocations => {
                let mut set = NetworkCredentials::default();
                for _ in 0..2 {
                    let mut signature = [0; 96];
                    signature[..8].copy_from_slice(&self.random.next().to_be_bytes());
                    let revocation = Revocation {
                        id: self.random.next() as u32,
                        network: self.network,
                        credential_id: 0,
                        threshold: now,
                        flags: 0,
                        target: Address::from_u64(self.random.next() & 0x7f_ffff_ffff | 1),
                        kind: kind::COM,
                    };
                    set.revocations.push(claimed(&revocation, self.network.controller(), &signature));
                }
                set.write(&mut body);
                (self.own, self.stranger.packet(Verb::NetworkCredentials, &body))
            }
            Kind::Likes => {
                for _ in 0..75 {
                    let [.., a, b, c, d] = self.random.next().to_be_bytes();
                    let group = MulticastGroup { mac: Mac([0x33, 0x33, a, b, c, d]), adi: 0 };
                    MulticastLike::write(self.network, group, &mut body);
                }
                (self.own, self.stranger.packet(Verb::MulticastLike, &body))
            }
            Kind::Whois => {
                Whois(vec![self.victim.address; 19]).write(&mut body);
                (forged(&mut self.random), self.stranger.packet(Verb::Whois, &body))
            }
            Kind::Echoes => (forged(&mut self.random), self.stranger.packet(Verb::Echo, &[])),
            Kind::Unsealed | Kind::Prefixes => {
                // What no key seals needs none to be made: only the header has to be plausible.
                let mut data = vec![0; 137];
                for chunk in data.chunks_mut(8) {
                    let word = self.random.next().to_be_bytes();
                    chunk.copy_from_slice(&word[..chunk.len()]);
                }
                data[8..13].copy_from_slice(&self.victim.address.to_bytes());
                data[13] = 1;
                data[packet::FLAGS] = 0;
                data[packet::VERB] = Verb::Hello as u8;
                data[28] = PROTOCOL_VERSION;
                let source: [u8; 5] = [data[13], data[14], data[15], data[16], data[17]];
                data[41..46].copy_from_slice(&source);
                data[46] = 0;
                (forged(&mut self.random), data)
            }
            Kind::Sealed => {
                let number = self.random.next() as usize % self.keys.len();
                (forged(&mut self.random), self.made_up_hello(now, number))
            }
            Kind::Relays => {
                let mut other = Random(self.count / 16 + 1);
                let from = forged(&mut other);
                if self.count % 16 == 1 {
                    return (from, self.stranger.packet(Verb::Nop, &[]));
                }
                (from, self.foreign(Actor::Stranger.address()))
            }
            Kind::Frames => {
                Frame { network: self.network, ethertype: 0x88b5, payload: &[7; 20] }.write(&mut body);
                (forged(&mut self.random), self.stranger.packet(Verb::Frame, &body))
            }
            Kind::Pairs => {
                let source = Address::from_u64(self.random.next() & 0x7f_ffff_ffff | 1);
                (self.own, self.foreign(source))
            }
            Kind::Surfaces => {
                let port = 20_000 + (self.count % 1_100) as u16;
                (SocketAddrV4::new(*self.own.ip(), port), self.stranger.hello(now))
            }
        }
    }

    /// A packet from one to another, to be relayed.
    fn foreign(&mut self, source: Address) -> Vec<u8> {
        let dest = match self.others.len() {
            0 => Address::from_u64(1),
            count => self.others[self.random.next() as usize % count],
        };
        let mut data = Vec::new();
        packet::start(&mut data, self.random.next(), dest, source, Verb::Nop);
        self.keys[0].armor(&mut data, Suite::AesGmacSiv);
        data
    }
}
