//! n2n: a supernode at the first end, an edge at each.

use anyhow::Result;

use super::super::link::{Link, end, overlay};
use super::super::process::{Process, version};
use super::Started;

const INTERFACE: &str = "n2n0";
/// Where the supernode listens.
const PORT: u16 = 7654;

pub(super) fn start(link: &Link) -> Result<Started> {
    let dir = link.lab.dir();
    let mut supernode = link.hosts[0].namespace.command("supernode");
    supernode.args(["-l", &PORT.to_string()]);
    let supernode = Process::start(supernode, dir.join("supernode.log"))?;
    let mut processes = Vec::new();
    for (side, host) in link.hosts.iter().enumerate() {
        let mut command = host.namespace.command("edge");
        command.args(["-d", INTERFACE, "-a", &overlay(side).to_string(), "-s", "255.255.255.0"]);
        command.args(["-c", "bench", "-k", "bench", "-u", "0", "-g", "0"]);
        command.args(["-l", &format!("{}:{PORT}", end(0))]);
        processes.push(Process::start(command, dir.join(format!("{}.log", host.name)))?);
    }
    for (process, host) in processes.iter_mut().zip(&link.hosts) {
        process.wait_interface(&host.namespace, INTERFACE)?;
    }
    processes.push(supernode);
    Ok(Started { version: version("edge", "-h"), processes })
}
