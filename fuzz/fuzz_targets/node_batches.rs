#![no_main]

use std::cell::RefCell;
use std::net::SocketAddr;

use libfuzzer_sys::fuzz_target;
use node::dataplane::datagrams::Datagram;
use node::os::batch::{ReceiveBatch, SendBatch};
use node::os::udp::UdpSocket;

/// Octets of one input's datagrams: less than any socket's buffer holds.
const MOST: usize = 96 << 10;
/// Octets of the largest datagram that a batch has room for.
const LARGEST: usize = 10_324;

/// One sender, two receivers.
struct Set([UdpSocket; 3]);

impl Set {
    fn new(address: &str, cuts: bool, merges: bool) -> Self {
        let bind = |offloads: bool| {
            let socket = UdpSocket::bind(address.parse().expect("an address"), None).expect("a socket");
            if offloads { socket } else { socket.without_offloads().expect("a socket") }
        };
        Set([bind(cuts), bind(merges), bind(merges)])
    }
}

thread_local! {
    static SETS: Vec<Set> = ["127.0.0.1:0", "[::1]:0"]
        .iter()
        .flat_map(|address| [(true, true), (true, false), (false, true), (false, false)].map(|(c, m)| Set::new(address, c, m)))
        .collect();
    static BATCHES: RefCell<(SendBatch, ReceiveBatch)> = RefCell::default();
}

/// Everything that waits at a socket: sender, octets, ECN bits.
fn drain(batch: &mut ReceiveBatch, socket: &UdpSocket) -> Vec<(SocketAddr, Vec<u8>, u8)> {
    let mut all = Vec::new();
    loop {
        let count = batch.receive(socket).expect("receiving works");
        for index in 0..count {
            let ecn = batch.ecn(index);
            let Some((from, octets, size)) = batch.message(index) else { panic!("a message from nobody") };
            if octets.is_empty() {
                all.push((from, Vec::new(), ecn));
            }
            all.extend(octets.chunks(size.max(1)).map(|data| (from, data.to_vec(), ecn)));
        }
        if batch.drained() {
            return all;
        }
    }
}

// Whatever sizes, receivers and ECN bits are in one batch, on sockets with and without offloads: every receiver gets its
// datagrams whole, in order, with their bits, and no octet beyond a buffer is touched.
fuzz_target!(|data: &[u8]| {
    let Some((choice, data)) = data.split_first() else { return };
    let mut list: Vec<(usize, Vec<u8>, u8)> = Vec::new();
    let mut total = 0;
    for (number, three) in data.chunks_exact(3).enumerate() {
        let size = 1 + usize::from(u16::from_be_bytes([three[1], three[2]])) % LARGEST;
        // Rows of datagrams of one size are what the kernel cuts and merges.
        let repeat = 1 + usize::from(three[0] >> 4);
        for copy in 0..repeat {
            total += size;
            if total > MOST {
                break;
            }
            let fill = (number * 31 + copy) as u8;
            list.push((usize::from(three[0] & 1), vec![fill; size], three[0] >> 1 & 3));
        }
    }
    SETS.with(|sets| {
        BATCHES.with_borrow_mut(|(sender, receiver)| {
            let [from, to @ ..] = &sets[usize::from(*choice) % sets.len()].0;
            let datagrams = list.iter().map(|(which, data, ecn)| Datagram { to: to[*which].local(), data, ecn: *ecn });
            let sent = sender.send(from, datagrams);
            assert_eq!((sent.sent, sent.refused, sent.congested), (list.len(), 0, 0));
            for (which, socket) in to.iter().enumerate() {
                let expected: Vec<_> = list
                    .iter()
                    .filter(|(receiver, ..)| *receiver == which)
                    .map(|(_, data, ecn)| (from.local(), data.clone(), *ecn))
                    .collect();
                assert!(drain(receiver, socket) == expected, "other datagrams");
            }
        });
    });
});
