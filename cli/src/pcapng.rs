//! Writer of pcapng files with one Ethernet interface. Specification: draft-ietf-opsawg-pcapng (PCAP Next Generation
//! Capture File Format); all numbers are written little-endian, times in nanoseconds.

use std::io::{self, Write};

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const INTERFACE_STATISTICS: u32 = 5;
const ENHANCED_PACKET: u32 = 6;
/// Says in which byte order the section is.
const BYTE_ORDER: u32 = 0x1a2b_3c4d;
const LINKTYPE_ETHERNET: u16 = 1;

const OPTION_END: u16 = 0;
/// In a section header: the application; in an interface description: its name; in a packet: its flags.
const SHB_USERAPPL: u16 = 4;
const IF_NAME: u16 = 2;
const IF_TSRESOL: u16 = 9;
const EPB_FLAGS: u16 = 2;
const ISB_IFRECV: u16 = 4;
const ISB_IFDROP: u16 = 5;
/// Resolution of times: 10^-9 s.
const NANOSECONDS: u8 = 9;

/// Which way a packet went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From the network into this machine.
    Inbound,
    /// From this machine into the network.
    Outbound,
}

/// One captured frame.
#[derive(Debug, Clone, Copy)]
pub struct Captured<'a> {
    /// Nanoseconds since the Unix epoch.
    pub at: u64,
    /// Which way it went.
    pub way: Way,
    /// Its beginning, Ethernet header included.
    pub bytes: &'a [u8],
    /// Its length on the wire, at least that of `bytes`.
    pub length: usize,
}

/// Writes one section with one interface.
pub struct Writer<W: Write> {
    out: W,
    block: Vec<u8>,
}

impl<W: Write> Writer<W> {
    /// Begins the file: who wrote it, which interface, at most how many bytes of a frame are kept.
    ///
    /// # Errors
    /// What writing fails with; here and below.
    pub fn new(out: W, application: &str, interface: &str, snaplen: u32) -> io::Result<Self> {
        let mut writer = Self { out, block: Vec::new() };
        let mut body = Vec::new();
        body.extend(BYTE_ORDER.to_le_bytes());
        body.extend(1u16.to_le_bytes());
        body.extend(0u16.to_le_bytes());
        // The section's length is not known in advance.
        body.extend(u64::MAX.to_le_bytes());
        option(&mut body, SHB_USERAPPL, application.as_bytes());
        option(&mut body, OPTION_END, &[]);
        writer.block(SECTION_HEADER, &body)?;

        let mut body = Vec::new();
        body.extend(LINKTYPE_ETHERNET.to_le_bytes());
        body.extend(0u16.to_le_bytes());
        body.extend(snaplen.to_le_bytes());
        option(&mut body, IF_NAME, interface.as_bytes());
        option(&mut body, IF_TSRESOL, &[NANOSECONDS]);
        option(&mut body, OPTION_END, &[]);
        writer.block(INTERFACE_DESCRIPTION, &body)?;
        Ok(writer)
    }

    /// Appends a frame.
    pub fn packet(&mut self, captured: &Captured<'_>) -> io::Result<()> {
        let mut body = Vec::with_capacity(captured.bytes.len() + 40);
        body.extend(0u32.to_le_bytes());
        time(&mut body, captured.at);
        for length in [captured.bytes.len(), captured.length] {
            body.extend(u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
        }
        body.extend(captured.bytes);
        pad(&mut body);
        let way: u32 = match captured.way {
            Way::Inbound => 1,
            Way::Outbound => 2,
        };
        option(&mut body, EPB_FLAGS, &way.to_le_bytes());
        option(&mut body, OPTION_END, &[]);
        self.block(ENHANCED_PACKET, &body)
    }

    /// Ends the file with the counts of the interface: how many frames it saw, how many were lost.
    pub fn statistics(&mut self, at: u64, received: u64, dropped: u64) -> io::Result<()> {
        let mut body = Vec::new();
        body.extend(0u32.to_le_bytes());
        time(&mut body, at);
        option(&mut body, ISB_IFRECV, &received.to_le_bytes());
        option(&mut body, ISB_IFDROP, &dropped.to_le_bytes());
        option(&mut body, OPTION_END, &[]);
        self.block(INTERFACE_STATISTICS, &body)?;
        self.flush()
    }

    /// Lets a reader see everything written so far.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// A block goes out in one write, so that a file that breaks off breaks between blocks.
    fn block(&mut self, kind: u32, body: &[u8]) -> io::Result<()> {
        let length = u32::try_from(body.len() + 12).unwrap_or(u32::MAX).to_le_bytes();
        self.block.clear();
        self.block.extend(kind.to_le_bytes());
        self.block.extend(length);
        self.block.extend(body);
        self.block.extend(length);
        self.out.write_all(&self.block)
    }
}

/// The upper half comes first.
fn time(body: &mut Vec<u8>, at: u64) {
    body.extend(((at >> 32) as u32).to_le_bytes());
    body.extend((at as u32).to_le_bytes());
}

fn option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    // Names are cut where the length field would overflow; nothing here comes near that.
    let value = &value[..value.len().min(usize::from(u16::MAX))];
    body.extend(code.to_le_bytes());
    body.extend((value.len() as u16).to_le_bytes());
    body.extend(value);
    pad(body);
}

/// To a multiple of four bytes. Every body begins at one.
fn pad(body: &mut Vec<u8>) {
    body.resize(body.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_as_the_draft_has_them() {
        let mut file = Vec::new();
        let mut writer = Writer::new(&mut file, "t", "zt0", 96).unwrap();
        let frame = [7; 15];
        let at = 0x0102_0304_0506_0708;
        writer.packet(&Captured { at, way: Way::Inbound, bytes: &frame, length: 60 }).unwrap();
        writer.statistics(1, 1, 0).unwrap();
        let mut rest = &file[..];
        let mut kinds = Vec::new();
        while !rest.is_empty() {
            let word = |at: usize| u32::from_le_bytes(rest[at..at + 4].try_into().unwrap());
            let length = word(4) as usize;
            assert_eq!((length % 4, word(length - 4) as usize), (0, length));
            if word(0) == ENHANCED_PACKET {
                assert_eq!((word(12), word(16), word(20), word(24)), (0x0102_0304, 0x0506_0708, 15, 60));
                assert_eq!(rest[28..43], frame);
                assert_eq!(rest[43..52], [0, 2, 0, 4, 0, 1, 0, 0, 0]);
            }
            kinds.push(word(0));
            rest = &rest[length..];
        }
        assert_eq!(kinds, [SECTION_HEADER, INTERFACE_DESCRIPTION, ENHANCED_PACKET, INTERFACE_STATISTICS]);
    }
}
