//! A TAP without virtio-net headers: every frame whole, its checksums complete. Any kernel with TAP devices can do this.

use std::fs::File;
use std::io;
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use tun_tap::{Iface, Mode};

/// Makes the device; returns it with the name it got.
pub(super) fn open(name: &str) -> io::Result<(File, String)> {
    let iface = Iface::without_packet_info(name, Mode::Tap)?;
    let actual = iface.name().to_owned();
    let file = File::from(owned(iface));
    fcntl(&file, FcntlArg::F_SETFL(OFlag::O_NONBLOCK | OFlag::O_LARGEFILE))?;
    Ok((file, actual))
}

#[allow(unsafe_code)]
fn owned(iface: Iface) -> OwnedFd {
    // SAFETY: `into_raw_fd` gives up the only handle to an open descriptor, so we are its one owner.
    unsafe { OwnedFd::from_raw_fd(iface.into_raw_fd()) }
}
