//! Frames that wait, in memory that is used again and again.
//!
//! Every frame is read into the largest room there is. A small one is then copied out of it, so that a thousand waiting small
//! frames touch no more memory than they need; a large one keeps the room, and another is taken for the next. A [`Frame`] owns
//! its memory and may be handed to another thread; [`FramePool::recycle`] takes it back.

use std::ops::Range;

use protocol::NetworkId;

use super::congestion;
use super::fair_queue::{CongestionSignal, Item};
use super::vnet::{HEADER, Offload, SUPER_FRAME_ROOM};

/// What is copied: an ordinary frame of a network with the usual MTU of 2800 and its headers.
const SMALL: usize = 3_072;
/// Rooms kept for later, of each kind: as many as can wait at once.
const MAX_SPARE: usize = 1_024;

/// What a port gave, where it was read: one Ethernet frame, or several in one, with what the kernel left undone about it. Whoever
/// takes it in may put other memory into the place of this.
#[derive(Debug)]
pub struct PortFrame<'a> {
    /// Where it lies, among other things.
    pub memory: &'a mut Box<[u8]>,
    /// Where in it.
    pub range: Range<usize>,
    /// What is left undone.
    pub offload: Offload,
}

/// One Ethernet frame from a port that waits to be sent.
#[derive(Debug)]
pub struct Frame {
    memory: Box<[u8]>,
    start: usize,
    end: usize,
    /// The network whose port it came from.
    pub network: NetworkId,
    /// What the kernel left undone about it.
    pub offload: Offload,
}

impl Frame {
    /// The frame, Ethernet header first.
    pub fn bytes(&self) -> &[u8] {
        &self.memory[self.start..self.end]
    }

    /// The same, to be changed.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.end]
    }

    /// The frame, to be taken in.
    pub fn lent(&mut self) -> PortFrame<'_> {
        PortFrame { memory: &mut self.memory, range: self.start..self.end, offload: self.offload }
    }
}

impl Item for Frame {
    fn octets(&self) -> usize {
        self.end - self.start
    }

    fn signal_congestion(&mut self) -> CongestionSignal {
        if congestion::mark(self.bytes_mut()) {
            return CongestionSignal::Marked;
        }
        let offload = self.offload;
        match congestion::drop_first(&offload, self.bytes_mut()) {
            Some(start) => {
                self.start += start;
                CongestionSignal::Shortened
            }
            None => CongestionSignal::Drop,
        }
    }
}

/// The memory.
#[derive(Debug)]
pub struct FramePool {
    /// Where the next frame is read to.
    room: Box<[u8]>,
    small: Vec<Box<[u8]>>,
    large: Vec<Box<[u8]>>,
}

impl Default for FramePool {
    fn default() -> Self {
        Self { room: memory(SUPER_FRAME_ROOM), small: Vec::new(), large: Vec::new() }
    }
}

/// Takes no memory until it is written to.
fn memory(octets: usize) -> Box<[u8]> {
    vec![0; octets].into_boxed_slice()
}

impl FramePool {
    /// Where a frame is to be read to: [`SUPER_FRAME_ROOM`] octets, the frame behind the first [`HEADER`] of them.
    pub fn room(&mut self) -> &mut [u8] {
        &mut self.room
    }

    /// The frame of that length that was read to [`Self::room`], to be taken in.
    pub fn lent(&mut self, offload: Offload, length: usize) -> PortFrame<'_> {
        PortFrame { memory: &mut self.room, range: HEADER..HEADER + length, offload }
    }

    /// The frame of that length that was read to [`Self::room`].
    pub fn frame(&mut self, length: usize) -> &mut [u8] {
        &mut self.room[HEADER..HEADER + length]
    }

    /// Keeps the frame of that length that was read to [`Self::room`], where another may be read to then.
    pub fn keep(&mut self, network: NetworkId, offload: Offload, length: usize) -> Frame {
        let (memory, start) = if length <= SMALL {
            let mut slot = self.small.pop().unwrap_or_else(|| memory(SMALL));
            slot[..length].copy_from_slice(self.frame(length));
            (slot, 0)
        } else {
            let empty = self.large.pop().unwrap_or_else(|| memory(SUPER_FRAME_ROOM));
            (std::mem::replace(&mut self.room, empty), HEADER)
        };
        Frame { memory, start, end: start + length, network, offload }
    }

    /// Takes the memory of a frame back.
    pub fn recycle(&mut self, frame: Frame) {
        let spare = if frame.memory.len() == SMALL { &mut self.small } else { &mut self.large };
        if spare.len() < MAX_SPARE {
            spare.push(frame.memory);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Shape, check};
    use super::super::vnet::{Checksum, Gso};
    use super::*;

    fn kept(slots: &mut FramePool, bytes: &[u8], offload: Offload) -> Frame {
        slots.frame(bytes.len()).copy_from_slice(bytes);
        slots.keep(NetworkId(1), offload, bytes.len())
    }

    #[test]
    fn memory_is_used_again_and_holds_what_was_read() {
        let mut slots = FramePool::default();
        for length in [0, 60, SMALL, SMALL + 1, 65_550] {
            let bytes: Vec<u8> = (0..length).map(|i| i as u8).collect();
            let one = kept(&mut slots, &bytes, Offload::PLAIN);
            let other = kept(&mut slots, &[9; 100], Offload::PLAIN);
            assert_eq!((one.bytes(), other.bytes()), (&bytes[..], &[9; 100][..]));
            slots.recycle(one);
            slots.recycle(other);
        }
        assert_eq!((slots.small.len(), slots.large.len()), (2, 1));
    }

    #[test]
    fn a_sender_that_understands_marks_loses_nothing_and_a_super_frame_one_segment() {
        let mut slots = FramePool::default();
        let mut tell = |tos, length| {
            let shape = Shape { tos, ..Shape::default() };
            let (frame, offload) = shape.unfinished(shape.frame(&vec![1; length]), 1_000, false);
            let mut frame = kept(&mut slots, &frame, offload);
            (frame.signal_congestion(), frame)
        };
        let (congestion, frame) = tell(2, 5_000);
        assert_eq!((congestion, frame.bytes()[15]), (CongestionSignal::Marked, 3));
        assert_eq!(check(frame.bytes()).unwrap().data, vec![1; 5_000]);
        let (congestion, frame) = tell(0, 5_000);
        assert_eq!((congestion, frame.octets()), (CongestionSignal::Shortened, 4_066));
        assert_eq!(frame.offload.gso, Gso::Tcp4 { size: 1_000, ecn: false });
        assert_eq!(frame.offload.checksum, Checksum::Whole);
        assert_eq!(tell(0, 1_000).0, CongestionSignal::Drop);
    }
}
