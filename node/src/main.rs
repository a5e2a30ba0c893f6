//! The daemon `ztnode`: see [`node::service`].

use std::process::ExitCode;

use node::service::args::{self, Command, HELP, Options};
use node::service::daemon::{self, Ending};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    match args::parse(std::env::args_os().skip(1)) {
        Command::Help { complaint, status } => {
            if let Some(complaint) = complaint {
                eprintln!("ztnode: {complaint}");
            }
            print!("{HELP}");
            ExitCode::from(status)
        }
        Command::Version => {
            println!("{}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        Command::Run(options) => run(&options),
    }
}

fn run(options: &Options) -> ExitCode {
    if options.background
        && let Err(error) = nix::unistd::daemon(true, true)
    {
        return fatal(&format!("cannot go into the background: {error}"));
    }
    start_logging();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fatal(&format!("no event loop: {error}: raise the limit on open files")),
    };
    loop {
        match runtime.block_on(daemon::run(options)) {
            Ok(Ending::Stopped) => return ExitCode::SUCCESS,
            Ok(Ending::Collided) => {}
            Err(error) => return fatal(&error.to_string()),
        }
    }
}

fn fatal(text: &str) -> ExitCode {
    eprintln!("ztnode: fatal error: {text}");
    ExitCode::FAILURE
}

/// One line an event on stderr. `ZTNODE_LOG`, else `RUST_LOG`, else `info`.
fn start_logging() {
    let wanted = ["ZTNODE_LOG", "RUST_LOG"].into_iter().find_map(|name| std::env::var(name).ok());
    let wanted = wanted.filter(|text| !text.trim().is_empty()).unwrap_or_else(|| "info".into());
    let filter = EnvFilter::try_new(&wanted).unwrap_or_else(|error| {
        eprintln!("ztnode: the log filter {wanted:?} is not understood ({error}); using info");
        EnvFilter::new("info")
    });
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false)
        .init();
}
