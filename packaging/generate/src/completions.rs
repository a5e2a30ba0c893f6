//! Completions, where the shells look for them. The scripts ask the tool itself what can stand at the cursor.

use std::fs;
use std::io;
use std::path::Path;

/// Folder, name (as the shell wants it) and text of each script.
const SCRIPTS: [(&str, &str, &str); 3] = [
    ("bash-completion/completions", "ztnode-cli", include_str!("../../completions/ztnode-cli.bash")),
    ("zsh/site-functions", "_ztnode-cli", include_str!("../../completions/_ztnode-cli")),
    ("fish/vendor_completions.d", "ztnode-cli.fish", include_str!("../../completions/ztnode-cli.fish")),
];

/// Writes the completions below `share`.
///
/// # Errors
/// Of the file system.
pub(crate) fn write(share: &Path) -> io::Result<()> {
    for (folder, name, script) in SCRIPTS {
        let folder = share.join(folder);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(name), script)?;
    }
    Ok(())
}
