//! A chapter of the tour: machines that join by themselves at their first boot, in each of the ways there is user-data for.

use std::process::Child;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::cloud_init::{self, Way};
use lab::{Access, Cluster, tool};
use serde_json::Value;

use crate::show::Show;
use crate::tour::authorize_by_cli;

/// From the start of the script to its end.
const LIMIT: Duration = Duration::from_secs(30);

/// Boots every member: those in clouds by user-data, the laptop by hand.
///
/// # Errors
/// The machine whose script failed, with its output.
pub(crate) fn boot(show: &mut Show, cluster: &mut Cluster) -> Result<()> {
    let network = cluster.network.clone();
    let mut scripts = Vec::new();
    for index in 0..cluster.members.len() {
        if cluster.members[index].host.access == Access::Public {
            cluster.members[index].start()?;
            cluster.members[index].wait_ready()?;
            authorize_by_cli(show, cluster, index)?;
            let output = cluster.members[index].cli(&["join", &network])?;
            show.command(cluster.members[index].name(), &format!("ztnode-cli join {network}"), &output);
            continue;
        }
        let way = Way::ALL[index % Way::ALL.len()];
        scripts.push((index, start(show, cluster, index, way)?));
    }
    for (index, script) in scripts {
        finish(show, cluster, index, script)?;
    }
    show.meaning(
        "Nobody logged in to these machines, and nothing polls: the script returns when the network can be used.",
    );
    Ok(())
}

/// Does what the owner of the network does for this way of joining, and boots the machine.
fn start(show: &mut Show, cluster: &mut Cluster, index: usize, way: Way) -> Result<Child> {
    let (network, ip) = (cluster.network.clone(), cluster.fixed(index).to_string());
    let identity = {
        if way == Way::Injected {
            authorize_by_cli(show, cluster, index)?;
        }
        cluster.members[index].take_identity()?
    };
    let name = cluster.members[index].name().to_owned();
    let secret = match way {
        Way::Generated => String::new(),
        Way::Injected => identity,
        Way::Token => token(show, cluster, &name, &ip)?,
    };
    let data = way.fill_in(&network, &secret)?;
    show.command(
        &name,
        &format!("cat user-data  # {}", way.file()),
        &data.text().replace(&secret_shown(&secret), "…"),
    );
    let script = cloud_init::boot(&mut cluster.members[index], &data)?;
    if way == Way::Generated {
        authorize_by_cli(show, cluster, index)?;
    }
    Ok(script)
}

/// What of a secret is not shown: all but its beginning.
fn secret_shown(secret: &str) -> String {
    secret.get(10..).filter(|rest| !rest.is_empty()).unwrap_or("\0").to_owned()
}

fn token(show: &Show, cluster: &Cluster, name: &str, ip: &str) -> Result<String> {
    let words = ["token", "create", "demo.lab", "--name", name, "--ip", ip, "-j"];
    let output = cluster.root.cli(&words)?;
    let made: Value = serde_json::from_str(&output).context("the token as JSON")?;
    let token = made["token"].as_str().context("no token in the answer")?.to_owned();
    let line = format!("ztnode-cli {}", words.join(" "));
    show.command("root", &line, &output.replace(&secret_shown(&token), "…"));
    Ok(token)
}

fn finish(show: &Show, cluster: &Cluster, index: usize, mut script: Child) -> Result<()> {
    let member = &cluster.members[index];
    let what = format!("the end of the boot script of {}", member.name());
    let ended = tool::wait_for(&what, LIMIT, Duration::from_millis(20), || Ok(script.try_wait()?));
    let output = std::fs::read_to_string(cloud_init::output(member)).unwrap_or_default();
    if ended.is_err() {
        script.kill()?;
        script.wait()?;
    }
    let status = ended.with_context(|| output.clone())?;
    show.command(member.name(), "cat /var/log/cloud-init-output.log", &output);
    ensure!(status.success(), "the boot script of {} ended with {status}", member.name());
    Ok(())
}
