//! A datagram from the wire, through the underlay, to whom its verb belongs.

use std::net::SocketAddr;

use protocol::verb::Verb;
use protocol::verbs::{self, OkHeader, UserMessage, error_code};
use protocol::{Address, Result, Time};

use super::Core;
use crate::dataplane::ecn;
use crate::link::path::SocketId;
use crate::link::{Handled, Incoming, Opened, Received};

impl Core {
    /// Takes in one UDP datagram. The buffer is used as scratch space.
    pub fn datagram(&mut self, now: Time, socket: SocketId, remote: SocketAddr, data: &mut [u8]) {
        self.datagrams(now, socket, remote, data, data.len());
    }

    /// Takes in datagrams of one sender that arrived together: they lie end to end, each of `size` bytes, of which only the
    /// last may have fewer. The buffer is used as scratch space. It is the same as one after the other, but cheaper.
    pub fn datagrams(
        &mut self,
        now: Time,
        socket: SocketId,
        remote: SocketAddr,
        data: &mut [u8],
        size: usize,
    ) {
        self.marked_datagrams(now, socket, remote, data, size, ecn::NOT_CAPABLE);
    }

    /// [`Self::datagrams`] that arrived with these ECN bits, which go on to the frames in them.
    pub fn marked_datagrams(
        &mut self,
        now: Time,
        socket: SocketId,
        remote: SocketAddr,
        data: &mut [u8],
        size: usize,
        ecn: u8,
    ) {
        let via = self.underlay.arrive(socket, remote, data.len());
        let mut rest = data;
        while !rest.is_empty() {
            if let Some(sealed) = self.underlay.sort(now, via, ecn, &mut rest, size) {
                let received = self.underlay.open(now, sealed);
                self.receive(now, received);
            }
        }
        self.underlay.arrived();
        self.after_contact(now);
    }

    /// Tries again to handle what waits for the identity or credentials of `peer`, or of anybody.
    pub(super) fn retry_parked(&mut self, now: Time, peer: Option<Address>) {
        for waiting in self.underlay.parked.take(now, peer) {
            let received = self.underlay.open_again(now, waiting);
            self.receive(now, received);
        }
    }

    #[inline]
    fn receive(&mut self, now: Time, received: Received<'_>) {
        match received {
            Received::Nothing => {}
            Received::Greeted(peer, via) => {
                self.switch.greeted(&mut self.underlay.link, now, peer, Some(via));
            }
            Received::Opened(opened) => self.dispatch(now, opened),
        }
    }

    #[inline]
    fn dispatch(&mut self, now: Time, opened: Opened<'_>) {
        let verb = opened.verb();
        let incoming = self.underlay.incoming(now, &opened);
        let handled = match verb {
            None => Ok(Handled::Credit),
            Some(verb) => match self.switch.handle(&mut self.underlay.link, now, verb, &incoming) {
                Some(handled) => handled,
                None => self.handle(now, verb, &incoming),
            },
        };
        if verb == Some(Verb::NetworkCredentials) && handled == Ok(Handled::Trust) && !incoming.waited {
            // What it sent before its certificate is good now.
            self.retry_parked(now, Some(incoming.source));
        }
        if self.underlay.settle(now, verb, &incoming, handled) {
            self.underlay.let_wait(now, opened);
        } else {
            self.underlay.done(opened);
        }
    }

    /// Handles a packet whose verb concerns VL1, or both machines.
    fn handle(&mut self, now: Time, verb: Verb, incoming: &Incoming<'_>) -> Result<Handled> {
        match verb {
            Verb::Ok => self.ok(now, incoming),
            Verb::Error => self.error(now, incoming),
            Verb::UserMessage => self.message(now, incoming),
            _ => self.underlay.handle(now, verb, incoming),
        }
    }

    fn ok(&mut self, now: Time, incoming: &Incoming<'_>) -> Result<Handled> {
        let ok = OkHeader::parse(incoming.payload)?;
        let Some(sent_at) =
            self.underlay.link.expected.sent_at(now, ok.in_re_id, incoming.source, ok.in_re_verb)
        else {
            return Ok(Handled::Ignore);
        };
        self.switch.has_answered(&mut self.underlay.link, incoming.source);
        let handled = self.underlay.handle_ok(now, incoming, &ok, sent_at)?;
        if let Some(in_re) = Verb::from_byte(ok.in_re_verb) {
            self.switch.handle_ok(&mut self.underlay.link, now, incoming, in_re, &ok)?;
        }
        Ok(handled)
    }

    fn error(&mut self, now: Time, incoming: &Incoming<'_>) -> Result<Handled> {
        let error = verbs::Error::parse(incoming.payload)?;
        // To send credentials once more changes nothing.
        if !self.underlay.is_awaited(now, incoming, &error)
            && error.code != error_code::NEED_MEMBERSHIP_CERTIFICATE
        {
            return Ok(Handled::Ignore);
        }
        if error.code == error_code::IDENTITY_COLLISION {
            self.underlay.collision_reported(now, incoming.source, &error);
        } else if let Some(network) = error.network {
            self.switch.handle_error(&mut self.underlay.link, now, incoming, network, &error)?;
        }
        Ok(Handled::Credit)
    }

    fn message(&mut self, now: Time, incoming: &Incoming<'_>) -> Result<Handled> {
        let Ok(message) = UserMessage::parse(incoming.payload) else { return Ok(Handled::Credit) };
        match self.switch.handle_message(&mut self.underlay.link, now, incoming, &message) {
            Some(handled) => handled,
            None => {
                self.underlay.handle_message(now, incoming, &message);
                Ok(Handled::Credit)
            }
        }
    }
}
