//! How the tour talks: chapters, commands with their output, and one line of meaning each.

use std::io::{IsTerminal, Write};
use std::process::Command;

use anyhow::Result;
use lab::tool;

/// Writes the tour to standard output.
pub(crate) struct Show {
    colour: bool,
    chapter: u32,
}

impl Show {
    pub(crate) fn new() -> Self {
        let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { colour, chapter: 0 }
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Starts a chapter.
    pub(crate) fn chapter(&mut self, title: &str) {
        self.chapter += 1;
        let line = format!("{}. {title}", self.chapter);
        println!("\n{}\n{}", self.paint("1;36", &line), self.paint("36", &"─".repeat(line.chars().count())));
    }

    /// One line that says what was just seen, or what comes.
    pub(crate) fn meaning(&self, text: &str) {
        println!("{}", self.paint("32", &format!("→ {text}")));
    }

    /// Says what is being done, for steps that take a moment.
    pub(crate) fn progress(&self, text: &str) {
        println!("{}", self.paint("2", &format!("  {text}")));
        // A pipe shows it at once too; without a reader there is nothing to show.
        let _ = std::io::stdout().flush();
    }

    /// Plain output, indented.
    pub(crate) fn text(&self, text: &str) {
        for line in text.lines() {
            println!("  {line}");
        }
    }

    /// Shows a command as a person in `host` would type it, and what came of it.
    pub(crate) fn command(&self, host: &str, line: &str, output: &str) {
        println!("{} {}", self.paint("33", &format!("{host} $")), self.paint("1", line));
        self.text(output.trim_end());
    }

    /// Runs a command and shows it as `line`.
    ///
    /// # Errors
    /// When it fails.
    pub(crate) fn run(&self, host: &str, line: &str, command: Command) -> Result<String> {
        let output = tool::finish(command, None, tool::LIMIT)?.stdout()?;
        self.command(host, line, &output);
        Ok(output)
    }
}
