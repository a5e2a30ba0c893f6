//! The command-line tool of ztnode, as a library so that tests can call it in-process.
//!
//! - [`args`] decides which personality was called and what its words mean;
//! - [`home`] finds the home directory, the port and the token, and writes files safely;
//! - [`transport`] carries one request to the daemon, over the Unix socket or TCP;
//! - `fetch` gets the file that a URL leads to;
//! - [`packets`] and [`pcapng`] are the socket and the file of a capture;
//! - [`text`] turns replies into lines and tables;
//! - [`complete`] answers the shells' completions;
//! - [`commands`] holds one file a subject; [`idtool`] is the identity tool under its old name.

pub mod args;
pub mod commands;
pub mod complete;
pub mod failure;
mod fetch;
pub mod home;
pub mod idtool;
pub mod packets;
pub mod pcapng;
pub mod text;
pub mod transport;
pub mod validate;

pub use failure::{Failure, Io, Outcome};

use args::Personality;

/// The version `-v` prints: the workspace's.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Runs one command line (`arguments[0]` is the program's name) and returns its exit code.
///
/// Results go to `io.out` and complaints to `io.err`, except where the reference tool puts failures on standard
/// output (Specification: command-line tools).
pub fn run(arguments: &[String], io: &mut Io<'_>) -> u8 {
    let program = arguments.first().map_or("ztnode-cli", String::as_str);
    let words = arguments.get(1..).unwrap_or_default();
    let outcome = match Personality::of(program) {
        Personality::IdTool => idtool::run(program, words, io),
        Personality::Reference => commands::run(program, words, io),
        // Where it lies helps nobody who reads the complaint.
        Personality::Own => commands::run(program.rsplit('/').next().unwrap_or(program), words, io),
    };
    match outcome {
        Ok(()) => 0,
        Err(failure) => failure.report(io),
    }
}
