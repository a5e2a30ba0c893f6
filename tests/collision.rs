//! A root that says "that address is another node's": of an identity that worked before it is a mistake or a trick, and costs
//! nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::{Access, Cluster, Daemon, Lab, Plan, Seat, testing, tool};
use serde_json::{Value, json};
use system_tests::fake_root::FakeRoot;

const LIMIT: Duration = Duration::from_secs(20);
/// A silent root is greeted less and less often, and reports are passed on every ten seconds at most.
const REPEATED: Duration = Duration::from_secs(90);
const STEP: Duration = Duration::from_millis(100);

fn fake_root(cluster: &Cluster) -> Result<FakeRoot> {
    let root = &cluster.root;
    FakeRoot::start(&root.host.namespace, root.host.public, root.home())
}

fn secret(node: &Daemon) -> Result<String> {
    fs::read_to_string(node.home().join("identity.secret")).context("no identity.secret")
}

/// Secrets put aside after a collision.
fn put_aside(node: &Daemon) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(node.home())? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("identity.secret.")) {
            found.push(path);
        }
    }
    Ok(found)
}

/// Waits until the node was told `times` times, and returns what it shows of that.
fn told(node: &Daemon, times: u64) -> Result<Value> {
    tool::wait_for(&format!("{} to be told {times} times", node.name()), REPEATED, STEP, || {
        let seen = node.status()?["collision"]["seen"].clone();
        Ok((seen["count"].as_u64().unwrap_or(0) >= times).then_some(seen))
    })
}

fn nothing_is_lost(cluster: &mut Cluster) -> Result<()> {
    let network = cluster.network.clone();
    let member = &cluster.members[0];
    let (address, before) = (member.address.clone(), secret(member)?);
    cluster.root.stop()?;
    let root = fake_root(cluster)?;
    let seen = told(&cluster.members[0], 2)?;
    let member = &cluster.members[0];
    ensure!(seen["root"] == cluster.root.address.as_str() && seen["keptBecause"] == "accepted", "{seen}");
    ensure!(root.answered() >= 2, "only {} greetings were answered", root.answered());
    ensure!(member.status()?["address"] == address.as_str(), "another address");
    ensure!(secret(member)? == before, "another secret");
    ensure!(put_aside(member)?.is_empty(), "put aside: {:?}", put_aside(member)?);
    let kept = member.network(&network)?.context("the network is gone")?;
    ensure!(kept["status"] == "OK", "{kept}");

    // It is told to people and programs, without a way to make it fill the log.
    let said = tool::finish(member.cli_command(&["info"])?, None, tool::LIMIT)?;
    ensure!(said.stderr.contains("another node owns this node's address"), "info: {}", said.stderr);
    let doctor = tool::finish(member.cli_command(&["-j", "doctor"])?, None, tool::LIMIT)?;
    let doctor: Value = serde_json::from_str(&doctor.stdout)?;
    let found = doctor.as_array().is_some_and(|all| all.iter().any(|f| f["subject"] == "identity"));
    ensure!(found, "doctor: {doctor}");
    let waited = tool::finish(member.cli_command(&["-j", "wait", &network])?, None, tool::LIMIT)?;
    let waited: Value = serde_json::from_str(&waited.stdout)?;
    ensure!(waited["collision"]["count"].as_u64() >= Some(2), "wait: {waited}");
    let log = member.log_tail(200);
    ensure!(log.matches("another node owns this address").count() == 1, "{log}");

    // The same without a network: what counts is that a root knew it.
    drop(root);
    member.cli(&["leave", &network])?;
    cluster.members[0].stop()?;
    cluster.members[0].start()?;
    cluster.members[0].wait_ready()?;
    let root = fake_root(cluster)?;
    let seen = told(&cluster.members[0], 1)?;
    ensure!(seen["keptBecause"] == "accepted" && secret(&cluster.members[0])? == before, "{seen}");

    // The real root is back, and so is the node.
    drop(root);
    cluster.root.start()?;
    cluster.root.wait_ready()?;
    cluster.members[0].wait_online(REPEATED)?;
    cluster.members[0].join(&network)?;
    cluster.wait_joined(0)
}

#[test]
fn what_a_root_accepted_stays() {
    let plan = Plan::new().member("aws", Seat::Ours, Access::Public);
    testing::run("what_a_root_accepted_stays", &plan, nothing_is_lost);
}

/// Starts a node that makes its own identity, while there is no root.
fn start_new(node: &mut Daemon) -> Result<String> {
    node.take_identity()?;
    node.start()?;
    node.wait_ready()?;
    node.learn_address()?;
    Ok(node.address.clone())
}

fn new_identities(cluster: &mut Cluster) -> Result<()> {
    let [replaced, warned, joined, controls] = [0, 1, 2, 3];
    cluster.members[warned].set("collision", "warn")?;
    let mut addresses = Vec::new();
    for member in &mut cluster.members {
        addresses.push(start_new(member)?);
    }
    cluster.members[joined].join("1c33c1ced07ac85d")?;
    let made = format!("/controller/network/{}______", addresses[controls]);
    cluster.members[controls].post(&made, &json!({}))?;

    let old = secret(&cluster.members[replaced])?;
    let _root = fake_root(cluster)?;
    // Once, and the second identity stays: two collisions in a row do not happen by chance.
    let new = tool::wait_for("another identity", LIMIT, STEP, || {
        let address = cluster.members[replaced].status()?["address"].as_str().unwrap_or_default().to_owned();
        Ok((address.len() == 10 && address != addresses[replaced]).then_some(address))
    })?;
    told(&cluster.members[replaced], 1)?;
    ensure!(cluster.members[replaced].status()?["address"] == new.as_str(), "replaced again");
    let saved = put_aside(&cluster.members[replaced])?;
    ensure!(saved.len() == 1 && fs::read_to_string(&saved[0])? == old, "{saved:?}");
    ensure!(fs::metadata(&saved[0])?.permissions().mode() & 0o777 == 0o600, "{saved:?} is not private");
    let name = saved[0].to_string_lossy().into_owned();
    ensure!(name.contains(&format!("identity.secret.saved.{}.", addresses[replaced])), "{name}");

    for (member, reason) in [(warned, "setting"), (joined, "joined"), (controls, "controls")] {
        let node = &cluster.members[member];
        let seen = told(node, 1)?;
        ensure!(seen["keptBecause"] == reason, "{}: {seen}", node.name());
        ensure!(node.status()?["address"] == addresses[member].as_str(), "{}: another address", node.name());
        ensure!(put_aside(node)?.is_empty(), "{}: put aside", node.name());
    }
    Ok(())
}

#[test]
fn only_a_new_identity_is_replaced_and_only_once() {
    let name = "only_a_new_identity_is_replaced_and_only_once";
    if !testing::ready(name) {
        return;
    }
    let run = || -> Result<()> {
        let mut plan = Plan::new();
        for name in ["replaced", "warned", "joined", "controls"] {
            plan = plan.member(name, Seat::Ours, Access::Public);
        }
        let mut cluster = plan.prepare(Lab::new()?)?;
        new_identities(&mut cluster).map_err(|error| error.context(cluster.report()))
    };
    if let Err(error) = run() {
        panic!("{name}: {error:#}");
    }
}
