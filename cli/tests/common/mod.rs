//! A service that answers what it was told to, and the tool as a process against it.

#![allow(dead_code, unreachable_pub)] // Every test file uses its own part of this.
#![allow(clippy::unwrap_used)] // A broken fixture is a failed test.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

/// The bytes of the token file of a [`Home`].
pub const TOKEN: &str = "abcdefghijklmnopqrstuvwx";

/// A request the service has seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub line: String,
    pub token: Option<String>,
    pub body: String,
}

/// Canned answers by `METHOD /path`; anything else is 404 with an empty body, as the reference answers.
#[derive(Clone, Default)]
pub struct Service {
    answers: Arc<Mutex<HashMap<String, (u16, String)>>>,
    seen: Arc<Mutex<Vec<Seen>>>,
    token_needed: bool,
}

impl Service {
    pub fn answer(&self, line: &str, status: u16, body: impl ToString) {
        self.answers.lock().unwrap().insert(line.to_owned(), (status, body.to_string()));
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    fn serve(&self, stream: impl Read + Write) {
        let mut reader = BufReader::new(stream);
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if line == "\r\n" {
                break;
            }
            head.push(line.trim_end().to_owned());
        }
        let header = |name: &str| {
            head[1..].iter().find_map(|line| {
                let (key, value) = line.split_once(": ")?;
                key.eq_ignore_ascii_case(name).then(|| value.to_owned())
            })
        };
        let length = header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let line = head[0].trim_end_matches(" HTTP/1.1").to_owned();
        let token = header("x-zt1-auth");
        self.seen.lock().unwrap().push(Seen {
            line: line.clone(),
            token: token.clone(),
            body: String::from_utf8(body).unwrap(),
        });
        let (status, body) = if self.token_needed && token.as_deref() != Some(TOKEN) {
            (401, "{}".to_owned())
        } else {
            self.answers.lock().unwrap().get(&line).cloned().unwrap_or((404, String::new()))
        };
        let reply = format!(
            "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nKeep-Alive: timeout=5, max=5\r\n\r\n{body}",
            body.len()
        );
        let _ = reader.get_mut().write_all(reply.as_bytes());
    }
}

/// A home directory with a service behind it.
pub struct Home {
    pub dir: tempfile::TempDir,
    pub service: Service,
    pub port: u16,
}

impl Home {
    /// A service on TCP with token and port file, as the reference has it.
    pub fn tcp() -> Self {
        let service = Service { token_needed: true, ..Service::default() };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let serving = service.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                serving.serve(stream.unwrap());
            }
        });
        let home = Self { dir: tempfile::tempdir().unwrap(), service, port };
        home.write("authtoken.secret", format!("{TOKEN}\n"));
        home.write("zerotier-one.port", port);
        home
    }

    /// A service on the Unix socket only.
    pub fn unix() -> Self {
        let service = Service::default();
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("ztnode.sock")).unwrap();
        let serving = service.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                serving.serve(stream.unwrap());
            }
        });
        Self { dir, service, port: 0 }
    }

    /// Nobody listens, but the files of the last run are there.
    pub fn stopped() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let home = Self { dir: tempfile::tempdir().unwrap(), service: Service::default(), port };
        home.write("authtoken.secret", TOKEN);
        home.write("zerotier-one.port", port);
        home
    }

    /// Bytes that are no proper answer, on TCP; the connection is closed after them.
    pub fn hostile(answer: impl Fn(&mut dyn Write) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut request = [0; 4096];
                let _ = stream.read(&mut request);
                answer(&mut stream);
            }
        });
        let home = Self { dir: tempfile::tempdir().unwrap(), service: Service::default(), port };
        home.write("authtoken.secret", TOKEN);
        home.write("zerotier-one.port", port);
        home
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn write(&self, name: &str, text: impl ToString) {
        std::fs::write(self.path().join(name), text.to_string()).unwrap();
    }

    /// Runs `ztnode-cli` with this home; `line` is split at blanks.
    pub fn run(&self, line: &str) -> Ran {
        self.run_words(&line.split_whitespace().collect::<Vec<_>>())
    }

    /// Runs the tool as `zerotier-cli` with this home; `line` is split at blanks.
    pub fn old(&self, line: &str) -> Ran {
        run(&self.old_name(), &line.split_whitespace().collect::<Vec<_>>(), self.path(), Some(self.path()))
    }

    /// The tool under its old name.
    pub fn old_name(&self) -> PathBuf {
        let link = self.path().join("zerotier-cli");
        if link.exists() { link } else { symlink(self.path(), "zerotier-cli") }
    }

    pub fn run_words(&self, words: &[&str]) -> Ran {
        run(&program(), words, self.path(), Some(self.path()))
    }
}

/// What a process left behind.
#[derive(Debug, PartialEq, Eq)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ran {
    /// Succeeded with exactly this output and no complaint.
    #[track_caller]
    pub fn prints(&self, out: &str) {
        assert_eq!((self.code, self.out.as_str(), self.err.as_str()), (0, out, ""));
    }

    /// Exit code and exact standard output; standard error is free.
    #[track_caller]
    pub fn fails(&self, code: i32, out: &str) {
        assert_eq!((self.code, self.out.as_str()), (code, out), "stderr: {}", self.err);
    }

    /// Exit code, silence on standard output and this first line on standard error.
    #[track_caller]
    pub fn complains(&self, code: i32, first_line: &str) {
        assert_eq!(
            (self.code, self.out.as_str(), self.err.lines().next().unwrap_or("")),
            (code, "", first_line)
        );
    }
}

pub fn program() -> PathBuf {
    env!("CARGO_BIN_EXE_ztnode-cli").into()
}

/// Runs a program in `directory`, with `ZEROTIER_HOME` as given and no per-user token.
pub fn run(program: &Path, words: &[&str], directory: &Path, home: Option<&Path>) -> Ran {
    let output = command(program, words, directory, home).output().unwrap();
    Ran {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// The process [`run`] starts.
pub fn command(program: &Path, words: &[&str], directory: &Path, home: Option<&Path>) -> Command {
    let mut command = Command::new(program);
    command
        .args(words)
        .current_dir(directory)
        .stdin(Stdio::null())
        .env_remove("ZEROTIER_HOME")
        .env("HOME", "/nonexistent");
    if let Some(home) = home {
        command.env("ZEROTIER_HOME", home);
    }
    command
}

/// The tool under another name.
pub fn symlink(directory: &Path, name: &str) -> PathBuf {
    let link = directory.join(name);
    std::os::unix::fs::symlink(program(), &link).unwrap();
    link
}
