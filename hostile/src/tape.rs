//! What came by: an attacker sends it again, or answers it.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

/// Datagrams kept to be sent again.
const RECORDED: usize = 64;
/// Datagrams kept of what went to one hostile endpoint.
const HEARD: usize = 8;

/// Datagrams that were sent.
#[derive(Debug, Default)]
pub struct Tape {
    /// What the node under attack received from honest ones, and from where.
    received: VecDeque<(SocketAddr, Vec<u8>)>,
    /// What the controller sent it while it was not yet let in.
    refusals: Vec<(SocketAddr, Vec<u8>)>,
    /// What it sent to hostile endpoints.
    heard: BTreeMap<SocketAddr, VecDeque<Vec<u8>>>,
}

impl Tape {
    /// The node under attack receives a datagram.
    pub(crate) fn record(&mut self, from: SocketAddr, data: &[u8]) {
        if self.received.len() >= RECORDED {
            self.received.pop_front();
        }
        self.received.push_back((from, data.to_vec()));
    }

    /// What the node has received from its controller so far was said while it was not let in.
    pub(crate) fn keep_refusals(&mut self, controller: SocketAddr) {
        self.refusals = self.received.iter().filter(|(at, _)| *at == controller).cloned().collect();
    }

    /// A hostile endpoint receives a datagram.
    pub(crate) fn hear(&mut self, at: SocketAddr, data: Vec<u8>) {
        let heard = self.heard.entry(at).or_default();
        if heard.len() >= HEARD {
            heard.pop_front();
        }
        heard.push_back(data);
    }

    /// The last datagram that the node sent to this endpoint.
    pub fn last_heard(&self, endpoint: SocketAddr) -> Option<&[u8]> {
        self.heard.get(&endpoint)?.back().map(|data| &data[..])
    }

    /// The last datagram that the node received from there.
    pub(crate) fn last_from(&self, endpoint: SocketAddr) -> Option<Vec<u8>> {
        self.received.iter().rev().find(|(from, _)| *from == endpoint).map(|(_, data)| data.clone())
    }

    /// A datagram recorded earlier and where it came from; `back` counts from the latest.
    pub fn recorded(&self, back: usize) -> Option<(SocketAddr, Vec<u8>)> {
        let count = self.received.len();
        (count > 0).then(|| self.received[count - 1 - back % count].clone())
    }

    /// Something that the controller said while the node was not let in yet, if it said anything.
    pub fn refusal(&self, number: usize) -> Option<(SocketAddr, Vec<u8>)> {
        (!self.refusals.is_empty()).then(|| self.refusals[number % self.refusals.len()].clone())
    }
}
