//! Keeps a [`Picture`] as the kernel says.
//!
//! The kernel's messages wait in a socket until somebody looks: whoever decides takes them in first, so that a decision never
//! rests on less than what the kernel had said by then. Everything is read anew only at the start, when messages were lost,
//! and now and then to make sure.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::stream::TryStreamExt;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recvfrom, setsockopt, socket, sockopt,
};
use rtnetlink::packet_core::{NLM_F_REPLACE, NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::route::RouteMessage;
use rtnetlink::{Handle, RouteMessageBuilder};
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep_until};

use super::{NetlinkError, Noticed, Picture};

/// Links, and addresses and routes of both families.
const GROUPS: u32 = 0x1 | 0x10 | 0x100 | 0x40 | 0x400;
/// Changes that come within this time of the first are reported with it: a machine that moves changes address and route together …
const PROMPT: Duration = Duration::from_millis(10);
/// … or within this time, when there has been a number of reports within a second: there may be thousands of changes.
const SETTLE: Duration = Duration::from_millis(100);
/// That number.
const PROMPT_REPORTS: u32 = 8;
/// Room for messages while nobody looks, octets: a burst of some ten thousand changes.
const ROOM: usize = 4 << 20;
/// The kernel's datagrams are smaller.
const DATAGRAM: usize = 64 << 10;
/// Datagrams that are taken in at a time, before others have their turn.
const AT_ONCE: usize = 512;
/// Messages kept while everything is read anew.
const KEPT: usize = 65_536;
/// Everything is read anew no more often than this just to make sure, and takes no more than a hundredth of the time.
const SURE_FOR: Duration = Duration::from_secs(60);
/// The same, when something is not as it should be.
const DOUBTED_FOR: Duration = Duration::from_secs(1);
const SHARE: u32 = 100;

#[derive(Debug)]
pub(super) struct Watch {
    socket: AsyncFd<OwnedFd>,
    state: Mutex<State>,
    /// Held by the one who reads everything anew.
    reading: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct State {
    picture: Picture,
    buffer: Vec<u8>,
    /// Messages were lost, or never read.
    stale: bool,
    /// What came while everything is being read anew.
    meanwhile: Option<Vec<(RouteNetlinkMessage, bool)>>,
    /// When what was noticed is to be reported.
    due: Option<Instant>,
    /// When the present second began, and how many reports there were in it.
    reports: (Instant, u32),
    read_at: Instant,
    reading_took: Duration,
    readings: u64,
}

impl Watch {
    /// Subscribes.
    pub(super) fn begin() -> io::Result<Self> {
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let fd = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
        // Beyond the system's limit where that is permitted.
        if setsockopt(&fd, sockopt::RcvBufForce, &ROOM).is_err() {
            setsockopt(&fd, sockopt::RcvBuf, &ROOM)?;
        }
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, GROUPS))?;
        let state = State {
            picture: Picture::default(),
            buffer: vec![0; DATAGRAM],
            stale: true,
            meanwhile: None,
            due: None,
            reports: (Instant::now(), 0),
            read_at: Instant::now(),
            reading_took: Duration::ZERO,
            readings: 0,
        };
        // SAFETY: the descriptor is open, and the value owns it for as long as it lives; it never becomes another one.
        #[allow(unsafe_code)]
        let socket = unsafe { AsyncFd::register(fd) }?;
        Ok(Watch { socket, state: Mutex::new(state), reading: tokio::sync::Mutex::new(()) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How often everything was read anew, and how many messages were taken in.
    #[cfg(test)]
    pub(super) fn work(&self) -> (u64, u64) {
        let state = self.state();
        (state.readings, state.picture.messages())
    }

    pub(super) fn tell(&self, what: impl FnOnce(&mut Picture)) {
        what(&mut self.state().picture);
    }

    pub(super) fn look<T>(&self, at: impl FnOnce(&Picture) -> T) -> T {
        let mut state = self.state();
        state.take_in(self.socket.get_ref());
        at(&state.picture)
    }

    pub(super) fn make_sure(&self) {
        self.state().doubt(SURE_FOR);
    }

    pub(super) fn doubt(&self) {
        self.state().doubt(DOUBTED_FOR);
    }

    pub(super) async fn refresh(&self, handle: &Handle) -> Result<(), NetlinkError> {
        let fresh = {
            let mut state = self.state();
            while state.take_in(self.socket.get_ref()) {}
            !state.stale
        };
        if fresh {
            return Ok(());
        }
        let _reader = self.reading.lock().await;
        // Somebody else may have been faster.
        if !self.state().stale {
            return Ok(());
        }
        let begun = Instant::now();
        let mut fresh = {
            let mut state = self.state();
            (state.stale, state.meanwhile) = (false, Some(Vec::new()));
            state.picture.anew()
        };
        let read = read(handle, &mut fresh).await;
        let mut state = self.state();
        state.take_in(self.socket.get_ref());
        // Ports that were adopted meanwhile had no routes then, and have told all of them since.
        fresh.adopt_all_of(&state.picture);
        // What came while it was read is in it, or is not: in their order the messages lead to the same end.
        for (message, replaces) in state.meanwhile.take().unwrap_or_default() {
            fresh.apply(&message, replaces);
        }
        state.stale |= read.is_err();
        read?;
        (state.read_at, state.reading_took) = (Instant::now(), begun.elapsed());
        state.readings += 1;
        if fresh.is_overfull() && !state.picture.is_overfull() {
            tracing::warn!(
                limit = super::MAX_TARGETS,
                "this machine has more routes without a gateway than are looked at: managed routes may shadow some of them"
            );
        }
        state.picture = fresh;
        Ok(())
    }

    pub(super) async fn changed(&self) -> Noticed {
        loop {
            let due = {
                let mut state = self.state();
                state.plan();
                state.due
            };
            tokio::select! {
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    let mut state = self.state();
                    state.due = None;
                    state.reports.1 += 1;
                    return state.picture.take_noticed();
                }
                ready = self.socket.readable() => {
                    let more = self.state().take_in(self.socket.get_ref());
                    if more {
                        tokio::task::yield_now().await;
                    } else if let Ok(mut ready) = ready {
                        ready.clear_ready();
                    }
                }
            }
        }
    }
}

impl State {
    /// Has everything read anew if that is so long ago.
    fn doubt(&mut self, pause: Duration) {
        self.stale |= self.read_at.elapsed() >= pause.max(self.reading_took.saturating_mul(SHARE));
    }

    /// Sees to it that what was noticed is reported soon.
    fn plan(&mut self) {
        if self.due.is_none() && self.picture.noticed().any() {
            if self.reports.0.elapsed() >= Duration::from_secs(1) {
                self.reports = (Instant::now(), 0);
            }
            self.due = Some(Instant::now() + if self.reports.1 < PROMPT_REPORTS { PROMPT } else { SETTLE });
        }
    }

    /// Takes in what the kernel said; `true` if there may be more.
    fn take_in(&mut self, socket: &OwnedFd) -> bool {
        for _ in 0..AT_ONCE {
            match recvfrom::<NetlinkAddr>(socket.as_raw_fd(), &mut self.buffer) {
                // Other programs may send here, too.
                Ok((length, Some(from))) if from.pid() == 0 => self.read_datagram(length),
                Ok(_) | Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return false,
                // Messages were lost, or the socket is broken: what is known is not to be trusted.
                Err(error) => {
                    tracing::debug!(%error, "the kernel's messages about links and routes");
                    self.stale = true;
                    self.picture.notice_all();
                    return error == Errno::ENOBUFS;
                }
            }
        }
        true
    }

    fn read_datagram(&mut self, length: usize) {
        let buffer = std::mem::take(&mut self.buffer);
        let mut rest = buffer.get(..length).unwrap_or_default();
        while let Some(size) = rest.first_chunk().map(|size| u32::from_ne_bytes(*size) as usize) {
            let Some(bytes) = rest.get(..size).filter(|bytes| bytes.len() >= 16) else { break };
            match NetlinkMessage::<RouteNetlinkMessage>::deserialize(bytes) {
                Ok(message) => {
                    let replaces = message.header.flags & NLM_F_REPLACE != 0;
                    if let NetlinkPayload::InnerMessage(inner) = message.payload {
                        self.take(inner, replaces);
                    }
                }
                Err(error) => tracing::debug!(%error, "a message of the kernel that is not understood"),
            }
            // Messages begin at multiples of four octets.
            rest = rest.get(size.next_multiple_of(4)..).unwrap_or_default();
        }
        self.buffer = buffer;
    }

    fn take(&mut self, message: RouteNetlinkMessage, replaces: bool) {
        self.picture.apply(&message, replaces);
        if let Some(kept) = &mut self.meanwhile {
            if kept.len() < KEPT {
                kept.push((message, replaces));
            } else {
                // Once more, then.
                self.stale = true;
            }
        }
    }
}

/// Reads links, addresses and routes.
async fn read(handle: &Handle, into: &mut Picture) -> Result<(), NetlinkError> {
    let failed = |what: &'static str| move |e| NetlinkError::new(what, &e);
    let mut links = std::pin::pin!(handle.link().get().execute());
    while let Some(link) = links.try_next().await.map_err(failed("list interfaces"))? {
        into.apply(&RouteNetlinkMessage::NewLink(link), false);
    }
    let mut addresses = std::pin::pin!(handle.address().get().execute());
    while let Some(address) = addresses.try_next().await.map_err(failed("list addresses"))? {
        into.apply(&RouteNetlinkMessage::NewAddress(address), false);
    }
    for query in all_routes() {
        let mut routes = std::pin::pin!(handle.route().get(query).execute());
        while let Some(route) = routes.try_next().await.map_err(failed("list routes"))? {
            into.apply(&RouteNetlinkMessage::NewRoute(route), false);
        }
    }
    Ok(())
}

fn all_routes() -> [RouteMessage; 2] {
    use std::net::{Ipv4Addr, Ipv6Addr};
    [RouteMessageBuilder::<Ipv4Addr>::new().build(), RouteMessageBuilder::<Ipv6Addr>::new().build()]
}
