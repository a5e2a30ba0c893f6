//! Join tokens with real daemons: who brings a good one is in, named and addressed without anybody authorizing it; others are
//! told, and nobody is told the token.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::{Cluster, Daemon, Plan, Seat, testing, tool};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(20);

/// Runs the tool: exit code, JSON on standard output, standard error.
fn cli(member: &Daemon, words: &[&str]) -> Result<(i32, Value, String)> {
    let output = member.cli_command(words)?.stdin(Stdio::null()).output()?;
    let result = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Ok((output.status.code().context("a signal")?, result, said))
}

fn token_file(member: &Daemon, network: &str) -> PathBuf {
    member.home().join(format!("networks.d/{network}.token"))
}

/// Nobody but the joining node and its controller needs to know the token, and the controller only for a moment.
fn is_secret(daemon: &Daemon, token: &str) -> Result<()> {
    let secret = &token[30..];
    ensure!(!daemon.log_tail(100_000).contains(secret), "{} logs the token", daemon.name());
    let shown = daemon.get("/network")?.to_string();
    ensure!(!shown.contains(secret), "{} shows the token: {shown}", daemon.name());
    Ok(())
}

/// Makes a member a stranger again.
fn forget(cluster: &Cluster, index: usize) -> Result<()> {
    let (network, member) = (&cluster.network, &cluster.members[index]);
    member.request("DELETE", &format!("/network/{network}"), None)?;
    cluster.controller().cli(&["member", "delete", network, &member.address])?;
    Ok(())
}

#[test]
fn joining_by_token() {
    testing::run("joining_by_token", &Plan::new().cloud("aws").cloud("gcp"), |cluster| {
        let network = cluster.network.clone();
        forget(cluster, 0)?;
        forget(cluster, 1)?;
        let fixed = cluster.fixed(0).to_string();
        let create = ["token", "create", &network, "--name", "first", "--ip", &fixed];
        let token = cluster.controller().cli(&create)?.trim().to_owned();
        ensure!(token.starts_with("ztt_") && token.len() == 70, "{token}");

        let (code, result, said) =
            cli(&cluster.members[0], &["join", &network, "--token", &token, "--wait=20", "-j"])?;
        ensure!(code == 0 && result["addresses"].to_string().contains(&fixed), "{code} {result} {said}");
        let listed = cluster.controller().cli(&["member", "list", &network])?;
        ensure!(listed.contains("first"), "{listed}");
        tool::wait_for("the token to be forgotten", LIMIT, Duration::from_millis(20), || {
            Ok((!token_file(&cluster.members[0], &network).exists()).then_some(()))
        })?;

        // Too late.
        let (code, result, said) =
            cli(&cluster.members[1], &["join", &network, "--token", &token, "--wait=3", "-j"])?;
        ensure!(code == 7 && result["waitingFor"] == "token", "{code} {result}");
        ensure!(said.contains("the token was not accepted"), "{said}");
        let log = cluster.controller().log_tail(1000);
        let refused = log.lines().find(|line| line.contains("join token refused")).context("no such line")?;
        for word in [&network, &cluster.members[1].address, &token[21..29], "spent"] {
            ensure!(refused.contains(word), "{word} is not in: {refused}");
        }
        let kept = token_file(&cluster.members[1], &network);
        let mode = std::fs::metadata(&kept)?.permissions().mode() & 0o777;
        ensure!(mode == 0o600, "{} has mode {mode:o}", kept.display());

        // Revoked.
        let create = ["token", "create", &network, "--uses", "unlimited"];
        let revoked = cluster.controller().cli(&create)?.trim().to_owned();
        cluster.controller().cli(&["token", "revoke", &network, &revoked[21..29]])?;
        let (code, ..) = cli(&cluster.members[1], &["join", &network, "--token", &revoked, "--wait=2"])?;
        ensure!(code == 7, "{code}");

        // The node keeps a token until it is in: over its own restart, and while the controller is away.
        let good =
            cluster.controller().cli(&["token", "create", &network, "--name", "second"])?.trim().to_owned();
        cluster.root.stop()?;
        let (code, ..) = cli(&cluster.members[1], &["join", &network, "--token", &good])?;
        ensure!(code == 0, "{code}");
        cluster.members[1].stop()?;
        cluster.members[1].start()?;
        cluster.members[1].wait_ready()?;
        cluster.root.start()?;
        cluster.root.wait_ready()?;
        let (code, _, said) = cli(&cluster.members[1], &["wait", &network, "--timeout", "60"])?;
        ensure!(code == 0, "{code} {said}");
        tool::wait_for("the token to be forgotten", LIMIT, Duration::from_millis(20), || {
            Ok((!kept.exists()).then_some(()))
        })?;
        let tokens = cluster.controller().cli(&["token", "list", &network])?;
        ensure!(tokens.contains("spent") && tokens.contains("revoked"), "{tokens}");
        ensure!(tokens.contains(&cluster.members[1].address), "{tokens}");
        for token in [&token, &revoked, &good] {
            for daemon in cluster.daemons() {
                is_secret(daemon, token)?;
            }
        }
        Ok(())
    });
}

#[test]
fn a_reference_controller_passes_a_token_over() {
    let plan = Plan::new().controller(Seat::Reference).cloud("aws");
    testing::run("a_reference_controller_passes_a_token_over", &plan, |cluster| {
        let network = cluster.network.clone();
        let token = format!("ztt_0123abcd_{}", "5".repeat(40));
        let path = format!("/network/{network}");
        cluster.members[0].request("DELETE", &path, None)?;
        let (code, _, said) = cli(&cluster.members[0], &["join", &network, "--token", &token, "--wait=20"])?;
        ensure!(code == 0, "authorized as before: {code} {said}");

        cluster.authorize(0, false)?;
        cluster.members[0].request("DELETE", &path, None)?;
        // Whether it says so or is silent, it does not let the node in.
        let (code, ..) = cli(&cluster.members[0], &["join", &network, "--token", &token, "--wait=3"])?;
        ensure!(matches!(code, 4 | 5 | 7), "no more than without it: {code}");
        cluster.authorize(0, true)?;
        let (code, _, said) = cli(&cluster.members[0], &["wait", &network, "--timeout", "60"])?;
        ensure!(code == 0, "authorized by hand: {code} {said}");
        is_secret(&cluster.members[0], &token)
    });
}
