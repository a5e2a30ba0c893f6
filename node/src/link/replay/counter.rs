//! The number that every packet of suite 3 carries where only its receiver finds it.
//!
//! What a sender has in the place of the packet ID before it armors a packet of suite 3 goes over the wire as ciphertext and comes
//! out again when the packet is opened. We count there, towards everybody: whoever does not know sees eight octets that are as
//! good as random. `docs/extensions.md` says why counting is safe.
//!
//! | bits | what |
//! |---|---|
//! | 63 | direction: set when the sender has the larger address, for both ends share one key |
//! | 62 … 56 | a mark, always the same |
//! | 55 … 0 | the count |

use protocol::{Address, Time};

/// Bits of the count.
const COUNT_BITS: u32 = 56;
const COUNT: u64 = (1 << COUNT_BITS) - 1;
/// What stands above the count, without the direction.
const MARK: u64 = 0x5a << COUNT_BITS;
/// Set by the end with the larger address.
const LARGER: u64 = 1 << 63;
/// No count begins above this: half of all that there are, a thousand years of microseconds.
const LAST_START: u64 = 1 << (COUNT_BITS - 1);

/// What stands above the count in packets between two nodes.
fn form(from: Address, to: Address) -> u64 {
    MARK | if from > to { LARGER } else { 0 }
}

/// Counts the packets to one peer.
#[derive(Clone, Copy, Debug)]
pub struct Counter {
    next: u64,
}

impl Counter {
    /// Counts what `from` sends to `to`, beginning with `start`.
    pub(crate) fn new(from: Address, to: Address, start: u64) -> Self {
        Self { next: form(from, to) | start.min(LAST_START) }
    }

    /// Goes on with `start`, unless it is there already.
    pub(crate) fn raise(&mut self, start: u64) {
        self.next = self.next.max(self.next & !COUNT | start.min(LAST_START));
    }

    /// The next `packets` numbers; gives the first.
    #[inline]
    pub fn take(&mut self, packets: usize) -> u64 {
        let first = self.next;
        self.next = first.wrapping_add(packets as u64);
        first
    }
}

/// The count in what a packet of suite 3 from `from` to `to` carried, if it has our form. Of random octets one in 256 has.
#[inline]
pub(crate) fn count(chosen: u64, from: Address, to: Address) -> Option<u64> {
    (chosen & !COUNT == form(from, to)).then_some(chosen & COUNT)
}

/// Where counts begin: the microseconds of the wall clock, and ahead of it for as long as it shows less than was ever used.
///
/// No peer is sent a million packets in a second for long, so a count that began with the clock stays behind it: a peer that was
/// forgotten and comes back, and the next run of the node, begin above all that was used before.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Origin {
    /// Microseconds.
    ahead: u64,
    /// Everything below may have been used once this is kept on disk.
    reserved: u64,
}

/// So much is reserved at once, and so little of it may be left: microseconds. What is written once an hour wears out no disk.
const RESERVE: u64 = 3_600_000_000;
const LEFT: u64 = 300_000_000;

impl Origin {
    /// Where a count that begins at `now` begins.
    pub(crate) fn at(&self, now: Time) -> u64 {
        (u64::try_from(now.as_ms()).unwrap_or(0).saturating_mul(1_000))
            .saturating_add(self.ahead)
            .min(LAST_START)
    }

    /// An earlier run had reserved everything below `reserved`.
    pub(crate) fn resume(&mut self, now: Time, reserved: u64) {
        let reserved = reserved.min(LAST_START - RESERVE);
        self.ahead += reserved.saturating_sub(self.at(now));
        self.reserved = self.reserved.max(reserved);
    }

    /// What has to be kept on disk now, if anything.
    pub(crate) fn reserve(&mut self, now: Time) -> Option<u64> {
        let at = self.at(now);
        if at.saturating_add(LEFT) < self.reserved {
            return None;
        }
        self.reserved = at.saturating_add(RESERVE);
        Some(self.reserved)
    }
}

#[cfg(test)]
mod tests {
    use protocol::Span;

    use super::*;

    const NOW: Time = Time::from_ms(1_700_000_000_000);

    const MINUTE: Span = Span::secs(60);

    fn addresses() -> (Address, Address) {
        (Address::from_u64(0x0102030405), Address::from_u64(0x0102030406))
    }

    #[test]
    fn each_direction_is_told_from_the_other_and_from_chance() {
        let (a, b) = addresses();
        let [first, second] = [Counter::new(a, b, 5).take(3), Counter::new(b, a, 5).take(1)];
        assert_eq!((count(first, a, b), count(first, b, a)), (Some(5), None));
        assert_eq!((count(second, b, a), count(second, a, b)), (Some(5), None));
        assert_eq!(count(5, a, b), None);
    }

    #[test]
    fn ranges_do_not_overlap() {
        let (a, b) = addresses();
        let mut counter = Counter::new(a, b, 1_000);
        let taken =
            [counter.take(45), counter.take(1), counter.take(0), counter.take(2)].map(|n| count(n, a, b));
        assert_eq!(taken, [Some(1_000), Some(1_045), Some(1_046), Some(1_046)]);
        counter.raise(900);
        assert_eq!(count(counter.take(1), a, b), Some(1_048));
        counter.raise(9_000);
        assert_eq!(count(counter.take(1), a, b), Some(9_000));
        counter.raise(u64::MAX);
        assert_eq!(
            count(counter.take(1), a, b),
            Some(LAST_START),
            "a start from a spoilt disk spoils no form"
        );
    }

    #[test]
    fn a_clock_set_back_uses_nothing_again() {
        let mut first = Origin::default();
        let kept = first.reserve(NOW).unwrap();
        assert_eq!(first.reserve(NOW + Span::secs(1)), None, "it is written once an hour");
        assert_eq!(first.reserve(NOW + MINUTE * 54), None);
        let kept = first.reserve(NOW + MINUTE * 56).unwrap().max(kept);
        let last = first.at(NOW + MINUTE * 110);
        assert!(last < kept);
        for back in [0, 1, 86_400, 365 * 86_400].map(Span::secs) {
            let mut next = Origin::default();
            next.resume(NOW - back, kept);
            assert!(next.at(NOW - back) > last, "{back:?}");
            assert!(next.reserve(NOW - back).unwrap() > kept);
        }
        let mut spoilt = Origin::default();
        spoilt.resume(NOW, u64::MAX);
        assert!(spoilt.at(NOW) <= LAST_START);
    }
}
