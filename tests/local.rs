//! What is near: users of this machine, their browsers, and a disk that is full.

use std::fs::{self, File};
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::{Access, Cluster, Lab, Plan, Seat, testing};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(10);
/// What an answer by the socket may take, whatever happens at the TCP port.
const AT_ONCE: Duration = Duration::from_millis(100);
const NETWORK: &str = "1c33c1ced07ac85d";

fn api(last: u8) -> SocketAddr {
    (Ipv4Addr::new(127, 0, 0, last), lab::daemon::PORT).into()
}

/// The whole answer to a request, and its status.
fn answer(mut stream: impl std::io::Read + std::io::Write, request: &str) -> Result<(u16, String)> {
    stream.write_all(request.as_bytes())?;
    let mut said = Vec::new();
    // A server that refuses may close before it has read everything.
    let _ = stream.read_to_end(&mut said);
    let said = String::from_utf8_lossy(&said).into_owned();
    let status = said.split(' ').nth(1).with_context(|| format!("no answer: {said:?}"))?.parse()?;
    Ok((status, said))
}

fn by_tcp(request: &str) -> Result<(u16, String)> {
    let stream = TcpStream::connect_timeout(&api(1), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    answer(stream, request)
}

/// How long the slowest of some answers by the Unix socket takes.
fn slowest_by_socket(socket: &Path) -> Result<Duration> {
    let mut slowest = Duration::ZERO;
    for _ in 0..20 {
        let begun = Instant::now();
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let (status, said) =
            answer(stream, "GET /status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        ensure!(status == 200, "{said}");
        slowest = slowest.max(begun.elapsed());
    }
    Ok(slowest)
}

fn crowd(cluster: &mut Cluster) -> Result<()> {
    let node = &cluster.members[0];
    let socket = node.home().join("ztnode.sock");
    let token = fs::read_to_string(node.home().join("authtoken.secret"))?;
    let with_token = format!(
        "GET /status HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nX-ZT1-Auth: {}\r\n\r\n",
        token.trim()
    );
    node.host.namespace.inside(|| -> Result<()> {
        let quiet = slowest_by_socket(&socket)?;

        // More than there is room for, and not a word from any of them.
        let idle: Vec<TcpStream> = (0..200).map(|_| TcpStream::connect(api(1))).collect::<Result<_, _>>()?;
        let crowded = slowest_by_socket(&socket)?;
        let begun = Instant::now();
        ensure!(by_tcp(&with_token)?.0 == 200, "the token does not help");
        let tcp = begun.elapsed();
        drop(idle);

        // The same without an end, half of them in the middle of a head.
        let (stop, made) = (AtomicBool::new(false), AtomicU64::new(0));
        let (flooded, tcp_flooded) = std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut open = std::collections::VecDeque::new();
                while !stop.load(Ordering::Relaxed) {
                    let Ok(mut stream) = TcpStream::connect(api(1)) else { continue };
                    // What was ended already is replaced.
                    let _ = stream.write_all(b"GET /health HTTP/1.1\r\nHost: ");
                    open.push_back(stream);
                    if open.len() > 300 {
                        open.pop_front();
                    }
                    made.fetch_add(1, Ordering::Relaxed);
                }
            });
            let measured = slowest_by_socket(&socket).and_then(|slowest| {
                let begun = Instant::now();
                let (status, said) = by_tcp(&with_token)?;
                ensure!(status == 200, "{said}");
                Ok((slowest, begun.elapsed()))
            });
            stop.store(true, Ordering::Relaxed);
            measured
        })?;
        testing::say(&format!(
            "the socket's slowest of 20 answers: {quiet:?} alone, {crowded:?} beside 200 idle TCP connections, {flooded:?} \
             beside {} new ones; by TCP with the token {tcp:?} and {tcp_flooded:?}",
            made.load(Ordering::Relaxed)
        ));
        for (what, took) in [("idle", crowded), ("flood", flooded)] {
            ensure!(took < AT_ONCE, "{what}: an answer by the socket took {took:?}");
        }
        ensure!(tcp < Duration::from_secs(1) && tcp_flooded < Duration::from_secs(2), "{tcp:?}, {tcp_flooded:?}");
        Ok(())
    })?
}

#[test]
fn a_crowd_at_one_door_keeps_nobody_out_at_the_other() {
    let plan = Plan::new().member("aws", Seat::Ours, Access::Public);
    testing::run("a_crowd_at_one_door_keeps_nobody_out_at_the_other", &plan, crowd);
}

/// A request without a token whose head has exactly so many octets, or headers.
fn head(octets: usize, headers: usize) -> String {
    let mut text = "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n".to_owned();
    for number in 3..headers {
        text.push_str(&format!("X-{number}: y\r\n"));
    }
    let rest = octets.saturating_sub(text.len() + "X-Last: \r\n\r\n".len());
    text.push_str(&format!("X-Last: {}\r\n\r\n", "z".repeat(rest)));
    text
}

fn limits(cluster: &mut Cluster) -> Result<()> {
    cluster.members[0].host.namespace.inside(|| -> Result<()> {
        for (octets, headers, expected) in [
            (32 * 1024, 3, 200),
            (32 * 1024 + 1, 3, 431),
            (40 * 1024, 3, 431),
            (63 * 1024, 3, 431),
            (1 << 20, 3, 431),
            (0, 64, 200),
            (0, 65, 431),
            (0, 200, 431),
        ] {
            let request = head(octets, headers);
            ensure!(octets == 0 || request.len() == octets, "{} octets", request.len());
            let (status, said) =
                by_tcp(&request).with_context(|| format!("{octets} octets, {headers} headers"))?;
            ensure!(status == expected, "{octets} octets, {headers} headers: {said}");
        }
        for (query, headers, expected) in [
            ("", "Host: 127.0.0.1:9993", 200),
            ("", "Host: localhost", 200),
            ("", "Host: rebound.example", 403),
            ("", "Host: localhost\r\nOrigin: http://page.example", 403),
            ("?jsonp=f", "Host: localhost", 403),
        ] {
            let request = format!("GET /health{query} HTTP/1.1\r\n{headers}\r\nConnection: close\r\n\r\n");
            let (status, said) = by_tcp(&request)?;
            ensure!(status == expected, "{query} {headers}: {said}");
            ensure!(status == 200 || !said.contains("online"), "{said}");
        }
        Ok(())
    })?
}

#[test]
fn heads_are_limited_and_pages_of_others_read_nothing() {
    let plan = Plan::new().member("aws", Seat::Ours, Access::Public);
    testing::run("heads_are_limited_and_pages_of_others_read_nothing", &plan, limits);
}

/// A small file system of its own, until it is dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: PathBuf) -> Result<Self> {
        fs::create_dir_all(&at)?;
        let status =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=3m", "none"]).arg(&at).status()?;
        ensure!(status.success(), "no tmpfs at {}", at.display());
        Ok(Self(at))
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }

    /// Leaves no block free.
    fn fill(&self) -> Result<()> {
        let mut file = File::options().create(true).append(true).open(self.ballast())?;
        while file.write_all(&[0; 512]).is_ok() {}
        Ok(())
    }

    fn free(&self) -> Result<()> {
        Ok(fs::remove_file(self.ballast())?)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // A failed test has said what matters.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Names of all files below a folder.
fn names(folder: &Path) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            all.extend(names(&entry.path())?);
        }
        all.push(entry.file_name().to_string_lossy().into_owned());
    }
    Ok(all)
}

fn full_disk(cluster: &mut Cluster, disk: &SmallDisk) -> Result<()> {
    cluster.root.start()?;
    cluster.root.wait_ready()?;
    cluster.create_network()?;
    let own = cluster.network.clone();
    let node = &mut cluster.root;
    node.join(&own)?;
    let member = format!("/controller/network/{own}/member/{}", node.address);
    let path = format!("/network/{NETWORK}");
    let before = (node.get("/config")?, node.get(&format!("/network/{own}"))?["allowGlobal"].clone());
    disk.fill()?;

    let must_fail: [(&str, &str, Value); 6] = [
        ("POST", &path, json!({})),
        ("POST", &path, json!({"token": "ztt_something"})),
        ("POST", &path, json!({"allowGlobal": true})),
        ("POST", &format!("/network/{own}"), json!({"allowGlobal": true})),
        ("POST", "/moon/5aca06ff8e", json!({"seed": "5aca06ff8e"})),
        ("POST", "/config/settings", json!({"lowBandwidthMode": true})),
    ];
    for (method, path, body) in &must_fail {
        let reply = node.request(method, path, Some(body))?;
        ensure!(
            reply.status == 500,
            "{method} {path} {body} with a full disk: {} {}",
            reply.status,
            reply.body
        );
        ensure!(
            reply.body["description"].as_str().is_some_and(|why| why.contains("space")),
            "{}",
            reply.body
        );
    }
    ensure!(node.network(NETWORK)?.is_none(), "the network is joined");
    ensure!(node.get("/moon")? == json!([]) && node.get("/config")? == before.0, "something was changed");
    ensure!(node.get(&format!("/network/{own}"))?["allowGlobal"] == before.1, "a setting was changed");
    let left: Vec<String> =
        names(node.home())?.into_iter().filter(|n| n.contains(NETWORK) || n.contains("5aca06ff8e")).collect();
    ensure!(left.is_empty(), "left behind: {left:?}");
    let interfaces = node.host.namespace.run("ip", &["-o", "link"])?;
    ensure!(interfaces.matches(": zt").count() == 1, "{interfaces}");

    // The database has some room of its own: what it takes is kept, what it refuses is not.
    let (mut made, mut refused) = (Vec::new(), 0);
    for number in 0..200 {
        let body = json!({"name": format!("n{number}")});
        let reply =
            node.request("POST", &format!("/controller/network/{}______", node.address), Some(&body))?;
        match reply.status {
            200 => made.push(reply.body["id"].as_str().context("no id")?.to_owned()),
            500 => refused += 1,
            _ => anyhow::bail!("{} {}", reply.status, reply.body),
        }
        if refused == 3 {
            break;
        }
    }
    ensure!(refused == 3, "the database is never full");
    let authorized = node.request("POST", &member, Some(&json!({"authorized": true})))?;
    let shown = node.get("/controller/network")?;

    // Leaving needs no room.
    ensure!(node.request("DELETE", "/moon/5aca06ff8e", None)?.status == 200, "deorbit");
    node.stop()?;
    disk.free()?;
    node.start()?;
    node.wait_ready()?;
    ensure!(
        node.network(NETWORK)?.is_none() && node.network(&own)?.is_some(),
        "other networks after a restart"
    );
    ensure!(node.get("/controller/network")? == shown, "other networks of the controller after a restart");
    let listed = shown.as_array().map_or(0, Vec::len);
    ensure!(listed == made.len() + 1, "{listed} are listed, {} were made", made.len());
    let is_authorized = node.request("GET", &member, None)?.body["authorized"] == true;
    ensure!(is_authorized == (authorized.status == 200), "{} and {is_authorized}", authorized.status);

    // With room everything works, and lasts.
    for (method, path, body) in &must_fail {
        let reply = node.request(method, path, Some(body))?;
        ensure!(reply.status == 200, "{method} {path} {body}: {} {}", reply.status, reply.body);
    }
    node.stop()?;
    node.start()?;
    node.wait_ready()?;
    ensure!(node.network(NETWORK)?.is_some(), "the network is gone after a restart");
    ensure!(node.get("/config")?["settings"]["lowBandwidthMode"] == true, "the setting is gone");
    ensure!(names(node.home())?.iter().any(|n| n == "0000005aca06ff8e.seed"), "the orbit is gone");
    ensure!(node.request("DELETE", "/moon/5aca06ff8e", None)?.status == 200, "deorbit");
    ensure!(!names(node.home())?.iter().any(|n| n.ends_with(".seed")), "the orbit is still there");
    ensure!(node.request("DELETE", &path, None)?.status == 200, "leave");
    ensure!(!names(node.home())?.iter().any(|n| n.contains(NETWORK)), "the network is still there");
    Ok(())
}

#[test]
fn what_cannot_be_kept_is_not_done() {
    let name = "what_cannot_be_kept_is_not_done";
    if !testing::ready(name) {
        return;
    }
    let run = || -> Result<()> {
        let mut cluster = Plan::new().prepare(Lab::new()?)?;
        let disk = SmallDisk::mount(cluster.lab.dir().join("small"))?;
        for entry in fs::read_dir(cluster.root.home())? {
            let from = entry?.path();
            if from.is_file() {
                fs::copy(&from, disk.0.join(from.file_name().context("a name")?))?;
            }
        }
        let home = disk.0.clone();
        cluster.root.seat_on(Seat::Ours, &home)?;
        let done = full_disk(&mut cluster, &disk).map_err(|error| error.context(cluster.report()));
        cluster.root.stop()?;
        done
    };
    if let Err(error) = run() {
        panic!("{name}: {error:#}");
    }
}
