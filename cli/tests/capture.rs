//! `capture`: in a network namespace of its own, on a device that swallows what is sent into it.

#![allow(clippy::unwrap_used)] // A surprise is a failed test.

mod common;

use std::path::Path;
use std::process::{Command, Output};

use common::{Home, program};

const ID: &str = "37f2b7c94f000001";

fn home(device: &str) -> Home {
    let home = Home::unix();
    let network = format!(
        r#"[{{"id":"{ID}","name":"demo.lab","status":"OK","portDeviceName":"{device}"}},{{"id":"37f2b7c94f000002","name":"two","status":"REQUESTING_CONFIGURATION"}}]"#
    );
    home.service.answer("GET /network", 200, network);
    home
}

/// Runs a shell script where `$cli` is the tool, `zt0` a device with 10.9.9.1/24, and nothing else.
fn in_namespace(home: &Home, script: &str) -> Option<Output> {
    let device = "echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6; ip link add name zt0 type veth peer name zt1 && ip link set zt1 up && ip addr add 10.9.9.1/24 dev zt0 && ip link set zt0 up";
    let run = |script: &str| {
        Command::new("unshare")
            .args(["-n", "sh", "-c", script])
            .current_dir(home.path())
            .env("cli", program())
            .env("ZEROTIER_HOME", home.path())
            .env("HOME", "/nonexistent")
            .output()
    };
    match run(device) {
        Ok(output) if output.status.success() => {}
        other => {
            println!("SKIPPED: no network namespace can be made: {other:?}");
            return None;
        }
    }
    Some(run(&format!("{device} && {script}")).unwrap())
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// Sends an echo request ten times a second until the capture in the foreground is over.
const PINGS: &str = "{ ping -q -i 0.1 10.9.9.2 >/dev/null 2>&1 & }; ping=$!;";

#[test]
fn lines_say_what_passes() {
    let home = home("zt0");
    let Some(output) =
        in_namespace(&home, &format!("{PINGS} $cli capture demo.lab -c 2; code=$?; kill $ping; exit $code"))
    else {
        return;
    };
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let out = text(&output.stdout);
    assert_eq!(out.lines().count(), 2, "{out}");
    for line in out.lines() {
        assert!(line.contains(" out ") && line.contains("10.9.9.1"), "{line}");
    }
    assert!(text(&output.stderr).ends_with("2 packets captured, 0 dropped by the kernel\n"), "{output:?}");
}

#[test]
fn json_is_one_object_a_line() {
    let home = home("zt0");
    let script = format!("{PINGS} $cli capture {ID} -j -c 1; code=$?; kill $ping; exit $code");
    let Some(output) = in_namespace(&home, &script) else { return };
    let packet: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(packet["direction"], "out");
    assert!(packet["packet"].as_str().unwrap().contains("10.9.9.1"), "{packet}");
}

#[test]
fn a_signal_leaves_a_complete_file() {
    let home = home("zt0");
    let script = format!(
        "{PINGS} $cli capture demo.lab -w tap.pcapng & cli=$!; \
         until [ $(stat -c %s tap.pcapng 2>/dev/null || echo 0) -gt 400 ]; do sleep 0.05; done; \
         kill -INT $cli; wait $cli; code=$?; kill $ping; exit $code"
    );
    let Some(output) = in_namespace(&home, &script) else { return };
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(text(&output.stderr).contains("packets captured, 0 dropped"), "{output:?}");
    assert_eq!(kinds(&home.path().join("tap.pcapng")).last(), Some(&5), "statistics end it");
    let mode =
        std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(home.path().join("tap.pcapng")).unwrap());
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_reader_that_goes_ends_it() {
    let home = home("zt0");
    // No packet passes: only the end of the pipe can tell.
    let script = "{ $cli capture demo.lab -w -; echo $? >code; } | head -c 28 >head; wait; exit $(cat code)";
    let Some(output) = in_namespace(&home, script) else { return };
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(text(&output.stderr).contains("0 packets captured"), "{output:?}");
}

#[test]
fn tshark_reads_along() {
    let home = home("zt0");
    // tshark ends after the first packet it is shown, while the capture still runs.
    let script = format!(
        "tshark --version >/dev/null 2>&1 || exit 77; {PINGS} \
         $cli capture demo.lab -w - 2>log | timeout 30 tshark -n -r - -c 1 -T fields -e frame.interface_name -e arp.src.proto_ipv4; \
         code=$?; kill $ping; cat log >&2; exit $code"
    );
    let Some(output) = in_namespace(&home, &script) else { return };
    if output.status.code() == Some(77) {
        println!("SKIPPED: no tshark");
        return;
    }
    assert_eq!(text(&output.stdout), "zt0\t10.9.9.1\n", "{output:?}");
}

#[test]
fn time_ends_it() {
    let home = home("zt0");
    let Some(output) = in_namespace(&home, "$cli capture demo.lab --seconds 1 -w tap.pcapng") else { return };
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(kinds(&home.path().join("tap.pcapng")), [0x0a0d_0d0a, 1, 5]);
}

#[test]
fn what_is_in_the_way_is_explained() {
    let home = home("zt-none");
    let ran = home.run("capture demo.lab");
    assert!(ran.code == 1 && ran.err.contains("cannot capture on zt-none"), "{ran:?}");
    let ran = home.run("capture 37f2b7c94f000002");
    assert!(ran.code == 1 && ran.err.contains("REQUESTING_CONFIGURATION"), "{ran:?}");
    let ran = home.run("capture nobody");
    assert!(ran.code == 10 && ran.err.contains("has not joined network nobody"), "{ran:?}");
    assert!(home.run("capture --help").out.contains("tshark -r -"));
    let script = "setpriv --bounding-set -net_raw --inh-caps -net_raw $cli capture demo.lab";
    let home = self::home("zt0");
    let Some(output) = in_namespace(&home, script) else { return };
    if text(&output.stderr).contains("setpriv") {
        println!("SKIPPED: no setpriv");
        return;
    }
    assert!(output.status.code() == Some(1) && text(&output.stderr).contains("CAP_NET_RAW"), "{output:?}");
}

/// The types of a file's blocks; it must end where a block ends.
fn kinds(path: &Path) -> Vec<u32> {
    let file = std::fs::read(path).unwrap();
    let mut rest = &file[..];
    let mut kinds = Vec::new();
    while !rest.is_empty() {
        let word = |at: usize| u32::from_le_bytes(rest[at..at + 4].try_into().unwrap());
        kinds.push(word(0));
        rest = &rest[word(4) as usize..];
    }
    kinds
}
