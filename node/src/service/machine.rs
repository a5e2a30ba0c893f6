//! Which machine this is, and whether the identity belongs to it.
//!
//! The home directory keeps a hash of the machine's ID beside the identity's address. Another hash at a start means that the home
//! was moved or copied here. No such file means that the identity was made or put here just now: it is bound at once.
//!
//! Specification: machine-id(5), which asks programs to use a keyed hash of the ID rather than the ID itself.

use std::fs;
use std::path::Path;

use hmac::{Hmac, KeyInit, Mac};
use protocol::Address;
use sha2::Sha256;

use super::home::Home;
use crate::core::event::Machine;

/// Where the ID of a machine is.
pub const MACHINE_ID: &str = "/etc/machine-id";
/// The message whose keyed hash stands for a machine here and nowhere else.
const PURPOSE: [u8; 16] =
    [0xa7, 0x1e, 0x54, 0x0c, 0x2d, 0x93, 0x4b, 0x66, 0x9f, 0x31, 0xe8, 0x0b, 0x5c, 0xd2, 0x70, 0x1d];

/// What the home says of this machine.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Belonging {
    /// The identity belongs to this machine.
    Home,
    /// It belongs to another: the home was moved or copied.
    Moved,
    /// The machine has no usable ID, so nobody can tell.
    #[default]
    Unknown,
}

impl Belonging {
    /// The word tools see.
    pub fn name(self) -> &'static str {
        match self {
            Belonging::Home => "home",
            Belonging::Moved => "moved",
            Belonging::Unknown => "unknown",
        }
    }
}

/// A keyed hash of the machine's ID in `path`; `None` without a usable ID (none at all, or that of an image never started).
pub fn hash(path: &Path) -> Option<[u8; 16]> {
    let text = fs::read_to_string(path).ok()?;
    let digits = text.trim();
    let id = u128::from_str_radix(digits, 16).ok().filter(|id| digits.len() == 32 && *id != 0)?;
    let mut mac = Hmac::<Sha256>::new_from_slice(&id.to_be_bytes()).ok()?;
    mac.update(&PURPOSE);
    let mut hash = [0; 16];
    hash.copy_from_slice(&mac.finalize().into_bytes()[..16]);
    Some(hash)
}

/// Whether the identity of `address` belongs to the machine whose ID is in `path`; a new identity is bound to it.
pub fn look(home: &Home, address: Address, path: &Path) -> (Machine, Belonging) {
    let Some(id) = hash(path) else {
        tracing::debug!(path = %path.display(), "no machine ID: a moved home is not noticed, a clone only by its packets");
        return (Machine::default(), Belonging::Unknown);
    };
    let at_home = match home.identity.bound_machine(address) {
        Some(bound) => bound == id,
        None => {
            bind(home, address, id);
            true
        }
    };
    let belonging = if at_home { Belonging::Home } else { Belonging::Moved };
    (Machine { id, at_home }, belonging)
}

/// Writes down that the identity belongs to this machine.
pub fn bind(home: &Home, address: Address, id: [u8; 16]) {
    if let Err(error) = home.identity.bind_machine(address, id) {
        tracing::warn!(%error, "cannot note which machine this identity belongs to; a copy of this home may take it for its own");
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_first_machine_is_home_and_others_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::claim(folder.path()).unwrap();
        let [one, two] = ["one", "two"].map(|name| folder.path().join(name));
        fs::write(&one, "0123456789abcdef0123456789abcdef\n").unwrap();
        fs::write(&two, "0123456789abcdef0123456789abcdee\n").unwrap();
        let [a, b] = [1, 2].map(Address::from_u64);
        assert_eq!(look(&home, a, &one).1, Belonging::Home, "bound at the first start");
        assert_eq!(look(&home, a, &one).1, Belonging::Home);
        let (machine, belonging) = look(&home, a, &two);
        assert!(belonging == Belonging::Moved && !machine.at_home);
        assert_eq!(look(&home, a, &one).1, Belonging::Home, "looking elsewhere binds nothing");
        bind(&home, a, machine.id);
        assert_eq!(look(&home, a, &two).1, Belonging::Home);
        assert_eq!(look(&home, b, &one).1, Belonging::Home, "another identity was put here");
        let mode = fs::metadata(folder.path().join("identity.machine")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn the_id_itself_is_not_kept_and_bad_ones_are_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("machine-id");
        for bad in [
            "",
            "uninitialized\n",
            "00000000000000000000000000000000",
            "0123",
            "xyz456789abcdef0123456789abcdef0",
        ] {
            fs::write(&path, bad).unwrap();
            assert_eq!(hash(&path), None, "{bad}");
        }
        assert_eq!(hash(&folder.path().join("none")), None);
        fs::write(&path, "0123456789abcdef0123456789abcdef").unwrap();
        let hashed = hash(&path).unwrap();
        assert_ne!(u128::from_be_bytes(hashed), 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
    }
}
