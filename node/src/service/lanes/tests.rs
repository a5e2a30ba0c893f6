//! Lanes with real threads and sockets.

use std::net::SocketAddr;
use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use protocol::packet::{SessionKeys, Suite};

use super::*;
use crate::dataplane::segment::Cut;
use crate::dataplane::sending::{HEAD, Parts, SendPlan};
use crate::dataplane::testing::Shape;
use crate::os::batch::ReceiveBatch;

const SOCKET: SocketId = SocketId(7);
const FLOWS: u16 = 12;

/// Lanes that are waited for however busy the machine is.
fn lanes(count: usize) -> Lanes {
    let mut lanes = Lanes::start(count).unwrap();
    lanes.patience = Duration::from_secs(60);
    lanes
}

fn socket() -> Arc<UdpSocket> {
    Arc::new(UdpSocket::bind("127.0.0.1:0".parse().unwrap(), None).unwrap())
}

fn endpoints(socket: &Arc<UdpSocket>) -> Endpoints {
    Endpoints { sockets: BTreeMap::from([(SOCKET, socket.clone())]), ports: BTreeMap::new() }
}

fn orders(keys: &Arc<SessionKeys>, remote: SocketAddr) -> SendPlan<&Arc<SessionKeys>> {
    SendPlan {
        head: [0; HEAD],
        keys,
        suite: Suite::AesGmacSiv,
        trusted: None,
        socket: SOCKET,
        remote,
        mtu: 1400,
        ecn: 0,
    }
}

/// Takes `count` packets in, and looks whether the numbers of each flow rise one by one.
fn expect_in_order(socket: &UdpSocket, keys: &SessionKeys, count: usize) {
    let mut batch = ReceiveBatch::default();
    let mut next = [0u32; FLOWS as usize];
    let mut seen = 0;
    while seen < count {
        let mut waiting = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
        assert_eq!(poll(&mut waiting, PollTimeout::from(20_000u16)), Ok(1), "{seen} of {count}");
        for index in 0..batch.receive(socket).unwrap() {
            let (_, octets, size) = batch.message(index).unwrap();
            for packet in octets.chunks_mut(size) {
                assert!(keys.dearmor(packet));
                let udp = &packet[HEAD + 20..];
                let flow = usize::from(u16::from_be_bytes([udp[0], udp[1]]));
                let number = u32::from_be_bytes([udp[8], udp[9], udp[10], udp[11]]);
                assert_eq!(number, next[flow], "flow {flow}");
                next[flow] += 1;
                seen += 1;
            }
        }
    }
}

#[test]
fn order_inside_a_flow_is_kept() {
    const ROUNDS: u32 = 150;
    let (here, there) = (socket(), socket());
    let keys = Arc::new(SessionKeys::new(&[5; 48]));
    let mut queues = LaneQueues::new(3, 99);
    let mut lanes = lanes(3);
    lanes.set_endpoints(endpoints(&here), &mut queues);
    let orders = orders(&keys, there.local());
    let mut numbers = [0u32; FLOWS as usize];
    let mut sent = 0;
    let receiver = {
        let (there, keys) = (there.clone(), keys.clone());
        let each = (0..ROUNDS).map(|round| if round % 3 == 0 { 5 } else { 1 }).sum::<usize>();
        std::thread::spawn(move || expect_in_order(&there, &keys, each * usize::from(FLOWS)))
    };
    for round in 0..ROUNDS {
        for flow in 0..FLOWS {
            // Single frames and super-frames take turns.
            let count = if round % 3 == 0 { 5 } else { 1 };
            let shape = Shape { udp: true, ports: (flow, 9), ..Shape::default() };
            let mut data = Vec::new();
            for _ in 0..count {
                data.extend(numbers[usize::from(flow)].to_be_bytes());
                data.resize(data.len() + 196, flow as u8);
                numbers[usize::from(flow)] += 1;
            }
            let whole = shape.frame(&data);
            sent += count;
            if count == 1 {
                queues.send(0x0800, &orders, 0, &Parts::One(&whole[14..]));
            } else {
                let (unfinished, offload) = shape.unfinished(whole, 200, true);
                queues.send(0x0800, &orders, 0, &Parts::Cut(&Cut::new(&offload, &unfinished).unwrap()));
                let mut buffer = [&[0; 3], &unfinished[..]].concat().into_boxed_slice();
                queues.take_over(&mut buffer, 3);
                assert!(buffer.len() > unfinished.len(), "another buffer");
            }
            // Sometimes few are handed over, sometimes many.
            if round % 7 != 0 && (round + u32::from(flow)) % 5 == 0 {
                assert_eq!(lanes.hand_over(&mut queues), 0);
            }
        }
        assert_eq!(lanes.hand_over(&mut queues), 0);
    }
    assert!(sent > 0);
    receiver.join().unwrap();
}

#[test]
fn what_was_replaced_is_let_go() {
    let (first, second, there) = (socket(), socket(), socket());
    let keys = Arc::new(SessionKeys::new(&[5; 48]));
    let mut queues = LaneQueues::new(2, 1);
    let mut lanes = lanes(2);
    let payload = Shape::default().frame(&[1; 100]);
    let send = |lanes: &mut Lanes, queues: &mut LaneQueues| {
        for _ in 0..50 {
            queues.send(0x0800, &orders(&keys, there.local()), 0, &Parts::One(&payload[14..]));
        }
        lanes.hand_over(queues)
    };
    lanes.set_endpoints(endpoints(&first), &mut queues);
    assert_eq!(send(&mut lanes, &mut queues), 0);
    lanes.set_endpoints(endpoints(&second), &mut queues);
    assert_eq!(Arc::strong_count(&first), 1, "nobody holds the old socket");
    assert_eq!(send(&mut lanes, &mut queues), 0);
    lanes.set_endpoints(Endpoints::default(), &mut queues);
    assert_eq!(Arc::strong_count(&second), 1);
    // Without a socket frames go nowhere, and nothing breaks.
    assert_eq!(send(&mut lanes, &mut queues), 0);
    drop(lanes);
    assert_eq!(Arc::strong_count(&keys), 1, "no lane keeps keys");
}

#[test]
fn ends_with_work_under_way() {
    let (here, there) = (socket(), socket());
    let keys = Arc::new(SessionKeys::new(&[5; 48]));
    let mut queues = LaneQueues::new(1, 1);
    let mut lanes = lanes(1);
    lanes.set_endpoints(endpoints(&here), &mut queues);
    let payload = Shape::default().frame(&[1; 1300]);
    for _ in 0..BATCHES {
        for _ in 0..60 {
            queues.send(0x0800, &orders(&keys, there.local()), 0, &Parts::One(&payload[14..]));
        }
        lanes.hand_over(&mut queues);
    }
    let begun = Instant::now();
    drop(lanes);
    assert!(begun.elapsed() < Duration::from_secs(2));
    assert_eq!(Arc::strong_count(&here), 1);
}
