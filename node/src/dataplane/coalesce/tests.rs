//! Joining frames: what comes out is what went in.

use proptest::prelude::*;

use super::super::segment::{Cut, complete};
use super::super::testing::{Shape, check};
use super::*;

const NETWORK: NetworkId = NetworkId(1);
const ALL: Offloads = Offloads { tso: true, uso: true, checksum: true };

fn put(batch: &mut FrameBatch, takes: Offloads, frame: &[u8]) {
    let (dest, source) = (frame[..6].try_into().unwrap(), frame[6..12].try_into().unwrap());
    batch.push_joining(NETWORK, takes, dest, source, u16_at(frame, 12), &frame[14..]);
}

/// What a kernel would make of a batch: every frame by itself, checksums complete.
fn cut_again(batch: &mut FrameBatch) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for delivery in batch.deliveries() {
        if delivery.offload.gso == Gso::None {
            let mut frame = delivery.frame.to_vec();
            complete(delivery.offload.checksum, &mut frame).unwrap();
            frames.push(frame);
            continue;
        }
        let cut = Cut::new(&delivery.offload, delivery.frame).expect("a super-frame can be cut");
        for index in 0..cut.count() {
            let mut frame = delivery.frame[..ETHERNET].to_vec();
            cut.write(index, &mut frame);
            frames.push(frame);
        }
    }
    frames
}

/// One step of a stream.
#[derive(Clone, Debug)]
enum Step {
    /// So many bytes in sequence, with these flags.
    Data { length: usize, flags: u8 },
    /// The same again.
    Repeat,
    /// A header field changes.
    Change(u8),
    /// Something that is neither TCP nor UDP.
    Other,
    /// A bit is wrong.
    Damaged { length: usize, at: prop::sample::Index },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (prop_oneof![4 => Just(1_000usize), 1 => 0usize..1_500], prop_oneof![8 => Just(ACK), 1 => any::<u8>()])
            .prop_map(|(length, flags)| Step::Data { length, flags }),
        1 => Just(Step::Repeat),
        1 => (0u8..7).prop_map(Step::Change),
        1 => Just(Step::Other),
        1 => (1usize..1_200, any::<prop::sample::Index>()).prop_map(|(length, at)| Step::Damaged { length, at }),
    ]
}

struct Flow {
    shape: Shape,
    fixed_id: bool,
    sent: u8,
}

impl Flow {
    fn next(&mut self, length: usize, flags: u8) -> Vec<u8> {
        self.sent = self.sent.wrapping_add(1);
        let data = vec![self.sent; length];
        self.shape.flags = flags;
        let frame = self.shape.frame(&data);
        self.shape.sequence = self.shape.sequence.wrapping_add(length as u32);
        if !self.fixed_id {
            self.shape.id = self.shape.id.wrapping_add(1);
        }
        frame
    }

    fn change(&mut self, what: u8) {
        let shape = &mut self.shape;
        match what {
            0 => shape.acknowledged = shape.acknowledged.wrapping_add(1),
            1 => shape.window ^= 1,
            2 => shape.options = if shape.options.is_empty() { vec![1; 4] } else { vec![] },
            3 => shape.ttl ^= 1,
            4 => shape.tos ^= 1,
            5 => shape.dont_fragment = !shape.dont_fragment,
            _ => shape.id = shape.id.wrapping_add(9),
        }
    }
}

/// The frames of one flow, with IDs made equal where they mean nothing.
fn of_flow(frames: &[Vec<u8>], port: u16) -> Vec<Vec<u8>> {
    // Both ports: two octets alone may also be a checksum.
    let [high, low] = port.to_be_bytes();
    let mine = |frame: &&Vec<u8>| {
        frame.len() >= 40 && frame.windows(4).take(60).any(|w| w == [high, low, 0xd0, 0xd0])
    };
    frames
        .iter()
        .filter(mine)
        .cloned()
        .map(|mut frame| {
            if frame[12..14] == [8, 0] && frame[20] & 0x40 != 0 {
                frame[18..20].fill(0);
                frame[24..26].fill(0);
            }
            frame
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn cutting_gives_the_frames_again_in_the_order_of_their_flow(
        kinds in prop::collection::vec((any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>()), 1..12),
        steps in prop::collection::vec((any::<prop::sample::Index>(), step()), 0..120),
        tso: bool, uso: bool,
    ) {
        let takes = Offloads { tso, uso, checksum: true };
        let mut flows: Vec<Flow> = kinds.iter().enumerate().map(|(n, &(v6, udp, extended, fixed_id, dont_fragment))| Flow {
            shape: Shape {
                v6, udp, dont_fragment, extended: extended && n % 4 == 0, ports: (0xe0e0 + n as u16, 0xd0d0),
                sequence: u32::MAX - 5_000, id: 0xfff0, ..Shape::default()
            },
            fixed_id,
            sent: 0,
        }).collect();
        let mut batch = FrameBatch::default();
        let mut sent = Vec::new();
        let mut repeat = vec![0; 60];
        for (which, step) in steps {
            let which = which.index(flows.len());
            let flow = &mut flows[which];
            let frame = match step {
                Step::Data { length, flags } => flow.next(length, flags),
                Step::Repeat => repeat.clone(),
                Step::Change(what) => { flow.change(what); continue }
                Step::Other => [&[2; 12][..], &[8, 6], &[0; 28]].concat(),
                Step::Damaged { length, at } => {
                    let mut frame = flow.next(length, ACK);
                    let at = frame.len() - 1 - at.index(length);
                    frame[at] ^= 0x10;
                    frame
                }
            };
            put(&mut batch, takes, &frame);
            repeat.clone_from(&frame);
            sent.push(frame);
        }
        let got = cut_again(&mut batch);
        prop_assert_eq!(got.len(), sent.len());
        for n in 0..flows.len() {
            let port = 0xe0e0 + n as u16;
            prop_assert_eq!(of_flow(&got, port), of_flow(&sent, port), "flow {}", n);
        }
    }

    #[test]
    fn anything_goes_through(frames in prop::collection::vec((any::<u16>(), prop::collection::vec(any::<u8>(), 0..100)), 0..40)) {
        let mut batch = FrameBatch::default();
        for (ethertype, payload) in &frames {
            let ethertype = [0x0800, 0x86dd, *ethertype][usize::from(ethertype % 3)];
            batch.push_joining(NETWORK, ALL, [1; 6], [2; 6], ethertype, payload);
        }
        prop_assert_eq!(batch.deliveries().count(), frames.len());
    }
}

fn burst(shape: &Shape, sizes: &[usize]) -> FrameBatch {
    let mut batch = FrameBatch::default();
    let mut flow = Flow { shape: shape.clone(), fixed_id: false, sent: 0 };
    for size in sizes {
        put(&mut batch, ALL, &flow.next(*size, ACK));
    }
    batch
}

#[test]
fn a_burst_becomes_one_super_frame() {
    for v6 in [false, true] {
        for udp in [false, true] {
            let shape = Shape { v6, udp, ..Shape::default() };
            let mut batch = burst(&shape, &[1_000, 1_000, 1_000, 400]);
            let all: Vec<_> = batch.deliveries().collect();
            assert_eq!(all.len(), 1);
            let size = 1_000;
            let gso = match (udp, v6) {
                (true, _) => Gso::Udp { size },
                (false, false) => Gso::Tcp4 { size, ecn: false },
                (false, true) => Gso::Tcp6 { size, ecn: false },
            };
            assert_eq!(all[0].offload.gso, gso);
            let mut whole = all[0].frame.to_vec();
            complete(all[0].offload.checksum, &mut whole).unwrap();
            assert_eq!(check(&whole).unwrap().data.len(), 3_400);
            batch.clear();
            assert!(batch.is_empty());
        }
    }
}

#[test]
fn no_super_frame_is_too_long() {
    let mut batch = burst(&Shape::default(), &[2_748; 60]);
    let lengths: Vec<usize> = batch.deliveries().map(|d| d.frame.len()).collect();
    assert_eq!(lengths.len(), 3);
    assert!(lengths.iter().all(|l| *l <= MAX_LENGTH + ETHERNET), "{lengths:?}");
    let mut batch = burst(&Shape { udp: true, ..Shape::default() }, &[10; 100]);
    assert_eq!(batch.deliveries().count(), 2);
}

#[test]
fn several_flows_grow_side_by_side() {
    let mut flows: Vec<Flow> = (0..MAX_OPEN as u16)
        .map(|n| Flow { shape: Shape { ports: (n, 80), ..Shape::default() }, fixed_id: n % 2 == 0, sent: 0 })
        .collect();
    let mut batch = FrameBatch::default();
    for _ in 0..3 {
        for _ in 0..10 {
            for flow in &mut flows {
                put(&mut batch, ALL, &flow.next(1_400, ACK));
            }
        }
        assert_eq!(batch.deliveries().count(), MAX_OPEN);
        batch.clear();
    }
}

#[test]
fn a_push_ends_a_super_frame_and_is_kept() {
    let mut flow = Flow { shape: Shape::default(), fixed_id: false, sent: 0 };
    let mut batch = FrameBatch::default();
    for flags in [ACK, ACK | PUSH, ACK, ACK | FIN, ACK] {
        put(&mut batch, ALL, &flow.next(100, flags));
    }
    let flags: Vec<u8> = batch.deliveries().map(|d| d.frame[ETHERNET + 20 + FLAGS]).collect();
    assert_eq!(flags, [ACK | PUSH, ACK | FIN, ACK]);
}

#[test]
fn ports_without_offloads_get_plain_frames() {
    let mut flow = Flow { shape: Shape::default(), fixed_id: false, sent: 0 };
    let mut batch = FrameBatch::default();
    for _ in 0..3 {
        put(&mut batch, Offloads::default(), &flow.next(100, ACK));
    }
    assert!(batch.deliveries().all(|d| d.offload == Offload::PLAIN));
    assert_eq!(batch.iter().count(), 3);
}

/// Twenty segments of a stream and something sparse between them, its sender told before the eleventh.
fn told(takes: Offloads, shape: &Shape) -> (FrameBatch, Vec<Vec<u8>>) {
    let mut bulk = Flow { shape: shape.clone(), fixed_id: false, sent: 0 };
    let mut sparse = Flow { shape: Shape { ports: (77, 78), ..Shape::default() }, fixed_id: false, sent: 0 };
    let mut batch = FrameBatch::default();
    let mut sent = Vec::new();
    for number in 0..20 {
        if number == 10 {
            batch.signal_congestion();
            put(&mut batch, takes, &sparse.next(1_000, ACK));
        }
        sent.push(bulk.next(1_000, ACK));
        put(&mut batch, takes, sent.last().unwrap());
    }
    (batch, sent)
}

#[test]
fn a_bulk_stream_loses_one_segment_and_a_sparse_one_none() {
    for (v6, takes) in [(false, ALL), (true, ALL)] {
        let shape = Shape { v6, ports: (0xe0e0, 1), ..Shape::default() };
        let (mut batch, mut sent) = told(takes, &shape);
        assert_eq!(batch.signalled(), Signalled { marked: 0, dropped: 1 });
        sent.remove(10);
        let got = cut_again(&mut batch);
        assert_eq!(of_flow(&got, 0xe0e0), of_flow(&sent, 0xe0e0));
        assert_eq!(got.len(), 20, "and the sparse one");
    }
}

#[test]
fn a_stream_that_takes_marks_is_marked_and_loses_nothing() {
    for v6 in [false, true] {
        let shape = Shape { v6, tos: 2, ports: (0xe0e0, 1), ..Shape::default() };
        let (mut batch, sent) = told(ALL, &shape);
        assert_eq!(batch.signalled(), Signalled { marked: 1, dropped: 0 });
        let mut tos = Vec::new();
        for delivery in batch.deliveries().filter(|d| d.offload.gso != Gso::None) {
            tos.push(if v6 { delivery.frame[15] >> 4 } else { delivery.frame[15] });
            let mut whole = delivery.frame.to_vec();
            complete(delivery.offload.checksum, &mut whole).unwrap();
            assert_eq!(check(&whole).unwrap().data.len(), 20_000);
        }
        assert_eq!((tos, sent.len()), (vec![3], 20));
    }
}

#[test]
fn a_port_without_offloads_loses_one_frame_of_bulk_data() {
    let shape = Shape { ports: (0xe0e0, 1), ..Shape::default() };
    let (mut batch, _) = told(Offloads::default(), &shape);
    assert_eq!((batch.signalled(), batch.iter().count()), (Signalled { marked: 0, dropped: 1 }, 20));
    let (mut batch, _) = told(Offloads::default(), &Shape { tos: 1, ..shape });
    assert_eq!(batch.iter().count() as u64 + batch.signalled().dropped, 21);
    let mut batch = FrameBatch::default();
    batch.signal_congestion();
    for shape in [Shape { udp: true, ..Shape::default() }, Shape { flags: ACK | FIN, ..Shape::default() }] {
        put(&mut batch, Offloads::default(), &shape.frame(&[0; 1_000]));
    }
    put(&mut batch, Offloads::default(), &Shape::default().frame(&[0; 100]));
    assert_eq!((batch.signalled(), batch.iter().count()), (Signalled::default(), 3));
}

#[test]
fn nobody_is_told_later() {
    let mut batch = burst(&Shape::default(), &[1_000; 3]);
    batch.signal_congestion();
    batch.clear();
    let mut flow = Flow { shape: Shape::default(), fixed_id: false, sent: 0 };
    (0..20).for_each(|_| put(&mut batch, ALL, &flow.next(1_000, ACK)));
    assert_eq!(batch.signalled(), Signalled::default());
}
