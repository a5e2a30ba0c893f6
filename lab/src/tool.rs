//! Running the operating system's tools: always with a time limit, and with errors that show the whole command.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How long a tool may take when the caller says nothing.
pub const LIMIT: Duration = Duration::from_secs(20);

/// What a finished tool said.
#[derive(Clone, Debug)]
pub struct Said {
    /// The exit code; `None` when a signal (for instance our time limit) ended it.
    pub code: Option<i32>,
    /// Standard output, invalid UTF-8 replaced.
    pub stdout: String,
    /// Standard error, invalid UTF-8 replaced.
    pub stderr: String,
    /// The command as a person would type it.
    pub command: String,
}

impl Said {
    /// Exit code 0.
    pub fn ok(&self) -> bool {
        self.code == Some(0)
    }

    /// Standard output of a successful run.
    ///
    /// # Errors
    /// The command, its code and both outputs, when the code was not 0.
    pub fn stdout(self) -> Result<String> {
        if self.ok() {
            return Ok(self.stdout);
        }
        let code = self.code.map_or_else(|| "killed (time limit?)".to_owned(), |c| format!("exit code {c}"));
        bail!("`{}`: {code}\n{}{}", self.command, self.stdout, self.stderr)
    }
}

/// The command line of `command`, for people.
pub fn shown(command: &Command) -> String {
    let mut line = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        line.push(' ');
        let text = argument.to_string_lossy();
        if text.is_empty() || text.contains([' ', '"', '{', '\'']) {
            line.push_str(&format!("'{text}'"));
        } else {
            line.push_str(&text);
        }
    }
    line
}

/// Runs `command` to its end, at most `limit`, feeding it `input`.
///
/// # Errors
/// When it cannot be started. A non-zero exit is not an error here, see [`Said::stdout`].
pub fn finish(mut command: Command, input: Option<&str>, limit: Duration) -> Result<Said> {
    let line = shown(&command);
    command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot run `{line}`"))?;
    if let (Some(text), Some(mut pipe)) = (input, child.stdin.take()) {
        // A tool that ends without reading its input reports that through its exit code.
        let _ = std::io::Write::write_all(&mut pipe, text.as_bytes());
    }
    let stdout = drain(child.stdout.take());
    let stderr = drain(child.stderr.take());
    let deadline = Instant::now() + limit;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if Instant::now() >= deadline {
            child.kill()?;
            break child.wait()?;
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let text = |reader: std::thread::JoinHandle<Vec<u8>>| {
        String::from_utf8_lossy(&reader.join().unwrap_or_default()).into_owned()
    };
    Ok(Said { code: status.code(), stdout: text(stdout), stderr: text(stderr), command: line })
}

fn drain(pipe: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            let _ = pipe.read_to_end(&mut bytes);
        }
        bytes
    })
}

/// Runs a tool that must succeed and returns what it printed.
///
/// # Errors
/// When it cannot be started, takes longer than [`LIMIT`] or exits non-zero.
pub fn run(program: &str, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(program);
    command.args(arguments);
    finish(command, None, LIMIT)?.stdout()
}

/// Calls `attempt` every `step` until it yields a value.
///
/// For conditions that have no event to wait for, such as another process's JSON API.
///
/// # Errors
/// After `limit`: what was awaited and what the last attempt had to say.
pub fn wait_for<T>(
    what: &str,
    limit: Duration,
    step: Duration,
    mut attempt: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let start = Instant::now();
    loop {
        let last = match attempt() {
            Ok(Some(value)) => return Ok(value),
            Ok(None) => "the condition never held".to_owned(),
            Err(error) => format!("last attempt: {error:#}"),
        };
        if start.elapsed() >= limit {
            bail!("waited {:.1} s for {what}: {last}", limit.as_secs_f64());
        }
        std::thread::sleep(step);
    }
}
