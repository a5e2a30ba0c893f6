//! A door for tests: every table filled to its cap with made-up entries, and how full each is. Making real ones would take a
//! memory-hard hash each.

use protocol::{Address, Time};

use super::Core;

/// An address of nobody, by number.
fn nobody(number: u64) -> Address {
    Address::from_u64(0x77_0000_0000 + number)
}

impl Core {
    /// Fills every table to its cap with entries of nobody in particular, beside what is there. What is full stays as it is.
    pub fn fill_for_test(&mut self, now: Time) {
        self.underlay.fill(now, nobody);
        self.switch.fill(now, nobody);
    }

    /// How full each table is; of tables there are several of, each of them.
    pub fn table_sizes(&self) -> Vec<(&'static str, usize)> {
        let mut sizes = self.underlay.sizes();
        sizes.extend(self.switch.sizes());
        sizes
    }
}
