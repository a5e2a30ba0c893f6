//! A join token that names the planet, with real daemons: a node that knows no root yet takes it and is in, any other keeps its
//! own; and whoever names the planet's place gains nothing by it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::{Access, Cluster, Daemon, Lab, Plan, Seat, binaries, testing, tool};
use serde_json::Value;
use system_tests::web::{Answer, Authority, Web};
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(90);
const STEP: Duration = Duration::from_millis(50);
/// What the servers are called.
const HOST: &str = "planets.example";
const INSIDE: &str = "inside.example";

/// A root that is the controller, a web server beside it, and nodes that are not started yet and have another planet, whose root
/// never runs.
struct Stage {
    cluster: Cluster,
    web: Web,
    authority: Authority,
    hosts: Vec<PathBuf>,
    folder: TempDir,
}

impl Drop for Stage {
    fn drop(&mut self) {
        for folder in &self.hosts {
            // What stays behind disturbs nobody.
            let _ = fs::remove_dir_all(folder);
        }
    }
}

impl Stage {
    fn new(nodes: &[&str]) -> Result<Self> {
        let mut plan = Plan::new().member("elsewhere", Seat::Ours, Access::Public);
        for name in nodes {
            plan = plan.member(name, Seat::Ours, Access::Public);
        }
        let mut cluster = plan.prepare(Lab::new()?)?;
        let folder = tempfile::tempdir()?;
        let authority = Authority::new(folder.path())?;
        let web = Web::start(&cluster.root.host.namespace, &authority, &[HOST, INSIDE, "localhost"])?;
        let elsewhere = cluster.members.remove(0);
        fs::remove_file(elsewhere.home().join("planet"))?;
        elsewhere.make_planet()?;
        // What names lead to in the hosts: `ip netns exec` puts these files in the place of the machine's.
        let mut hosts = Vec::new();
        for member in &cluster.members {
            member.adopt_planet(&elsewhere)?;
            let folder = Path::new("/etc/netns").join(member.host.namespace.name());
            fs::create_dir_all(&folder)?;
            let root = cluster.root.host.public;
            let names = format!("127.0.0.1 localhost\n{root} {HOST}\n10.9.8.7 {INSIDE}\n");
            fs::write(folder.join("hosts"), names)?;
            hosts.push(folder);
        }
        cluster.root.start()?;
        cluster.root.wait_ready()?;
        cluster.create_network()?;
        web.says("/planet", Answer::File(fs::read(cluster.root.home().join("planet"))?));
        fs::copy(elsewhere.home().join("planet"), folder.path().join("elsewhere.planet"))?;
        Ok(Self { cluster, web, authority, hosts, folder })
    }

    /// A token for the network that names a planet.
    fn token(&self, switches: &[&str]) -> Result<String> {
        let words = [&["token", "create", &self.cluster.network][..], switches].concat();
        Ok(self.cluster.controller().cli(&words)?.trim().to_owned())
    }

    /// Runs the tool on a node: exit code, standard output, standard error.
    fn cli(&self, node: &Daemon, words: &[&str]) -> Result<(i32, String, String)> {
        let mut command = node.cli_command(words)?;
        command.env("SSL_CERT_FILE", self.authority.file()).env_remove("SSL_CERT_DIR").stdin(Stdio::null());
        let said = tool::finish(command, None, LIMIT)?;
        Ok((said.code.context("a signal, or too late")?, said.stdout, said.stderr))
    }

    fn elsewhere(&self) -> Result<Vec<u8>> {
        Ok(fs::read(self.folder.path().join("elsewhere.planet"))?)
    }

    /// The join fails with these words, and the node is as it was.
    fn refused(&self, node: &Daemon, words: &[&str], code: i32, says: &str) -> Result<String> {
        let planet = fs::read(node.home().join("planet"))?;
        let (shown, networks) = (node.get("/planet")?, node.get("/network")?);
        let (ended, out, err) = self.cli(node, words)?;
        ensure!(
            ended == code && err.contains(says),
            "{words:?}: {ended} {out}{err}\n(wanted: {code} {says})"
        );
        ensure!(out.is_empty(), "{words:?}: {out}");
        ensure!(fs::read(node.home().join("planet"))? == planet, "{words:?}: another planet in the home");
        ensure!(node.get("/planet")? == shown, "{words:?}: another planet: {}", node.get("/planet")?);
        ensure!(node.get("/network")? == networks, "{words:?}: joined");
        Ok(err)
    }
}

fn run(name: &str, nodes: &[&str], body: impl FnOnce(&mut Stage) -> Result<()>) {
    if !testing::ready(name) {
        return;
    }
    let outcome = Stage::new(nodes)
        .and_then(|mut stage| body(&mut stage).map_err(|error| error.context(stage.cluster.report())));
    if let Err(error) = outcome {
        panic!("{name}: {error:#}");
    }
}

fn start(node: &mut Daemon) -> Result<()> {
    node.start()?;
    node.wait_ready()
}

fn taken(stage: &mut Stage) -> Result<()> {
    let network = stage.cluster.network.clone();
    let url = format!("https://{HOST}:8443/planet");
    let token = stage.token(&["--planet-url", &url, "--uses", "2"])?;
    ensure!(token.ends_with(&format!("_{url}")), "{token}");
    start(&mut stage.cluster.members[0])?;
    let node = &stage.cluster.members[0];
    let shown = node.get("/planet")?;
    ensure!(shown["replaceable"] == true && shown["keptBecause"].is_null(), "{shown}");
    let former = shown["roots"][0]["identity"].as_str().context("no root")?[..10].to_owned();
    ensure!(node.get(&format!("/peer/{former}"))?["role"] == "PLANET", "not even known");

    let (code, out, err) = stage.cli(node, &["join", &token, "--wait=80", "-j"])?;
    ensure!(code == 0, "{code} {out}{err}");
    let (root, endpoint) = (&stage.cluster.root, format!("{}/9993", stage.cluster.root.host.public));
    let planet = root.get("/planet")?;
    for word in [&root.address, &endpoint, &url, planet["sha256"].as_str().context("no sha256")?] {
        ensure!(err.contains(word), "{word} was not printed: {err}");
    }
    let home = node.home();
    ensure!(fs::read(home.join("planet"))? == fs::read(root.home().join("planet"))?, "another file");
    ensure!(fs::read(home.join("planet.replaced"))? == stage.elsewhere()?, "the former planet is not kept");
    let shown = node.get("/planet")?;
    ensure!(shown["sha256"] == planet["sha256"] && shown["keptBecause"] == "joined", "{shown}");
    // The former root is nobody any more.
    let peers = node.get("/peer")?;
    let roots: Vec<&Value> = peers.as_array().into_iter().flatten().filter(|p| p["role"] != "LEAF").collect();
    ensure!(roots.len() == 1 && roots[0]["address"] == root.address.as_str(), "{peers}");
    ensure!(!peers.to_string().contains(&former), "{peers}");

    // Once more, with the planet that it has: nothing is fetched.
    let requests = stage.web.requests();
    let (code, out, err) = stage.cli(node, &["join", &token])?;
    ensure!(code == 0 && out == "200 join OK\n" && err.is_empty(), "{code} {out}{err}");
    ensure!(stage.web.requests() == requests, "fetched again");

    // All of it lasts.
    tool::wait_for("the note that a root was heard", LIMIT, STEP, || {
        Ok(home.join("roots.heard").exists().then_some(()))
    })?;
    stage.cluster.members[0].stop()?;
    start(&mut stage.cluster.members[0])?;
    let node = &stage.cluster.members[0];
    let (code, out, err) = stage.cli(node, &["wait", &network, "--timeout", "80"])?;
    ensure!(code == 0, "{code} {out}{err}");

    // The other way: by the file beside the token's, and without waiting.
    start(&mut stage.cluster.members[1])?;
    let node = &stage.cluster.members[1];
    let file = stage.cluster.root.home().join("planet");
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("token"), stage.token(&["--planet", &file.display().to_string()])? + "\n")?;
    let path = folder.path().join("token").display().to_string();
    let join = ["join", "--token-file", &path];
    stage.refused(node, &join, 1, "it cannot be read: No such file")?;
    fs::copy(stage.folder.path().join("elsewhere.planet"), folder.path().join("planet"))?;
    stage.refused(node, &join, 1, "this is not the planet that the token names")?;
    fs::copy(&file, folder.path().join("planet"))?;
    let (code, out, err) = stage.cli(node, &join)?;
    ensure!(
        code == 0 && out == "200 join OK\n" && err.contains(&stage.cluster.root.address),
        "{code} {out}{err}"
    );
    let (code, out, err) = stage.cli(node, &["wait", &network, "--timeout", "80"])?;
    ensure!(code == 0, "{code} {out}{err}");
    Ok(())
}

#[test]
fn one_token_brings_planet_and_network() {
    run("one_token_brings_planet_and_network", &["first", "second"], taken);
}

fn kept(stage: &mut Stage) -> Result<()> {
    let [joined, heard] = [0, 1];
    let other = stage.folder.path().join("elsewhere.planet").display().to_string();
    let url = format!("https://{HOST}:8443/planet");
    let right = stage.token(&["--planet-url", &url])?;
    let wrong = stage.token(&["--planet", &other, "--planet-url", &url])?;
    let connections = stage.web.connections();

    // Joined, and never heard a root.
    start(&mut stage.cluster.members[joined])?;
    let node = &stage.cluster.members[joined];
    node.join("1c33c1ced07ac85d")?;
    let said = stage.refused(node, &["join", &right], 1, "this node has joined a network")?;
    let sha256 = right.split('_').nth(4).context("no SHA-256")?;
    let lines: Vec<&str> = said.lines().collect();
    ensure!(lines.len() == 3 && lines[0].contains(&url) && lines[0].contains(sha256), "{said}");
    let new = node.home().join("planet.new").display().to_string();
    for words in [&format!("curl -fo {new} {url}"), "sha256sum -c", "systemctl restart ztnode"] {
        ensure!(lines[1].contains(words), "{words} is not in: {said}");
    }
    ensure!(lines[2].contains("--keep-planet") && !said.contains(&right[30..60]), "{said}");
    stage.refused(node, &["join", &right, "--wait"], 1, "this node has joined a network")?;
    // Without the network it is what it was; after a restart with one it counts as used.
    node.cli(&["leave", "1c33c1ced07ac85d"])?;
    ensure!(node.get("/planet")?["replaceable"] == true, "{}", node.get("/planet")?);

    // Heard a root: while it is there, and in a later run in which it is not.
    fs::copy(stage.cluster.root.home().join("planet"), stage.cluster.members[heard].home().join("planet"))?;
    start(&mut stage.cluster.members[heard])?;
    stage.cluster.members[heard].wait_online(LIMIT)?;
    stage.refused(&stage.cluster.members[heard], &["join", &wrong], 1, "a root has answered this node")?;
    tool::wait_for("the note that a root was heard", LIMIT, STEP, || {
        Ok(stage.cluster.members[heard].home().join("roots.heard").exists().then_some(()))
    })?;
    stage.cluster.members[heard].stop()?;
    // What it has of others does not decide.
    let _ = fs::remove_dir_all(stage.cluster.members[heard].home().join("peers.d"));
    stage.cluster.root.stop()?;
    start(&mut stage.cluster.members[heard])?;
    stage.refused(&stage.cluster.members[heard], &["join", &wrong], 1, "a root has answered this node")?;
    start(&mut stage.cluster.root)?;

    // Whoever is a root, or signs planets.
    stage.refused(&stage.cluster.root, &["join", &wrong], 1, "this node has the key of a planet")?;
    fs::rename(stage.cluster.root.home().join("planet.key"), stage.folder.path().join("planet.key"))?;
    stage.refused(&stage.cluster.root, &["join", &wrong], 1, "this node is a root of its planet")?;
    // The control API decides, not the tool.
    let body = stage.elsewhere()?;
    let upload = stage.folder.path().join("elsewhere.planet");
    ensure!(!body.is_empty() && upload.exists(), "no planet");
    let socket = stage.cluster.members[heard].home().join("ztnode.sock");
    let answer = stage.folder.path().join("answer");
    let curl = tool::run(
        "curl",
        &[
            "-s",
            "-o",
            &answer.display().to_string(),
            "-w",
            "%{http_code}",
            "--unix-socket",
            &socket.display().to_string(),
            "--data-binary",
            &format!("@{}", upload.display()),
            "http://localhost/planet",
        ],
    )?;
    ensure!(curl == "409", "{curl} {}", fs::read_to_string(&answer)?);
    ensure!(stage.web.connections() == connections, "somebody fetched something all the same");

    // With its own planet it joins, if told so.
    let node = &stage.cluster.members[heard];
    let (code, out, err) = stage.cli(node, &["join", "--keep-planet", &wrong, "--wait=80"])?;
    ensure!(code == 0, "{code} {out}{err}");
    Ok(())
}

#[test]
fn a_node_in_use_keeps_its_planet() {
    run("a_node_in_use_keeps_its_planet", &["joined", "heard"], kept);
}

/// `ztnode-cli container` in a node's place, beside a daemon that ends at once: exit code and standard error.
fn container(
    stage: &Stage,
    node: &Daemon,
    words: &[&str],
    environment: &[(&str, &str)],
) -> Result<(i32, String)> {
    let folder = tempfile::tempdir()?;
    let tool = folder.path().join("ztnode-cli");
    fs::copy(&binaries::ours()?.cli, &tool)?;
    std::os::unix::fs::symlink("/bin/true", folder.path().join("ztnode"))?;
    let mut command = node.host.namespace.command(&tool.display().to_string());
    command.arg(format!("-D{}", node.home().display())).arg("container").args(words);
    command.env("SSL_CERT_FILE", stage.authority.file()).env_remove("SSL_CERT_DIR");
    command.envs(environment.iter().copied());
    let said = tool::finish(command, None, LIMIT)?;
    Ok((said.code.context("a signal, or too late")?, said.stderr))
}

fn contained(stage: &mut Stage) -> Result<()> {
    let network = stage.cluster.network.clone();
    let base = format!("https://{HOST}:8443");
    let right = fs::read(stage.cluster.root.home().join("planet"))?;
    let sha256 = tool::run("sha256sum", &[&stage.cluster.root.home().join("planet").display().to_string()])?;
    let by_url = format!("{base}/planet#sha256={}", &sha256[..64]);
    stage.web.says("/other", Answer::File(stage.elsewhere()?));
    let token = stage.token(&["--planet-url", &format!("{base}/planet"), "--uses", "2"])?;
    let planet = |node: &Daemon| fs::read(node.home().join("planet")).ok();
    let fresh = |node: &mut Daemon| {
        node.take_identity()?;
        fs::remove_file(node.home().join("planet")).context("no planet")
    };

    // A variable with a URL: what is there is not what was meant, or cannot be had, and then it is.
    let [variable, by_token, used] = [0, 1, 2];
    fresh(&mut stage.cluster.members[variable])?;
    let node = &stage.cluster.members[variable];
    for (wrong, says) in [
        (format!("{base}/other#sha256={}", &sha256[..64]), "its SHA-256 is another"),
        (format!("{base}/nothing#sha256={}", &sha256[..64]), "answers 404"),
        (format!("{base}/planet"), "a URL needs the SHA-256"),
        (by_url.replace("https", "http"), "by https and nothing else"),
    ] {
        let (code, err) = container(stage, node, &[&network], &[("ZTNODE_PLANET", &wrong)])?;
        ensure!(code == 1 && err.contains(says) && err.lines().count() == 1, "{wrong}: {code} {err}");
        ensure!(
            planet(node).is_none() && !node.home().join("networks.d").exists(),
            "{wrong}: changed something"
        );
    }
    // What is chosen goes before what a token says, which is then not even asked for.
    let other = stage.token(&["--planet-url", &format!("{base}/nothing")])?;
    let (code, err) = container(stage, node, &[&other], &[("ZTNODE_PLANET", &by_url)])?;
    ensure!(code == 0 && err.contains(&stage.cluster.root.address), "{code} {err}");
    ensure!(planet(node).as_ref() == Some(&right), "another planet");

    let connections = stage.web.connections();
    let (code, err) = container(stage, node, &[&other], &[("ZTNODE_PLANET", &by_url)])?;
    ensure!(code == 0 && err.is_empty() && stage.web.connections() == connections, "{code} {err}");

    // A token's, in a home that is new; not a second time, and not in a home that is somebody's.
    fresh(&mut stage.cluster.members[by_token])?;
    let node = &stage.cluster.members[by_token];
    let (code, err) = container(stage, node, &[&other], &[])?;
    ensure!(code == 1 && err.contains("answers 404") && planet(node).is_none(), "{code} {err}");
    let (code, err) = container(stage, node, &[&token], &[])?;
    ensure!(code == 0 && err.contains(&stage.cluster.root.address), "{code} {err}");
    ensure!(planet(node).as_ref() == Some(&right), "another planet");
    let connections = stage.web.connections();
    let (code, err) = container(stage, node, &[&token], &[])?;
    ensure!(code == 0 && err.is_empty(), "{code} {err}");
    let node = &stage.cluster.members[used];
    let (code, err) = container(stage, node, &[&token], &[])?;
    ensure!(code == 0 && planet(node) == Some(stage.elsewhere()?), "a token moved a node: {code} {err}");
    ensure!(stage.web.connections() == connections, "fetched all the same");

    // The daemons that start there are members.
    for index in [variable, by_token] {
        start(&mut stage.cluster.members[index])?;
        let node = &stage.cluster.members[index];
        let (code, out, err) = stage.cli(node, &["wait", &network, "--timeout", "80"])?;
        ensure!(code == 0, "{code} {out}{err}");
    }
    Ok(())
}

#[test]
fn a_new_container_takes_the_planet_of_its_variable_or_token() {
    run(
        "a_new_container_takes_the_planet_of_its_variable_or_token",
        &["variable", "token", "used"],
        contained,
    );
}

fn refused(stage: &mut Stage) -> Result<()> {
    start(&mut stage.cluster.members[0])?;
    let node = &stage.cluster.members[0];
    let base = format!("https://{HOST}:8443");
    let token = |path: &str| stage.token(&["--planet-url", &format!("{base}{path}")]);

    // The slowest first, so that the others need not wait for it.
    stage.web.says("/silence", Answer::Silence);
    let mut silent = node.cli_command(&["join", &token("/silence")?])?;
    silent.env("SSL_CERT_FILE", stage.authority.file()).env_remove("SSL_CERT_DIR");
    let silent = std::thread::spawn(move || tool::finish(silent, None, LIMIT));

    stage.web.says("/redirect", Answer::Redirect(format!("{base}/planet")));
    let before = stage.web.requests();
    stage.refused(node, &["join", &token("/redirect")?], 1, "redirects are not followed")?;
    let requests = stage.web.requests() - before;
    ensure!(requests <= 2, "{requests} requests for a redirect, and one that goes on");
    stage.web.says("/large", Answer::File(vec![1; 8481]));
    stage.refused(node, &["join", &token("/large")?], 1, "more than 8480 octets")?;
    stage.web.says("/announced", Answer::Announced(8481));
    stage.refused(node, &["join", &token("/announced")?], 1, "more than 8480 octets")?;
    stage.web.says("/endless", Answer::Endless);
    stage.refused(node, &["join", &token("/endless")?], 1, "more than 8480 octets")?;
    stage.web.says("/other", Answer::File(stage.elsewhere()?));
    let said = stage.refused(
        node,
        &["join", &token("/other")?],
        1,
        "this is not the planet that the token names",
    )?;
    ensure!(!said.contains("takes the planet"), "printed as if it were the right one: {said}");
    stage.refused(node, &["join", &token("/nothing")?], 1, "answers 404")?;

    // A file that is what the token says, and no planet.
    let bad = stage.folder.path().join("bad");
    fs::write(&bad, b"no planet")?;
    let words = ["token", "create", &stage.cluster.network, "--planet", &bad.display().to_string()];
    let (code, _, err) = stage.cli(&stage.cluster.root, &words)?;
    ensure!(code == 2 && err.contains("is not the file of a planet"), "{code} {err}");
    stage.web.says("/bad", Answer::File(b"no planet".to_vec()));
    let good = token("/bad")?;
    let sha256 = good.split('_').nth(4).context("no SHA-256")?;
    let of_bad = tool::run("sha256sum", &[&bad.display().to_string()])?;
    let forged = good.replace(sha256, &of_bad[..64]);
    stage.refused(node, &["join", &forged], 1, "this is not the file of a planet")?;

    // Names of what is only reachable from here, whatever listens there.
    let connections = stage.web.connections();
    let here = Web::start(&node.host.namespace, &stage.authority, &["localhost", "127.0.0.1"])?;
    let planet = fs::read(stage.cluster.root.home().join("planet"))?;
    here.says("/planet", Answer::File(planet));
    for (name, ip) in [("localhost", "127.0.0.1"), (INSIDE, "10.9.8.7")] {
        let token = stage.token(&["--planet-url", &format!("https://{name}:8443/planet")])?;
        stage.refused(
            node,
            &["join", &token],
            1,
            &format!("{name} leads to {ip}, which is no public address"),
        )?;
    }
    ensure!(here.connections() == 0 && stage.web.connections() == connections, "connected all the same");

    // In clear, by the tool that makes tokens and by one that takes them.
    let words = ["token", "create", &stage.cluster.network, "--planet-url", "http://planets.example/planet"];
    let (code, _, err) = stage.cli(&stage.cluster.root, &words)?;
    ensure!(code == 2 && err.contains("by https and nothing else"), "{code} {err}");
    let clear = token("/planet")?.replace("https:", "http:");
    stage.refused(node, &["join", &clear], 2, "by https and nothing else")?;

    // A server nobody vouches for, and one of another name.
    let mut unknown = node.cli_command(&["join", &token("/planet")?])?;
    unknown.env("SSL_CERT_FILE", stage.folder.path().join("none")).env_remove("SSL_CERT_DIR");
    let said = tool::finish(unknown, None, LIMIT)?;
    ensure!(said.code == Some(1) && said.stderr.contains("trusts no certificate authority"), "{said:?}");
    let ip = stage.cluster.root.host.public;
    let by_ip = stage.token(&["--planet-url", &format!("https://{ip}:8443/planet")])?;
    stage.refused(node, &["join", &by_ip], 1, "no secure connection")?;

    let said = silent.join().map_err(|_| anyhow::anyhow!("a panic"))??;
    ensure!(said.code == Some(1) && said.stderr.contains("no complete answer within 20 s"), "{said:?}");
    let shown = node.get("/planet")?;
    ensure!(shown["replaceable"] == true, "{shown}");

    // A disk that takes nothing: nothing is changed. The server is named by its address, which may be a private one then.
    let by_address = stage.token(&["--planet-url", "https://127.0.0.1:8443/planet"])?;
    let obstacle = node.home().join("planet.replaced");
    fs::create_dir(&obstacle)?;
    stage.refused(node, &["join", &by_address], 1, "cannot keep the planet")?;
    fs::remove_dir(&obstacle)?;
    let (code, out, err) = stage.cli(node, &["join", &by_address, "--wait=80"])?;
    ensure!(code == 0 && here.requests() == 2, "{code} {out}{err}");
    Ok(())
}

#[test]
fn whoever_names_the_planet_gains_nothing_by_it() {
    run("whoever_names_the_planet_gains_nothing_by_it", &["fresh"], refused);
}
