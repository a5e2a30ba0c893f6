//! What two joined nodes with nothing to say send each other and their root, by verb.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use lab::capture::Capture;
use lab::{Access, Cluster, Daemon, Lab, Plan, Seat, binaries, tool, traffic};
use serde_json::{Map, Value, json};

use crate::report::render;

/// How long a pair may take to find each other.
const MEETING: Duration = Duration::from_secs(30);
/// What has to do with the beginning is over after this.
const QUIET: Duration = Duration::from_secs(75);
/// For how long packets are counted: whatever happens every two minutes does twice.
const COUNTED: Duration = Duration::from_secs(240);

/// Packets by verb.
type Verbs = BTreeMap<String, f64>;

/// Pairs with a root (and controller), as far as the programs are there; all at once.
///
/// # Errors
/// When one cannot be measured.
pub(crate) fn measure() -> Result<Vec<Value>> {
    use Seat::{Older, Ours, Reference};
    let mut pairs = vec![
        [Ours, Ours, Ours],
        [Older, Older, Older],
        [Ours, Ours, Reference],
        [Older, Older, Reference],
        [Reference; 3],
    ];
    pairs.retain(|seats| {
        seats.iter().all(|seat| match seat {
            Ours => true,
            Older => binaries::older().is_some(),
            Reference => binaries::reference().is_some(),
        })
    });
    std::thread::scope(|scope| {
        let threads: Vec<_> = pairs.into_iter().map(|seats| scope.spawn(move || pair(seats))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().map_err(|_| anyhow!("a measuring thread panicked"))?)
            .collect()
    })
}

/// Root, A and B.
fn pair([root, a, b]: [Seat; 3]) -> Result<Value> {
    let plan = Plan::new().root(root).member("a", a, Access::Public).member("b", b, Access::Public);
    let mut cluster = plan.prepare(Lab::new()?)?;
    for host in cluster.lab.hosts() {
        // Kernels look for routers on the virtual interface too, now and then for an hour.
        host.namespace.run("sysctl", &["-qw", "net.ipv6.conf.default.router_solicitations=0"])?;
    }
    if let Err(error) = cluster.start() {
        return Err(error.context(cluster.report()));
    }
    tool::wait_for("a direct pair", MEETING, Duration::from_millis(200), || {
        let direct = |from: usize, to: usize| -> Result<bool> {
            let address = cluster.fixed(to).into();
            traffic::ping(&cluster.members[from].host.namespace, address, Duration::from_secs(1))?;
            Ok(cluster.members[from].path_to(&cluster.members[to].address)?.is_some())
        };
        Ok((direct(0, 1)? && direct(1, 0)?).then_some(()))
    })?;
    std::thread::sleep(QUIET);
    let counts = || cluster.daemons().map(counted).collect::<Result<Vec<_>>>();
    let capture = Capture::start(&cluster.lab, &cluster.members[0].host)?;
    let (before, begin) = (counts()?, Instant::now());
    std::thread::sleep(COUNTED);
    let (after, minutes) = (counts()?, begin.elapsed().as_secs_f64() / 60.0);
    let datagrams = capture.finish()?;
    let [ours, theirs, roots] =
        [&cluster.members[0], &cluster.members[1], &cluster.root].map(|daemon| daemon.host.public);
    let seen = |x: Ipv4Addr, y: Ipv4Addr| {
        let of = datagrams.iter().filter(|datagram| datagram.from.0 == x && datagram.to.0 == y);
        let (packets, octets) =
            of.fold((0.0, 0.0), |(n, o), datagram| (n + 1.0, o + datagram.payload.len() as f64));
        json!({"packets": packets / minutes, "octets": octets / minutes})
    };
    ensure!(is_direct(&cluster)?, "the pair lost its direct way while it was idle");
    let rate = |daemon: usize, way: usize| -> Verbs {
        let (before, after) = (&before[daemon][way], &after[daemon][way]);
        after
            .iter()
            .map(|(verb, count)| (verb.clone(), (count - before.get(verb).copied().unwrap_or(0.0)) / minutes))
            .collect()
    };
    // What the members sent and the root did not get went from one to the other.
    let (at_root, mut between) = (rate(0, 0), rate(1, 1));
    for (verb, count) in rate(2, 1) {
        *between.entry(verb).or_default() += count;
    }
    for (verb, count) in &at_root {
        *between.entry(verb.clone()).or_default() -= count;
    }
    Ok(json!({
        "root": root.name(), "a": a.name(), "b": b.name(), "minutes": minutes,
        "between": written(&between), "toRoot": written(&at_root), "fromRoot": written(&rate(0, 1)),
        "datagrams": {"aToB": seen(ours, theirs), "bToA": seen(theirs, ours), "aToRoot": seen(ours, roots), "rootToA": seen(roots, ours)},
    }))
}

fn is_direct(cluster: &Cluster) -> Result<bool> {
    let path = |from: usize, to: usize| cluster.members[from].path_to(&cluster.members[to].address);
    Ok(path(0, 1)?.is_some() && path(1, 0)?.is_some())
}

/// What a node has got and sent since its start.
fn counted(daemon: &Daemon) -> Result<[Verbs; 2]> {
    let page = daemon.request("GET", "/metrics", None)?.text;
    let found = ["rx", "tx"].map(|way| verbs(&page, way));
    ensure!(!found[0].is_empty(), "{} does not count packets: {page}", daemon.name());
    Ok(found)
}

/// The samples of `zt_packet` in a page of metrics.
fn verbs(page: &str, way: &str) -> Verbs {
    let sample = |line: &str| -> Option<(String, f64)> {
        let (labels, value) = line.strip_prefix("zt_packet{")?.split_once('}')?;
        let label = |name: &str| {
            labels.split(',').find_map(|label| {
                Some(label.trim().strip_prefix(name)?.strip_prefix("=\"")?.trim_end_matches('"'))
            })
        };
        if label("direction")? != way {
            return None;
        }
        Some((label("packet_type")?.to_owned(), value.trim().parse().ok()?))
    };
    page.lines().filter_map(sample).collect()
}

/// Those that there were.
fn written(verbs: &Verbs) -> Value {
    let there = verbs.iter().filter(|(_, count)| count.abs() > 0.01);
    Value::Object(there.map(|(verb, count)| (verb.clone(), json!(count))).collect::<Map<_, _>>())
}

/// Two tables: what goes over the wire a minute, and by which verbs.
pub(crate) fn tables(list: &[Value]) -> String {
    let mut wire =
        vec![["A", "B", "root", "A to B", "B to A", "A to root", "root to A"].map(str::to_owned).to_vec()];
    let mut verbs = vec![
        ["A", "B", "between A and B", "A and B to the root", "the root to them"].map(str::to_owned).to_vec(),
    ];
    for pair in list {
        let text = |key: &str| pair[key].as_str().unwrap_or_default().to_owned();
        let datagrams = |way: &str| {
            let number = |key: &str| pair["datagrams"][way][key].as_f64().unwrap_or_default();
            format!("{:.1} ({:.0})", number("packets"), number("octets"))
        };
        let shown = |key: &str| {
            let mut all: Vec<(&String, f64)> = pair[key]
                .as_object()
                .into_iter()
                .flatten()
                .filter_map(|(verb, count)| Some((verb, count.as_f64()?)))
                .collect();
            all.sort_by(|a, b| b.1.total_cmp(&a.1));
            let list: Vec<String> = all
                .iter()
                .filter(|(_, count)| *count >= 0.05)
                .map(|(verb, count)| format!("{verb} {count:.1}"))
                .collect();
            if list.is_empty() { "–".to_owned() } else { list.join(", ") }
        };
        let ways = ["aToB", "bToA", "aToRoot", "rootToA"].map(datagrams);
        wire.push([vec![text("a"), text("b"), text("root")], ways.to_vec()].concat());
        verbs.push(
            [vec![text("a"), text("b")], ["between", "toRoot", "fromRoot"].map(shown).to_vec()].concat(),
        );
    }
    format!(
        "Datagrams a minute (octets) on the wire of an idle pair:\n\n{}\nPackets a minute by verb, both ways between the two together:\n\n{}",
        render(&wire),
        render(&verbs)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_read_whatever_the_order_of_their_labels() {
        let page = "# HELP zt_packet x\nzt_packet{packet_type=\"hello\",direction=\"rx\"} 5\n\
                    zt_packet{direction=\"rx\",packet_type=\"ok\"} 7\nzt_packet{direction=\"tx\",packet_type=\"ok\"} 9\n\
                    zt_packet_error{error_type=\"x\",direction=\"rx\"} 1\n";
        assert_eq!(verbs(page, "rx"), Verbs::from([("hello".to_owned(), 5.0), ("ok".to_owned(), 7.0)]));
        assert_eq!(verbs(page, "tx"), Verbs::from([("ok".to_owned(), 9.0)]));
    }

    #[test]
    fn the_tables_say_what_there_was() {
        let way = json!({"packets": 3.25, "octets": 200.0});
        let pair = json!({"root": "ztnode", "a": "ztnode", "b": "ztnode", "between": {"echo": 4.0, "ok": 0.01}, "toRoot": {"hello": 2.0},
                          "datagrams": {"aToB": way}});
        let text = tables(&[pair]);
        assert!(
            text.contains("| 3.2 (200) ") && text.contains("| echo 4.0 ") && text.contains("| hello 2.0 "),
            "{text}"
        );
    }
}
