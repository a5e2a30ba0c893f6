//! A TAP with a virtio-net header before each frame, so that TCP and UDP pass in frames of up to 64 KiB and checksums are
//! left to whoever needs them.
//!
//! Source: Linux, `Documentation/networking/tuntap.rst` and `include/uapi/linux/if_tun.h`.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;

use crate::dataplane::vnet::{self, Offloads};

/// What may be granted, the most first: older kernels refuse a set that has something unknown in it. Both kinds of USO go
/// together.
const WISHES: [(libc::c_uint, Offloads); 4] = [
    (TCP | libc::TUN_F_USO4 | libc::TUN_F_USO6, Offloads { tso: true, uso: true, checksum: true }),
    (TCP, Offloads { tso: true, uso: false, checksum: true }),
    (libc::TUN_F_CSUM, Offloads { tso: false, uso: false, checksum: true }),
    (0, Offloads { tso: false, uso: false, checksum: false }),
];
const TCP: libc::c_uint = libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6 | libc::TUN_F_TSO_ECN;

/// A device just made.
pub(super) struct Opened {
    pub(super) file: File,
    /// Queues that only take frames.
    pub(super) writers: Vec<File>,
    /// The name it got.
    pub(super) name: String,
    pub(super) offloads: Offloads,
}

/// Makes the device, with as many queues for writing as `writers` says, or none where the kernel does not grant them.
pub(super) fn open(name: &str, writers: usize) -> io::Result<Opened> {
    if writers > 0 {
        match open_queues(name, writers) {
            // Somebody else's device, or no permission: the other way would fail too.
            Err(error)
                if !matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOTTY | libc::E2BIG)) =>
            {
                return Err(error);
            }
            Err(error) => tracing::debug!(name, %error, "no TAP device with several queues"),
            opened => return opened,
        }
    }
    let file = open_control()?;
    let name = attach(&file, name, 0)?;
    let offloads = set_up(&file)?;
    Ok(Opened { file, writers: Vec::new(), name, offloads })
}

/// With several queues attached the kernel chooses one for each frame, by a table that follows what is written: a flow would
/// move between them, and be read out of order. A queue that is detached is not chosen, but may be written to. So the first
/// one is read, and the others are detached before the interface is up.
fn open_queues(name: &str, writers: usize) -> io::Result<Opened> {
    let file = open_control()?;
    // Without EXCL the queue of a device that is there already, perhaps another node's, would be added to that.
    let name = attach(&file, name, libc::IFF_MULTI_QUEUE | libc::IFF_TUN_EXCL)?;
    let offloads = set_up(&file)?;
    let mut queues = Vec::with_capacity(writers);
    for _ in 0..writers {
        let queue = open_control()?;
        attach(&queue, &name, libc::IFF_MULTI_QUEUE)?;
        detach(&queue)?;
        queues.push(queue);
    }
    Ok(Opened { file, writers: queues, name, offloads })
}

fn open_control() -> io::Result<File> {
    OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(super::CONTROL_DEVICE)
}

fn set_up(file: &File) -> io::Result<Offloads> {
    set_header_size(file)?;
    let granted = WISHES.iter().find(|(flags, _)| set_offloads(file, *flags).is_ok());
    let (_, offloads) = granted.ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))?;
    Ok(*offloads)
}

#[allow(unsafe_code)]
fn attach(file: &File, name: &str, more: libc::c_int) -> io::Result<String> {
    let mut request = request(libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR | more);
    // The last octet stays 0.
    let room = request.ifr_name.len() - 1;
    if name.len() > room || name.bytes().any(|b| b == 0) {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    // SAFETY: the descriptor is open; TUNSETIFF reads and writes one ifreq, which is ours and lives.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    let actual = request.ifr_name.iter().take_while(|c| **c != 0).map(|c| *c as u8).collect();
    String::from_utf8(actual).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
}

#[allow(unsafe_code)]
fn detach(file: &File) -> io::Result<()> {
    let request = request(libc::IFF_DETACH_QUEUE);
    // SAFETY: the descriptor is open; TUNSETQUEUE reads one ifreq, which lives.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETQUEUE, &raw const request) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[allow(unsafe_code)]
fn request(flags: libc::c_int) -> libc::ifreq {
    // SAFETY: ifreq is plain C data for which all zeroes is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // The flags are 16 bits, the uppermost of which makes the number negative.
    request.ifr_ifru.ifru_flags = flags as libc::c_short;
    request
}

#[allow(unsafe_code)]
fn set_header_size(file: &File) -> io::Result<()> {
    let size = vnet::HEADER as libc::c_int;
    // SAFETY: the descriptor is open; TUNSETVNETHDRSZ reads one int, which lives.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETVNETHDRSZ, &raw const size) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[allow(unsafe_code)]
fn set_offloads(file: &File, flags: libc::c_uint) -> io::Result<()> {
    // SAFETY: the descriptor is open; TUNSETOFFLOAD takes its flags by value.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETOFFLOAD, libc::c_ulong::from(flags)) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
