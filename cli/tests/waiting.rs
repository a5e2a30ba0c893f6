//! `join NETWORK --wait` and `wait NETWORK`: exit codes, the line that says what is missing, and how the service is asked.

#![allow(clippy::unwrap_used)] // A surprise is a failed test.

mod common;

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use common::{Home, Ran, command, program};
use serde_json::{Value, json};

const NETWORK: &str = "361884d8f6000001";
const ASKED: &str = "GET /network/361884d8f6000001/ready?wait=0";

fn state(waiting_for: Option<&str>) -> Value {
    json!({
        "network": NETWORK, "name": "testnet", "address": "37f2b7c94f", "controller": "361884d8f6",
        "ready": waiting_for.is_none(), "waitingFor": waiting_for, "problem": null, "status": "OK", "online": true,
        "portDeviceName": "zt53xijwhx", "addresses": ["10.9.0.201/24", "fd00::1/88"], "authenticationURL": null,
        "ports": [9993],
    })
}

/// One look at a network in this state.
fn look(state: &Value) -> Ran {
    let home = Home::tcp();
    home.service.answer(ASKED, 200, state);
    home.run(&format!("wait {NETWORK} --timeout 0"))
}

#[test]
fn a_usable_network_is_told_with_its_interface_and_addresses() {
    look(&state(None)).prints("200 wait OK zt53xijwhx 10.9.0.201/24,fd00::1/88\n");
    let home = Home::unix();
    home.service.answer(ASKED, 200, state(None));
    home.service.answer(&format!("POST /network/{NETWORK}"), 200, "{}");
    home.run(&format!("join {NETWORK} --wait=0"))
        .prints("200 join OK\n200 wait OK zt53xijwhx 10.9.0.201/24,fd00::1/88\n");
    assert_eq!(home.service.seen()[0].body, "{}");
    home.run(&format!("join {NETWORK} --token ztt_x --wait=0"));
    assert_eq!(home.service.seen()[2].body, r#"{"token":"ztt_x"}"#);
    let ran = home.run(&format!("join {NETWORK} --wait=0 -j"));
    let result: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((ran.code, &result["ready"], &result["code"]), (0, &json!(true), &json!(0)));
    assert_eq!(
        (&result["addresses"][0], &result["address"]),
        (&json!("10.9.0.201/24"), &json!("37f2b7c94f"))
    );
}

#[test]
fn each_lack_has_its_exit_code_and_its_remedy() {
    for (word, code, says) in [
        (
            "online",
            4,
            "offline: no root answers; let UDP through this machine's firewall and its cloud's security group: local port 9993,",
        ),
        ("controller", 5, "the network's controller 361884d8f6 does not"),
        ("network", 6, "network not found: its controller 361884d8f6 does not know it"),
        ("authorization", 7, "the controller: ztnode-cli member authorize 361884d8f6000001 37f2b7c94f"),
        (
            "token",
            7,
            "37f2b7c94f, is not authorized: the token was not accepted (spent, expired or revoked), or the controller",
        ),
        ("login", 8, "log in at https://login.example/?a=b"),
        ("port", 9, "port error: the network interface cannot be made; /dev/net/tun does not exist"),
        ("addresses", 9, "not in place; /dev/net/tun does not exist"),
        ("something of tomorrow", 1, "not ready"),
    ] {
        let mut state = state(Some(word));
        state["authenticationURL"] = json!("https://login.example/?a=b");
        state["problem"] = json!("/dev/net/tun does not exist");
        let ran = look(&state);
        assert_eq!(
            (ran.code, ran.out.as_str(), ran.err.lines().count()),
            (code, "", 1),
            "{word}: {}",
            ran.err
        );
        assert!(ran.err.contains(says), "{word}: {}", ran.err);
        assert!(ran.err.starts_with(&format!("ztnode-cli: {NETWORK}: ")), "{}", ran.err);
    }
}

#[test]
fn json_has_the_same_fields_whatever_happens() {
    let home = Home::tcp();
    home.service.answer(ASKED, 200, state(Some("authorization")));
    let keys = |ran: &Ran| -> Vec<String> {
        let result: Value = serde_json::from_str(&ran.out).unwrap();
        assert_eq!(
            (result["code"].as_i64(), &result["ready"]),
            (Some(ran.code.into()), &json!(ran.code == 0))
        );
        result.as_object().unwrap().keys().cloned().collect()
    };
    let denied = home.run(&format!("wait {NETWORK} --timeout=0 -j"));
    let stopped = Home::stopped().run(&format!("-j wait {NETWORK} --timeout 0"));
    assert_eq!((denied.code, stopped.code), (7, 3));
    assert_eq!(keys(&denied), keys(&stopped));
    home.service.answer(ASKED, 200, state(None));
    assert_eq!(keys(&home.run(&format!("wait {NETWORK} --timeout=0 -j"))), keys(&denied));
}

#[test]
fn a_service_that_is_not_there_a_network_that_is_not_joined_and_strangers() {
    let ran = Home::stopped().run(&format!("wait {NETWORK} --timeout 0"));
    assert_eq!((ran.code, ran.err.contains("systemctl start ztnode")), (3, true), "{}", ran.err);
    let home = Home::tcp();
    home.service.answer(ASKED, 404, "{}");
    let ran = home.run(&format!("wait {NETWORK}  --timeout 0"));
    assert_eq!(
        (ran.code, ran.err.contains(&format!("ztnode-cli join {NETWORK} --wait"))),
        (10, true),
        "{}",
        ran.err
    );
    assert_eq!(home.run(&format!("wait {NETWORK} -Twrong --timeout 0")).code, 1);
    let old = Home::tcp().run(&format!("wait {NETWORK} --timeout 0"));
    assert_eq!((old.code, old.err.contains("restart")), (1, true), "{}", old.err);
    std::fs::remove_file(home.path().join("authtoken.secret")).unwrap();
    assert_eq!(home.run(&format!("wait {NETWORK}")).code, 2, "no token: at once");
}

#[test]
fn a_service_that_only_starts_is_waited_for() {
    let (home, service) = (tempfile::tempdir().unwrap(), Home::unix());
    service.service.answer(&format!("POST /network/{NETWORK}"), 200, "{}");
    let socket = service.path().join("ztnode.sock");
    let mut waiting = command(&program(), &["join", NETWORK, "--wait=30"], home.path(), Some(home.path()));
    let mut waiting = waiting.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut told = String::new();
    BufReader::new(waiting.stderr.as_mut().unwrap()).read_line(&mut told).unwrap();
    assert!(told.contains(" s more): this machine's ztnode service does not answer"), "{told}");
    assert!(service.service.seen().is_empty());
    std::fs::rename(socket, home.path().join("ztnode.sock")).unwrap();
    let ran = waiting.wait_with_output().unwrap();
    // The fixture knows no other path, as a service that is too old.
    assert_eq!((ran.status.code(), &ran.stdout[..]), (Some(1), &b"200 join OK\n"[..]));
}

#[test]
fn bad_arguments_are_2_and_the_classic_join_is_as_it_was() {
    let home = Home::tcp();
    for line in [
        "wait",
        "wait 361884d8f6000001 twice",
        "wait 361884d8f6000001 --timeout soon",
        "wait 361884d8f6000001 --timeuot 5",
        "join 361884d8f6000001 --wait=",
        "join 361884d8f6000001 --wiat",
        "join --wait",
        "wait 361884d8f6000001 -x",
    ] {
        assert_eq!(home.run(line).code, 2, "{line}");
    }
    assert!(home.service.seen().is_empty());
    assert_eq!(home.old("join 361884d8f6000001 -x").code, 0, "as the reference tool");
    home.service.answer(&format!("POST /network/{NETWORK}"), 200, "{}");
    home.run(&format!("join {NETWORK}")).prints("200 join OK\n");
    home.run(&format!("join -j {NETWORK}")).prints("{}");
    let help = home.run("help wait").out;
    assert!(help.contains("  7   this node is not authorized\n"), "{help}");
    assert_eq!(home.run("wait --help").out, help);
}
