//! A stream of numbered frames between hosts 1 and 2, and what becomes of it.

use protocol::NetworkId;

use super::{World, frame_between};

/// A frame goes each way so often, ms.
const EVERY: i64 = 20;
/// What its payload begins with.
const MARK: &[u8] = b"numbered";

/// What arrived of a stream in both directions.
#[derive(Debug, Default)]
pub struct Seen {
    /// The longest time between two arrivals, ms, at host 1 and at host 2.
    pub gaps: [i64; 2],
    /// Frames that never arrived.
    pub lost: [usize; 2],
    /// Frames that arrived again, or behind a later one.
    pub twice: usize,
    pub late: usize,
}

/// A frame each way every now and then, for so long.
pub fn stream(world: &mut World, network: NetworkId, ms: i64) -> Seen {
    let mut seen = Seen::default();
    let begun = world.now;
    for host in [1, 2] {
        world.hosts[host].received.clear();
    }
    let mut last = [begun; 2];
    let mut arrived: [Vec<u32>; 2] = [Vec::new(), Vec::new()];
    let count = u32::try_from(ms / EVERY).expect("a short stream");
    for number in 0..count + 50 {
        if number < count {
            for (from, to) in [(1, 2), (2, 1)] {
                let frame = frame_between(world, network, from, to, &[MARK, &number.to_be_bytes()].concat());
                world.send_frame(from, network, &frame);
            }
        }
        world.run(EVERY);
        for (side, host) in [1, 2].into_iter().enumerate() {
            for (_, frame) in std::mem::take(&mut world.hosts[host].received) {
                let Some(number) = frame.get(14..).and_then(|payload| payload.strip_prefix(MARK)) else {
                    continue;
                };
                arrived[side].push(u32::from_be_bytes(number[..4].try_into().expect("four octets")));
                seen.gaps[side] = seen.gaps[side].max((world.now - last[side]).as_ms());
                last[side] = world.now;
            }
        }
    }
    for (side, numbers) in arrived.iter().enumerate() {
        let mut all = numbers.clone();
        all.sort_unstable();
        all.dedup();
        seen.twice += numbers.len() - all.len();
        seen.lost[side] = count as usize - all.len();
        seen.late += numbers.windows(2).filter(|pair| pair[1] < pair[0]).count();
    }
    seen
}
