//! Checks of identities on a thread of its own: the memory-hard hash that binds an address to a key takes some 20 ms, and must not
//! delay packets.
//!
//! What was found genuine once is genuine for ever, so it is remembered on disk: a root that starts again with ten thousand records
//! of peers does not spend minutes on hashes. The file `identities.verified` holds eight octets that name the format, then 32 octets
//! for each identity: the beginning of the SHA-384 of address and key. It is only a memory; without it everything is computed again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use protocol::Identity;

use super::engine::EngineHandle;
use super::home::files::{Durability, write_atomically};
use crate::core::event::Urgency;

/// Name of the file in the home.
pub const VERIFIED_FILE: &str = "identities.verified";
/// Begins the file.
const FORMAT: &[u8; 8] = b"ztnodeV1";
/// Identities remembered; at the limit the older half goes.
const MAX_VERIFIED: usize = 65_536;
/// Identities that may wait, of each urgency. Those restored from records are as many as there may be peers.
const MAX_WAITING: usize = 1_024;
const MAX_RESTORED: usize = crate::core::limits::MAX_PEERS;

type Digest = [u8; 32];

fn digest(identity: &Identity) -> Digest {
    let mut short = [0; 32];
    short.copy_from_slice(&identity.hash384()[..32]);
    short
}

/// What was found genuine.
#[derive(Debug)]
struct Verified {
    path: PathBuf,
    known: BTreeSet<Digest>,
    /// In the order in which they were found.
    order: Vec<Digest>,
    file: Option<File>,
}

impl Verified {
    /// Reads what an earlier run left; a damaged file is begun anew.
    fn open(path: &Path) -> Self {
        let bytes = fs::read(path).unwrap_or_default();
        let mut order: Vec<Digest> = Vec::new();
        if let Some(rest) = bytes.strip_prefix(FORMAT) {
            // A record cut off by a crash is left out.
            order.extend(rest.as_chunks::<32>().0.iter().rev().take(MAX_VERIFIED).rev());
        }
        let mut verified =
            Self { path: path.to_owned(), known: order.iter().copied().collect(), order, file: None };
        if bytes.len() != FORMAT.len() + verified.order.len() * 32 {
            verified.rewrite();
        }
        verified
    }

    fn contains(&self, digest: &Digest) -> bool {
        self.known.contains(digest)
    }

    fn insert(&mut self, digest: Digest) {
        if !self.known.insert(digest) {
            return;
        }
        self.order.push(digest);
        if self.order.len() > MAX_VERIFIED {
            for old in self.order.drain(..MAX_VERIFIED / 2) {
                self.known.remove(&old);
            }
            self.rewrite();
        } else if let Err(error) = self.append(&digest) {
            self.file = None;
            tracing::debug!(path = %self.path.display(), %error, "cannot remember that an identity is genuine");
        }
    }

    fn append(&mut self, digest: &Digest) -> io::Result<()> {
        if self.file.is_none() {
            self.file = Some(OpenOptions::new().append(true).mode(0o600).open(&self.path)?);
        }
        self.file.as_mut().map_or(Ok(()), |file| file.write_all(digest))
    }

    fn rewrite(&mut self) {
        self.file = None;
        let mut bytes = FORMAT.to_vec();
        self.order.iter().for_each(|digest| bytes.extend_from_slice(digest));
        if let Err(error) = write_atomically(&self.path, &bytes, 0o600, Durability::Cache) {
            tracing::debug!(path = %self.path.display(), %error, "cannot remember which identities are genuine");
        }
    }
}

#[derive(Debug, Default)]
struct Waiting {
    queue: BTreeMap<(Urgency, u64), Identity>,
    /// Of each urgency how many.
    counts: BTreeMap<Urgency, usize>,
    /// Where each identity that waits stands.
    places: BTreeMap<Digest, (Urgency, u64)>,
    serial: u64,
    stop: bool,
}

impl Waiting {
    fn push(&mut self, identity: Identity, urgency: Urgency) {
        let digest = digest(&identity);
        if let Some(place) = self.places.get(&digest).copied() {
            if place.0 <= urgency {
                return;
            }
            self.take(place);
        }
        let most = if urgency == Urgency::Restored { MAX_RESTORED } else { MAX_WAITING };
        let count = self.counts.entry(urgency).or_default();
        if *count >= most {
            return;
        }
        *count += 1;
        self.serial += 1;
        self.places.insert(digest, (urgency, self.serial));
        self.queue.insert((urgency, self.serial), identity);
    }

    fn take(&mut self, place: (Urgency, u64)) -> Option<Identity> {
        let identity = self.queue.remove(&place)?;
        self.places.remove(&digest(&identity));
        if let Some(count) = self.counts.get_mut(&place.0) {
            *count -= 1;
        }
        Some(identity)
    }

    fn pop(&mut self) -> Option<Identity> {
        let place = *self.queue.keys().next()?;
        self.take(place)
    }
}

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    wake: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Access to the thread; clones share it.
#[derive(Clone, Debug, Default)]
pub struct IdentityChecks(Arc<Shared>);

impl IdentityChecks {
    /// Has an identity checked. Dropped when too many of its urgency wait.
    pub fn check(&self, identity: Identity, urgency: Urgency) {
        self.0.lock().push(identity, urgency);
        self.0.wake.notify_one();
    }

    /// Ends the thread.
    pub fn stop(&self) {
        self.0.lock().stop = true;
        self.0.wake.notify_one();
    }

    /// Starts the thread, which tells the core what it finds out.
    ///
    /// # Errors
    /// The operating system gives no thread.
    pub fn run(&self, verified: &Path, engine: EngineHandle) -> io::Result<JoinHandle<()>> {
        let shared = self.0.clone();
        let mut verified = Verified::open(verified);
        std::thread::Builder::new().name("identities".into()).spawn(move || {
            while let Some(identity) = next(&shared) {
                let digest = digest(&identity);
                let valid = verified.contains(&digest) || identity.locally_valid();
                if valid {
                    verified.insert(digest);
                }
                let told = engine.post(move |core, now| core.identity_checked(now, &identity, valid));
                if told.is_err() {
                    return;
                }
            }
        })
    }
}

fn next(shared: &Shared) -> Option<Identity> {
    let mut waiting = shared.lock();
    loop {
        if waiting.stop {
            return None;
        }
        if let Some(identity) = waiting.pop() {
            return Some(identity);
        }
        waiting = shared.wake.wait(waiting).unwrap_or_else(PoisonError::into_inner);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(index: usize) -> Identity {
        let text = include_str!("../../tests/fixtures/identities.txt");
        let secret = protocol::SecretIdentity::parse(text.lines().nth(index).unwrap()).unwrap();
        secret.identity().clone()
    }

    #[test]
    fn the_most_urgent_goes_first_and_nobody_waits_twice() {
        let mut waiting = Waiting::default();
        waiting.push(identity(0), Urgency::Restored);
        waiting.push(identity(1), Urgency::Newcomer);
        waiting.push(identity(2), Urgency::Awaited);
        waiting.push(identity(1), Urgency::Told);
        waiting.push(identity(0), Urgency::Told);
        let order: Vec<Identity> = std::iter::from_fn(|| waiting.pop()).collect();
        assert_eq!(order, [identity(2), identity(1), identity(0)]);
        assert!(waiting.places.is_empty() && waiting.counts.values().all(|n| *n == 0));
    }

    #[test]
    fn newcomers_do_not_push_out_those_who_are_awaited() {
        let mut waiting = Waiting::default();
        let mut made_up = identity(0);
        for n in 0..2 * MAX_WAITING as u64 {
            made_up.address = protocol::Address::from_u64(1 + n);
            waiting.push(made_up.clone(), Urgency::Newcomer);
        }
        waiting.push(identity(1), Urgency::Awaited);
        assert_eq!(waiting.pop(), Some(identity(1)));
        assert_eq!(waiting.queue.len(), MAX_WAITING);
    }

    #[test]
    fn what_was_found_is_known_to_the_next_run_and_a_cut_file_is_mended() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(VERIFIED_FILE);
        let (x, y) = (digest(&identity(0)), digest(&identity(1)));
        let mut verified = Verified::open(&path);
        verified.insert(x);
        verified.insert(y);
        verified.insert(y);
        drop(verified);
        assert_eq!(fs::metadata(&path).unwrap().len(), 8 + 64);
        OpenOptions::new().write(true).open(&path).unwrap().set_len(8 + 50).unwrap();
        let mut again = Verified::open(&path);
        assert!(again.contains(&x) && !again.contains(&y));
        again.insert(y);
        drop(again);
        assert!(Verified::open(&path).contains(&y));
        fs::write(&path, b"something else").unwrap();
        assert!(!Verified::open(&path).contains(&x));
        assert_eq!(fs::read(&path).unwrap(), FORMAT);
    }

    #[test]
    fn the_memory_is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let mut verified = Verified::open(&folder.path().join(VERIFIED_FILE));
        for n in 0..MAX_VERIFIED as u64 + 1 {
            let mut digest = [0; 32];
            digest[..8].copy_from_slice(&n.to_be_bytes());
            verified.insert(digest);
        }
        assert_eq!(verified.order.len(), MAX_VERIFIED / 2 + 1);
        assert_eq!(fs::metadata(&verified.path).unwrap().len(), 8 + 32 * (MAX_VERIFIED as u64 / 2 + 1));
    }
}
