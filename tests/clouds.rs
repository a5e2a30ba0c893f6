//! Machines as clouds have them: images with an identity in them, bridges and veths of containers, subnets that a network's
//! routes overlap.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::{Cluster, Plan, Seat, testing, tool};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(20);
/// Within this time both must have said it.
const DETECTED: Duration = Duration::from_secs(30);
const STEP: Duration = Duration::from_millis(100);

/// Members 0 and 1 run; 1 becomes a copy of 0, started while 0 runs. Returns the old address of 0.
fn clone_first(cluster: &mut Cluster) -> Result<String> {
    cluster.members[1].stop()?;
    let (first, rest) = cluster.members.split_at_mut(1);
    rest[0].become_copy_of(&first[0])?;
    rest[0].start()?;
    Ok(first[0].address.clone())
}

fn seen(status: &Value) -> bool {
    status["clones"]["seen"].as_array().is_some_and(|seen| !seen.is_empty())
}

/// The copy takes a new identity and joins the same network with it; the original stays as it is.
fn resolved(cluster: &mut Cluster) -> Result<()> {
    let begun = Instant::now();
    let replaced = cluster.members[1].address.clone();
    let old = clone_first(cluster)?;
    tool::wait_for("both to say that they are clones", DETECTED, STEP, || {
        let original = cluster.members[0].status()?;
        let copy = cluster.members[1].status()?;
        let former = copy["clones"]["formerAddresses"].as_array().cloned().unwrap_or_default();
        Ok((seen(&original) && former.contains(&json!(old))).then_some(()))
    })?;
    testing::say(&format!("detected and resolved after {:?}", begun.elapsed()));
    for member in &cluster.members[..2] {
        let log = member.log_tail(60);
        ensure!(
            log.contains("another machine runs with this identity"),
            "{} says nothing:\n{log}",
            member.name()
        );
    }
    let copy = &cluster.members[1];
    ensure!(
        copy.log_tail(60).contains("this home was moved or copied here"),
        "the copy did not notice the move"
    );
    let kept = std::fs::read_dir(copy.home())?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.to_string_lossy().contains(&format!("/identity.secret.old-{old}.")))
        .context("the old identity is gone")?;
    ensure!(kept.metadata()?.permissions().mode() & 0o777 == 0o600, "the old identity is not private");
    let new = copy.status()?["address"].as_str().context("no address")?.to_owned();
    ensure!(new != old, "the copy kept the address");
    ensure!(cluster.members[0].status()?["address"] == old.as_str(), "the original gave way");
    let said = tool::finish(copy.cli_command(&["info"])?, None, tool::LIMIT)?;
    ensure!(
        said.stdout.lines().count() == 1 && said.stderr.contains(&old),
        "info: {}{}",
        said.stdout,
        said.stderr
    );

    // It asks to be let in under the new address, and is a node like any other.
    // The address that this member had before is free for its new identity.
    cluster.set_member_of(&replaced, &json!({"authorized": false, "ipAssignments": []}))?;
    cluster.members[1].address = new;
    cluster.authorize(1, true)?;
    cluster.wait_joined(1)?;
    cluster.ping(0, 1, LIMIT)?;
    // A new identity belongs to the machine it was made on, and restarts are no clones.
    for _ in 0..2 {
        cluster.members[1].stop()?;
        cluster.members[1].start()?;
        cluster.members[1].wait_ready()?;
        cluster.members[1].wait_online(LIMIT)?;
    }
    let status = cluster.members[1].status()?;
    ensure!(status["clones"]["machine"] == "home" && !seen(&status), "after a restart: {}", status["clones"]);
    Ok(())
}

#[test]
fn a_copied_home_takes_a_new_identity() {
    testing::run("a_copied_home_takes_a_new_identity", &Plan::new().cloud("aws").cloud("gcp"), resolved);
}

/// A zerotier-one hands nothing on, so clones behind it may not hear each other. It must not suffer from their calls either:
/// nothing that goes through it bears one address as source and destination.
#[test]
fn a_foreign_root_is_not_harmed_by_clones() {
    let plan = Plan::new().root(Seat::Reference).controller(Seat::Ours).cloud("aws").cloud("gcp");
    testing::run("a_foreign_root_is_not_harmed_by_clones", &plan, |cluster| {
        clone_first(cluster)?;
        tool::wait_for("the copy to say that it was moved", LIMIT, STEP, || {
            Ok(cluster.members[1].log_tail(60).contains("this home was moved or copied here").then_some(()))
        })?;
        // The first calls come within the first 15 s.
        let until = Instant::now() + Duration::from_secs(16);
        tool::wait_for("the calls to be made", Duration::from_secs(20), Duration::from_millis(500), || {
            cluster.root.get("/peer").context("the root no longer answers")?;
            Ok((Instant::now() >= until).then_some(()))
        })
    });
}

#[test]
fn an_image_with_one_machine_id_leaves_the_first() {
    let plan = Plan::new().cloud("aws").cloud("gcp");
    testing::run("an_image_with_one_machine_id_leaves_the_first", &plan, |cluster| {
        std::fs::copy(cluster.members[0].machine_id(), cluster.members[1].machine_id())?;
        let old = clone_first(cluster)?;
        tool::wait_for("the later one to give way", DETECTED, STEP, || {
            let former = cluster.members[1].status()?["clones"]["formerAddresses"].clone();
            Ok((former == json!([old])).then_some(()))
        })?;
        let original = cluster.members[0].status()?;
        ensure!(
            original["address"] == old.as_str() && seen(&original),
            "the original: {}",
            original["clones"]
        );
        ensure!(original["clones"]["seen"][0]["sameMachineId"] == true, "{}", original["clones"]);
        Ok(())
    });
}

#[test]
fn clones_that_are_told_to_stay_or_to_stop() {
    let plan = Plan::new().cloud("aws").cloud("gcp");
    testing::run("clones_that_are_told_to_stay_or_to_stop", &plan, |cluster| {
        let settings = json!({"settings": {"clones": "warn"}});
        std::fs::write(cluster.members[0].home().join("local.conf"), settings.to_string())?;
        let old = clone_first(cluster)?;
        tool::wait_for("both to see each other", DETECTED, STEP, || {
            let statuses = [cluster.members[0].status()?, cluster.members[1].status()?];
            Ok(statuses.iter().all(seen).then_some(()))
        })?;
        let copy = cluster.members[1].status()?;
        ensure!(copy["address"] == old.as_str() && copy["clones"]["seen"][0]["givesWay"] == "this", "{copy}");

        cluster.members[1].stop()?;
        let settings = json!({"settings": {"clones": "stop"}});
        std::fs::write(cluster.members[1].home().join("local.conf"), settings.to_string())?;
        cluster.members[1].start()?;
        tool::wait_for("the clone to stop", DETECTED, STEP, || {
            Ok((!cluster.members[1].running()).then_some(()))
        })?;
        let log = cluster.members[1].log_tail(5);
        ensure!(log.contains("settings.clones is \"stop\""), "{log}");
        Ok(())
    });
}

#[test]
fn links_of_containers_are_left_alone_and_their_subnets_not_shadowed() {
    let plan = Plan::new().cloud("aws").cloud("gcp");
    testing::run("links_of_containers_are_left_alone_and_their_subnets_not_shadowed", &plan, |cluster| {
        let aws = cluster.members[0].host.clone();
        aws.namespace.ip(
            "link add docker0 type bridge\naddr add 172.17.0.1/16 dev docker0\nlink set docker0 up\n\
             link add veth9 type veth peer name veth9p\naddr add 172.30.0.1/24 dev veth9\n\
             link set veth9 up\nlink set veth9p up\n",
        )?;
        let status = tool::wait_for("the links to be noticed", LIMIT, STEP, || {
            let status = cluster.members[0].status()?;
            let interfaces = status["interfaces"].as_array().cloned().unwrap_or_default();
            let known = |name: &str| interfaces.iter().any(|i| i["name"] == name);
            Ok((known("docker0") && known("veth9")).then_some(status))
        })?;
        ensure!(status["config"]["settings"]["listeningOn"] == json!(["192.168.1.10/9993"]), "{status}");
        for interface in status["interfaces"].as_array().context("no interfaces")? {
            let name = interface["name"].as_str().unwrap_or_default();
            ensure!(interface["used"] == (name == "eth0"), "{interface}");
            let reason = interface["ignored"][0]["reason"].as_str().unwrap_or_default();
            match name {
                "docker0" | "veth9" => {
                    ensure!(reason.contains("link that carries no default route"), "{interface}");
                }
                name if name.starts_with("zt") => ensure!(reason == "a port of this node", "{interface}"),
                _ => {}
            }
        }
        let before = cluster.members[0].network(&cluster.network)?.context("not joined")?;
        ensure!(before["refused"] == json!([]), "{}", before["refused"]);

        let routes = json!({"routes": [
            {"target": "10.0.0.0/16", "via": null},
            {"target": "172.17.3.0/24", "via": "10.0.2.1"},
            {"target": "172.16.0.0/12", "via": "10.0.2.1"}]});
        cluster.controller().post(&format!("/controller/network/{}", cluster.network), &routes)?;
        let network = cluster.network.clone();
        let refused = tool::wait_for("the route to be refused", LIMIT, STEP, || {
            let found = cluster.members[0].network(&network)?.context("not joined")?;
            Ok((found["refused"] != json!([])).then_some(found["refused"].clone()))
        })?;
        ensure!(refused.as_array().is_some_and(|r| r.len() == 1), "{refused}");
        ensure!(refused[0]["target"] == "172.17.3.0/24" && refused[0]["kind"] == "route", "{refused}");
        let way = aws.namespace.run("ip", &["route", "get", "172.17.3.5"])?;
        ensure!(way.contains("dev docker0"), "{way}");
        let wider = aws.namespace.run("ip", &["route", "show", "172.16.0.0/12"])?;
        ensure!(wider.contains("via 10.0.2.1"), "the wider route is harmless: {wider}");
        let said = tool::finish(cluster.members[0].cli_command(&["info"])?, None, tool::LIMIT)?;
        ensure!(said.stderr.contains("172.17.3.0/24 is not used"), "info: {}", said.stderr);

        aws.namespace.ip("link del docker0\n")?;
        tool::wait_for("the route to be taken when the subnet is gone", LIMIT, STEP, || {
            let shown = aws.namespace.run("ip", &["route", "show", "172.17.3.0/24"])?;
            let found = cluster.members[0].network(&network)?.context("not joined")?;
            Ok((shown.contains("via 10.0.2.1") && found["refused"] == json!([])).then_some(()))
        })?;
        cluster.ping(0, 1, LIMIT).map(drop)
    });
}
