//! Multicast groups of a virtual network. Specification: VL2 frames, multicast groups.

use core::fmt;

use crate::{Mac, Reader, Result};

/// A group members subscribe to: a multicast MAC and additional distinguishing information, which is zero except for
/// ARP requests, where it is the IPv4 address asked for (so that only its owner hears them).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MulticastGroup {
    /// Destination MAC of the frames.
    pub mac: Mac,
    /// Additional distinguishing information.
    pub adi: u32,
}

impl MulticastGroup {
    /// Everybody: what plain broadcasts are sent to.
    pub const BROADCAST: Self = Self { mac: Mac::BROADCAST, adi: 0 };

    /// Bytes a group takes on the wire: MAC, ADI.
    pub const LEN: usize = 10;

    /// The group of all frames to `mac` (ADI 0).
    #[inline]
    #[must_use]
    pub const fn of_mac(mac: Mac) -> Self {
        Self { mac, adi: 0 }
    }

    /// Reads the wire form.
    ///
    /// # Errors
    /// [`crate::Malformed`] if fewer than ten bytes remain.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self> {
        Ok(Self { mac: Mac(reader.array("multicast group MAC")?), adi: reader.u32("multicast group ADI")? })
    }

    /// Appends the wire form.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.mac.0);
        out.extend_from_slice(&self.adi.to_be_bytes());
    }
}

impl fmt::Display for MulticastGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{:08x}", self.mac, self.adi)
    }
}

impl fmt::Debug for MulticastGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
