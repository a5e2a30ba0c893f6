//! What the system tests share: skipping with a reason where a lab cannot be, and a full report when a test fails.

use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};

use anyhow::{Result, bail};
use nix::unistd::Uid;

use crate::cluster::{Cluster, Plan};
use crate::{binaries, registry};

/// Says something past the test harness's capture, so that a plain `cargo test` shows it.
pub fn say(text: &str) {
    // Without a standard error there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Whether labs can be made here.
///
/// # Errors
/// Why not, and what to do about it.
pub fn possible() -> Result<()> {
    if !Uid::effective().is_root() {
        bail!("network namespaces need root: run it as root (sudo)");
    }
    for (program, package) in [
        ("ip", "iproute2"),
        ("nft", "nftables"),
        ("ping", "iputils-ping"),
        ("sysctl", "procps"),
        ("tcpdump", "tcpdump"),
        ("tshark", "tshark"),
    ] {
        let found = std::env::var_os("PATH")
            .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).is_file()));
        if !found {
            bail!("no program `{program}`: install the package {package}, or run `make packages`");
        }
    }
    if !std::path::Path::new("/dev/net/tun").exists() {
        bail!("no /dev/net/tun: load the kernel module tun");
    }
    Ok(())
}

/// Whether test `name` can run here. Says why when it cannot.
pub fn ready(name: &str) -> bool {
    if let Err(reason) = possible() {
        say(&format!("SKIPPED {name}: {reason:#}"));
        return false;
    }
    if let Err(error) = registry::sweep() {
        say(&format!("{name}: labs of ended test runs are still there: {error:#}"));
    }
    true
}

/// Runs `body` on a cluster built after `plan`.
///
/// # Panics
/// When the cluster cannot be built or `body` fails: with all states and the logs' tails.
pub fn run(name: &str, plan: &Plan, body: impl FnOnce(&mut Cluster) -> Result<()>) {
    if !ready(name) {
        return;
    }
    if plan.needs_reference() && binaries::reference().is_none() {
        say(&format!("SKIPPED {name}: ZEROTIER_ONE names no zerotier-one binary"));
        return;
    }
    // Building them takes a while: not in the middle of a lab.
    if let Err(error) = binaries::ours() {
        panic!("{name}: {error:#}");
    }
    let mut cluster = match plan.start() {
        Ok(cluster) => cluster,
        Err(error) => panic!("{name}: cannot start: {error:#}"),
    };
    let outcome = catch_unwind(AssertUnwindSafe(|| body(&mut cluster)));
    let failure = match outcome {
        Ok(Ok(())) => return,
        Ok(Err(error)) => format!("{error:#}"),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned())).unwrap_or_default()
        }
    };
    panic!("{name}: {failure}\n{}", cluster.report());
}
