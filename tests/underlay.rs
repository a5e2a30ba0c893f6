//! What the lab does to the ways between its hosts, without any node: the other tests stand on it.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::emulator::Quality;
use lab::{Access, Family, Host, Lab, NatKind, testing, traffic};

/// A datagram that has not come after this does not come.
const LOST: Duration = Duration::from_millis(300);
/// One that has to come may take so long, on a busy machine.
const LIMIT: Duration = Duration::from_secs(10);

fn with_lab(name: &str, body: impl FnOnce(Lab) -> Result<()>) {
    if testing::ready(name) {
        Lab::new().and_then(body).unwrap_or_else(|error| panic!("{name}: {error:#}"));
    }
}

/// Whether UDP gets from one host to an address of another: at once, or again and again until it does where it has to.
fn passes(from: &Host, to: &Host, address: IpAddr, expected: bool) -> Result<()> {
    let receiver = to.namespace.inside(|| UdpSocket::bind((address, 7007)))??;
    let sender = from.namespace.inside(|| {
        let any: IpAddr = if address.is_ipv4() { [0; 4].into() } else { Ipv6Addr::UNSPECIFIED.into() };
        UdpSocket::bind(SocketAddr::new(any, 0))
    })??;
    receiver.set_read_timeout(Some(LOST))?;
    let (begin, mut buffer) = (Instant::now(), [0; 16]);
    loop {
        sender.send_to(b"hello", (address, 7007))?;
        let came = receiver.recv(&mut buffer).is_ok();
        ensure!(!came || expected, "UDP from {} to {address} passes", from.name);
        if came || !expected {
            return Ok(());
        }
        ensure!(begin.elapsed() < LIMIT, "UDP from {} to {address} does not pass", from.name);
    }
}

#[test]
fn what_is_cut_is_lost_that_way_alone() {
    with_lab("what_is_cut_is_lost_that_way_alone", |mut lab| {
        lab.set_family(Family::Both);
        let hosts = ["a", "b", "c"].map(|name| lab.add(name, Access::Public));
        let [a, b, c] = hosts;
        let (a, b, c) = (a?, b?, c?);
        let way = |from: &Host, to: &Host, expected: [bool; 2]| -> Result<()> {
            for (address, expected) in to.addresses().into_iter().zip(expected) {
                passes(from, to, address, expected)?;
            }
            Ok(())
        };
        // Who has a line in front is cut off beyond it.
        lab.line(&b, Quality::default(), Quality::default(), 1)?;
        way(&a, &b, [true; 2])?;
        lab.cut(&a, &b)?;
        way(&a, &b, [false; 2])?;
        way(&b, &a, [true; 2]).context("the other way")?;
        lab.mend(&a, &b)?;
        lab.forbid(&a, &b)?;
        way(&a, &b, [false; 2])?;
        way(&b, &a, [false; 2])?;
        way(&a, &c, [true; 2]).context("to somebody else")?;
        lab.allow(&a, &b)?;
        way(&a, &b, [true; 2])?;
        lab.isolate(&b)?;
        way(&c, &b, [false; 2])?;
        way(&b, &a, [false; 2])?;
        lab.rejoin(&b)?;
        lab.lose_family(&b, Family::V4)?;
        way(&a, &b, [false, true])?;
        lab.mend_family(&b)?;
        way(&a, &b, [true; 2])
    });
}

#[test]
fn a_pulled_cable_leaves_the_addresses() {
    with_lab("a_pulled_cable_leaves_the_addresses", |mut lab| {
        lab.set_family(Family::Both);
        let (a, b) = (lab.add("a", Access::Public)?, lab.add("b", Access::Public)?);
        lab.fix_neighbours()?;
        lab.carrier(&a, false)?;
        passes(&b, &a, a.addresses()[0], false)?;
        lab.carrier(&a, true)?;
        a.addresses().into_iter().try_for_each(|address| passes(&b, &a, address, true))
    });
}

#[test]
fn a_machine_that_moves_has_the_new_address_alone() {
    with_lab("a_machine_that_moves_has_the_new_address_alone", |mut lab| {
        lab.set_family(Family::Both);
        let (a, b) = (lab.add("a", Access::Public)?, lab.add("b", Access::Public)?);
        for (old, new) in a.addresses().into_iter().zip(["80.0.1.9", "2a99::1:9"]) {
            let new = new.parse()?;
            a.set_address(new)?;
            passes(&b, &a, new, true)?;
            let shown = a.namespace.run("ip", &["-br", "addr", "show", "dev", a.outside()])?;
            ensure!(!shown.contains(&format!("{old}/")), "{old} is still there: {shown}");
        }
        Ok(())
    });
}

#[test]
fn a_router_that_rebinds_maps_the_same_socket_to_another_port() {
    with_lab("a_router_that_rebinds_maps_the_same_socket_to_another_port", |mut lab| {
        let a = lab.add("a", Access::Nat(NatKind::PortRestricted))?;
        let b = lab.add("b", Access::Public)?;
        let receiver = b.namespace.inside(|| UdpSocket::bind((b.public, 7007)))??;
        receiver.set_read_timeout(Some(LIMIT))?;
        let sender = a.namespace.inside(|| UdpSocket::bind("0.0.0.0:9993"))??;
        let from = || -> Result<u16> {
            sender.send_to(b"hello", (b.public, 7007))?;
            let (_, from) = receiver.recv_from(&mut [0; 16])?;
            ensure!(from.ip() == IpAddr::V4(a.public), "from {from}");
            Ok(from.port())
        };
        ensure!(from()? == 9993, "a router keeps ports where it can");
        for ports in [20_000..=20_049, 20_050..=20_099] {
            a.rebind(&ports)?;
            let port = from()?;
            ensure!(ports.contains(&port), "port {port} is none of {ports:?}");
            ensure!(from()? == port, "it stays");
        }
        Ok(())
    });
}

#[test]
fn a_line_delays_and_loses_what_passes() {
    with_lab("a_line_delays_and_loses_what_passes", |mut lab| {
        let (a, b) = (lab.add("a", Access::Public)?, lab.add("b", Access::Public)?);
        let (near, far) = (&a.namespace, IpAddr::V4(b.public));
        let delayed = Quality::delayed(Duration::from_millis(40));
        lab.line(&a, delayed, delayed, 1)?;
        let took = traffic::first_ping(near, far, LIMIT)?;
        ensure!(took >= 80.0, "{took} ms there and back");
        traffic::tcp(near, &b.namespace, far, 1 << 20, LIMIT).context("octets stay as they are")?;
        lab.line(&a, Quality { loss: 1.0, ..Quality::default() }, Quality::default(), 1)?;
        passes(&a, &b, far, false)?;
        passes(&b, &a, IpAddr::V4(a.public), true)?;
        let half = Quality { loss: 0.5, ..Quality::default() };
        lab.line(&a, half, Quality::default(), 1)?;
        let received = traffic::pings(near, far, 200, Duration::from_millis(5))?;
        ensure!((60..140).contains(&received), "{received} of 200 pings over a line that loses half");
        lab.line(&a, Quality::default(), Quality::default(), 1)?;
        let received = traffic::pings(near, far, 50, Duration::from_millis(5))?;
        ensure!(received == 50, "{received} of 50 pings over a good line");
        Ok(())
    });
}
