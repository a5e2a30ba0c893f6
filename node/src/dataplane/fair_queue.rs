//! A queue that is fair between flows and bounds how long each may wait: FQ-CoDel, RFC 8290.
//!
//! Flows (by their hash) take turns, each with a quantum of octets. A flow that has just begun to wait goes before those that
//! have long been waiting, once: so whoever sends now and then finds no queue at all, however long that of a bulk stream is.
//! Of each flow's own queue CoDel bounds the standing part. When there is no more room, the flow that fills the most loses from
//! its front. Inside a flow the order never changes.
//!
//! No clock and no I/O in here. Times are microseconds of any clock that does not run backwards.

use std::collections::VecDeque;

use super::codel::{Codel, Params};

/// Flows that are told apart; more share.
pub const FLOWS: usize = 256;

/// What a queue may hold, and how it is served.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Octets of all items together. One more item is taken while there are fewer.
    pub octets: usize,
    /// Items.
    pub items: usize,
    /// Octets a flow may send in its turn; about the largest item. What is not more than that never counts as a standing queue.
    pub quantum: usize,
    /// How long they may wait.
    pub codel: Params,
}

/// What waits in a queue.
pub trait Item {
    /// Its size.
    fn octets(&self) -> usize;

    /// Its sender is to slow down: it is marked, or loses as little as possible.
    fn signal_congestion(&mut self) -> CongestionSignal;
}

/// How a sender was told to slow down.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CongestionSignal {
    /// The item bears a mark and has lost nothing.
    Marked,
    /// The item has lost a part.
    Shortened,
    /// The item is to be dropped as a whole.
    Drop,
}

/// What became of items other than being taken out as they came in; every number only grows.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Losses {
    /// Marked because their flow waited too long.
    pub marked: u64,
    /// Segments or whole items dropped because their flow waited too long.
    pub late: u64,
    /// Items dropped because the queue was full.
    pub full: u64,
}

struct Waiting<T> {
    item: T,
    since: u64,
}

/// In which row of flows a flow stands.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Row {
    #[default]
    None,
    New,
    Old,
}

struct Flow<T> {
    items: VecDeque<Waiting<T>>,
    octets: usize,
    /// What it may still send in this turn.
    credit: isize,
    codel: Codel,
    row: Row,
}

/// See the module's documentation.
pub struct FairQueue<T> {
    limits: Limits,
    flows: Box<[Flow<T>]>,
    new: VecDeque<u16>,
    old: VecDeque<u16>,
    octets: usize,
    items: usize,
    losses: Losses,
}

impl<T: Item> FairQueue<T> {
    /// An empty queue.
    pub fn new(limits: Limits) -> Self {
        let flow = |_| Flow {
            items: VecDeque::new(),
            octets: 0,
            credit: 0,
            codel: Codel::default(),
            row: Row::None,
        };
        Self {
            limits,
            flows: (0..FLOWS).map(flow).collect(),
            new: VecDeque::with_capacity(FLOWS),
            old: VecDeque::with_capacity(FLOWS),
            octets: 0,
            items: 0,
            losses: Losses::default(),
        }
    }

    /// Puts an item into the flow of that hash. What has to go for it, perhaps itself, is handed to `drop`.
    pub fn push(&mut self, now: u64, hash: u64, item: T, mut drop: impl FnMut(T)) {
        let index = (hash % FLOWS as u64) as usize;
        let octets = item.octets();
        let flow = &mut self.flows[index];
        flow.items.push_back(Waiting { item, since: now });
        flow.octets += octets;
        self.octets += octets;
        self.items += 1;
        if flow.row == Row::None {
            flow.row = Row::New;
            flow.credit = self.limits.quantum as isize;
            self.new.push_back(index as u16);
        }
        while self.items > self.limits.items || self.octets > self.limits.octets + self.limits.quantum {
            let Some(lost) = self.fattest().and_then(|index| self.take(index)) else { return };
            self.losses.full += 1;
            drop(lost.item);
        }
    }

    /// Takes out the item whose turn it is. Items that CoDel drops on the way are handed to `drop`.
    pub fn pop(&mut self, now: u64, mut drop: impl FnMut(T)) -> Option<T> {
        loop {
            let row = if self.new.is_empty() { Row::Old } else { Row::New };
            let index = *if row == Row::New { self.new.front() } else { self.old.front() }?;
            let flow = &mut self.flows[usize::from(index)];
            if flow.credit <= 0 {
                flow.credit += self.limits.quantum as isize;
                self.move_on(row, Row::Old);
                continue;
            }
            if let Some(item) = self.next_of(usize::from(index), now, &mut drop) {
                self.flows[usize::from(index)].credit -= item.octets() as isize;
                return Some(item);
            }
            // A new flow that ran empty waits one round before it can be new again: no flow may starve the old ones by
            // coming and going.
            let next = if row == Row::New && !self.old.is_empty() { Row::Old } else { Row::None };
            self.move_on(row, next);
        }
    }

    /// The flow at the head of a row leaves it for another.
    fn move_on(&mut self, from: Row, to: Row) {
        let row = if from == Row::New { &mut self.new } else { &mut self.old };
        let Some(index) = row.pop_front() else { return };
        self.flows[usize::from(index)].row = to;
        if to == Row::Old {
            self.old.push_back(index);
        }
    }

    /// The next item of a flow that may leave.
    fn next_of(&mut self, index: usize, now: u64, drop: &mut impl FnMut(T)) -> Option<T> {
        loop {
            let Some(Waiting { mut item, since }) = self.take(index) else {
                self.flows[index].codel.emptied();
                return None;
            };
            let flow = &mut self.flows[index];
            let little = flow.octets < self.limits.quantum;
            if !flow.codel.judge(&self.limits.codel, now, now.saturating_sub(since), little) {
                return Some(item);
            }
            match item.signal_congestion() {
                CongestionSignal::Marked => {
                    self.losses.marked += 1;
                    return Some(item);
                }
                CongestionSignal::Shortened => {
                    self.losses.late += 1;
                    return Some(item);
                }
                CongestionSignal::Drop => {
                    self.losses.late += 1;
                    drop(item);
                }
            }
        }
    }

    fn take(&mut self, index: usize) -> Option<Waiting<T>> {
        let flow = &mut self.flows[index];
        let waiting = flow.items.pop_front()?;
        let octets = waiting.item.octets();
        flow.octets -= octets;
        self.octets -= octets;
        self.items -= 1;
        Some(waiting)
    }

    fn fattest(&self) -> Option<usize> {
        let all = self.flows.iter().enumerate().filter(|(_, flow)| !flow.items.is_empty());
        all.max_by_key(|(_, flow)| flow.octets).map(|(index, _)| index)
    }

    /// Whether the next item might cost another one its place.
    pub fn is_full(&self) -> bool {
        self.items >= self.limits.items || self.octets >= self.limits.octets
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.items == 0
    }

    /// Items that wait.
    pub fn len(&self) -> usize {
        self.items
    }

    /// Octets that wait.
    pub fn octets(&self) -> usize {
        self.octets
    }

    /// What was marked and dropped so far.
    pub fn losses(&self) -> Losses {
        self.losses
    }
}

#[cfg(test)]
mod tests;
