//! The commands that the manual shows are commands: each is run against a service that does not answer, which it must get as far
//! as finding out.

#![allow(clippy::unwrap_used)] // A surprise is a failed test.

mod common;
#[path = "../../tests/src/pages.rs"]
#[expect(unreachable_pub, reason = "public for the system tests, whose file it is")]
mod pages;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{Home, program};

/// What stands for something in the pages.
const PLACEHOLDERS: [(&str, &str); 7] = [
    ("ztt_37f2b7c94f000001_5f0c2a19_…", "ztt_37f2b7c94f000001_5f0c2a19_00"),
    ("ztt_37f2b7c94f000001_…", "ztt_37f2b7c94f000001_5f0c2a19_00"),
    ("ztt_…", "ztt_37f2b7c94f000001_5f0c2a19_00"),
    ("TOKEN", "ztt_37f2b7c94f000001_5f0c2a19_00"),
    ("NETWORK", "37f2b7c94f000001"),
    ("ADDRESS", "5aca06ff8e"),
    ("COMMAND", "join"),
];

fn manual() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let docs = std::fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let mut pages: Vec<PathBuf> =
        docs.filter(|path| path.extension().is_some_and(|extension| extension == "md")).collect();
    pages.push(root.join("README.md"));
    pages
}

#[test]
fn the_manual_shows_commands_that_there_are() {
    let (mut count, mut wrong) = (0, Vec::new());
    for page in manual() {
        let home = Home::stopped();
        std::os::unix::fs::symlink(program(), home.path().join("ztnode-cli")).unwrap();
        let path = format!("{}:{}", home.path().display(), std::env::var("PATH").unwrap());
        for shown in pages::commands(&std::fs::read_to_string(&page).unwrap()) {
            let mut command = shown.clone();
            for (placeholder, value) in PLACEHOLDERS {
                command = command.replace(placeholder, value);
            }
            // These look at homes, planets and identities that are not here; they are tested where those are made.
            if [" migrate ", " root add ", " root remove "].iter().any(|other| command.contains(other)) {
                continue;
            }
            if command.contains("--wait") || command.contains(" wait ") {
                command.push_str(" --timeout 0");
            }
            let output = Command::new("sh")
                .args(["-c", &command])
                .current_dir(home.path())
                .env("PATH", &path)
                .env("ZEROTIER_HOME", home.path())
                .env("HOME", "/nonexistent")
                .stdin(Stdio::null())
                .output()
                .unwrap();
            count += 1;
            if !matches!(output.status.code(), Some(0 | 1 | 3)) {
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                wrong.push(format!("{}: {shown}\n  {said}", page.file_name().unwrap().to_string_lossy()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 60, "only {count} commands were found");
}
