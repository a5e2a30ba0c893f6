//! `container`: the first process of a container image. It puts what the environment gives into the home directory and becomes
//! the daemon, so that the image needs no shell and the daemon gets the signals. `container health` is the image's health check.
//!
//! Specification: packaging, "container conventions". The variables are those of the official image; a file for each of them
//! (`…_FILE`) is what images of databases have.

mod given;
mod health;
mod prepare;

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::args::Common;
use crate::args::container::{Action, Container};
use crate::failure::{Failure, Io, Outcome};
use given::Given;

/// The daemon.
const DAEMON: &str = "ztnode";

/// Runs `container` or one of its actions. `container` itself only returns if it fails.
///
/// # Errors
/// Exit code 2 for what cannot be meant, 1 for a home directory that cannot be written, a daemon that cannot be started, or ill
/// health.
pub fn run(program: &str, common: Common, command: Container, io: &mut Io<'_>) -> Outcome {
    match command.action {
        Some(Action::Health { networks }) => health::run(program, common, &networks, io),
        None => start(program, &common, &command, io),
    }
}

fn start(program: &str, common: &Common, command: &Container, io: &mut Io<'_>) -> Outcome {
    let home = common.home();
    let given = Given::read(&command.networks).map_err(|why| Failure::usage(format!("{program}: {why}")))?;
    prepare::home(program, &home, &given, io)?;
    io.err.flush()?;
    let daemon = daemon();
    let mut process = Command::new(&daemon);
    process.arg("--home").arg(&home).args(&command.switches);
    // They are in files now, and are not to be read from the daemon's environment.
    for name in given::VARIABLES {
        process.env_remove(name);
    }
    let error = process.exec();
    Err(Failure::error(format!(
        "{program}: cannot start {}: {error}; install ztnode beside ztnode-cli",
        daemon.display()
    )))
}

/// The daemon that was installed with this program, else the one in the path.
fn daemon() -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    let folder = own.parent().unwrap_or(Path::new("/usr/bin"));
    let installed = [folder.join("../sbin").join(DAEMON), folder.join(DAEMON)];
    installed.into_iter().find(|daemon| daemon.is_file()).unwrap_or_else(|| DAEMON.into())
}
