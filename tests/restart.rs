//! Daemons that die at any moment, and state files that are damaged: nothing is lost silently.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use lab::{Cluster, Daemon, Plan, testing, tool};
use protocol::{Address, Identity};

const LIMIT: Duration = Duration::from_secs(20);
const ANNOUNCED: Duration = Duration::from_secs(75);

/// After a restart: the same identity, the network back with no command, and traffic.
fn comes_back(cluster: &mut Cluster, index: usize) -> Result<()> {
    let network = cluster.network.clone();
    let member = &mut cluster.members[index];
    member.start()?;
    member.wait_ready()?;
    ensure!(member.status()?["address"] == member.address.as_str(), "another identity after a restart");
    member.wait_status(&network, "OK", LIMIT)?;
    cluster.wait_joined(index)?;
    // A restarted root hears of the multicast groups, which ARP needs, within a minute.
    cluster.ping(index, 1 - index, ANNOUNCED).context("ping after a restart")?;
    Ok(())
}

/// Small, reproducible, and good enough to pick moments.
fn moments(seed: u64) -> impl Iterator<Item = Duration> {
    let mut state = seed;
    std::iter::repeat_with(move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Duration::from_millis((state >> 33) % 1500)
    })
}

#[test]
fn members_killed_at_any_moment() {
    testing::run("members_killed_at_any_moment", &Plan::new().cloud("aws").cloud("gcp"), |cluster| {
        cluster.ping(0, 1, LIMIT)?;
        for (round, moment) in moments(1).take(8).enumerate() {
            let member = &mut cluster.members[round % 2];
            member.kill()?;
            member.start()?;
            // The next kill hits it while it starts, joins, or writes its files.
            let _ = tool::wait_for("the moment", moment, Duration::from_millis(5), || Ok(None::<()>));
            cluster.members[round % 2].kill()?;
            comes_back(cluster, round % 2)
                .with_context(|| format!("round {round}, killed after {moment:?}"))?;
        }
        Ok(())
    });
}

#[test]
fn root_and_controller_killed_at_any_moment() {
    testing::run(
        "root_and_controller_killed_at_any_moment",
        &Plan::new().cloud("aws").cloud("gcp"),
        |cluster| {
            for (round, moment) in moments(2).take(4).enumerate() {
                // Changes are on their way to the disk while it dies.
                let path = format!("/controller/network/{}", cluster.network);
                cluster.root.post(&path, &serde_json::json!({"name": format!("round{round}")}))?;
                cluster.root.kill()?;
                cluster.root.start()?;
                let _ = tool::wait_for("the moment", moment, Duration::from_millis(5), || Ok(None::<()>));
                cluster.root.kill()?;
                cluster.root.start()?;
                cluster.root.wait_ready()?;
                let record = cluster.root.get(&path).context("the network is still there")?;
                let name = record["name"].as_str().unwrap_or_default().to_owned();
                ensure!(name == format!("round{round}"), "an answered change was lost: the name is {name}");
                let member = cluster.root.get(&format!("{path}/member/{}", cluster.members[0].address))?;
                ensure!(member["authorized"] == true, "the member's authorization was lost");
            }
            // A member that restarts asks the controller anew.
            cluster.members[0].stop()?;
            comes_back(cluster, 0)
        },
    );
}

#[test]
fn stops_in_order_and_quickly() {
    testing::run("stops_in_order_and_quickly", &Plan::new().cloud("aws").cloud("gcp"), |cluster| {
        let device = cluster.members[0].device(&cluster.network)?;
        let namespace = cluster.members[0].host.namespace.clone();
        for daemon in cluster.daemons_mut() {
            let time = daemon.stop()?;
            ensure!(time < Duration::from_secs(2), "{} took {time:?} to stop", daemon.name());
        }
        ensure!(
            !namespace.said("ip", &["link", "show", "dev", &device])?.ok(),
            "the interface {device} is still there"
        );
        Ok(())
    });
}

/// What a daemon may do about a damaged file.
#[derive(Clone, Copy, PartialEq)]
enum Outcome {
    /// Refuse to start, naming the file, and leave it as it is.
    Refuses,
    /// Start and repair or fetch what was lost.
    Recovers,
}

/// A run with one file damaged in one way.
fn damaged(member: &mut Daemon, file: &Path, bytes: &[u8]) -> Result<Outcome> {
    fs::write(file, bytes)?;
    member.start()?;
    let started = member.wait_ready();
    if started.is_ok() {
        return Ok(Outcome::Recovers);
    }
    let name = file.file_name().and_then(|n| n.to_str()).unwrap_or_default().to_owned();
    let log = member.log_tail(5);
    if member.running() {
        bail!("with a damaged {name} it neither works nor ends\n{log}");
    }
    ensure!(log.contains(&name), "with a damaged {name} it ended without naming it:\n{log}");
    ensure!(fs::read(file)? == bytes, "it changed the damaged {name} before it ended");
    Ok(Outcome::Refuses)
}

fn damages(good: &[u8]) -> Vec<Vec<u8>> {
    let mut flipped = good.to_vec();
    if let Some(byte) = flipped.get_mut(good.len() / 2) {
        *byte ^= 0x15;
    }
    vec![Vec::new(), good[..good.len() / 2].to_vec(), flipped, vec![0; good.len()], vec![0xff; 4096]]
}

#[test]
fn damaged_state_files() {
    testing::run("damaged_state_files", &Plan::new().cloud("aws").cloud("gcp"), |cluster| {
        cluster.ping(0, 1, LIMIT)?;
        let network = cluster.network.clone();
        let address = cluster.members[0].address.clone();
        let home = cluster.members[0].home().to_owned();
        cluster.members[0].stop()?;
        let mut files: Vec<(PathBuf, Option<Outcome>)> = vec![
            // The identity is who we are: starting with another one would be silent loss.
            (home.join("identity.secret"), Some(Outcome::Refuses)),
            (home.join("identity.public"), Some(Outcome::Recovers)),
            (home.join("planet"), None),
            (home.join("local.conf"), None),
            (home.join(format!("networks.d/{network}.conf")), Some(Outcome::Recovers)),
            (home.join(format!("networks.d/{network}.local.conf")), Some(Outcome::Recovers)),
        ];
        if let Ok(peers) = fs::read_dir(home.join("peers.d")) {
            files.extend(
                peers.take(1).filter_map(|entry| Some((entry.ok()?.path(), Some(Outcome::Recovers)))),
            );
        }
        for (file, expected) in files {
            let Ok(good) = fs::read(&file) else { continue };
            for (number, bytes) in damages(&good).iter().enumerate() {
                let member = &mut cluster.members[0];
                let what = format!("{} damaged in way {number}", file.display());
                let outcome = damaged(member, &file, bytes).with_context(|| what.clone())?;
                // An empty settings file means defaults.
                let is_settings = file.ends_with("local.conf") && bytes.is_empty();
                if let Some(expected) = expected.filter(|_| !is_settings) {
                    ensure!(outcome == expected, "{what}: unexpected outcome");
                }
                if outcome == Outcome::Recovers {
                    ensure!(member.status()?["address"] == address.as_str(), "{what}: another identity");
                    // With the planet damaged it may run on other roots; that it is joined is what must survive.
                    tool::wait_for("the network", LIMIT, Duration::from_millis(20), || {
                        member.network(&network)
                    })
                    .with_context(|| format!("{what}: the network is no longer joined"))?;
                    member.stop()?;
                }
                fs::write(&file, &good)?;
            }
        }
        comes_back(cluster, 0)
    });
}

/// The controller's database: either all networks and members are there, or the daemon says what is wrong and where.
#[test]
fn a_damaged_controller_database() {
    testing::run("a_damaged_controller_database", &Plan::new().cloud("aws").cloud("gcp"), |cluster| {
        cluster.ping(0, 1, LIMIT)?;
        let file = cluster.root.home().join("controller.d/controller.sqlite");
        cluster.root.stop()?;
        let good = fs::read(&file).context("the controller's database")?;
        let path = format!("/controller/network/{}", cluster.network);
        for (number, bytes) in damages(&good).iter().enumerate() {
            let what = format!("the database damaged in way {number}");
            if damaged(&mut cluster.root, &file, bytes).with_context(|| what.clone())? == Outcome::Recovers {
                for member in &cluster.members {
                    let record =
                        cluster.root.request("GET", &format!("{path}/member/{}", member.address), None)?;
                    // A reported error is no silent loss.
                    ensure!(
                        record.status == 500 || record.body["authorized"] == true,
                        "{what}: {} was forgotten: {record:?}",
                        member.name()
                    );
                }
                cluster.root.stop()?;
            }
            for leftover in ["controller.sqlite-wal", "controller.sqlite-shm"] {
                // Mostly there is none.
                let _ = fs::remove_file(file.with_file_name(leftover));
            }
            fs::write(&file, &good)?;
        }
        cluster.root.start()?;
        cluster.root.wait_ready()?;
        cluster.members[0].stop()?;
        comes_back(cluster, 0)
    });
}

/// A busy root knows thousands, each of whose identities once took a hash of 20 ms to check.
#[test]
fn a_root_with_ten_thousand_records_of_peers_is_up_without_checking_them_again() {
    const COUNT: u64 = 10_000;
    let plan = Plan::new().cloud("aws");
    testing::run(
        "a_root_with_ten_thousand_records_of_peers_is_up_without_checking_them_again",
        &plan,
        |cluster| {
            cluster.root.stop()?;
            let home = cluster.root.home().to_owned();
            let verified = home.join("identities.verified");
            let mut digests = fs::read(&verified).unwrap_or_else(|_| b"ztnodeV1".to_vec());
            fs::create_dir_all(home.join("peers.d"))?;
            for number in 0..COUNT {
                let mut public = [0x5a; 64];
                public[..8].copy_from_slice(&number.to_be_bytes());
                let identity = Identity { address: Address::from_u64(0x20_0000_0000 + number), public };
                // Format 2, version 13 of the protocol, 1.14.1, no paths.
                let mut record = vec![2];
                identity.write(&mut record);
                record.extend([0, 13, 0, 1, 0, 14, 0, 1, 0, 0]);
                fs::write(home.join(format!("peers.d/{}.peer", identity.address)), record)?;
                digests.extend_from_slice(&identity.hash384()[..32]);
            }
            fs::write(&verified, digests)?;
            let begun = Instant::now();
            cluster.root.start()?;
            cluster.root.wait_ready()?;
            let ready = begun.elapsed();
            // Checked by hashes they would take over three minutes.
            tool::wait_for("all peers", Duration::from_secs(60), Duration::from_millis(50), || {
                let peers = cluster.root.get("/peer")?;
                Ok(peers.as_array().is_some_and(|peers| peers.len() as u64 >= COUNT).then_some(()))
            })?;
            testing::say(&format!(
                "answers after {ready:?}, {COUNT} peers restored after {:?}",
                begun.elapsed()
            ));
            cluster.members[0].wait_ready()
        },
    );
}
