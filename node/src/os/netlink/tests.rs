//! With the kernel of this machine, each in a network namespace of its own.

use std::process::{Command, Stdio};
use std::time::Duration;

use super::*;
use crate::os::testing::{in_namespace, ip};

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

/// Gives `ip` many commands at once.
fn batch(commands: &str) {
    use std::io::Write as _;
    let mut child = Command::new("ip").args(["-batch", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(commands.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

fn index(name: &str) -> u32 {
    nix::net::if_::if_nametoindex(name).unwrap()
}

/// Everything that a picture says, in an order that does not depend on how it came about.
fn all(picture: &Picture, indices: &[u32]) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for index in indices {
        all.push(format!("{index} {:?}", picture.link(*index)));
        all.extend(picture.addresses_of(*index).map(|a| format!("{index} {a}")));
        all.extend(picture.routes_of(*index).map(|r| format!("{r:?}")));
    }
    all.push(format!("{:?}", picture.uplinks()));
    all.sort();
    all
}

#[test]
fn messages_lead_to_what_reading_everything_gives() {
    in_namespace(|| {
        runtime().block_on(async {
            let netlink = Netlink::connect().unwrap();
            ip("link add a0 type veth peer name a1");
            ip("link set a1 up");
            netlink.refresh().await.unwrap();
            assert_eq!(netlink.readings(), 1);
            let [a, b] = ["a0", "a1"].map(index);
            netlink.adopt(b);
            for step in [
                "addr add 10.1.0.1/16 dev a0",
                "link set a0 up",
                "addr add 10.1.0.2/16 dev a0",
                "addr add fd00:1::1/64 dev a0 nodad",
                "route add 10.9.0.0/16 dev a0",
                "route add 10.8.0.0/16 via 10.1.0.9",
                "route replace 10.9.0.0/16 via 10.1.0.9",
                "route add default via 10.1.0.9",
                "route add default via fd00:1::9",
                "addr add 10.2.0.1/16 dev a1",
                "route add 10.7.0.0/16 via 10.2.0.9 src 10.2.0.1",
                "route add 10.6.0.0/16 dev a0 src 10.2.0.1",
                "route add 10.5.0.0/16 via 10.2.0.9 metric 7",
                "route append 10.5.0.0/16 via 10.2.0.8 metric 8",
                // Takes routes away without a word.
                "addr del 10.2.0.1/16 dev a1",
                "addr add 10.2.0.1/16 dev a1",
                "link set a1 down",
                "link set a1 up",
                "link set a0 name a2",
                "route del default",
                "addr del 10.1.0.1/16 dev a2",
                "link add br0 type bridge",
                "link set a2 master br0",
                "link set a2 nomaster",
                "link set a2 mtu 1400",
            ] {
                ip(step);
                let until = tokio::time::Instant::now() + Duration::from_secs(20);
                loop {
                    let fresh = Netlink::connect().unwrap();
                    fresh.adopt(b);
                    fresh.refresh().await.unwrap();
                    let kept = netlink.look(|picture| all(picture, &[a, b]));
                    let fresh = fresh.look(|picture| all(picture, &[a, b]));
                    // The kernel gives IPv6 addresses in its own time.
                    if kept == fresh || tokio::time::Instant::now() > until {
                        assert_eq!(kept, fresh, "after `ip {step}`");
                        break;
                    }
                }
            }
            netlink.look(|picture| assert_eq!(picture.link(a).unwrap().name, "a2"));
            ip("link del a2");
            netlink.look(|picture| {
                assert!(picture.link(a).is_none() && picture.routes_of(a).next().is_none());
                assert!(picture.all_addresses().iter().all(|address| address.interface == "lo"));
            });
            assert_eq!(netlink.readings(), 1, "everything was read again");
        });
    });
}

#[test]
fn what_matters_is_reported_and_the_rest_is_not() {
    in_namespace(|| {
        runtime().block_on(async {
            let netlink = Netlink::connect().unwrap();
            batch("link add a0 type veth peer name a1\nlink set a1 up\nlink set a0 up\naddr add 10.1.0.1/16 dev a0\n");
            netlink.refresh().await.unwrap();
            netlink.adopt(index("a1"));
            netlink.want([prefix("10.60.0.0/16"), prefix("10.70.1.2/32")].into());
            let quiet = async |why: &str| {
                let noticed = tokio::time::timeout(Duration::from_millis(300), netlink.changed()).await;
                assert!(noticed.is_err(), "{why}: {noticed:?}");
            };
            let reported = async |why: &str| {
                tokio::time::timeout(Duration::from_secs(20), netlink.changed()).await.expect(why)
            };
            assert_eq!(reported("the first reading").await, Noticed::ALL);
            // IPv6 takes a moment to get its addresses.
            while tokio::time::timeout(Duration::from_secs(3), netlink.changed()).await.is_ok() {}
            for step in ["route add 10.8.0.0/16 via 10.1.0.9", "route add 10.9.0.0/16 dev a0", "route del 10.9.0.0/16"] {
                ip(step);
                quiet(step).await;
            }
            for step in [
                "route add 10.60.0.0/16 via 10.1.0.9",
                "route del 10.60.0.0/16",
                "route add 10.70.0.0/16 dev a0",
                "route del 10.70.0.0/16",
                "route add 10.4.0.0/16 dev a1",
                "route del 10.4.0.0/16",
            ] {
                ip(step);
                assert_eq!(reported(step).await, Noticed { links: false, routes: true }, "{step}");
            }
            ip("addr add 10.2.0.1/24 dev a1");
            assert!(reported("an address").await.links);
            ip("route add default via 10.1.0.9");
            assert!(reported("a default route").await.links);
        });
    });
}

/// A network namespace with so many routes in its main table, a third of them without a gateway.
fn crowd(routes: u32) {
    let mut commands = String::from(
        "link add a0 type veth peer name a1\nlink set a1 up\nlink set a0 up\naddr add 10.1.0.1/16 dev a0\n",
    );
    for n in 0..routes {
        let way = if n % 3 == 0 { "dev a0" } else { "via 10.1.0.9" };
        commands.push_str(&format!("route add {}/32 {way}\n", Ipv4Addr::from_bits(0x0b00_0000 + n)));
    }
    batch(&commands);
}

#[test]
fn an_event_costs_the_same_however_long_the_table_is() {
    let cost = |routes: u32| {
        in_namespace(move || {
            crowd(routes);
            runtime().block_on(async {
                let netlink = Netlink::connect().unwrap();
                netlink.refresh().await.unwrap();
                let begun = (netlink.readings(), netlink.messages());
                for n in 0..30 {
                    ip(&format!("link add v{n} type veth peer name w{n}"));
                    ip(&format!("link set v{n} up"));
                    netlink.surroundings().await.unwrap();
                    ip(&format!("link del v{n}"));
                    netlink.surroundings().await.unwrap();
                }
                assert_eq!(netlink.readings(), begun.0, "everything was read again with {routes} routes");
                netlink.messages() - begun.1
            })
        })
    };
    let (Some(few), Some(many)) = (cost(30), cost(20_000)) else { return };
    assert!(few > 100 && many < few + few / 4, "{few} messages with few routes, {many} with many");
}

#[test]
fn lost_messages_are_made_up_for() {
    in_namespace(|| {
        runtime().block_on(async {
            let netlink = Netlink::connect().unwrap();
            netlink.refresh().await.unwrap();
            // More than there is room for, and nobody looks meanwhile.
            crowd(60_000);
            let mut readings = 0;
            while netlink.look(|picture| picture.routes_to(prefix("11.0.0.0/32")).is_empty()) {
                netlink.refresh().await.unwrap();
                readings += 1;
                assert!(readings < 10);
            }
            netlink.refresh().await.unwrap();
            let a0 = index("a0");
            let known = netlink.look(|picture| picture.routes_of(a0).count());
            assert!(known > 20_000, "{known}");
        });
    });
}

#[test]
fn the_route_that_counts_is_told() {
    in_namespace(|| {
        runtime().block_on(async {
            let netlink = Netlink::connect().unwrap();
            batch(
                "link add a0 type veth peer name a1\nlink set a1 up\nlink set a0 up\naddr add 10.1.0.1/16 dev a0\n\
                 addr add 10.2.0.1/16 dev a1\naddr add fd00:1::1/64 dev a0 nodad\n\
                 route add 10.60.0.0/16 via 10.2.0.9 metric 5000\nroute add 10.60.0.0/16 via 10.1.0.9\n\
                 route add fd00:60::/48 via fd00:1::9\n",
            );
            let found = netlink.route_to("10.60.1.2".parse().unwrap()).await.unwrap();
            assert_eq!((found.target, found.index), (prefix("10.60.0.0/16"), index("a0")));
            assert_eq!(found.via, Some("10.1.0.9".parse().unwrap()));
            let found = netlink.route_to("fd00:60::7".parse().unwrap()).await.unwrap();
            assert_eq!((found.target, found.index), (prefix("fd00:60::/48"), index("a0")));
            assert_eq!(netlink.route_to("10.99.0.1".parse().unwrap()).await, None);
            assert_eq!(netlink.route_to("10.1.0.1".parse().unwrap()).await, None, "our own address");
        });
    });
}
