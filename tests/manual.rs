//! The commands of the manual, carried out in the order in which the pages have them, on real nodes.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::tool::Said;
use lab::{Cluster, Daemon, Plan, binaries, planet, testing, tool};
use serde_json::Value;
use system_tests::pages::commands;

const PATIENCE: Duration = Duration::from_secs(90);

/// What the pages call things, and what they are here.
struct Reader<'a> {
    controller: &'a Daemon,
    member: &'a Daemon,
    folder: &'a Path,
    token: String,
}

impl Reader<'_> {
    fn run(&self, node: &Daemon, line: &str) -> Result<Said> {
        let words = words(line);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut command = node.cli_command(&words)?;
        command.current_dir(self.folder);
        tool::finish(command, None, PATIENCE)
    }

    /// The ID of the network that the pages call demo.lab.
    fn network(&self) -> Result<String> {
        let list: Value = serde_json::from_str(&self.controller.cli(&["network", "list", "-j"])?)?;
        let networks = list.as_array().context("no list of networks")?;
        let demo = networks.iter().find(|network| network["name"] == "demo.lab").context("no demo.lab")?;
        Ok(demo["id"].as_str().context("no id")?.to_owned())
    }

    /// The command with what there is here in the place of what the page shows.
    fn meant(&self, shown: &str) -> Result<String> {
        let mut line = shown.to_owned();
        if let Some(at) = line.find("ztt_") {
            let length = line[at..].find(' ').unwrap_or(line.len() - at);
            line.replace_range(at..at + length, &self.token);
        }
        if line.contains("37f2b7c94f000001") {
            line = line.replace("37f2b7c94f000001", &self.network()?);
        }
        let id = self.token.split('_').nth(2).unwrap_or_default();
        Ok(line
            .replace("5aca06ff8e", &self.member.address)
            .replace("37f2b7c94f", &self.controller.address)
            .replace("5f0c2a19", id)
            .replace("/root/", &format!("{}/", self.folder.display())))
    }

    /// Carries out a page.
    fn read(&mut self, page: &str) -> Result<usize> {
        let mut count = 0;
        for shown in commands(page) {
            let line = self.meant(shown.trim_start_matches("ztnode-cli "))?;
            let here =
                ["join ", "wait ", "rules trace ", "moon "].iter().any(|start| line.starts_with(start))
                    || line.ends_with(" --counters");
            // What goes on until somebody stops it is tested where it is watched.
            if line.starts_with("capture ") || line.starts_with("rules trace ") && !line.contains(" --count ")
            {
                continue;
            }
            if line.starts_with("join ztt_") {
                // In the pages that is a new machine.
                self.run(self.member, &format!("leave {}", self.network()?))?;
            }
            let said = self.run(if here { self.member } else { self.controller }, &line)?;
            ensure!(said.ok(), "`{shown}`, here {line}: {said:?}");
            count += 1;
            if line.starts_with("token create ") {
                self.token = said.stdout.trim().to_owned();
            }
            if line == "network delete demo.lab" {
                // The page goes on with it.
                self.prepare()?;
            }
        }
        Ok(count)
    }

    /// The network that the pages speak of, with rules that have the names they use.
    fn prepare(&self) -> Result<()> {
        for line in ["network create demo.lab --subnet 10.0.0.0/16", "rules set demo.lab my.rules"] {
            let said = self.run(self.controller, line)?;
            ensure!(said.ok(), "{line}: {said:?}");
        }
        Ok(())
    }
}

/// The words of a line as the shell has them, without the program.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (place, part) in line.split('\'').enumerate() {
        if place % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

fn pages(cluster: &mut Cluster) -> Result<()> {
    let folder = tempfile::tempdir()?;
    // The pages use the lab's own subnet, and a subnet belongs to one network.
    cluster.members[0].cli(&["leave", &cluster.network])?;
    let rules = "tag department id 100 enum 1 marketing enum 2 sales default marketing;\ncap ssh id 1000 accept ipprotocol tcp \
                 and dport 22;\naccept;\n";
    std::fs::write(folder.path().join("my.rules"), rules)?;
    let mut reader = Reader {
        controller: cluster.controller(),
        member: &cluster.members[0],
        folder: folder.path(),
        token: String::new(),
    };
    let page = |name: &str| std::fs::read_to_string(docs().join(name));
    let count = reader.read(&page("controller.md")?)?;
    ensure!(count > 25, "only {count} commands in controller.md");
    // The member is in; what joining.md shows must find it so, with a token for the last of them.
    let made = reader.run(reader.controller, "token create demo.lab")?.stdout()?;
    reader.token = made.trim().to_owned();
    let count = reader.read(&page("joining.md")?)?;
    ensure!(count >= 5, "only {count} commands in joining.md");
    Ok(())
}

/// The page about the tools for rules: first what is written for somebody who has none, then what is done with those he has.
fn tools_for_rules(cluster: &mut Cluster) -> Result<()> {
    let (empty, folder) = (tempfile::tempdir()?, tempfile::tempdir()?);
    cluster.members[0].cli(&["leave", &cluster.network])?;
    let page = std::fs::read_to_string(docs().join("rule-tools.md"))?;
    let (init, rest) = page.split_once("## Compile and check").context("no section about `compile`")?;
    let mut reader = Reader {
        controller: cluster.controller(),
        member: &cluster.members[0],
        folder: empty.path(),
        token: String::new(),
    };
    ensure!(reader.read(init)? == 3, "three commands write and test rules");
    reader.folder = folder.path();
    // The cases name lines of these rules.
    let rules = format!("{}{}{}", RULES[0], "\n".repeat(7), RULES[1]);
    std::fs::write(folder.path().join("my.rules"), reader.meant(&rules)?)?;
    let cases = rest.split("```\n").find(|block| block.starts_with("# a line that begins with a blank"));
    let cases = cases.context("no block with cases")?.replace("37f2b7c94f", &reader.controller.address);
    std::fs::write(folder.path().join("my.cases"), cases)?;
    reader.prepare()?;
    let (member, network) = (&reader.member.address, reader.network()?);
    for line in [
        format!("member authorize demo.lab {member} --name aws --ip 10.0.1.1"),
        "member authorize demo.lab 62f865ae71 --name gcp --ip 10.0.3.1".to_owned(),
        format!("member authorize demo.lab {} --name observer", reader.controller.address),
    ] {
        let said = reader.run(reader.controller, &line)?;
        ensure!(said.ok(), "{line}: {said:?}");
    }
    let said = reader.run(reader.member, &format!("join {network} --wait"))?;
    ensure!(said.ok(), "{said:?}");
    // So that there is something to trace.
    let mut ping = reader.member.host.namespace.command("ping");
    ping.args(["-i", "0.2", "-I", &reader.member.device(&network)?, "224.0.0.1"]);
    ping.stdout(std::process::Stdio::null());
    let mut ping = ping.spawn()?;
    let count = reader.read(rest);
    ping.kill()?;
    ping.wait()?;
    let count = count?;
    ensure!(count >= 13, "only {count} commands in rule-tools.md");
    Ok(())
}

/// Rules in which what the page says of line 14, 16, 17, 21 and 22 is true, in two parts.
const RULES: [&str; 2] = [
    "tag department\n\tid 1000\n\tenum 1 marketing\n\tenum 2 sales\n\tdefault sales\n;",
    "cap ssh id 1000\n\taccept ipprotocol tcp and dport 22;\n;\ntee -1 37f2b7c94f;\nbreak chr tcp_syn and not chr tcp_ack;\n\n\n\n\
     drop not tdiff department 0;\naccept;\n",
];

fn docs() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs")
}

/// The page about roots: a planet and a moon are made without a node, and a node takes the moon.
fn roots(cluster: &mut Cluster) -> Result<()> {
    let home = tempfile::tempdir()?;
    let second = planet::new_identity(&home.path().join("second"))?;
    std::fs::create_dir(home.path().join("moons.d"))?;
    let member = &cluster.members[0];
    let mut count = 0;
    for shown in commands(&std::fs::read_to_string(docs().join("roots.md"))?) {
        let own = planet::address(home.path()).unwrap_or_default();
        let folder = home.path().to_string_lossy();
        let line = shown.replace("/var/lib/ztnode", &folder).replace("5aca06ff8e", &second);
        let line = line.replace("deadbeef00", &own);
        let words = words(line.trim_start_matches("ztnode-cli "));
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        if line.contains(" root use ") {
            std::fs::copy(home.path().join("planet"), home.path().join("company.planet"))?;
        }
        let mut command = if line.contains(" moon orbit ") || line.contains(" moon list") {
            member.cli_command(&words)?
        } else {
            let mut command = std::process::Command::new(&binaries::ours()?.cli);
            command.args(&words).env("ZEROTIER_HOME", home.path());
            command
        };
        command.current_dir(home.path());
        let said = tool::finish(command, None, PATIENCE)?;
        ensure!(said.ok(), "`{shown}`, here {line}: {said:?}");
        if line.contains(" root add ") {
            let mut show = std::process::Command::new(&binaries::ours()?.cli);
            show.args(["root", "show"]).env("ZEROTIER_HOME", home.path());
            let shown = tool::finish(show, None, PATIENCE)?.stdout()?;
            ensure!(shown.contains(&own) && shown.contains(&second), "not both roots in {shown}");
        }
        if line.contains(" moon sign ") {
            let moons = std::fs::read_dir(home.path().join("moons.d"))?.count();
            ensure!(moons == 1, "{moons} moons");
        }
        if line.contains(" moon list") {
            ensure!(said.stdout.contains(&own), "the moon is not among {}", said.stdout);
        }
        count += 1;
    }
    ensure!(count >= 8, "only {count} commands in roots.md");
    Ok(())
}

#[test]
fn the_page_about_tools_for_rules() {
    testing::run("the_page_about_tools_for_rules", &Plan::new().cloud("aws"), tools_for_rules);
}

#[test]
fn the_page_about_roots() {
    testing::run("the_page_about_roots", &Plan::new().cloud("aws"), roots);
}

#[test]
fn the_pages_about_controllers_and_joining() {
    testing::run("the_pages_about_controllers_and_joining", &Plan::new().cloud("aws"), pages);
}
