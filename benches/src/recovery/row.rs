//! Who sits where: the root and the two ends.

use anyhow::{Result, bail};
use lab::{Seat, binaries};

/// One row of the table: whose programs the root (which is the controller too) and the ends are. Faults befall the first end, or
/// the way between the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// The root, and a second one where there are two.
    pub(crate) root: Seat,
    /// The ends, A and B.
    pub(crate) ends: [Seat; 2],
}

impl Row {
    /// Pairs of each kind by themselves, and mixed ones, as far as the programs are there.
    pub(crate) fn usual() -> Vec<Self> {
        let codes = ["ooo", "ppp", "zzz", "zoo", "ooz", "ozo", "zoz"];
        let rows = codes.into_iter().filter_map(|code| Self::parse(code).ok());
        rows.filter(|row| {
            row.seats().iter().all(|seat| match seat {
                Seat::Ours => true,
                Seat::Older => binaries::older().is_some(),
                Seat::Reference => binaries::reference().is_some(),
            })
        })
        .collect()
    }

    /// ztnode alone.
    pub(crate) fn ours() -> Self {
        Self { root: Seat::Ours, ends: [Seat::Ours; 2] }
    }

    /// Three letters: root, A, B; `o` ours, `p` the earlier release, `z` zerotier-one.
    pub(crate) fn parse(code: &str) -> Result<Self> {
        let seat = |letter| match letter {
            'o' => Ok(Seat::Ours),
            'p' => Ok(Seat::Older),
            'z' => Ok(Seat::Reference),
            _ => bail!(
                "`{letter}` in the row `{code}` is none of o (ztnode), p (ZTNODE_OLD), z (ZEROTIER_ONE)"
            ),
        };
        let seats = code.chars().map(seat).collect::<Result<Vec<_>>>()?;
        let [root, a, b] = seats[..] else { bail!("a row is three letters, root, A and B: not `{code}`") };
        Ok(Self { root, ends: [a, b] })
    }

    /// The three letters.
    pub(crate) fn code(self) -> String {
        let letter = |seat: &Seat| match seat {
            Seat::Ours => 'o',
            Seat::Older => 'p',
            Seat::Reference => 'z',
        };
        self.seats().iter().map(letter).collect()
    }

    /// Root, A, B.
    pub(crate) fn seats(self) -> [Seat; 3] {
        [self.root, self.ends[0], self.ends[1]]
    }

    /// Whether bounds hold for it: all three are the ztnode that is measured.
    pub(crate) fn is_ours(self) -> bool {
        self.seats() == [Seat::Ours; 3]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_codes() {
        let row = Row::parse("zop").unwrap();
        assert_eq!(row.seats(), [Seat::Reference, Seat::Ours, Seat::Older]);
        assert_eq!(row.code(), "zop");
        assert!(!row.is_ours() && Row::parse("ooo").unwrap().is_ours());
        for bad in ["", "oo", "oooo", "oxo"] {
            assert!(Row::parse(bad).is_err(), "{bad}");
        }
    }
}
