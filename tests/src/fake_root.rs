//! A root that says whatever a test wants, sealed with the keys of a real one.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use lab::Namespace;
use protocol::SecretIdentity;
use protocol::packet::{self, SessionKeys, Suite};
use protocol::verb::Verb;
use protocol::verbs::{Hello, error_code};

/// Answers every HELLO with ERROR(IDENTITY_COLLISION) until it is dropped.
#[derive(Debug)]
pub struct FakeRoot {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl FakeRoot {
    /// Takes the place of a root that does not run: its identity is in `home`, its address is `ip`.
    ///
    /// # Errors
    /// The identity cannot be read, or the address is in use.
    pub fn start(namespace: &Namespace, ip: Ipv4Addr, home: &Path) -> Result<Self> {
        let secret = std::fs::read_to_string(home.join("identity.secret"))?;
        let secret = SecretIdentity::parse(secret.trim()).context("the root's identity")?;
        let socket = namespace.inside(|| UdpSocket::bind((ip, lab::daemon::PORT)))??;
        socket.set_read_timeout(Some(Duration::from_millis(50)))?;
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (ended, count) = (Arc::clone(&stop), Arc::clone(&answered));
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 2048];
            while !ended.load(Ordering::Relaxed) {
                let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
                if let Some(answer) = collision(&secret, &buffer[..length]) {
                    count.fetch_add(1, Ordering::Relaxed);
                    send(&socket, &answer, from);
                }
            }
        });
        Ok(Self { stop, answered, thread: Some(thread) })
    }

    /// HELLOs answered so far.
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }
}

impl Drop for FakeRoot {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It ends in 50 ms; a panic in it was printed.
            let _ = thread.join();
        }
    }
}

fn send(socket: &UdpSocket, answer: &[u8], to: SocketAddr) {
    // What is lost is asked for again.
    let _ = socket.send_to(answer, to);
}

/// The answer to a HELLO: "that address is another node's"; `None` for any other datagram.
fn collision(secret: &SecretIdentity, datagram: &[u8]) -> Option<Vec<u8>> {
    if datagram.len() <= packet::HEADER_LEN || packet::verb(datagram) != Some(Verb::Hello) {
        return None;
    }
    let hello = Hello::parse_start(&datagram[packet::HEADER_LEN..]).ok()?;
    let keys = SessionKeys::new(&*secret.agree(&hello.identity)?);
    let mut answer = Vec::new();
    let id = packet::id(datagram);
    packet::start(&mut answer, id ^ 1, hello.identity.address, secret.address(), Verb::Error);
    answer.push(Verb::Hello as u8);
    answer.extend_from_slice(&id.to_be_bytes());
    answer.push(error_code::IDENTITY_COLLISION);
    keys.armor(&mut answer, Suite::Salsa);
    Some(answer)
}
