//! MULTICAST_LIKE, MULTICAST_GATHER and MULTICAST_FRAME, and the OKs of the latter two. Specification: VL2 frames,
//! multicast.

use crate::credential::{Com, Signed};
use crate::multicast_group::MulticastGroup;
use crate::{Address, Mac, NetworkId, Reader, Result};

/// Bytes of one announcement in MULTICAST_LIKE.
pub const LIKE_LEN: usize = 18;
const FLAG_COM: u8 = 0x01;
/// In MULTICAST_FRAME a gather limit, in its OK the gathered members.
const FLAG_GATHER: u8 = 0x02;
const FLAG_SOURCE: u8 = 0x04;
const FLAG_REPLICATE: u8 = 0x08;

/// MULTICAST_LIKE: the sender is in these groups. Payload: per announcement network u64, MAC, ADI u32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MulticastLike<'a> {
    announcements: &'a [u8],
}

impl<'a> MulticastLike<'a> {
    /// Reads the payload of a packet. An incomplete announcement at the end is ignored.
    ///
    /// # Errors
    /// None at present.
    pub fn parse(payload: &'a [u8]) -> Result<Self> {
        Ok(Self { announcements: payload })
    }

    /// The announcements in order.
    pub fn iter(&self) -> impl Iterator<Item = (NetworkId, MulticastGroup)> + use<'a> {
        self.announcements.chunks_exact(LIKE_LEN).filter_map(|bytes| {
            let mut reader = Reader::new(bytes);
            let network = NetworkId(reader.u64("network ID").ok()?);
            Some((network, MulticastGroup::read(&mut reader).ok()?))
        })
    }

    /// Appends one announcement.
    pub fn write(network: NetworkId, group: MulticastGroup, out: &mut Vec<u8>) {
        out.extend_from_slice(&network.0.to_be_bytes());
        group.write(out);
    }
}

/// MULTICAST_GATHER: who is in this group? Payload: network u64 · flags u8 · MAC · ADI u32 · limit u32 · certificate of
/// membership if flag 0x01.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MulticastGather {
    /// The network.
    pub network: NetworkId,
    /// The group.
    pub group: MulticastGroup,
    /// How many members are wanted.
    pub limit: u32,
    /// The sender's certificate of membership, so that who is not a member of the network may answer.
    pub com: Option<Signed<Com>>,
}

impl MulticastGather {
    /// Reads the payload of a packet.
    ///
    /// # Errors
    /// [`crate::Malformed`] if a field or the certificate is.
    pub fn parse(payload: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(payload);
        let network = NetworkId(reader.u64("network ID")?);
        let flags = reader.u8("flags")?;
        Ok(Self {
            network,
            group: MulticastGroup::read(&mut reader)?,
            limit: reader.u32("gather limit")?,
            com: if flags & FLAG_COM != 0 { Some(Signed::read(&mut reader)?) } else { None },
        })
    }

    /// Appends the payload of a packet.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.network.0.to_be_bytes());
        out.push(u8::from(self.com.is_some()));
        self.group.write(out);
        out.extend_from_slice(&self.limit.to_be_bytes());
        if let Some(com) = &self.com {
            com.write(out);
        }
    }
}

/// Members of a group, as an OK tells them: total u32 · count u16 · count addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gathered {
    /// How many members the sender knows.
    pub total: u32,
    /// Some of them; at most 65535 are carried.
    pub members: Vec<Address>,
}

impl Gathered {
    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let total = reader.u32("total number of members")?;
        let count = reader.u16("number of members")?;
        let members = reader.bytes(usize::from(count) * Address::LEN, "members")?;
        let member = |b: &[u8]| Address::from_bytes([b[0], b[1], b[2], b[3], b[4]]);
        Ok(Self { total, members: members.chunks_exact(Address::LEN).map(member).collect() })
    }
}

fn write_gathered(total: u32, members: &[Address], out: &mut Vec<u8>) {
    let members = &members[..members.len().min(u16::MAX.into())];
    out.extend_from_slice(&total.to_be_bytes());
    out.extend_from_slice(&(members.len() as u16).to_be_bytes());
    out.extend(members.iter().flat_map(|member| member.to_bytes()));
}

/// Body of OK(MULTICAST_GATHER): network u64 · MAC · ADI u32 · total u32 · count u16 · addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OkGather {
    /// The network.
    pub network: NetworkId,
    /// The group.
    pub group: MulticastGroup,
    /// How many members the sender knows.
    pub total: u32,
    /// Some of them; at most 65535 are carried.
    pub members: Vec<Address>,
}

impl OkGather {
    /// Bytes before the addresses.
    pub const OVERHEAD: usize = 24;

    /// Reads the body of an OK.
    ///
    /// # Errors
    /// [`crate::Malformed`] if it is too short for what it announces.
    pub fn parse(body: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(body);
        let network = NetworkId(reader.u64("network ID")?);
        let group = MulticastGroup::read(&mut reader)?;
        let Gathered { total, members } = Gathered::read(&mut reader)?;
        Ok(Self { network, group, total, members })
    }

    /// Appends the body of an OK.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.network.0.to_be_bytes());
        self.group.write(out);
        write_gathered(self.total, &self.members, out);
    }
}

/// MULTICAST_FRAME. Payload: network u64 · flags u8 · certificate of membership if 0x01 · gather limit u32 if 0x02 · source
/// MAC if 0x04 · group MAC · ADI u32 · ethertype u16 · Ethernet payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MulticastFrame<'a> {
    /// The network it is on.
    pub network: NetworkId,
    /// Whether the receiver is asked to replicate it to the other members.
    pub replicate: bool,
    /// The sender's certificate of membership (deprecated).
    pub com: Option<Signed<Com>>,
    /// How many members of the group the sender would like to be told in an OK; absent or 0 = none.
    pub gather_limit: Option<u32>,
    /// Source MAC unless it is the one derived from the sender.
    pub source: Option<Mac>,
    /// The group; its MAC is the destination MAC.
    pub group: MulticastGroup,
    /// Ethertype.
    pub ethertype: u16,
    /// What follows the Ethernet header.
    pub payload: &'a [u8],
}

impl<'a> MulticastFrame<'a> {
    /// Reads the payload of a packet.
    ///
    /// # Errors
    /// [`crate::Malformed`] if a field or the certificate is.
    pub fn parse(payload: &'a [u8]) -> Result<Self> {
        let mut reader = Reader::new(payload);
        let network = NetworkId(reader.u64("network ID")?);
        let flags = reader.u8("flags")?;
        let com = if flags & FLAG_COM != 0 { Some(Signed::read(&mut reader)?) } else { None };
        let gather_limit =
            if flags & FLAG_GATHER != 0 { Some(reader.u32("implicit gather limit")?) } else { None };
        let source = if flags & FLAG_SOURCE != 0 { Some(Mac(reader.array("source MAC")?)) } else { None };
        Ok(Self {
            network,
            replicate: flags & FLAG_REPLICATE != 0,
            com,
            gather_limit,
            source,
            group: MulticastGroup::read(&mut reader)?,
            ethertype: reader.u16("ethertype")?,
            payload: reader.rest(),
        })
    }

    /// Appends the payload of a packet.
    pub fn write(&self, out: &mut Vec<u8>) {
        let flag = |present: bool, flag: u8| if present { flag } else { 0 };
        out.extend_from_slice(&self.network.0.to_be_bytes());
        out.push(
            flag(self.com.is_some(), FLAG_COM)
                | flag(self.gather_limit.is_some(), FLAG_GATHER)
                | flag(self.source.is_some(), FLAG_SOURCE)
                | flag(self.replicate, FLAG_REPLICATE),
        );
        if let Some(com) = &self.com {
            com.write(out);
        }
        if let Some(limit) = self.gather_limit {
            out.extend_from_slice(&limit.to_be_bytes());
        }
        if let Some(source) = self.source {
            out.extend_from_slice(&source.0);
        }
        self.group.write(out);
        out.extend_from_slice(&self.ethertype.to_be_bytes());
        out.extend_from_slice(self.payload);
    }
}

/// Body of OK(MULTICAST_FRAME): network u64 · MAC · ADI u32 · flags u8 · certificate of membership if 0x01 · total u32,
/// count u16, addresses if 0x02.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OkMulticastFrame {
    /// The network.
    pub network: NetworkId,
    /// The group.
    pub group: MulticastGroup,
    /// The sender's certificate of membership (deprecated).
    pub com: Option<Signed<Com>>,
    /// Who is in the group.
    pub gathered: Option<Gathered>,
}

impl OkMulticastFrame {
    /// Reads the body of an OK.
    ///
    /// # Errors
    /// [`crate::Malformed`] if a field or the certificate is.
    pub fn parse(body: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(body);
        let network = NetworkId(reader.u64("network ID")?);
        let group = MulticastGroup::read(&mut reader)?;
        let flags = reader.u8("flags")?;
        let com = if flags & FLAG_COM != 0 { Some(Signed::read(&mut reader)?) } else { None };
        let gathered = if flags & FLAG_GATHER != 0 { Some(Gathered::read(&mut reader)?) } else { None };
        Ok(Self { network, group, com, gathered })
    }

    /// Appends the body of an OK.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.network.0.to_be_bytes());
        self.group.write(out);
        out.push(u8::from(self.com.is_some()) | (u8::from(self.gathered.is_some()) << 1));
        if let Some(com) = &self.com {
            com.write(out);
        }
        if let Some(gathered) = &self.gathered {
            write_gathered(gathered.total, &gathered.members, out);
        }
    }
}
