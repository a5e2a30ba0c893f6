//! One TCP stream that goes on while something else changes: how much has arrived so far.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::socket::{setsockopt, sockopt};

use crate::system::System;

/// A write or read that takes so long has failed.
const STALL: Duration = Duration::from_secs(10);
/// Octets of one write and one read, as iperf3's.
const BLOCK: usize = 128 << 10;

/// A running stream from the first side to the second; ends with this value.
pub(crate) struct Stream {
    arrived: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Stream {
    /// Connects and begins to send.
    ///
    /// # Errors
    /// When the two ends do not reach each other.
    pub(crate) fn start(system: &System) -> Result<Self> {
        let [from, to] = &system.sides;
        let listener = to.namespace.inside(|| TcpListener::bind((to.address, 0)))??;
        let target = listener.local_addr()?;
        let mut sender = from.namespace.inside(|| TcpStream::connect_timeout(&target, STALL))??;
        setsockopt(&sender, sockopt::TcpCongestion, &"cubic".into()).context("cubic")?;
        sender.set_write_timeout(Some(STALL))?;
        let (mut receiver, _) = listener.accept()?;
        receiver.set_read_timeout(Some(STALL))?;
        let (arrived, over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, end) = (Arc::clone(&arrived), Arc::clone(&over));
        let sending = std::thread::spawn(move || {
            let block = vec![0x55; BLOCK];
            // A stream that breaks carries nothing more, which who watches notices.
            while !end.load(Ordering::Acquire) && sender.write_all(&block).is_ok() {}
        });
        let receiving = std::thread::spawn(move || {
            let mut block = vec![0; BLOCK];
            while let Ok(length @ 1..) = receiver.read(&mut block) {
                count.fetch_add(length as u64, Ordering::AcqRel);
            }
        });
        Ok(Self { arrived, over, threads: vec![sending, receiving] })
    }

    /// Octets that have arrived.
    pub(crate) fn octets(&self) -> u64 {
        self.arrived.load(Ordering::Acquire)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        for thread in self.threads.drain(..) {
            // It has nothing to say.
            let _ = thread.join();
        }
    }
}
