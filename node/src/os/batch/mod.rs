//! Many datagrams in one system call: `recvmmsg` and `sendmmsg` over buffers that are used again and again, with several
//! datagrams in one message where the kernel can cut (`UDP_SEGMENT`) and merge (`UDP_GRO`) them.
//!
//! On the wire and for peers nothing changes: each datagram has its own UDP and IP header.
//!
//! All of the unsafety of the packet path is in these files. The kernel gets arrays of pointers; each array is rebuilt from
//! live Rust buffers right before the call and not used after it, so moving a batch value is harmless.

mod receive;
mod send;
#[cfg(test)]
mod tests;

pub use receive::ReceiveBatch;
pub use send::{SendBatch, Sent};

/// Messages per system call.
pub const BATCH: usize = 64;

/// Room for one datagram: the largest a peer may be configured to send (10 324 octets), rounded up.
pub const DATAGRAM_ROOM: usize = 10_368;

/// Room for the control messages of one message (size of segments, ECN, time of arrival), aligned as the kernel wants it.
type Control = [u64; 10];

const _: () = {
    // SAFETY: CMSG_SPACE only calculates.
    #[allow(unsafe_code)]
    let size = unsafe { libc::CMSG_SPACE(size_of::<libc::c_int>() as u32) };
    // SAFETY: as above.
    #[allow(unsafe_code)]
    let time = unsafe { libc::CMSG_SPACE(size_of::<libc::timespec>() as u32) };
    assert!((2 * size + time) as usize <= size_of::<Control>());
    assert!(align_of::<libc::cmsghdr>() <= align_of::<Control>());
};

/// A header that says nothing yet.
#[allow(unsafe_code)]
fn empty_header() -> libc::mmsghdr {
    // SAFETY: mmsghdr is plain C data for which all zeroes (null pointers, zero lengths) is a valid value.
    unsafe { std::mem::zeroed() }
}
