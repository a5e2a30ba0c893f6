//! A virtual Ethernet port: one TAP device per network, frames in and out, one system call a frame.
//!
//! The device lives as long as the [`Tap`]: it is not persistent, so dropping it removes the interface with its
//! addresses and routes, even when the process dies.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use tun_tap::{Iface, Mode};

/// Where the kernel hands out TUN and TAP devices.
pub const CONTROL_DEVICE: &str = "/dev/net/tun";

/// Why a TAP could not be made; the text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum TapError {
    /// The control device does not exist.
    #[error(
        "{CONTROL_DEVICE} does not exist: load the kernel's `tun` module (modprobe tun), or give the container that device"
    )]
    NoDevice,
    /// The control device may not be opened, or CAP_NET_ADMIN is missing.
    #[error(
        "no permission to make a TAP device: run as root or with CAP_NET_ADMIN, and check the mode of {CONTROL_DEVICE}"
    )]
    Permission,
    /// The name belongs to another interface.
    #[error(
        "the interface name {0} is taken: another node on this machine is on the same network, or remove that interface"
    )]
    NameTaken(String),
    /// Anything else.
    #[error("cannot make the TAP device {name}: {source}")]
    Other {
        /// The wanted interface name.
        name: String,
        /// What the kernel said.
        source: io::Error,
    },
}

/// A TAP device without packet information header, non-blocking, close-on-exec.
#[derive(Debug)]
pub struct Tap {
    file: File,
    name: String,
}

impl Tap {
    /// Makes the device. It is down and has a random MAC until [`super::netlink::Netlink::configure_link`] is called.
    ///
    /// # Errors
    /// [`TapError`]; nothing is left behind.
    pub fn open(name: &str) -> Result<Self, TapError> {
        let iface = Iface::without_packet_info(name, Mode::Tap).map_err(|e| classify(name, e))?;
        let actual = iface.name().to_owned();
        let file = File::from(owned(iface));
        let flags = OFlag::O_NONBLOCK | OFlag::O_LARGEFILE;
        fcntl(&file, FcntlArg::F_SETFL(flags))
            .map_err(|e| TapError::Other { name: name.to_owned(), source: e.into() })?;
        Ok(Tap { file, name: actual })
    }

    /// The interface name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Reads one Ethernet frame; `None` when there is none now.
    ///
    /// # Errors
    /// What the kernel says, for instance when the device was deleted by somebody (`EBADFD`).
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        loop {
            match (&self.file).read(buffer) {
                Ok(n) => return Ok(Some(n)),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(e) => return Err(e),
            }
        }
    }

    /// Writes one Ethernet frame; the kernel drops it silently when the interface is down or congested.
    ///
    /// # Errors
    /// What the kernel says (`EIO` while the interface is down).
    pub fn write(&self, frame: &[u8]) -> io::Result<()> {
        loop {
            match (&self.file).write(frame) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
                Ok(_) => return Ok(()),
            }
        }
    }
}

impl AsFd for Tap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[allow(unsafe_code)]
fn owned(iface: Iface) -> OwnedFd {
    // SAFETY: `into_raw_fd` gives up the only handle to an open descriptor, so we are its one owner.
    unsafe { OwnedFd::from_raw_fd(iface.into_raw_fd()) }
}

fn classify(name: &str, error: io::Error) -> TapError {
    match error.raw_os_error() {
        Some(libc::ENOENT | libc::ENODEV | libc::ENXIO) => TapError::NoDevice,
        Some(libc::EPERM | libc::EACCES) => TapError::Permission,
        Some(libc::EBUSY) => TapError::NameTaken(name.to_owned()),
        // The kernel answers EINVAL when the name belongs to an interface that is no TAP.
        Some(libc::EINVAL) if exists(name) => TapError::NameTaken(name.to_owned()),
        _ => TapError::Other { name: name.to_owned(), source: error },
    }
}

/// Whether an interface of this name exists in our network namespace.
pub fn exists(name: &str) -> bool {
    nix::net::if_::if_nametoindex(name).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_remedy() {
        let text = classify("ztx", io::Error::from_raw_os_error(libc::ENOENT)).to_string();
        assert!(text.contains("/dev/net/tun") && text.contains("modprobe tun"), "{text}");
        let text = classify("ztx", io::Error::from_raw_os_error(libc::EPERM)).to_string();
        assert!(text.contains("CAP_NET_ADMIN"), "{text}");
        let text = classify("ztx", io::Error::from_raw_os_error(libc::EBUSY)).to_string();
        assert!(text.contains("ztx"), "{text}");
        // `lo` exists and is no TAP.
        assert!(matches!(classify("lo", io::Error::from_raw_os_error(libc::EINVAL)), TapError::NameTaken(_)));
    }
}
