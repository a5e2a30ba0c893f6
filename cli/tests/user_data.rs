//! `token create --cloud-init`: what is written, for whom, and what is refused before there is a token.

#![allow(clippy::unwrap_used)] // A surprise is a failed test.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use common::Home;

const ID: &str = "37f2b7c94f000002";
const TOKEN: &str = "ztt_37f2b7c94f000002_5f0c2a19_0123456789abcdef";
const KEYS: &str =
    "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmQGN+/8=\n=abcd\n-----END PGP PUBLIC KEY BLOCK-----\n";

fn home() -> Home {
    let home = Home::tcp();
    home.service.answer(&format!("GET /controller/network/{ID}"), 200, format!(r#"{{"id":"{ID}"}}"#));
    home.service.answer(
        &format!("POST /controller/network/{ID}/token"),
        200,
        format!(r#"{{"id":"5f0c2a19","token":"{TOKEN}","uses":1,"creationTime":0,"expiryTime":3600000}}"#),
    );
    home.write("keys.asc", KEYS);
    home
}

/// The command with these switches, and keys and file in the home; the path of that file.
fn make(home: &Home, switches: &str) -> (common::Ran, std::path::PathBuf) {
    let (keys, out) = (home.path().join("keys.asc"), home.path().join("user-data"));
    let line = format!(
        "token create {ID} --cloud-init --repository https://packages.example.org/ztnode/ --key {} {switches}",
        keys.display()
    )
    .replace("OUT", &out.display().to_string());
    (home.run(&line), out)
}

fn tokens(home: &Home) -> usize {
    home.service.seen().iter().filter(|seen| seen.line.starts_with("POST")).count()
}

#[test]
fn a_file_for_its_owner_alone() {
    let home = home();
    let (ran, out) = make(&home, "--out OUT");
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(ran.out, format!("{}\n", out.display()), "the token is in the file and nowhere else");
    assert!(!ran.err.contains("0123456789abcdef"), "{}", ran.err);
    assert!(ran.err.contains("one node") && ran.err.contains("for 1 h"), "{}", ran.err);
    assert_eq!(fs::metadata(&out).unwrap().permissions().mode() & 0o777, 0o600);
    let text = fs::read_to_string(&out).unwrap();
    assert!(text.starts_with("#cloud-config\n"), "{text}");
    assert!(text.contains(&format!("  - ztnode-cli join {ID} --token {TOKEN} --wait\n")), "{text}");
    assert!(text.contains("] https://packages.example.org/ztnode/deb stable main\""), "{text}");
    assert!(text.contains(&format!("\"{}\"", KEYS.replace('\n', "\\n"))), "{text}");
    let body = home.service.seen().pop().unwrap().body;
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&body).unwrap(),
        serde_json::json!({"uses": 1, "lifetime": 3_600_000}),
        "one use and one hour unless asked otherwise"
    );
}

#[test]
fn printed_only_when_asked() {
    let home = home();
    let (ran, out) = make(&home, "--print");
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.starts_with("#cloud-config\n") && ran.out.contains(TOKEN), "{}", ran.out);
    assert!(!out.exists());
}

#[test]
fn the_token_may_bring_a_planet_from_the_web() {
    let home = home();
    assert_eq!(home.run("root init --endpoint 192.0.2.1/9993").code, 0);
    let (planet, url) = (home.path().join("planet"), "https://planets.example/planet");
    let (ran, out) = make(&home, &format!("--out OUT --planet {} --planet-url {url}", planet.display()));
    assert_eq!(ran.code, 0, "{}", ran.err);
    let text = fs::read_to_string(&out).unwrap();
    let line = text.lines().find(|line| line.contains("ztnode-cli join")).unwrap();
    assert!(
        line.contains(&format!("--token {TOKEN}_")) && line.ends_with(&format!("_{url} --wait")),
        "{line}"
    );
}

#[test]
fn what_is_wrong_makes_no_token() {
    let home = home();
    for (switches, code) in
        [("--out OUT --print", 2), ("--out /nowhere/at/all", 1), ("--out /", 1), ("-j", 2)]
    {
        let (ran, _) = make(&home, switches);
        assert_eq!((ran.code, tokens(&home)), (code, 0), "{switches}: {}", ran.err);
    }
    for line in [
        "--cloud-init",
        "--cloud-init --repository https://a",
        "--key keys.asc",
        "--print",
        "--cloud-init --repository ftp://a --key k",
    ] {
        let ran = home.run(&format!("token create {ID} {line}"));
        assert_eq!((ran.code, tokens(&home)), (2, 0), "{line}: {}", ran.err);
    }
    // No file comes with user-data, so the token's planet has to be on the web.
    let planet = home.path().join("lab.planet");
    assert_eq!(home.run("root init --endpoint 192.0.2.1/9993").code, 0);
    fs::rename(home.path().join("planet"), &planet).unwrap();
    for switches in [
        format!("--planet {}", planet.display()),
        format!("--planet {} --planet-url lab.planet", planet.display()),
    ] {
        let (ran, out) = make(&home, &format!("--out OUT {switches}"));
        assert_eq!((ran.code, tokens(&home), ran.err.lines().count()), (2, 0, 1), "{switches}: {}", ran.err);
        assert!(ran.err.contains("--planet-url") && !out.exists(), "{}", ran.err);
    }
    let secret = KEYS.replace("PUBLIC", "PRIVATE");
    let quoted = KEYS.replace("mQGN", "\"\\");
    for keys in ["", "no keys", &KEYS[..60], secret.as_str(), quoted.as_str()] {
        home.write("keys.asc", keys);
        let (ran, out) = make(&home, "--out OUT");
        assert_eq!((ran.code, tokens(&home)), (1, 0), "{keys}: {}", ran.err);
        assert!(!out.exists());
    }
}
