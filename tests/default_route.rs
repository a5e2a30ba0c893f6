//! The machine's default route through a joined network: with every kind of reverse path filtering, with a list of addresses to
//! bind, and what is left on the machine afterwards.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::{Access, Cluster, NatKind, Plan, Seat, testing, tool, traffic};
use serde_json::json;

const LIMIT: Duration = Duration::from_secs(20);
const STEP: Duration = Duration::from_millis(50);

/// Member 0 leads into the internet, member 1 uses it.
fn plan() -> Plan {
    Plan::new()
        .network(json!({"routes": [{"target": "10.0.0.0/16"}, {"target": "0.0.0.0/0", "via": "10.0.1.1"}]}))
        .member("exit", Seat::Ours, Access::Public)
        .member("user", Seat::Ours, Access::Nat(NatKind::PortRestricted))
}

fn open_exit(cluster: &Cluster) -> Result<()> {
    let exit = &cluster.members[0].host.namespace;
    exit.run("sysctl", &["-qw", "net.ipv4.ip_forward=1"])?;
    exit.nft(
        "table ip nat {\n  chain post {\n    type nat hook postrouting priority 100;\n    oifname \"eth0\" masquerade\n  }\n}\n",
    )
}

fn allow(cluster: &Cluster, yes: bool) -> Result<()> {
    cluster.members[1].post(&format!("/network/{}", cluster.network), &json!({"allowDefault": yes}))?;
    Ok(())
}

/// The policy rules that are not the kernel's own, of both families.
fn rules(cluster: &Cluster) -> Result<Vec<String>> {
    let user = &cluster.members[1].host.namespace;
    let shown = user.run("ip", &["rule"])? + &user.run("ip", &["-6", "rule"])?;
    let own = ["from all lookup local", "from all lookup main", "from all lookup default"];
    let others = shown.lines().filter(|line| !own.iter().any(|own| line.trim_end().ends_with(own)));
    Ok(others.map(str::to_owned).collect())
}

/// What the node's table holds.
fn table(cluster: &Cluster) -> Result<String> {
    let shown = cluster.members[1].host.namespace.said("ip", &["route", "show", "table", "9993"])?;
    Ok(shown.stdout)
}

/// Nothing of ours is left.
fn clean(cluster: &Cluster, when: &str) -> Result<()> {
    tool::wait_for(&format!("policy rules to be gone {when}"), LIMIT, STEP, || {
        Ok((rules(cluster)?.is_empty() && table(cluster)?.is_empty()).then_some(()))
    })
}

/// The internet is reached by member 0, and stays so.
fn leads_out(cluster: &Cluster, how: &str) -> Result<()> {
    let (user, server) = (&cluster.members[1].host.namespace, cluster.root.host.public);
    let way = || user.run("ip", &["route", "get", &server.to_string()]);
    tool::wait_for(&format!("the default route, {how}"), LIMIT, STEP, || {
        Ok(way()?.contains(" dev zt").then_some(()))
    })?;
    traffic::first_ping(user, IpAddr::V4(server), LIMIT).with_context(|| how.to_owned())?;
    let pings = traffic::pings(user, IpAddr::V4(server), 40, Duration::from_millis(100))?;
    ensure!(pings >= 36, "{how}: {pings} of 40 pings");
    ensure!(way()?.contains(" dev zt"), "{how}: the default route went away");
    ensure!(cluster.members[1].status()?["online"] == true, "{how}: offline");
    let path = cluster.members[1].path_to(&cluster.members[0].address)?;
    let exit = format!("{}/9993", cluster.members[0].host.public);
    ensure!(path.as_deref() == Some(&exit), "{how}: the path is {path:?}");
    Ok(())
}

#[test]
fn the_internet_by_a_member_whatever_is_filtered_and_bound() {
    testing::run("the_internet_by_a_member_whatever_is_filtered_and_bound", &plan(), |cluster| {
        open_exit(cluster)?;
        let user = cluster.members[1].host.namespace.clone();
        ensure!(rules(cluster)?.is_empty(), "{:?}", rules(cluster)?);
        for (filter, bind, count) in [
            ("1", json!([]), 2),
            ("1", json!(["192.168.1.10"]), 2),
            ("1", json!(["0.0.0.0"]), 4),
            ("2", json!(["192.168.1.10"]), 0),
            ("2", json!(["0.0.0.0"]), 2),
            ("0", json!([]), 0),
        ] {
            let how = format!("rp_filter={filter}, bind={bind}");
            for name in ["all", "eth0"] {
                user.run("sysctl", &["-qw", &format!("net.ipv4.conf.{name}.rp_filter={filter}")])?;
            }
            cluster.members[1].post("/config/settings", &json!({"bind": bind}))?;
            cluster.ping(1, 0, LIMIT).with_context(|| how.clone())?;
            allow(cluster, true)?;
            leads_out(cluster, &how)?;
            ensure!(rules(cluster)?.len() == count, "{how}: {:?}", rules(cluster)?);
            let copied = table(cluster)?.contains("default via 192.168.1.1 dev eth0");
            ensure!(copied == (count > 0), "{how}: {}", table(cluster)?);
            allow(cluster, false)?;
            clean(cluster, &format!("with allowDefault=0, {how}"))?;
        }
        let log = cluster.members[1].log_tail(400);
        ensure!(!log.contains("no root answers since"), "{log}");
        Ok(())
    });
}

#[test]
fn what_is_on_the_machine_is_kept_and_taken_away() {
    testing::run("what_is_on_the_machine_is_kept_and_taken_away", &plan(), |cluster| {
        open_exit(cluster)?;
        let user = cluster.members[1].host.namespace.clone();
        for name in ["all", "eth0"] {
            user.run("sysctl", &["-qw", &format!("net.ipv4.conf.{name}.rp_filter=1")])?;
        }
        user.ip("rule add pref 32765 from 192.0.2.9 lookup 77\n")?;
        cluster.members[1].post("/config/settings", &json!({"bind": ["0.0.0.0"]}))?;
        allow(cluster, true)?;
        leads_out(cluster, "beside a rule of somebody else")?;
        user.ip("rule del pref 32765 from 192.0.2.9 lookup 77\n")?;

        // Somebody removes a rule; the gateway changes.
        user.ip("rule del fwmark 0x7a/0xff lookup 9993\n")?;
        tool::wait_for("the rule to come back", LIMIT, STEP, || {
            Ok((rules(cluster)?.len() == 4).then_some(()))
        })?;
        user.ip("route replace default via 192.168.1.1 dev eth0 metric 50\n")?;
        tool::wait_for("the table to follow", LIMIT, STEP, || {
            Ok(table(cluster)?.contains("metric 50").then_some(()))
        })?;
        leads_out(cluster, "after changes")?;

        cluster.members[1].stop()?;
        ensure!(
            rules(cluster)?.is_empty() && table(cluster)?.is_empty(),
            "after the stop: {:?}",
            rules(cluster)?
        );
        cluster.members[1].start()?;
        cluster.members[1].wait_ready()?;
        leads_out(cluster, "after a restart")?;

        cluster.members[1].kill()?;
        ensure!(rules(cluster)?.len() == 4, "{:?}", rules(cluster)?);
        let settings = cluster.members[1].home().join(format!("networks.d/{}.local.conf", cluster.network));
        let text = std::fs::read_to_string(&settings)?.replace("allowDefault=1", "allowDefault=0");
        std::fs::write(&settings, text)?;
        cluster.members[1].start()?;
        cluster.members[1].wait_ready()?;
        ensure!(
            rules(cluster)?.is_empty() && table(cluster)?.is_empty(),
            "after kill -9: {:?}",
            rules(cluster)?
        );

        allow(cluster, true)?;
        leads_out(cluster, "once more")?;
        let reply = cluster.members[1].request("DELETE", &format!("/network/{}", cluster.network), None)?;
        ensure!(reply.status == 200, "{}", reply.status);
        clean(cluster, "after leaving")
    });
}

#[test]
fn a_default_route_that_costs_the_roots_is_taken_away() {
    testing::run("a_default_route_that_costs_the_roots_is_taken_away", &plan(), |cluster| {
        open_exit(cluster)?;
        let user = cluster.members[1].host.namespace.clone();
        let halves = || user.run("ip", &["route", "show", "0.0.0.0/1"]);
        // Packets of roots and members come no more.
        let deaf = "table ip deaf {\n  chain in {\n    type filter hook input priority 0;\n    iifname \"eth0\" udp dport 9993 drop\n  }\n}\n";
        user.nft(deaf)?;
        allow(cluster, true)?;
        tool::wait_for("the default route", LIMIT, STEP, || Ok((!halves()?.is_empty()).then_some(())))?;
        tool::wait_for("it to be taken away", Duration::from_secs(40), STEP, || {
            let said = cluster.members[1].log_tail(200).contains(
                "no root answers since a joined network has the default route: it is taken away, and tried again in 30 s",
            );
            Ok((said && halves()?.is_empty()).then_some(()))
        })?;
        clean(cluster, "after it was taken away")?;
        user.nft("delete table ip deaf\n")?;
        // Somebody who says it again need not wait for the end of the pause.
        allow(cluster, true)?;
        leads_out(cluster, "when the roots answer again")
    });
}
