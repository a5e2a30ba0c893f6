//! What the kernel and a virtual port tell each other about a frame beside its octets: the virtio-net header.
//!
//! Specification: Virtual I/O Device (VIRTIO) 1.2, 5.1.6 "Device Operation"; Linux puts the same header before each frame
//! of a TAP device with `IFF_VNET_HDR`. Layout, 10 octets: flags (1), segmentation type (1), length of the headers (2),
//! payload octets per segment (2), where the checksum begins (2), where it is stored from there on (2). The numbers are in
//! the byte order of this machine, as the kernel has it unless told otherwise.
//!
//! All offsets count from the first octet of the Ethernet frame; a VLAN tag in the frame is counted.

/// Octets of the header.
pub const HEADER: usize = 10;

/// What the largest frame takes that a port with offloads may hand over: 65,535 octets of IP, Ethernet header and up to two
/// VLAN tags, rounded up, and before it all this header.
pub const SUPER_FRAME_ROOM: usize = HEADER + 65_550 + 18;

const NEEDS_CHECKSUM: u8 = 1;
const CHECKSUM_VALID: u8 = 2;

const GSO_NONE: u8 = 0;
const GSO_TCP4: u8 = 1;
const GSO_TCP6: u8 = 4;
const GSO_UDP: u8 = 5;
const GSO_ECN: u8 = 0x80;

/// What a virtio-net header says about a frame.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Offload {
    /// How far its TCP or UDP checksum is.
    pub checksum: Checksum,
    /// Whether it has to be cut into segments.
    pub gso: Gso,
    /// Octets of the headers that every segment repeats: Ethernet to TCP or UDP. **A hint**: frames from the kernel may
    /// say more or less (it tells how much of the frame lay in its first buffer), so measure the headers themselves.
    /// Frames for the kernel should say the truth when they are to be segmented, else 0.
    pub header_len: u16,
}

/// How far the TCP or UDP checksum of a frame is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Checksum {
    /// Nothing is known: whatever checksum the frame has is complete, and the receiver verifies it.
    #[default]
    Whole,
    /// Complete and verified already. From the kernel this comes only with frames that did not leave this machine; to the
    /// kernel it says that nobody has to look again.
    Valid,
    /// Still to be completed: the Internet checksum (RFC 1071) from octet `start` to the frame's end is to be stored at
    /// `start + offset`, where the sum of the pseudo-header lies now (not inverted, so that summing includes it).
    Partial {
        /// Where summing begins: the first octet of the TCP or UDP header.
        start: u16,
        /// Where the result goes, from `start` on: 16 for TCP, 6 for UDP.
        offset: u16,
    },
}

/// How a frame is to be cut. `size` = payload octets per segment, the last one may have fewer.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Gso {
    /// Not at all.
    #[default]
    None,
    /// TCP over IPv4.
    Tcp4 {
        /// Payload octets per segment, at least 1.
        size: u16,
        /// The frame has the CWR flag, which belongs into the first segment only (RFC 3168).
        ecn: bool,
    },
    /// TCP over IPv6.
    Tcp6 {
        /// Payload octets per segment, at least 1.
        size: u16,
        /// As for [`Gso::Tcp4`].
        ecn: bool,
    },
    /// UDP over either: each segment becomes a datagram of its own.
    Udp {
        /// Payload octets per datagram, at least 1.
        size: u16,
    },
}

/// A header that does not fit its frame or makes no sense.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum VnetError {
    /// A kind of segmentation that was never asked for.
    #[error("the virtio-net header asks for segmentation type {0:#x}, which this node did not offer")]
    Segmentation(u8),
    /// Segments without payload.
    #[error("the virtio-net header asks for segments of 0 octets")]
    EmptySegments,
    /// The checksum field or the headers lie outside of the frame.
    #[error("the virtio-net header points to octet {at}, but the frame has {length}")]
    OutsideFrame {
        /// One past the octet pointed to.
        at: usize,
        /// Octets of the frame.
        length: usize,
    },
}

impl Offload {
    /// A frame like any on a wire.
    pub const PLAIN: Offload = Offload { checksum: Checksum::Whole, gso: Gso::None, header_len: 0 };

    /// Reads a header. Flags that say nothing about segmentation or checksum are ignored.
    ///
    /// # Errors
    /// [`VnetError::Segmentation`], [`VnetError::EmptySegments`].
    pub fn parse(header: &[u8; HEADER]) -> Result<Self, VnetError> {
        let [flags, kind, ..] = *header;
        let number = |at: usize| u16::from_ne_bytes([header[at], header[at + 1]]);
        let size = number(4);
        let ecn = kind & GSO_ECN != 0;
        let gso = match kind & !GSO_ECN {
            GSO_NONE if !ecn => Gso::None,
            GSO_TCP4 => Gso::Tcp4 { size, ecn },
            GSO_TCP6 => Gso::Tcp6 { size, ecn },
            GSO_UDP if !ecn => Gso::Udp { size },
            _ => return Err(VnetError::Segmentation(kind)),
        };
        if size == 0 && gso != Gso::None {
            return Err(VnetError::EmptySegments);
        }
        let checksum = if flags & NEEDS_CHECKSUM != 0 {
            Checksum::Partial { start: number(6), offset: number(8) }
        } else if flags & CHECKSUM_VALID != 0 {
            Checksum::Valid
        } else {
            Checksum::Whole
        };
        Ok(Offload { checksum, gso, header_len: number(2) })
    }

    /// Writes the header; [`Self::parse`] of it gives the same again.
    pub fn write(&self) -> [u8; HEADER] {
        let (flags, start, offset) = match self.checksum {
            Checksum::Whole => (0, 0, 0),
            Checksum::Valid => (CHECKSUM_VALID, 0, 0),
            Checksum::Partial { start, offset } => (NEEDS_CHECKSUM, start, offset),
        };
        let with_ecn = |kind, ecn| if ecn { kind | GSO_ECN } else { kind };
        let (kind, size) = match self.gso {
            Gso::None => (GSO_NONE, 0),
            Gso::Tcp4 { size, ecn } => (with_ecn(GSO_TCP4, ecn), size),
            Gso::Tcp6 { size, ecn } => (with_ecn(GSO_TCP6, ecn), size),
            Gso::Udp { size } => (GSO_UDP, size),
        };
        let mut header = [flags, kind, 0, 0, 0, 0, 0, 0, 0, 0];
        for (to, number) in header[2..].chunks_exact_mut(2).zip([self.header_len, size, start, offset]) {
            to.copy_from_slice(&number.to_ne_bytes());
        }
        header
    }

    /// Checks that everything the header points to lies inside a frame of `length` octets. [`Self::header_len`] is a hint
    /// and not checked.
    ///
    /// # Errors
    /// [`VnetError::OutsideFrame`].
    pub fn check(&self, length: usize) -> Result<(), VnetError> {
        if let Checksum::Partial { start, offset } = self.checksum {
            let at = usize::from(start) + usize::from(offset) + 2;
            if at > length {
                return Err(VnetError::OutsideFrame { at, length });
            }
        }
        Ok(())
    }
}

/// What a port hands over and takes unfinished.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Offloads {
    /// TCP frames of up to 64 KiB over IPv4 and IPv6, ECN included.
    pub tso: bool,
    /// The same for UDP.
    pub uso: bool,
    /// Checksums still to be completed.
    pub checksum: bool,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn offload() -> impl Strategy<Value = Offload> {
        let checksum = prop_oneof![
            Just(Checksum::Whole),
            Just(Checksum::Valid),
            any::<(u16, u16)>().prop_map(|(start, offset)| Checksum::Partial { start, offset }),
        ];
        let gso = prop_oneof![
            Just(Gso::None),
            (1..=u16::MAX, any::<bool>()).prop_map(|(size, ecn)| Gso::Tcp4 { size, ecn }),
            (1..=u16::MAX, any::<bool>()).prop_map(|(size, ecn)| Gso::Tcp6 { size, ecn }),
            (1..=u16::MAX).prop_map(|size| Gso::Udp { size }),
        ];
        (checksum, gso, any::<u16>()).prop_map(|(checksum, gso, header_len)| Offload {
            checksum,
            gso,
            header_len,
        })
    }

    #[test]
    fn known_headers() {
        let tcp = Offload {
            checksum: Checksum::Partial { start: 34, offset: 16 },
            gso: Gso::Tcp4 { size: 1448, ecn: false },
            header_len: 66,
        };
        let mut octets = [1, 1, 0, 0, 0, 0, 0, 0, 0, 0];
        for (at, number) in [(2, 66u16), (4, 1448), (6, 34), (8, 16)] {
            octets[at..at + 2].copy_from_slice(&number.to_ne_bytes());
        }
        assert_eq!((Offload::parse(&octets), tcp.write()), (Ok(tcp), octets));
        assert_eq!((Offload::parse(&[0; 10]), Offload::PLAIN.write()), (Ok(Offload::PLAIN), [0; 10]));
    }

    #[test]
    fn what_was_not_offered_is_refused() {
        for kind in [2, 3, 6, 0x20, 0x41, 0x80, 0x85] {
            let header = [0, kind, 0, 0, 1, 1, 0, 0, 0, 0];
            assert_eq!(Offload::parse(&header), Err(VnetError::Segmentation(kind)));
        }
        for kind in [1, 4, 5, 0x81] {
            assert_eq!(Offload::parse(&[0, kind, 9, 9, 0, 0, 9, 9, 9, 9]), Err(VnetError::EmptySegments));
        }
    }

    #[test]
    fn a_checksum_field_lies_inside_its_frame() {
        let checksum = Checksum::Partial { start: 34, offset: 6 };
        let offload = Offload { checksum, ..Offload::PLAIN };
        assert_eq!(offload.check(42), Ok(()));
        assert_eq!(offload.check(41), Err(VnetError::OutsideFrame { at: 42, length: 41 }));
        let far = Checksum::Partial { start: u16::MAX, offset: u16::MAX };
        assert!(Offload { checksum: far, ..offload }.check(SUPER_FRAME_ROOM).is_err());
        assert_eq!(Offload::PLAIN.check(0), Ok(()));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(offload in offload()) {
            prop_assert_eq!(Offload::parse(&offload.write()), Ok(offload));
        }

        #[test]
        fn what_is_read_is_written(header in any::<[u8; HEADER]>()) {
            if let Ok(offload) = Offload::parse(&header) {
                prop_assert_eq!(Offload::parse(&offload.write()), Ok(offload));
            }
        }
    }
}
