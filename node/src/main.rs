//! The daemon `ztnode`: see [`node::service`].

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use node::service::args::{self, Command, HELP, Options};
use node::service::daemon::{self, Ending, Failure};
use node::service::{logging, privileges, supervisor};

/// Exit status of a clone that stops: the service manager must not start it again (`EX_CONFIG`).
const CLONED: u8 = 78;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let program =
        arguments.next().map_or_else(|| "ztnode".to_owned(), |name| name.to_string_lossy().into_owned());
    match args::parse(&program, arguments) {
        Command::Help { complaint, status } => {
            if let Some(complaint) = complaint {
                eprintln!("ztnode: {complaint}");
            }
            print!("{HELP}");
            ExitCode::from(status)
        }
        Command::Version => {
            print_version();
            ExitCode::SUCCESS
        }
        Command::Tool { name, arguments } => become_tool(&name, &arguments),
        Command::Run(options) => run(&options),
    }
}

/// Prints our version. Who calls us by the old name means to know whether we are recent enough, and gets the version that is
/// spoken; ours then is a line of its own, where nobody reads a number from.
fn print_version() {
    let program = std::env::args_os().next().map(PathBuf::from);
    let old_name = program.as_deref().and_then(Path::file_name) == Some("zerotier-one".as_ref());
    if old_name {
        let (major, minor, revision) = protocol::metadata::ANNOUNCED_VERSION;
        println!("{major}.{minor}.{revision}");
        eprintln!("ztnode {}", env!("CARGO_PKG_VERSION"));
    } else {
        println!("{}", env!("CARGO_PKG_VERSION"));
    }
}

/// Becomes `ztnode-cli`, called by this name: the one that was installed with this program, else the one in the path.
fn become_tool(name: &str, arguments: &[OsString]) -> ExitCode {
    let own = std::env::current_exe().unwrap_or_default();
    let folder = own.parent().unwrap_or(Path::new("/usr/sbin"));
    let installed = [folder.join("ztnode-cli"), folder.join("../bin/ztnode-cli")];
    let tool = installed.into_iter().find(|tool| tool.is_file()).unwrap_or_else(|| "ztnode-cli".into());
    let error = std::process::Command::new(&tool).arg0(name).args(arguments).exec();
    eprintln!("ztnode: cannot start {}: {error}; install ztnode-cli beside ztnode", tool.display());
    ExitCode::FAILURE
}

fn run(options: &Options) -> ExitCode {
    node::os::memory::give_back_large_blocks();
    keep_memory_private();
    if options.background
        && let Err(error) = nix::unistd::daemon(true, true)
    {
        return fatal(&format!("cannot go into the background: {error}"));
    }
    logging::start();
    if options.adopt {
        return privileges::adopt(options)
            .map_or_else(|error| fatal(&error.to_string()), |()| ExitCode::SUCCESS);
    }
    // Before there is a second thread: privileges belong to threads.
    if let Err(error) = privileges::give_up(options) {
        return fatal(&error.to_string());
    }
    // A change of user undoes it.
    keep_memory_private();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fatal(&format!("no event loop: {error}: raise the limit on open files")),
    };
    loop {
        match runtime.block_on(daemon::run(options)) {
            Ok(Ending::Stopped) => return ExitCode::SUCCESS,
            Ok(Ending::Collided) => {}
            Err(error @ Failure::Cloned(_)) => {
                fatal(&error.to_string());
                return ExitCode::from(CLONED);
            }
            Err(error) => return fatal(&error.to_string()),
        }
    }
}

/// No core dumps and no debuggers but root's: this process holds the node's keys.
fn keep_memory_private() {
    if let Err(error) = nix::sys::prctl::set_dumpable(false) {
        eprintln!("ztnode: cannot keep other processes out of this one's memory: {error}");
    }
}

fn fatal(text: &str) -> ExitCode {
    logging::fatal(text);
    supervisor::report_failure(text);
    ExitCode::FAILURE
}
