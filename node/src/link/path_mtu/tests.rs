use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use protocol::{Span, Time};

use super::*;
use crate::link::extension::answer;
use crate::link::path::SocketId;

const PEER: Address = Address::from_u64(0x0102030405);
const OURS: &[u8] = b"ztnodePA\x28\x54\x03";
/// What another implementation answers: the payload.
const ECHOED: &[u8] = b"ztnodePM\0\0\0\0";

fn path() -> PathKey {
    PathKey { socket: SocketId(0), remote: "192.0.2.1:9993".parse().unwrap() }
}

/// A path on which datagrams of up to `limit` bytes pass, used all the time, with a peer that answers `answer`.
struct Run {
    mtus: PathMtus,
    now: Time,
    next_id: u64,
    limit: usize,
    answer: Option<&'static [u8]>,
    /// Sizes of the probes sent.
    sent: Vec<usize>,
}

impl Run {
    fn new(limit: usize, answer: Option<&'static [u8]>) -> Self {
        let (mtus, sent) = (PathMtus::default(), Vec::new());
        Run { mtus, now: Time::from_ms(1_000_000), next_id: 1, limit, answer, sent }
    }

    /// Sends large packets for some time and returns the size in use.
    fn run(&mut self, ms: i64) -> usize {
        let end = self.now + Span::ms(ms);
        while self.now < end {
            self.mtus.size_for(self.now, PEER, &path());
            if self.mtus.next().is_some_and(|due| due <= self.now) {
                for (peer, path, size) in self.mtus.due(self.now) {
                    assert_eq!(peer, PEER);
                    self.sent.push(size);
                    self.next_id += 1;
                    self.mtus.tried(peer, path, Some(self.next_id));
                    if let Some(answer) = self.answer.filter(|_| size <= self.limit) {
                        assert!(self.mtus.answered(self.now + Span::ms(20), peer, self.next_id, answer));
                    }
                }
            }
            self.now += Span::ms(10);
        }
        self.mtus.size(PEER, &path()).unwrap()
    }
}

#[test]
fn climbs_as_far_as_the_path_goes_with_a_ztnode() {
    for (limit, expected) in [(1_472, 1_432), (2_900, 2_896), (8_900, 4_544), (8_972, 8_952)] {
        let mut run = Run::new(limit, Some(OURS));
        assert_eq!(run.run(10_000), expected, "{limit}");
        let sent = run.sent.len();
        run.run(9_000);
        assert!(run.sent.len() - sent <= 1, "quiet afterwards");
    }
}

#[test]
fn another_implementation_never_gets_more_than_the_default() {
    let mut run = Run::new(8_972, Some(ECHOED));
    assert_eq!(run.run(3_600_000), DEFAULT_MTU);
    assert!(run.sent.iter().all(|size| *size <= DEFAULT_MTU));
    assert!(run.sent.len() <= 62, "{} in an hour", run.sent.len());
}

#[test]
fn takes_the_largest_size_that_passes_a_narrow_path() {
    for answer in [OURS, ECHOED] {
        for (limit, expected) in [(1_431, 1_412), (1_400, 1_352), (1_272, 1_232), (1_232, 1_232)] {
            assert_eq!(Run::new(limit, Some(answer)).run(20_000), expected, "{limit}");
        }
    }
}

#[test]
fn without_answers_nothing_changes_and_little_is_sent() {
    for mut run in [Run::new(8_972, None), Run::new(1_000, Some(OURS))] {
        assert_eq!(run.run(1_800_000), DEFAULT_MTU);
        assert!(run.sent.len() <= 30, "{}", run.sent.len());
    }
}

#[test]
fn falls_back_when_the_path_becomes_narrow_and_climbs_again_when_it_is_wide() {
    let mut run = Run::new(8_972, Some(OURS));
    assert_eq!(run.run(10_000), 8_952);
    run.limit = 1_472;
    assert_eq!(run.run(17_000), 1_432, "within seconds");
    run.limit = 1_272;
    assert_eq!(run.run(80_000), 1_232);
    run.limit = 8_972;
    assert_eq!(run.run(PATH_MTU_SEARCH.as_ms() + 70_000), 8_952);
}

#[test]
fn large_datagrams_have_to_be_earned_again_after_a_hello() {
    let mut run = Run::new(8_972, Some(OURS));
    assert_eq!(run.run(10_000), 8_952);
    run.mtus.distrust(run.now, PEER);
    assert_eq!(run.mtus.size(PEER, &path()), Some(DEFAULT_MTU));
    run.sent.clear();
    assert_eq!(run.run(1_000), 8_952);
    assert_eq!(run.sent, [1_432, 8_952]);
    // Now another program runs there.
    run.answer = Some(ECHOED);
    run.mtus.distrust(run.now, PEER);
    run.sent.clear();
    assert_eq!(run.run(600_000), DEFAULT_MTU);
    assert!(run.sent.iter().all(|size| *size <= DEFAULT_MTU));
}

#[test]
fn only_a_ztnode_is_shown_ecn_and_only_while_it_is_known_to_be_one() {
    let mut run = Run::new(1_472, Some(OURS));
    run.run(10_000);
    assert!(run.mtus.takes_ecn(PEER, &path()));
    run.mtus.distrust(run.now, PEER);
    assert!(!run.mtus.takes_ecn(PEER, &path()));
    run.sent.clear();
    run.run(1_000);
    assert!(run.mtus.takes_ecn(PEER, &path()));
    assert_eq!(run.sent, [1_432]);
    let mut run = Run::new(1_472, Some(ECHOED));
    run.run(2_000);
    assert!(!run.mtus.takes_ecn(PEER, &path()));
    // Nobody probes for the sake of a path at rest.
    let mut run = Run::new(8_972, Some(OURS));
    run.run(10_000);
    run.now += PATH_MTU_CHECK;
    run.mtus.distrust(run.now, PEER);
    assert_eq!((run.mtus.next(), run.mtus.size(PEER, &path())), (None, Some(DEFAULT_MTU)));
    assert_eq!(run.run(2_000), 8_952);
}

#[test]
fn a_hope_that_fails_leaves_what_lies_between() {
    let mut run = Run::new(8_972, Some(OURS));
    assert_eq!(run.run(10_000), 8_952);
    run.limit = 5_000;
    run.mtus.distrust(run.now, PEER);
    assert_eq!(run.run(20_000), 4_544);
}

#[test]
fn a_path_that_is_not_used_costs_nothing() {
    let mut run = Run::new(8_972, Some(OURS));
    run.run(10_000);
    assert_eq!(run.mtus.next(), None);
    run.mtus.expire(run.now + PATH_MTU_FORGET - Span::secs(1), |_, _| true);
    assert_eq!(run.mtus.paths.len(), 1);
    run.mtus.expire(run.now + PATH_MTU_FORGET, |_, _| true);
    assert!(run.mtus.paths.is_empty());
}

#[test]
fn only_the_peer_that_was_asked_answers() {
    let mut run = Run::new(0, Some(OURS));
    run.run(20);
    let other = Address::from_u64(0x0102030406);
    assert!(!run.mtus.answered(run.now, other, run.next_id, OURS));
    assert!(!run.mtus.answered(run.now, PEER, run.next_id + 1, OURS));
    assert!(run.mtus.answered(run.now, PEER, run.next_id, OURS));
}

#[test]
fn the_table_is_bounded() {
    let mut mtus = PathMtus::default();
    for port in 0..MAX_MEASURED_PATHS + 10 {
        let remote = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port as u16);
        assert_eq!(mtus.size_for(Time::EPOCH, PEER, &PathKey { socket: SocketId(0), remote }), DEFAULT_MTU);
    }
    assert_eq!(mtus.paths.len(), MAX_MEASURED_PATHS);
    assert_eq!(mtus.due(Time::EPOCH).len(), PATH_MTU_PROBES);
    assert_eq!(mtus.next(), Some(Time::EPOCH), "the others come next");
}

#[test]
fn answers_are_for_probes_alone() {
    assert_eq!(answer(b""), None);
    assert_eq!(answer(b"ztnodeP"), None);
    assert_eq!(answer(ECHOED).as_ref().map(|a| &a[..]), Some(OURS));
}
