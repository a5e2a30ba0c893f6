use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};

use proptest::prelude::*;

use super::*;
use crate::dataplane::datagrams::Datagram;
use crate::os::testing::{in_namespace, ip};
use crate::os::udp::UdpSocket;

fn bind(address: &str) -> UdpSocket {
    UdpSocket::bind(address.parse().unwrap(), None).unwrap()
}

fn pair() -> (UdpSocket, UdpSocket) {
    (bind("127.0.0.1:0"), bind("127.0.0.1:0"))
}

/// Everything that waits, datagram by datagram, and the number of messages it came in.
fn drain(socket: &UdpSocket) -> (Vec<(SocketAddr, Vec<u8>)>, usize) {
    let (mut all, mut messages) = (Vec::new(), 0);
    let mut batch = ReceiveBatch::default();
    loop {
        let count = batch.receive(socket).unwrap();
        for index in 0..count {
            let Some((from, octets, size)) = batch.message(index) else { continue };
            all.extend(octets.chunks(size).map(|data| (from, data.to_vec())));
        }
        messages += count;
        if batch.drained() {
            return (all, messages);
        }
    }
}

/// Datagrams of these sizes that differ in content.
fn datagrams(sizes: &[usize]) -> Vec<Vec<u8>> {
    let fill = |(index, size): (usize, &usize)| (0..*size).map(|at| (index * 7 + at / 3) as u8).collect();
    sizes.iter().enumerate().map(fill).collect()
}

fn only_data(received: Vec<(SocketAddr, Vec<u8>)>) -> Vec<Vec<u8>> {
    received.into_iter().map(|(_, data)| data).collect()
}

#[test]
fn a_batch_arrives_whole_and_in_order() {
    for offloads in [true, false] {
        let (mut a, mut b) = pair();
        if !offloads {
            (a, b) = (a.without_offloads().unwrap(), b.without_offloads().unwrap());
        }
        let data = datagrams(&(0..150).map(|i| 1 + i * 60).collect::<Vec<_>>());
        let sent = SendBatch::default().send(&a, data.iter().map(|d| (b.local(), &d[..])));
        assert_eq!(sent, Sent { sent: 150, refused: 0, congested: 0 });
        let (received, _) = drain(&b);
        assert!(received.iter().all(|(from, _)| *from == a.local()));
        assert_eq!(only_data(received), data);
    }
}

#[test]
fn a_burst_is_one_message() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let (a, b) = (bind(address), bind(address));
        if !(a.segments() && b.merges()) {
            eprintln!("skipped: this kernel has no UDP offloads");
            return;
        }
        let data = datagrams(&[[1427; 46].as_slice(), &[3]].concat());
        let sent = SendBatch::default().send(&a, data.iter().map(|d| (b.local(), &d[..])));
        assert_eq!(sent, Sent { sent: 47, refused: 0, congested: 0 });
        let (received, messages) = drain(&b);
        assert_eq!(
            (only_data(received), messages),
            (data, 2),
            "46 × 1427 octets are more than one message holds"
        );
    }
}

#[test]
fn ecn_travels_with_each_datagram() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        for offloads in [true, false] {
            let (mut a, b) = (bind(address), bind(address));
            if !offloads {
                a = a.without_offloads().unwrap();
            }
            let data = datagrams(&[1427; 40]);
            // Runs of each value, and one that changes in the middle of a burst.
            let ecn = |index: usize| [0, 0, 2, 2, 2, 1, 3, 3][index / 5];
            let list = data.iter().enumerate().map(|(index, data)| Datagram {
                to: b.local(),
                data,
                ecn: ecn(index),
            });
            let sent = SendBatch::default().send(&a, list);
            assert_eq!(sent, Sent { sent: 40, refused: 0, congested: 0 });
            let mut received = Vec::new();
            let mut batch = ReceiveBatch::default();
            loop {
                for index in 0..batch.receive(&b).unwrap() {
                    let ecn = batch.ecn(index);
                    let (_, octets, size) = batch.message(index).unwrap();
                    received.extend(octets.chunks(size).map(|data| (data.to_vec(), ecn)));
                }
                if batch.drained() {
                    break;
                }
            }
            let expected: Vec<_> = data.into_iter().enumerate().map(|(i, data)| (data, ecn(i))).collect();
            assert!(received == expected, "{address}, offloads: {offloads}");
        }
    }
}

#[test]
fn a_refused_datagram_does_not_stop_the_others() {
    let (a, b) = pair();
    let large = vec![0; 70_000];
    let v6: SocketAddr = "[::1]:9".parse().unwrap();
    let nowhere: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let list = [
        (b.local(), &b"one"[..]),
        (b.local(), &large[..]),
        (v6, b"lost"),
        (nowhere, b"lost"),
        (nowhere, b"lost"),
        (b.local(), b""),
        (b.local(), b"two"),
    ];
    let sent = SendBatch::default().send(&a, list);
    assert_eq!(sent, Sent { sent: 3, refused: 4, congested: 0 });
    assert!(a.segments());
    assert_eq!(only_data(drain(&b).0), [b"one", b"two"]);
}

#[test]
fn a_socket_that_is_shut_is_known_by_what_it_refuses() {
    let (sender, receiver) = pair();
    let mut batch = SendBatch::default();
    let local = receiver.local();
    let mut send = |to: SocketAddr| {
        let sent = batch.send(&sender, [(to, &b"hello"[..])]).sent;
        (sent, batch.take_broken())
    };
    assert_eq!(send(local), (1, false));
    assert_eq!(send("255.255.255.255:9".parse().unwrap()), (0, false), "that destination alone");
    // It says that there is nobody at the other end, and does it all the same.
    let _ = nix::sys::socket::shutdown(sender.as_fd().as_raw_fd(), nix::sys::socket::Shutdown::Write);
    assert_eq!(send(local), (0, true));
}

#[test]
fn too_large_for_any_peer_is_dropped() {
    for offloads in [true, false] {
        let (a, mut b) = pair();
        if !offloads {
            b = b.without_offloads().unwrap();
        }
        let large = vec![7; DATAGRAM_ROOM + 1];
        let mut batch = SendBatch::default();
        batch.send(&a, [(b.local(), &large[..])]);
        batch.send(&a, [(b.local(), &b"kept"[..]), (b.local(), &large[..DATAGRAM_ROOM])]);
        let lengths: Vec<_> = drain(&b).0.into_iter().map(|(_, data)| data.len()).collect();
        assert_eq!(lengths, [4, DATAGRAM_ROOM]);
    }
}

#[test]
fn more_messages_than_one_call_takes() {
    let (a, b) = pair();
    // Growing sizes cannot be merged.
    let data = datagrams(&(1..=200).collect::<Vec<_>>());
    let sent = SendBatch::default().send(&a, data.iter().map(|d| (b.local(), &d[..])));
    assert_eq!(sent, Sent { sent: 200, refused: 0, congested: 0 });
    assert_eq!(only_data(drain(&b).0), data);
}

#[test]
fn a_kernel_that_refuses_gets_single_datagrams() {
    let (a, b) = pair();
    // With checksums switched off the kernel does not cut: EINVAL.
    set_no_check(&a);
    let data = datagrams(&[[500; 30].as_slice(), &[20], &[600; 100]].concat());
    let mut batch = SendBatch::default();
    for _ in 0..2 {
        let sent = batch.send(&a, data.iter().map(|d| (b.local(), &d[..])));
        assert_eq!(sent, Sent { sent: 131, refused: 0, congested: 0 });
        let (received, messages) = drain(&b);
        assert_eq!((only_data(received), messages), (data.clone(), 131));
    }
}

#[test]
fn each_refusal_has_its_consequence() {
    let data = datagrams(&[[500; 30].as_slice(), &[20, 9], &[1300; 100], &[1400; 7]].concat());
    for (number, stays, sent) in [
        (libc::EIO, false, data.len()),
        (libc::EMSGSIZE, true, data.len()),
        // Filtered: the messages with several datagrams are lost, and nobody is to blame.
        (libc::EPERM, true, 1),
    ] {
        let (a, b) = pair();
        let mut batch = SendBatch::default();
        batch.refusal = Some(number);
        let result = batch.send(&a, data.iter().map(|d| (b.local(), &d[..])));
        let received = only_data(drain(&b).0);
        if a.segments() != stays {
            assert!(stays, "{number}");
            eprintln!("skipped: this kernel has no UDP offloads");
            return;
        }
        assert_eq!(result, Sent { sent, refused: data.len() - sent, congested: 0 }, "{number}");
        if sent > 1 {
            assert_eq!(received, data);
        }
        // Whoever is not to blame is asked again, of a socket that can do nothing nothing more is asked.
        batch.refusal = None;
        let small = datagrams(&[[100; 20].as_slice(), &[7]].concat());
        batch.send(&a, small.iter().map(|d| (b.local(), &d[..])));
        let (received, messages) = drain(&b);
        assert_eq!((only_data(received), messages == 1), (small, stays), "{number}");
    }
}

#[allow(unsafe_code)]
fn set_no_check(socket: &UdpSocket) {
    use std::os::fd::{AsFd, AsRawFd};
    let on: libc::c_int = 1;
    // SAFETY: the descriptor is open; pointer and length describe a live int.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NO_CHECK,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
    assert_eq!(result, 0);
}

#[test]
fn segments_larger_than_the_path_go_one_by_one_and_are_fragmented() {
    in_namespace(|| {
        ip("link set lo mtu 1500");
        let (a, b) = pair();
        let data = datagrams(&[[2800; 20].as_slice(), &[1427; 20], &[9000; 3]].concat());
        let mut batch = SendBatch::default();
        let sent = batch.send(&a, data.iter().map(|d| (b.local(), &d[..])));
        assert_eq!(sent, Sent { sent: 43, refused: 0, congested: 0 });
        let (received, messages) = drain(&b);
        assert_eq!(only_data(received), data);
        assert_eq!(messages, if a.segments() { 25 } else { 43 }, "20 with one as their tail, 19 as one, 3");
        assert!(bind("127.0.0.1:0").segments() == a.segments(), "the socket is not to blame");
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever is sent to several destinations arrives the same with and without offloads on either side.
    #[test]
    fn offloads_change_nothing(
        runs in prop::collection::vec((1usize..4000, 1usize..90, 0usize..3, any::<bool>()), 1..8),
        plain_sender in any::<bool>(),
        gaps in any::<bool>(),
    ) {
        let mut sender = bind("127.0.0.1:0");
        if plain_sender {
            sender = sender.without_offloads().unwrap();
        }
        let receivers =
            [bind("127.0.0.1:0"), bind("127.0.0.1:0").without_offloads().unwrap(), bind("127.0.0.1:0")];
        // Below what the receivers' buffers hold.
        let mut room = 1_000_000;
        let (mut sizes, mut to) = (Vec::new(), Vec::new());
        for (size, times, receiver, tail) in runs {
            let tail = if tail { Some(1 + size / 2) } else { None };
            for size in std::iter::repeat_n(size, times).chain(tail) {
                if room > size + 1000 {
                    room -= size + 1000;
                    sizes.push(size);
                    to.push(receiver);
                }
            }
        }
        let data = datagrams(&sizes);
        let mut memory = Vec::new();
        let mut places = Vec::new();
        for (index, data) in data.iter().enumerate() {
            if gaps && index % 3 == 0 {
                memory.push(0xee);
            }
            places.push(memory.len()..memory.len() + data.len());
            memory.extend_from_slice(data);
        }
        let list = places.iter().zip(&to).map(|(place, to)| (receivers[*to].local(), &memory[place.clone()]));
        let sent = SendBatch::default().send(&sender, list);
        prop_assert_eq!(sent, Sent { sent: sizes.len(), refused: 0, congested: 0 });
        for (number, receiver) in receivers.iter().enumerate() {
            let expected: Vec<_> =
                data.iter().zip(&to).filter(|(_, to)| **to == number).map(|(data, _)| data.clone()).collect();
            prop_assert_eq!(only_data(drain(receiver).0), expected);
        }
    }
}
