//! The ceiling probe: `ztprobe`, from this crate.

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::super::link::{Link, end, overlay};
use super::super::process::Process;
use super::Started;

const INTERFACE: &str = "probe0";
const PORT: u16 = 7777;
/// One datagram a packet, with the probe's header below an underlay of 1500.
const MTU: u16 = 1400;

/// Where the probe lies: beside this program.
pub(super) fn program() -> Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name("ztprobe"))
}

pub(super) fn start(link: &Link) -> Result<Started> {
    let program = program()?;
    let program = program.to_str().context("the path of ztprobe is not UTF-8")?;
    let mut processes = Vec::new();
    for (side, host) in link.hosts.iter().enumerate() {
        let mut command = host.namespace.command(program);
        command.args([INTERFACE, &format!("{}:{PORT}", end(side)), &format!("{}:{PORT}", end(1 - side))]);
        processes.push(Process::start(command, link.lab.dir().join(format!("{}.log", host.name)))?);
    }
    for (side, host) in link.hosts.iter().enumerate() {
        processes[side].wait_interface(&host.namespace, INTERFACE)?;
        host.namespace.ip(&format!(
            "addr add {}/24 dev {INTERFACE}\nlink set {INTERFACE} mtu {MTU} up\n",
            overlay(side)
        ))?;
    }
    Ok(Started { version: env!("CARGO_PKG_VERSION").to_owned(), processes })
}
