//! Completions in real shells, at a terminal: commands, switches, and the names of a real node's networks and members.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use lab::{Cluster, Plan, binaries, testing, tool};
use serde_json::json;

const PATIENCE: Duration = Duration::from_secs(30);

/// What is typed, TAB behind it, and the words that then stand on the line. Every shell comes to the same.
const TYPED: [(&str, &[&str]); 11] = [
    ("ztnode-cli netw", &["ztnode-cli", "network"]),
    ("ztnode-cli j", &["ztnode-cli", "join"]),
    ("ztnode-cli network cr", &["ztnode-cli", "network", "create"]),
    ("ztnode-cli network create --subn", &["ztnode-cli", "network", "create", "--subnet"]),
    ("ztnode-cli join --wa", &["ztnode-cli", "join", "--wait"]),
    ("ztnode-cli -j member sho", &["ztnode-cli", "-j", "member", "show"]),
    ("ztnode-cli network show tes", &["ztnode-cli", "network", "show", "test lab"]),
    ("ztnode-cli member show test\\ lab aw", &["ztnode-cli", "member", "show", "test lab", "aws-1"]),
    ("ztnode-cli leave join", &["ztnode-cli", "leave", "joined.lab"]),
    ("ztnode-cli get joined.lab portDev", &["ztnode-cli", "get", "joined.lab", "portDeviceName"]),
    ("ztnode-cli rules check my.ru", &["ztnode-cli", "rules", "check", "my.rules"]),
];

/// An interactive shell at a terminal.
struct Terminal {
    child: Child,
    input: ChildStdin,
    output: Receiver<Vec<u8>>,
    seen: String,
}

impl Terminal {
    /// `shell` (with its arguments) in `folder`, where the tool is found as `ztnode-cli` and its node's home is `home`.
    fn open(shell: &str, folder: &Path, home: &Path) -> Result<Self> {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut child = Command::new("script")
            .args(["-qec", shell, "/dev/null"])
            .current_dir(folder)
            .env("PATH", format!("{}:{path}", folder.display()))
            .env("ZEROTIER_HOME", home)
            .env("TERM", "dumb")
            .env_remove("BASH_ENV")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start `script`: install bsdutils")?;
        let input = child.stdin.take().context("no input")?;
        let mut pipe = child.stdout.take().context("no output")?;
        let (send, output) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = pipe.read(&mut buffer) {
                if send.send(buffer[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Ok(Self { child, input, output, seen: String::new() })
    }

    fn send(&mut self, keys: &str) -> Result<()> {
        self.input.write_all(keys.as_bytes())?;
        Ok(self.input.flush()?)
    }

    /// What stands between `from` and `to` in the output, as soon as both are there.
    fn between(&mut self, from: &str, to: &str) -> Result<String> {
        loop {
            if let Some((_, rest)) = self.seen.split_once(from)
                && let Some((found, rest)) = rest.split_once(to)
            {
                let found = found.to_owned();
                self.seen = rest.to_owned();
                return Ok(found);
            }
            match self.output.recv_timeout(PATIENCE) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(_) => bail!("{from}…{to} did not come: {}", self.seen.escape_debug()),
            }
        }
    }

    /// Types a line, TAB, and has the words shown that then stand there.
    fn complete(&mut self, typed: &str) -> Result<Vec<String>> {
        // To the beginning of the line: in the place of being carried out, its words are shown.
        self.send(&format!("{typed}\t\x01show \n"))?;
        let words = self.between("[[[", "]]]")?;
        Ok(words.split("><").map(|word| word.trim_matches(['<', '>']).to_owned()).collect())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/completions")
}

/// Whether the shell is there. `make test` installs them all.
fn has(shell: &str) -> bool {
    let found = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(shell).is_file()));
    if !found {
        testing::say(&format!("SKIPPED completions in {shell}: install the package {shell}"));
    }
    found
}

/// A folder in which the tool is called `ztnode-cli`, with a file to complete.
fn stage(tool: &Path) -> Result<tempfile::TempDir> {
    let folder = tempfile::tempdir()?;
    std::os::unix::fs::symlink(tool, folder.path().join("ztnode-cli"))?;
    std::fs::write(folder.path().join("my.rules"), "accept;\n")?;
    Ok(folder)
}

fn check(shell: &str, complete: &mut dyn FnMut(&str) -> Result<Vec<String>>) -> Result<()> {
    for (typed, words) in TYPED {
        let got = complete(typed).with_context(|| format!("{shell}: {typed}"))?;
        ensure!(got == words, "{shell}: {typed}<TAB> gave {got:?}, not {words:?}");
    }
    Ok(())
}

fn in_bash(folder: &Path, home: &Path) -> Result<()> {
    let mut terminal = Terminal::open("bash --norc --noprofile -i", folder, home)?;
    let script = scripts().join("ztnode-cli.bash");
    terminal.send(&format!(
        "source {}; show() {{ printf '[[%s' '['; printf '<%s>' \"$@\"; printf ']%s\\n' ']]'; }}; bind 'set bell-style none'; echo ready$((40 + 2))\n",
        script.display()
    ))?;
    terminal.between("ready42", "")?;
    check("bash", &mut |typed| terminal.complete(typed))
}

fn in_zsh(folder: &Path, home: &Path) -> Result<()> {
    let mut terminal = Terminal::open("zsh -f -i", folder, home)?;
    // As a package has it: a file in the folder where zsh looks for functions.
    terminal.send(&format!(
        "bindkey -e; unsetopt zle_bracketed_paste beep; fpath=({} $fpath); autoload -Uz compinit; compinit -u -D; \
         show() {{ printf '[[%s' '['; printf '<%s>' \"$@\"; printf ']%s\\n' ']]'; }}; echo ready$((40 + 2))\n",
        scripts().display()
    ))?;
    terminal.between("ready42", "")?;
    check("zsh", &mut |typed| terminal.complete(typed))
}

/// fish tells what its TAB would propose.
fn in_fish(folder: &Path, home: &Path) -> Result<()> {
    let path = std::env::var("PATH").unwrap_or_default();
    check("fish", &mut |typed| {
        let mut command = Command::new("fish");
        command
            .args([
                "--no-config",
                "-c",
                &format!("source {}; complete -C $argv", scripts().join("ztnode-cli.fish").display()),
            ])
            .arg(typed)
            .current_dir(folder)
            .env("PATH", format!("{}:{path}", folder.display()))
            .env("HOME", folder)
            .env("ZEROTIER_HOME", home);
        let proposed = tool::finish(command, None, PATIENCE)?.stdout()?;
        let mut words: Vec<String> =
            typed.replace("\\ ", "\u{1}").split(' ').map(|word| word.replace('\u{1}', " ")).collect();
        words.pop();
        words.extend(
            proposed.lines().map(|line| line.split('\t').next().unwrap_or_default().replace("\\ ", " ")),
        );
        Ok(words)
    })
}

fn everywhere(cluster: &Cluster) -> Result<()> {
    // The controller keeps one network with a blank in its name, and has joined another.
    let node = cluster.controller();
    node.cli(&["network", "create", "test lab", "--subnet", "10.99.0.0/16"])?;
    node.cli(&["member", "authorize", "test lab", "5aca06ff8e", "--name", "aws-1"])?;
    let network = &cluster.network;
    node.post(&format!("/controller/network/{network}"), &json!({"name": "joined.lab"}))?;
    node.cli(&["member", "authorize", network, &node.address])?;
    node.cli(&["join", network, "--wait"])?;
    let folder = stage(&binaries::ours()?.cli)?;
    for (shell, run) in
        [("bash", in_bash as fn(&Path, &Path) -> Result<()>), ("zsh", in_zsh), ("fish", in_fish)]
    {
        if has(shell) {
            run(folder.path(), node.home())?;
        }
    }
    Ok(())
}

#[test]
fn completions_in_the_shells() {
    testing::run("completions_in_the_shells", &Plan::new().cloud("aws"), |cluster| everywhere(cluster));
}
