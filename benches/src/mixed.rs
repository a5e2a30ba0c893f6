//! ztnode and zerotier-one at the two ends of one cable.

use anyhow::{Result, ensure};
use lab::{Seat, binaries};

use crate::contest::Contestant;
use crate::system::{Scope, Setup, System};

/// zerotier-one to itself, which all are compared with. It uses AES-GMAC-SIV, and cannot be told otherwise.
pub(crate) const BASELINE: &str = "zerotier-one to itself";

/// ztnode at one end and zerotier-one at the other, with either cipher, beside zerotier-one at both. Streams go both ways:
/// forth is from ztnode, which is root and controller, and back is towards it.
///
/// # Errors
/// When there is no zerotier-one.
pub(crate) fn contestants() -> Result<Vec<Contestant>> {
    ensure!(binaries::reference().is_some(), "ZEROTIER_ONE names no zerotier-one binary");
    let pair = |name: &str, first: Seat, setting| {
        let setup = Setup { setting, ..Setup::from([first, Seat::Reference]) };
        Contestant::new(name, Scope::All, move || System::nodes(setup.clone()))
    };
    Ok(vec![
        pair("with zerotier-one, AES", Seat::Ours, Some(("cipher", "aes-gmac-siv"))),
        pair("with zerotier-one, Salsa20", Seat::Ours, Some(("cipher", "salsa20"))),
        pair(BASELINE, Seat::Reference, None),
    ])
}
