//! What whoever runs a node meets: a clock that was wrong, files that other programs keep, a disk that takes nothing, scrapers,
//! and what the log says.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::{Cluster, Daemon, Lab, Plan, testing, tool};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(60);
const STEP: Duration = Duration::from_millis(50);
const YEAR: i64 = 365 * 86_400;
const NETWORK: &str = "1c33c1ced07ac85d";

/// Waits until a line of the log after the first `from` octets has all these words.
fn logged(daemon: &Daemon, words: &[&str]) -> Result<String> {
    tool::wait_for(&format!("a line with {words:?}"), LIMIT, STEP, || {
        let log = daemon.log_tail(100_000);
        Ok(log.lines().find(|line| words.iter().all(|word| line.contains(word))).map(str::to_owned))
    })
}

fn count(daemon: &Daemon, word: &str) -> usize {
    daemon.log_tail(100_000).matches(word).count()
}

/// A library that makes the wall clock of a process another one, and the file that says by how much.
struct FalseClock {
    library: PathBuf,
    offset: PathBuf,
}

impl FalseClock {
    fn build(folder: &Path) -> Result<Self> {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/clock.c");
        let clock = Self { library: folder.join("clock.so"), offset: folder.join("clock.offset") };
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&clock.library).arg(source).arg("-ldl");
        let output = compiler.output().context("no C compiler")?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(clock)
    }

    fn set(&self, seconds: i64) -> Result<()> {
        let new = self.offset.with_extension("new");
        fs::write(&new, seconds.to_string())?;
        fs::rename(&new, &self.offset).context("cannot set the clock")
    }

    fn rules(&self, daemon: &mut Daemon) {
        daemon.set_variable("LD_PRELOAD", &self.library.display().to_string());
        daemon.set_variable("CLOCK_OFFSET_FILE", &self.offset.display().to_string());
    }
}

/// Time of the configuration that a member keeps, ms.
fn held(member: &Daemon, network: &str) -> Result<i64> {
    let bytes = fs::read(member.home().join(format!("networks.d/{network}.conf")))?;
    let text = String::from_utf8_lossy(&bytes);
    let time =
        text.lines().find_map(|line| line.strip_prefix("ts=")).context("no ts in the configuration")?;
    Ok(i64::from_str_radix(time, 16)?)
}

fn wait_held(member: &Daemon, network: &str, what: &str, fits: impl Fn(i64) -> bool) -> Result<i64> {
    tool::wait_for(what, LIMIT, STEP, || Ok(held(member, network).ok().filter(|at| fits(*at))))
}

fn clock_steps(cluster: &mut Cluster, clock: &FalseClock) -> Result<()> {
    let network = cluster.network.clone();
    cluster.ping(0, 1, LIMIT)?;
    let wrong = held(&cluster.members[0], &network)?;
    let create = ["token", "create", &network, "--uses", "unlimited", "--expires", "2h"];
    let token = cluster.root.cli(&create)?.trim().to_owned();

    // The clock is corrected: everybody gets new certificates at once, and the token goes on.
    clock.set(0)?;
    for member in &cluster.members {
        wait_held(member, &network, "a certificate of the right time", |at| at > wrong + YEAR * 900)?;
    }
    logged(&cluster.root, &["the clock was set forward", "all members get new certificates"])?;
    cluster.ping(0, 1, LIMIT)?;
    let tokens = cluster.root.cli(&["token", "list", &network])?;
    let id = token.rsplit('_').nth(1).context("no ID in the token")?;
    ensure!(tokens.contains(id) && tokens.contains("good"), "{tokens}");
    ensure!(cluster.root.status()?.get("certificateLead").is_none(), "it follows the clock");

    // It is set back, and then the controller is killed: nobody ever gets an older certificate.
    let right = held(&cluster.members[0], &network)?;
    clock.set(-YEAR)?;
    logged(&cluster.root, &["the clock was set back"])?;
    for _ in 0..2 {
        let path = format!("/network/{network}");
        cluster.members[1].request("DELETE", &path, None)?;
        cluster.members[1].request("POST", &path, Some(&json!({})))?;
        wait_held(&cluster.members[1], &network, "the new member's certificate", |at| at >= right)?;
        cluster.wait_joined(1)?;
        cluster.ping(0, 1, LIMIT)?;
        let doctor = String::from_utf8(cluster.root.cli_command(&["doctor"])?.output()?.stdout)?;
        ensure!(
            doctor.contains(&network) && doctor.contains("days ahead of this machine's clock"),
            "{doctor}"
        );
        cluster.root.kill()?;
        cluster.root.start()?;
        cluster.root.wait_ready()?;
        cluster.root.wait_online(LIMIT)?;
    }
    Ok(())
}

#[test]
fn a_clock_is_corrected_and_set_back() {
    let name = "a_clock_is_corrected_and_set_back";
    if !testing::ready(name) {
        return;
    }
    let run = || -> Result<()> {
        lab::binaries::ours()?;
        let mut cluster = Plan::new().cloud("aws").cloud("gcp").prepare(Lab::new()?)?;
        let folder = cluster.root.home().parent().context("a home lies in the lab's folder")?.to_owned();
        let clock = FalseClock::build(&folder)?;
        clock.set(-YEAR)?;
        clock.rules(&mut cluster.root);
        let done = cluster.start().and_then(|()| clock_steps(&mut cluster, &clock));
        done.map_err(|error| error.context(cluster.report()))
    };
    if let Err(error) = run() {
        panic!("{name}: {error:#}");
    }
}

/// Files that another program keeps elsewhere, and links to.
fn linked_files(cluster: &mut Cluster) -> Result<()> {
    let member = &cluster.members[0];
    let kept = member.home().with_extension("kept");
    fs::create_dir(&kept)?;
    for name in ["local.conf".to_owned(), format!("networks.d/{}.conf", cluster.network)] {
        let (here, there) = (member.home().join(&name), kept.join(name.replace('/', "-")));
        fs::copy(&here, &there)?;
        fs::remove_file(&here)?;
        symlink(&there, &here)?;
    }
    member.post("/config/settings", &json!({"lowBandwidthMode": true}))?;
    ensure!(fs::read_to_string(kept.join("local.conf"))?.contains("lowBandwidthMode"), "not written there");
    let before = held(member, &cluster.network)?;
    cluster.root.post(&format!("/controller/network/{}", cluster.network), &json!({"name": "linked"}))?;
    wait_held(member, &cluster.network, "the new configuration", |at| at > before)?;
    for name in ["local.conf".to_owned(), format!("networks.d/{}.conf", cluster.network)] {
        ensure!(fs::symlink_metadata(member.home().join(&name))?.is_symlink(), "{name} is no link any more");
    }
    Ok(())
}

/// A folder that takes no files. (Root may write everywhere; nobody may write into a file as if it were a folder.)
fn nothing_can_be_written(cluster: &mut Cluster) -> Result<()> {
    let member = &cluster.members[0];
    let (folder, aside) = (member.home().join("networks.d"), member.home().join("aside"));
    fs::rename(&folder, &aside)?;
    fs::write(&folder, "")?;
    let path = format!("/network/{NETWORK}");
    let reply = member.request("POST", &path, Some(&json!({})))?;
    let said = reply.body["description"].as_str().unwrap_or_default();
    ensure!(reply.status == 500 && said.contains("networks.d"), "{} {}", reply.status, reply.body);
    ensure!(member.request("GET", &path, None)?.status == 404, "joined all the same");
    let joined = format!("/network/{}", cluster.network);
    let before = member.get(&joined)?["allowGlobal"].clone();
    let reply = member.request("POST", &joined, Some(&json!({"allowGlobal": true})))?;
    ensure!(reply.status == 500, "{} {}", reply.status, reply.body);
    ensure!(member.get(&joined)?["allowGlobal"] == before, "set all the same");
    let output = member.cli_command(&["join", NETWORK])?.stdin(Stdio::null()).output()?;
    ensure!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));

    // What the node itself wants to keep: it is told of, shown, and made up for.
    let controller = format!("/controller/network/{}", cluster.network);
    cluster.root.post(&controller, &json!({"name": "unwritten"}))?;
    logged(member, &["cannot save", &cluster.network])?;
    let shown = member.status()?["unsaved"].to_string();
    ensure!(shown.contains(&format!("{}.conf", cluster.network)), "{shown}");
    fs::remove_file(&folder)?;
    fs::rename(&aside, &folder)?;
    // It would be tried again in half a minute; the next configuration comes sooner.
    cluster.root.post(&controller, &json!({"name": "written"}))?;
    tool::wait_for("the file", LIMIT, STEP, || {
        let bytes = fs::read(folder.join(format!("{}.conf", cluster.network)))?;
        Ok((String::from_utf8_lossy(&bytes).contains("n=written")
            && member.status()?["unsaved"] == json!([]))
        .then_some(()))
    })
}

/// A GET from elsewhere: status and text.
fn fetch(from: &Daemon, to: Ipv4Addr, port: u16, path: &str, token: &str) -> Result<(u16, String)> {
    let script = format!(
        "exec 3<>/dev/tcp/{to}/{port} && printf 'GET {path} HTTP/1.1\\r\\nHost: x\\r\\nX-ZT1-Auth: {token}\\r\\nConnection: close\\r\\n\\r\\n' >&3 && cat <&3"
    );
    let output = from.host.namespace.command("bash").args(["-c", &script]).output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let status = said.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Ok((status, said))
}

fn scrapers(cluster: &mut Cluster) -> Result<()> {
    let (root, member) = (&cluster.root, &cluster.members[0]);
    let read = |name: &str| fs::read_to_string(root.home().join(name));
    let (api, metrics) = (read("authtoken.secret")?, read("metricstoken.secret")?);
    let to = root.host.public;
    ensure!(fetch(member, to, 9100, "/metrics", &metrics)?.0 == 0, "off unless asked for");
    ensure!(!root.home().join("metrics.prom").exists(), "not unless asked for");
    root.post("/config/settings", &json!({"metricsListen": [format!("{to}/9100")], "metricsFile": true}))?;
    for (path, token, status) in [
        ("/metrics", metrics.as_str(), 200),
        ("/metrics", "", 401),
        ("/metrics", &api, 401),
        ("/status", &metrics, 404),
        ("/status", &api, 401),
        ("/health", "", 401),
    ] {
        let (got, said) = fetch(member, to, 9100, path, token)?;
        ensure!(got == status, "{path}: {said}");
    }
    let (_, page) = fetch(member, to, 9100, "/metrics", &metrics)?;
    for line in
        ["# TYPE zt_peer_latency histogram", "# TYPE zt_packet_error counter", "controller_network_count 1"]
    {
        ensure!(page.contains(line), "{line} is not in {page}");
    }
    // The member has asked its root whether it is there, and knows how long the answer took.
    let own = fs::read_to_string(member.home().join("metricstoken.secret"))?;
    tool::wait_for("a round-trip time", LIMIT, STEP, || {
        let (_, page) = fetch(member, Ipv4Addr::LOCALHOST, lab::daemon::PORT, "/metrics", &own)?;
        let line = format!("zt_peer_latency_bucket{{node_id=\"{}\",le=\"+Inf\"}}", root.address);
        let sample = |name: &str| {
            let of = |line: &str| line.strip_prefix(name).and_then(|rest| rest.trim().parse::<u64>().ok());
            page.lines().find_map(of).unwrap_or_default()
        };
        let [came, went] = ["rx", "tx"].map(|direction| {
            sample(&format!("zt_peer_packets{{direction=\"{direction}\",node_id=\"{}\"}}", root.address))
        });
        let errors = format!("zt_peer_packet_errors{{node_id=\"{}\"}} 0\n", root.address);
        ensure!(page.contains(&errors), "{errors} is not in {page}");
        Ok((page.contains(&line) && came > 1 && went > 1).then_some(()))
    })?;
    let file = root.home().join("metrics.prom");
    tool::wait_for("the file with the metrics", LIMIT, STEP, || {
        Ok(fs::read_to_string(&file).ok().filter(|text| text.contains("# TYPE zt_packet counter")))
    })?;
    root.post("/config/settings", &json!({"metricsListen": [], "metricsFile": false}))?;
    tool::wait_for("the door to be shut", LIMIT, STEP, || {
        Ok((fetch(member, to, 9100, "/metrics", &metrics)?.0 == 0).then_some(()))
    })
}

fn log_of_administration(cluster: &mut Cluster) -> Result<()> {
    let (root, member) = (&cluster.root, &cluster.members[0]);
    let network = &cluster.network;
    root.cli(&["member", "deauthorize", network, &member.address])?;
    logged(root, &["member deauthorized", network, &member.address, "by=\"root\""])?;
    root.post(
        &format!("/controller/network/{network}/member/{}", member.address),
        &json!({"authorized": true, "name": "b"}),
    )?;
    logged(root, &["member authorized", &member.address, "by=\"127.0.0.1\""])?;
    logged(root, &["member changed", "changed=\"name\""])?;
    let made = root.post("/controller/network", &json!({"name": "second"}))?;
    let second = made["id"].as_str().context("no ID")?;
    logged(root, &["network made", second, "second"])?;
    root.post(&format!("/controller/network/{second}"), &json!({"private": false, "mtu": 1500}))?;
    logged(root, &["network changed", second, "mtu,private"])?;
    root.request("DELETE", &format!("/controller/network/{second}"), None)?;
    logged(root, &["network deleted", second])?;
    ensure!(count(root, "network changed") < 20, "once for each change");
    Ok(())
}

/// Records of a zerotier-one that come after the first start.
fn later_records(cluster: &mut Cluster) -> Result<()> {
    let root = &mut cluster.root;
    let id = format!("{}00abcd", root.address);
    let folder = root.home().join("controller.d/network");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(format!("{id}.json")), json!({"id": id, "name": "copied"}).to_string())?;
    let file = fs::File::options().write(true).open(folder.join(format!("{id}.json")))?;
    file.set_modified(std::time::SystemTime::now() + Duration::from_secs(60))?;
    root.stop()?;
    root.start()?;
    root.wait_ready()?;
    logged(root, &["WARN", "newer than what was taken over", "ztnode-cli controller import"])?;
    ensure!(!root.get("/controller/network")?.to_string().contains(&id), "not by itself");
    let said = root.cli(&["controller", "import"])?;
    ensure!(said.contains("1 network and 0 members"), "{said}");
    ensure!(root.get(&format!("/controller/network/{id}"))?["name"] == "copied", "not taken over");
    Ok(())
}

/// Makes a node read its settings again now.
fn reload(member: &Daemon) -> Result<()> {
    let pid = member.pid().context("it does not run")?.to_string();
    let status = Command::new("kill").args(["-HUP", &pid]).status()?;
    ensure!(status.success(), "cannot signal {pid}");
    Ok(())
}

/// What somebody mistyped, and a node that reaches nobody.
fn mistakes(cluster: &mut Cluster) -> Result<()> {
    cluster.root.stop()?;
    let member = &mut cluster.members[0];
    let conf = member.home().join("local.conf");
    let mut settings: Value = serde_json::from_str(&fs::read_to_string(&conf)?)?;
    settings["settings"]["lowBandwidthMod"] = json!(true);
    // Some editors begin a file so.
    fs::write(&conf, format!("\u{feff}{settings}"))?;
    reload(member)?;
    let told = "lowBandwidthMod is no setting and has no effect; did you mean lowBandwidthMode?";
    logged(member, &["WARN", told])?;
    member.stop()?;
    fs::write(member.home().join("networks.d/foo.conf"), "")?;
    member.start()?;
    member.wait_ready()?;
    logged(member, &["WARN", "networks.d/foo.conf", "these files are ignored"])?;
    ensure!(member.status()?["unknownSettings"].to_string().contains("lowBandwidthMode"), "not shown");
    logged(member, &["WARN", "OFFLINE for 10 s: no root answers", "security group"])?;

    // A reload says what waits for the next start, and only if something does.
    let reloads = count(member, "settings read again");
    settings["settings"]["lowBandwidthMod"] = Value::Null;
    settings["settings"]["primaryPort"] = json!(lab::daemon::PORT);
    fs::write(&conf, settings.to_string())?;
    reload(member)?;
    tool::wait_for("the settings to be read", LIMIT, STEP, || {
        Ok((count(member, "settings read again") > reloads).then_some(()))
    })?;
    ensure!(count(member, "at the next start") == 0, "nothing changes then:\n{}", member.log_tail(20));
    settings["settings"]["primaryPort"] = json!(9999);
    fs::write(&conf, settings.to_string())?;
    reload(member)?;
    logged(member, &["at the next start: primaryPort 9993 → 9999"])?;
    fs::write(&conf, "{\n  // our port\n  \"settings\": {}\n}")?;
    reload(member)?;
    logged(member, &["the settings stay as they were", "JSON has no comments", ":2:"])?;
    Ok(())
}

/// Tools that ask for a least version get the one that is spoken.
fn versions(cluster: &mut Cluster) -> Result<()> {
    let status = cluster.root.status()?;
    ensure!(status["version"] == "1.14.1" && status["versionMinor"] == 14, "{status}");
    ensure!(status["ztnodeVersion"].is_string(), "{status}");
    let old_name = cluster.root.home().join("zerotier-one");
    symlink(&lab::binaries::ours()?.ztnode, &old_name)?;
    let output = Command::new(&old_name).arg("-v").output()?;
    ensure!(output.stdout == b"1.14.1\n", "{}", String::from_utf8_lossy(&output.stdout));
    ensure!(output.stderr.starts_with(b"ztnode "), "{}", String::from_utf8_lossy(&output.stderr));
    fs::remove_file(old_name)?;
    Ok(())
}

#[test]
fn who_runs_a_node_is_told() {
    testing::run("who_runs_a_node_is_told", &Plan::new().cloud("aws"), |cluster| {
        versions(cluster).context("versions")?;
        linked_files(cluster).context("linked files")?;
        nothing_can_be_written(cluster).context("nothing can be written")?;
        scrapers(cluster).context("scrapers")?;
        log_of_administration(cluster).context("the log of administration")?;
        later_records(cluster).context("later records")?;
        mistakes(cluster).context("mistakes")
    });
}
