//! tinc as an Ethernet switch.

use std::fs;
use std::process::Command;

use anyhow::Result;
use lab::tool;

use super::super::link::{Link, end, overlay};
use super::super::process::{Process, version};
use super::Started;

const INTERFACE: &str = "tinc0";

pub(super) fn start(link: &Link) -> Result<Started> {
    let homes = [0, 1].map(|side| link.lab.dir().join(format!("tinc-{}", link.hosts[side].name)));
    for (side, home) in homes.iter().enumerate() {
        let (own, other) = (&link.hosts[side].name, &link.hosts[1 - side].name);
        fs::create_dir_all(home.join("hosts"))?;
        let connect = if side == 0 { format!("ConnectTo = {other}\n") } else { String::new() };
        fs::write(
            home.join("tinc.conf"),
            format!("Name = {own}\nMode = switch\nDeviceType = tap\nInterface = {INTERFACE}\n{connect}"),
        )?;
        fs::write(home.join("hosts").join(own), format!("Address = {}\n", end(side)))?;
        // Without a terminal it takes the usual file names: the public half goes into hosts/.
        let mut command = Command::new("tincd");
        command.arg("-c").arg(home).arg("-K2048");
        tool::finish(command, None, tool::LIMIT)?.stdout()?;
    }
    let mut processes = Vec::new();
    for (side, home) in homes.iter().enumerate() {
        let other = &link.hosts[1 - side].name;
        fs::copy(homes[1 - side].join("hosts").join(other), home.join("hosts").join(other))?;
    }
    for (host, home) in link.hosts.iter().zip(&homes) {
        let mut command = host.namespace.command("tincd");
        command.arg("-c").arg(home).arg("-D").arg(format!("--pidfile={}/pid", home.display()));
        processes.push(Process::start(command, link.lab.dir().join(format!("{}.log", host.name)))?);
    }
    for (side, host) in link.hosts.iter().enumerate() {
        processes[side].wait_interface(&host.namespace, INTERFACE)?;
        host.namespace
            .ip(&format!("addr add {}/24 dev {INTERFACE}\nlink set {INTERFACE} up\n", overlay(side)))?;
    }
    Ok(Started { version: version("tincd", "--version"), processes })
}
