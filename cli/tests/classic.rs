//! The reference tool's commands under its name: texts, streams and exit codes, character for character.

#![allow(clippy::unwrap_used)] // A surprise is a failed test.

mod common;

use common::{Home, TOKEN, run, symlink};

const STATUS: &str = r#"{"address":"37f2b7c94f","clock":1795378785420,"online":true,"tcpFallbackActive":false,"version":"0.1.0"}"#;
const NETWORKS: &str = r#"[{"allowDNS":false,"allowManaged":true,"assignedAddresses":["fd36:1884:d8f6:0:199:9336:1884:d8f6/88","fcc0:1884:d936:1884:d8f6::1/40","10.9.0.201/24"],"dns":{"domain":"home.arpa","servers":["10.9.0.1"]},"id":"361884d8f6000001","mac":"02:36:18:72:00:72","mtu":2800,"name":"testnet","nwid":"361884d8f6000001","portDeviceName":"zt53xijwhx","status":"OK","type":"PUBLIC"}]"#;
const NETWORK: &str = "361884d8f6000001";

#[test]
fn info_and_status() {
    let home = Home::tcp();
    home.service.answer("GET /status", 200, STATUS);
    home.old("info").prints("200 info 37f2b7c94f 0.1.0 ONLINE\n");
    home.old("status").prints("200 info 37f2b7c94f 0.1.0 ONLINE\n");
    home.old("-j info").prints(
        "{\n \"address\": \"37f2b7c94f\",\n \"clock\": 1795378785420,\n \"online\": true,\n \"tcpFallbackActive\": false,\n \
         \"version\": \"0.1.0\"\n}\n",
    );
    home.service.answer("GET /status", 200, STATUS.replace("true", "false"));
    home.old("info").prints("200 info 37f2b7c94f 0.1.0 OFFLINE\n");
    home.service.answer("GET /status", 200, STATUS.replace(r#"Active":false"#, r#"Active":true"#));
    home.old("info").prints("200 info 37f2b7c94f 0.1.0 TUNNELED\n");
}

#[test]
fn the_token_is_sent_trimmed_and_a_wrong_one_is_401() {
    let home = Home::tcp();
    home.service.answer("GET /status", 200, STATUS);
    assert_eq!(home.old("info").code, 0);
    assert_eq!(home.service.seen()[0].token.as_deref(), Some(TOKEN));
    home.old("info -Twrong").fails(1, "401 info {}\n");
    home.old("join 361884d8f6000001 -Twrong").fails(1, "401 join {}\n");
    assert!(home.old("info -Twrong").err.contains("--token"), "the remedy is named");
}

#[test]
fn the_unix_socket_needs_neither_port_nor_token() {
    let home = Home::unix();
    home.service.answer("GET /status", 200, STATUS);
    home.old("info").prints("200 info 37f2b7c94f 0.1.0 ONLINE\n");
    assert_eq!(home.service.seen()[0].token, None);
    home.old("info -p1").complains(
        2,
        &format!(
            "{}: authtoken.secret not found or readable in {} (try again as root)",
            home.old_name().display(),
            home.path().display()
        ),
    );
}

#[test]
fn a_stranger_without_a_token_is_told_so_as_ever() {
    let home = Home::unix();
    home.service.answer("GET /status", 401, "{}");
    home.write("zerotier-one.port", 9993);
    home.old("info").complains(
        2,
        &format!(
            "{}: authtoken.secret not found or readable in {} (try again as root)",
            home.old_name().display(),
            home.path().display()
        ),
    );
}

#[test]
fn a_socket_that_knows_us_not_gives_way_to_tcp() {
    let home = Home::tcp();
    home.service.answer("GET /status", 200, STATUS);
    let other = Home::unix();
    other.service.answer("GET /status", 401, "{}");
    std::fs::rename(other.path().join("ztnode.sock"), home.path().join("ztnode.sock")).unwrap();
    home.old("info").prints("200 info 37f2b7c94f 0.1.0 ONLINE\n");
    assert_eq!((other.service.seen().len(), home.service.seen().len()), (1, 1));
    home.old(&format!("info -p{}", home.port)).prints("200 info 37f2b7c94f 0.1.0 ONLINE\n");
    assert_eq!(other.service.seen().len(), 1, "-p means TCP");
}

#[test]
fn a_socket_nobody_listens_on_gives_way_to_tcp() {
    let home = Home::tcp();
    home.service.answer("GET /status", 200, STATUS);
    drop(std::os::unix::net::UnixListener::bind(home.path().join("ztnode.sock")).unwrap());
    home.old("info").prints("200 info 37f2b7c94f 0.1.0 ONLINE\n");
}

#[test]
fn networks_and_their_properties() {
    let home = Home::tcp();
    let header = "200 listnetworks <nwid> <name> <mac> <status> <type> <dev> <ZT assigned ips>\n";
    home.service.answer("GET /network", 200, "[]");
    home.old("listnetworks").prints(header);
    home.old("listnetworks -j").prints("[]\n");
    home.service.answer("GET /network", 200, NETWORKS);
    home.old("listnetworks").prints(&format!(
        "{header}200 listnetworks 361884d8f6000001 testnet 02:36:18:72:00:72 OK PUBLIC zt53xijwhx \
         fd36:1884:d8f6:0:199:9336:1884:d8f6/88,fcc0:1884:d936:1884:d8f6::1/40,10.9.0.201/24\n"
    ));
    for (name, value) in
        [("status", "OK"), ("allowDNS", "0"), ("allowManaged", "1"), ("mtu", "2800"), ("ip4", "10.9.0.201")]
    {
        home.old(&format!("get {NETWORK} {name}")).prints(&format!("{value}\n"));
    }
    home.old(&format!("get {NETWORK} dns")).prints("error, unknown property name\n");
    home.old("get 5aca06ff8e000001 status")
        .complains(0, "unknown network ID, check that you are a member of the network");
    home.old("get 123 status").complains(2, "invalid format: must be a 16-digit (network) ID");
    home.old(&format!("get {NETWORK}")).complains(2, "invalid format: include a property name to get");
}

#[test]
fn join_and_leave() {
    let home = Home::tcp();
    let path = format!("/network/{NETWORK}");
    home.service.answer(&format!("POST {path}"), 200, "{\"id\":1}");
    home.service.answer(&format!("DELETE {path}"), 200, "{\"result\":true}");
    home.old(&format!("join {NETWORK}")).prints("200 join OK\n");
    home.old(&format!("-j join {NETWORK}")).prints("{\"id\":1}");
    home.old(&format!("leave {NETWORK}")).prints("200 leave OK\n");
    home.old(&format!("leave {NETWORK} --json")).prints("{\"result\":true}");
    assert_eq!(home.service.seen()[0].body, "{}");
    home.old("join").fails(2, "invalid network id\n");
    home.old("leave 12").fails(2, "invalid network id\n");
    home.old("join zzzzzzzzzzzzzzzz").fails(1, "404 join \n");
}

#[test]
fn set() {
    let home = Home::tcp();
    let path = format!("POST /network/{NETWORK}");
    home.service.answer(&path, 200, "{\"allowDefault\":true}");
    for (typed, sent) in [
        ("allowDefault=1", "{\"allowDefault\":true}"),
        ("allowGlobal=true", "{\"allowGlobal\":true}"),
        ("allowDNS=yes", "{\"allowDNS\":true}"),
        ("allowDNS=tea", "{\"allowDNS\":true}"),
        ("allowGlobal=off", "{\"allowGlobal\":false}"),
        ("allowManaged=192.168.0.0/16", "{\"allowManaged\":\"192.168.0.0/16\"}"),
        ("allowManaged=", "{\"allowManaged\":false}"),
    ] {
        home.old(&format!("set {NETWORK} {typed}")).prints("{\"allowDefault\":true}");
        assert_eq!(home.service.seen().last().unwrap().body, sent);
    }
    let before = home.service.seen().len();
    for mistyped in ["allowDNS=enable", "allowManaged=10.0.0.1/8"] {
        assert_eq!(home.old(&format!("set {NETWORK} {mistyped}")).code, 2, "{mistyped}");
    }
    home.old(&format!("set {NETWORK} allowAll=1")).prints("");
    assert_eq!(home.service.seen().len(), before, "nothing was changed");
    home.old("set 12 a=1").complains(2, "invalid format: must be a 16-digit (network) ID");
    home.old(&format!("set {NETWORK}")).complains(2, "invalid format: include a property name to set");
    let help = home.old(&format!("set {NETWORK} allowDefault"));
    assert_eq!((help.code, help.out.as_str()), (2, ""));
    assert!(help.err.contains("Usage:"), "{help:?}");
}

#[test]
fn moons() {
    let home = Home::tcp();
    home.service.answer("GET /moon", 200, "[]");
    home.old("listmoons").prints("[]\n");
    home.service.answer("POST /moon/deadbeef00", 200, "{}");
    home.service.answer("DELETE /moon/deadbeef00", 200, "{\"result\":true}");
    home.old("orbit deadbeef00 deadbeef00").prints("200 orbit OK\n");
    assert_eq!(home.service.seen().last().unwrap().body, "{\"seed\":\"deadbeef00\"}");
    home.old("orbit 000000deadbeef00 deadbeef00 -j").prints("200 orbit OK\n");
    home.old("deorbit deadbeef00").prints("200 deorbit OK\n");
    home.old("deorbit -j 000000deadbeef00").prints("{\"result\":true}");
    for line in ["orbit", "orbit deadbeef00", "orbit 0 deadbeef00", "orbit deadbeef00 0000000000"] {
        home.old(line).prints("");
    }
}

#[test]
fn bonds() {
    let home = Home::tcp();
    home.service.answer("GET /peer", 200, "[]");
    let none = "    <peer>                        <bondtype>     <links>\n      NONE\t\t\t\tNONE\t    NONE       NONE\n";
    home.old("listbonds").prints(none);
    home.old("bond list").prints(none);
    home.old("bond list -j").prints("[]\n");
    home.service.answer("GET /bond/show/5aca06ff8e", 400, "{}");
    home.old("bond 5aca06ff8e show").fails(1, "400 bond {}\n");
    home.service.answer("POST /bond/rotate/5aca06ff8e", 200, "{}");
    home.old("bond 5aca06ff8e rotate").prints("200 rotate OK\n");
    home.service.answer("POST /bond/setmtu/1400/eth0/10.0.0.1", 200, "{}");
    home.old("bond setmtu 1400 eth0 10.0.0.1").prints("200 setmtu OK\n");
    home.old("-j bond setmtu 1400 eth0 10.0.0.1").prints("200 setmtu OK\n");
    home.service.answer("POST /bond/setmtu/1/eth0/10.0.0.1", 400, "too small");
    home.old("bond setmtu 1 eth0 10.0.0.1").fails(1, "400 Failed to set MTU: too small\n");
    for line in ["bond", "bond 12 show", "bond 5aca06ff8e", "bond setmtu 1"] {
        home.old(line).fails(2, "(bond) command is missing required arguments\n");
    }
}

#[test]
fn raw_paths() {
    let home = Home::tcp();
    home.service.answer("GET /health", 200, "{\"online\":true}");
    home.old("/health").prints("{\"online\":true}");
    home.old("/nope").fails(1, "404 /nope \n");
}

#[test]
fn dump_writes_a_file() {
    let home = Home::tcp();
    home.service.answer("GET /status", 200, STATUS);
    home.service.answer("GET /network", 200, "[]");
    home.service.answer("GET /peer", 200, "[]");
    home.old("dump").prints(&format!("Writing dump to: {}/zerotier_dump.txt\n", home.path().display()));
    let dump = std::fs::read_to_string(home.path().join("zerotier_dump.txt")).unwrap();
    let start = format!(
        "platform: Linux\nzerotier version: 0.1.0\n\nstatus\n------\n{STATUS}\n\nnetworks\n--------\n[]\n\npeers\n-----\n[]\n\n\
         local.conf\n----------\nNone Present\n\nNetwork Interfaces\n------------------\n\n"
    );
    assert!(dump.starts_with(&start), "{dump}");
}

#[test]
fn a_stopped_service() {
    let home = Home::stopped();
    for line in [
        "info",
        "status",
        "listpeers",
        "peers",
        "listnetworks",
        "listmoons",
        "listbonds",
        "bond list",
        "dump",
    ] {
        let ran = home.old(line);
        assert_eq!((ran.code, ran.err.as_str()), (1, ""), "{line}");
        let lines: Vec<&str> = ran.out.lines().collect();
        assert_eq!(lines[..2], ["Error connecting to the ZeroTier service: connection failed", ""], "{line}");
        assert!(lines.len() == 3 && lines[2].contains(&format!("TCP port {}", home.port)), "{lines:?}");
    }
    for (line, command) in [
        ("join 361884d8f6000001", "join"),
        ("leave 361884d8f6000001", "leave"),
        ("set 361884d8f6000001 allowDNS=1", "set"),
        ("orbit deadbeef00 deadbeef00", "orbit"),
        ("deorbit deadbeef00", "deorbit"),
        ("bond 5aca06ff8e rotate", "bond"),
        ("/status", "/status"),
    ] {
        let ran = home.old(line);
        ran.fails(1, &format!("0 {command} connection failed\n"));
        assert!(ran.err.contains("systemctl start ztnode"), "{line}: {ran:?}");
    }
}

#[test]
fn neither_port_nor_token() {
    let home = Home::stopped();
    let dir = tempfile::tempdir().unwrap();
    let (shown, called) = (dir.path().display(), home.old_name().display().to_string());
    let line = format!("-D{shown}");
    let run = |words: &[&str]| run(&home.old_name(), words, dir.path(), None);
    run(&["info", &line])
        .complains(2, &format!("{called}: missing port and zerotier-one.port not found in {shown}"));
    run(&["info", &line, "-p9993"]).complains(
        2,
        &format!("{called}: authtoken.secret not found or readable in {shown} (try again as root)"),
    );
    run(&["info", &line, "-Tx", "-p9993", "-Hlocalhost"])
        .complains(2, &format!("{called}: the host must be an IP address such as 127.0.0.1, not localhost"));
}

#[test]
fn version_help_and_unknown_words() {
    let home = Home::stopped();
    for line in ["-v", "--version"] {
        let ran = home.old(line);
        assert_eq!(
            (ran.code, ran.out.as_str(), ran.err.as_str()),
            (0, "1.14.1\n", "ztnode 0.1.0\n"),
            "{line}"
        );
    }
    home.old("network -v").prints("0.1.0\n");
    for (line, code) in
        [("-h", 0), ("-?", 0), ("--help", 0), ("-x", 0), ("-jj", 1), ("-p0", 1), ("-p70000", 1), ("-D", 1)]
    {
        let ran = home.old(line);
        assert_eq!(ran.code, code, "{line}");
        assert!(ran.out.contains("Usage:") && ran.out.contains("Examples:"), "{line}");
    }
    let unknown = home.old("frobnicate");
    assert_eq!((unknown.code, unknown.out.as_str()), (0, ""));
    assert!(
        unknown.err.contains("Usage:") && unknown.err.ends_with("unknown command frobnicate\n"),
        "{unknown:?}"
    );
    let none = home.old("");
    assert_eq!((none.code, none.out.as_str()), (0, ""));
    assert!(none.err.contains("Usage:"));
    assert!(home.old("join --help").out.contains("Example:"));
}

#[test]
fn the_name_of_the_daemon_with_q_is_the_old_one_too() {
    let home = Home::tcp();
    home.service.answer("GET /status", 200, STATUS);
    let links = tempfile::tempdir().unwrap();
    let old = symlink(links.path(), "zerotier-one");
    let line = format!("-D{}", home.path().display());
    run(&old, &[&line, "info", "-q"], links.path(), None).prints("200 info 37f2b7c94f 0.1.0 ONLINE\n");
    let shown = links.path().display();
    run(&old, &["-q", "info", &format!("-D{shown}")], links.path(), None).complains(
        2,
        &format!("{shown}/zerotier-one: missing port and zerotier-one.port not found in {shown}"),
    );
}
