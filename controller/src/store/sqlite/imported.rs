//! When the files of a zerotier-one controller were taken over, and what has changed in them since.
//!
//! The time lies in the database's `user_version`, in seconds since the epoch: earlier releases leave that alone, and a
//! backup has it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::super::import;
use super::super::{ImportReport, StoreError};
use super::SqliteStore;

impl SqliteStore {
    /// The records of a zerotier-one controller below `dir` that were changed after they were taken over, or after the
    /// database was made.
    ///
    /// # Errors
    /// The folder cannot be read, or the database cannot be used.
    pub fn newer_records(&mut self, dir: &Path) -> Result<Vec<PathBuf>, StoreError> {
        import::newer_records(dir, self.imported()?)
    }

    /// Takes those records over, all or none.
    ///
    /// # Errors
    /// As [`super::super::import_json_dir`].
    pub fn import_newer(&mut self, dir: &Path) -> Result<ImportReport, StoreError> {
        if !dir.join("network").is_dir() {
            return Ok(ImportReport::default());
        }
        let (since, now) = (self.imported()?, SystemTime::now());
        let report = import::import_newer(dir, self, since)?;
        self.note_imported(now)?;
        Ok(report)
    }

    /// Notes that everything up to `at` was taken over.
    pub(super) fn note_imported(&self, at: SystemTime) -> Result<(), StoreError> {
        // Rounded up: what was read a moment ago is not newer.
        let seconds = at.duration_since(UNIX_EPOCH).map_or(1, |since| since.as_secs() + 1);
        let stored = u32::try_from(seconds).unwrap_or(u32::MAX).cast_signed();
        self.connection.pragma_update(None, "user_version", stored).map_err(self.failed("write to"))
    }

    /// When that was. A database of an earlier release does not know, but was made at that time.
    fn imported(&self) -> Result<SystemTime, StoreError> {
        let stored: i32 = self
            .connection
            .query_row("PRAGMA user_version", [], |row| row.get(0))
            .map_err(self.failed("read"))?;
        if stored != 0 {
            return Ok(UNIX_EPOCH + Duration::from_secs(u64::from(stored.cast_unsigned())));
        }
        let made =
            fs::metadata(&self.path).and_then(|meta| meta.created()).unwrap_or_else(|_| SystemTime::now());
        self.note_imported(made)?;
        Ok(made)
    }
}
