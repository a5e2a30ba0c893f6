//! A virtual Ethernet port: one TAP device per network, frames in and out, one system call a frame.
//!
//! There are two kinds: **plain** ones, and ones **with offloads**, which hand over and take frames of up to 64 KiB together
//! with what the kernel left to do about them ([`Offload`]). The kernel decides at run time what it grants.
//!
//! The device lives as long as the [`Tap`]: it is not persistent, so dropping it removes the interface with its
//! addresses and routes, even when the process dies.

mod offload;
mod plain;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

use super::packet_filter;
use crate::dataplane::vnet::{self, Checksum, Gso, Offload, Offloads};

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

/// How to open a TAP.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Backend {
    /// With offloads, or plain where the kernel has none.
    Offload,
    /// Whole frames only.
    Plain,
}

/// A TAP device without packet information header, non-blocking, close-on-exec.
#[derive(Debug)]
pub struct Tap {
    file: File,
    /// Queues that only take frames, so that several threads can write without meeting.
    writers: Vec<File>,
    name: String,
    /// Whether each frame has a virtio-net header before it.
    headers: bool,
    offloads: Offloads,
}

impl Tap {
    /// Makes the device. It is down and has a random MAC until [`super::netlink::Netlink::configure_link`] is called.
    ///
    /// # Errors
    /// [`TapError`]; nothing is left behind.
    pub fn open(name: &str, backend: Backend) -> Result<Self, TapError> {
        Self::open_for(name, backend, 0)
    }

    /// The same, with queues for that many threads that write ([`Self::write_by`]), where the kernel grants them.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_for(name: &str, backend: Backend, writers: usize) -> Result<Self, TapError> {
        if name.len() >= libc::IFNAMSIZ {
            let limit = format!("an interface name has at most {} octets", libc::IFNAMSIZ - 1);
            return Err(classify(name, io::Error::new(io::ErrorKind::InvalidInput, limit)));
        }
        if backend == Backend::Offload {
            match offload::open(name, writers) {
                Ok(offload::Opened { file, writers, name, offloads }) => {
                    keep_own_out(&file, &name);
                    return Ok(Tap { file, writers, name, headers: true, offloads });
                }
                // So does a kernel say that has no offloads, or a name that is taken; then the plain way fails too.
                Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOTTY)) => {
                    tracing::debug!(name, %error, "no TAP device with offloads");
                }
                Err(error) => return Err(classify(name, error)),
            }
        }
        let (file, name) = plain::open(name).map_err(|e| classify(name, e))?;
        keep_own_out(&file, &name);
        Ok(Tap { file, writers: Vec::new(), name, headers: false, offloads: Offloads::default() })
    }

    /// The interface name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What frames from and to the kernel may leave undone; nothing for a plain port.
    pub fn offloads(&self) -> Offloads {
        self.offloads
    }

    /// Reads one Ethernet frame, which begins at `buffer[vnet::HEADER]`; returns its length and what is left to do about it
    /// ([`Offload::PLAIN`] from a plain port). `None` when there is none now. What does not fit is cut off silently: a port
    /// with [`Offloads::tso`] needs [`vnet::SUPER_FRAME_ROOM`].
    ///
    /// # Errors
    /// What the kernel says, for instance when the device was deleted by somebody (`EBADFD`). `InvalidData`: one frame with
    /// a header that makes no sense was thrown away; the port is fine.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<Option<(Offload, usize)>> {
        // Header and frame in one piece: to scatter them would cost a small frame a tenth of its time.
        let start = if self.headers { 0 } else { vnet::HEADER };
        loop {
            match (&self.file).read(buffer.get_mut(start..).unwrap_or_default()) {
                Ok(n) if !self.headers => return Ok(Some((Offload::PLAIN, n))),
                Ok(n) => {
                    let length = n.saturating_sub(vnet::HEADER);
                    let header = buffer.first_chunk().copied().unwrap_or_default();
                    let offload = Offload::parse(&header).and_then(|o| o.check(length).map(|()| o));
                    let invalid = |e| io::Error::new(io::ErrorKind::InvalidData, e);
                    return offload.map(|offload| Some((offload, length))).map_err(invalid);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(e) => return Err(e),
            }
        }
    }

    /// Writes one Ethernet frame; the kernel drops it silently when the interface is down or congested.
    ///
    /// # Errors
    /// What the kernel says (`EIO` while the interface is down). `InvalidInput`: `offload` does not fit the frame, or
    /// leaves something to do that this port cannot.
    pub fn write(&self, offload: &Offload, frame: &[u8]) -> io::Result<()> {
        if self.headers {
            let header = self.header(offload, frame.len())?;
            write_parts(&self.file, &[IoSlice::new(&header), IoSlice::new(frame)])
        } else {
            self.check_plain(offload)?;
            write_parts(&self.file, &[IoSlice::new(frame)])
        }
    }

    /// As [`Self::write`], by the queue of thread `writer`, counted from 0, if it has one of its own.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub fn write_by(&self, writer: usize, offload: &Offload, frame: &[u8]) -> io::Result<()> {
        let Some(queue) = self.writers.get(writer) else { return self.write(offload, frame) };
        let header = self.header(offload, frame.len())?;
        match write_parts(queue, &[IoSlice::new(&header), IoSlice::new(frame)]) {
            // A kernel that wants queues to be attached for that.
            Err(error) if error.raw_os_error() == Some(libc::EBADFD) => self.write(offload, frame),
            result => result,
        }
    }

    /// How many threads have a queue of their own to write to.
    pub fn writers(&self) -> usize {
        self.writers.len()
    }

    /// The header of a frame of `length` octets.
    fn header(&self, offload: &Offload, length: usize) -> io::Result<[u8; vnet::HEADER]> {
        offload.check(length).map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?;
        Ok(offload.write())
    }

    /// Without a header the kernel cannot be told to finish anything.
    fn check_plain(&self, offload: &Offload) -> io::Result<()> {
        let unfinished = matches!(offload.checksum, Checksum::Partial { .. }) || offload.gso != Gso::None;
        if unfinished {
            let text = "a plain port takes finished frames only";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        Ok(())
    }
}

/// What our own sockets send never comes back to us as a frame. Nothing depends on it as long as routes are as they should be.
fn keep_own_out(tap: &File, name: &str) {
    if let Err(error) = packet_filter::drop_own(tap) {
        tracing::debug!(name, %error, "the port takes packets of our own sockets");
    }
}

/// A device takes a frame wholly or not at all.
fn write_parts(mut queue: &File, parts: &[IoSlice<'_>]) -> io::Result<()> {
    loop {
        match queue.write_vectored(parts) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
            Ok(_) => return Ok(()),
        }
    }
}

impl AsFd for Tap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
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
