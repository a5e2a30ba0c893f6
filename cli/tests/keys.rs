//! Identities, planets and moons, under the new name and as `zerotier-idtool`. No service runs.

#![allow(clippy::unwrap_used)] // A surprise is a failed test.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use common::{Ran, program, run, symlink};
use protocol::world::{World, WorldKind};
use protocol::{Identity, SecretIdentity};

/// A throw-away identity of the specification, and its signature of `hello world`.
const SECRET: &str = "7046cfa9f1:0:5b19fc97fd73ad80899e1bc2dadcccec46ca88ba288c1bd976d21cbe65b18135a57ab7b8280575a0b9da24bb63c20c9f9d2e37cdeca0e14a453d6729eab227c0:ed45cf80f6c93a947802baf73f36647962f21fe78d7335d5b6dcfb83fcaff74fe225893b4bc0763982c01d8f7041da12f68a9613df4266f95afa04970b5946af";
const SIGNATURE: &str = "0e8895588bc649be744dde080b4baaae302c60013cbeda2e29cb22369da9ca7e60cf3f9c55a02ec023afeff3e40e09f68f707cfee6e07509d41c729058bbae03309ecc489c12d6eb4cc40f50c902f2b4d0ed77ee511a7c7a9bcd3ca86d4cd86f";

fn public() -> &'static str {
    &SECRET[..141]
}

fn mode(path: impl AsRef<Path>) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

struct Desk {
    dir: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        symlink(dir.path(), "zerotier-idtool");
        fs::write(dir.path().join("a.secret"), format!("{SECRET}\n")).unwrap();
        fs::write(dir.path().join("letter"), "hello world").unwrap();
        Self { dir }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    fn idtool(&self, words: &[&str]) -> Ran {
        run(&self.path("zerotier-idtool"), words, self.dir.path(), None)
    }

    /// The home directory is `home` below the desk.
    fn cli(&self, line: &str) -> Ran {
        let words: Vec<&str> = line.split_whitespace().collect();
        run(&program(), &words, self.dir.path(), Some(&self.path("home")))
    }

    fn planet(&self) -> World {
        World::parse(&fs::read(self.path("home/planet")).unwrap()).unwrap()
    }
}

#[test]
fn idtool_generates() {
    let desk = Desk::new();
    let printed = desk.idtool(&["generate"]);
    assert_eq!((printed.code, printed.out.len()), (0, 270), "no newline");
    assert!(SecretIdentity::parse(&printed.out).unwrap().identity().locally_valid());
    desk.idtool(&["generate", "s"]).prints("s written\n");
    desk.idtool(&["generate", "s", "p"]).prints("s written\np written\n");
    let (secret, public) =
        (fs::read_to_string(desk.path("s")).unwrap(), fs::read_to_string(desk.path("p")).unwrap());
    assert_eq!((secret.len(), &secret[..141], mode(desk.path("s"))), (270, public.as_str(), 0o600));
    desk.idtool(&["generate", "absent/s"]).complains(1, "Error writing to absent/s");
}

#[test]
fn idtool_generates_vanity() {
    let desk = Desk::new();
    let ran = desk.idtool(&["generate", "s", "p", "7"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, "s written\np written\n"));
    assert!(fs::read_to_string(desk.path("p")).unwrap().starts_with('7'));
    let last = ran.err.lines().last().unwrap();
    assert!(last.starts_with("vanity address: found 7") && last.ends_with(" !"), "{last}");
    assert_eq!(desk.idtool(&["generate", "s", "p", "xyz"]).code, 1);
    assert_eq!(desk.idtool(&["generate", "s", "p", "ff"]).code, 1, "would never end");
}

#[test]
fn idtool_checks_and_signs() {
    let desk = Desk::new();
    desk.idtool(&["validate", "a.secret"]).prints("a.secret is a valid identity\n");
    desk.idtool(&["validate", public()]).prints(&format!("{} is a valid identity\n", public()));
    let forged = public().replacen("7046", "7047", 1);
    desk.idtool(&["validate", &forged]).complains(1, &format!("{forged} FAILED validation."));
    desk.idtool(&["validate", "absent"]).complains(1, "Identity argument invalid or file unreadable: absent");
    desk.idtool(&["getpublic", "a.secret"]).prints(public());
    desk.idtool(&["getpublic", "letter"])
        .complains(1, "Identity argument invalid or file unreadable: letter");
    desk.idtool(&["sign", SECRET, "letter"]).prints(SIGNATURE);
    desk.idtool(&["sign", SECRET, "absent"]).complains(1, "absent is not readable");
    let refused = format!("{} does not contain a private key (must use private to sign)", public());
    desk.idtool(&["sign", public(), "letter"]).complains(1, &refused);
    desk.idtool(&["verify", public(), "letter", SIGNATURE]).prints("letter signature valid\n");
    fs::write(desk.path("sig"), SIGNATURE).unwrap();
    desk.idtool(&["verify", "a.secret", "letter", "sig"]).prints("letter signature valid\n");
    for wrong in ["absent", "00", &SIGNATURE.replace('0', "1")] {
        desk.idtool(&["verify", public(), "letter", wrong]).complains(1, "letter signature check FAILED");
    }
    desk.idtool(&["verify", public(), "absent", SIGNATURE]).complains(1, "absent is not readable");
}

#[test]
fn idtool_helps() {
    let desk = Desk::new();
    for (words, code) in [
        (&[][..], 1),
        (&["frobnicate"], 1),
        (&["validate"], 1),
        (&["sign", SECRET], 1),
        (&["verify", SECRET, "letter"], 1),
        (&["initmoon"], 0),
        (&["genmoon"], 0),
    ] {
        let ran = desk.idtool(words);
        assert!(ran.code == code && ran.out.contains("Usage:") && ran.err.is_empty(), "{words:?}: {ran:?}");
    }
}

#[test]
fn idtool_makes_moons() {
    let desk = Desk::new();
    desk.idtool(&["initmoon", "absent"]).complains(1, "absent is not a valid identity");
    let described = desk.idtool(&["initmoon", "a.secret"]);
    assert!(
        described
            .out
            .starts_with("{\n \"id\": \"7046cfa9f1\",\n \"objtype\": \"world\",\n \"roots\": [\n  {\n"),
        "{described:?}"
    );
    assert!(!described.out.contains(&SECRET[142..]), "the identity's secret has no place in it");
    let edited = described.out.replace(
        "\"stableEndpoints\": []",
        "\"stableEndpoints\": [\"10.0.0.2/9993\", \"2001:db8::1/1\", \"10.0.0.1/9993\"]",
    );
    fs::write(desk.path("moon.json"), &edited).unwrap();
    let made = desk.idtool(&["genmoon", "moon.json"]);
    let name = "0000007046cfa9f1.moon";
    assert!(made.out.starts_with(&format!("wrote {name} (signed world with timestamp ")), "{made:?}");
    let moon = World::parse(&fs::read(desk.path(name)).unwrap()).unwrap();
    assert_eq!((moon.kind, moon.id), (WorldKind::Moon, 0x0070_46cf_a9f1));
    assert!(moon.is_signed_by(&moon.must_sign));
    let endpoints: Vec<String> = moon.roots[0].endpoints.iter().map(ToString::to_string).collect();
    assert_eq!(endpoints, ["10.0.0.1:9993", "10.0.0.2:9993", "[2001:db8::1]:1"]);
    desk.idtool(&["genmoon", "absent"]).complains(1, "cannot read absent");
    for (from, to, complaint) in [
        ("\"7046cfa9f1\"", "\"0\"", "ID in bad.json is invalid"),
        ("\"moon\"", "\"star\"", "invalid worldType"),
        (
            "2001:db8::1/1",
            "localhost",
            "bad.json: roots[0].stableEndpoints[1] must be IP/PORT, not \"localhost\"",
        ),
    ] {
        fs::write(desk.path("bad.json"), edited.replacen(from, to, 1)).unwrap();
        desk.idtool(&["genmoon", "bad.json"]).complains(1, complaint);
    }
    fs::write(desk.path("moon.json"), edited.replace("\"moon\"", "\"planet\"")).unwrap();
    assert_eq!(desk.idtool(&["genmoon", "moon.json"]).code, 0);
    assert_eq!(World::parse(&fs::read(desk.path(name)).unwrap()).unwrap().kind, WorldKind::Planet);
}

#[test]
fn identity_commands() {
    let desk = Desk::new();
    let made = desk.cli("identity new --out-secret s --out-public p");
    let public_text = fs::read_to_string(desk.path("p")).unwrap();
    assert_eq!((made.code, made.out.trim_end()), (0, &public_text[..10]));
    assert_eq!((mode(desk.path("s")), fs::read(desk.path("s")).unwrap().len()), (0o600, 270));
    let again = desk.cli("identity new --out-secret s");
    assert!(again.code == 2 && again.err.contains("--force"), "{again:?}");
    desk.cli("identity validate s").prints(&format!("{} is a valid identity\n", &public_text[..10]));
    desk.cli("identity public s").prints(&format!("{public_text}\n"));
    desk.cli("identity sign a.secret letter").prints(&format!("{SIGNATURE}\n"));
    desk.cli(&format!("identity verify a.secret letter {SIGNATURE}"))
        .prints("letter: signature of 7046cfa9f1 is valid\n");
    assert_eq!(desk.cli(&format!("identity verify s letter {SIGNATURE}")).code, 1);
    for line in ["identity vanity xy", "identity vanity ff", "identity public absent", "identity"] {
        assert_eq!(desk.cli(line).code, 2, "{line}");
    }
}

#[test]
fn a_planet_and_its_later_versions() {
    let desk = Desk::new();
    let made = desk.cli("root init --endpoint 203.0.113.7/9993,2001:db8::7/9993 --id 4711");
    assert_eq!((made.code, made.err.as_str()), (0, ""), "{made:?}");
    assert!(made.out.contains("scp ") && made.out.contains("planet.key"), "{made:?}");
    assert_eq!((mode(desk.path("home/planet.key")), mode(desk.path("home/identity.secret"))), (0o600, 0o600));
    let first = desk.planet();
    let own = Identity::parse(&fs::read_to_string(desk.path("home/identity.public")).unwrap()).unwrap();
    assert_eq!((first.kind, first.id, &first.roots[0].identity), (WorldKind::Planet, 4711, &own));
    assert_eq!(first.roots[0].endpoints.len(), 2);
    assert!(first.is_signed_by(&first.must_sign));

    let again = desk.cli("root init --endpoint 203.0.113.7/9993");
    assert!(again.code == 2 && again.err.contains("--force"), "{again:?}");
    assert_eq!(desk.planet(), first, "nothing was changed");

    assert_eq!(desk.cli("root add a.secret --endpoint 198.51.100.9/9993").code, 0);
    let second = desk.planet();
    assert!(second.roots.len() == 2 && second.may_replace(&first));
    assert_eq!(desk.cli("root sign --endpoint 203.0.113.8/9993").code, 0);
    let third = desk.planet();
    assert!(third.may_replace(&second));
    let moved = third.roots.iter().find(|root| root.identity == own).unwrap();
    assert_eq!(moved.endpoints, ["203.0.113.8:9993".parse().unwrap()]);
    assert_eq!(desk.cli("root remove 7046cfa9f1").code, 0);
    assert_eq!(desk.planet().roots.len(), 1);
    assert_eq!(desk.cli(&format!("root remove {}", own.address)).code, 2, "the last one");
    let shown = desk.cli("root show -j");
    assert!(
        shown.out.contains("\"worldId\": 4711") && shown.out.contains("\"203.0.113.8/9993\""),
        "{shown:?}"
    );

    fs::write(desk.path("home/planet.key"), "garbage").unwrap();
    let before = desk.planet();
    assert_eq!(desk.cli("root sign").code, 1);
    assert_eq!(desk.planet(), before);
}

#[test]
fn a_planet_in_a_home_that_ran_before() {
    let desk = Desk::new();
    fs::create_dir(desk.path("home")).unwrap();
    fs::write(desk.path("home/identity.secret"), SECRET).unwrap();
    let mut public_planet = Vec::new();
    World::public_planet().write(&mut public_planet);
    fs::write(desk.path("home/planet"), public_planet).unwrap();
    assert_eq!(desk.cli("root init --endpoint 10.0.0.1 --name demo").code, 0, "the public one is no loss");
    assert_eq!(desk.planet().roots[0].identity.to_string(), public());
    let id = desk.planet().id;
    assert_eq!(desk.cli("root init --endpoint 10.0.0.1 --name demo --force --out other").code, 0);
    assert_eq!(World::parse(&fs::read(desk.path("other")).unwrap()).unwrap().id, id, "the name decides");
    fs::write(desk.path("home/identity.secret"), &SECRET[..200]).unwrap();
    let ran = desk.cli("root init --endpoint 10.0.0.1 --force");
    assert!(ran.code == 1 && ran.err.contains("identity.secret"), "{ran:?}");
    for line in [
        "root init",
        "root init --endpoint 10.0.0.1/x",
        "root init --endpoint 127.0.0.1",
        "root init --endpoint 10.0.0.1 --id 0",
        "root init --endpoint 10.0.0.1 --id 149604618",
    ] {
        let ran = desk.cli(line);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{line}: {ran:?}");
    }
}

#[test]
fn moon_commands() {
    let desk = Desk::new();
    assert_eq!(desk.cli("moon init a.secret --endpoint 203.0.113.7/9993 --out m.json").code, 0);
    assert_eq!(mode(desk.path("m.json")), 0o600);
    assert_eq!(desk.cli("moon init a.secret --out m.json").code, 2, "its key cannot be made again");
    let signed = desk.cli("moon sign m.json");
    assert!(signed.out.contains("moon orbit 7046cfa9f1 7046cfa9f1"), "{signed:?}");
    let moon = World::parse(&fs::read(desk.path("0000007046cfa9f1.moon")).unwrap()).unwrap();
    assert_eq!(moon.roots[0].endpoints, ["203.0.113.7:9993".parse().unwrap()]);
    assert!(desk.cli("root show 0000007046cfa9f1.moon").out.contains("root 7046cfa9f1  203.0.113.7/9993"));
    let bad = desk.cli("moon sign letter");
    assert!(bad.code == 1 && bad.err.contains("no JSON"), "{bad:?}");
}
