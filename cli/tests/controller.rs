//! The commands for the controller's networks and members: what they send, what they print.

#![allow(clippy::unwrap_used)] // A surprise is a failed test.

mod common;

use std::os::unix::fs::PermissionsExt as _;

use common::Home;

const ID: &str = "37f2b7c94f000001";

fn network(extra: &str) -> String {
    format!(
        r#"{{"id":"{ID}","nwid":"{ID}","name":"demo.lab","private":true,"mtu":2800,"multicastLimit":32,"enableBroadcast":true,"revision":1,"routes":[{{"target":"10.0.0.0/16","via":null}}],"ipAssignmentPools":[{{"ipRangeStart":"10.0.0.1","ipRangeEnd":"10.0.0.254"}}],"v4AssignMode":{{"zt":true}},"v6AssignMode":{{"rfc4193":true,"6plane":false,"zt":false}},"rules":[{{"type":"ACTION_ACCEPT"}}],"dns":[]{extra}}}"#
    )
}

fn home() -> Home {
    let home = Home::tcp();
    let counted = network(r#","meta":{"authorizedMemberCount":1,"totalMemberCount":2}"#);
    home.service.answer(
        "GET /unstable/controller/network",
        200,
        format!(r#"{{"data":[{counted}],"meta":{{"networkCount":1}}}}"#),
    );
    home.service.answer(&format!("GET /controller/network/{ID}"), 200, network(""));
    home.service.answer(&format!("POST /controller/network/{ID}"), 200, network(""));
    home.service.answer("POST /controller/network", 200, network(""));
    home.service.answer("GET /status", 200, r#"{"address":"37f2b7c94f"}"#);
    home.service.answer(
        &format!("GET /unstable/controller/network/{ID}/member"),
        200,
        format!(
            r#"{{"data":[{{"address":"5aca06ff8e","nwid":"{ID}","authorized":false,"identity":"5aca06ff8e:0:x","vMajor":-1,"lastDeauthorizedTime":0}},{{"address":"62f865ae71","nwid":"{ID}","name":"aws","authorized":true,"ipAssignments":["10.0.1.1"],"vMajor":1,"vMinor":14,"vRev":1}}]}}"#
        ),
    );
    for address in ["5aca06ff8e", "62f865ae71"] {
        let member = format!(
            r#"{{"address":"{address}","nwid":"{ID}","name":"aws","authorized":true,"ipAssignments":["10.0.1.1"]}}"#
        );
        home.service.answer(&format!("POST /controller/network/{ID}/member/{address}"), 200, &member);
        home.service.answer(&format!("DELETE /controller/network/{ID}/member/{address}"), 200, &member);
        home.service.answer(&format!("GET /controller/network/{ID}/member/{address}"), 200, &member);
    }
    home
}

#[track_caller]
fn sent(home: &Home) -> serde_json::Value {
    serde_json::from_str(&home.service.seen().last().unwrap().body).unwrap()
}

#[test]
fn create_says_everything_in_one_request() {
    let home = home();
    let ran = home.run(
        "network create --name demo.lab --route 10.0.0.0/16 --route 192.168.7.0/24,via=10.0.0.7 --pool 10.0.0.1-10.0.0.254 \
         --rfc4193 --6plane --v6-zt=false --private --mtu 1400 --multicast-limit 64 --dns domain=demo.lab,server=10.0.0.1",
    );
    assert!(ran.code == 0 && ran.err.starts_with("note: nodes of this version do not set up"), "{ran:?}");
    assert!(
        ran.out.contains(&format!("ztnode-cli join {ID}")) && ran.out.contains("member authorize"),
        "{ran:?}"
    );
    let expected = serde_json::json!({
        "name": "demo.lab", "private": true, "mtu": 1400, "multicastLimit": 64,
        "routes": [{"target": "10.0.0.0/16", "via": null}, {"target": "192.168.7.0/24", "via": "10.0.0.7"}],
        "ipAssignmentPools": [{"ipRangeStart": "10.0.0.1", "ipRangeEnd": "10.0.0.254"}],
        "v4AssignMode": {"zt": true}, "v6AssignMode": {"rfc4193": true, "6plane": true, "zt": false},
        "dns": {"domain": "demo.lab", "servers": ["10.0.0.1"]},
    });
    assert_eq!(sent(&home), expected);
    home.run("network create -j")
        .prints(&format!("{}\n", cli::text::json::dump(&serde_json::from_str(&network("")).unwrap())));
    assert_eq!(sent(&home), serde_json::json!({}));
}

#[test]
fn a_subnet_is_route_pool_and_assignment() {
    let home = home();
    let ran = home.run("network create other --subnet 10.20.0.0/16 --subnet fd00:20::/64");
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{ran:?}");
    let expected = serde_json::json!({
        "name": "other",
        "routes": [{"target": "10.20.0.0/16", "via": null}, {"target": "fd00:20::/64", "via": null}],
        "ipAssignmentPools": [{"ipRangeStart": "10.20.0.1", "ipRangeEnd": "10.20.255.254"},
            {"ipRangeStart": "fd00:20::1", "ipRangeEnd": "fd00:20::ffff:ffff:ffff:ffff"}],
        "v4AssignMode": {"zt": true}, "v6AssignMode": {"zt": true, "rfc4193": false, "6plane": false},
    });
    assert_eq!(sent(&home), expected);
    assert_eq!(home.run("network set demo.lab --subnet 10.20.0.0/16 --pool 10.20.1.0/24").code, 0);
    let pools = serde_json::json!([{"ipRangeStart": "10.20.1.1", "ipRangeEnd": "10.20.1.254"}]);
    assert_eq!(sent(&home)["ipAssignmentPools"], pools);
    assert_eq!(home.run("network set demo.lab --no-dns").code, 0);
    assert_eq!(sent(&home), serde_json::json!({"dns": {"domain": "", "servers": []}}));
    for wrong in ["--subnet 10.20.0.1/16", "--subnet 10.20.0.0", "--subnet 0.0.0.0/0", "--dns domain=x"] {
        assert_eq!(home.run(&format!("network create x {wrong}")).code, 2, "{wrong}");
    }
    assert_eq!(home.run(&format!("network create {ID}")).code, 2, "a name like an ID");
}

#[test]
fn what_cannot_be_taken_back_is_shown_first() {
    let home = home();
    home.run("network delete demo.lab --dry-run")
        .prints(&format!("would delete network {ID} (demo.lab) with its 2 members\n"));
    home.run("member delete demo.lab aws --dry-run")
        .prints(&format!("would delete member 62f865ae71 from {ID}\n"));
    home.run("controller restore x.db --dry-run")
        .prints("would replace all networks and members with those in x.db\n");
    assert!(home.service.seen().iter().all(|seen| seen.line.starts_with("GET ")));
    // At a terminal it is asked.
    for (answer, code, done) in [("n", 1, 0), ("y", 0, 1)] {
        let line = format!("{} member delete demo.lab aws", common::program().display());
        let mut command =
            common::command("script".as_ref(), &["-qec", &line, "/dev/null"], home.path(), Some(home.path()));
        let script =
            command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().unwrap();
        std::io::Write::write_all(&mut script.stdin.as_ref().unwrap(), format!("{answer}\n").as_bytes())
            .unwrap();
        let output = script.wait_with_output().unwrap();
        let shown = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(shown.contains(&format!("Delete member 62f865ae71 from {ID}? [y/N] ")), "{shown}");
        assert_eq!(output.status.code(), Some(code), "{shown}");
        let deleted = home.service.seen().iter().filter(|seen| seen.line.starts_with("DELETE ")).count();
        assert_eq!(deleted, done, "{shown}");
    }
}

#[test]
fn a_network_of_another_controller_says_whose_it_is() {
    let home = home();
    home.service.answer("GET /network", 200, r#"[{"id":"62a3a1eef1000001","name":"theirs"}]"#);
    for line in ["member authorize 62a3a1eef1000001 5aca06ff8e", "network show theirs", "token list theirs"] {
        let ran = home.run(line);
        let says = "ztnode-cli: network 62a3a1eef1000001 belongs to the controller 62a3a1eef1, and this node is 37f2b7c94f; \
                    run the command there\n";
        assert_eq!((ran.code != 0, ran.err.as_str()), (true, says), "{line}");
    }
    let ran = home.run(&format!("member show {ID} 1122334455"));
    assert!(ran.code == 1 && ran.err.contains("has no member 1122334455"), "{ran:?}");
}

#[test]
fn an_address_outside_every_route_is_refused() {
    let home = home();
    for line in [
        "member authorize demo.lab 5aca06ff8e --ip 10.5.0.1 --name b",
        "member set demo.lab aws --ip 10.0.1.1 --ip fd00::5",
    ] {
        let ran = home.run(line);
        assert!(ran.code == 2 && ran.err.contains("is in no route of the network"), "{line}: {ran:?}");
        assert!(ran.err.contains("its routes: 10.0.0.0/16"), "{line}: {ran:?}");
    }
    assert!(home.service.seen().iter().all(|seen| seen.line.starts_with("GET ")));
}

#[test]
fn what_the_controller_takes_for_a_mistake_is_told() {
    let home = home();
    let member = format!(r#"{{"address":"5aca06ff8e","nwid":"{ID}","warnings":["so","thus\u001b"]}}"#);
    home.service.answer("POST /controller/network", 200, network(r#","warnings":["no addresses"]"#));
    home.service.answer(
        &format!("POST /controller/network/{ID}"),
        200,
        network(r#","warnings":["no route"]"#),
    );
    home.service.answer(&format!("POST /controller/network/{ID}/member/5aca06ff8e"), 200, member);
    for (line, says) in [
        ("network create x", "warning: no addresses\n"),
        ("network set demo.lab --mtu 1400", "warning: no route\n"),
        ("member authorize demo.lab 5aca06ff8e --name aws", "warning: so\nwarning: thus?\n"),
    ] {
        let ran = home.run(line);
        assert_eq!((ran.code, ran.err.as_str()), (0, says), "{line}");
    }
}

#[test]
fn create_with_an_id_checks_whose_it_is() {
    let home = home();
    assert_eq!(home.run("network create --id 5aca06ff8e000001").code, 2);
    assert_eq!(home.run(&format!("network create --id {ID}")).code, 2, "it exists");
    home.service.answer("POST /controller/network/37f2b7c94f000002", 200, network(""));
    assert_eq!(home.run("network create --id 37f2b7c94f000002").code, 0);
}

#[test]
fn list_show_set_delete() {
    let home = home();
    home.run("network list").prints(
        "NETWORK           NAME      ACCESS   MEMBERS  ROUTES       POOLS\n\
         37f2b7c94f000001  demo.lab  private  1/2      10.0.0.0/16  10.0.0.1-10.0.0.254\n",
    );
    let shown = home.run("network show demo.lab");
    assert!(
        shown.out.starts_with("network          37f2b7c94f000001\nname             demo.lab\n"),
        "{shown:?}"
    );
    assert_eq!(home.run("network set demo.lab --6plane --public").code, 0);
    let expected =
        serde_json::json!({"private": false, "v6AssignMode": {"rfc4193": true, "6plane": true, "zt": false}});
    assert_eq!(sent(&home), expected, "the modes not named stay");
    assert_eq!(home.run("network set demo.lab --no-routes --no-pools").code, 0);
    assert_eq!(sent(&home), serde_json::json!({"routes": [], "ipAssignmentPools": []}));
    assert_eq!(home.run("network set demo.lab").code, 2);
    home.service.answer(&format!("DELETE /controller/network/{ID}"), 200, network(""));
    home.run("network delete demo.lab").prints(&format!("network {ID} deleted with all its members\n"));
    assert_eq!(home.run("network show nobody").code, 2);
    assert_eq!(home.run("network show 37f2b7c94fffffff").code, 1);
}

#[test]
fn members() {
    let home = home();
    home.run("member list demo.lab").prints(&format!(
        "ADDRESS     NAME  STATE       IPS                                           BRIDGE  PROTOCOL\n\
         62f865ae71  aws   authorized  10.0.1.1,fd37:f2b7:c94f:0:199:9362:f865:ae71  -       1.14.1\n\
         5aca06ff8e  -     asking      -                                             -       -\n\
         \nAuthorize one: ztnode-cli member authorize {ID} 5aca06ff8e\n"
    ));
    home.run(&format!("member authorize {ID} 5aca06ff8e --ip 10.0.1.1 --name aws --bridge"))
        .prints(&format!("member 5aca06ff8e (aws) authorized on {ID}: 10.0.1.1\n"));
    let expected = serde_json::json!({"authorized": true, "ipAssignments": ["10.0.1.1"], "name": "aws", "activeBridge": true});
    assert_eq!(sent(&home), expected);
    assert_eq!(home.run("member deauthorize demo.lab aws").code, 0);
    assert_eq!(
        home.service.seen().last().unwrap().line,
        format!("POST /controller/network/{ID}/member/62f865ae71")
    );
    assert_eq!(sent(&home), serde_json::json!({"authorized": false}));
    // Who knows of it: those that acknowledge are waited for a moment.
    let path = format!("/controller/network/{ID}");
    let record = |revocation: serde_json::Value| serde_json::json!({"address": "62f865ae71", "nwid": ID, "revocation": revocation});
    let seen = serde_json::json!({
        "nwid": ID, "address": "62f865ae71", "objtype": "revocation", "threshold": 1, "until": 2,
        "acknowledged": ["5aca06ff8e", "37f2b7c94f"], "sent": ["1122334455"], "unreachable": ["2233445566"], "waiting": [],
    });
    let waiting = record(serde_json::json!({"waiting": ["5aca06ff8e"]}));
    home.service.answer(&format!("POST {path}/member/62f865ae71"), 200, waiting);
    home.service.answer(&format!("GET {path}/revocation/62f865ae71"), 200, &seen);
    home.run("member deauthorize demo.lab aws").prints(&format!(
        "member 62f865ae71 deauthorized on {ID}\n\
         the other members: acknowledged by 2, sent to 1 (zerotier-one cannot confirm), not reachable 1: 2233445566 (told \
         when they ask again)\n"
    ));
    let shown = home.run("-j member deauthorize demo.lab aws");
    let shown: serde_json::Value = serde_json::from_str(&shown.out).unwrap();
    assert_eq!(shown["revocation"], seen);
    home.service.answer(&format!("POST {path}/member/62f865ae71"), 200, record(serde_json::Value::Null));
    assert_eq!(home.run("member set demo.lab aws --tag 1=2 --capability 3 --no-auto-assign-ips").code, 0);
    assert_eq!(
        sent(&home),
        serde_json::json!({"tags": [[1, 2]], "capabilities": [3], "noAutoAssignIps": true})
    );
    home.run("member delete demo.lab aws").prints(&format!("member 62f865ae71 deleted from {ID}\n"));
    for line in [
        "member authorize demo.lab",
        "member authorize demo.lab ff00000000",
        "member set demo.lab aws",
        "member authorize demo.lab aws --ip 10.0.1.1/16",
        "member frobnicate",
        "member set demo.lab nobody --bridge",
    ] {
        let ran = home.run(line);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{line}: {ran:?}");
    }
}

#[test]
fn who_asks_anywhere() {
    home().run("member list").prints(&format!(
        "NETWORK           CALLED    ADDRESS     NAME  PROTOCOL\n\
         37f2b7c94f000001  demo.lab  5aca06ff8e  -     -\n\
         \nAuthorize one: ztnode-cli member authorize {ID} 5aca06ff8e\n"
    ));
}

#[test]
fn who_was_put_out_is_not_proposed_to_be_let_in() {
    let home = home();
    let member = |address: &str, more: &str| format!(r#"{{"address":"{address}","authorized":false{more}}}"#);
    let (out, typo) =
        (r#","lastDeauthorizedTime":5,"vMajor":1,"vMinor":14,"vRev":1,"identity":"i""#, r#","vMajor":-1"#);
    let list = [member("1122334455", out), member("2233445566", typo)].join(",");
    let path = format!("GET /unstable/controller/network/{ID}/member");
    home.service.answer(&path, 200, format!(r#"{{"data":[{list}]}}"#));
    home.run("member list").prints("No node asks to be let into a network here.\n");
    home.run("member list demo.lab").prints(
        "ADDRESS     NAME  STATE         IPS  BRIDGE  PROTOCOL\n\
         1122334455  -     deauthorized  -    -       1.14.1\n\
         2233445566  -     never asked   -    -       -\n",
    );
}

#[test]
fn a_backup_is_written_whole_and_for_its_owner_only() {
    let home = home();
    home.service.answer("GET /controller/backup", 200, "a database");
    home.service.answer("POST /controller/restore", 500, r#"{"error":500,"description":"no such file"}"#);
    let elsewhere = tempfile::tempdir().unwrap();
    let path = elsewhere.path().join("copy.db");
    let name = path.display();
    home.run(&format!("controller backup {name}")).prints(&format!("controller written to {name}\n"));
    assert_eq!(std::fs::read(&path).unwrap(), b"a database");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let ran = home.run("controller backup copy.db");
    assert!(ran.code == 1 && ran.err.contains("in the node's home"), "{ran:?}");
    assert!(!home.path().join("copy.db").exists());
    let ran = home.run("controller backup nowhere/copy.db");
    assert!(ran.code == 1 && ran.err.contains("nowhere/copy.db"), "{ran:?}");
    let ran = home.run(&format!("controller restore {name}"));
    assert!(ran.code == 1 && ran.err.contains("no such file"), "{ran:?}");
    let ran = home.run("controller restore other.db");
    assert!(ran.code == 1 && ran.err.contains("other.db"), "{ran:?}");
}

#[test]
fn a_stopped_service_is_explained() {
    let ran = Home::stopped().run("network list");
    assert_eq!((ran.code, ran.out.as_str()), (3, ""));
    assert!(ran.err.contains("connection failed") && ran.err.contains("systemctl start ztnode"), "{ran:?}");
}

#[test]
fn every_help_teaches_with_an_example() {
    let home = Home::stopped();
    for line in [
        "network create",
        "network set",
        "member authorize",
        "identity new",
        "root init",
        "moon init",
        "controller backup",
    ] {
        let ran = home.run(&format!("{line} --help"));
        assert!(
            ran.code == 0 && ran.out.contains(&format!("ztnode-cli {line}")) && ran.out.contains("xample"),
            "{line}: {ran:?}"
        );
    }
    for line in ["network", "network --help", "help network", "root --help"] {
        let ran = home.run(line);
        assert!((ran.out + &ran.err).contains("Commands:"), "{line}");
    }
}

fn with_token(state: &str) -> (Home, String) {
    let home = home();
    let token = format!(
        r#"{{"id":"5f0c2a19","nwid":"{ID}","state":"{state}","uses":1,"used":0,"creationTime":1000,"expiryTime":3601000,"name":"aws","tags":[[100,2]],"ipAssignments":["10.0.2.1"],"members":[]"#
    );
    let path = format!("/controller/network/{ID}/token");
    home.service.answer(&format!("POST {path}"), 200, format!(r#"{token},"token":"ztt_5f0c2a19_0123"}}"#));
    home.service.answer(&format!("GET {path}"), 200, format!("[{token}}}]"));
    home.service.answer(&format!("DELETE {path}/5f0c2a19"), 200, format!("{token}}}"));
    (home, path)
}

#[test]
fn a_token_is_all_that_goes_to_standard_output() {
    let (home, _) = with_token("good");
    let rules = r#","rulesSource":"tag department\n id 100\n enum 1 sales\n enum 2 engineering\n;\naccept;""#;
    home.service.answer(&format!("GET /controller/network/{ID}"), 200, network(rules));
    let ran =
        home.run("token create demo.lab --name aws --tag department=engineering --tag 7=9 --ip 10.0.2.1");
    assert_eq!((ran.code, ran.out.as_str()), (0, "ztt_5f0c2a19_0123\n"), "{ran:?}");
    assert!(ran.err.contains("one node") && ran.err.contains("for 1 h") && ran.err.contains(ID), "{ran:?}");
    assert!(!ran.err.contains("0123"), "{ran:?}");
    assert_eq!(
        sent(&home),
        serde_json::json!({"uses": 1, "lifetime": 3_600_000, "name": "aws", "tags": [[100, 2], [7, 9]],
            "ipAssignments": ["10.0.2.1"]})
    );
    let ran = home.run(&format!("token create {ID} --uses unlimited --expires never -j"));
    let shown: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((shown["token"].as_str(), ran.err.as_str()), (Some("ztt_5f0c2a19_0123"), ""));
    assert_eq!(sent(&home), serde_json::json!({"uses": 0, "lifetime": 0}));

    for wrong in
        ["--tag nonsense=1", "--tag department=nobody", "--uses 2 --ip 10.0.2.1", "--uses 0", "--expires 1"]
    {
        let before = home.service.seen().iter().filter(|seen| seen.body.contains("uses")).count();
        let ran = home.run(&format!("token create {ID} {wrong}"));
        assert_eq!(ran.code, 2, "{wrong}: {ran:?}");
        assert_eq!(
            home.service.seen().iter().filter(|seen| seen.body.contains("uses")).count(),
            before,
            "{wrong}"
        );
    }
}

#[test]
fn a_token_says_where_the_planet_is_and_which() {
    let (home, _) = with_token("good");
    let sha256 = "0123456789abcdef".repeat(4);
    let planet = |id: &str| format!(r#"{{"id":"{id}","sha256":"{sha256}"}}"#);
    home.service.answer("GET /planet", 200, planet("00000000bb40e64d"));
    let url = "https://planets.example.com/planet";
    let ran = home.run(&format!("token create {ID} --planet-url {url}"));
    let whole = format!("ztt_{ID}_5f0c2a19_0123_{sha256}_{url}");
    assert_eq!((ran.code, &*ran.out), (0, &*format!("{whole}\n")), "{ran:?}");
    assert!(ran.err.contains(url) && !ran.err.contains("0123_"), "{ran:?}");
    assert!(!sent(&home).to_string().contains("planet"), "the controller has no part in it");
    let ran = home.run(&format!("token create {ID} --planet-url lab.planet -j"));
    let shown: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(shown["planet"], serde_json::json!({"sha256": sha256, "place": "lab.planet"}));
    assert!(shown["token"].as_str().unwrap().ends_with("_lab.planet"), "{shown}");

    // A file.
    let ran = home.run("root init --endpoint 203.0.113.7/9993 --out my.planet");
    assert_eq!(ran.code, 0, "{ran:?}");
    let ran = home.run(&format!("token create {ID} --planet my.planet"));
    assert!(ran.out.ends_with("_my.planet\n") && ran.err.contains("join --token-file FILE"), "{ran:?}");
    let ran = home.run(&format!("token create {ID} --planet my.planet --planet-url {url}"));
    assert!(ran.out.ends_with(&format!("_{url}\n")) && !ran.out.contains(&sha256), "{ran:?}");
    home.run("token revoke demo.lab ztt_5f0c2a19_0123").prints(&format!("token 5f0c2a19 of {ID} revoked\n"));
    home.run(&format!("token revoke demo.lab {whole}")).prints(&format!("token 5f0c2a19 of {ID} revoked\n"));

    let made = home.service.seen().iter().filter(|seen| seen.body.contains("uses")).count();
    let public = format!("{:016x}", protocol::world::PUBLIC_PLANET_ID);
    home.service.answer("GET /planet", 200, planet(&public));
    home.write("no.planet", "none");
    for (switches, says) in [
        (&["--planet-url", url][..], "uses the public planet"),
        (&["--planet-url", "http://planets.example.com/planet"], "by https and nothing else"),
        (&["--planet-url", "../planet"], "without folders"),
        (&["--planet", "nowhere"], "cannot read nowhere"),
        (&["--planet", "no.planet"], "is not the file of a planet"),
        (&["--planet", "authtoken.secret"], "is not the file of a planet"),
    ] {
        let ran = home.run_words(&[&["token", "create", ID], switches].concat());
        assert!(ran.code == 2 && ran.out.is_empty() && ran.err.contains(says), "{switches:?}: {ran:?}");
    }
    let after = home.service.seen().iter().filter(|seen| seen.body.contains("uses")).count();
    assert_eq!(after, made, "a token was made all the same");
}

#[test]
fn tokens_are_listed_and_revoked() {
    let (home, path) = with_token("good");
    let ran = home.run("token list demo.lab");
    let words: Vec<_> = ran.out.lines().nth(1).unwrap_or_default().split_whitespace().collect();
    assert_eq!(
        words,
        ["5f0c2a19", "good", "0/1", "in", "0", "s", "aws", "10.0.2.1", "100=2", "-"],
        "{ran:?}"
    );
    home.run("token revoke demo.lab 5F0C2A19").prints(&format!("token 5f0c2a19 of {ID} revoked\n"));
    home.run("token revoke demo.lab ztt_5f0c2a19_0123").prints(&format!("token 5f0c2a19 of {ID} revoked\n"));
    home.service.answer(&format!("DELETE {path}/00000001"), 404, "");
    let ran = home.run("token revoke demo.lab 00000001");
    assert!(ran.code == 1 && ran.err.contains("has no join token 00000001"), "{ran:?}");
    assert_eq!(home.run("token revoke demo.lab aws").code, 2);
}

#[test]
fn the_join_token_is_not_that_of_the_control_api() {
    let home = home();
    home.service.answer(&format!("POST /network/{ID}"), 200, "{}");
    home.run(&format!("join {ID} --token ztt_x")).prints("200 join OK\n");
    assert_eq!(sent(&home), serde_json::json!({"token": "ztt_x"}));
    home.run(&format!("join {ID}")).prints("200 join OK\n");
    assert_eq!(sent(&home), serde_json::json!({}));
    assert_eq!(home.run(&format!("join {ID} --token")).code, 2);
}
