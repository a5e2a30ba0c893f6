//! `ztnode-cli`: queries and controls a running node, looks after the controller's networks, and makes identities and worlds.
//! Under the names `zerotier-cli` and `zerotier-idtool` (symlinks) it behaves as those tools do.

use std::io::Write as _;

fn main() -> std::process::ExitCode {
    let arguments: Vec<String> =
        std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    let (mut out, mut err) = (std::io::stdout().lock(), std::io::stderr().lock());
    let code = cli::run(&arguments, &mut cli::Io { out: &mut out, err: &mut err });
    // A reader that went away (`ztnode-cli peers | head`) is no reason to complain.
    let _ = out.flush();
    std::process::ExitCode::from(code)
}
