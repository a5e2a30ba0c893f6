//! Taking over the home of a zerotier-one.

#![allow(clippy::unwrap_used)] // A surprise is a failed test.

mod common;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{Ran, program, run};
use controller::{SqliteStore, Store as _};
use protocol::SecretIdentity;
use protocol::world::World;

/// A throw-away identity of the specification.
const SECRET: &str = "7046cfa9f1:0:5b19fc97fd73ad80899e1bc2dadcccec46ca88ba288c1bd976d21cbe65b18135a57ab7b8280575a0b9da24bb63c20c9f9d2e37cdeca0e14a453d6729eab227c0:ed45cf80f6c93a947802baf73f36647962f21fe78d7335d5b6dcfb83fcaff74fe225893b4bc0763982c01d8f7041da12f68a9613df4266f95afa04970b5946af";
const NETWORK: &str = "7046cfa9f1000001";
/// What has to arrive, byte for byte, with its permissions.
const TAKEN: [(&str, u32); 12] = [
    ("identity.secret", 0o600),
    ("identity.public", 0o644),
    ("planet", 0o644),
    ("local.conf", 0o640),
    ("networks.d/7046cfa9f1000001.conf", 0o644),
    ("networks.d/7046cfa9f1000001.local.conf", 0o644),
    ("networks.d/a11c3411ce000002.conf", 0o644),
    ("moons.d/0000007046cfa9f1.moon", 0o644),
    ("controller.d/network/7046cfa9f1000001.json", 0o600),
    ("controller.d/network/7046cfa9f1000001/member/a11c3411ce.json", 0o600),
    ("controller.d/network/7046cfa9f1000001/member/7046cfa9f1.json", 0o600),
    ("controller.d/network/7046cfa9f1000002.json", 0o600),
];

/// Two homes: `old` of a zerotier-one with everything, and `new`.
struct Desk {
    dir: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        let desk = Self { dir: tempfile::tempdir().unwrap() };
        fs::create_dir(desk.path("new")).unwrap();
        desk.put("old/identity.secret", &format!("{SECRET}\n"));
        desk.put("old/identity.public", &SECRET[..141]);
        desk.put("old/authtoken.secret", "abcdefghijklmnopqrstuvwx");
        desk.put("old/local.conf", "{\"settings\": {\"primaryPort\": 9993}}\n");
        fs::set_permissions(desk.path("old/local.conf"), fs::Permissions::from_mode(0o640)).unwrap();
        desk.put(&format!("old/networks.d/{NETWORK}.conf"), "n=7046cfa9f1000001\n");
        desk.put(&format!("old/networks.d/{NETWORK}.local.conf"), "allowManaged=1\nallowGlobal=1\n");
        desk.put("old/networks.d/a11c3411ce000002.conf", "");
        desk.put("old/networks.d/a11c3411ce000003.local.conf", "allowManaged=1\n");
        desk.put("old/networks.d/README", "mine");
        let mut planet = Vec::new();
        World::public_planet().write(&mut planet);
        fs::write(desk.path("old/planet"), planet).unwrap();
        assert_eq!(desk.words("moon init old/identity.secret --endpoint 203.0.113.7 --out m.json").code, 0);
        assert_eq!(desk.words("moon sign m.json").code, 0);
        fs::create_dir(desk.path("old/moons.d")).unwrap();
        fs::rename(desk.path("0000007046cfa9f1.moon"), desk.path("old/moons.d/0000007046cfa9f1.moon"))
            .unwrap();
        desk.put("old/moons.d/00000000000000ff.moon", "no moon");
        let below = format!("old/controller.d/network/{NETWORK}");
        desk.put(&format!("{below}.json"), "{\"id\": \"7046cfa9f1000001\", \"name\": \"one\"}");
        desk.put("old/controller.d/network/7046cfa9f1000002.json", "{\"id\": \"7046cfa9f1000002\"}");
        for member in ["a11c3411ce", "7046cfa9f1"] {
            let padding = "x".repeat(8000);
            let record = format!("{{\"id\": \"{member}\", \"authorized\": true, \"notes\": \"{padding}\"}}");
            desk.put(&format!("{below}/member/{member}.json"), &record);
        }
        desk.put(
            "old/controller.d/network/7046cfa9f1000009/member/a11c3411ce.json",
            "{\"id\": \"a11c3411ce\"}",
        );
        desk.put("old/peers.d/a11c3411ce.peer", "cache");
        desk.put("old/zerotier-one.port", "1");
        desk.put("old/secrets.txt", "an administrator's");
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn put(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn words(&self, line: &str) -> Ran {
        let words: Vec<&str> = line.split_whitespace().collect();
        run(&program(), &words, self.dir.path(), None)
    }

    fn migrate(&self, more: &str) -> Ran {
        self.words(&format!("migrate --from old --to new {more}"))
    }

    #[track_caller]
    fn arrived(&self) {
        for (name, mode) in TAKEN {
            let path = self.path(&format!("new/{name}"));
            assert_eq!(
                fs::read(&path).unwrap(),
                fs::read(self.path(&format!("old/{name}"))).unwrap(),
                "{name}"
            );
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, mode, "{name}");
        }
        assert_eq!(fs::metadata(self.path("new/controller.d")).unwrap().permissions().mode() & 0o777, 0o700);
    }
}

/// Every file below a folder with its content, and the folders.
fn everything(folder: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(everything(&path));
        }
        found.insert(path.clone(), path.is_file().then(|| fs::read(&path).unwrap()));
    }
    found
}

#[test]
fn a_dry_run_tells_all_and_changes_nothing() {
    let desk = Desk::new();
    let before = everything(desk.dir.path());
    let ran = desk.migrate("--dry-run");
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{}", ran.out);
    for (name, _) in TAKEN.iter().filter(|(name, _)| !name.starts_with("controller.d")) {
        assert!(ran.out.contains(name), "{name}: {}", ran.out);
    }
    for told in [
        "Would be taken",
        "2 networks and 2 members",
        "Not taken",
        "peers.d",
        "secrets.txt",
        "authtoken.secret",
        "a11c3411ce000003.local.conf",
        "00000000000000ff.moon",
        "network/7046cfa9f1000009",
        "To go back",
        "Nothing was changed",
    ] {
        assert!(ran.out.contains(told), "{told}: {}", ran.out);
    }
    let json: serde_json::Value = serde_json::from_str(&desk.migrate("--dry-run -j").out).unwrap();
    assert_eq!((&json["address"], &json["dryRun"]), (&"7046cfa9f1".into(), &true.into()));
    assert_eq!((&json["controllerNetworks"], &json["controllerMembers"]), (&2.into(), &2.into()));
    assert_eq!(desk.words("migrate --from old --to fresh --dry-run").code, 0);
    assert_eq!(everything(desk.dir.path()), before);
}

#[test]
fn everything_arrives_and_nothing_else() {
    let desk = Desk::new();
    let before = everything(&desk.path("old"));
    let ran = desk.migrate("");
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{}", ran.out);
    desk.arrived();
    let files = everything(&desk.path("new")).values().filter(|content| content.is_some()).count();
    assert_eq!(files, TAKEN.len());
    assert_eq!(everything(&desk.path("old")), before, "copied, not moved");
    // Once more, and after the node has run: caches are newer, the database is made.
    desk.put(&format!("new/networks.d/{NETWORK}.conf"), "n=7046cfa9f1000001\nr=2\n");
    desk.put("new/controller.d/controller.sqlite", "database");
    fs::write(desk.path("new/identity.secret"), SECRET).unwrap();
    let before = everything(&desk.path("new"));
    let again = desk.migrate("-j");
    assert_eq!(again.code, 0, "{again:?}");
    let json: serde_json::Value = serde_json::from_str(&again.out).unwrap();
    assert_eq!((&json["taken"], &json["putAside"]), (&serde_json::json!([]), &serde_json::json!([])));
    assert_eq!(everything(&desk.path("new")), before);
    // The tokens only when they are asked for.
    assert_eq!(desk.migrate("--with-tokens").code, 0);
    let token = fs::metadata(desk.path("new/authtoken.secret")).unwrap();
    assert_eq!((token.len(), token.permissions().mode() & 0o777), (24, 0o600));
    // A home that is still to be made.
    assert_eq!(desk.words("migrate --from old --to fresh/home").code, 0);
    assert_eq!(fs::metadata(desk.path("fresh/home")).unwrap().permissions().mode() & 0o777, 0o750);
}

#[test]
fn the_node_finds_the_same_networks_and_members() {
    let desk = Desk::new();
    assert_eq!(desk.migrate("").code, 0);
    let folder = desk.path("new/controller.d");
    let (mut store, report) =
        SqliteStore::open_importing(&folder.join("controller.sqlite"), &folder).unwrap();
    let report = report.unwrap();
    assert_eq!((report.networks, report.members, report.skipped), (2, 2, vec![]));
    let records = store.load().unwrap();
    assert_eq!((records.networks.len(), records.members.len()), (2, 2));
    let (id, network) = &records.networks[0];
    assert_eq!((id.to_string().as_str(), &network["name"]), (NETWORK, &"one".into()));
    drop(store);
    // Nothing is taken for another controller's data afterwards.
    assert_eq!(desk.migrate("").code, 0);
}

#[test]
fn the_files_belong_to_the_owner_of_the_home() {
    let desk = Desk::new();
    if std::os::unix::fs::chown(desk.path("new"), Some(12_345), Some(12_346)).is_err() {
        return; // Only root can give files away.
    }
    assert_eq!(desk.migrate("").code, 0);
    for path in everything(&desk.path("new")).keys() {
        let meta = fs::metadata(path).unwrap();
        assert_eq!((meta.uid(), meta.gid()), (12_345, 12_346), "{}", path.display());
    }
}

#[test]
fn another_node_is_replaced_only_on_request() {
    let desk = Desk::new();
    let other = SecretIdentity::generate();
    desk.put("new/identity.secret", &other.to_secret_string());
    desk.put("new/identity.public", &other.identity().to_string());
    desk.put("new/networks.d/b0bd0bb0bb000001.conf", "");
    desk.put("new/controller.d/controller.sqlite", "database");
    desk.put("new/authtoken.secret", "zyxwvutsrqponmlkjihgfedc");
    let before = everything(&desk.path("new"));
    for dry in ["", "--dry-run"] {
        let ran = desk.migrate(dry);
        assert_eq!(ran.code, 4, "{ran:?}");
        assert!(ran.err.contains(&other.address().to_string()) && ran.err.contains("--replace"), "{ran:?}");
    }
    assert_eq!(desk.migrate("--replace --dry-run").code, 0);
    assert_eq!(everything(&desk.path("new")), before);
    let ran = desk.migrate("--replace");
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    desk.arrived();
    assert!(!desk.path("new/networks.d/b0bd0bb0bb000001.conf").exists());
    assert!(!desk.path("new/controller.d/controller.sqlite").exists(), "it would not be imported otherwise");
    assert_eq!(fs::read(desk.path("new/authtoken.secret")).unwrap(), b"zyxwvutsrqponmlkjihgfedc");
    let kept = everything(&desk.path("new"))
        .into_keys()
        .find(|path| path.to_string_lossy().contains("before-migration"));
    let kept = kept.unwrap();
    assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o700);
    for name in [
        "identity.secret",
        "identity.public",
        "networks.d/b0bd0bb0bb000001.conf",
        "controller.d/controller.sqlite",
    ] {
        assert_eq!(Some(&Some(fs::read(kept.join(name)).unwrap())), before.get(&desk.path("new").join(name)));
    }
    assert!(ran.out.contains(&*kept.file_name().unwrap().to_string_lossy()), "{}", ran.out);
}

#[test]
fn other_settings_are_replaced_only_on_request() {
    let desk = Desk::new();
    desk.put("new/local.conf", "{}");
    desk.put("new/controller.d/network/7046cfa9f1000007.json", "{\"id\": \"7046cfa9f1000007\"}");
    let ran = desk.migrate("");
    assert!(ran.code == 4 && ran.err.contains("local.conf") && ran.err.contains("controller.d"), "{ran:?}");
    assert_eq!(desk.migrate("--replace").code, 0);
    desk.arrived();
    assert!(!desk.path("new/controller.d/network/7046cfa9f1000007.json").exists());
}

#[test]
fn no_home_in_use_is_touched() {
    let desk = Desk::new();
    // A ztnode locks its home.
    for home in ["old", "new"] {
        let lock = File::open(desk.path(home)).unwrap();
        lock.try_lock().unwrap();
        let ran = desk.migrate("");
        assert!(ran.code == 3 && ran.err.contains("ztnode uses"), "{ran:?}");
        let dry = desk.migrate("--dry-run");
        assert!(dry.code == 3 && dry.out.contains("Would be taken"), "{dry:?}");
        // Closing is not enough: a child of another test may hold a copy until it runs its program.
        lock.unlock().unwrap();
    }
    // A zerotier-one notes its process.
    symlink("/bin/cat", desk.path("zerotier-one")).unwrap();
    let mut daemon =
        Command::new(desk.path("zerotier-one")).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    // Its process has its own name only when it runs, a moment after it was made.
    daemon.stdin.as_mut().unwrap().write_all(b"!").unwrap();
    daemon.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    desk.put("old/zerotier-one.pid", &daemon.id().to_string());
    let ran = desk.migrate("");
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    assert!(ran.code == 3 && ran.err.contains("zerotier-one (process"), "{ran:?}");
    assert!(ran.err.contains("systemctl disable --now zerotier-one"), "{ran:?}");
    assert_eq!(fs::read_dir(desk.path("new")).unwrap().count(), 0);
    // Of one that crashed the note stays.
    assert_eq!(desk.migrate("").code, 0);
    // One in a container answers, and has the home's token.
    let served = common::Home::tcp();
    served.service.answer("GET /status", 200, "{}");
    served.write("identity.secret", SECRET);
    let ran = desk.words(&format!("migrate --from {} --to new", served.path().display()));
    assert!(ran.code == 3 && ran.err.contains("answers on its port"), "{ran:?}");
}

#[test]
fn an_interrupted_run_leaves_whole_files_and_is_gone_on_with() {
    let desk = Desk::new();
    // The kernel kills the process at the first file above 4 KiB: a member's record.
    let status = Command::new("sh")
        .arg("-c")
        .arg("ulimit -c 0; ulimit -f 8; exec \"$0\" migrate --from old --to new >/dev/null")
        .arg(program())
        .current_dir(desk.dir.path())
        .status()
        .unwrap();
    assert_eq!(status.code(), None, "killed: {status}");
    assert!(!desk.path("new/controller.d").exists(), "never by half");
    assert!(!desk.path("new/identity.secret").exists(), "comes last");
    for (name, _) in TAKEN.iter().filter(|(name, _)| desk.path(&format!("new/{name}")).exists()) {
        let [old, new] = ["old", "new"].map(|home| fs::read(desk.path(&format!("{home}/{name}"))).unwrap());
        assert_eq!(old, new, "{name}");
    }
    desk.put("new/.identity.secret.migrating", "7046cf");
    assert_eq!(desk.migrate("").code, 0);
    desk.arrived();
    assert!(!everything(&desk.path("new")).keys().any(|path| path.to_string_lossy().contains("migrating")));
}

#[test]
fn what_is_damaged_or_wrong_is_refused() {
    let cases: [(&str, Option<&str>, i32); 6] = [
        ("identity.secret", None, 1),
        ("identity.secret", Some(&SECRET[..200]), 1),
        ("local.conf", Some("{"), 1),
        ("controller.d/network/7046cfa9f1000002.json", Some("{\"id\""), 1),
        ("controller.d/network/7046cfa9f1000001/member/a11c3411ce.json", Some("[]"), 1),
        ("zerotier-one.port", Some("x"), 0),
    ];
    for (name, text, code) in cases {
        let desk = Desk::new();
        let path = desk.path("old").join(name);
        text.map_or_else(|| fs::remove_file(&path), |text| fs::write(&path, text)).unwrap();
        let ran = desk.migrate("");
        assert_eq!(ran.code, code, "{name}: {ran:?}");
        if code != 0 {
            assert!(ran.err.contains(name), "{ran:?}");
            assert_eq!(fs::read_dir(desk.path("new")).unwrap().count(), 0, "{name}");
        }
    }
    let desk = Desk::new();
    fs::write(desk.path("old/networks.d/7046cfa9f1000001.conf"), vec![b'x'; (4 << 20) + 1]).unwrap();
    assert!(desk.migrate("").err.contains("larger than"));
    fs::remove_file(desk.path("old/networks.d/7046cfa9f1000001.conf")).unwrap();
    symlink("/etc/passwd", desk.path("old/networks.d/7046cfa9f1000001.conf")).unwrap();
    assert!(desk.migrate("").err.contains("symbolic link"));
    symlink("old", desk.path("link")).unwrap();
    for (line, told) in [
        ("migrate", "--from"),
        ("migrate --from absent --to new", "absent"),
        ("migrate --from old --to link", "same directory"),
        ("migrate --from old --to /etc", "none that a node would have put there"),
        ("migrate --from old --to /tmp", "everybody may write"),
    ] {
        let ran = desk.words(line);
        assert!(ran.code == 2 && ran.err.contains(told), "{line}: {ran:?}");
    }
    if !Path::new("/var/lib/ztnode").exists() {
        let ran = desk.words("migrate --from old");
        assert!(ran.code == 2 && ran.err.contains("/var/lib/ztnode") && ran.err.contains("--to"), "{ran:?}");
    }
}
