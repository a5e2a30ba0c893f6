//! The question before what cannot be taken back.

use std::io::{BufRead as _, IsTerminal as _};

use crate::args::network::Sure;
use crate::failure::{Failure, Io};

impl Sure {
    /// Whether to `act` (a command in words). Asks where somebody sits at a terminal, and says what would be done with
    /// `--dry-run`; a script is not asked.
    ///
    /// # Errors
    /// The answer is not yes, or the question cannot be written.
    pub(super) fn confirm(&self, act: &str, io: &mut Io<'_>) -> Result<bool, Failure> {
        if self.dry_run {
            writeln!(io.out, "would {act}")?;
            return Ok(false);
        }
        let input = std::io::stdin();
        if self.yes || !input.is_terminal() {
            return Ok(true);
        }
        let mut words: Vec<char> = act.chars().collect();
        if let Some(first) = words.first_mut() {
            first.make_ascii_uppercase();
        }
        write!(io.err, "{}? [y/N] ", words.into_iter().collect::<String>())?;
        io.err.flush()?;
        let mut answer = String::new();
        input.lock().read_line(&mut answer)?;
        match answer.trim().to_ascii_lowercase().as_str() {
            "y" | "yes" => Ok(true),
            _ => Err(Failure::error("Nothing was changed.")),
        }
    }
}
