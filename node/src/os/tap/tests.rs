use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::mpsc;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use protocol::checksum;

use super::*;
use crate::os::batch::{ReceiveBatch, SendBatch};
use crate::os::testing::{in_namespace, ip};
use crate::os::udp::UdpSocket;

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

/// As [`in_namespace`], with TAP devices.
fn with_taps<R: Send + 'static>(test: impl FnOnce() -> R + Send + 'static) -> Option<R> {
    in_namespace(|| match Tap::open("probe", Backend::Plain) {
        Ok(_) => Some(test()),
        Err(error) => {
            eprintln!("skipped: {error}");
            None
        }
    })?
}

/// Reads a switch of an interface as `ethtool -k` does.
#[allow(unsafe_code)]
fn feature(name: &str, command: u32) -> bool {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut value = [command, 0];
    // SAFETY: ifreq is plain C data for which all zeroes is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_data = value.as_mut_ptr().cast();
    // SAFETY: these commands write one ethtool_value (two u32) to where `ifru_data` points, which is ours and lives.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL as _, &raw mut request) };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
    value[1] != 0
}

const ETHTOOL_GTXCSUM: u32 = 0x16;
const ETHTOOL_GTSO: u32 = 0x1e;

#[test]
fn the_interface_has_the_features_that_were_granted() {
    with_taps(|| {
        let tap = Tap::open("off0", Backend::Offload).unwrap();
        let Offloads { tso, uso, checksum } = tap.offloads();
        assert_eq!((feature("off0", ETHTOOL_GTSO), feature("off0", ETHTOOL_GTXCSUM)), (tso, checksum));
        assert!(tso || !uso);
        let tap = Tap::open("plain0", Backend::Plain).unwrap();
        assert_eq!(tap.offloads(), Offloads::default());
        assert!(!feature("plain0", ETHTOOL_GTSO) && !feature("plain0", ETHTOOL_GTXCSUM));
        for backend in [Backend::Offload, Backend::Plain] {
            assert!(matches!(Tap::open("off0", backend), Err(TapError::NameTaken(_))), "{backend:?}");
            assert!(matches!(Tap::open("lo", backend), Err(TapError::NameTaken(_))), "{backend:?}");
            let long = Tap::open("sixteen-letters-", backend).unwrap_err().to_string();
            assert!(long.contains("sixteen-letters-") && long.contains("15"), "{long}");
        }
        let (_, error) = (tap, Tap::open("no/name", Backend::Offload).unwrap_err());
        assert!(error.to_string().contains("no/name"), "{error}");
    });
}

#[test]
fn a_plain_port_takes_finished_frames_only() {
    with_taps(|| {
        let tap = Tap::open("plain0", Backend::Plain).unwrap();
        let partial = Checksum::Partial { start: 14, offset: 6 };
        for offload in [
            Offload { checksum: partial, ..Offload::PLAIN },
            Offload { gso: Gso::Udp { size: 9 }, ..Offload::PLAIN },
        ] {
            let frame = [0; 60];
            assert_eq!(tap.write(&offload, &frame).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
        let tap = Tap::open("off0", Backend::Offload).unwrap();
        let short = tap.write(&Offload { checksum: partial, ..Offload::PLAIN }, &[0; 21]).unwrap_err();
        assert_eq!(short.kind(), io::ErrorKind::InvalidInput);
    });
}

/// A port with offloads and a plain one, both on one bridge, so that a frame written to one can be read from the other
/// after the kernel has done what was left to do.
fn bridged() -> (Tap, Tap) {
    bridged_for(0)
}

/// The same; the port with offloads has so many queues for writing.
fn bridged_for(writers: usize) -> (Tap, Tap) {
    let offload = Tap::open_for("off0", Backend::Offload, writers).unwrap();
    let plain = Tap::open("plain0", Backend::Plain).unwrap();
    ip("link add br0 type bridge forward_delay 0 stp_state 0 mcast_snooping 0");
    ip("link set br0 addrgenmode none up");
    for port in ["off0", "plain0"] {
        ip(&format!("link set {port} addrgenmode none master br0 up"));
    }
    (offload, plain)
}

/// Waits for a frame from `source`, past what the kernel itself may have to say.
fn next_frame(tap: &Tap, source: [u8; 6]) -> (Offload, Vec<u8>) {
    let mut buffer = vec![0; vnet::SUPER_FRAME_ROOM];
    loop {
        while let Some((offload, length)) = tap.read(&mut buffer).unwrap() {
            let frame = &buffer[vnet::HEADER..][..length];
            if frame[6..12] == source {
                return (offload, frame.to_vec());
            }
        }
        let mut waiting = [PollFd::new(tap.as_fd(), PollFlags::POLLIN)];
        assert_eq!(poll(&mut waiting, PollTimeout::from(10_000u16)), Ok(1), "no frame on {}", tap.name());
    }
}

const SOURCE: [u8; 6] = [2, 0, 0, 0, 0, 1];
const TCP: u8 = 6;
const UDP: u8 = 17;

struct Made {
    frame: Vec<u8>,
    /// Where IP begins.
    network: usize,
    /// Where TCP or UDP begins.
    transport: usize,
    /// Where the payload begins.
    payload: usize,
}

/// A frame whose TCP or UDP checksum is left partial.
fn make(v6: bool, protocol: u8, vlan: bool, payload: &[u8]) -> Made {
    let mut frame = vec![2, 0, 0, 0, 0, 2];
    frame.extend(SOURCE);
    if vlan {
        frame.extend([0x81, 0, 0, 42]);
    }
    frame.extend(if v6 { [0x86, 0xdd] } else { [8, 0] });
    let network = frame.len();
    let head = if protocol == TCP { 20 } else { 8 };
    let length = (head + payload.len()) as u16;
    if v6 {
        frame.extend([0x60, 0, 0, 0]);
        frame.extend(length.to_be_bytes());
        frame.extend([protocol, 64]);
        frame.extend([[0xfd; 16], [0xfc; 16]].concat());
    } else {
        frame.extend([0x45, 0]);
        frame.extend((20 + length).to_be_bytes());
        frame.extend([0, 7, 0, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        let sum = checksum::finish(checksum::sum(0, &frame[network..]));
        frame[network + 10..network + 12].copy_from_slice(&sum.to_be_bytes());
    }
    let transport = frame.len();
    let addresses = &frame[if v6 { network + 8 } else { network + 12 }..];
    let partial = !checksum::finish(checksum::pseudo_header(addresses, protocol, length.into()));
    frame.extend([0x12, 0x34, 0x56, 0x78]);
    if protocol == TCP {
        // Sequence, acknowledgement, length and flags ACK PSH, window.
        frame.extend([0, 0, 1, 0, 0, 0, 0, 9, 0x50, 0x18, 1, 0]);
        frame.extend(partial.to_be_bytes());
        frame.extend([0, 0]);
    } else {
        frame.extend(length.to_be_bytes());
        frame.extend(partial.to_be_bytes());
    }
    let start = frame.len();
    frame.extend(payload);
    Made { frame, network, transport, payload: start }
}

/// Whether the checksums of a frame laid out like `like` are right.
fn verifies(frame: &[u8], like: &Made, v6: bool, protocol: u8) -> bool {
    let (network, segment) = frame[like.network..].split_at(like.transport - like.network);
    let addresses = &network[if v6 { 8 } else { 12 }..];
    let pseudo = checksum::pseudo_header(addresses, protocol, segment.len() as u32);
    checksum::verifies(checksum::sum(pseudo, segment))
        && (v6 || checksum::verifies(checksum::sum(0, network)))
}

#[test]
fn the_kernel_finishes_what_was_left() {
    with_taps(|| {
        let (offload, plain) = bridged();
        if !offload.offloads().checksum {
            eprintln!("skipped: this kernel has no TAP offloads");
            return;
        }
        let payload: Vec<u8> = (0..5_500u32).map(|i| (i * i / 7) as u8).collect();
        for (v6, protocol, vlan) in [
            (false, TCP, false),
            (true, TCP, false),
            (false, UDP, false),
            (true, UDP, false),
            (false, TCP, true),
        ] {
            let offset = if protocol == TCP { 16 } else { 6 };
            // One frame.
            let made = make(v6, protocol, vlan, &payload[..777]);
            let checksum = Checksum::Partial { start: made.transport as u16, offset };
            offload.write(&Offload { checksum, ..Offload::PLAIN }, &made.frame).unwrap();
            let (_, frame) = next_frame(&plain, SOURCE);
            assert_eq!(frame.len(), made.frame.len());
            assert!(!verifies(&made.frame, &made, v6, protocol) && verifies(&frame, &made, v6, protocol));

            // One super-frame.
            if protocol == UDP && !offload.offloads().uso {
                continue;
            }
            let made = make(v6, protocol, vlan, &payload);
            let gso = match (protocol, v6) {
                (UDP, _) => Gso::Udp { size: 1000 },
                (_, true) => Gso::Tcp6 { size: 1000, ecn: false },
                (_, false) => Gso::Tcp4 { size: 1000, ecn: false },
            };
            offload.write(&Offload { checksum, gso, header_len: made.payload as u16 }, &made.frame).unwrap();
            let mut whole = Vec::new();
            for _ in 0..6 {
                let (_, frame) = next_frame(&plain, SOURCE);
                assert!(verifies(&frame, &made, v6, protocol), "{v6} {protocol} {vlan} at {}", whole.len());
                if protocol == TCP {
                    let sequence = &frame[made.transport + 4..made.transport + 8];
                    assert_eq!(sequence, (0x100 + whole.len() as u32).to_be_bytes());
                }
                whole.extend_from_slice(&frame[made.payload..]);
            }
            assert!(whole == payload);
        }
    });
}

#[test]
fn several_write_and_one_reads() {
    with_taps(|| {
        let (offload, plain) = bridged_for(3);
        if offload.writers() == 0 {
            eprintln!("skipped: this kernel has no TAP devices with several queues");
            return;
        }
        assert_eq!(offload.writers(), 3);
        for writers in [0, 3] {
            let again = Tap::open_for("off0", Backend::Offload, writers);
            assert!(matches!(again, Err(TapError::NameTaken(_))), "{again:?}");
        }
        let ethernet = |n: u8| [&[2, 0, 0, 0, 0, 2][..], &SOURCE, &[0x88, 0xb5], &[n; 46]].concat();
        for writer in 0..5 {
            offload.write_by(writer, &Offload::PLAIN, &ethernet(writer as u8)).unwrap();
            assert_eq!(next_frame(&plain, SOURCE).1, ethernet(writer as u8), "writer {writer}");
        }
        // Flows that were written by different queues, and come back: all are read here, in the order in which they came.
        let frames: Vec<_> = (0..60u8).map(|n| make(false, UDP, false, &[n; 100]).frame).collect();
        for (n, frame) in frames.iter().enumerate() {
            let mut there = frame.clone();
            // Another source port.
            there[35] = n as u8;
            plain.write(&Offload::PLAIN, &there).unwrap();
        }
        for n in 0..60 {
            assert_eq!(next_frame(&offload, SOURCE).1.last(), Some(&n));
        }
    });
}

#[test]
fn other_frames_pass_unharmed() {
    with_taps(|| {
        let (offload, plain) = bridged();
        let ethernet = |tail: &[u8]| [&[2, 0, 0, 0, 0, 2][..], &SOURCE, tail, &[0x5a; 46]].concat();
        let mut fragment = make(false, UDP, false, &[7; 600]).frame;
        // More fragments, 8 octets in, so that where the UDP header was is any data; the header's checksum goes with it.
        fragment[20..22].copy_from_slice(&[0x20, 1]);
        fragment[24..26].fill(0);
        let sum = checksum::finish(checksum::sum(0, &fragment[14..34]));
        fragment[24..26].copy_from_slice(&sum.to_be_bytes());
        let frames = [
            ethernet(&[8, 6, 0, 1, 8, 0, 6, 4, 0, 1]),
            ethernet(&[0x88, 0xb5]),
            ethernet(&[0, 40, 0xaa, 0xaa, 3]),
            ethernet(&[0x81, 0, 0x20, 5, 8, 6]),
            ethernet(&[0x88, 0xa8, 0, 7, 0x81, 0, 0, 9, 0x88, 0xb5]),
            fragment,
            make(false, TCP, true, &[1; 1400]).frame,
            make(true, UDP, false, b"").frame,
        ];
        for (index, frame) in frames.iter().enumerate() {
            for (from, to) in [(&offload, &plain), (&plain, &offload)] {
                from.write(&Offload::PLAIN, frame).unwrap();
                let (left, got) = next_frame(to, SOURCE);
                assert!(got == *frame, "frame {index} to {}: {got:02x?}", to.name());
                assert!(
                    left.gso == Gso::None && !matches!(left.checksum, Checksum::Partial { .. }),
                    "{left:?}"
                );
            }
        }
    });
}

/// What the kernel hands over with offloads, the kernel at the other end takes: a TCP stream and a burst of datagrams
/// between two networks, joined by nothing but their ports.
#[test]
fn super_frames_from_port_to_port() {
    const OCTETS: usize = 8 << 20;
    let pattern = || (0..OCTETS).map(|i| (i ^ (i >> 9)) as u8);
    let (alive, ended) = std::io::pipe().map(|(reader, writer)| (writer, reader)).unwrap();
    let (ports, new_port) = mpsc::channel();
    let (listening, ready) = mpsc::channel();
    let (ports2, alive2) = (ports.clone(), alive.try_clone().unwrap());
    let server = std::thread::spawn(move || {
        with_taps(move || {
            let _alive = alive2;
            ports2.send(port("10.7.0.2/24")).unwrap();
            let listener = TcpListener::bind("10.7.0.2:5000").unwrap();
            let socket = UdpSocket::bind("10.7.0.2:5001".parse().unwrap(), None).unwrap();
            listening.send(()).unwrap();
            let mut stream = listener.accept().unwrap().0;
            let mut received = Vec::new();
            stream.read_to_end(&mut received).unwrap();
            assert!(received.into_iter().eq(pattern()));
            // Only now may the client send datagrams.
            drop(stream);
            let (mut batch, mut lengths) = (ReceiveBatch::default(), Vec::new());
            while lengths.len() < 41 {
                let mut waiting = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
                assert_eq!(poll(&mut waiting, PollTimeout::from(10_000u16)), Ok(1), "{lengths:?}");
                for index in 0..batch.receive(&socket).unwrap() {
                    let (_, octets, size) = batch.message(index).unwrap();
                    lengths.extend(octets.chunks(size).map(<[u8]>::len));
                }
            }
            assert_eq!(lengths, [[1200; 40].as_slice(), &[5]].concat());
        })
    });
    let client = std::thread::spawn(move || {
        with_taps(move || {
            let _alive = alive;
            ports.send(port("10.7.0.1/24")).unwrap();
            ready.recv().unwrap();
            let mut stream = TcpStream::connect("10.7.0.2:5000").unwrap();
            stream.write_all(&pattern().collect::<Vec<_>>()).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            assert_eq!(stream.read(&mut [0]).unwrap(), 0);
            let socket = UdpSocket::bind("10.7.0.1:0".parse().unwrap(), None).unwrap();
            let to = "10.7.0.2:5001".parse().unwrap();
            let datagrams = std::iter::repeat_n(&[9; 1200][..], 40).chain([&[9; 5][..]]);
            let sent = SendBatch::default().send(&socket, datagrams.map(|d| (to, d)));
            assert_eq!(sent.sent, 41);
        })
    });
    // Without namespaces there are no ports, and the threads have said why.
    if let (Ok(a), Ok(b)) = (new_port.recv(), new_port.recv()) {
        let (tcp, udp, partial) = shuttle(&a, &b, &ended);
        let Offloads { tso, uso, checksum } = a.offloads();
        assert_eq!((tcp > 0, partial > 0), (tso, checksum), "{tcp} {udp} {partial}");
        assert!(udp <= usize::from(uso) * 2, "{udp}");
        assert!(udp > 0 || !uso);
    }
    client.join().unwrap();
    server.join().unwrap();
}

fn port(address: &str) -> Tap {
    let tap = Tap::open("off0", Backend::Offload).unwrap();
    ip("link set off0 addrgenmode none mtu 2800 up");
    ip(&format!("address add {address} dev off0"));
    tap
}

/// Carries frames between two ports until nobody holds the other end of `ended`. Returns how many TCP and UDP super-frames
/// and partial checksums there were.
fn shuttle(a: &Tap, b: &Tap, ended: &std::io::PipeReader) -> (usize, usize, usize) {
    let mut buffer = vec![0; vnet::SUPER_FRAME_ROOM];
    let (mut tcp, mut udp, mut partial) = (0, 0, 0);
    loop {
        let mut waiting = [a.as_fd(), b.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN)).to_vec();
        waiting.push(PollFd::new(ended.as_fd(), PollFlags::empty()));
        poll(&mut waiting, PollTimeout::NONE).unwrap();
        if waiting[2].any() == Some(true) {
            return (tcp, udp, partial);
        }
        for (from, to) in [(a, b), (b, a)] {
            while let Ok(Some((offload, length))) = from.read(&mut buffer) {
                match offload.gso {
                    Gso::None => {}
                    Gso::Udp { .. } => udp += 1,
                    _ => tcp += 1,
                }
                partial += usize::from(matches!(offload.checksum, Checksum::Partial { .. }));
                // The other namespace may be gone already.
                let _ = to.write(&offload, &buffer[vnet::HEADER..][..length]);
            }
        }
    }
}
