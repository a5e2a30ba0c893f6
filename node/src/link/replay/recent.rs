//! Packet IDs seen lately, for peers whose packets are not counted.
//!
//! A table of lines of eight, a cache line each, newest first: an ID has its line, and pushes out the oldest there. So a look costs
//! one line and no more, whatever somebody sends, and what is not pushed out is remembered for longer than it has to be. When IDs
//! that are younger than [`KEPT`] begin to be pushed out, the table asks to become larger; the smaller one stays beside it for
//! that long.
//!
//! An entry is 48 bits (one of them always set) that tell IDs of a line apart and the time it was seen, in steps of 64 ms, which
//! wraps after 70 minutes.

use protocol::{Span, Time};

/// How long IDs have to be remembered.
pub(crate) const KEPT: Span = Span::secs(2);
/// IDs of a line.
const LINE: usize = 8;
/// Lines of a table of each size.
const LINES: [usize; 6] = [1, 8, 64, 1_024, 16_384, 131_072];
/// Size of a table at most …
pub(crate) const LARGEST: usize = LINES.len() - 1;
/// … and of one for whoever is no member of a network of ours.
pub(crate) const STRANGERS: usize = 2;
/// Bits of an entry that are time.
const TIME_BITS: u32 = 16;
const TIME: u64 = (1 << TIME_BITS) - 1;
/// Milliseconds of a step of time, as a power of two.
const STEP: u32 = 6;
/// Steps in [`KEPT`].
const KEPT_STEPS: u64 = (KEPT.as_ms() >> STEP) as u64;

/// Octets of a table.
pub(crate) fn octets(size: usize) -> usize {
    LINES.get(size).map_or(0, |lines| lines * LINE * 8)
}

fn lines(size: usize) -> Box<[[u64; LINE]]> {
    vec![[0; LINE]; LINES[size.min(LARGEST)]].into_boxed_slice()
}

/// The IDs of one peer.
#[derive(Debug)]
pub(crate) struct Recent {
    lines: Box<[[u64; LINE]]>,
    size: usize,
    /// The table before it became larger, and until when it counts.
    before: Option<(Box<[[u64; LINE]]>, Time)>,
    /// Young IDs that were pushed out.
    lost: usize,
    /// The last of them, with its line. A wish to become larger comes with one, so then it is what was pushed out just now.
    pushed: Option<(usize, u64)>,
}

impl Recent {
    pub(crate) fn new() -> Self {
        Self { lines: lines(0), size: 0, before: None, lost: 0, pushed: None }
    }

    /// Its size, an index of [`octets`].
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Whether an ID was not seen before. It is now.
    #[inline]
    pub(crate) fn enter(&mut self, now: Time, id: u64) -> bool {
        let mixed = mix(id);
        if let Some((before, until)) = &self.before {
            if now < *until {
                if holds(&before[place(mixed, before.len())], mixed) {
                    return false;
                }
            } else {
                self.before = None;
            }
        }
        let time = time_of(now);
        let place = place(mixed, self.lines.len());
        let line = &mut self.lines[place];
        if holds(line, mixed) {
            return false;
        }
        let oldest = line[LINE - 1];
        for at in (1..LINE).rev() {
            line[at] = line[at - 1];
        }
        line[0] = mixed & !TIME | time;
        if oldest != 0 && time.wrapping_sub(oldest) & TIME <= KEPT_STEPS {
            self.pushed = Some((place, oldest));
            self.lost += 1;
        }
        true
    }

    /// Whether an ID is remembered, and was seen lately enough to matter.
    pub(crate) fn knows(&self, now: Time, id: u64) -> bool {
        let mixed = mix(id);
        let time = time_of(now);
        let line = &self.lines[place(mixed, self.lines.len())];
        line.iter().any(|entry| (*entry ^ mixed) <= TIME && time.wrapping_sub(*entry) & TIME <= KEPT_STEPS)
    }

    /// Whether it is time to become larger: young IDs get lost.
    #[inline]
    pub(crate) fn wants_more(&self) -> bool {
        self.lost > self.lines.len() / 64 && self.size < LARGEST
    }

    /// Becomes larger by a step.
    pub(crate) fn grow(&mut self, now: Time) {
        self.size = (self.size + 1).min(LARGEST);
        let mut before = std::mem::replace(&mut self.lines, lines(self.size));
        if let Some((line, entry)) = self.pushed.take() {
            // What brought the wish about changes places with what it pushed out.
            let newest = before[line][0];
            before[line].copy_within(1.., 0);
            before[line][LINE - 1] = entry;
            self.lines[place(newest, self.lines.len())][0] = newest;
        }
        self.before = Some((before, now + KEPT));
        self.lost = 0;
    }

    /// May not become larger for now; does not ask again at once.
    pub(crate) fn refused(&mut self) {
        self.lost = 0;
    }

    /// Gives all back but the smallest table.
    pub(crate) fn shrink(&mut self) {
        *self = Self::new();
    }
}

/// Spreads IDs that differ in few bits. What tells entries apart is never zero, which is what an empty place holds.
#[inline]
fn mix(id: u64) -> u64 {
    let mixed = id.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ mixed >> 29 | 1 << 63
}

#[inline]
fn place(mixed: u64, lines: usize) -> usize {
    // The number of lines is a power of two.
    (mixed >> TIME_BITS) as usize & (lines - 1)
}

/// The time of an entry.
#[inline]
fn time_of(now: Time) -> u64 {
    (now.as_ms() >> STEP) as u64 & TIME
}

/// Whether a line holds an ID.
#[inline]
fn holds(line: &[u64; LINE], mixed: u64) -> bool {
    line.iter().any(|entry| (*entry ^ mixed) <= TIME)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    const NOW: Time = Time::from_ms(1_700_000_000_000);

    /// Sends so many IDs a second for some seconds; each is replayed after 1, 100 and 1,900 ms. How many replays passed.
    fn passed(rate: usize, seconds: usize, largest: usize) -> usize {
        let mut rng = StdRng::seed_from_u64(rate as u64);
        let mut recent = Recent::new();
        let mut sent: Vec<u64> = Vec::new();
        let per_ms = rate / 1_000;
        let mut passed = 0;
        for ms in 0..seconds * 1_000 {
            let now = NOW + Span::ms(ms as i64);
            for _ in 0..per_ms {
                let id = rng.random();
                assert!(recent.enter(now, id), "a new ID passes");
                sent.push(id);
                if recent.wants_more() && recent.size() < largest {
                    recent.grow(now);
                }
            }
            for ago in [1, 100, 1_900] {
                if let Some(at) = ms.checked_sub(ago) {
                    passed += usize::from(!sent.is_empty() && recent.enter(now, sent[at * per_ms]));
                }
            }
        }
        passed
    }

    #[test]
    fn what_was_seen_in_the_last_two_seconds_does_not_pass_again() {
        for rate in [1_000, 10_000, 100_000] {
            let passed = passed(rate, 4, LARGEST);
            // While a table fills up to where it asks for more, a few are lost.
            assert!(passed <= 120, "{passed} of 12,000 replays at {rate} packets a second");
        }
    }

    #[test]
    fn a_small_rate_needs_one_line_and_is_remembered_for_long() {
        let mut recent = Recent::new();
        for n in 1..=8 {
            assert!(recent.enter(NOW + Span::secs(n as i64), n));
        }
        for n in 1..=8 {
            assert!(!recent.enter(NOW + Span::secs(600), n), "after ten minutes");
        }
        assert_eq!((recent.size(), recent.wants_more()), (0, false));
    }

    #[test]
    fn an_id_of_zero_is_one_like_others() {
        let mut recent = Recent::new();
        assert!(recent.enter(NOW, 0));
        assert!(!recent.enter(NOW + Span::ms(1), 0));
    }

    proptest! {
        #[test]
        fn chosen_ids_cost_one_line(ids in prop::collection::vec(any::<u64>(), 1..200), size in 0usize..4) {
            let mut recent = Recent::new();
            (0..size).for_each(|_| recent.grow(NOW));
            for id in &ids {
                recent.enter(NOW, *id);
                prop_assert!(!recent.enter(NOW, *id));
            }
            recent.shrink();
            prop_assert_eq!(recent.size(), 0);
        }
    }
}
