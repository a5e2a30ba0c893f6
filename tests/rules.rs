//! Flow rules in force: copies to an observer, drops, tags, capabilities, and changes that reach members at once.

use std::net::IpAddr;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use lab::rules::{self, Example, Observed};
use lab::tap::{Seen, Tap};
use lab::{Access, Cluster, NatKind, Plan, Seat, testing, tool, traffic};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(10);
/// The promise: from the request to the controller until every member applies it.
const PUSH_LIMIT: Duration = Duration::from_secs(1);

/// Two clouds and an observer that never asked for more than to listen.
fn tapped() -> Plan {
    Plan::new().cloud("aws").cloud("gcp").member("observer", Seat::Ours, Access::Public)
}

const A: usize = 0;
const B: usize = 1;
const OBSERVER: usize = 2;

fn device(cluster: &Cluster, index: usize) -> Result<String> {
    cluster.members[index].device(&cluster.network)
}

fn tap(cluster: &Cluster, filter: &str) -> Result<Tap> {
    let observer = &cluster.members[OBSERVER];
    Tap::start_fields(&observer.host.namespace, &device(cluster, OBSERVER)?, filter)
}

/// Everybody knows everybody: identities, certificates, neighbour tables.
fn acquainted(cluster: &Cluster) -> Result<()> {
    let count = cluster.members.len();
    for from in 0..count {
        for to in (0..count).filter(|to| *to != from) {
            cluster.ping(from, to, Duration::from_secs(20))?;
        }
    }
    Ok(())
}

fn set(cluster: &Cluster, example: Example) -> Result<()> {
    let took = cluster.set_rules(&example.source(&cluster.members[OBSERVER].address))?;
    testing::say(&format!("{}: in force everywhere after {} ms", example.file, took.as_millis()));
    ensure!(took < PUSH_LIMIT, "{} took {took:?} to reach all members", example.file);
    Ok(())
}

fn ping_once(cluster: &Cluster, from: usize, to: usize) -> Result<bool> {
    let namespace = &cluster.members[from].host.namespace;
    Ok(traffic::ping(namespace, IpAddr::V4(cluster.fixed(to)), Duration::from_secs(1))?.is_some())
}

fn count(seen: &[Seen], info: &str) -> usize {
    seen.iter().filter(|frame| frame.info.contains(info)).count()
}

/// What the observer must see of one ping.
fn observed(
    cluster: &Cluster,
    from: usize,
    to: usize,
    (requests, replies, answered): (usize, usize, bool),
) -> Result<()> {
    cluster.expect_observed(OBSERVER, from, to, Observed::new(requests, replies, answered))
}

#[test]
fn an_observer_sees_what_the_rules_say() {
    testing::run("an_observer_sees_what_the_rules_say", &tapped(), |cluster| {
        acquainted(cluster)?;
        let interface = |cluster: &Cluster| -> Result<Vec<Value>> {
            let card = |index: usize| {
                let namespace = &cluster.members[index].host.namespace;
                let text = namespace.run("ip", &["-j", "link", "show", "dev", &device(cluster, index)?])?;
                Ok(serde_json::from_str::<Value>(&text)?[0]["ifindex"].clone())
            };
            (0..cluster.members.len()).map(card).collect()
        };
        let before = interface(cluster)?;
        observed(cluster, A, B, (0, 0, true)).context("without a rule nothing is copied")?;
        for (example, requests, replies, answered) in [
            (rules::TEE, 2, 2, true),
            (rules::WATCH, 1, 1, true),
            (rules::BOTH, 2, 2, true),
            (rules::REDIRECT, 1, 0, false),
            (rules::REDIRECT_INBOUND, 1, 0, false),
            (rules::TEE, 2, 2, true),
        ] {
            set(cluster, example)?;
            for (from, to) in [(A, B), (B, A)] {
                observed(cluster, from, to, (requests, replies, answered)).context(example.file)?;
            }
        }
        // Of what concerns the observer itself there are no copies: one request, one reply, whichever end it is.
        observed(cluster, A, OBSERVER, (1, 1, true)).context("of the observer")?;
        observed(cluster, OBSERVER, B, (1, 1, true)).context("by the observer")?;
        ensure!(interface(cluster)? == before, "a change of rules must not touch the interfaces");
        Ok(())
    });
}

#[test]
fn address_resolution_is_copied_too() {
    testing::run("address_resolution_is_copied_too", &tapped(), |cluster| {
        acquainted(cluster)?;
        set(cluster, rules::TEE)?;
        for index in [A, B] {
            let device = device(cluster, index)?;
            cluster.members[index].host.namespace.run("ip", &["neigh", "flush", "dev", &device])?;
        }
        let tap = tap(cluster, "arp or icmp")?;
        ensure!(ping_once(cluster, A, B)?, "no answer");
        let seen = tap.frames(8, LIMIT)?;
        let (a, b) = (cluster.fixed(A), cluster.fixed(B));
        let asked: Vec<&Seen> =
            seen.iter().filter(|f| f.info.contains(&format!("Who has {b}? Tell {a}"))).collect();
        ensure!(asked.len() == 2, "the question leaves once and arrives once: {seen:#?}");
        ensure!(asked.iter().all(|frame| frame.destination == "ff:ff:ff:ff:ff:ff"), "{asked:?}");
        ensure!(count(&seen, &format!("{b} is at")) == 2, "the answer: {seen:#?}");
        ensure!(count(&seen, "request  id") == 2 && count(&seen, "reply  ") == 2, "the ping: {seen:#?}");
        Ok(())
    });
}

/// Pings 50 times a second until dropped; what it prints has a time of day in each line.
struct Flow(Child);

impl Flow {
    fn start(cluster: &Cluster, from: usize, to: usize) -> Result<Self> {
        let mut command = cluster.members[from].host.namespace.command("ping");
        command.args(["-n", "-D", "-i", "0.02", "-W", "1", &cluster.fixed(to).to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        Ok(Self(command.spawn()?))
    }

    /// Ends it and tells when each answer came, seconds since the epoch.
    fn answers(mut self) -> Result<Vec<f64>> {
        self.0.kill()?;
        let mut text = String::new();
        let mut stdout = self.0.stdout.take().context("ping has a standard output")?;
        std::io::Read::read_to_string(&mut stdout, &mut text)?;
        self.0.wait()?;
        let time = |line: &str| line.strip_prefix('[')?.split(']').next()?.parse().ok();
        Ok(text.lines().filter(|line| line.contains("time=")).filter_map(time).collect())
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        // It is gone already when its answers were asked for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn clock() -> Result<f64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64())
}

#[test]
fn a_running_flow_is_tapped_within_a_second() {
    testing::run("a_running_flow_is_tapped_within_a_second", &tapped(), |cluster| {
        acquainted(cluster)?;
        let flow = Flow::start(cluster, A, B)?;
        let tap = tap(cluster, "icmp")?;
        let posted = clock()?;
        set(cluster, rules::TEE)?;
        let first = tap.next(LIMIT)?;
        let after = first.at - posted;
        testing::say(&format!("the first copy came {:.0} ms after the change was posted", after * 1000.0));
        ensure!((0.0..1.0).contains(&after), "the first copy came after {after} s");
        let posted = clock()?;
        set(cluster, rules::REDIRECT)?;
        // The flow ends with the change and not before.
        ensure!(!ping_once(cluster, A, B)?, "it should be redirected");
        let answers = flow.answers()?;
        let last = answers.last().context("no answers")? - posted;
        testing::say(&format!("the last answer came {:.0} ms after the flow was redirected", last * 1000.0));
        ensure!(last < 1.0, "answers came for {last} s");
        let gap = answers.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max);
        ensure!(gap < 0.5, "the change of rules held the flow up for {gap} s");
        Ok(())
    });
}

/// An ethertype that is free for experiments.
const ODD: u16 = 0x88b5;

fn mac(cluster: &Cluster, index: usize) -> Result<Vec<u8>> {
    let text = cluster.members[index].mac(&cluster.network)?;
    Ok(text.split(':').map(|octet| u8::from_str_radix(octet, 16)).collect::<Result<_, _>>()?)
}

/// How many of three frames of that ethertype get from A to B.
fn odd_frames(cluster: &Cluster, expected: usize) -> Result<usize> {
    let to = &cluster.members[B];
    let tap = Tap::start_fields(&to.host.namespace, &device(cluster, B)?, &format!("ether proto {ODD}"))?;
    let mut frame = [mac(cluster, B)?, mac(cluster, A)?].concat();
    frame.extend(ODD.to_be_bytes());
    frame.extend([7; 46]);
    for _ in 0..3 {
        traffic::ethernet(&cluster.members[A].host.namespace, &device(cluster, A)?, &frame)?;
    }
    Ok(tap.frames(expected, LIMIT)?.len())
}

#[test]
fn only_the_listed_ethertypes_pass() {
    testing::run("only_the_listed_ethertypes_pass", &Plan::new().cloud("aws").cloud("gcp"), |cluster| {
        acquainted(cluster)?;
        ensure!(odd_frames(cluster, 3)? == 3, "a network that accepts all carries any ethertype");
        let source = "drop not ethertype ipv4 and not ethertype arp and not ethertype ipv6;\naccept;\n";
        ensure!(cluster.set_rules(source)? < PUSH_LIMIT);
        ensure!(odd_frames(cluster, 0)? == 0, "it is not listed");
        ensure!(ping_once(cluster, A, B)?, "IPv4 is");
        cluster.ping6(A, B, LIMIT).context("IPv6 is")?;
        cluster.set_rules("accept;")?;
        ensure!(odd_frames(cluster, 3)? == 3, "and back");
        Ok(())
    });
}

#[test]
fn a_bad_source_leaves_the_old_rules_in_force() {
    testing::run("a_bad_source_leaves_the_old_rules_in_force", &tapped(), |cluster| {
        acquainted(cluster)?;
        set(cluster, rules::WATCH)?;
        let before = cluster.record()?;
        let path = format!("/controller/network/{}", cluster.network);
        let body =
            json!({"name": "renamed", "rulesSource": "drop\n\tethertype ipv4\n\tand dprot 80\n;\naccept;\n"});
        let reply = cluster.controller().request("POST", &path, Some(&body))?;
        ensure!(reply.status == 400, "{reply:?}");
        ensure!(reply.body["message"] == "Unrecognized match type \"dprot\".", "{}", reply.body);
        ensure!((&reply.body["line"], &reply.body["column"]) == (&json!(3), &json!(6)), "{}", reply.body);
        ensure!(
            reply.body["sourceLine"] == "\tand dprot 80" && reply.body["word"] == "dprot",
            "{}",
            reply.body
        );
        ensure!(cluster.record()? == before, "nothing of a refused request is applied, not even the name");
        observed(cluster, A, B, (1, 1, true)).context("the old rules are in force")?;
        Ok(())
    });
}

/// The line of an example on which a statement starts.
fn line(example: Example, statement: &str) -> Result<u64> {
    let source = example.source("");
    let at = source.lines().position(|line| line.trim_start().starts_with(statement));
    Ok(at.with_context(|| format!("{} has no `{statement}`", example.file))? as u64 + 1)
}

/// `ztnode-cli rules explain` at A must say `what` and name the line of the statement.
fn explained(cluster: &Cluster, example: Example, packet: &str, what: &str, statement: &str) -> Result<()> {
    let output = cluster.members[A].cli(&["rules", "explain", &cluster.network, packet])?;
    let by = format!("by line {}", line(example, statement)?);
    let found = output.lines().any(|said| {
        said.contains(what)
            && (said.ends_with(&by) || said.contains(&format!("{by} ")) || said.contains(&format!("{by}:")))
    });
    ensure!(found, "{}, {packet}: `{what} … {by}` is not said:\n{output}", example.file);
    Ok(())
}

/// Watches the live trace at A until it shows a packet that `wanted` accepts, calling `stimulus` again and again.
fn traced(
    cluster: &Cluster,
    what: &str,
    mut stimulus: impl FnMut() -> Result<()>,
    wanted: impl Fn(&Value) -> bool,
) -> Result<()> {
    let mut command = cluster.members[A].cli_command(&["rules", "trace", &cluster.network, "-j"])?;
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    let mut tracer = Flow(command.spawn()?);
    let output = std::io::BufReader::new(tracer.0.stdout.take().context("it has a standard output")?);
    let (send, lines) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        std::io::BufRead::lines(output).map_while(Result::ok).try_for_each(|line| send.send(line))
    });
    let (start, mut seen) = (Instant::now(), String::new());
    while start.elapsed() < LIMIT {
        stimulus()?;
        while let Ok(line) = lines.recv_timeout(Duration::from_millis(100)) {
            if wanted(&serde_json::from_str(&line)?) {
                return Ok(());
            }
            seen.push_str(&format!("{line}\n"));
        }
    }
    anyhow::bail!("no such packet was traced: {what}\n{seen}")
}

#[test]
fn explain_and_trace_name_the_line_of_every_action() {
    testing::run("explain_and_trace_name_the_line_of_every_action", &tapped(), |cluster| {
        acquainted(cluster)?;
        let (a, b) = (cluster.fixed(A), cluster.fixed(B));
        let macs = (cluster.members[A].mac(&cluster.network)?, cluster.members[B].mac(&cluster.network)?);
        let ping = format!("icmp {a} > {b} echo-request");
        let odd = format!("ether {ODD:#x} {} > {}", macs.0, macs.1);
        let pinging = || ping_once(cluster, A, B).map(drop);
        let drop_statement = "drop not ethertype";

        set(cluster, rules::TEE)?;
        explained(cluster, rules::TEE, &odd, "dropped", drop_statement)?;
        explained(cluster, rules::TEE, &ping, "copied", "tee ")?;
        explained(cluster, rules::TEE, &ping, "accepted", "accept;")?;
        let (tee, accept) = (line(rules::TEE, "tee ")?, line(rules::TEE, "accept;")?);
        traced(cluster, "tee and accept", pinging, |packet| {
            packet["direction"] == "out"
                && packet["etherType"] == 0x800
                && (&packet["accept"], &packet["line"]) == (&json!("accept"), &json!(accept))
                && packet["copies"][0]["line"] == tee
        })?;
        let dropped = line(rules::TEE, drop_statement)?;
        let frame = [mac(cluster, B)?, mac(cluster, A)?, ODD.to_be_bytes().to_vec(), vec![7; 46]].concat();
        let device = device(cluster, A)?;
        let namespace = &cluster.members[A].host.namespace;
        let sending = || traffic::ethernet(namespace, &device, &frame);
        traced(cluster, "drop", sending, |packet| {
            packet["etherType"] == ODD && packet["accept"] == "drop" && packet["line"] == dropped
        })?;

        set(cluster, rules::WATCH)?;
        explained(cluster, rules::WATCH, &ping, "watched", "watch ")?;
        let watch = line(rules::WATCH, "watch ")?;
        traced(cluster, "watch", pinging, |packet| {
            let copy = &packet["copies"][0];
            packet["direction"] == "in" && copy["watch"] == true && copy["line"] == watch
        })?;

        for example in [rules::REDIRECT, rules::REDIRECT_INBOUND] {
            set(cluster, example)?;
            explained(cluster, example, &ping, "redirected", "redirect ")?;
        }
        set(cluster, rules::REDIRECT)?;
        let redirect = line(rules::REDIRECT, "redirect ")?;
        let observer = json!(cluster.members[OBSERVER].address);
        traced(cluster, "redirect", pinging, |packet| {
            packet["direction"] == "out" && packet["redirect"] == observer && packet["line"] == redirect
        })?;

        set(cluster, rules::SEGMENTS)?;
        let arp = format!("arp who-has {b} tell {a}");
        explained(cluster, rules::SEGMENTS, &arp, "accepted", "accept ethertype arp")?;
        explained(cluster, rules::SEGMENTS, &ping, "accepted", "accept tdiff")?;

        cluster.set_capabilities(A, &[rules::WEB_CLIENT])?;
        set(cluster, rules::CAPABILITY)?;
        let capability = line(rules::CAPABILITY, "accept ipprotocol tcp and dport 80")?;
        let syn = format!("tcp {a}:40000 > {b}:80 syn");
        explained(cluster, rules::CAPABILITY, &syn, "accepted", "accept ipprotocol tcp and dport 80")?;
        explained(cluster, rules::CAPABILITY, &ping, "accepted", "accept ipprotocol icmp4")?;
        let connecting = || cluster.connects(A, B).map(drop);
        traced(cluster, "accept in the capability", connecting, |packet| {
            packet["entry"]["capability"] == rules::WEB_CLIENT && packet["line"] == capability
        })
    });
}

const SALES: u32 = 1;
const ENGINEERING: u32 = 2;

#[test]
fn departments_are_kept_apart_by_tags() {
    let plan = tapped().member("laptop", Seat::Ours, Access::Nat(NatKind::FullCone));
    testing::run("departments_are_kept_apart_by_tags", &plan, |cluster| {
        const LAPTOP: usize = 3;
        acquainted(cluster)?;
        cluster.set_tags(A, &[(rules::DEPARTMENT, SALES)])?;
        cluster.set_tags(B, &[(rules::DEPARTMENT, SALES)])?;
        cluster.set_tags(OBSERVER, &[(rules::DEPARTMENT, ENGINEERING), (rules::SERVICE, 1)])?;
        set(cluster, rules::SEGMENTS)?;
        // The laptop was given nothing: it has the defaults.
        let (web, others) = (OBSERVER, [A, B, LAPTOP]);
        ensure!(ping_once(cluster, A, B)? && ping_once(cluster, B, A)?, "the same department");
        for other in others {
            ensure!(
                !ping_once(cluster, other, web)? && !ping_once(cluster, web, other)?,
                "{other} and the server"
            );
            ensure!(cluster.connects(other, web)?, "the page is for everybody, also for {other}");
            ensure!(!cluster.connects(web, other)?, "nobody else serves pages, nor does {other}");
        }
        ensure!(!ping_once(cluster, A, LAPTOP)? && !ping_once(cluster, LAPTOP, A)?, "a visitor");

        // B moves to engineering while it is being pinged by A.
        let flow = Flow::start(cluster, A, B)?;
        tool::wait_for("the flow", LIMIT, Duration::from_millis(20), || {
            Ok(ping_once(cluster, A, B)?.then_some(()))
        })?;
        let moved = clock()?;
        cluster.set_tags(B, &[(rules::DEPARTMENT, ENGINEERING)])?;
        let start = Instant::now();
        cluster.ping(B, web, LIMIT)?;
        let opened = start.elapsed();
        ensure!(
            traffic::pings(
                &cluster.members[A].host.namespace,
                IpAddr::V4(cluster.fixed(B)),
                20,
                Duration::from_millis(50)
            )? == 0
        );
        let last = flow.answers()?.last().context("no answers")? - moved;
        testing::say(&format!(
            "tag change: the old flow was cut after {:.0} ms, the new one open after {} ms",
            last * 1000.0,
            opened.as_millis()
        ));
        ensure!(last < 1.0, "the flow lived on for {last} s");
        ensure!(opened < Duration::from_secs(1), "engineering opened after {opened:?}");
        ensure!(!ping_once(cluster, B, A)?, "the way back is closed as well");
        Ok(())
    });
}

#[test]
fn a_capability_lets_its_holder_connect() {
    testing::run("a_capability_lets_its_holder_connect", &tapped(), |cluster| {
        acquainted(cluster)?;
        ensure!(cluster.connects(A, B)?, "before there are rules");
        set(cluster, rules::CAPABILITY)?;
        ensure!(ping_once(cluster, A, B)?, "everybody pings");
        ensure!(!cluster.connects(A, B)? && !cluster.connects(B, A)?, "nobody holds it yet");
        cluster.set_capabilities(A, &[rules::WEB_CLIENT])?;
        let start = Instant::now();
        tool::wait_for("the holder to connect", LIMIT, Duration::from_millis(10), || {
            Ok(cluster.connects(A, B)?.then_some(()))
        })?;
        testing::say(&format!("granted: open after {} ms", start.elapsed().as_millis()));
        ensure!(!cluster.connects(B, A)?, "the other does not hold it");
        cluster.set_capabilities(A, &[])?;
        let start = Instant::now();
        tool::wait_for("the former holder to be refused", LIMIT, Duration::from_millis(10), || {
            Ok((!cluster.connects(A, B)?).then_some(()))
        })?;
        ensure!(start.elapsed() < Duration::from_secs(3), "taken away after {:?}", start.elapsed());
        Ok(())
    });
}
