//! Records in one SQLite file.

mod imported;

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use protocol::{Address, NetworkId};
use rusqlite::{Connection, OpenFlags, params};
use serde_json::{Map, Value};

use super::{Change, ImportReport, Records, Store, StoreError, import_json_dir};

/// The latest layout this program knows. The table `schema_version` has the one of the database.
pub const SCHEMA_VERSION: i64 = 3;

/// The layout of a database as long as it holds nothing that needs a later one. Every node has a database, and most are no
/// controllers: these go back to an earlier release as they are.
const USUAL_VERSION: i64 = 2;

/// "ztnC", so that `file` and a person can tell what the database is.
const APPLICATION_ID: i32 = 0x7a74_6e43;

/// What version 2 added. Version 1 had no join tokens.
const TOKENS: &str = "
    CREATE TABLE token (
        network TEXT NOT NULL REFERENCES network (id) ON DELETE CASCADE,
        id TEXT NOT NULL,
        record TEXT NOT NULL,
        PRIMARY KEY (network, id)
    ) STRICT, WITHOUT ROWID;
";

/// What version 3 added, with the first record of it. Neither table hangs on a network's record: what they hold outlives it.
const REVOCATIONS: &str = "
    CREATE TABLE revocation (
        network TEXT NOT NULL,
        member TEXT NOT NULL,
        record TEXT NOT NULL,
        PRIMARY KEY (network, member)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE tombstone (
        network TEXT PRIMARY KEY,
        record TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
";

const SCHEMA: &str = "
    CREATE TABLE schema_version (version INTEGER NOT NULL) STRICT;
    CREATE TABLE network (
        id TEXT PRIMARY KEY,
        record TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE member (
        network TEXT NOT NULL REFERENCES network (id) ON DELETE CASCADE,
        address TEXT NOT NULL,
        record TEXT NOT NULL,
        PRIMARY KEY (network, address)
    ) STRICT, WITHOUT ROWID;
";

/// The embedded store: one file (and, while it is open, `-wal`, `-shm` and `.lock` beside it).
///
/// Write-ahead logging, because a commit then is one append; `synchronous=FULL`, because an address must not be
/// handed to a member and forgotten in a power cut: with NORMAL the last commits of a WAL database may be lost.
#[derive(Debug)]
pub struct SqliteStore {
    // Field order matters: the connection closes before the lock is released.
    connection: Connection,
    /// Its layout.
    version: i64,
    path: PathBuf,
    _lock: Lock,
}

impl SqliteStore {
    /// Opens the database, creating an empty one if there is no such file.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] (the file is left as it was), [`StoreError::Newer`], [`StoreError::InUse`], and what
    /// the operating system or SQLite say.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::open_with(path, None).map(|(store, _)| store)
    }

    /// [`SqliteStore::open`], except that a new database starts with the records of a zerotier-one `controller.d`
    /// (see [`import_json_dir`]) when that folder has any. The report says what was imported.
    ///
    /// A crash in the middle leaves no database, so the next start imports again.
    ///
    /// # Errors
    /// As [`SqliteStore::open`], and [`StoreError::Import`].
    pub fn open_importing(path: &Path, json_dir: &Path) -> Result<(Self, Option<ImportReport>), StoreError> {
        Self::open_with(path, Some(json_dir))
    }

    fn open_with(path: &Path, json_dir: Option<&Path>) -> Result<(Self, Option<ImportReport>), StoreError> {
        let lock = lock(path)?;
        let mut report = None;
        if !exists(path)? {
            report = create(path, json_dir.filter(|dir| dir.join("network").is_dir()))?;
        }
        check(path, Others::Absent)?;
        let failed = |source| StoreError::Database { doing: "open", path: path.to_owned(), source };
        let mut connection = Connection::open_with_flags(
            path,
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )
        .map_err(failed)?;
        prepare(&connection).map_err(failed)?;
        let version = upgrade(&mut connection).map_err(failed)?;
        Ok((Self { connection, version, path: path.to_owned(), _lock: lock }, report))
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Copies the database to the new file `to` while it is in use, checks the copy and puts it in place in one
    /// step. See also [`crate::store::backup`], which needs no open store.
    ///
    /// # Errors
    /// [`StoreError`]; `to` is untouched then.
    pub fn backup(&self, to: &Path) -> Result<(), StoreError> {
        copy(&self.connection, &self.path, to)
    }

    fn failed(&self, doing: &'static str) -> impl Fn(rusqlite::Error) -> StoreError + use<> {
        let path = self.path.clone();
        move |source| StoreError::Database { doing, path: path.clone(), source }
    }
}

impl Store for SqliteStore {
    fn load(&mut self) -> Result<Records, StoreError> {
        let failed = self.failed("read");
        let mut records = Records::default();
        let mut query =
            self.connection.prepare("SELECT id, record FROM network ORDER BY id").map_err(&failed)?;
        let mut rows = query.query([]).map_err(&failed)?;
        while let Some(row) = rows.next().map_err(&failed)? {
            let id: String = row.get(0).map_err(&failed)?;
            let record: String = row.get(1).map_err(&failed)?;
            let (id, record) = self.parse::<NetworkId>(&id, &record, "network")?;
            records.networks.push((id, record));
        }
        let mut query = self
            .connection
            .prepare("SELECT network, address, record FROM member ORDER BY network, address")
            .map_err(&failed)?;
        let mut rows = query.query([]).map_err(&failed)?;
        while let Some(row) = rows.next().map_err(&failed)? {
            let network: String = row.get(0).map_err(&failed)?;
            let address: String = row.get(1).map_err(&failed)?;
            let record: String = row.get(2).map_err(&failed)?;
            let network_id = network.parse().map_err(|_| self.damaged(format!("network \"{network}\"")))?;
            let (address, record) = self.parse::<Address>(&address, &record, "member")?;
            records.members.push((network_id, address, record));
        }
        let mut query = self
            .connection
            .prepare("SELECT network, id, record FROM token ORDER BY network, id")
            .map_err(&failed)?;
        let mut rows = query.query([]).map_err(&failed)?;
        while let Some(row) = rows.next().map_err(&failed)? {
            let network: String = row.get(0).map_err(&failed)?;
            let id: String = row.get(1).map_err(&failed)?;
            let record: String = row.get(2).map_err(&failed)?;
            let network_id = network.parse().map_err(|_| self.damaged(format!("network \"{network}\"")))?;
            let (id, record) = self.parse::<String>(&id, &record, "token")?;
            records.tokens.push((network_id, id, record));
        }
        if self.version < 3 {
            return Ok(records);
        }
        let mut query = self
            .connection
            .prepare("SELECT network, member, record FROM revocation ORDER BY network, member")
            .map_err(&failed)?;
        let mut rows = query.query([]).map_err(&failed)?;
        while let Some(row) = rows.next().map_err(&failed)? {
            let network: String = row.get(0).map_err(&failed)?;
            let member: String = row.get(1).map_err(&failed)?;
            let record: String = row.get(2).map_err(&failed)?;
            let network_id = network.parse().map_err(|_| self.damaged(format!("network \"{network}\"")))?;
            let (member, record) = self.parse::<Address>(&member, &record, "revocation")?;
            records.revocations.push((network_id, member, record));
        }
        let mut query = self
            .connection
            .prepare("SELECT network, record FROM tombstone ORDER BY network")
            .map_err(&failed)?;
        let mut rows = query.query([]).map_err(&failed)?;
        while let Some(row) = rows.next().map_err(&failed)? {
            let network: String = row.get(0).map_err(&failed)?;
            let record: String = row.get(1).map_err(&failed)?;
            let (network, record) = self.parse::<NetworkId>(&network, &record, "deleted network")?;
            records.tombstones.push((network, record));
        }
        Ok(records)
    }

    fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        let failed = self.failed("write to");
        // Dropping the transaction on an early return rolls everything back.
        let transaction = self.connection.transaction().map_err(&failed)?;
        let mut version = self.version;
        for change in changes {
            if version < 3 {
                match change {
                    Change::PutRevocation { .. } | Change::PutTombstone { .. } => {
                        transaction.execute_batch(REVOCATIONS).map_err(&failed)?;
                        set_version(&transaction, 3).map_err(&failed)?;
                        version = 3;
                    }
                    // There is none.
                    Change::DeleteRevocation { .. } | Change::DeleteTombstone { .. } => continue,
                    _ => {}
                }
            }
            apply(&transaction, change).map_err(&failed)?;
        }
        transaction.commit().map_err(&failed)?;
        self.version = version;
        Ok(())
    }
}

impl SqliteStore {
    fn damaged(&self, detail: String) -> StoreError {
        StoreError::Damaged { path: self.path.clone(), detail }
    }

    fn parse<T: std::str::FromStr>(
        &self,
        id: &str,
        record: &str,
        kind: &str,
    ) -> Result<(T, Map<String, Value>), StoreError> {
        let id_value = id.parse().map_err(|_| self.damaged(format!("{kind} ID \"{id}\"")))?;
        match serde_json::from_str(record) {
            Ok(Value::Object(record)) => Ok((id_value, record)),
            Ok(_) => Err(self.damaged(format!("record of {kind} {id} is no object"))),
            Err(error) => Err(self.damaged(format!("record of {kind} {id}: {error}"))),
        }
    }
}

/// Puts the backup `from` in place of the database `path`. The replaced database is kept beside it, its name
/// extended by `.replaced`. Whoever uses the database must be stopped first.
///
/// # Errors
/// [`StoreError`]: the backup is missing, damaged or newer, or the database is in use; nothing has changed then.
pub fn restore(from: &Path, path: &Path) -> Result<(), StoreError> {
    if !exists(from)? {
        return Err(StoreError::Missing { path: from.to_owned() });
    }
    check(from, Others::Absent)?;
    let _lock = lock(path)?;
    let backup = open_read_only(from, Others::Absent)?;
    let staged = beside(path, ".restored");
    remove_database(&staged)?;
    copy(&backup, from, &staged)?;
    drop(backup);
    let io = |doing, at: &Path| {
        let at = at.to_owned();
        move |source| StoreError::Io { doing, path: at, source }
    };
    if exists(path)? {
        let kept = beside(path, ".replaced");
        remove_database(&kept)?;
        // The log belongs to the old file and must not be seen beside the new one: it goes into the old file, or,
        // when that is too damaged, moves along with it.
        if check(path, Others::Absent).is_ok() {
            let failed = |source| StoreError::Database { doing: "close", path: path.to_owned(), source };
            let old = Connection::open(path).map_err(failed)?;
            old.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).map_err(failed)?;
        }
        for suffix in ["-wal", "-shm"] {
            let log = beside(path, suffix);
            if exists(&log)? {
                fs::rename(&log, beside(&kept, suffix)).map_err(io("move", &log))?;
            }
        }
        // A hard link keeps the old file under its new name while the rename below replaces the old one in one step.
        fs::hard_link(path, &kept).map_err(io("keep", path))?;
    }
    fs::rename(&staged, path).map_err(io("put in place", path))?;
    sync_folder(path)
}

/// Copies the database at `path`, also while a daemon uses it, to the new file `to`.
///
/// # Errors
/// [`StoreError`]; `to` is untouched then.
pub fn backup(path: &Path, to: &Path) -> Result<(), StoreError> {
    if !exists(path)? {
        return Err(StoreError::Missing { path: path.to_owned() });
    }
    // Whoever holds the lock keeps others out; who cannot get it reads beside the daemon that has it.
    let lock = lock(path).ok();
    let others = if lock.is_some() { Others::Absent } else { Others::Possible };
    check(path, others)?;
    copy(&open_read_only(path, others)?, path, to)
}

/// Copies an open database into a checked, self-contained file `to`.
fn copy(from: &Connection, from_path: &Path, to: &Path) -> Result<(), StoreError> {
    let staged = beside(to, ".part");
    remove_database(&staged)?;
    let failed = |source| StoreError::Database { doing: "back up", path: from_path.to_owned(), source };
    let done = (|| {
        private_file(&staged)?;
        let mut target = Connection::open(&staged).map_err(failed)?;
        rusqlite::backup::Backup::new(from, &mut target)
            .and_then(|copying| copying.run_to_completion(1024, Duration::ZERO, None))
            .map_err(failed)?;
        // One file without a log beside it is easier to carry around.
        target.pragma_update(None, "journal_mode", "DELETE").map_err(failed)?;
        drop(target);
        check(&staged, Others::Absent)?;
        let io = |source| StoreError::Io { doing: "write", path: to.to_owned(), source };
        File::open(&staged).and_then(|file| file.sync_all()).map_err(io)?;
        fs::rename(&staged, to).map_err(io)?;
        sync_folder(to)
    })();
    if done.is_err() {
        // The error that matters is the first one.
        let _ = remove_database(&staged);
    }
    done
}

/// Makes a new database under a temporary name and puts it in place when it is complete: a file at the final name
/// is therefore never a half-made one, and an empty file there is damage, not a beginning.
fn create(path: &Path, json_dir: Option<&Path>) -> Result<Option<ImportReport>, StoreError> {
    let staged = beside(path, ".new");
    remove_database(&staged)?;
    // A log left behind by a database that was moved away must not be replayed into the new one.
    let log = beside(path, "-wal");
    if exists(&log)? {
        fs::rename(&log, beside(path, "-wal.orphan")).map_err(|source| StoreError::Io {
            doing: "move away",
            path: log.clone(),
            source,
        })?;
    }
    remove(&beside(path, "-shm"))?;
    let failed = |source| StoreError::Database { doing: "create", path: path.to_owned(), source };
    private_file(&staged)?;
    let connection = Connection::open(&staged).map_err(failed)?;
    connection.pragma_update(None, "application_id", APPLICATION_ID).map_err(failed)?;
    connection.execute_batch(SCHEMA).map_err(failed)?;
    connection.execute_batch(TOKENS).map_err(failed)?;
    connection.execute("INSERT INTO schema_version VALUES (?1)", [USUAL_VERSION]).map_err(failed)?;
    prepare(&connection).map_err(failed)?;
    let mut store = SqliteStore {
        connection,
        version: USUAL_VERSION,
        path: staged.clone(),
        // Nobody else looks for the temporary name: the lock of the final one is held by the caller.
        _lock: Lock(File::open(&staged).map_err(|source| StoreError::Io {
            doing: "open",
            path: staged.clone(),
            source,
        })?),
    };
    let report = match json_dir {
        Some(dir) => match import_json_dir(dir, &mut store) {
            Ok(report) => Some(report),
            Err(error) => {
                drop(store);
                let _ = remove_database(&staged);
                return Err(error);
            }
        },
        None => None,
    };
    store.note_imported(SystemTime::now())?;
    // Closing the last connection empties the log into the file.
    drop(store);
    let io = |source| StoreError::Io { doing: "create", path: path.to_owned(), source };
    File::open(&staged).and_then(|file| file.sync_all()).map_err(io)?;
    fs::rename(&staged, path).map_err(io)?;
    sync_folder(path)?;
    Ok(report)
}

/// Settings of every connection that writes.
fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(Duration::from_secs(5))?;
    // The pragma answers with the mode in force.
    connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get::<_, String>(0))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)
}

/// Brings a database of an earlier layout to the usual one, in one step: it is as before or wholly new. The layout that it has then.
fn upgrade(connection: &mut Connection) -> rusqlite::Result<i64> {
    let transaction = connection.transaction()?;
    let version: i64 =
        transaction.query_row("SELECT max(version) FROM schema_version", [], |row| row.get(0))?;
    if version < 2 {
        transaction.execute_batch(TOKENS)?;
    }
    if version < USUAL_VERSION {
        set_version(&transaction, USUAL_VERSION)?;
    }
    transaction.commit()?;
    Ok(version.max(USUAL_VERSION))
}

fn set_version(connection: &Connection, version: i64) -> rusqlite::Result<()> {
    connection.execute("UPDATE schema_version SET version = ?1", [version]).map(|_| ())
}

fn apply(transaction: &Connection, change: &Change) -> rusqlite::Result<()> {
    match change {
        Change::PutNetwork { network, record } => transaction
            .prepare_cached(
                "INSERT INTO network (id, record) VALUES (?1, ?2)
                 ON CONFLICT (id) DO UPDATE SET record = excluded.record",
            )?
            .execute(params![network.to_string(), record.to_string()])?,
        Change::PutMember { network, member, record } => transaction
            .prepare_cached(
                "INSERT INTO member (network, address, record) VALUES (?1, ?2, ?3)
                 ON CONFLICT (network, address) DO UPDATE SET record = excluded.record",
            )?
            .execute(params![network.to_string(), member.to_string(), record.to_string()])?,
        Change::PutToken { network, token, record } => transaction
            .prepare_cached(
                "INSERT INTO token (network, id, record) VALUES (?1, ?2, ?3)
                 ON CONFLICT (network, id) DO UPDATE SET record = excluded.record",
            )?
            .execute(params![network.to_string(), token, record.to_string()])?,
        Change::PutRevocation { network, member, record } => transaction
            .prepare_cached(
                "INSERT INTO revocation (network, member, record) VALUES (?1, ?2, ?3)
                 ON CONFLICT (network, member) DO UPDATE SET record = excluded.record",
            )?
            .execute(params![network.to_string(), member.to_string(), record.to_string()])?,
        Change::DeleteRevocation { network, member } => transaction
            .prepare_cached("DELETE FROM revocation WHERE network = ?1 AND member = ?2")?
            .execute([network.to_string(), member.to_string()])?,
        Change::PutTombstone { network, record } => transaction
            .prepare_cached(
                "INSERT INTO tombstone (network, record) VALUES (?1, ?2)
                 ON CONFLICT (network) DO UPDATE SET record = excluded.record",
            )?
            .execute(params![network.to_string(), record.to_string()])?,
        Change::DeleteTombstone { network } => transaction
            .prepare_cached("DELETE FROM tombstone WHERE network = ?1")?
            .execute([network.to_string()])?,
        Change::DeleteToken { network, token } => transaction
            .prepare_cached("DELETE FROM token WHERE network = ?1 AND id = ?2")?
            .execute([&network.to_string(), token])?,
        // Members and tokens go with their network (foreign key).
        Change::DeleteNetwork { network } => {
            transaction.prepare_cached("DELETE FROM network WHERE id = ?1")?.execute([network.to_string()])?
        }
        Change::DeleteMember { network, member } => transaction
            .prepare_cached("DELETE FROM member WHERE network = ?1 AND address = ?2")?
            .execute([network.to_string(), member.to_string()])?,
    };
    Ok(())
}

/// Looks at a database without changing a byte of it: header, integrity, schema version.
fn check(path: &Path, others: Others) -> Result<(), StoreError> {
    let damaged = |detail: String| StoreError::Damaged { path: path.to_owned(), detail };
    // Closing a file drops every lock this process has on it, those of an open connection included: the file itself
    // is only looked at when there is none.
    if others == Others::Absent {
        check_file(path)?;
    }
    let connection = open_read_only(path, others)?;
    let verdict = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0))
        .map_err(|error| classify(path, error))?;
    if verdict != "ok" {
        return Err(damaged(verdict));
    }
    let version: i64 = connection
        .query_row("SELECT max(version) FROM schema_version", [], |row| row.get(0))
        .map_err(|error| match error {
            rusqlite::Error::SqliteFailure(..) | rusqlite::Error::InvalidColumnType(..) => {
                damaged(format!("no schema version: {error}"))
            }
            other => classify(path, other),
        })?;
    if version > SCHEMA_VERSION {
        return Err(StoreError::Newer { path: path.to_owned(), found: version, known: SCHEMA_VERSION });
    }
    if version < 1 {
        return Err(damaged(format!("schema version {version}")));
    }
    Ok(())
}

/// Header and size, which tell a foreign or shortened file from a damaged database.
fn check_file(path: &Path) -> Result<(), StoreError> {
    let damaged = |detail: &str| StoreError::Damaged { path: path.to_owned(), detail: detail.to_owned() };
    let io = |doing| move |source| StoreError::Io { doing, path: path.to_owned(), source };
    let mut header = [0; 100];
    let mut file = File::open(path).map_err(io("open"))?;
    match file.read_exact(&mut header) {
        Ok(()) if header.starts_with(b"SQLite format 3\0") => {}
        Ok(()) => return Err(damaged("it is no SQLite database")),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Err(damaged("it is cut short")),
        Err(source) => return Err(io("read")(source)),
    }
    // SQLite reads missing bytes at the end of the last page as zeroes. The size is only final without a log.
    let length = file.metadata().map_err(io("look at"))?.len();
    if !exists(&beside(path, "-wal"))? && length < announced_length(&header) {
        return Err(damaged("it is cut short"));
    }
    Ok(())
}

/// File size according to the header: page size (1 means 65536) times number of pages. Source: the SQLite file format.
fn announced_length(header: &[u8; 100]) -> u64 {
    let page = match u16::from_be_bytes([header[16], header[17]]) {
        1 => 65536,
        size => u64::from(size),
    };
    page * u64::from(u32::from_be_bytes([header[28], header[29], header[30], header[31]]))
}

/// Whether somebody else may be writing to a database.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Others {
    Possible,
    Absent,
}

fn open_read_only(path: &Path, others: Others) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = if others == Others::Absent && !exists(&beside(path, "-wal"))? {
        // Nobody writes and there is no log to read: then no side files need to appear either.
        Connection::open_with_flags(immutable_uri(path), flags | OpenFlags::SQLITE_OPEN_URI)
    } else {
        Connection::open_with_flags(path, flags)
    };
    let connection = connection.map_err(|error| classify(path, error))?;
    connection.busy_timeout(Duration::from_secs(5)).map_err(|error| classify(path, error))?;
    Ok(connection)
}

/// `file:` URI of a path, every byte with a meaning there escaped.
fn immutable_uri(path: &Path) -> String {
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_encoded_bytes() {
        if byte.is_ascii_alphanumeric() || b"/._-".contains(byte) {
            uri.push(char::from(*byte));
        } else {
            uri.push_str(&format!("%{byte:02x}"));
        }
    }
    uri.push_str("?immutable=1");
    uri
}

/// Tells damage from trouble around the file.
fn classify(path: &Path, error: rusqlite::Error) -> StoreError {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    match error.sqlite_error_code() {
        Some(DatabaseCorrupt | NotADatabase) => {
            StoreError::Damaged { path: path.to_owned(), detail: error.to_string() }
        }
        _ => StoreError::Database { doing: "read", path: path.to_owned(), source: error },
    }
}

/// A held lock.
#[derive(Debug)]
struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing is not enough when a child process that is just being started still holds a copy of the descriptor.
        let _ = self.0.unlock();
    }
}

/// Takes the lock beside the database: two controllers over one file would each hand out the same addresses.
fn lock(path: &Path) -> Result<Lock, StoreError> {
    let at = beside(path, ".lock");
    let io = |source| StoreError::Io { doing: "lock", path: at.clone(), source };
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&at).map_err(io)?;
    match file.try_lock() {
        Ok(()) => Ok(Lock(file)),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => Err(io(source)),
    }
}

/// Creates the empty file of a new database. Records hold join tokens: it is for its owner only.
fn private_file(path: &Path) -> Result<(), StoreError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(_) => Ok(()),
        Err(source) => Err(StoreError::Io { doing: "create", path: path.to_owned(), source }),
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn exists(path: &Path) -> Result<bool, StoreError> {
    path.try_exists().map_err(|source| StoreError::Io { doing: "look at", path: path.to_owned(), source })
}

fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != ErrorKind::NotFound => {
            Err(StoreError::Io { doing: "remove", path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

/// Removes a database that is ours to remove, with its log.
fn remove_database(path: &Path) -> Result<(), StoreError> {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        remove(&beside(path, suffix))?;
    }
    Ok(())
}

/// Makes a rename survive a power cut.
fn sync_folder(path: &Path) -> Result<(), StoreError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|source| StoreError::Io {
        doing: "write folder",
        path: folder.to_owned(),
        source,
    })
}
