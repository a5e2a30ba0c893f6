//! Which counts of a peer have been seen: a window that slides with the highest.
//!
//! It is 64 counts wide at rest, and 65,536 once it has a bitmap of its own, a ring of words of which those that the window
//! leaves are cleared when it enters them again (RFC 6479). A step costs the same however full it is: clearing stops after the whole
//! ring.

/// Words of a large bitmap.
const WORDS: usize = 1_024;
/// Counts in a large window; the lowest up to 63 of them leave it together.
#[cfg(test)]
pub(crate) const WIDE: u64 = WORDS as u64 * 64;
/// Octets of a large window.
pub(crate) const WIDE_OCTETS: usize = WORDS * 8;
/// A count so far above the highest was not reached by counting. By the clock that counts begin with it is 71 minutes.
const LEAP: u64 = 1 << 32;

/// Where a count lies.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Place {
    /// Not seen before.
    New,
    /// Seen before.
    Seen,
    /// Below the window: seen, or too late to tell.
    Behind,
    /// Higher than counting can have come.
    Ahead,
}

/// The window of one peer.
#[derive(Debug)]
pub(crate) struct Window {
    top: u64,
    /// Bit n: top - n was seen. Not kept up while there is a large bitmap.
    last: u64,
    wide: Option<Box<[u64; WORDS]>>,
}

impl Window {
    /// A window whose highest count is `top`. Everything below passes for seen: it may have been, before there was a window.
    pub(crate) fn at(top: u64) -> Self {
        Self { top, last: u64::MAX, wide: None }
    }

    /// The highest count seen.
    pub(crate) fn top(&self) -> u64 {
        self.top
    }

    /// Whether there is a large bitmap.
    pub(crate) fn is_wide(&self) -> bool {
        self.wide.is_some()
    }

    /// Where a count lies. If it is new, it is not any more.
    #[inline]
    pub(crate) fn enter(&mut self, count: u64) -> Place {
        if count > self.top {
            if count - self.top > LEAP {
                return Place::Ahead;
            }
            self.raise(count);
            return Place::New;
        }
        let below = self.top - count;
        let (word, bit) = match &mut self.wide {
            Some(wide) => {
                if (self.top >> 6) - (count >> 6) >= WORDS as u64 {
                    return Place::Behind;
                }
                (&mut wide[(count >> 6) as usize % WORDS], 1 << (count & 63))
            }
            None if below >= 64 => return Place::Behind,
            None => (&mut self.last, 1 << below),
        };
        if *word & bit != 0 {
            return Place::Seen;
        }
        *word |= bit;
        Place::New
    }

    /// Makes `count`, which is above all others, the highest.
    pub(crate) fn raise(&mut self, count: u64) {
        match &mut self.wide {
            Some(wide) => {
                let (from, to) = (self.top >> 6, count >> 6);
                for word in from + 1..=to.min(from + WORDS as u64) {
                    wide[word as usize % WORDS] = 0;
                }
                wide[to as usize % WORDS] |= 1 << (count & 63);
            }
            None => {
                let step = count - self.top;
                self.last = if step < 64 { self.last << step | 1 } else { 1 };
            }
        }
        self.top = count;
    }

    /// Makes it large. What lay below the small one passes for seen.
    pub(crate) fn widen(&mut self) {
        if self.wide.is_some() {
            return;
        }
        let mut wide = Box::new([u64::MAX; WORDS]);
        // Above the top nothing was seen.
        wide[(self.top >> 6) as usize % WORDS] = u64::MAX >> (63 - (self.top & 63));
        for below in (0..64.min(self.top + 1)).filter(|below| self.last >> below & 1 == 0) {
            let count = self.top - below;
            wide[(count >> 6) as usize % WORDS] &= !(1 << (count & 63));
        }
        self.wide = Some(wide);
    }

    /// Gives the large bitmap back; the highest 64 counts are remembered.
    pub(crate) fn narrow(&mut self) {
        let Some(wide) = self.wide.take() else { return };
        self.last = 0;
        for below in 0..64 {
            let seen = self
                .top
                .checked_sub(below)
                .is_none_or(|count| wide[(count >> 6) as usize % WORDS] >> (count & 63) & 1 != 0);
            self.last |= u64::from(seen) << below;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const TOP: u64 = 1_700_000_000_000_123;

    #[test]
    fn everything_before_the_first_passes_for_seen() {
        for wide in [false, true] {
            let mut window = Window::at(TOP);
            if wide {
                window.widen();
            }
            for below in 0..64 {
                assert_eq!(window.enter(TOP - below), Place::Seen);
            }
            assert_eq!(window.enter(TOP + 1), Place::New);
            assert_eq!(window.enter(TOP + LEAP + 2), Place::Ahead);
            assert_eq!(window.enter(TOP - 2 * WIDE), Place::Behind);
            assert_eq!(window.top(), TOP + 1);
        }
    }

    #[test]
    fn a_window_at_the_very_beginning_of_counting() {
        let mut window = Window::at(0);
        window.widen();
        assert_eq!(window.enter(0), Place::Seen);
        assert_eq!(window.enter(2), Place::New);
        window.narrow();
        assert_eq!(
            [window.enter(0), window.enter(1), window.enter(2)],
            [Place::Seen, Place::New, Place::Seen]
        );
    }

    #[derive(Clone, Debug)]
    enum Step {
        Count(i64),
        Widen,
        Narrow,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            8 => (-80i64..80).prop_map(Step::Count),
            4 => (-70_000i64..70_000).prop_map(Step::Count),
            1 => Just(Step::Count(i64::from(u32::MAX) - 3)),
            1 => Just(Step::Widen),
            1 => Just(Step::Narrow),
        ]
    }

    proptest! {
        /// Against a set that forgets nothing: no count is ever new twice, and those in the window are told exactly.
        #[test]
        fn no_count_is_new_twice(steps in prop::collection::vec(step(), 1..400)) {
            let mut window = Window::at(TOP);
            let mut seen: BTreeSet<u64> = BTreeSet::from([TOP]);
            // Below this a narrow window has forgotten what it saw, or everything was before it.
            let mut floor = TOP;
            for step in steps {
                match step {
                    Step::Widen => window.widen(),
                    Step::Narrow => {
                        window.narrow();
                        floor = floor.max(window.top().saturating_sub(63));
                    }
                    Step::Count(offset) => {
                        let top = window.top();
                        let count = top.saturating_add_signed(offset);
                        let place = window.enter(count);
                        let reach = if window.is_wide() { WIDE - 64 } else { 63 };
                        if !window.is_wide() {
                            floor = floor.max(window.top().saturating_sub(63));
                        }
                        match place {
                            Place::New => prop_assert!(seen.insert(count)),
                            Place::Ahead => prop_assert!(count > top + LEAP),
                            Place::Seen => prop_assert!(seen.contains(&count) || count < floor),
                            Place::Behind => prop_assert!(count + reach < top + 1 || count < floor),
                        }
                        if count >= floor && count + reach >= top && count <= top {
                            prop_assert!(matches!(place, Place::New | Place::Seen));
                        }
                    }
                }
            }
        }
    }
}
