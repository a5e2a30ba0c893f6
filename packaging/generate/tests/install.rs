//! `make install`: what it puts where, and that an installed zerotier-one keeps its names.

#![allow(clippy::unwrap_used)] // A surprise is a failed test.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

/// Runs it into `root`, with what is to be installed made beforehand and `path` to look for programs in.
fn install(root: &Path, path: &Path) -> String {
    let release = root.join("target/release");
    fs::create_dir_all(&release).unwrap();
    // A program as a compiler leaves it, with symbols: this test.
    for program in ["ztnode", "ztnode-cli"] {
        fs::copy(std::env::current_exe().unwrap(), release.join(program)).unwrap();
    }
    let system = std::env::var("PATH").unwrap();
    let output = Command::new("make")
        .args(["install", "CARGO=true", "PREFIX=/usr/local"])
        .arg(format!("DESTDIR={}", root.display()))
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
        .env("CARGO_TARGET_DIR", root.join("target"))
        .env("PATH", format!("{}:{system}", path.display()))
        .env_remove("MAKEFLAGS")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn an_installed_zerotier_one_keeps_its_names() {
    let (root, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let program = theirs.path().join("zerotier-cli");
    fs::write(&program, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let said = install(root.path(), theirs.path());
    let sbin = root.path().join("usr/local/sbin");
    assert!(sbin.join("ztnode").exists() && sbin.join("ztnode-cli").exists());
    assert!(
        sbin.join("zerotier-cli").symlink_metadata().is_err(),
        "it shadows the one that was there: {said}"
    );
    assert!(said.contains(&format!("zerotier-cli is {} already", program.display())), "{said}");
    let (root, nobodys) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    install(root.path(), nobodys.path());
    let link = fs::read_link(root.path().join("usr/local/sbin/zerotier-idtool")).unwrap();
    assert_eq!(link, Path::new("ztnode-cli"));
}

#[test]
fn programs_are_stripped_and_their_symbols_kept() {
    let (root, nobodys) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let said = install(root.path(), nobodys.path());
    let sections = |file: &Path| {
        let output = Command::new("objdump").arg("--section-headers").arg(file).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    for program in ["ztnode", "ztnode-cli"] {
        let installed = root.path().join("usr/local/sbin").join(program);
        let built = root.path().join("target/release").join(program);
        assert!(sections(&built).contains(".debug_line"), "what was built keeps them");
        let left = sections(&installed);
        assert!(!left.contains(".debug_line") && left.contains(".gnu_debuglink"), "{left}");
        let symbols = root.path().join("target/release").join(format!("{program}.debug"));
        assert!(sections(&symbols).contains(".debug_line"));
        assert!(said.contains(&format!("{program}.debug")), "{said}");
        let size = |file: &Path| fs::metadata(file).unwrap().len();
        assert!(size(&installed) < size(&built) / 2);
    }
}
