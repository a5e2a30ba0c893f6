//! The commands of the manual, carried out in the order in which the pages have them, on real nodes.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::tool::Said;
use lab::{Cluster, Daemon, Plan, testing, tool};
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
            .replace("5f0c2a19", id)
            .replace("/root/", &format!("{}/", self.folder.display())))
    }

    /// Carries out a page.
    fn read(&mut self, page: &str) -> Result<usize> {
        let mut count = 0;
        for shown in commands(page) {
            let line = self.meant(shown.trim_start_matches("ztnode-cli "))?;
            let here = line.starts_with("join ") || line.starts_with("wait ");
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
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let rules = "tag department id 100 enum 1 marketing enum 2 sales default marketing;\ncap ssh id 1000 accept ipprotocol tcp \
                 and dport 22;\naccept;\n";
    std::fs::write(folder.path().join("my.rules"), rules)?;
    let mut reader = Reader {
        controller: cluster.controller(),
        member: &cluster.members[0],
        folder: folder.path(),
        token: String::new(),
    };
    let page = |name: &str| std::fs::read_to_string(docs.join(name));
    let count = reader.read(&page("controller.md")?)?;
    ensure!(count > 25, "only {count} commands in controller.md");
    // The member is in; what joining.md shows must find it so, with a token for the last of them.
    let made = reader.run(reader.controller, "token create demo.lab")?.stdout()?;
    reader.token = made.trim().to_owned();
    let count = reader.read(&page("joining.md")?)?;
    ensure!(count >= 5, "only {count} commands in joining.md");
    Ok(())
}

#[test]
fn the_pages_about_controllers_and_joining() {
    testing::run("the_pages_about_controllers_and_joining", &Plan::new().cloud("aws"), pages);
}
