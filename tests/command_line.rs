//! The command line with real daemons: the names that scripts for zerotier-one call, and what the commands say about a node
//! that does not work.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::tool::Said;
use lab::{Cluster, Daemon, Plan, binaries, testing, tool};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(30);

/// Runs a program in the node's namespace.
fn run(node: &Daemon, program: &Path, words: &[&str]) -> Result<Said> {
    let mut command = node.host.namespace.command(&program.to_string_lossy());
    command.args(words);
    tool::finish(command, None, PATIENCE)
}

fn cli(node: &Daemon, words: &[&str]) -> Result<Said> {
    tool::finish(node.cli_command(words)?, None, PATIENCE)
}

/// A folder with our programs under these names.
fn links(names: &[(&str, &Path)]) -> Result<tempfile::TempDir> {
    let folder = tempfile::tempdir()?;
    for (name, program) in names {
        symlink(program, folder.path().join(name))?;
    }
    Ok(folder)
}

/// The daemon's program is the tool and the identity tool, too.
fn personalities(cluster: &mut Cluster) -> Result<()> {
    let ours = binaries::ours()?;
    let folder = links(&[("zerotier-one", &ours.ztnode), ("ztnode", &ours.ztnode)])?;
    let (old, own) = (folder.path().join("zerotier-one"), folder.path().join("ztnode"));
    let node = &cluster.members[0];
    let home = format!("-D{}", node.home().display());
    let said = run(node, &old, &["-q", &home, "info"])?;
    ensure!(said.ok() && said.stdout.starts_with(&format!("200 info {} ", node.address)), "{said:?}");
    let said = run(node, &old, &["-q", "join", "1122334455667788", &home])?;
    ensure!(said.ok() && said.stdout == "200 join OK\n", "{said:?}");
    ensure!(node.network("1122334455667788")?.is_some(), "the network was not joined");
    let said = run(node, &own, &["-q", "leave", "1122334455667788", &home])?;
    ensure!(said.ok() && said.stdout == "200 leave OK\n", "{said:?}");
    let (secret, public) = (folder.path().join("s"), folder.path().join("p"));
    let files = [secret.to_string_lossy(), public.to_string_lossy()];
    let said = run(node, &old, &["-i", "generate", &files[0], &files[1]])?;
    ensure!(said.ok() && said.stdout == format!("{} written\n{} written\n", files[0], files[1]), "{said:?}");
    let said = run(node, &old, &["-i", "validate", &files[1]])?;
    ensure!(said.ok() && said.stdout.ends_with(" is a valid identity\n"), "{said:?}");
    for (program, code) in [(&old, 0), (&own, 2)] {
        let said = run(node, program, &["-x"])?;
        ensure!(said.code == Some(code) && said.stdout.contains("Usage:"), "{said:?}");
    }
    Ok(())
}

#[test]
fn the_daemon_is_the_tools_too() {
    testing::run("the_daemon_is_the_tools_too", &Plan::new().cloud("aws"), |cluster| {
        personalities(cluster)?;
        settings(cluster)?;
        members(cluster)?;
        join_by_token(cluster)?;
        troubles(cluster)
    });
}

/// What a network may do here is set as it was meant, or not at all.
fn settings(cluster: &mut Cluster) -> Result<()> {
    let network = cluster.network.clone();
    let node = &cluster.members[0];
    let set = |words: &[&str]| cli(node, &[&["set", &network], words].concat());
    let value =
        |name: &str| -> Result<Value> { Ok(node.network(&network)?.context("not joined")?[name].clone()) };
    ensure!(set(&["allowGlobal=yes", "allowDNS=on"])?.ok(), "a truth value is refused");
    ensure!(value("allowGlobal")? == true && value("allowDNS")? == true, "yes is taken for no");
    for wrong in
        ["allowGlobal=2", "allowDNS=", "allowManaged=10.0.0.1/16", "allowManaged=10.0.0.0/99", "allowAll=1"]
    {
        let said = set(&[wrong])?;
        ensure!(said.code == Some(2) && said.stdout.is_empty(), "{wrong}: {said:?}");
        ensure!(said.stderr.lines().count() == 1 || wrong == "allowAll=1", "{wrong}: {said:?}");
    }
    ensure!(value("allowGlobal")? == true && value("allowManaged")? == true, "something was changed");
    ensure!(set(&["allowGlobal=off"])?.ok() && value("allowGlobal")? == false, "off is not taken for no");
    Ok(())
}

/// How members stand, addresses that they could not use, names that are there already.
fn members(cluster: &mut Cluster) -> Result<()> {
    let network = cluster.network.clone();
    let (controller, member) = (cluster.controller(), &cluster.members[0]);
    let at = |words: &[&str]| cli(controller, words);
    let list = || -> Result<String> { at(&["member", "list", &network])?.stdout() };
    ensure!(at(&["member", "set", &network, "1122334455", "--name", "typo"])?.ok());
    let line = |list: &str, address: &str| {
        list.lines().find(|line| line.starts_with(address)).map(str::to_owned).unwrap_or_default()
    };
    let shown = list()?;
    ensure!(line(&shown, "1122334455").contains("never asked"), "{shown}");
    ensure!(line(&shown, &member.address).contains(" authorized "), "{shown}");
    ensure!(at(&["member", "deauthorize", &network, &member.address])?.ok());
    let shown = list()?;
    ensure!(line(&shown, &member.address).contains(" deauthorized "), "{shown}");
    ensure!(!shown.contains("member authorize"), "who was put out is proposed to be let in: {shown}");
    let said = at(&["member", "authorize", &network, &member.address, "--ip", "172.30.0.1"])?;
    ensure!(said.code == Some(2) && said.stderr.contains("is in no route of the network"), "{said:?}");
    ensure!(line(&list()?, &member.address).contains(" deauthorized "), "it was authorized all the same");
    let said = at(&["member", "set", &network, &member.address, "--name", "typo"])?;
    ensure!(said.ok() && said.stderr.contains("has the name \"typo\" too"), "{said:?}");

    let made = at(&["network", "create", "subnet.lab", "--subnet", "10.77.0.0/24", "-j"])?;
    let made: Value = serde_json::from_str(&made.stdout()?)?;
    ensure!(made["routes"][0]["target"] == "10.77.0.0/24" && made["v4AssignMode"]["zt"] == true, "{made}");
    let pool = json!([{"ipRangeStart": "10.77.0.1", "ipRangeEnd": "10.77.0.254"}]);
    ensure!(made["ipAssignmentPools"] == pool, "{made}");
    let said = at(&["network", "create", "subnet.lab"])?;
    ensure!(said.ok() && said.stderr.contains("has the name \"subnet.lab\" too"), "{said:?}");
    ensure!(said.stderr.contains("its members get no addresses"), "{said:?}");
    ensure!(at(&["network", "set", &network, "--dns", "domain=lab.example,server=10.0.0.1"])?.ok());
    ensure!(at(&["network", "set", &network, "--no-dns"])?.ok());
    let shown = at(&["network", "show", &network])?.stdout()?;
    ensure!(shown.lines().any(|line| line.starts_with("dns") && line.ends_with('-')), "{shown}");
    Ok(())
}

/// One string is all that a new machine needs.
fn join_by_token(cluster: &mut Cluster) -> Result<()> {
    let network = cluster.network.clone();
    let member = &cluster.members[0];
    ensure!(cli(member, &["leave", &network])?.ok());
    ensure!(cli(cluster.controller(), &["member", "delete", &network, &member.address, "--yes"])?.ok());
    let token = cluster.controller().cli(&["token", "create", &network])?.trim().to_owned();
    ensure!(token.starts_with(&format!("ztt_{network}_")), "{token}");
    let said = cli(member, &["join", &token, "--wait=30"])?;
    ensure!(said.ok() && said.stdout.contains("200 wait OK"), "{said:?}");
    // Earlier versions give the whole text to the node, and the node to the controller.
    ensure!(cli(member, &["leave", &network])?.ok());
    ensure!(cli(cluster.controller(), &["member", "delete", &network, &member.address, "--yes"])?.ok());
    let token = cluster.controller().cli(&["token", "create", &network])?.trim().to_owned();
    member.post(&format!("/network/{network}"), &json!({"token": token}))?;
    let said = cli(member, &["wait", &network, "--timeout", "30"])?;
    ensure!(said.ok(), "{said:?}");
    // A token of another network does not open this one.
    let (head, tail) = token.split_at(4);
    let elsewhere = format!("{head}1122334455667788{}", &tail[16..]);
    let said = cli(member, &["join", &network, "--token", &elsewhere])?;
    ensure!(said.code == Some(2) && said.stderr.contains("1122334455667788"), "{said:?}");
    Ok(())
}

/// `doctor` says what does not work, what to do, and that by its exit code.
fn troubles(cluster: &mut Cluster) -> Result<()> {
    let network = cluster.network.clone();
    let member = &cluster.members[0];
    let doctor = || cli(member, &["doctor"]);
    let healthy = doctor()?;
    ensure!(healthy.stdout.contains(&format!("ok    network {network}")), "{healthy:?}");
    // A network that has not let it in.
    let made =
        cli(cluster.controller(), &["network", "create", "closed.lab", "--subnet", "10.78.0.0/24", "-j"])?;
    let made: Value = serde_json::from_str(&made.stdout()?)?;
    let closed = made["id"].as_str().context("no id")?.to_owned();
    ensure!(cli(member, &["join", &closed])?.ok());
    let sick = tool::wait_for("doctor to see it", PATIENCE, Duration::from_millis(50), || {
        let said = doctor()?;
        Ok(said.stdout.contains("is not authorized").then_some(said))
    })?;
    ensure!(sick.code == Some(1), "{sick:?}");
    let remedy = format!("ztnode-cli member authorize {closed} {}", member.address);
    ensure!(sick.stdout.contains(&remedy), "{sick:?}");
    ensure!(cli(member, &["leave", &closed])?.ok());
    // A route that this machine refuses: it leads to where its own link leads.
    let taken = member.host.namespace.run("ip", &["-4", "-o", "route", "show", "scope", "link"])?;
    let taken = taken.lines().find(|line| line.contains("dev eth0")).and_then(|line| line.split(' ').next());
    let taken = taken.context("eth0 has no subnet")?.to_owned();
    let routes = ["network", "set", &network, "--route", "10.0.0.0/16", "--route", &taken];
    ensure!(cli(cluster.controller(), &routes)?.ok());
    let sick = tool::wait_for("the route to be refused", PATIENCE, Duration::from_millis(50), || {
        let said = doctor()?;
        Ok(said.stdout.contains(&format!("the route {taken} is not used")).then_some(said))
    })?;
    ensure!(sick.code == Some(1), "{sick:?}");
    // Nothing is left to send by.
    member.host.namespace.run("ip", &["link", "set", "eth0", "down"])?;
    let sick = tool::wait_for("the link to be missed", PATIENCE, Duration::from_millis(50), || {
        let said = doctor()?;
        Ok(said.stdout.contains("no interface to send from").then_some(said))
    })?;
    ensure!(sick.code == Some(1), "{sick:?}");
    Ok(())
}

/// Lines as scripts write them, and odd ones. `@` is a network that is joined.
const LINES: &[&str] = &[
    "",
    "-h",
    "-?",
    "-x",
    "-v",
    "-jj",
    "-qq",
    "-p0 info",
    "-p70000 info",
    "-D",
    "-T",
    "-p1 info",
    "-p1 join @",
    "-p1 set @ allowDNS=1",
    "-p1 /status",
    "-Twrong info",
    "-Twrong join @",
    "frobnicate",
    "info",
    "status",
    "-q info",
    "info now",
    "listnetworks",
    "listnetworks -j",
    "listmoons",
    "listbonds",
    "bond",
    "bond list",
    "bond 5aca06ff8e show",
    "bond 12 show",
    "join",
    "join 37f2",
    "join zzzzzzzzzzzzzzzz",
    "join @",
    "join @ @",
    "leave",
    "leave 37f2",
    "leave 1122334455667788",
    "get",
    "get 37f2 status",
    "get @",
    "get @ status",
    "get @ mtu",
    "get @ ip4",
    "get @ allowDNS",
    "get @ nonsense",
    "get @ dns",
    "get 1122334455667788 status",
    "set",
    "set @",
    "set @ allowDNS",
    "set @ allowAll=1",
    "set 37f2 allowDNS=1",
    "orbit",
    "orbit deadbeef00",
    "orbit 0 0",
    "deorbit deadbeef00",
    "/nope",
];

/// Lines for the identity tool.
const IDTOOL_LINES: &[&str] = &[
    "",
    "frobnicate",
    "validate",
    "validate nowhere",
    "getpublic",
    "getpublic nowhere",
    "sign",
    "sign nowhere nowhere",
    "verify nowhere nowhere",
    "verify nowhere nowhere 00",
    "initmoon",
    "initmoon nowhere",
    "genmoon",
    "genmoon nowhere",
];

/// Lines for the daemon, none of which starts one.
const DAEMON_LINES: &[&str] = &[
    "-h",
    "-?",
    "-x",
    "-v",
    "-p70000",
    "/nowhere /elsewhere",
    "-i",
    "-i validate nowhere",
    "-q -h",
    "-q -D/nowhere info",
];

/// Our programs under the old names and the reference, against the same node.
#[test]
fn the_old_names_are_the_reference() {
    let name = "the_old_names_are_the_reference";
    let Some(theirs) = binaries::reference() else {
        testing::say(&format!("SKIPPED {name}: ZEROTIER_ONE names no zerotier-one binary"));
        return;
    };
    testing::run(name, &Plan::new().cloud("aws"), |cluster| {
        let ours = binaries::ours()?;
        let all = [&ours.cli, &ours.cli, &ours.ztnode];
        let names = ["zerotier-cli", "zerotier-idtool", "zerotier-one"];
        let link = |programs: [&Path; 3]| {
            let pairs: Vec<_> = names.into_iter().zip(programs).collect();
            links(&pairs)
        };
        let (a, b) = (link(all.map(AsRef::as_ref))?, link([theirs.as_ref(); 3])?);
        let node = &cluster.members[0];
        let home = format!("-D{}", node.home().display());
        let mut different = Vec::new();
        for (name, lines, switches) in [
            ("zerotier-cli", LINES, &[home.as_str()][..]),
            ("zerotier-idtool", IDTOOL_LINES, &[]),
            ("zerotier-one", DAEMON_LINES, &[]),
        ] {
            let programs = [&a, &b].map(|folder| folder.path().join(name));
            for line in lines {
                let line = line.replace('@', &cluster.network);
                let words: Vec<&str> = line.split_whitespace().collect();
                let words = if words.is_empty() { words } else { [switches, &words[..]].concat() };
                if let Some(found) = difference(node, &programs, &words)? {
                    different.push(format!("{name} {line}\n{found}"));
                }
            }
        }
        ensure!(different.is_empty(), "{} lines differ:\n{}", different.len(), different.join("\n"));
        Ok(())
    });
}

/// What differs between ours and theirs for one line; `None` if nothing does that a script could see.
fn difference(node: &Daemon, programs: &[PathBuf; 2], words: &[&str]) -> Result<Option<String>> {
    let mut said = Vec::new();
    for program in programs {
        let now = run(node, program, words)?;
        let plain = |text: &str| text.replace(&*program.to_string_lossy(), "PROGRAM");
        said.push((now.code, plain(&now.stdout), plain(&now.stderr)));
    }
    let [ours, theirs] = &said[..] else { return Ok(None) };
    // The help is worded by us; what counts is that it comes, and where.
    let helps = |text: &str| text.lines().count() > 8;
    let same =
        |ours: &str, theirs: &str| if helps(theirs) { helps(ours) } else { first(ours) == first(theirs) };
    // A line more on standard error, with the remedy, is ours.
    let err = theirs.2.is_empty() || same(&ours.2, &theirs.2);
    let equal = ours.0 == theirs.0 && same(&ours.1, &theirs.1) && err;
    Ok((!equal).then(|| format!("  ours   {ours:?}\n  theirs {theirs:?}")))
}

/// The first line; times in JSON differ between two calls.
fn first(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}
