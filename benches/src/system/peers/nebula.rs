//! Nebula: certificates of a throw-away authority, each end told where the other is.

use std::fs;

use anyhow::Result;
use lab::tool;

use super::super::link::{Link, end, overlay};
use super::super::process::{Process, version};
use super::Started;

const INTERFACE: &str = "nebula1";

pub(super) fn start(link: &Link) -> Result<Started> {
    let dir = link.lab.dir();
    let file = |name: &str| dir.join(name).to_string_lossy().into_owned();
    let (authority, key) = (file("ca.crt"), file("ca.key"));
    tool::run("nebula-cert", &["ca", "-name", "bench", "-out-crt", &authority, "-out-key", &key])?;
    let mut processes = Vec::new();
    for (side, host) in link.hosts.iter().enumerate() {
        let name = &host.name;
        let address = format!("{}/24", overlay(side));
        let own = (file(&format!("{name}.crt")), file(&format!("{name}.key")));
        tool::run(
            "nebula-cert",
            &["sign", "-ca-crt", &authority, "-ca-key", &key, "-name", name, "-ip", &address]
                .into_iter()
                .chain(["-out-crt", &own.0, "-out-key", &own.1])
                .collect::<Vec<_>>(),
        )?;
        let other = (overlay(1 - side), end(1 - side));
        let text = format!(
            "pki: {{ca: {authority}, cert: {}, key: {}}}\n\
             static_host_map: {{\"{}\": [\"{}:4242\"]}}\n\
             lighthouse: {{am_lighthouse: false}}\n\
             listen: {{host: 0.0.0.0, port: 4242}}\n\
             tun: {{dev: {INTERFACE}}}\n\
             firewall:\n  outbound: [{{port: any, proto: any, host: any}}]\n  \
             inbound: [{{port: any, proto: any, host: any}}]\n",
            own.0, own.1, other.0, other.1
        );
        let config = file(&format!("{name}.yml"));
        fs::write(&config, text)?;
        let mut command = host.namespace.command("nebula");
        command.args(["-config", &config]);
        processes.push(Process::start(command, dir.join(format!("{name}.log")))?);
    }
    for (process, host) in processes.iter_mut().zip(&link.hosts) {
        process.wait_interface(&host.namespace, INTERFACE)?;
    }
    Ok(Started { version: version("nebula", "-version"), processes })
}
