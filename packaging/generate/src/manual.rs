//! Man pages: one for the tool, one for each command, the daemon's, and those made of pages of the manual.

use std::fs;
use std::io;
use std::path::Path;

use clap::Command;
use clap_mangen::roff::{Roff, bold, roman};

use crate::PROGRAM;
use crate::pages::page;

/// Writes the pages below `man`.
///
/// # Errors
/// Of the file system.
pub(crate) fn write(command: &Command, help: &str, man: &Path) -> io::Result<()> {
    let folder = |section: &str| {
        let folder = man.join(section);
        fs::create_dir_all(&folder).map(|()| folder)
    };
    let users = folder("man1")?;
    let mut command = command.clone();
    command.build();
    pages(&command, PROGRAM, &users)?;
    fs::write(folder("man8")?.join("ztnode.8"), daemon(help))?;
    let about = "settings of a ztnode: the file local.conf in its home directory";
    let settings = page("ztnode-local.conf", 5, about, CONFIGURATION, Some("local.conf"));
    fs::write(folder("man5")?.join("ztnode-local.conf.5"), settings)?;
    let rules = page("ztnode-rules", 7, "the language of flow rules", RULES, None);
    fs::write(folder("man7")?.join("ztnode-rules.7"), rules)
}

const CONFIGURATION: &str = include_str!("../../../docs/configuration.md");
const RULES: &str = include_str!("../../../docs/rules.md");

/// A page for the command, and for each that it leads to.
fn pages(command: &Command, name: &str, folder: &Path) -> io::Result<()> {
    fs::write(folder.join(format!("{name}.1")), one(command, name)?)?;
    for below in command.get_subcommands() {
        pages(below, &format!("{name}-{}", below.get_name()), folder)?;
    }
    Ok(())
}

/// The page of one command: what clap knows of it, and its examples and exit codes in sections of their own.
fn one(command: &Command, name: &str) -> io::Result<Vec<u8>> {
    let text =
        |styled: Option<&clap::builder::StyledStr>| styled.map(ToString::to_string).unwrap_or_default();
    let about = text(command.get_about());
    let mut head = Roff::new();
    head.control("TH", [name, "1", "", concat!("ztnode ", env!("CARGO_PKG_VERSION")), "ztnode"]);
    head.control("SH", ["NAME"]);
    // What stands behind a semicolon is for the description.
    let short = about.split("; ").next().unwrap_or_default().to_owned();
    head.text([roman(format!("{name} - {short}"))]);
    head.control("SH", ["SYNOPSIS"]);
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").trim();
    head.text([
        bold(PROGRAM),
        roman(format!(" {}", usage.strip_prefix(PROGRAM).unwrap_or(usage).trim_start())),
    ]);
    head.control("SH", ["DESCRIPTION"]);
    head.text([roman(format!("{}.", about.trim_end_matches('.')))]);
    let mut page = head.render().into_bytes();
    let man = clap_mangen::Man::new(command.clone());
    if command.get_arguments().any(|argument| !argument.is_hide_set()) {
        man.render_options_section(&mut page)?;
    }
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    let after = text(command.get_after_help());
    let mut tail = Roff::new();
    let mut open = false;
    for line in after.lines() {
        let heading =
            ["Example:", "Examples:", "Exit codes:", "Exit code:"].into_iter().find(|h| line.starts_with(h));
        let rest = heading.map_or(line, |heading| line[heading.len()..].trim_start());
        if let Some(heading) = heading {
            if open {
                tail.control("fi", []);
            }
            tail.control("SH", [heading.trim_end_matches(':').to_uppercase().as_str()]);
            tail.control("nf", []);
            open = true;
        } else if !open {
            tail.control("SH", ["NOTES"]);
            tail.control("nf", []);
            open = true;
        }
        if !rest.is_empty() || heading.is_none() {
            tail.text([roman(rest)]);
        }
    }
    if open {
        tail.control("fi", []);
    }
    tail.control("SH", ["SEE ALSO"]);
    tail.text([
        bold(PROGRAM),
        roman("(1), "),
        bold("ztnode"),
        roman("(8), "),
        bold("ztnode-local.conf"),
        roman("(5), "),
        bold("ztnode-rules"),
        roman("(7)"),
    ]);
    page.extend(tail.render().into_bytes());
    Ok(page)
}

/// The daemon's page: its help, which is written to be read.
fn daemon(help: &str) -> String {
    let (title, body) = help.split_once('\n').unwrap_or((help, ""));
    let (name, about) = title.split_once(" - ").unwrap_or((title, ""));
    let mut page = Roff::new();
    page.control("TH", ["ztnode", "8", "", concat!("ztnode ", env!("CARGO_PKG_VERSION")), "ztnode"]);
    page.control("SH", ["NAME"]);
    page.text([roman(format!("{name} - {about}"))]);
    for paragraph in body.trim().split("\n\n") {
        section(paragraph, &mut page);
    }
    page.control("SH", ["FILES"]);
    for (file, what) in FILES {
        page.control("TP", []);
        page.text([bold(*file)]);
        page.text([roman(*what)]);
    }
    page.control("SH", ["SEE ALSO"]);
    page.text([
        bold("ztnode-cli"),
        roman("(1), "),
        bold("ztnode-local.conf"),
        roman("(5), "),
        bold("systemctl"),
        roman("(1)"),
    ]);
    page.render()
}

/// A paragraph of the help: how it is called, the switches in two columns, lines to copy below a heading, or text.
fn section(paragraph: &str, page: &mut Roff) {
    let lines: Vec<&str> = paragraph.lines().collect();
    if let Some(usage) = paragraph.strip_prefix("Usage: ") {
        page.control("SH", ["SYNOPSIS"]);
        page.text([roman(usage)]);
    } else if lines.iter().all(|line| line.starts_with("  ")) {
        page.control("SH", ["OPTIONS"]);
        for line in lines {
            // Two columns, all of them ASCII.
            let (switch, about) = line.split_at(COLUMN.min(line.len()));
            if !switch.trim().is_empty() {
                page.control("TP", []);
                page.text([bold(switch.trim())]);
            }
            page.text([roman(about.trim())]);
        }
    } else if let Some((heading, below)) = paragraph.split_once(":\n") {
        page.control("SH", [heading.to_uppercase().as_str()]);
        page.control("nf", []);
        for line in below.lines() {
            page.text([roman(line.trim_start())]);
        }
        page.control("fi", []);
    } else {
        let (heading, text) = match paragraph.split_once(": ") {
            Some((heading, text)) if heading.len() < COLUMN => (heading.to_uppercase(), text),
            _ => ("DESCRIPTION".to_owned(), paragraph),
        };
        page.control("SH", [heading.as_str()]);
        page.text([roman(text.replace('\n', " "))]);
    }
}

/// Where the second column of the daemon's switches begins.
const COLUMN: usize = 27;

/// What lies in the home directory of the packages' service.
const FILES: &[(&str, &str)] = &[
    ("/var/lib/ztnode/identity.secret", "The node's key pair, which is its address. Back it up."),
    ("/var/lib/ztnode/planet", "The roots; without this file the public ones."),
    ("/var/lib/ztnode/networks.d/", "The networks this node has joined."),
    (
        "/var/lib/ztnode/local.conf",
        "Settings, read again on SIGHUP and when the file changes; see ztnode-local.conf(5).",
    ),
    ("/usr/share/doc/ztnode/", "The manual, and user-data for cloud-init."),
];
