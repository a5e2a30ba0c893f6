//! Completions, where the shells look for them.

use std::fs;
use std::io;
use std::path::Path;

use clap::Command;
use clap_complete::{Generator, Shell, generate};

use crate::PROGRAM;

/// Writes the completions below `share`.
///
/// # Errors
/// Of the file system.
pub(crate) fn write(command: &Command, share: &Path) -> io::Result<()> {
    let places = [
        (Shell::Bash, "bash-completion/completions"),
        (Shell::Zsh, "zsh/site-functions"),
        (Shell::Fish, "fish/vendor_completions.d"),
    ];
    for (shell, folder) in places {
        let folder = share.join(folder);
        fs::create_dir_all(&folder)?;
        // bash loads the file that is called as the program.
        let name = if shell == Shell::Bash { PROGRAM.to_owned() } else { shell.file_name(PROGRAM) };
        let mut script = Vec::new();
        generate(shell, &mut command.clone(), PROGRAM, &mut script);
        fs::write(folder.join(name), script)?;
    }
    Ok(())
}
