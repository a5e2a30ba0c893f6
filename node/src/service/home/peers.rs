//! The cached peer records: as many files as strangers can make us keep, and no more.
//!
//! The folder is listed once, at the start. From then on an index in memory knows which record is the oldest, so that making
//! room costs the same however full the folder is.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use protocol::Address;

use super::directory::Directory;
use super::files;

/// The folder with all of them.
pub(super) const FOLDER: &str = "peers.d";

/// Files in the folder. A record has 386 octets at most, so these are 8 MB of content, and 80 MB of a file system with blocks of
/// 4 KiB.
pub const MAX_PEER_FILES: usize = 20_000;
/// A record that was not written for this long is of no use any more.
const LIFE: Duration = Duration::from_secs(30 * 24 * 3600);
/// Files beyond the cap, which an earlier version left, that go at the start; so many more with each record that is written.
const EXCESS_AT_START: usize = 20_000;
const EXCESS_AT_ONCE: usize = 8;

/// Which records there are, in the order in which they were written.
#[derive(Debug)]
struct Index {
    cap: usize,
    /// A number that grows with each write.
    next: u64,
    by_age: BTreeMap<u64, Address>,
    written: BTreeMap<Address, u64>,
    /// Found beyond the cap, the oldest last.
    excess: Vec<Address>,
}

impl Default for Index {
    fn default() -> Self {
        let (by_age, written, excess) = Default::default();
        Index { cap: MAX_PEER_FILES, next: 0, by_age, written, excess }
    }
}

impl Index {
    /// The record of `address` is written now. Returns those that have to go.
    fn write(&mut self, address: Address) -> Vec<Address> {
        self.forget(address);
        self.next += 1;
        self.by_age.insert(self.next, address);
        self.written.insert(address, self.next);
        let mut gone = self.excess.split_off(self.excess.len().saturating_sub(EXCESS_AT_ONCE));
        gone.retain(|old| !self.written.contains_key(old));
        while self.written.len() > self.cap
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            self.written.remove(&oldest);
            gone.push(oldest);
        }
        gone
    }

    fn forget(&mut self, address: Address) {
        if let Some(number) = self.written.remove(&address) {
            self.by_age.remove(&number);
        }
    }
}

/// The peers' records.
#[derive(Debug)]
pub struct PeerFiles {
    directory: Directory,
    index: Mutex<Index>,
}

impl PeerFiles {
    pub(super) fn new(directory: Directory) -> Self {
        PeerFiles { directory, index: Mutex::default() }
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The cached peer records, those written last first, and no more than [`MAX_PEER_FILES`]. What is older than 30 days, or
    /// beyond that number, is deleted.
    pub fn list(&self) -> Vec<Vec<u8>> {
        let now = SystemTime::now();
        let mut found: Vec<(SystemTime, Address)> = self
            .directory
            .list(FOLDER, 10, ".peer")
            .into_iter()
            .filter_map(|(id, name)| {
                let path = self.directory.path(FOLDER).join(name);
                let written = fs::metadata(&path).and_then(|meta| meta.modified()).ok()?;
                if now.duration_since(written).is_ok_and(|age| age > LIFE) {
                    files::remove(&path);
                    return None;
                }
                Some((written, Address::from_u64(id)))
            })
            .collect();
        found.sort_unstable_by(|a, b| b.cmp(a));
        let mut index = self.index();
        let cap = index.cap;
        let mut excess: Vec<Address> =
            found.drain(found.len().min(cap)..).map(|(_, address)| address).collect();
        *index = Index { cap, excess: Vec::new(), ..Index::default() };
        for (_, address) in found.iter().rev() {
            index.write(*address);
        }
        for address in excess.split_off(excess.len().saturating_sub(EXCESS_AT_START)) {
            self.directory.remove(name(address));
        }
        index.excess = excess;
        drop(index);
        found
            .into_iter()
            .filter_map(|(_, address)| self.directory.read(name(address)).ok().flatten())
            .collect()
    }

    /// Keeps a record. The oldest one goes when there are too many.
    pub(super) fn store(&self, address: Address, bytes: &[u8]) -> io::Result<()> {
        let gone = self.index().write(address);
        for old in gone {
            self.directory.remove(name(old));
        }
        let path = self.directory.path(name(address));
        fs::create_dir_all(self.directory.path(FOLDER))?;
        files::write_atomically(&path, bytes, 0o666, files::Durability::Cache)
    }

    /// A record is deleted.
    pub(super) fn delete(&self, address: Address) {
        self.index().forget(address);
        self.directory.remove(name(address));
    }
}

pub(super) fn name(address: Address) -> String {
    format!("{FOLDER}/{address}.peer")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u64) -> Address {
        Address::from_u64(0x10_0000_0000 + number)
    }

    fn kept(peers: &PeerFiles) -> Vec<u64> {
        let mut found: Vec<u64> =
            peers.directory.list(FOLDER, 10, ".peer").into_iter().map(|(id, _)| id & 0xffff_ffff).collect();
        found.sort_unstable();
        found
    }

    fn peers(folder: &tempfile::TempDir, cap: usize) -> PeerFiles {
        let peers = PeerFiles::new(Directory::new(folder.path()));
        peers.index().cap = cap;
        peers
    }

    #[test]
    fn the_oldest_record_goes_while_running() {
        let folder = tempfile::tempdir().unwrap();
        let peers = peers(&folder, 3);
        for number in 1..=3 {
            peers.store(address(number), b"x").unwrap();
        }
        peers.store(address(1), b"x").unwrap();
        peers.store(address(4), b"x").unwrap();
        assert_eq!(kept(&peers), [1, 3, 4], "1 was written again, so 2 was the oldest");
        peers.delete(address(3));
        peers.store(address(5), b"x").unwrap();
        assert_eq!(kept(&peers), [1, 4, 5], "a deleted one makes room");
        for number in 0..10_000 {
            peers.store(address(number), b"x").unwrap();
        }
        assert_eq!(kept(&peers), [9_997, 9_998, 9_999]);
        let index = peers.index();
        assert!(index.written.len() == 3 && index.by_age.len() == 3 && index.excess.is_empty());
    }

    #[test]
    fn the_newest_are_loaded_first_and_the_rest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let peers = peers(&folder, 4);
        let now = SystemTime::now();
        fs::create_dir(peers.directory.path(FOLDER)).unwrap();
        for number in 0..10_u64 {
            let path = peers.directory.path(name(address(number)));
            fs::write(&path, [number as u8]).unwrap();
            // Seven, and everything below it, is older the smaller it is.
            let age = Duration::from_secs(if number == 0 { 31 * 24 * 3600 } else { 100 - number });
            fs::File::options().write(true).open(&path).unwrap().set_modified(now - age).unwrap();
        }
        assert_eq!(peers.list(), [[9], [8], [7], [6]]);
        assert_eq!(kept(&peers), [6, 7, 8, 9]);
        peers.store(address(20), b"x").unwrap();
        assert_eq!(kept(&peers), [7, 8, 9, 20]);
    }

    #[test]
    fn what_an_earlier_version_left_goes_little_by_little() {
        let mut index = Index { cap: 2, excess: (0..20).map(address).collect(), ..Index::default() };
        index.write(address(19));
        let gone = index.write(address(100));
        assert!(gone.len() == EXCESS_AT_ONCE && !gone.contains(&address(19)), "{gone:?}");
        assert_eq!(index.excess.len(), 4);
    }

    #[test]
    fn a_record_that_is_written_again_is_a_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let peers = peers(&folder, 4);
        let path = peers.directory.path(name(address(1)));
        peers.store(address(1), b"x").unwrap();
        let long_ago = SystemTime::now() - Duration::from_secs(29 * 24 * 3600);
        fs::File::options().write(true).open(&path).unwrap().set_modified(long_ago).unwrap();
        peers.store(address(1), b"x").unwrap();
        assert!(fs::metadata(&path).unwrap().modified().unwrap() > long_ago + LIFE / 2);
    }
}
