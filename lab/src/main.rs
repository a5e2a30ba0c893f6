//! `ztlab`: the demo of ztnode, and the tools around a lab that is left up.

mod booting;
mod matrix;
mod show;
mod tapping;
mod tour;

use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use lab::{Namespace, Seat, namespace, page, registry, testing};

/// Clouds behind NATs on this machine, with real ztnode daemons in them.
#[derive(Parser)]
#[command(name = "ztlab", version)]
struct Arguments {
    #[command(subcommand)]
    command: What,
}

#[derive(Subcommand)]
enum What {
    /// Build the lab, start everything, show what it can do, and clean up
    Tour {
        /// Leave it up afterwards (see `shell` and `down`)
        #[arg(long)]
        keep: bool,
        /// The clouds to build, each behind a NAT of its own
        #[arg(long, value_delimiter = ',', default_value = "do,aws,gcp,azu")]
        clouds: Vec<String>,
        /// Put the zerotier-one that ZEROTIER_ONE names into every seat: checks the lab itself
        #[arg(long)]
        reference: bool,
        /// Let every cloud's machine set itself up by the user-data of packaging/cloud-init: identities made
        /// beforehand, join tokens, and machines that somebody authorizes, in turn
        #[arg(long, conflicts_with = "reference")]
        cloud_init: bool,
        /// The lab's name
        #[arg(long, default_value = tour::NAME)]
        name: String,
    },
    /// Open a shell in a host of a lab that was left up
    Shell {
        /// The host: aws, gcp, laptop, root, aws-nat …
        cloud: String,
        /// Command to run instead of a shell
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
        /// The lab's name
        #[arg(long, default_value = tour::NAME)]
        name: String,
    },
    /// Remove a lab: processes, namespaces, interfaces, files
    Down {
        /// Its name
        #[arg(default_value = tour::NAME)]
        lab: String,
        /// The same, as the other commands have it
        #[arg(long, conflicts_with = "lab")]
        name: Option<String>,
        /// Remove every lab on this machine
        #[arg(long)]
        all: bool,
    },
    /// List the labs on this machine and their hosts
    List,
    /// Serve one web page (used by the tour)
    #[command(hide = true)]
    Page {
        /// Where to listen
        address: SocketAddr,
        /// What it says
        text: String,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ztlab: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(what: What) -> Result<()> {
    match what {
        What::Page { address, text } => return page::serve(address, &text),
        What::List => return list(),
        _ => testing::possible()?,
    }
    match what {
        What::Tour { keep, clouds, reference, cloud_init, name } => {
            let seat = if reference { Seat::Reference } else { Seat::Ours };
            tour::run(&name, &clouds, seat, cloud_init, keep)
        }
        What::Shell { cloud, command, name } => shell(&name, &cloud, &command),
        What::Down { lab, name, all } => {
            let name = name.unwrap_or(lab);
            let known = registry::all()?;
            if !all && !known.contains(&name) {
                bail!("{}", nothing(&name, &known));
            }
            for name in if all { known } else { vec![name] } {
                registry::down(&name)?;
                println!("lab {name} is gone");
            }
            Ok(())
        }
        What::Page { .. } | What::List => Ok(()),
    }
}

/// There is no such lab, and what there is.
fn nothing(lab: &str, known: &[String]) -> String {
    match known {
        [] => format!("no lab `{lab}` is up: `make lab KEEP=1` leaves one"),
        known => format!("no lab `{lab}` is up, only: {} (name one with --name)", known.join(" ")),
    }
}

fn list() -> Result<()> {
    for lab in registry::all()? {
        let prefix = format!("{}{lab}-", namespace::PREFIX);
        let hosts: Vec<String> = registry::namespaces(Some(&lab))?
            .iter()
            .map(|namespace| namespace[prefix.len()..].to_owned())
            .collect();
        println!("{lab}: {}", hosts.join(" "));
    }
    Ok(())
}

/// Becomes a shell in the host, with `ztnode-cli` set up for the node there.
fn shell(lab: &str, cloud: &str, words: &[String]) -> Result<()> {
    registry::check_name(lab)?;
    let prefix = format!("{}{lab}-", namespace::PREFIX);
    let Ok(namespace) = Namespace::existing(&format!("{prefix}{cloud}")) else {
        let all = registry::namespaces(Some(lab))?;
        if all.is_empty() {
            bail!("{}", nothing(lab, &registry::all()?));
        }
        let hosts: Vec<&str> = all.iter().map(|namespace| &namespace[prefix.len()..]).collect();
        bail!("lab `{lab}` has no host `{cloud}`, only: {}", hosts.join(" "));
    };
    let home = registry::base().join(lab).join(cloud);
    let mut command: Command = match words {
        [] => namespace.command("bash"),
        [program, rest @ ..] => {
            let mut command = namespace.command(program);
            command.args(rest);
            command
        }
    };
    if words.is_empty() {
        command.arg("--norc");
        println!(
            "In {cloud}. Try: ztnode-cli info, ztnode-cli peers, ip addr, ping 10.0.1.1. Leave with exit."
        );
    }
    let folder = std::env::current_exe()?.parent().context("a program lies in a folder")?.to_owned();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(std::iter::once(folder).chain(std::env::split_paths(&path)))?;
    command.env("PATH", path).env("ZEROTIER_HOME", home).env("PS1", format!("[{cloud}] \\w # "));
    Err(command.exec()).context("cannot open the shell")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lab_is_named_the_same_way_by_every_command() {
        for words in [&["ztlab", "down", "--name", "nu"][..], &["ztlab", "down", "nu"]] {
            let Ok(Arguments { command: What::Down { lab, name, .. } }) = Arguments::try_parse_from(words)
            else {
                panic!("{words:?}");
            };
            assert_eq!(name.unwrap_or(lab), "nu");
        }
        assert_eq!(
            nothing("x", &["a".into(), "b".into()]),
            "no lab `x` is up, only: a b (name one with --name)"
        );
    }
}
