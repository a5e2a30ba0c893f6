//! How much work a datagram causes: turns of loops and looks into tables, counted while the feature `work` is on and free
//! otherwise.
//!
//! What one datagram costs must not depend on how full the tables are; `hostile/tests/work.rs` holds the core to that. So every
//! loop over something that others can make grow, and every look into such a table, says `step`.

#[cfg(feature = "work")]
use std::cell::Cell;

#[cfg(feature = "work")]
thread_local! {
    static STEPS: Cell<u64> = const { Cell::new(0) };
}

/// One turn of a loop, or one look into a table.
#[inline(always)]
pub(crate) fn step() {
    #[cfg(feature = "work")]
    STEPS.set(STEPS.get() + 1);
}

/// The steps on this thread since the last call.
#[cfg(feature = "work")]
pub fn taken() -> u64 {
    STEPS.replace(0)
}
