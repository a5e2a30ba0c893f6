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

/// Makes the device; returns it with the name it got and with what the kernel grants.
pub(super) fn open(name: &str) -> io::Result<(File, String, Offloads)> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(super::CONTROL_DEVICE)?;
    let actual = attach(&file, name)?;
    set_header_size(&file)?;
    let granted = WISHES.iter().find(|(flags, _)| set_offloads(&file, *flags).is_ok());
    let (_, offloads) = granted.ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))?;
    Ok((file, actual, *offloads))
}

#[allow(unsafe_code)]
fn attach(file: &File, name: &str) -> io::Result<String> {
    // SAFETY: ifreq is plain C data for which all zeroes is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // The last octet stays 0.
    let room = request.ifr_name.len() - 1;
    if name.len() > room || name.bytes().any(|b| b == 0) {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR) as libc::c_short;
    // SAFETY: the descriptor is open; TUNSETIFF reads and writes one ifreq, which is ours and lives.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    let actual = request.ifr_name.iter().take_while(|c| **c != 0).map(|c| *c as u8).collect();
    String::from_utf8(actual).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
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
