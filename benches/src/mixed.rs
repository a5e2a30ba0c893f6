//! ztnode and zerotier-one at the two ends of one cable.

use anyhow::{Context, Result, ensure};
use lab::{Seat, binaries};

use crate::system::System;

/// ztnode to zerotier-one, beside zerotier-one to zerotier-one. Streams go both ways in either, so who sends is covered;
/// root and controller is the first one.
///
/// # Errors
/// When there is no zerotier-one, or the two do not get together.
pub(crate) fn systems() -> Result<Vec<System>> {
    ensure!(binaries::reference().is_some(), "ZEROTIER_ONE names no zerotier-one binary");
    let pairs = [[Seat::Ours, Seat::Reference], [Seat::Reference, Seat::Reference]];
    pairs.into_iter().map(|seats| System::nodes(seats).with_context(|| format!("{seats:?}"))).collect()
}
