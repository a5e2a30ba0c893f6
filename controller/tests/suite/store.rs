//! Records outlive the process: clean stops, kills, damage, backups and moves from zerotier-one.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::common::{Fixture, NETWORK, member, member_path};
use controller::store::{self, Change, Records};
use controller::{SqliteStore, Store, StoreError};
use protocol::{Address, NetworkId};
use serde_json::{Value, json};

fn fill(path: &Path, members: u64) -> Records {
    let mut f = Fixture::over(Box::new(SqliteStore::open(path).unwrap()));
    f.post(&format!("/controller/network/{NETWORK}"), json!({"name": "kept", "private": false}));
    for n in 1..=members {
        f.ask(&member(n)).config();
    }
    drop(f);
    load(path)
}

fn load(path: &Path) -> Records {
    SqliteStore::open(path).unwrap().load().unwrap()
}

/// Every file of a folder and what is in it.
fn snapshot(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect()
}

#[test]
fn records_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("controller.sqlite3");
    let records = fill(&path, 5);
    assert_eq!((records.networks.len(), records.members.len()), (1, 5));
    let mut f = Fixture::over(Box::new(SqliteStore::open(&path).unwrap()));
    assert_eq!(f.get(&format!("/controller/network/{NETWORK}"))["name"], "kept");
    f.http("DELETE", &member_path(2), "");
    drop(f);
    assert_eq!(load(&path).members.len(), 4);
    let mut f = Fixture::over(Box::new(SqliteStore::open(&path).unwrap()));
    f.http("DELETE", &format!("/controller/network/{NETWORK}"), "");
    drop(f);
    let left = load(&path);
    assert_eq!((left.revocations.len(), left.tombstones.len()), (5, 1), "what has to outlive it");
    let left = Records { revocations: Vec::new(), tombstones: Vec::new(), ..left };
    assert_eq!(left, Records::default(), "members go with their network");
}

#[cfg(unix)]
#[test]
fn the_file_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("controller.sqlite3");
    fill(&path, 1);
    store::backup(&path, &folder.path().join("copy")).unwrap();
    for name in ["controller.sqlite3", "copy"] {
        assert_eq!(fs::metadata(folder.path().join(name)).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn a_batch_is_kept_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = SqliteStore::open(&folder.path().join("db")).unwrap();
    let orphan = Change::PutMember { network: NetworkId(9), member: Address::from_u64(1), record: json!({}) };
    let network = Change::PutNetwork { network: NETWORK, record: json!({"id": NETWORK.to_string()}) };
    store.commit(&[network, orphan]).unwrap_err();
    assert_eq!(store.load().unwrap(), Records::default());
}

#[test]
fn one_process_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let first = SqliteStore::open(&path).unwrap();
    let error = SqliteStore::open(&path).unwrap_err();
    assert!(matches!(error, StoreError::InUse { .. }), "{error}");
    drop(first);
    SqliteStore::open(&path).unwrap();
}

#[test]
fn damage_is_reported_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("controller.sqlite3");
    fill(&path, 200);
    let good = fs::read(&path).unwrap();
    let mut flipped = good.clone();
    for at in (4096..flipped.len()).step_by(97) {
        flipped[at] ^= 0x55;
    }
    let mut cases: Vec<(String, Vec<u8>)> = vec![
        ("flipped".into(), flipped),
        ("not a database".into(), b"{\"this\": \"is JSON\"}".repeat(40)),
        ("another file of zeroes".into(), vec![0; 8192]),
    ];
    for length in [
        0,
        1,
        15,
        50,
        99,
        100,
        512,
        4095,
        4096,
        5000,
        8192,
        good.len() / 2,
        good.len() - 4096,
        good.len() - 1,
    ] {
        cases.push((format!("cut to {length}"), good[..length].to_vec()));
    }
    for (name, bytes) in cases {
        fs::write(&path, &bytes).unwrap();
        let before = snapshot(folder.path());
        let error = SqliteStore::open(&path).err().unwrap_or_else(|| panic!("{name}: opened"));
        assert!(matches!(error, StoreError::Damaged { .. }), "{name}: {error}");
        let text = error.to_string();
        assert!(text.contains(path.to_str().unwrap()) && text.contains("restore a backup"), "{text}");
        assert_eq!(snapshot(folder.path()), before, "{name}: something changed");
    }
    fs::write(&path, &good).unwrap();
    assert_eq!(load(&path).members.len(), 200);
}

#[test]
fn records_that_are_no_json_are_damage() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    fill(&path, 1);
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.execute("UPDATE member SET record = '{'", []).unwrap();
    drop(connection);
    let error = SqliteStore::open(&path).unwrap().load().unwrap_err();
    assert!(error.to_string().contains("0000000001"), "{error}");
}

#[test]
fn later_schemas_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    fill(&path, 1);
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.execute("UPDATE schema_version SET version = 99", []).unwrap();
    drop(connection);
    let error = SqliteStore::open(&path).unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 99, .. }), "{error}");
}

#[test]
fn earlier_schemas_are_brought_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let records = fill(&path, 2);
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.execute_batch("DROP TABLE token; UPDATE schema_version SET version = 1").unwrap();
    drop(connection);
    // A backup of the old layout is one, too.
    let copy = folder.path().join("copy");
    store::backup(&path, &copy).unwrap();
    for path in [&path, &copy] {
        assert_eq!(load(path), records);
        let mut f = Fixture::over(Box::new(SqliteStore::open(path).unwrap()));
        f.post(&format!("/controller/network/{NETWORK}/token"), json!({}));
        drop(f);
        assert_eq!(load(path).tokens.len(), 1);
    }
}

#[test]
fn a_database_goes_back_to_an_earlier_release_until_somebody_is_put_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    fill(&path, 2);
    let layout = || {
        let connection = rusqlite::Connection::open(&path).unwrap();
        let tables = "SELECT count(*) FROM sqlite_master WHERE name IN ('revocation', 'tombstone')";
        let one = |query: &str| connection.query_row(query, [], |row| row.get::<_, i64>(0)).unwrap();
        (one("SELECT max(version) FROM schema_version"), one(tables))
    };
    assert_eq!(layout(), (2, 0), "nothing that version 2 would not know");
    // All that an earlier release knows leaves it so.
    let mut f = Fixture::over(Box::new(SqliteStore::open(&path).unwrap()));
    f.post(&format!("/controller/network/{NETWORK}/token"), json!({}));
    drop(f);
    assert_eq!(layout(), (2, 0));
    let (network, member): (NetworkId, Address) = (NETWORK, "0000000001".parse().unwrap());
    let none = [Change::DeleteRevocation { network, member }, Change::DeleteTombstone { network }];
    SqliteStore::open(&path).unwrap().commit(&none).unwrap();
    assert_eq!(layout(), (2, 0));
    let put = [
        Change::PutRevocation { network, member, record: json!({}) },
        Change::PutTombstone { network, record: json!({}) },
    ];
    let mut store = SqliteStore::open(&path).unwrap();
    store.commit(&put).unwrap();
    let now = store.load().unwrap();
    assert_eq!((now.revocations.len(), now.tombstones.len()), (1, 1));
    drop(store);
    assert_eq!(layout(), (3, 2));
    let later = load(&path);
    assert_eq!((later.revocations.len(), later.tombstones.len()), (1, 1));
}

#[test]
fn backup_while_in_use_and_restore() {
    let folder = tempfile::tempdir().unwrap();
    let (path, copy) = (folder.path().join("db"), folder.path().join("my backup ?#%.sqlite3"));
    let records = fill(&path, 3);
    let store = SqliteStore::open(&path).unwrap();
    let mut f = Fixture::over(Box::new(store));
    f.ask(&member(4)).config();
    store::backup(&path, &copy).unwrap();
    f.ask(&member(5)).config();
    let error = store::restore(&copy, &path).unwrap_err();
    assert!(matches!(error, StoreError::InUse { .. }), "{error}");
    drop(f);
    assert_eq!(load(&path).members.len(), 5);
    store::restore(&copy, &path).unwrap();
    let restored = load(&path);
    assert_eq!(restored.members.len(), 4);
    assert_eq!(restored.members[..3], records.members[..]);
    assert_eq!(load(&folder.path().join("db.replaced")).members.len(), 5, "the replaced one is kept");

    // Over damage, and onto a machine that has none yet.
    fs::write(&path, b"gone").unwrap();
    store::restore(&copy, &path).unwrap();
    assert_eq!(load(&path), restored);
    let fresh = folder.path().join("fresh");
    store::restore(&copy, &fresh).unwrap();
    assert_eq!(load(&fresh), restored);

    // A damaged backup changes nothing.
    fs::write(&copy, &fs::read(&copy).unwrap()[..5000]).unwrap();
    let error = store::restore(&copy, &path).unwrap_err();
    assert!(matches!(&error, StoreError::Damaged { path, .. } if *path == copy), "{error}");
    assert_eq!(load(&path), restored);
    assert!(matches!(store::restore(&folder.path().join("none"), &path), Err(StoreError::Missing { .. })));
    assert!(matches!(store::backup(&folder.path().join("none"), &copy), Err(StoreError::Missing { .. })));
}

fn write(path: PathBuf, record: &Value) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, record.to_string()).unwrap();
}

#[test]
fn zerotier_one_records_are_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("controller.d");
    let network = json!({"id": NETWORK.to_string(), "name": "old", "private": false, "revision": 7, "authTokens": [null],
        "custom": {"kept": 1}, "certificateTimeoutWindowSize": 600_000, "lastModified": 5,
        "rules": [{"type": "ACTION_ACCEPT", "not": false, "or": false, "comment": "mine"}]});
    let alice = json!({"id": "1122334455", "authorized": true, "ipAssignments": ["10.0.0.9"], "revision": 3, "x": "y"});
    write(home.join(format!("network/{NETWORK}.json")), &network);
    write(home.join(format!("network/{NETWORK}/member/1122334455.json")), &alice);
    write(home.join(format!("network/{NETWORK}/member/notes.json")), &json!({}));
    write(home.join("network/short.json"), &json!({"id": "short"}));
    write(home.join("network/6ea36cee7f000009.json"), &json!({"id": "wrong"}));
    write(home.join("network/6ea36cee7f00000a/member/1122334455.json"), &alice);
    let before = snapshot(&home.join("network"));

    let path = home.join("controller.sqlite3");
    let (store, report) = SqliteStore::open_importing(&path, &home).unwrap();
    let report = report.unwrap();
    assert_eq!((report.networks, report.members, report.skipped.len()), (1, 1, 4));
    let mut f = Fixture::over(Box::new(store));
    let record = f.get(&format!("/controller/network/{NETWORK}"));
    assert_eq!(
        (&record["name"], &record["revision"], &record["custom"]),
        (&json!("old"), &json!(7), &json!({"kept": 1}))
    );
    assert_eq!(record["rules"], network["rules"], "kept as it was");
    assert!(record.get("lastModified").is_none());
    assert_eq!(f.get(&member_path(0x11_2233_4455))["x"], "y");
    let config = f.ask(&member(0x11_2233_4455)).config();
    assert_eq!((config.credential_window.as_ms(), config.rules.len()), (600_000, 1));
    let changed = f.post(&format!("/controller/network/{NETWORK}"), json!({"name": "new"}));
    assert_eq!(
        (&changed["revision"], &changed["custom"]),
        (&json!(8), &json!({"kept": 1})),
        "unknown fields survive"
    );
    drop(f);
    assert_eq!(snapshot(&home.join("network")), before, "the files stay untouched");

    let (store, report) = SqliteStore::open_importing(&path, &home).unwrap();
    assert_eq!(report, None, "only once");
    let mut f = Fixture::over(Box::new(store));
    assert_eq!(f.get(&format!("/controller/network/{NETWORK}"))["name"], "new");
}

/// Files that come or change later, as when somebody copies a backup of zerotier-one's folder back, are noticed and can be taken
/// over.
#[test]
fn later_files_are_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path();
    let file = |id: &str| home.join(format!("network/{id}.json"));
    let named = |name: &str, id: &str| json!({"id": id, "name": name, "private": false});
    let (first, second) = (NETWORK.to_string(), "6ea36cee7f000002");
    write(file(&first), &named("old", &first));
    let path = home.join("controller.sqlite3");
    let (mut store, report) = SqliteStore::open_importing(&path, home).unwrap();
    assert_eq!(report.unwrap().networks, 1);
    assert!(store.newer_records(home).unwrap().is_empty());
    drop(store);
    let mut f = Fixture::over(Box::new(SqliteStore::open(&path).unwrap()));
    f.post(&format!("/controller/network/{NETWORK}"), json!({"name": "ours"}));
    drop(f);

    // A minute later: a record is changed, one is new, and one has a member more.
    let later = |path: &Path| {
        let at = std::time::SystemTime::now() + std::time::Duration::from_secs(60);
        fs::File::options().write(true).open(path).unwrap().set_modified(at).unwrap();
    };
    write(file(second), &named("second", second));
    let member = home.join(format!("network/{NETWORK}/member/1122334455.json"));
    write(member.clone(), &json!({"id": "1122334455", "authorized": true}));
    for path in [&file(second), &member] {
        later(path);
    }
    let mut store = SqliteStore::open(&path).unwrap();
    assert_eq!(store.newer_records(home).unwrap(), [member.clone(), file(second)]);
    let report = store.import_newer(home).unwrap();
    assert_eq!((report.networks, report.members), (1, 1));
    drop(store);
    let mut f = Fixture::over(Box::new(SqliteStore::open(&path).unwrap()));
    assert_eq!(f.get(&format!("/controller/network/{NETWORK}"))["name"], "ours", "the file is older");
    assert_eq!(f.get(&format!("/controller/network/{second}"))["name"], "second");
    assert_eq!(f.get(&member_path(0x11_2233_4455))["authorized"], true);
    drop(f);
    // A file in the future goes on being newer; one of now does not.
    for path in [&file(second), &member] {
        fs::File::options()
            .write(true)
            .open(path)
            .unwrap()
            .set_modified(std::time::SystemTime::now())
            .unwrap();
    }
    assert!(SqliteStore::open(&path).unwrap().newer_records(home).unwrap().is_empty());
    // A damaged one changes nothing.
    fs::write(&member, b"{").unwrap();
    later(&member);
    let mut store = SqliteStore::open(&path).unwrap();
    let before = store.load().unwrap();
    assert!(matches!(store.import_newer(home), Err(StoreError::Import { .. })));
    assert_eq!(store.load().unwrap(), before);
}

#[test]
fn a_broken_record_stops_the_import() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path();
    write(home.join(format!("network/{NETWORK}.json")), &json!({"id": NETWORK.to_string()}));
    let broken = home.join(format!("network/{NETWORK}/member/1122334455.json"));
    fs::create_dir_all(broken.parent().unwrap()).unwrap();
    fs::write(&broken, b"{\"id\": \"11223").unwrap();
    let path = home.join("controller.sqlite3");
    let error = SqliteStore::open_importing(&path, home).unwrap_err();
    assert!(error.to_string().contains(broken.to_str().unwrap()), "{error}");
    assert!(!path.exists(), "the next start tries again");
    fs::write(&broken, b"{\"id\": \"1122334455\"}").unwrap();
    let (_, report) = SqliteStore::open_importing(&path, home).unwrap();
    assert_eq!(report.unwrap().members, 1);
}

/// Not a test of its own: what `killed_in_the_middle` starts and kills.
#[test]
fn child_that_is_killed() {
    let Ok(path) = std::env::var("STORE_TEST_VICTIM") else { return };
    let mut f = Fixture::over(Box::new(SqliteStore::open(Path::new(&path)).unwrap()));
    let first = f.get(&format!("/controller/network/{NETWORK}/member")).as_object().unwrap().len() as u64;
    for n in first + 1.. {
        let config = f.ask(&member(n)).config();
        println!("gave {n} {}", config.addresses[0].ip);
    }
}

#[test]
fn killed_in_the_middle() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("controller.sqlite3");
    let mut f = Fixture::over(Box::new(SqliteStore::open(&path).unwrap()));
    f.post(
        &format!("/controller/network/{NETWORK}"),
        json!({
        "private": false, "v4AssignMode": "zt", "routes": [{"target": "10.0.0.0/16"}],
        "ipAssignmentPools": [{"ipRangeStart": "10.0.0.1", "ipRangeEnd": "10.0.255.254"}]}),
    );
    drop(f);
    let mut given: BTreeMap<String, u64> = BTreeMap::new();
    for round in 0..5 {
        let mut victim = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "store::child_that_is_killed", "--nocapture"])
            .env("STORE_TEST_VICTIM", &path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(victim.stdout.take().unwrap()).lines();
        let mut seen = 0;
        for line in lines {
            let line = line.unwrap();
            // The test harness prints its own words before the first line.
            let Some(at) = line.find("gave ") else { continue };
            let mut words = line[at + 5..].split(' ');
            let who: u64 = words.next().unwrap().parse().unwrap();
            let earlier = given.insert(words.next().unwrap().to_owned(), who);
            assert_eq!(earlier, None, "given twice");
            seen += 1;
            if seen == 20 + round * 7 {
                victim.kill().unwrap();
            }
        }
        victim.wait().unwrap();
        assert!(seen >= 20);
        // Everything that was handed out is there.
        let records = load(&path);
        for (ip, who) in &given {
            let record = records.members.iter().find(|(_, member, _)| member.to_u64() == *who).unwrap();
            assert_eq!(record.2["ipAssignments"], json!([ip]));
        }
    }
}
