//! Taking over the records of a zerotier-one controller: a folder of JSON files.
//!
//! Specification: VL2 controller, storage (file backend).

#[cfg(feature = "sqlite")]
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;
#[cfg(feature = "sqlite")]
use std::time::SystemTime;

use api::lenient;
use protocol::{Address, NetworkId};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Change, Store, StoreError};

/// What an import found.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ImportReport {
    /// Networks taken over.
    pub networks: usize,
    /// Members taken over.
    pub members: usize,
    /// Files that are no record (by name or by their `id`), left out as zerotier-one does.
    pub skipped: Vec<PathBuf>,
}

/// Copies every record below `dir` (a `controller.d`: `network/ID.json`, `network/ID/member/ADDRESS.json`) into
/// `store` in one batch. The records load as they are and the files stay untouched.
///
/// # Errors
/// [`StoreError::Import`] for a record that is no JSON object (naming it; nothing is imported then),
/// [`StoreError::Io`] for a file that cannot be read, and what the store answers.
pub fn import_json_dir(dir: &Path, store: &mut dyn Store) -> Result<ImportReport, StoreError> {
    import(dir, store, &|_| true)
}

/// [`import_json_dir`] of those files only that were changed after `since`, and of networks that the store lacks. What is in
/// the store otherwise stays.
///
/// # Errors
/// As there.
#[cfg(feature = "sqlite")]
pub(super) fn import_newer(
    dir: &Path,
    store: &mut dyn Store,
    since: SystemTime,
) -> Result<ImportReport, StoreError> {
    let known: BTreeSet<NetworkId> = store.load()?.networks.into_iter().map(|(id, _)| id).collect();
    let lacks = |file: &Path| id_in_name::<NetworkId>(file, 16).is_some_and(|id| !known.contains(&id));
    import(dir, store, &|file| is_newer(file, since) || lacks(file))
}

/// The records below `dir` that were changed after `since`.
///
/// # Errors
/// [`StoreError::Io`].
#[cfg(feature = "sqlite")]
pub(super) fn newer_records(dir: &Path, since: SystemTime) -> Result<Vec<PathBuf>, StoreError> {
    let networks = dir.join("network");
    let mut newer = Vec::new();
    if !networks.is_dir() {
        return Ok(newer);
    }
    for file in files(&networks)? {
        if id_in_name::<NetworkId>(&file, 16).is_none() {
            continue;
        }
        let members = file.with_extension("").join("member");
        let members = if members.is_dir() { files(&members)? } else { Vec::new() };
        let members = members.into_iter().filter(|file| id_in_name::<Address>(file, 10).is_some());
        newer.extend(std::iter::once(file).chain(members).filter(|file| is_newer(file, since)));
    }
    Ok(newer)
}

/// A file whose time cannot be told is not new.
#[cfg(feature = "sqlite")]
fn is_newer(file: &Path, since: SystemTime) -> bool {
    fs::metadata(file).and_then(|meta| meta.modified()).is_ok_and(|at| at > since)
}

fn import(
    dir: &Path,
    store: &mut dyn Store,
    wanted: &dyn Fn(&Path) -> bool,
) -> Result<ImportReport, StoreError> {
    let mut report = ImportReport::default();
    let mut changes = Vec::new();
    let networks = dir.join("network");
    for file in files(&networks)? {
        let Some(network) = id_in_name::<NetworkId>(&file, 16) else {
            // A folder belongs to the record beside it; one without such a record holds members of nothing.
            let stray = file.is_dir() && !file.with_extension("json").is_file();
            if stray || file.extension().is_some_and(|extension| extension == "json") {
                report.skipped.push(file);
            }
            continue;
        };
        let Some(record) = read(&file, 16)? else {
            report.skipped.push(file);
            continue;
        };
        if wanted(&file) {
            changes.push(Change::PutNetwork { network, record: Value::Object(record) });
            report.networks += 1;
        }
        // The member folder is named like the file, whatever the case of its letters.
        let members = file.with_extension("").join("member");
        if !members.is_dir() {
            continue;
        }
        for file in files(&members)?.into_iter().filter(|file| wanted(file)) {
            let record = match id_in_name::<Address>(&file, 10) {
                Some(member) => read(&file, 10)?.map(|record| (member, record)),
                None => None,
            };
            match record {
                Some((member, record)) => {
                    changes.push(Change::PutMember { network, member, record: Value::Object(record) });
                    report.members += 1;
                }
                None => report.skipped.push(file),
            }
        }
    }
    store.commit(&changes)?;
    Ok(report)
}

/// The entries of a folder in order of their names.
fn files(folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let failed = |source| StoreError::Io { doing: "read folder", path: folder.to_owned(), source };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        found.push(entry.map_err(failed)?.path());
    }
    found.sort();
    Ok(found)
}

/// The ID a record's file is named after: `length` hex digits and `.json`.
fn id_in_name<T: FromStr>(file: &Path, length: usize) -> Option<T> {
    let stem = file.file_name()?.to_str()?.strip_suffix(".json")?;
    (stem.len() == length).then(|| stem.to_ascii_lowercase().parse().ok()).flatten()
}

/// What is looked at of a record.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Named {
    #[serde(deserialize_with = "lenient::only_text")]
    id: Option<String>,
}

/// A record, or `None` when its `id` has another length than such records have.
fn read(file: &Path, id_length: usize) -> Result<Option<Map<String, Value>>, StoreError> {
    let bytes =
        fs::read(file).map_err(|source| StoreError::Io { doing: "read", path: file.to_owned(), source })?;
    let bad = |detail: String| StoreError::Import { path: file.to_owned(), detail };
    match serde_json::from_slice(&bytes).map_err(|error| bad(format!("not JSON: {error}")))? {
        Value::Object(record) => {
            let fits = api::read::<Named>(&record).id.is_some_and(|id| id.len() == id_length);
            Ok(fits.then_some(record))
        }
        _ => Err(bad("not a JSON object".to_owned())),
    }
}
