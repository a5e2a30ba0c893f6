//! Moments and spans of time, so that neither is taken for the other.
//!
//! Both count whole milliseconds. There is no "0 = never": what may never have happened is an `Option<Time>`. Sums and
//! differences stop at the ends of the range, since a stamp may be anybody's invention.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Div, Mul, Neg, Rem, Sub, SubAssign};
use std::time::Duration;

/// A moment: milliseconds since the Unix epoch.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Time(i64);

/// How long something takes, or how far two moments are apart: milliseconds, negative for backwards.
#[derive(Clone, Copy, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Span(i64);

impl Time {
    /// The Unix epoch.
    pub const EPOCH: Self = Self(0);
    /// No moment is earlier: where ranges of moments begin …
    pub const FIRST: Self = Self(i64::MIN);
    /// … and none is later: where they end.
    pub const LAST: Self = Self(i64::MAX);

    /// That many milliseconds since the Unix epoch.
    #[inline]
    pub const fn from_ms(ms: i64) -> Self {
        Self(ms)
    }

    /// Milliseconds since the Unix epoch.
    #[inline]
    pub const fn as_ms(self) -> i64 {
        self.0
    }
}

impl Span {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// That many milliseconds.
    #[inline]
    pub const fn ms(ms: i64) -> Self {
        Self(ms)
    }

    /// That many seconds.
    #[inline]
    pub const fn secs(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1_000))
    }

    /// Milliseconds.
    #[inline]
    pub const fn as_ms(self) -> i64 {
        self.0
    }

    /// How long it is, whichever way it goes.
    #[inline]
    #[must_use]
    pub const fn abs(self) -> Self {
        Self(self.0.saturating_abs())
    }
}

impl Sub for Time {
    type Output = Span;

    #[inline]
    fn sub(self, earlier: Self) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Span> for Time {
    type Output = Self;

    #[inline]
    fn add(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

impl Sub<Span> for Time {
    type Output = Self;

    #[inline]
    fn sub(self, span: Span) -> Self {
        Self(self.0.saturating_sub(span.0))
    }
}

impl AddAssign<Span> for Time {
    #[inline]
    fn add_assign(&mut self, span: Span) {
        *self = *self + span;
    }
}

impl SubAssign<Span> for Time {
    #[inline]
    fn sub_assign(&mut self, span: Span) {
        *self = *self - span;
    }
}

impl Add for Span {
    type Output = Self;

    #[inline]
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Span {
    #[inline]
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Span {
    type Output = Self;

    #[inline]
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Neg for Span {
    type Output = Self;

    #[inline]
    fn neg(self) -> Self {
        Self(self.0.saturating_neg())
    }
}

impl Mul<i64> for Span {
    type Output = Self;

    #[inline]
    fn mul(self, times: i64) -> Self {
        Self(self.0.saturating_mul(times))
    }
}

impl Div<i64> for Span {
    type Output = Self;

    #[inline]
    fn div(self, parts: i64) -> Self {
        Self(self.0.checked_div(parts).unwrap_or(0))
    }
}

/// How often the other fits into it.
impl Div for Span {
    type Output = i64;

    #[inline]
    fn div(self, other: Self) -> i64 {
        self.0.checked_div(other.0).unwrap_or(0)
    }
}

impl Rem for Span {
    type Output = Self;

    #[inline]
    fn rem(self, other: Self) -> Self {
        Self(self.0.checked_rem(other.0).unwrap_or(0))
    }
}

impl Sum for Span {
    fn sum<I: Iterator<Item = Self>>(spans: I) -> Self {
        spans.fold(Self::ZERO, Add::add)
    }
}

/// Backwards is no time at all.
impl From<Span> for Duration {
    fn from(span: Span) -> Self {
        Self::from_millis(u64::try_from(span.0).unwrap_or(0))
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "@{} ms", self.0)
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn moments_and_spans_go_together() {
        let (then, now) = (Time::from_ms(1_000), Time::from_ms(4_500));
        assert_eq!(now - then, Span::ms(3_500));
        assert_eq!(then + Span::secs(2) - Span::ms(1), Time::from_ms(2_999));
        assert_eq!(Span::secs(2) * 3 / 2, Span::ms(3_000));
        assert_eq!((Span::secs(7) / Span::secs(2), Span::secs(7) % Span::secs(2)), (3, Span::secs(1)));
        assert_eq!(
            [now - then, then - now].map(Duration::from),
            [Duration::from_millis(3_500), Duration::ZERO]
        );
        assert_eq!(format!("{now:?} {:?}", now - then), "@4500 ms 3500 ms");
    }

    proptest! {
        #[test]
        fn invented_stamps_stop_at_the_ends(a in any::<i64>(), b in any::<i64>()) {
            let (x, y) = (Time::from_ms(a), Time::from_ms(b));
            prop_assert_eq!((x - y).as_ms(), a.saturating_sub(b));
            prop_assert_eq!((x + Span::ms(b)).as_ms(), a.saturating_add(b));
            prop_assert_eq!((Span::ms(a) / Span::ms(b), Span::ms(a) / b), if b == 0 {
                (0, Span::ZERO)
            } else {
                let quotient = a.checked_div(b).unwrap_or(0);
                (quotient, Span::ms(quotient))
            });
        }
    }
}
