//! How a command ends when it does not end well.

use std::io::{self, Write};

/// The two streams a command writes to.
pub struct Io<'a> {
    /// Results.
    pub out: &'a mut dyn Write,
    /// Complaints, hints and progress.
    pub err: &'a mut dyn Write,
}

/// What every command returns.
pub type Outcome = Result<(), Failure>;

/// Exit codes beside 0, 1 (anything else) and 2 (the command line is wrong, or there is no token). They are part of the
/// documentation.
pub mod code {
    /// The service on this machine does not run, or does not answer.
    pub const SERVICE: u8 = 3;
    /// No root answers.
    pub const OFFLINE: u8 = 4;
    /// A root answers, the network's controller does not.
    pub const CONTROLLER: u8 = 5;
    /// The controller does not know the network.
    pub const NETWORK: u8 = 6;
    /// This node is not authorized.
    pub const AUTHORIZATION: u8 = 7;
    /// Somebody has to log in.
    pub const LOGIN: u8 = 8;
    /// The interface, its addresses or routes cannot be made.
    pub const PORT: u8 = 9;
    /// This node has not joined the network.
    pub const JOINED: u8 = 10;
    /// Anything else.
    pub const OTHER: u8 = 1;
}

/// An exit code and the texts that go with it. Scripts parse the first line of either, so they are kept apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Exit code: 1 the daemon or a file said no, 2 the command line was wrong, 3 and above as [`code`] has them.
    pub code: u8,
    /// For standard output, complete with its newline.
    pub out: String,
    /// For standard error, complete with its newline.
    pub err: String,
}

impl Failure {
    /// The caller's words were wrong: exit code 2, one line on standard error.
    pub fn usage(message: impl AsRef<str>) -> Self {
        Self { code: 2, out: String::new(), err: line(message.as_ref()) }
    }

    /// Something outside said no: exit code 1, one line on standard error.
    pub fn error(message: impl AsRef<str>) -> Self {
        Self { code: 1, out: String::new(), err: line(message.as_ref()) }
    }

    /// A failure the reference tool reports on standard output with exit code 1.
    pub fn on_stdout(message: impl AsRef<str>) -> Self {
        Self { code: 1, out: line(message.as_ref()), err: String::new() }
    }

    /// The same failure with a further line on standard error that names the remedy.
    #[must_use]
    pub fn hint(mut self, remedy: impl AsRef<str>) -> Self {
        self.err.push_str(&line(remedy.as_ref()));
        self
    }

    /// The same failure with another exit code.
    #[must_use]
    pub fn with_code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }

    /// Writes the texts and returns the exit code.
    pub fn report(&self, io: &mut Io<'_>) -> u8 {
        // Nobody is left to tell when these writes fail; the exit code still says it.
        let _ = io.out.write_all(self.out.as_bytes());
        let _ = io.out.flush();
        let _ = io.err.write_all(self.err.as_bytes());
        let _ = io.err.flush();
        self.code
    }
}

/// Our own output could not be written, for example because the reader of a pipe went away.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self { code: 1, out: String::new(), err: String::new() };
        }
        Self::error(format!("cannot write the output: {error}"))
    }
}

fn line(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("{text}\n") }
}
