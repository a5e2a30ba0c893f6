//! Who is connected, and who has to go when there are too many.
//!
//! A connection that does nothing costs a client nothing, so idle ones are the first to go; whoever showed the token or came by
//! the socket with a right to it is never cut off in the middle of an answer. Each door has a budget of its own: what happens at
//! one keeps nobody out at the other.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::auth::Caller;

/// Connections by one door.
pub(super) const MAX_CLIENTS: usize = 64;
/// Of these, from one source: an IPv4 address, a /64 of IPv6, a user of the socket.
pub(super) const MAX_PER_SOURCE: usize = 48;

/// Where a connection comes from, as far as shares go.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Source {
    V4(u32),
    V6(u64),
    User(u32),
}

impl From<Caller> for Source {
    fn from(caller: Caller) -> Self {
        match caller {
            Caller::Unix { uid, .. } => Source::User(uid),
            Caller::Tcp(ip) => match ip.to_canonical() {
                IpAddr::V4(ip) => Source::V4(ip.to_bits()),
                IpAddr::V6(ip) => Source::V6((ip.to_bits() >> 64) as u64),
            },
        }
    }
}

/// What a connection is doing.
#[derive(Debug, Default)]
struct Standing {
    /// It has sent a whole request head once.
    spoke: AtomicBool,
    /// A request is being answered.
    busy: AtomicBool,
    /// It has shown that it may do everything.
    known: AtomicBool,
    /// Tells it to end.
    end: Notify,
}

impl Standing {
    /// The lower, the sooner it goes; `None` = never.
    fn rank(&self) -> Option<u8> {
        let flag = |flag: &AtomicBool| flag.load(Ordering::Relaxed);
        match (flag(&self.spoke), flag(&self.busy), flag(&self.known)) {
            (false, ..) => Some(0),
            (_, false, false) => Some(1),
            (_, true, false) => Some(2),
            (_, false, true) => Some(3),
            (_, true, true) => None,
        }
    }
}

/// A connection, as its requests see it.
#[derive(Clone, Debug, Default)]
pub(super) struct Connection(Arc<Standing>);

impl Connection {
    /// Its sender may do everything.
    pub(super) fn known(&self) {
        self.0.known.store(true, Ordering::Relaxed);
    }

    /// A request has come; it is being answered until the value returned goes.
    pub(super) fn busy(&self) -> Busy {
        self.0.spoke.store(true, Ordering::Relaxed);
        self.0.busy.store(true, Ordering::Relaxed);
        Busy(Arc::clone(&self.0))
    }

    /// Waits until this connection has to make room.
    pub(super) async fn ended(&self) {
        self.0.end.notified().await;
    }
}

/// A request that is being answered.
pub(super) struct Busy(Arc<Standing>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.store(false, Ordering::Relaxed);
    }
}

/// The connections by one door.
#[derive(Clone, Debug, Default)]
pub(super) struct Clients(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    next: u64,
    open: BTreeMap<u64, (Source, Arc<Standing>)>,
}

/// A connection's place in the budget, until it goes.
#[derive(Debug)]
pub(super) struct Place {
    clients: Clients,
    number: u64,
    pub(super) connection: Connection,
    /// Whether another one had to go for it.
    pub(super) crowded: bool,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.clients.table().open.remove(&self.number);
    }
}

impl Clients {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a place for a new connection, if need be by ending another. `None`: nobody can go.
    pub(super) fn enter(&self, caller: Caller) -> Option<Place> {
        let source = Source::from(caller);
        let mut table = self.table();
        let own = table.of(source);
        let crowded = own >= MAX_PER_SOURCE || table.open.len() >= MAX_CLIENTS;
        if crowded {
            let number = table.first_to_go((own >= MAX_PER_SOURCE).then_some(source))?;
            if let Some((_, standing)) = table.open.remove(&number) {
                standing.end.notify_one();
            }
        }
        table.next += 1;
        let number = table.next;
        let connection = Connection::default();
        table.open.insert(number, (source, Arc::clone(&connection.0)));
        drop(table);
        Some(Place { clients: self.clone(), number, connection, crowded })
    }
}

impl Table {
    fn of(&self, source: Source) -> usize {
        self.open.values().filter(|(other, _)| *other == source).count()
    }

    /// Of those of one source, or of all: who does least; among equals one of the greediest source; of these the oldest.
    fn first_to_go(&self, of: Option<Source>) -> Option<u64> {
        let candidates = self.open.iter().filter(|(_, (source, _))| of.is_none_or(|of| of == *source));
        let ranked = candidates.filter_map(|(number, (source, standing))| {
            Some((standing.rank()?, usize::MAX - self.of(*source), *number))
        });
        ranked.min().map(|(_, _, number)| number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(last: u8) -> Caller {
        Caller::Tcp(IpAddr::from([127, 0, 0, last]))
    }

    fn ended(place: &Place) -> bool {
        !place.clients.table().open.contains_key(&place.number)
    }

    #[test]
    fn who_does_least_goes_first() {
        let clients = Clients::default();
        let mut all: Vec<Place> = (0..MAX_CLIENTS).map(|n| clients.enter(tcp(n as u8)).unwrap()).collect();
        assert!(all.iter().all(|place| !place.crowded));
        let mut busy = Vec::new();
        for (number, place) in all.iter().enumerate() {
            match number {
                60 => {}
                61 => drop(place.connection.busy()),
                62 => busy.push(place.connection.busy()),
                63 => {
                    place.connection.known();
                    drop(place.connection.busy());
                }
                _ => {
                    place.connection.known();
                    busy.push(place.connection.busy());
                }
            }
        }
        // Silent, idle, a stranger's request, idle with the token; and then nobody.
        for gone in [60, 61, 62, 63] {
            let place = clients.enter(tcp(200)).expect("room");
            assert!(place.crowded && ended(&all[gone]), "{gone}");
            place.connection.known();
            busy.push(place.connection.busy());
            all.push(place);
        }
        assert!(clients.enter(tcp(201)).is_none());
        assert!(all[..60].iter().all(|place| !ended(place)));
        all.truncate(10);
        assert!(clients.enter(tcp(201)).is_some_and(|place| !place.crowded));
    }

    #[test]
    fn the_greediest_source_pays() {
        let clients = Clients::default();
        let early = clients.enter(tcp(1)).unwrap();
        let greedy: Vec<Place> = (0..MAX_PER_SOURCE).map(|_| clients.enter(tcp(2)).unwrap()).collect();
        let more = clients.enter(tcp(2)).unwrap();
        assert!(more.crowded && ended(&greedy[0]) && !ended(&early), "a source beyond its share pays itself");
        let others: Vec<Place> =
            (0..MAX_CLIENTS - MAX_PER_SOURCE - 1).map(|_| clients.enter(tcp(3)).unwrap()).collect();
        let last = clients.enter(tcp(4)).unwrap();
        assert!(last.crowded && ended(&greedy[1]) && !ended(&early) && !ended(&others[0]));
    }

    #[test]
    fn a_source_is_a_network_of_ipv6() {
        let source = |ip: &str| Source::from(Caller::Tcp(ip.parse().unwrap()));
        assert_eq!(source("2001:db8::1"), source("2001:db8::ffff:0:2"));
        assert_ne!(source("2001:db8::1"), source("2001:db8:0:1::1"));
        assert_eq!(source("::ffff:10.0.0.1"), source("10.0.0.1"));
        assert_ne!(
            Source::from(Caller::Unix { uid: 1, gid: 1 }),
            Source::from(Caller::Unix { uid: 2, gid: 1 })
        );
    }
}
