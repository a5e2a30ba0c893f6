//! Every answer of the control API and every line of the command line, against a recording of an earlier version: the same
//! values and the same order of keys, byte for byte.
//!
//! `tests/fixtures/answers/script` says what is asked, `recorded` what was answered. What differs from run to run (times,
//! counters, what this machine's kernel allows) stands there by name. `RECORD=1` writes the recording anew; together with
//! `ZTNODE_BIN_DIR` it records the programs in that folder.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use lab::host::Access;
use lab::{Cluster, Daemon, Lab, Plan, Seat, api, testing, tool};
use serde_json::{Value, json};
use system_tests::recording::{self, Names};

const NAME: &str = "answers_are_what_they_were";
const LIMIT: Duration = Duration::from_secs(60);
const STEP: Duration = Duration::from_millis(20);

/// Identities, so that addresses of all kinds are the same in every run: the root and controller, the member, and a node
/// that is only spoken of.
const IDENTITIES: [&str; 3] = [
    "546b37bcee:0:2260b9f8e48fdd934676142f1bad0e0b8e3d24c2af5edadbe13f17dd46a5d71e80f6b91160fa47c695e7a11a615a1cbd6238d572e14f9856d192c26d26285496:1a76f64fcb655b36c8e6674857ece06c44db1b701acd11557eaf8b93624504291e119f69b671142d243282ae9a133893c6a003838e5d9318e926593230c411c2",
    "53a6671d3d:0:7b3de2d34cdb8a23f90df25be242501356469c9b44a5cfecdccf6e91af0558716a1811a2a020f587a89aa4ad3cfd0d1a373df26d3fe721d9c22f99f455847cd1:f1e8e1e0adf97388e34060d52fa3bd427dce3a88b46adceaf10723a3dc79ad12f928fda989272974d442fde69104e5aa719e63348443d9017d69b7b00eb8c326",
    "ab70456b20:0:0e58aada286117c6738cb2f97ba2b33000a7561c8cdcca5a4ff90e61b591165e0f4c33a003a669ebac75a5470498020e9592e1e6f6461a7b2d581e13910d370a:213db55a48703a370fac234e99c5cf0fc7d3682ec4d199824d361c8361d2441ad3a6ca2f85f45994743fd0d10e1bd22bfca611e32c5ff4615e758bd300221915",
];

/// A root that is the controller, and a member that has joined nothing, with the identities above.
fn start() -> Result<Cluster> {
    let plan = Plan::new()
        .member("aws", Seat::Ours, Access::Public)
        .settings(json!({"lanes": 0, "multipathMode": 0, "unheardOf": 7}));
    let mut cluster = plan.prepare(Lab::new()?)?;
    for (daemon, secret) in cluster.daemons_mut().zip(IDENTITIES) {
        let home = daemon.home().to_owned();
        let public = secret.rsplit_once(':').context("an identity has a secret part")?.0;
        fs::write(home.join("identity.secret"), secret)?;
        fs::write(home.join("identity.public"), public)?;
        daemon.seat_on(Seat::Ours, &home)?;
    }
    // The planet that was made already names the identity that was there before.
    for name in ["planet", "planet.key"] {
        fs::remove_file(cluster.root.home().join(name))?;
    }
    cluster.root.make_planet()?;
    cluster.members[0].adopt_planet(&cluster.root)?;
    for daemon in cluster.daemons_mut() {
        daemon.start()?;
    }
    for daemon in cluster.daemons_mut() {
        daemon.wait_ready()?;
        daemon.wait_online(LIMIT)?;
    }
    Ok(cluster)
}

/// Plays the script and returns what was said.
struct Play<'a> {
    cluster: &'a mut Cluster,
    names: Names,
    /// What the script calls what was told in an answer.
    told: BTreeMap<&'static str, String>,
}

impl Play<'_> {
    fn all(&mut self, script: &str) -> Result<String> {
        let mut text = String::new();
        for (number, line) in script.lines().enumerate() {
            let line = line.trim();
            if !line.is_empty() && !line.starts_with('#') {
                let said = self.line(line).with_context(|| format!("line {}: {line}", number + 1))?;
                if let Some(said) = said {
                    writeln!(text, "=== {line}\n{}", self.names.hide(&said))?;
                }
            }
        }
        Ok(text)
    }

    fn line(&mut self, line: &str) -> Result<Option<String>> {
        let mut line = line.to_owned();
        for (name, value) in &self.told {
            line = line.replace(&format!("<{name}>"), value);
        }
        let (node, rest) = line.split_once(' ').context("who?")?;
        let (verb, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        let said = match verb {
            "restart" => {
                let daemon = self.daemon(node)?;
                daemon.stop()?;
                daemon.start()?;
                daemon.wait_ready()?;
                daemon.wait_online(LIMIT)?;
                return Ok(None);
            }
            "wait" => {
                let words: Vec<&str> = rest.splitn(3, ' ').collect();
                let [path, pointer, value] = words[..] else { bail!("wait PATH POINTER VALUE") };
                wait(self.daemon(node)?, path, pointer, value)?;
                return Ok(None);
            }
            "quietly" => {
                let (method, rest) = rest.split_once(' ').context("METHOD PATH [BODY]")?;
                let (path, body) =
                    rest.split_once(' ').map_or((rest, None), |(path, body)| (path, Some(body)));
                self.daemon(node)?.request_text(method, path, body)?;
                return Ok(None);
            }
            "$" | "$~" => {
                let words = words(rest);
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                let said = tool::finish(self.daemon(node)?.cli_command(&words)?, None, LIMIT)?;
                let code = said.code.context("killed")?;
                let shown = if verb == "$~" { recording::numbers(&said.stdout) } else { said.stdout };
                format!("exit {code}\n{}--- stderr\n{}", ended(shown), ended(said.stderr))
            }
            "METRICS" => recording::metrics(&self.daemon(node)?.request("GET", "/metrics", None)?.text),
            method => {
                let (path, body) =
                    rest.split_once(' ').map_or((rest, None), |(path, body)| (path, Some(body)));
                let daemon = self.daemon(node)?;
                let reply = match method.strip_suffix('!') {
                    Some(method) => {
                        let namespace = &daemon.host.namespace;
                        api::request(namespace, lab::daemon::PORT, "wrong", method, path, body, LIMIT)?
                    }
                    None => daemon.request_text(method, path, body)?,
                };
                format!("{}\n{}", reply.status, reply.text)
            }
        };
        self.learn(&said);
        Ok(Some(said))
    }

    /// A token that was told just now.
    fn learn(&mut self, said: &str) {
        let Some((_, rest)) = said.split_once("ztt_") else { return };
        let word = rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default();
        let parts: Vec<&str> = word.split('_').collect();
        if let [.., id, secret] = parts[..]
            && id.len() == 8
            && !self.told.values().any(|known| known == id)
        {
            self.names.token(id, secret);
            self.told.insert("token", id.to_owned());
            self.told.insert("join-token", format!("ztt_{word}"));
        }
    }

    fn daemon(&mut self, name: &str) -> Result<&mut Daemon> {
        let mut all = self.cluster.daemons_mut();
        all.find(|daemon| daemon.name() == name).with_context(|| format!("there is no node {name}"))
    }
}

/// Output whose last line has an end.
fn ended(text: String) -> String {
    if text.is_empty() || text.ends_with('\n') { text } else { text + "<no newline>\n" }
}

/// The words of a command line, with '…' around those that have spaces.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (index, part) in line.split('\'').enumerate() {
        if index % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

fn wait(daemon: &Daemon, path: &str, pointer: &str, value: &str) -> Result<()> {
    let value: Value = serde_json::from_str(value)?;
    tool::wait_for(&format!("{path}{pointer} to be {value}"), LIMIT, STEP, || {
        let body = daemon.request("GET", path, None)?.body;
        match body.pointer(pointer) {
            Some(found) if *found == value => Ok(Some(())),
            _ => bail!("{body}"),
        }
    })
}

fn play(cluster: &mut Cluster) -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/answers");
    let script = fs::read_to_string(folder.join("script"))?;
    let mut names = Names::new(&folder, cluster.lab.dir(), cluster.lab.name());
    names.planet(&cluster.root.status()?, &cluster.root.get("/planet")?);
    let home = cluster.root.home().display().to_string();
    let told = BTreeMap::from([("script", folder.display().to_string()), ("home", home)]);
    let said = Play { cluster, names, told }.all(&script)?;
    let file = folder.join("recorded");
    if std::env::var_os("RECORD").is_some_and(|value| !value.is_empty()) {
        fs::write(file, said)?;
        return Ok(());
    }
    let recorded = fs::read_to_string(file)?;
    let differences = recording::differences(&recorded, &said);
    ensure!(differences.is_empty(), "{} answers differ\n{}", differences.len(), differences.join("\n"));
    Ok(())
}

#[test]
fn answers_are_what_they_were() {
    if !testing::ready(NAME) {
        return;
    }
    let mut cluster = start().expect("the nodes start");
    if let Err(error) = play(&mut cluster) {
        panic!("{NAME}: {error:#}\n{}", cluster.root.log_tail(10));
    }
}
