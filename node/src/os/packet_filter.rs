//! Small programs that the kernel runs on packets before we see them.
//!
//! They keep the node from running over itself: sockets refuse what came in by our own ports, and ports drop what our own
//! sockets sent. Both are decided by what the kernel knows of a packet, not by what stands in it.
//!
//! Specification: Linux, `Documentation/networking/filter.rst` (classic BPF and its ancillary loads).

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use socket2::{SockFilter, SockRef};

use super::udp::{MARK, MARK_MASK};

/// At most this many ranges of interface indices are refused: what the kernel grants a socket for its filter is limited. Ports
/// that are made one after the other share a range.
const MAX_RANGES: usize = 256;

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const AND: u16 = (libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16;
const JUMP: u16 = (libc::BPF_JMP | libc::BPF_JA) as u16;
const IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const IF_AT_LEAST: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
const IF_ABOVE: u16 = (libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
/// Octets of the packet that are kept: all.
const ALL: u32 = u32::MAX;

/// From now on a socket gets nothing that came in by interfaces with these indices.
///
/// # Errors
/// What the kernel says.
pub fn refuse_from(socket: &SockRef<'_>, indices: &BTreeSet<u32>) -> io::Result<()> {
    if indices.is_empty() {
        return match socket.detach_filter() {
            // There was none.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
            other => other,
        };
    }
    let mut program = vec![load(libc::SKF_AD_IFINDEX)];
    program.extend(refuse(&ranges(indices)));
    let program: Vec<_> = program.into_iter().map(|s| SockFilter::new(s.code, s.jt, s.jf, s.k)).collect();
    socket.attach_filter(&program)
}

/// From now on a TAP device drops what bears the mark of our own sockets.
///
/// # Errors
/// What the kernel says.
#[allow(unsafe_code)]
pub fn drop_own(tap: &File) -> io::Result<()> {
    let mut own = [
        load(libc::SKF_AD_MARK),
        statement(AND, MARK_MASK),
        step(IF_EQUAL, 0, 1, MARK),
        statement(RETURN, 0),
        statement(RETURN, ALL),
    ];
    let program = libc::sock_fprog { len: own.len() as libc::c_ushort, filter: own.as_mut_ptr() };
    // SAFETY: the descriptor is open; the kernel reads the program's header and the statements it points to, which live, and
    // keeps a copy.
    let result = unsafe { libc::ioctl(tap.as_raw_fd(), libc::TUNATTACHFILTER, &raw const program) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Loads what the kernel knows of a packet: one of `SKF_AD_…`.
fn load(what: libc::c_int) -> libc::sock_filter {
    statement(LOAD, (libc::SKF_AD_OFF + what).cast_unsigned())
}

fn statement(code: u16, k: u32) -> libc::sock_filter {
    step(code, 0, 0, k)
}

/// A statement that jumps over `jt` statements if its condition holds, else over `jf`.
fn step(code: u16, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter { code, jt, jf, k }
}

/// Neighbouring numbers as ranges, ends included.
fn ranges(indices: &BTreeSet<u32>) -> Vec<(u32, u32)> {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for index in indices {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == *index => *last = *index,
            _ => ranges.push((*index, *index)),
        }
    }
    ranges.truncate(MAX_RANGES);
    ranges
}

/// Refuses when the loaded number is in one of the ranges, and takes it otherwise: a tree, so that many ports cost hardly more
/// than one.
fn refuse(ranges: &[(u32, u32)]) -> Vec<libc::sock_filter> {
    match ranges {
        [] => vec![statement(RETURN, ALL)],
        [(first, last)] => vec![
            step(IF_AT_LEAST, 0, 2, *first),
            step(IF_ABOVE, 1, 0, *last),
            statement(RETURN, 0),
            statement(RETURN, ALL),
        ],
        _ => {
            let (low, high) = ranges.split_at(ranges.len() / 2);
            let (below, above) = (refuse(low), refuse(high));
            // Conditional jumps are short.
            let mut program = vec![step(IF_AT_LEAST, 0, 1, high[0].0), statement(JUMP, below.len() as u32)];
            program.extend(below);
            program.extend(above);
            program
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::time::Duration;

    use super::*;
    use crate::os::testing::{in_namespace, ip};

    /// What a program of [`refuse`] returns for a number.
    fn run(program: &[libc::sock_filter], number: u32) -> u32 {
        let mut at = 0;
        loop {
            let libc::sock_filter { code, jt, jf, k } = program[at];
            at += 1;
            let jump = |yes: bool| usize::from(if yes { jt } else { jf });
            at += match code {
                RETURN => return k,
                JUMP => k as usize,
                IF_AT_LEAST => jump(number >= k),
                IF_ABOVE => jump(number > k),
                _ => panic!("statement {code} at {at}"),
            };
        }
    }

    #[test]
    fn the_tree_refuses_just_what_it_is_told() {
        for step in [1, 2, 3, 1000] {
            for count in [1u32, 2, 3, 7, 255, 256] {
                let indices: BTreeSet<u32> = (0..count).map(|n| 5 + n * step).collect();
                let program = refuse(&ranges(&indices));
                assert!(program.len() < 2000, "{count}: {} statements", program.len());
                for number in 0..=(count * step + 9) {
                    let expected = if indices.contains(&number) { 0 } else { ALL };
                    assert_eq!(run(&program, number), expected, "{number} of {count} by {step}");
                }
            }
        }
        assert_eq!(run(&refuse(&[]), 7), ALL);
    }

    #[test]
    fn a_socket_refuses_what_comes_by_an_interface() {
        in_namespace(|| {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
            let to = socket.local_addr().unwrap();
            let lo = nix::net::if_::if_nametoindex("lo").unwrap();
            let filter = |indices: &[u32]| {
                refuse_from(&SockRef::from(&socket), &indices.iter().copied().collect()).unwrap();
            };
            let many: Vec<u32> = (0..256).map(|n| lo + 2 * n).collect();
            let mut buffer = [0; 8];
            filter(&[]);
            for (refused, text) in [(&many[..], b"a"), (&[lo][..], b"b")] {
                filter(refused);
                sender.send_to(text, to).unwrap();
            }
            filter(&[lo + 1]);
            sender.send_to(b"c", to).unwrap();
            assert_eq!(socket.recv(&mut buffer).unwrap(), 1);
            assert_eq!(buffer[0], b'c', "what was refused came in");
            filter(&[]);
            sender.send_to(b"d", to).unwrap();
            assert_eq!(socket.recv(&mut buffer).unwrap(), 1);
        });
    }

    #[test]
    fn a_port_drops_what_our_own_sockets_sent() {
        use crate::os::tap::{Backend, Tap};
        use crate::os::udp::UdpSocket as Own;
        in_namespace(|| {
            for (name, backend) in [("one", Backend::Offload), ("two", Backend::Plain)] {
                let Ok(tap) = Tap::open_for(name, backend, 2) else { return eprintln!("skipped: no TAP") };
                ip(&format!("addr add 10.9.0.1/24 dev {name}"));
                ip(&format!("link set {name} up"));
                ip(&format!("neigh add 10.9.0.2 lladdr 02:00:00:00:00:02 dev {name}"));
                let own = Own::bind("10.9.0.1:0".parse().unwrap(), None).unwrap();
                own.mark();
                own.send_with_ttl(b"ours", "10.9.0.2:7".parse().unwrap(), 9).unwrap();
                let other = UdpSocket::bind("10.9.0.1:0").unwrap();
                other.send_to(b"theirs", "10.9.0.2:7").unwrap();
                let mut seen = Vec::new();
                let mut buffer = vec![0; 1 << 16];
                // Both were queued, or not, when they were sent; what else the kernel says on a new link does not matter.
                while let Ok(Some((_, length))) = tap.read(&mut buffer) {
                    let frame = String::from_utf8_lossy(&buffer[..length + 10]).into_owned();
                    seen.extend(["ours", "theirs"].into_iter().filter(|text| frame.contains(text)));
                }
                assert_eq!(seen, ["theirs"], "{name}");
                ip(&format!("addr del 10.9.0.1/24 dev {name}"));
            }
        });
    }
}
