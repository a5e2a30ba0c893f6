//! The daemon and what starts it: a service manager that listens to its notifications, and root that does not stay root.
//!
//! Each daemon runs in a network namespace of its own, with one address that leads nowhere.

// Helpers outside of test functions panic as well.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};

const NETWORK: &str = "1c33c1ced07ac85d";
const PATIENCE: Duration = Duration::from_secs(20);
/// The capabilities a node keeps, as the kernel shows them: NET_BIND_SERVICE, NET_ADMIN, NET_RAW.
const KEPT: &str = "0000000000003400";

/// A running daemon and the service manager it believes in.
struct Node {
    child: Child,
    manager: UnixDatagram,
    home: PathBuf,
    _folder: tempfile::TempDir,
}

impl Node {
    /// Starts it with a network to join on disk; `None` = this machine has no namespaces for us.
    fn start(arguments: &[&str], watchdog: Option<Duration>) -> Option<Self> {
        Self::start_by(&[], arguments, watchdog)
    }

    /// The same by another program, which is given the daemon's command line.
    fn start_by(starter: &[&str], arguments: &[&str], watchdog: Option<Duration>) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let home = folder.path().join("home");
        fs::create_dir_all(home.join("networks.d")).unwrap();
        fs::write(home.join("networks.d").join(format!("{NETWORK}.conf")), "").unwrap();
        let manager = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        fs::set_permissions(folder.path().join("notify"), fs::Permissions::from_mode(0o777)).unwrap();
        manager.set_read_timeout(Some(PATIENCE)).unwrap();

        let mut unshare = Command::new("unshare");
        if !Uid::effective().is_root() {
            unshare.arg("--map-root-user");
        }
        unshare.args(["--net", "--mount"]);
        if !unshare_works(&unshare) {
            eprintln!("skipped: no network namespaces here");
            return None;
        }
        // A device file of the namespace's own: its mode may be changed.
        let script = "ip link set lo up; ip link add d0 type veth peer name d1
            ip link set d1 up; ip link set d0 up; ip addr add 10.9.9.1/24 dev d0
            mount -t tmpfs none /dev/net && mknod -m 600 /dev/net/tun c 10 200
            exec \"$@\"";
        unshare.args(["sh", "-c", script, "sh"]).args(starter).args([env!("CARGO_BIN_EXE_ztnode"), "--home"]);
        unshare.arg(&home).args(arguments).stderr(Stdio::null());
        unshare.env("NOTIFY_SOCKET", folder.path().join("notify"));
        unshare.env_remove("WATCHDOG_PID").env_remove("ZEROTIER_HOME");
        if let Some(time) = watchdog {
            unshare.env("WATCHDOG_USEC", time.as_micros().to_string());
        }
        let child = unshare.spawn().unwrap();
        Some(Node { child, manager, home, _folder: folder })
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// The next notification: its lines.
    fn hear(&self) -> Vec<String> {
        self.hear_or_not().expect("a notification in time")
    }

    fn hear_or_not(&self) -> Option<Vec<String>> {
        let mut buffer = [0; 4096];
        match self.manager.recv(&mut buffer) {
            Ok(length) => {
                let text = std::str::from_utf8(&buffer[..length]).unwrap();
                Some(text.lines().map(str::to_owned).collect())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            Err(error) => panic!("{error}"),
        }
    }

    /// Everything heard up to the notification that has this line.
    fn hear_until(&self, line: &str) -> Vec<String> {
        let until = Instant::now() + PATIENCE;
        let mut heard = Vec::new();
        while Instant::now() < until {
            heard.extend(self.hear());
            if heard.iter().any(|l| l == line) {
                return heard;
            }
        }
        panic!("no {line} in {heard:?}");
    }

    /// The body of the answer to a request over the Unix socket.
    fn ask(&self, path: &str) -> serde_json::Value {
        let mut stream = UnixStream::connect(self.home.join("ztnode.sock")).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let body = answer.split_once("\r\n\r\n").expect("an answer").1;
        serde_json::from_str(body).unwrap_or_else(|e| panic!("{e}: {answer}"))
    }

    /// Local addresses and inodes of the UDP sockets in its namespace.
    fn udp_sockets(&self) -> Vec<String> {
        let table = fs::read_to_string(format!("/proc/{}/net/udp", self.pid())).unwrap();
        let words = |line: &str| {
            let words: Vec<_> = line.split_whitespace().collect();
            format!("{} {}", words[1], words[9])
        };
        table.lines().skip(1).map(words).collect()
    }

    fn process_status(&self, key: &str) -> String {
        let text = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = text.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(':')).unwrap();
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// Stops it in an orderly way.
    fn stop(mut self) {
        let begun = Instant::now();
        self.signal(Signal::SIGTERM);
        let heard = self.hear_until("STOPPING=1");
        assert!(heard.contains(&"STATUS=stopping".to_owned()), "{heard:?}");
        assert!(self.child.wait().unwrap().success());
        assert!(begun.elapsed() < Duration::from_secs(10), "stopping took {:?}", begun.elapsed());
        assert!(!self.home.join("zerotier-one.pid").exists());
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn unshare_works(unshare: &Command) -> bool {
    let mut probe = Command::new(unshare.get_program());
    probe.args(unshare.get_args()).args(["ip", "link"]);
    probe.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|s| s.success())
}

#[test]
fn ready_means_usable_and_a_reload_keeps_the_sockets() {
    let Some(node) = Node::start(&["-U"], None) else { return };
    let heard = node.hear_until("READY=1");
    assert!(heard.iter().any(|l| l.starts_with("STATUS=") && l.ends_with(" starting")), "{heard:?}");
    // At this very moment tools find us, the networks of the last run are joined, and packets can come.
    assert_eq!(fs::read_to_string(node.home.join("zerotier-one.port")).unwrap(), "9993");
    let networks = node.ask("/network");
    assert_eq!(networks[0]["id"], NETWORK, "{networks}");
    assert!(networks[0]["portDeviceName"].is_string(), "{networks}");
    let status = heard.iter().rev().find(|l| l.starts_with("STATUS=")).unwrap();
    let address = node.ask("/status")["address"].as_str().unwrap().to_owned();
    assert!(
        status.starts_with(&format!("STATUS={address} OFFLINE; 0 networks OK; waiting: {NETWORK} ")),
        "{status}"
    );
    let sockets = node.udp_sockets();
    assert!(!sockets.is_empty());

    // The settings are read again; the sockets are the very same.
    fs::write(node.home.join("local.conf"), r#"{"settings":{"lowBandwidthMode":true}}"#).unwrap();
    node.signal(Signal::SIGHUP);
    let heard = node.hear();
    assert_eq!(heard[0], "RELOADING=1");
    assert!(heard[1].starts_with("MONOTONIC_USEC="), "{heard:?}");
    assert_eq!(node.hear(), ["READY=1"]);
    assert_eq!(node.udp_sockets(), sockets);
    assert_eq!(node.ask("/status")["config"]["settings"]["lowBandwidthMode"], true);

    // A mistake changes nothing, and the service manager is not left waiting.
    fs::write(node.home.join("local.conf"), "{").unwrap();
    node.signal(Signal::SIGHUP);
    assert_eq!(node.hear()[0], "RELOADING=1");
    assert_eq!(node.hear(), ["READY=1"]);
    assert_eq!(node.udp_sockets(), sockets);
    node.stop();
}

#[test]
fn the_watchdog_is_fed_until_the_process_stands_still() {
    let time = Duration::from_millis(800);
    let Some(node) = Node::start(&["-U"], Some(time)) else { return };
    node.hear_until("READY=1");
    let begun = Instant::now();
    for _ in 0..5 {
        node.hear_until("WATCHDOG=1");
    }
    assert!(begun.elapsed() >= time / 2, "fed too often");
    node.signal(Signal::SIGSTOP);
    node.manager.set_read_timeout(Some(time)).unwrap();
    // One may have been on its way.
    let late = node.hear_or_not();
    assert!(late.is_none() || node.hear_or_not().is_none());
    node.manager.set_read_timeout(Some(PATIENCE)).unwrap();
    node.signal(Signal::SIGCONT);
    node.hear_until("WATCHDOG=1");
    node.stop();
}

#[test]
fn root_is_given_up_and_the_home_with_it() {
    if !Uid::effective().is_root() {
        eprintln!("skipped: only root has something to give up");
        return;
    }
    let Some(node) = Node::start(&["--user", "nobody"], None) else { return };
    node.hear_until("READY=1");
    let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
    let (uid, gid) = (nobody.uid.to_string(), nobody.gid.to_string());
    assert_eq!(node.process_status("Uid"), vec![uid; 4].join(" "));
    assert_eq!(node.process_status("Gid"), vec![gid.clone(); 4].join(" "));
    assert_eq!(node.process_status("Groups"), gid);
    for set in ["CapPrm", "CapEff", "CapBnd"] {
        assert_eq!(node.process_status(set), KEPT, "{set}");
    }
    for set in ["CapInh", "CapAmb"] {
        assert_eq!(node.process_status(set), "0000000000000000", "{set}");
    }
    assert_eq!(node.process_status("NoNewPrivs"), "1");
    let mode = |path: &Path| {
        let meta = fs::metadata(path).unwrap();
        (meta.uid() == nobody.uid.as_raw() && meta.gid() == nobody.gid.as_raw(), meta.mode() & 0o777)
    };
    for secret in ["identity.secret", "authtoken.secret", "metricstoken.secret"] {
        assert_eq!(mode(&node.home.join(secret)), (true, 0o600), "{secret}");
    }
    assert!(mode(&node.home).0 && mode(&node.home.join("networks.d")).0);
    // What is left is enough for a port: the device file was root's alone.
    let networks = node.ask("/network");
    assert_eq!(networks[0]["status"], "REQUESTING_CONFIGURATION", "{networks}");
    assert_ne!(networks[0]["portDeviceName"], "");
    node.stop();
}

#[test]
fn no_core_is_dumped_and_the_home_is_closed() {
    if !Uid::effective().is_root() {
        eprintln!("skipped: only root can start it as somebody else");
        return;
    }
    // The kernel gives the files of a process to root when no core may be dumped of it, and to its user otherwise. A change of
    // user would do it by itself.
    let other = [
        "sh",
        "-c",
        "chown -R 65534:65534 \"$2\"; exec setpriv --reuid 65534 --regid 65534 --clear-groups \"$0\" \"$@\"",
    ];
    let Some(node) = Node::start_by(&other, &[], None) else { return };
    node.hear_until("READY=1");
    assert!(node.process_status("Uid").starts_with("65534 65534"));
    let memory = fs::metadata(format!("/proc/{}/mem", node.pid())).unwrap();
    assert_eq!(memory.uid(), 0, "a core could be dumped");
    // It was made by hand, with whatever the umask left.
    assert_eq!(fs::metadata(&node.home).unwrap().mode() & 0o777, 0o700);
    node.stop();
}

#[test]
fn a_start_that_cannot_be_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_ztnode")).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let home = folder.path().to_str().unwrap();
    let text = run(&["--adopt", "--user", "no-such-account", "--home", home]);
    assert!(text.contains("no-such-account") && text.contains("useradd"), "{text}");
    fs::write(folder.path().join("something"), "").unwrap();
    let text = run(&["--adopt", "--user", "nobody", "--home", home]);
    assert!(text.contains("none that a node would have put there"), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
}
