//! `ztnode-cli migrate`: the home of a zerotier-one that was controller and member becomes ztnode's, and goes back.
//!
//! With `ZEROTIER_ONE` the home is made by that program. Without, it is the one in `fixtures/zerotier-one-home`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::cluster::JOIN_LIMIT;
use lab::{Cluster, Lab, Plan, Seat, testing, tool};
use serde_json::Value;

/// From a change at the controller to its effect at a member. A controller that has just started does not know who is
/// there; it tells members when they ask the next time, which they do about once a minute.
const EFFECT: Duration = Duration::from_secs(150);
/// The controller, in the plan of both tests.
const CONTROLLER: &str = "controller";

/// What a controller is there for: whom it lets in, under which addresses.
#[derive(Debug, PartialEq, Eq)]
struct Members(BTreeMap<String, (bool, Value, String)>);

impl Members {
    fn of(cluster: &Cluster) -> Result<Self> {
        let path = format!("/controller/network/{}/member", cluster.network);
        let list = cluster.controller().get(&path)?;
        let addresses = list.as_object().context("no list of members")?.keys();
        let read = |address: &String| -> Result<_> {
            let member = cluster.controller().get(&format!("{path}/{address}"))?;
            let identity = member["identity"].as_str().unwrap_or_default().to_owned();
            Ok((address.clone(), (member["authorized"] == true, member["ipAssignments"].clone(), identity)))
        };
        Ok(Self(addresses.map(read).collect::<Result<_>>()?))
    }
}

/// What the controller's own membership looks like to its machine.
fn membership(cluster: &Cluster) -> Result<[Value; 4]> {
    let network = cluster.controller().network(&cluster.network)?.context("not joined")?;
    let mut addresses: Vec<_> = network["assignedAddresses"].as_array().cloned().unwrap_or_default();
    addresses.sort_by_key(ToString::to_string);
    Ok([network["mac"].clone(), network["name"].clone(), addresses.into(), network["routes"].clone()])
}

/// Every file below a folder, with its content.
fn files(folder: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else {
            let content = fs::read(&path)?;
            found.insert(path, content);
        }
    }
    Ok(found)
}

/// Moves the stopped controller from the home `old` to a home of ours, and starts ztnode there.
fn move_over(cluster: &mut Cluster, old: &Path) -> Result<()> {
    let new = old.with_extension("new");
    let (from, to) = (old.display().to_string(), new.display().to_string());
    let words = ["migrate", "--from", &from, "--to", &to, "--with-tokens"];
    let before = files(old)?;
    let controller = cluster.controller.as_mut().context("invariant: the plan has a controller")?;
    let told = controller.cli(&[&words[..], &["--dry-run"]].concat())?;
    for part in ["identity.secret", "controller.d", &cluster.network, "To go back", "Nothing was changed"] {
        ensure!(told.contains(part), "a dry run does not tell of {part}:\n{told}");
    }
    ensure!(!new.exists(), "a dry run made {to}");
    ensure!(files(old)? == before, "a dry run changed {from}");
    let told = controller.cli(&words)?;
    ensure!(told.contains("systemctl enable --now zerotier-one"), "it does not say how to go back:\n{told}");
    ensure!(files(old)? == before, "the old home was changed");
    controller.seat_on(Seat::Ours, &new)?;
    controller.start()?;
    controller.wait_ready()
}

/// The controller serves: what is changed there arrives at a member.
fn serves(cluster: &Cluster) -> Result<()> {
    let path = format!("/controller/network/{}", cluster.network);
    cluster.controller().post(&path, &serde_json::json!({"name": "moved"}))?;
    tool::wait_for("the network's new name", EFFECT, Duration::from_millis(50), || {
        let network = cluster.members[0].network(&cluster.network)?.context("not joined")?;
        Ok((network["name"] == "moved").then_some(()))
    })
}

/// What a member reaches its controller's machine by.
fn ping_controller(cluster: &Cluster) -> Result<()> {
    let address = cluster.controller().ip4(&cluster.network)?;
    let namespace = &cluster.members[0].host.namespace;
    lab::traffic::first_ping(namespace, address.into(), JOIN_LIMIT).map(drop)
}

#[test]
fn a_controller_and_member_moves_over_and_back() {
    let plan = Plan::new().controller(Seat::Reference).cloud("aws").cloud("gcp");
    testing::run("a_controller_and_member_moves_over_and_back", &plan, |cluster| {
        let network = cluster.network.clone();
        // The controller's machine is a member as well, at an address from the pool.
        let address = cluster.controller().address.clone();
        let path = format!("/controller/network/{network}/member/{address}");
        cluster.controller().post(&path, &serde_json::json!({"authorized": true}))?;
        cluster.controller().join(&network)?;
        let controller = cluster.controller.as_mut().context("invariant: the plan has a controller")?;
        controller.wait_status(&network, "OK", JOIN_LIMIT)?;
        ping_controller(cluster)?;
        // One that is known and not let in any more.
        cluster.authorize(1, false)?;
        let (members, mine) = (Members::of(cluster)?, membership(cluster)?);
        ensure!(members.0.len() == 3, "{members:?}");

        let controller = cluster.controller.as_mut().context("invariant: the plan has a controller")?;
        let old = controller.home().to_owned();
        controller.stop()?;
        if let Some(folder) = std::env::var_os("ZTNODE_KEEP_HOME") {
            keep(cluster, Path::new(&folder))?;
        }
        move_over(cluster, &old)?;
        ensure!(cluster.controller().status()?["address"] == *address, "another address");
        ensure!(Members::of(cluster)? == members, "{:?}\nwas {members:?}", Members::of(cluster)?);
        let controller = cluster.controller.as_mut().context("invariant: the plan has a controller")?;
        controller.wait_status(&network, "OK", JOIN_LIMIT)?;
        ensure!(membership(cluster)? == mine, "{:?}\nwas {mine:?}", membership(cluster)?);
        ping_controller(cluster)?;
        serves(cluster)?;
        cluster.authorize(1, true)?;
        cluster.wait_joined(1)?;

        // Back again, as the tool says: the one is stopped, the other started on the home that nobody touched.
        let controller = cluster.controller.as_mut().context("invariant: the plan has a controller")?;
        controller.stop()?;
        controller.seat_on(Seat::Reference, &old)?;
        controller.start()?;
        controller.wait_ready()?;
        controller.wait_status(&network, "OK", JOIN_LIMIT)?;
        ensure!(Members::of(cluster)? == members, "{:?}\nwas {members:?}", Members::of(cluster)?);
        ensure!(membership(cluster)? == mine, "{:?}\nwas {mine:?}", membership(cluster)?);
        ping_controller(cluster)
    });
}

/// The folder of the home that is kept with these tests.
fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/zerotier-one-home")
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for (path, content) in files(from)? {
        let target = to.join(path.strip_prefix(from)?);
        fs::create_dir_all(target.parent().context("a file lies in a folder")?)?;
        fs::write(target, content)?;
    }
    Ok(())
}

/// Keeps the homes of a controller and of its first member as the fixture (see its README).
fn keep(cluster: &Cluster, folder: &Path) -> Result<()> {
    copy(cluster.controller().home(), &folder.join(CONTROLLER))?;
    for name in ["identity.secret", "identity.public"] {
        fs::create_dir_all(folder.join("member"))?;
        fs::copy(cluster.members[0].home().join(name), folder.join("member").join(name))?;
    }
    Ok(())
}

#[test]
fn a_home_that_zerotier_one_left_is_taken_over() {
    const NAME: &str = "a_home_that_zerotier_one_left_is_taken_over";
    if !testing::ready(NAME) {
        return;
    }
    if let Err(error) = lab::binaries::ours() {
        panic!("{NAME}: {error:#}");
    }
    let plan = Plan::new().controller(Seat::Ours).cloud("aws");
    let mut cluster = match Lab::new().and_then(|lab| plan.prepare(lab)) {
        Ok(cluster) => cluster,
        Err(error) => panic!("{NAME}: cannot start: {error:#}"),
    };
    if let Err(error) = take_fixture_over(&mut cluster) {
        panic!("{NAME}: {error:#}\n{}", cluster.report());
    }
}

fn take_fixture_over(cluster: &mut Cluster) -> Result<()> {
    // The node of the fixture, with this lab's root instead of the one it knew.
    let old = cluster.lab.dir().join("old");
    copy(&fixture().join(CONTROLLER), &old)?;
    fs::copy(cluster.root.home().join("planet"), old.join("planet"))?;
    let aws = cluster.members[0].home().to_owned();
    copy(&fixture().join("member"), &aws)?;
    cluster.members[0].seat_on(Seat::Ours, &aws)?;
    let records = old.join("controller.d/network");
    let mut records_of = fs::read_dir(&records)?.filter_map(Result::ok).map(|entry| entry.path());
    let record = records_of.find(|path| path.is_file()).context("a network of the fixture")?;
    cluster.network = record.file_stem().and_then(|name| name.to_str()).context("a name")?.to_owned();
    let network = cluster.network.clone();

    cluster.root.start()?;
    cluster.root.wait_ready()?;
    move_over(cluster, &old)?;
    let address = fs::read_to_string(old.join("identity.public"))?[..10].to_owned();
    ensure!(cluster.controller().status()?["address"] == *address, "another address");
    let members = Members::of(cluster)?;
    let mut of_files = fs::read_dir(records.join(&network).join("member"))?
        .map(|entry| {
            Ok(entry?.path().file_stem().and_then(|name| name.to_str()).unwrap_or_default().to_owned())
        })
        .collect::<Result<Vec<_>>>()?;
    of_files.sort();
    ensure!(members.0.keys().eq(&of_files), "{members:?} of {of_files:?}");
    let (authorized, addresses, _) = &members.0[&cluster.members[0].address];
    ensure!(*authorized && addresses[0] == "10.0.1.1", "{members:?}");
    let controller = cluster.controller.as_mut().context("invariant: the plan has a controller")?;
    controller.wait_status(&network, "OK", JOIN_LIMIT)?;
    cluster.members[0].start()?;
    cluster.members[0].wait_ready()?;
    cluster.members[0].join(&network)?;
    cluster.wait_joined(0)?;
    ping_controller(cluster)?;
    serves(cluster)
}
