//! The tour's chapters about flow rules: tapping the Ethernet, departments, a capability.

use std::fs;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use lab::rules::{self, Example};
use lab::tap::Tap;
use lab::{Cluster, Daemon, Seat, tool, traffic};

use crate::matrix;
use crate::show::Show;

const LIMIT: Duration = Duration::from_secs(5);
/// How long an answer that must not come is waited for.
const SILENCE: Duration = Duration::from_millis(400);
/// The promise: from the command to the last member's having the rules.
const PUSH_LIMIT: Duration = Duration::from_secs(1);

const SALES: &str = "1";
const ENGINEERING: &str = "2";

/// The machine with the web page of the chapter before.
const SERVER: usize = 1;

/// The network and what the chapters need to know of it.
pub(crate) struct Tapping<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) seat: Seat,
}

impl Tapping<'_> {
    /// All chapters.
    ///
    /// # Errors
    /// The chapter that failed, and what was expected.
    pub(crate) fn chapters(&self, show: &mut Show) -> Result<()> {
        self.taps(show).context("chapter: Ethernet tapping")?;
        self.departments(show).context("chapter: microsegmentation")?;
        self.capability(show).context("chapter: a capability")?;
        self.cluster.set_rules("accept;")?;
        Ok(())
    }

    fn members(&self) -> &[Daemon] {
        &self.cluster.members
    }

    /// The one that listens: the last machine, which has nothing to do with the pings.
    fn observer(&self) -> &Daemon {
        &self.members()[self.members().len() - 1]
    }

    fn taps(&self, show: &mut Show) -> Result<()> {
        show.chapter("Ethernet tapping");
        let observer = self.observer();
        let (a, b) = (&self.members()[0], &self.members()[1]);
        show.meaning(&format!(
            "{} asked to see all traffic. Its address goes into the network's rules; {} and {} are not touched.",
            observer.name(),
            a.name(),
            b.name()
        ));
        self.put(show, rules::TEE, true)?;
        self.tap(show, 2, 2)?;
        show.meaning(
            "Four times: who sends a frame copies it, and so does who receives it; the request, then the answer.",
        );
        self.explain(
            show,
            rules::TEE,
            &format!("icmp {} > {} echo-request", self.cluster.fixed(0), self.cluster.fixed(1)),
            "tee ",
        )?;
        self.trace(show)?;
        self.put(show, rules::WATCH, true)?;
        self.tap(show, 1, 1)?;
        show.meaning("Twice: now only receivers report. The rules changed under way; nobody joined anew.");
        self.put(show, rules::REDIRECT, false)?;
        self.tap(show, 1, 0)?;
        show.meaning(&format!(
            "A redirected frame goes to {} instead: {} never saw the request, so nobody answered.",
            observer.name(),
            b.name()
        ));
        Ok(())
    }

    /// Puts an example into force, as a person does it, and checks that it reaches everybody in time.
    fn put(&self, show: &Show, example: Example, whole: bool) -> Result<()> {
        let source = example.source(&self.observer().address);
        let root = &self.cluster.root;
        let file = self.cluster.lab.dir().join(example.file);
        fs::write(&file, &source)?;
        if whole {
            show.command("root", &format!("cat {}", example.file), &source);
        } else {
            let statements: Vec<&str> =
                source.lines().filter(|l| !l.starts_with('#') && !l.is_empty()).collect();
            show.command("root", &format!("grep -v '^#' {}", example.file), &statements.join("\n"));
        }
        if self.seat == Seat::Reference {
            let took = self.cluster.set_rules(&source)?;
            show.meaning(&format!(
                "Set through the JSON API, in force everywhere after {} ms.",
                took.as_millis()
            ));
            return Ok(());
        }
        let start = std::time::Instant::now();
        let output = root.cli(&["rules", "set", "demo.lab", &file.to_string_lossy()])?;
        let revision = self.cluster.record()?["revision"].clone();
        self.cluster.wait_revision(&revision)?;
        let took = start.elapsed();
        show.command("root", &format!("ztnode-cli rules set demo.lab {}", example.file), &output);
        show.meaning(&format!(
            "In force on all {} machines after {} ms.",
            self.members().len(),
            took.as_millis()
        ));
        ensure!(took < PUSH_LIMIT, "{} took {took:?} to reach all members", example.file);
        Ok(())
    }

    /// One ping between two others, as tshark on the observer's interface shows it.
    fn tap(&self, show: &Show, requests: usize, replies: usize) -> Result<()> {
        let observer = self.observer();
        let tap = Tap::start(&observer.host.namespace, &observer.device(&self.cluster.network)?, "icmp")?;
        let (from, target) = (&self.members()[0], self.cluster.fixed(1).to_string());
        let said = from.host.namespace.said("ping", &["-n", "-c", "1", "-W", "1", &target])?;
        show.command(from.name(), &format!("ping -n -c 1 -W 1 {target}"), &said.stdout);
        let command = tap.command.clone();
        let lines = tap.lines(requests + replies, LIMIT)?;
        show.command(observer.name(), &command, &lines.join("\n"));
        ensure!(
            said.ok() == (replies > 0),
            "the ping should have {}",
            if replies > 0 { "succeeded" } else { "failed" }
        );
        let count = |what: &str| lines.iter().filter(|line| line.contains(what)).count();
        let found = (count("Echo (ping) request"), count("Echo (ping) reply"), lines.len());
        let expected = (requests, replies, requests + replies);
        ensure!(
            found == expected,
            "tshark shows (requests, replies, frames) {found:?} instead of {expected:?}"
        );
        Ok(())
    }

    /// Has the first machine explain a packet, and checks that the line of the statement that starts with `statement` is
    /// named.
    fn explain(&self, show: &Show, example: Example, packet: &str, statement: &str) -> Result<()> {
        if self.seat == Seat::Reference {
            return Ok(());
        }
        let member = &self.members()[0];
        let output = member.cli(&["rules", "explain", "demo.lab", packet])?;
        show.command(member.name(), &format!("ztnode-cli rules explain demo.lab '{packet}'"), &output);
        let line = self.line_of(example, statement)?;
        ensure!(output.contains(&format!("line {line}")), "it should name line {line}, `{statement}…`");
        show.meaning("Sender and receiver each walk the list; every verdict names its line in the file.");
        Ok(())
    }

    /// The number of the first line of an example that starts with `statement`.
    fn line_of(&self, example: Example, statement: &str) -> Result<usize> {
        let source = example.source(&self.observer().address);
        let at = source.lines().position(|line| line.starts_with(statement));
        Ok(at.with_context(|| format!("{} has no `{statement}`", example.file))? + 1)
    }

    /// What the daemon of the second machine does with a ping, live.
    fn trace(&self, show: &Show) -> Result<()> {
        if self.seat == Seat::Reference {
            return Ok(());
        }
        let (from, to) = (&self.members()[0], &self.members()[1]);
        let target = IpAddr::V4(self.cluster.fixed(1));
        let words = ["rules", "trace", "demo.lab", "--count", "2"];
        let command = to.cli_command(&words)?;
        // It ends by itself after two packets; until it listens, pings pass it by.
        let running = std::thread::spawn(move || tool::finish(command, None, tool::LIMIT));
        tool::wait_for("the trace of two packets", LIMIT, Duration::from_millis(20), || {
            if running.is_finished() {
                return Ok(Some(()));
            }
            traffic::ping(&from.host.namespace, target, SILENCE)?;
            Ok(None)
        })?;
        let said = running.join().map_err(|_| anyhow::anyhow!("the trace's thread panicked"))??;
        let output = said.stdout()?;
        show.command(to.name(), &format!("ztnode-cli {}", words.join(" ")), &output);
        let line = self.line_of(rules::TEE, "accept")?;
        ensure!(
            output.matches(&format!("line {line}")).count() >= 2,
            "both packets are accepted by line {line}"
        );
        show.meaning("Live from the daemon: the packet, the verdict, and the line that decided.");
        Ok(())
    }

    /// Gives a member tags or capabilities, as a person does it.
    fn give(&self, show: &Show, member: &Daemon, words: &[&str]) -> Result<()> {
        let mut all = vec!["member", "set", "demo.lab", &member.address];
        all.extend(words);
        let output = self.cluster.root.cli(&all)?;
        all[3] = member.name();
        show.command("root", &format!("ztnode-cli {}", all.join(" ")), &output);
        Ok(())
    }

    fn departments(&self, show: &mut Show) -> Result<()> {
        show.chapter("Microsegmentation");
        let clouds = self.members().len() - 1;
        let sales = clouds.div_ceil(2);
        let mut department = vec!["0"; self.members().len()];
        for (index, member) in self.members()[..clouds].iter().enumerate() {
            department[index] = if index < sales { SALES } else { ENGINEERING };
            let tag = format!("{}={}", rules::DEPARTMENT, department[index]);
            let mut words = vec!["--tag", &tag];
            let web = format!("{}=1", rules::SERVICE);
            if index == SERVER {
                words.extend(["--tag", &web]);
            }
            self.give(show, member, &words)?;
        }
        self.put(show, rules::SEGMENTS, true)?;
        self.reach(show, &department)?;
        show.meaning(
            "Who reaches whom by ping: each department is an island, the visitor has nobody to talk to.",
        );
        for client in (0..self.members().len()).filter(|index| *index != SERVER) {
            self.page(client).with_context(|| format!("the page for {}", self.members()[client].name()))?;
        }
        show.meaning(&format!("The web page of {} is there for all of them.", self.members()[SERVER].name()));

        let moved = clouds - 1;
        if department[moved] == ENGINEERING && moved != SERVER {
            let member = &self.members()[moved];
            self.give(show, member, &["--tag", &format!("{}={SALES}", rules::DEPARTMENT)])?;
            department[moved] = SALES;
            // The others learn of a new tag from the member itself, with the first packet that it sends them.
            for colleague in 0..sales {
                self.cluster.ping(moved, colleague, LIMIT).context("the new department")?;
            }
            self.reach(show, &department)?;
            show.meaning(&format!(
                "{} has moved to sales: no rule was changed, only its tag.",
                member.name()
            ));
        }
        Ok(())
    }

    /// Pings all pairs and compares with what the departments say.
    fn reach(&self, show: &Show, department: &[&str]) -> Result<()> {
        let names: Vec<&str> = self.members().iter().map(Daemon::name).collect();
        let mut cells = vec![vec!["·"; names.len()]; names.len()];
        for (from, row) in cells.iter_mut().enumerate() {
            for (to, cell) in row.iter_mut().enumerate().filter(|(to, _)| *to != from) {
                let (namespace, target) = (&self.members()[from].host.namespace, self.cluster.fixed(to));
                let allowed = department[from] == department[to];
                let answered = if allowed {
                    traffic::first_ping(namespace, IpAddr::V4(target), LIMIT).is_ok()
                } else {
                    traffic::ping(namespace, IpAddr::V4(target), SILENCE)?.is_some()
                };
                *cell = if answered { "yes" } else { "–" };
                if answered != allowed {
                    bail!("{} to {}: {cell}, against the rules", names[from], names[to]);
                }
            }
        }
        show.text(&matrix::render("", &names, |row, column| cells[row][column].to_owned()));
        Ok(())
    }

    fn url(&self) -> String {
        format!("http://{}/", self.cluster.fixed(SERVER))
    }

    /// Fetches the web page; what curl says when it cannot.
    fn page(&self, client: usize) -> Result<String> {
        let namespace = &self.members()[client].host.namespace;
        let output = namespace.run("curl", &["-sS", "--max-time", "2", &self.url()])?;
        ensure!(output.contains("Hello from"), "that is not the page: {output}");
        Ok(output)
    }

    fn capability(&self, show: &mut Show) -> Result<()> {
        show.chapter("A capability");
        self.put(show, rules::CAPABILITY, true)?;
        let line = format!("curl -sS --max-time 2 {}", self.url());
        let holder = self.members().len() - 1;
        for client in [0, holder] {
            let member = &self.members()[client];
            let said = member.host.namespace.said("curl", &["-sS", "--max-time", "2", &self.url()])?;
            show.command(member.name(), &line, &format!("{}{}", said.stdout, said.stderr));
            ensure!(!said.ok(), "{} must not get the page", member.name());
        }
        show.meaning("Nobody may open a connection, whatever runs on the machines.");
        self.give(show, &self.members()[holder], &["--capability", &rules::WEB_CLIENT.to_string()])?;
        let page =
            tool::wait_for("the page", LIMIT, Duration::from_millis(50), || self.page(holder).map(Some))?;
        show.command(self.members()[holder].name(), &line, &page);
        ensure!(self.page(0).is_err(), "{} must not get the page", self.members()[0].name());
        show.meaning(&format!(
            "{} holds the capability, a signed list of rules of its own; it shows it to whom it talks to.",
            self.members()[holder].name()
        ));
        let packet =
            format!("tcp {}:40000 > {}:80 syn", self.cluster.fixed(holder), self.cluster.fixed(SERVER));
        self.explain_capability(show, holder, &packet)
    }

    fn explain_capability(&self, show: &Show, holder: usize, packet: &str) -> Result<()> {
        if self.seat == Seat::Reference {
            return Ok(());
        }
        let member = &self.members()[holder];
        let output = member.cli(&["rules", "explain", "demo.lab", packet])?;
        show.command(member.name(), &format!("ztnode-cli rules explain demo.lab '{packet}'"), &output);
        let line = self.line_of(rules::CAPABILITY, "\taccept")?;
        ensure!(output.contains(&format!("line {line}")), "it should name line {line}, in the capability");
        Ok(())
    }
}
