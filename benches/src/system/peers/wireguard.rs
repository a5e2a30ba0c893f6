//! wireguard-go: WireGuard in user space, the installed one or that of `WG_GO`.

use std::fs;

use anyhow::Result;
use lab::tool;

use super::super::link::{Link, end, overlay};
use super::super::process::{Process, version};
use super::Started;

/// WireGuard's usual port.
const PORT: u16 = 51820;

pub(super) fn start(link: &Link) -> Result<Started> {
    let program = std::env::var("WG_GO").unwrap_or_else(|_| "wireguard-go".to_owned());
    // Its control sockets lie in one folder for all namespaces, named after the interface.
    let interfaces = ["a", "b"].map(|side| format!("{}{side}", link.lab.name()));
    let mut keys = Vec::new();
    let mut processes = Vec::new();
    for (host, interface) in link.hosts.iter().zip(&interfaces) {
        let secret = tool::run("wg", &["genkey"])?;
        let file = link.lab.dir().join(format!("{}.key", host.name));
        fs::write(&file, &secret)?;
        let public = tool::finish(wg_pubkey(), Some(&secret), tool::LIMIT)?.stdout()?;
        keys.push((file, public.trim().to_owned()));
        let mut command = host.namespace.command(&program);
        command.args(["-f", interface]);
        processes.push(Process::start(command, link.lab.dir().join(format!("{}.log", host.name)))?);
    }
    for (side, host) in link.hosts.iter().enumerate() {
        let interface = &interfaces[side];
        processes[side].wait_interface(&host.namespace, interface)?;
        let (file, peer) = (keys[side].0.to_string_lossy(), &keys[1 - side].1);
        let endpoint = format!("{}:{PORT}", end(1 - side));
        host.namespace.run(
            "wg",
            &["set", interface, "listen-port", &PORT.to_string(), "private-key", &file, "peer", peer]
                .into_iter()
                .chain(["endpoint", &endpoint, "allowed-ips", "10.0.0.0/24"])
                .collect::<Vec<_>>(),
        )?;
        host.namespace
            .ip(&format!("addr add {}/24 dev {interface}\nlink set {interface} up\n", overlay(side)))?;
    }
    Ok(Started { version: version(&program, "--version"), processes })
}

fn wg_pubkey() -> std::process::Command {
    let mut command = std::process::Command::new("wg");
    command.arg("pubkey");
    command
}
