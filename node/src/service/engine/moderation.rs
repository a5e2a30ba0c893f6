//! When the packet thread pauses before it looks again: what network cards call interrupt moderation.
//!
//! Packets that come faster than a thread can go to sleep and wake up would wake it for each one: most of its time, and of
//! those who send and read, then goes into the waking. So while turn follows turn at once and each brings little, the
//! thread sleeps for [`PAUSE`], and what comes meanwhile is one batch. A lone packet, an answer to it, and anything that comes in
//! large pieces never wait.

use std::time::Duration;

/// How long packets gather: at 200,000 a second twenty of them.
pub(super) const PAUSE: Duration = Duration::from_micros(100);
/// Octets of a turn that is worth a wake-up by itself.
const LARGE: usize = 16 << 10;
/// Turns follow each other at once when there is less between their ends, in microseconds: 20,000 a second.
const AT_ONCE: u64 = 50;
/// A pause has paid when it has gathered so many packets.
const WORTH: usize = 4;
/// So many turns in a row make a flood.
const FLOOD: u32 = 16;
/// What a turn that is no part of a flood takes from that count.
const RELIEF: u32 = 4;

/// Counts what turns bring.
#[derive(Debug, Default)]
pub(super) struct Moderation {
    octets: usize,
    packets: usize,
    /// End of the last turn, or of the pause after it.
    ended: u64,
    /// Turns that looked like a flood.
    small: u32,
}

impl Moderation {
    /// Packets of this turn, and their octets.
    pub(super) fn count(&mut self, packets: usize, octets: usize) {
        self.packets += packets;
        self.octets += octets;
    }

    fn is_flood(&self) -> bool {
        self.small >= FLOOD
    }

    /// Ends a turn at this time, in microseconds. Returns whether to pause.
    pub(super) fn end_turn(&mut self, now: u64) -> bool {
        let since = now.saturating_sub(self.ended);
        let often = if self.is_flood() { self.packets >= WORTH } else { since <= AT_ONCE };
        self.small = if often && self.octets <= LARGE {
            (self.small + 1).min(FLOOD)
        } else {
            self.small.saturating_sub(RELIEF)
        };
        (self.ended, self.octets, self.packets) = (now, 0, 0);
        self.is_flood()
    }

    /// Says when a pause was over.
    pub(super) fn resume(&mut self, now: u64) {
        self.ended = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Turns of so many packets and octets, every so many microseconds. How many of them end in a pause.
    fn pauses(turns: u32, packets: usize, octets: usize, gap: u64) -> u32 {
        let mut moderation = Moderation::default();
        let mut now = 1_000_000;
        let mut pauses = 0;
        for _ in 0..turns {
            now += gap;
            moderation.count(packets, octets);
            if moderation.end_turn(now) {
                pauses += 1;
                now += PAUSE.as_micros() as u64;
                moderation.resume(now);
            }
        }
        pauses
    }

    #[test]
    fn lone_packets_never_wait() {
        assert_eq!(pauses(10_000, 1, 98, 51), 0, "19,600 a second");
        assert_eq!(pauses(10_000, 1, 98, 10_000), 0, "a ping");
    }

    #[test]
    fn large_pieces_never_wait() {
        assert_eq!(pauses(10_000, 1, 60_000, 5), 0);
        assert_eq!(pauses(10_000, 64, LARGE + 1, 5), 0);
    }

    #[test]
    fn a_flood_is_gathered_while_it_lasts() {
        assert_eq!(pauses(1_000, 5, 500, 5), 1_000 - FLOOD, "the first turn follows none");
    }

    #[test]
    fn packets_that_do_not_gather_are_soon_left_alone() {
        // Every pause brings one packet, which comes at once after it.
        let mut moderation = Moderation::default();
        let mut now = 0;
        for _ in 0..FLOOD {
            now += 10;
            moderation.count(1, 98);
            moderation.end_turn(now);
        }
        assert!(moderation.is_flood());
        moderation.count(1, 98);
        assert!(!moderation.end_turn(now + 10));
    }

    proptest! {
        #[test]
        fn it_takes_a_row_of_small_turns(turns in prop::collection::vec((0usize..100, 0usize..200_000, 0u64..200), 0..200)) {
            let mut moderation = Moderation::default();
            let mut now = 0;
            let mut row = 0;
            for (packets, octets, gap) in turns {
                now += gap;
                moderation.count(packets, octets);
                let pause = moderation.end_turn(now);
                row = if octets <= LARGE { row + 1 } else { 0 };
                // A large turn ends a flood, and takes four small ones more until the next.
                prop_assert!(!pause || row >= 1);
                prop_assert!(moderation.small <= FLOOD);
            }
        }
    }
}
