//! `container`: what the environment becomes in the home directory, what the daemon is started with, and the health check.

#![allow(clippy::unwrap_used)] // A surprise is a failed test.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use common::{Home, Ran, command, program};
use protocol::SecretIdentity;

const NETWORK: &str = "8056c2e21c000001";
const OTHER: &str = "37f2b7c94f000001";

/// A container's file system: the tool, a daemon that says how it was started, and a home.
struct Container {
    folder: tempfile::TempDir,
}

impl Container {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        for name in ["bin", "sbin"] {
            fs::create_dir(path.join(name)).unwrap();
        }
        if fs::hard_link(program(), path.join("bin/ztnode-cli")).is_err() {
            fs::copy(program(), path.join("bin/ztnode-cli")).unwrap();
        }
        let daemon = path.join("sbin/ztnode");
        fs::write(&daemon, "#!/bin/sh\necho \"$0 $*\"\nenv\n").unwrap();
        fs::set_permissions(&daemon, fs::Permissions::from_mode(0o755)).unwrap();
        Self { folder }
    }

    fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.home().join(name)).unwrap()
    }

    fn mode(&self, name: &str) -> u32 {
        fs::metadata(self.home().join(name)).unwrap().permissions().mode() & 0o777
    }

    fn run(&self, words: &[&str], environment: &[(&str, &str)]) -> Ran {
        let words: Vec<&str> = ["container"].iter().chain(words).copied().collect();
        let tool = self.folder.path().join("bin/ztnode-cli");
        let mut command = command(&tool, &words, self.folder.path(), Some(&self.home()));
        let output = command.envs(environment.iter().copied()).output().unwrap();
        Ran {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    #[track_caller]
    fn starts(&self, words: &[&str], environment: &[(&str, &str)]) -> String {
        let ran = self.run(words, environment);
        assert_eq!(ran.code, 0, "{ran:?}");
        ran.out
    }

    /// Refused with this exit code and one line; the home is as it was.
    #[track_caller]
    fn refuses(&self, code: i32, words: &[&str], environment: &[(&str, &str)]) -> String {
        let before = listing(&self.home());
        let ran = self.run(words, environment);
        assert_eq!((ran.code, ran.out.as_str(), ran.err.lines().count()), (code, "", 1), "{}", ran.err);
        assert_eq!(listing(&self.home()), before, "something was changed");
        ran.err
    }
}

fn listing(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(listing(&path));
        } else {
            found.push((path.clone(), fs::read(&path).unwrap()));
        }
    }
    found.sort();
    found
}

#[test]
fn the_environment_becomes_a_home_and_goes_no_further() {
    let container = Container::new();
    let identity = SecretIdentity::generate();
    let secret = format!("{}\n", identity.to_secret_string().as_str());
    let key = container.folder.path().join("key");
    fs::write(&key, &secret).unwrap();
    let key = key.to_str().unwrap();
    let environment = [
        ("ZEROTIER_API_SECRET", "api-secret\n"),
        ("ZEROTIER_IDENTITY_SECRET_FILE", key),
        ("ZEROTIER_IDENTITY_PUBLIC", &identity.identity().to_string()),
        ("ZEROTIER_JOIN_NETWORKS", "ztt_37f2b7c94f000001_5f0c2a19_abcdef"),
        ("ZTNODE_LOG", "debug"),
    ];
    let said = container.starts(&[NETWORK, "--", "--port", "9994"], &environment);
    let first = said.lines().next().unwrap();
    assert!(
        first.ends_with(&format!("sbin/ztnode --home {} --port 9994", container.home().display())),
        "{said}"
    );
    assert!(
        !said.contains("ZEROTIER_API") && !said.contains("ZEROTIER_ID") && !said.contains("ztt_"),
        "{said}"
    );
    assert!(said.contains("ZTNODE_LOG=debug"), "{said}");
    assert_eq!(container.read("authtoken.secret"), "api-secret");
    assert_eq!(container.read("identity.secret"), secret.trim());
    assert_eq!(container.read("identity.public"), identity.identity().to_string());
    assert_eq!(container.read(&format!("networks.d/{NETWORK}.conf")), "\n");
    assert_eq!(container.read(&format!("networks.d/{OTHER}.conf")), "\n");
    assert_eq!(container.read(&format!("networks.d/{OTHER}.token")), "ztt_5f0c2a19_abcdef");
    for name in ["authtoken.secret", "identity.secret", &format!("networks.d/{OTHER}.token")] {
        assert_eq!(container.mode(name), 0o600, "{name}");
    }
    // Once more, as after a restart, when one network has let the node in.
    fs::write(container.home().join(format!("networks.d/{OTHER}.conf")), "v=7\n").unwrap();
    fs::remove_file(container.home().join(format!("networks.d/{OTHER}.token"))).unwrap();
    let before = listing(&container.home());
    container.starts(&[NETWORK], &environment);
    assert_eq!(listing(&container.home()), before, "a token that has done its work comes back");
}

#[test]
fn without_anything_a_container_is_a_node() {
    let container = Container::new();
    container.starts(&[], &[]);
    assert_eq!(listing(&container.home()), []);
    // As some engines make their volumes.
    fs::set_permissions(container.home(), fs::Permissions::from_mode(0o777)).unwrap();
    container.starts(&[], &[]);
    assert_eq!(container.mode(""), 0o750);
}

#[test]
fn what_cannot_be_meant_is_refused_and_not_repeated() {
    let container = Container::new();
    let secret = "f00dfeed".repeat(8);
    for (words, name) in [
        (&[][..], "ZEROTIER_IDENTITY_SECRET"),
        (&[], "ZEROTIER_IDENTITY_PUBLIC"),
        (&[], "ZEROTIER_JOIN_NETWORKS"),
        (&["8056c2e21c00001"], "ZEROTIER_API_SECRET"),
    ] {
        let said = container.refuses(2, words, &[(name, &secret)]);
        assert!(!said.contains("f00dfeed"), "{said}");
    }
    let public = SecretIdentity::generate().identity().to_string();
    let said = container.refuses(2, &[], &[("ZEROTIER_IDENTITY_PUBLIC", &public)]);
    assert!(said.contains("without ZEROTIER_IDENTITY_SECRET"), "{said}");
}

#[test]
fn a_home_keeps_its_identity() {
    let container = Container::new();
    let (one, other) = (SecretIdentity::generate(), SecretIdentity::generate());
    container.starts(&[], &[("ZEROTIER_IDENTITY_SECRET", one.to_secret_string().as_str())]);
    let said = container.refuses(2, &[], &[("ZEROTIER_IDENTITY_SECRET", other.to_secret_string().as_str())]);
    assert!(
        said.contains(&one.address().to_string()) && said.contains(&other.address().to_string()),
        "{said}"
    );
    let public = other.identity().to_string();
    assert!(
        container
            .refuses(2, &[], &[("ZEROTIER_IDENTITY_PUBLIC", &public)])
            .contains("leave the variable out")
    );
    fs::write(container.home().join("identity.secret"), "broken").unwrap();
    let said = container.refuses(1, &[], &[("ZEROTIER_IDENTITY_SECRET", one.to_secret_string().as_str())]);
    assert!(said.contains("damaged"), "{said}");
}

/// A planet made in a folder of its own, and the place of its file.
fn planet(folder: &Path, endpoint: &str) -> String {
    fs::create_dir_all(folder).unwrap();
    let words = ["root", "init", "--endpoint", endpoint];
    assert!(command(&program(), &words, folder, Some(folder)).output().unwrap().status.success());
    folder.join("planet").to_str().unwrap().to_owned()
}

#[test]
fn the_planet_is_the_one_that_was_chosen() {
    let container = Container::new();
    let made = |name: &str| planet(&container.folder.path().join(name), "192.0.2.1/9993");
    let (one, other) = (made("one"), made("other"));
    container.starts(&[], &[("ZTNODE_PLANET", &one)]);
    let in_force = || fs::read(container.home().join("planet")).unwrap();
    let first = fs::read(&one).unwrap();
    assert_eq!(in_force(), first);
    for wrong in [
        "/nonexistent",
        "https://planet.example/planet",
        &format!("{one}#sha256=00"),
        &format!("{one}#sha256={}", "0".repeat(64)),
        program().to_str().unwrap(),
    ] {
        container.refuses(1, &[], &[("ZTNODE_PLANET", wrong)]);
    }
    // A later version of it, as the roots tell it to the node, stays.
    let folder = container.folder.path().join("one");
    let words = ["root", "sign", "--endpoint", "192.0.2.2/9993"];
    assert!(command(&program(), &words, &folder, Some(&folder)).output().unwrap().status.success());
    fs::copy(&one, container.home().join("planet")).unwrap();
    fs::write(&one, &first).unwrap();
    container.starts(&[], &[("ZTNODE_PLANET", &one)]);
    assert_ne!(in_force(), first);
    container.starts(&[], &[("ZTNODE_PLANET", &other)]);
    assert_eq!(in_force(), fs::read(&other).unwrap());
    // Who signs a planet does not lose it to a variable.
    fs::copy(folder.with_file_name("other").join("planet.key"), container.home().join("planet.key")).unwrap();
    let said = container.refuses(2, &[], &[("ZTNODE_PLANET", &one)]);
    assert!(said.contains("planet.key"), "{said}");
}

#[test]
fn health_is_that_of_every_network() {
    let home = Home::unix();
    let list = |ids: &[&str]| {
        let networks: Vec<String> = ids.iter().map(|id| format!(r#"{{"id":"{id}"}}"#)).collect();
        home.service.answer("GET /network", 200, format!("[{}]", networks.join(",")));
    };
    let state =
        |id: &str, state: &str| home.service.answer(&format!("GET /network/{id}/ready?wait=0"), 200, state);
    list(&[]);
    home.run("container health").prints("the node answers; it has joined no network\n");
    list(&[NETWORK, OTHER]);
    state(NETWORK, r#"{"ready":true}"#);
    state(OTHER, r#"{"ready":true}"#);
    home.run("container health").prints(&format!("{NETWORK}: OK\n{OTHER}: OK\n"));
    state(
        OTHER,
        &format!(
            r#"{{"ready":false,"network":"{OTHER}","address":"5aca06ff8e","waitingFor":"authorization"}}"#
        ),
    );
    let ran = home.run("container health");
    assert!(ran.code == 1 && ran.out.contains("member authorize 37f2b7c94f000001 5aca06ff8e"), "{ran:?}");
    home.run(&format!("container health {NETWORK}")).prints(&format!("{NETWORK}: OK\n"));
    let ran = home.run("container health 1c33c1ced07ac85d");
    assert!(ran.code == 1 && ran.out.contains("has not joined"), "{ran:?}");
    assert_eq!(home.run("container health 1c33").code, 2);
    // Health checks know 0 and 1.
    assert_eq!(Home::stopped().run("container health").code, 1);
    let nothing = Home::stopped();
    fs::remove_file(nothing.path().join("zerotier-one.port")).unwrap();
    assert_eq!(nothing.run("container health").code, 1);
}
