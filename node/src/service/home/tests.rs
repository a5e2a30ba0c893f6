use std::os::unix::fs::PermissionsExt;

use proptest::prelude::*;

use protocol::netconf::NetworkConfig;
use protocol::{NetworkId, Time};

use super::directory::hex_name;
use super::networks::device_in_map;
use super::*;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// Every file below a directory with its content.
fn picture(root: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            all.extend(picture(&path));
        } else {
            all.push((path.clone(), fs::read(&path).unwrap()));
        }
    }
    all.sort();
    all
}

fn start(root: &Path) -> Result<(Home, SecretIdentity), StartError> {
    let mut home = Home::claim(root)?;
    let contents = home.inspect()?;
    let identity = home.prepare(contents.identity)?;
    Ok((home, identity))
}

#[test]
fn a_new_home_gets_identity_and_tokens_and_keeps_them() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("a/b");
    let (home, identity) = start(&root).unwrap();
    let token = home.token(TOKEN_FILE).unwrap();
    assert_eq!(token.len(), 24);
    assert!(token.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()));
    assert_eq!(mode(&root.join("identity.secret")), 0o600);
    assert_eq!(mode(&root.join("authtoken.secret")), 0o600);
    let secret = fs::read_to_string(root.join("identity.secret")).unwrap();
    assert_eq!((secret.len(), &secret[10..13]), (270, ":0:"));
    assert_eq!(fs::read_to_string(root.join("identity.public")).unwrap().len(), 141);
    drop(home);
    let before = picture(&root);
    let (home, again) = start(&root).unwrap();
    assert_eq!(again.address(), identity.address());
    assert_eq!(home.token(TOKEN_FILE).unwrap(), token);
    assert_eq!(picture(&root), before);
}

#[test]
fn a_home_is_for_its_owner() {
    let folder = tempfile::tempdir().unwrap();
    let fresh = folder.path().join("a/b");
    drop(start(&fresh).unwrap());
    assert_eq!(mode(&fresh), 0o700, "made by the node");
    // Without others a group was let in on purpose: its members may use the API by its socket.
    for (before, after) in [
        (0o755, 0o700),
        (0o775, 0o700),
        (0o711, 0o700),
        (0o701, 0o700),
        (0o770, 0o750),
        (0o750, 0o750),
        (0o710, 0o710),
        (0o700, 0o700),
    ] {
        fs::set_permissions(&fresh, fs::Permissions::from_mode(before)).unwrap();
        drop(start(&fresh).unwrap());
        assert_eq!(mode(&fresh), after, "{before:o}");
    }
    let other = folder.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::set_permissions(&other, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(other.join("something"), "").unwrap();
    drop(start(&other).unwrap());
    assert_eq!(mode(&other), 0o755, "this may be a directory of the system's");
}

#[test]
fn newline_is_accepted_and_a_missing_public_file_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let (home, identity) = start(root).unwrap();
    drop(home);
    let secret = fs::read_to_string(root.join("identity.secret")).unwrap();
    fs::write(root.join("identity.secret"), format!("{secret}\n")).unwrap();
    fs::set_permissions(root.join("identity.secret"), fs::Permissions::from_mode(0o644)).unwrap();
    fs::remove_file(root.join("identity.public")).unwrap();
    fs::write(root.join("authtoken.secret"), " abc\r\n\0").unwrap();
    let (home, again) = start(root).unwrap();
    assert_eq!(again.address(), identity.address());
    assert_eq!(fs::read_to_string(root.join("identity.public")).unwrap(), identity.identity().to_string());
    assert_eq!(mode(&root.join("identity.secret")), 0o600);
    assert_eq!(home.token(TOKEN_FILE).unwrap().as_str(), "abc");
}

#[test]
fn damage_ends_the_start_in_one_line_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let (home, _) = start(root).unwrap();
    drop(home);
    let secret = fs::read_to_string(root.join("identity.secret")).unwrap();
    let public = fs::read_to_string(root.join("identity.public")).unwrap();
    let other_address = format!("{}{}", if secret.starts_with('0') { '1' } else { '0' }, &secret[1..]);
    let cases: [(&str, Vec<u8>); 8] = [
        ("identity.secret", secret.as_bytes()[..200].to_vec()),
        ("identity.secret", Vec::new()),
        ("identity.secret", public.into_bytes()),
        ("identity.secret", other_address.into_bytes()),
        ("identity.secret", vec![0xff; 270]),
        ("planet", b"nonsense".to_vec()),
        ("planet", Vec::new()),
        ("local.conf", vec![0xff, 0xfe]),
    ];
    for (name, bytes) in cases {
        let good = fs::read(root.join(name)).ok();
        fs::write(root.join(name), &bytes).unwrap();
        fs::remove_file(root.join("identity.public")).ok();
        let before = picture(root);
        let error = start(root).unwrap_err().to_string();
        assert!(error.contains(&root.join(name).display().to_string()) && !error.contains('\n'), "{error}");
        assert_eq!(picture(root), before, "{name}");
        match good {
            Some(good) => fs::write(root.join(name), good).unwrap(),
            None => fs::remove_file(root.join(name)).unwrap(),
        }
    }
    start(root).unwrap();
}

#[test]
fn a_second_node_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let (home, _) = start(folder.path()).unwrap();
    home.write_pid().unwrap();
    let error = Home::claim(folder.path()).unwrap_err().to_string();
    assert!(
        error.contains(&format!("process {}", std::process::id())) && error.contains("--home"),
        "{error}"
    );
    drop(home);
    Home::claim(folder.path()).unwrap();
}

#[test]
fn networks_are_named_by_their_files() {
    let folder = tempfile::tempdir().unwrap();
    let (home, identity) = start(folder.path()).unwrap();
    let networks = folder.path().join("networks.d");
    fs::create_dir(&networks).unwrap();
    let good = NetworkId(0x1c33_c1ce_d07a_c85d);
    let config = NetworkConfig::new(good, identity.address(), Time::from_ms(5));
    home.store(Object::Network(good), config.to_dictionary().as_bytes()).unwrap();
    fs::write(networks.join("8056c2e21c000001.conf"), "").unwrap();
    fs::write(networks.join("8056c2e21c000002.conf"), "\n").unwrap();
    fs::write(networks.join("8056C2E21C000003.conf"), "v=zz\nnwid=\0\0").unwrap();
    for odd in ["8056c2e21c000004.local.conf", "x.conf", "8056c2e21c00000.conf", ".1c33c1ced07ac85d.conf.tmp"]
    {
        fs::write(networks.join(odd), "").unwrap();
    }
    let found = home.networks.list();
    let ids: Vec<_> = found.iter().map(|(id, _)| id.0 & 0xff).collect();
    assert_eq!(ids, [0x5d, 1, 2, 3]);
    assert_eq!(found[0].1.as_deref(), Some(config.to_dictionary().as_bytes()));
    assert!(found[1..].iter().all(|(_, cached)| cached.is_none()));
    fs::write(home.networks.settings_path(good), "allowManaged=1\n").unwrap();
    home.delete(Object::Network(good));
    assert_eq!(home.networks.list().len(), 3);
    assert!(!home.networks.settings_path(good).exists());
}

#[test]
fn a_join_token_is_kept_for_this_node_only() {
    let folder = tempfile::tempdir().unwrap();
    let (home, _) = start(folder.path()).unwrap();
    let network = NetworkId(0x8056_c2e2_1c00_0001);
    let path = home.object_path(Object::Token(network));
    assert_eq!(home.networks.token(network), None);
    home.store(Object::Network(network), b"\n").unwrap();
    home.store(Object::Token(network), b"ztt_x").unwrap();
    home.store(Object::Revocations(network), b"revoked").unwrap();
    assert_eq!(home.networks.revocations(network).as_deref(), Some(&b"revoked"[..]));
    assert_eq!(mode(&path), 0o600);
    assert_eq!(home.networks.token(network).unwrap().as_str(), "ztt_x");
    assert_eq!(home.networks.list().len(), 1, "it is no network of its own");
    for damaged in [&b""[..], b"a b", b"a\n", b"\xff", &[b'x'; 257]] {
        fs::write(&path, damaged).unwrap();
        assert_eq!(home.networks.token(network), None);
    }
    home.delete(Object::Network(network));
    assert!(!path.exists(), "it goes with the network");
    assert_eq!(home.networks.revocations(network), None, "and so do its revocations");
}

#[test]
fn a_leftover_temporary_file_is_no_obstacle() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.secret");
    fs::write(folder.path().join(".x.secret.tmp"), "torn").unwrap();
    write_atomically(&path, b"new", 0o600, Durability::Durable).unwrap();
    assert_eq!((fs::read(&path).unwrap(), mode(&path)), (b"new".to_vec(), 0o600));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    let unwritable = folder.path().join("missing/y");
    assert!(write_atomically(&unwritable, b"z", 0o600, Durability::Durable).is_err());
}

proptest! {
    #[test]
    fn device_map_never_panics(text in ".{0,200}") {
        let _ = device_in_map(&text, NetworkId(1));
    }

    #[test]
    fn device_map_finds_its_line(id in any::<u64>(), other in any::<u64>(), device in "[a-z]{1,15}") {
        prop_assume!(id != other);
        let text = format!("{other:016x}=no\r\n{id:016x}={device}\n");
        prop_assert_eq!(device_in_map(&text, NetworkId(id)), Some(device));
    }

    #[test]
    fn file_names_are_strict(name in ".{0,24}") {
        if let Some(id) = hex_name(&name, 16, ".conf") {
            prop_assert_eq!(name.to_lowercase(), format!("{id:016x}.conf"));
        }
    }
}

/// Whoever keeps a file elsewhere and links to it goes on having it there.
#[test]
fn what_a_link_leads_to_is_replaced() {
    use std::os::unix::fs::symlink;

    let folder = tempfile::tempdir().unwrap();
    let (root, etc) = (folder.path().join("home"), folder.path().join("etc"));
    fs::create_dir(&etc).unwrap();
    let (home, _) = start(&root).unwrap();
    let network = NetworkId(0x1c33_c1ce_d07a_c85d);
    fs::create_dir(root.join("networks.d")).unwrap();
    let is_link = |name: &str| fs::symlink_metadata(root.join(name)).unwrap().is_symlink();

    fs::write(etc.join("local.conf"), "{}").unwrap();
    symlink("../etc/local.conf", root.join("local.conf")).unwrap();
    home.write_settings("{\"settings\": {}}").unwrap();
    assert_eq!(fs::read_to_string(etc.join("local.conf")).unwrap(), "{\"settings\": {}}");
    assert!(is_link("local.conf"));

    // A chain of links, the end of which is not there yet.
    let conf = format!("networks.d/{network}.conf");
    symlink(etc.join("network.conf"), etc.join("link")).unwrap();
    symlink(etc.join("link"), root.join(&conf)).unwrap();
    home.store(Object::Network(network), b"nwid=1").unwrap();
    assert_eq!(fs::read(etc.join("network.conf")).unwrap(), b"nwid=1");
    assert!(is_link(&conf));
    let local = format!("networks.d/{network}.local.conf");
    symlink(etc.join("settings"), root.join(&local)).unwrap();
    home.networks.write_settings(network, "allowManaged=0\n").unwrap();
    assert!(is_link(&local) && etc.join("settings").is_file());

    // What cannot be replaced there is not replaced here either.
    symlink(folder.path().join("nowhere/planet"), root.join("planet")).unwrap();
    assert!(home.store(Object::Planet, b"planet").is_err());
    assert!(is_link("planet"));
    symlink("round", root.join("round")).unwrap();
    assert!(write_atomically(&root.join("round"), b"x", 0o600, Durability::Cache).is_err());
    // Leaving takes the link away, and nothing else.
    home.delete(Object::Network(network));
    assert!(!home.networks.is_marked(network) && etc.join("network.conf").is_file());
    let left: Vec<_> = picture(&etc).into_iter().map(|(path, _)| path).collect();
    assert_eq!(left.len(), 3 + 1, "no temporary file is left: {left:?}");
}

#[test]
fn files_that_mean_nothing_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let (home, _) = start(folder.path()).unwrap();
    assert!(home.ignored_files().is_empty());
    for (name, ignored) in [
        ("networks.d/1c33c1ced07ac85d.conf", false),
        ("networks.d/1C33C1CED07AC85D.local.conf", false),
        ("networks.d/1c33c1ced07ac85d.revoked", false),
        ("networks.d/.1c33c1ced07ac85d.conf.tmp", false),
        ("networks.d/foo.conf", true),
        ("networks.d/1c33c1ced07ac85.conf", true),
        ("moons.d/0000005aca06ff8e.moon", false),
        ("moons.d/5aca06ff8e.moon", true),
    ] {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "").unwrap();
        assert_eq!(home.ignored_files().contains(&path), ignored, "{name}");
    }
}

#[test]
fn our_own_group_may_read_the_token() {
    let folder = tempfile::tempdir().unwrap();
    let (home, _) = start(folder.path()).unwrap();
    let token = home.token(TOKEN_FILE).unwrap();
    let path = folder.path().join(TOKEN_FILE);
    for (before, after) in [(0o640, 0o640), (0o644, 0o600), (0o660, 0o600), (0o604, 0o600), (0o600, 0o600)] {
        fs::set_permissions(&path, fs::Permissions::from_mode(before)).unwrap();
        assert_eq!(home.token(TOKEN_FILE).unwrap(), token);
        assert_eq!(mode(&path), after, "{before:o}");
    }
}
