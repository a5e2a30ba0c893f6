//! `ztnode-cli join --wait` and `wait` with real daemons: they return when the network can be used, or say what is missing.

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::{Daemon, Plan, testing, tool};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(10);
/// The promise: from the authorization to the return of the command.
const PROMPT: Duration = Duration::from_secs(1);

/// Runs the tool: exit code, JSON on standard output, standard error.
fn cli(member: &Daemon, words: &[&str]) -> Result<(i32, Value, String)> {
    let output = member.cli_command(words)?.stdin(Stdio::null()).output()?;
    let result = serde_json::from_slice(&output.stdout).unwrap_or_default();
    Ok((
        output.status.code().context("a signal")?,
        result,
        String::from_utf8_lossy(&output.stderr).into_owned(),
    ))
}

#[test]
fn waiting_for_a_network() {
    testing::run("waiting_for_a_network", &Plan::new().cloud("aws").cloud("gcp"), |cluster| {
        let network = cluster.network.clone();
        let (code, result, _) = cli(&cluster.members[0], &["wait", &network, "--timeout", "5", "-j"])?;
        ensure!(code == 0 && result["ready"] == true, "{code} {result}");

        // Not authorized: the code, and the owner's command.
        cluster.authorize(1, false)?;
        cluster.members[1].request("DELETE", &format!("/network/{network}"), None)?;
        let (code, _, said) = cli(&cluster.members[1], &["wait", &network])?;
        ensure!(code == 10, "a network that was left: {code} {said}");
        let (code, result, said) = cli(&cluster.members[1], &["join", &network, "--wait=2", "-j"])?;
        let command = format!("ztnode-cli member authorize {network} {}", cluster.members[1].address);
        ensure!(code == 7 && result["waitingFor"] == "authorization", "{code} {result} {said}");
        ensure!(said.contains(&command), "{said}");

        // Authorized while somebody waits.
        let mut command = cluster.members[1].cli_command(&["wait", &network, "--timeout", "30"])?;
        let mut waiting = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let early = tool::wait_for("its end", Duration::from_millis(1500), Duration::from_millis(50), || {
            Ok(waiting.try_wait()?)
        });
        ensure!(early.is_err(), "it ended before the authorization");
        let begun = Instant::now();
        cluster.authorize(1, true)?;
        let status = tool::wait_for("its end", LIMIT, Duration::from_millis(5), || Ok(waiting.try_wait()?))?;
        let took = begun.elapsed();
        testing::say(&format!("wait returned {} ms after the authorization", took.as_millis()));
        ensure!(status.success() && took < PROMPT, "{status} after {took:?}");
        let device = cluster.members[1].device(&network)?;
        let shown = cluster.members[1].host.namespace.run("ip", &["-4", "addr", "show", "dev", &device])?;
        ensure!(shown.contains(&cluster.fixed(1).to_string()), "no address at once: {shown}");

        // A network that its controller, a node that is there, does not know.
        let unknown = format!("{}fffffe", &network[..10]);
        let (code, _, said) = cli(&cluster.members[0], &["join", &unknown, "--wait=2"])?;
        ensure!(code == 6, "an unknown network: {code} {said}");
        let (code, _, said) = cli(&cluster.members[0], &["join", "0123456789000001", "--wait=2"])?;
        ensure!(code == 5, "a controller nobody knows: {code} {said}");

        // No root; a service that does not run; one that is started while somebody waits.
        cluster.members[1].request("DELETE", &format!("/network/{network}"), None)?;
        cluster.members[1].stop()?;
        let (code, _, said) = cli(&cluster.members[1], &["wait", &network, "--timeout", "1"])?;
        ensure!(code == 3, "no service: {code} {said}");
        cluster.root.stop()?;
        let mut command = cluster.members[1].cli_command(&["join", &network, "--wait=4"])?;
        let waiting = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        cluster.members[1].start()?;
        let output = waiting.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(4), "no root: {} {said}", output.status);
        ensure!(said.contains("9993"), "{said}");
        Ok(())
    });
}
