//! Man pages: one for the tool, one for each grouped command, and the daemon's.

use std::fs;
use std::io;
use std::path::Path;

use clap::Command;
use clap_mangen::roff::{Roff, bold, roman};

use crate::PROGRAM;

/// Writes the pages below `man`.
///
/// # Errors
/// Of the file system.
pub(crate) fn write(command: &Command, help: &str, man: &Path) -> io::Result<()> {
    let (users, administrators) = (man.join("man1"), man.join("man8"));
    fs::create_dir_all(&users)?;
    fs::create_dir_all(&administrators)?;
    let mut command = command.clone();
    command.build();
    pages(&command, PROGRAM, &users)?;
    fs::write(administrators.join("ztnode.8"), daemon(help))
}

/// A page for the command, and for each that it leads to; commands of one word are described on the first.
fn pages(command: &Command, name: &str, folder: &Path) -> io::Result<()> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).title(name).manual("ztnode").render(&mut page)?;
    fs::write(folder.join(format!("{name}.1")), page)?;
    for below in command.get_subcommands() {
        pages(below, &format!("{name}-{}", below.get_name()), folder)?;
    }
    Ok(())
}

/// The daemon's page: its help, which is written to be read.
fn daemon(help: &str) -> String {
    let (title, body) = help.split_once('\n').unwrap_or((help, ""));
    let (name, about) = title.split_once(" - ").unwrap_or((title, ""));
    let mut page = Roff::new();
    page.control("TH", ["ztnode", "8", "", concat!("ztnode ", env!("CARGO_PKG_VERSION")), "ztnode"]);
    page.control("SH", ["NAME"]);
    page.text([roman(format!("{name} - {about}"))]);
    page.control("SH", ["DESCRIPTION"]);
    page.control("nf", []);
    for line in body.trim_start().lines() {
        page.text([roman(line)]);
    }
    page.control("fi", []);
    page.control("SH", ["FILES"]);
    for (file, what) in FILES {
        page.control("TP", []);
        page.text([bold(*file)]);
        page.text([roman(*what)]);
    }
    page.control("SH", ["SEE ALSO"]);
    page.text([bold("ztnode-cli"), roman("(1), "), bold("systemctl"), roman("(1)")]);
    page.render()
}

/// What lies in the home directory of the packages' service.
const FILES: &[(&str, &str)] = &[
    ("/var/lib/ztnode/identity.secret", "The node's key pair, which is its address. Back it up."),
    ("/var/lib/ztnode/planet", "The roots; without this file the public ones."),
    ("/var/lib/ztnode/networks.d/", "The networks this node has joined."),
    ("/var/lib/ztnode/local.conf", "Settings, read again on SIGHUP and when the file changes."),
    ("/usr/share/doc/ztnode/", "The manual, and user-data for cloud-init."),
];
