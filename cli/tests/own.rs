//! The same commands under our own name: results on standard output, complaints on standard error with the fault first, and an
//! exit code for each kind of failure.

#![allow(clippy::unwrap_used)] // A surprise is a failed test.

mod common;

use common::{Home, program, run};

const STATUS: &str = r#"{"address":"37f2b7c94f","online":true,"tcpFallbackActive":false,"version":"0.1.0"}"#;
const NETWORK: &str = "361884d8f6000001";
const NETWORKS: &str = r#"[{"allowDNS":false,"assignedAddresses":["10.9.0.201/24"],"dns":{},"id":"361884d8f6000001","mtu":2800,"name":"test net","nwid":"361884d8f6000001","status":"OK"},{"id":"361884d8f6000002","name":"twice"},{"id":"361884d8f6000003","name":"twice"}]"#;

fn home() -> Home {
    let home = Home::tcp();
    home.service.answer("GET /status", 200, STATUS);
    home.service.answer("GET /network", 200, NETWORKS);
    for method in ["POST", "DELETE"] {
        home.service.answer(&format!("{method} /network/{NETWORK}"), 200, r#"{"id":1}"#);
    }
    home
}

/// The exit code and the first line of the complaint, without the name of the program; nothing else was printed.
#[track_caller]
fn complaint(home: &Home, words: &[&str]) -> (i32, String) {
    let ran = home.run_words(words);
    assert_eq!(ran.out, "", "{words:?}");
    assert!(ran.err.lines().count() <= 2, "{words:?}: a long complaint: {}", ran.err);
    let first = ran.err.lines().next().unwrap_or_default();
    (ran.code, first.strip_prefix("ztnode-cli: ").unwrap_or(first).to_owned())
}

#[test]
fn the_fault_comes_first_and_short_with_exit_code_2() {
    let home = home();
    for (line, says) in [
        ("jion 361884d8f6000001", "unknown command \"jion\"; did you mean `join`?"),
        ("version", "unknown command \"version\"; did you mean `-v`?"),
        ("networks", "unknown command \"networks\"; did you mean `listnetworks` or `network`?"),
        ("config", "unknown command \"config\""),
        ("help jion", "unknown command \"jion\"; did you mean `join`?"),
        ("-x", "unknown switch -x"),
        ("--jsno info", "unknown switch --jsno: did you mean --json?"),
        ("-jj info", "unknown switch -jj: switches are given one by one"),
        ("info -D", "-D needs a value, as in --home /var/lib/ztnode"),
        ("-p 0 info", "the port must be a number from 1 to 65535, not 0"),
        ("join 361884d8f6000001 --tokn x", "unknown switch --tokn: did you mean --token?"),
        ("join", "join: takes one network, by its 16-digit ID, or one join token"),
        (
            "join 37f2",
            "join: \"37f2\": a network's ID is 16 hexadecimal digits, such as 37f2b7c94f000001; its owner sees it with `ztnode-cli network list`",
        ),
        ("join 361884d8f6000001 5 --wait", "join: 5 stands alone; write --wait=5"),
        ("wait 361884d8f6000001 5", "wait: 5 stands alone; write --timeout=5"),
        ("leave", "leave: takes one network, by its ID or name"),
        ("info now", "info: takes no arguments; \"now\" is too many"),
        ("get 361884d8f6000001", "get: takes a network and a property, such as: get 37f2b7c94f000001 ip4"),
        ("get 361884d8f6000001 ipv4", "get: unknown property \"ipv4\"; did you mean ip4?"),
        ("get 361884d8f6000001 dns", "get: dns is no single value; see ztnode-cli -j listnetworks"),
        (
            "set 361884d8f6000001 allowGlobal",
            "set: \"allowGlobal\": write NAME=VALUE, such as allowDefault=1",
        ),
        ("set 361884d8f6000001 allowGlobal=2", "set: allowGlobal"),
        (
            "set 361884d8f6000001 allowGlobl=1",
            "set: unknown property \"allowGlobl\": did you mean allowGlobal?",
        ),
        ("set 361884d8f6000001 allowGlobal=1 allowDNS=x", "set: allowDNS"),
        ("set 361884d8f6000001 allowManaged=10.0.0.1/8", "set: allowManaged"),
        ("orbit deadbeef00", "orbit: takes a moon's ID and the address of one of its roots"),
        ("orbit 62a3 62a3a1eef1", "orbit: \"62a3\" is no moon's ID (10 or 16 digits)"),
        ("bond", "write bond list, bond PEER show, bond PEER rotate or bond setmtu MTU INTERFACE IP"),
    ] {
        let words: Vec<_> = line.split_whitespace().collect();
        let (code, said) = complaint(&home, &words);
        assert!(code == 2 && said.starts_with(says), "{line}: {code} {said}");
    }
    let changes = home.service.seen().iter().filter(|seen| !seen.line.starts_with("GET ")).count();
    assert_eq!(changes, 0, "nothing was changed");
    let none = home.run("");
    assert!(none.code == 2 && none.err.contains("Usage:") && none.out.is_empty(), "{none:?}");
}

#[test]
fn arguments_are_looked_at_before_the_service() {
    let empty = tempfile::tempdir().unwrap();
    for line in [
        "join",
        "join 37f2",
        "leave",
        "info x",
        "set N",
        "set N x",
        "set N allowDNS=2",
        "orbit 1 2",
        "network create --pool x",
    ] {
        let words: Vec<_> = line.split_whitespace().collect();
        assert_eq!(run(&program(), &words, empty.path(), Some(empty.path())).code, 2, "{line}");
    }
}

#[test]
fn a_service_that_does_not_run_is_3_whatever_was_asked() {
    let home = Home::stopped();
    for line in [
        "info",
        "peers",
        "listnetworks",
        "join 361884d8f6000001",
        "leave 361884d8f6000001",
        "get N status",
        "set N allowDNS=1",
        "/status",
        "doctor",
        "bond list",
        "network list",
        "member list N",
        "rules trace N",
    ] {
        let words: Vec<_> = line.split_whitespace().collect();
        let (code, says) = complaint(&home, &words);
        assert_eq!((code, says.as_str()), (3, "ztnode does not answer: connection failed"), "{line}");
    }
    let never = tempfile::tempdir().unwrap();
    let shown = never.path().display().to_string();
    for words in [&["info", "-D", &shown][..], &["network", "list", "-D", &shown]] {
        run(&program(), words, never.path(), None)
            .complains(3, &format!("ztnode-cli: ztnode is not running (no zerotier-one.port in {shown})"));
    }
}

#[test]
fn networks_have_names() {
    let home = home();
    assert_eq!(home.run_words(&["get", "test net", "ip4"]).out, "10.9.0.201\n");
    assert_eq!(home.run(&format!("get {NETWORK} status")).out, "OK\n");
    assert_eq!(home.run(&format!("get {NETWORK} assignedAddresses")).out, "10.9.0.201/24\n");
    assert_eq!(
        home.run_words(&["set", "test net", "allowDNS=no", "allowManaged=10.0.0.0/8,fd00::/8"]).code,
        0
    );
    let sent = home.service.seen().last().unwrap().clone();
    assert_eq!(sent.line, format!("POST /network/{NETWORK}"));
    assert_eq!(sent.body, r#"{"allowDNS":false,"allowManaged":"10.0.0.0/8,fd00::/8"}"#);
    assert_eq!(home.run_words(&["leave", "test net"]).out, "200 leave OK\n");
    assert_eq!(home.service.seen().last().unwrap().line, format!("DELETE /network/{NETWORK}"));
    home.service.answer(
        &format!("GET /network/{NETWORK}/ready?wait=0"),
        200,
        r#"{"ready":true,"portDeviceName":"zt0","addresses":[]}"#,
    );
    assert_eq!(home.run_words(&["wait", "test net", "--timeout", "0"]).out, "200 wait OK zt0 -\n");
    for (words, code, says) in [
        (&["get", "nobody", "ip4"][..], 10, "this node has not joined network nobody"),
        (&["set", "nobody", "allowDNS=1"], 10, "this node has not joined network nobody"),
        (&["set", "361884d8f600000f", "allowDNS=1"], 10, "this node has not joined network 361884d8f600000f"),
        (&["leave", "nobody"], 10, "this node has not joined network nobody"),
        (
            &["wait", "nobody"],
            10,
            "nobody: this node has joined no network called \"nobody\"; see `ztnode-cli listnetworks`, or give the 16-digit ID",
        ),
        (&["leave", "twice"], 2, "this node has joined more than one network called twice"),
    ] {
        assert_eq!(complaint(&home, words), (code, says.to_owned()), "{words:?}");
    }
}

#[test]
fn refusals_go_to_standard_error_in_words() {
    let home = home();
    home.service.answer(&format!("POST /network/{NETWORK}"), 400, r#"{"description":"no room"}"#);
    assert_eq!(complaint(&home, &["join", NETWORK]), (1, "join: ztnode answered 400: no room".into()));
    assert_eq!(complaint(&home, &["/nope"]), (1, "/nope: ztnode answered 404".into()));
    let (code, says) = complaint(&home, &["info", "-T", "wrong"]);
    assert!(code == 1 && says.starts_with("the service does not accept this caller"), "{says}");
    home.service.answer("GET /peer", 200, "{}");
    assert_eq!(
        complaint(&home, &["peers"]),
        (1, "200 peers invalid JSON response (an array is expected, not an object)".into())
    );
}

#[test]
fn a_token_is_enough_to_join() {
    let home = home();
    home.run(&format!("join ztt_{NETWORK}_5f0c2a19_0123")).prints("200 join OK\n");
    let sent = home.service.seen().last().unwrap().clone();
    assert_eq!(sent.line, format!("POST /network/{NETWORK}"));
    assert_eq!(sent.body, r#"{"token":"ztt_5f0c2a19_0123"}"#, "as every controller knows it");
    let (code, says) = complaint(&home, &["join", "ztt_5f0c2a19_0123"]);
    assert!(
        code == 2 && says.contains("write join NETWORK --token TOKEN") && !says.contains("0123"),
        "{says}"
    );
    let (code, says) =
        complaint(&home, &["join", NETWORK, "--token", "ztt_361884d8f6000002_5f0c2a19_0123", "--wait"]);
    assert!(code == 2 && says.contains("the token is one of network 361884d8f6000002"), "{says}");
}

#[test]
fn the_planet_of_a_token_comes_before_the_network() {
    let sha256 = "0123456789abcdef".repeat(4);
    let token = format!("ztt_{NETWORK}_5f0c2a19_0123_{sha256}_https://planets.example.com/planet");
    let asked = |home: &Home| home.service.seen().into_iter().map(|seen| seen.line).collect::<Vec<_>>();
    let join = format!("POST /network/{NETWORK}");

    let older = home();
    for words in [&["join", &token][..], &["join", &token, "--wait=5"], &["join", NETWORK, "--token", &token]]
    {
        let (code, says) = complaint(&older, words);
        assert!(
            code == 1 && says.contains("is older than this tool and takes no planet by a token"),
            "{says}"
        );
        assert_eq!(asked(&older).last().unwrap(), "GET /planet");
    }
    older.run(&format!("join --keep-planet {token}")).prints("200 join OK\n");
    let sent = older.service.seen().last().unwrap().clone();
    assert_eq!((sent.line, &*sent.body), (join.clone(), r#"{"token":"ztt_5f0c2a19_0123"}"#));

    let same = home();
    same.service.answer("GET /planet", 200, format!(r#"{{"sha256":"{sha256}","replaceable":false}}"#));
    same.run(&format!("join {token}")).prints("200 join OK\n");
    assert_eq!(asked(&same), ["GET /planet", &join]);
    assert_eq!(same.service.seen().last().unwrap().body, r#"{"token":"ztt_5f0c2a19_0123"}"#);

    let other = home();
    for (word, reason) in
        [("joined", "has joined a network"), ("heard", "a root has answered"), ("else", "keeps its own")]
    {
        other.service.answer(
            "GET /planet",
            200,
            format!(r#"{{"sha256":"00","replaceable":false,"keptBecause":"{word}"}}"#),
        );
        let ran = other.run(&format!("join {token}"));
        assert!(ran.code == 1 && ran.out.is_empty() && ran.err.contains(reason), "{ran:?}");
        for part in
            [&*sha256, "https://planets.example.com/planet", "systemctl restart ztnode", "--keep-planet"]
        {
            assert!(ran.err.contains(part), "{part}: {ran:?}");
        }
        assert!(!ran.err.contains("5f0c2a19_0123"), "{ran:?}");
    }
    other.service.answer("GET /planet", 500, r#"{"description":"the packet loop has stopped"}"#);
    let (code, says) = complaint(&other, &["join", &token, "--wait"]);
    assert!(
        code == 1 && says.contains("answers 500 about the planet: the packet loop has stopped"),
        "{says}"
    );
    assert!(!asked(&other).contains(&join), "joined all the same");

    // Nothing beside a word of the command line.
    let beside = format!("ztt_{NETWORK}_5f0c2a19_0123_{sha256}_lab.planet");
    let (code, says) = complaint(&home(), &["join", &beside]);
    assert!(code == 2 && says.contains("join --token-file FILE"), "{says}");
    let damaged = format!("ztt_{NETWORK}_5f0c2a19_0123_{sha256}_http://planets.example.com/planet");
    for words in [&["join", &damaged][..], &["join", NETWORK, "--token", &damaged]] {
        let (code, says) = complaint(&home(), words);
        assert!(
            code == 2 && says.contains("https and nothing else") && !says.contains("5f0c2a19_0123"),
            "{says}"
        );
    }
}

#[test]
fn a_token_in_a_file() {
    let home = home();
    let path = home.path().join("token");
    home.write("token", format!("ztt_{NETWORK}_5f0c2a19_0123\n"));
    let file = path.to_str().unwrap();
    for words in [&["join", "--token-file", file][..], &["join", NETWORK, &format!("--token-file={file}")]] {
        home.run_words(words).prints("200 join OK\n");
        assert_eq!(home.service.seen().last().unwrap().body, r#"{"token":"ztt_5f0c2a19_0123"}"#);
    }
    for (words, says) in [
        (&["join", "--token-file", "nowhere"][..], "cannot read the token in nowhere"),
        (&["join", "--token-file"], "--token-file takes the name of a file"),
        (&["join", "--token-file", file, "--token", "x"], "there are two join tokens"),
        (&["join", "--token-file", file, "361884d8f6000002"], "one of network 361884d8f6000001"),
        (&["leave", "--token-file", file], "leave knows no switch --token-file"),
    ] {
        let (code, said) = complaint(&home, words);
        assert!(code == 2 && said.contains(says), "{words:?}: {said}");
    }
}

#[test]
fn the_version_is_ours() {
    home().run("-v").prints(&format!("{}\n", cli::VERSION));
    home().run("network --version").prints(&format!("{}\n", cli::VERSION));
}

#[test]
fn help_on_everything_and_on_one_thing() {
    let home = home();
    for (line, says) in [
        ("help network create", "--subnet"),
        ("help join", "Example:"),
        ("join --help", "Exit codes"),
        ("help", "Usage:"),
        ("-h", "Usage:"),
    ] {
        let ran = home.run(line);
        assert!(ran.code == 0 && ran.out.contains(says) && ran.err.is_empty(), "{line}: {ran:?}");
    }
}
