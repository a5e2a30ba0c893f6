//! Which Ethernet multicast groups the kernel listens to on a device.
//!
//! Specification: frames, "groups": the node subscribes to the groups of `/proc/net/dev_mcast` (ADI 0) and to one
//! derived group per address on the port.

use std::fs;
use std::io;
use std::net::IpAddr;

use protocol::Mac;
use protocol::derive::resolution_group;
use protocol::multicast_group::MulticastGroup;

/// More groups than this on one device are ignored; the kernel itself seldom has more than a dozen.
pub const MAX_GROUPS: usize = 1024;

/// The kernel's table, of the network namespace of the calling thread.
const TABLE: &str = "/proc/thread-self/net/dev_mcast";

/// The kernel's table, for [`groups`].
///
/// # Errors
/// When it cannot be read.
pub fn table() -> io::Result<String> {
    fs::read_to_string(TABLE)
}

/// The groups to announce for the interface `index`: what the kernel subscribed, as its `table` says, and what its `addresses`
/// need, sorted, each once.
pub fn groups(table: &str, index: u32, addresses: impl IntoIterator<Item = IpAddr>) -> Vec<MulticastGroup> {
    let subscribed =
        parse(table).filter(|(of, _)| *of == index).map(|(_, mac)| MulticastGroup { mac, adi: 0 });
    let mut groups: Vec<_> =
        subscribed.take(MAX_GROUPS).chain(addresses.into_iter().map(resolution_group)).collect();
    groups.sort_unstable();
    groups.dedup();
    groups
}

/// Lines of the table: interface index, name, number of users, global users, address in hex without separators.
/// Lines of another shape, and addresses that are not 6 octets long, are skipped.
fn parse(table: &str) -> impl Iterator<Item = (u32, Mac)> {
    table.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let index = words.next()?.parse().ok()?;
        let hex = words.nth(3)?;
        if hex.len() != 12 || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        let value = u64::from_str_radix(hex, 16).ok()?.to_be_bytes();
        let mut mac = [0; 6];
        mac.copy_from_slice(&value[2..]);
        Some((index, Mac(mac)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SAMPLE: &str = "1    lo              1     0     333300000001\n\
        2    eth0            1     0     333300000001\n\
        2    eth0            1     0     01005e000001\n\
        5    zt2lr3wbun      1     0     01005e000001\n\
        5    zt2lr3wbun      1     0     3333ff41414d\n\
        5    zt2lr3wbun      1     0     3333000000fb\n\
        6    ib0             1     0     00ffffffff12401bffff000000000000ffffffff\n";

    #[test]
    fn takes_only_the_device_and_adds_derived_groups() {
        let found = groups(SAMPLE, 5, ["10.147.17.61".parse().unwrap()]);
        let shown: Vec<_> = found.iter().map(|g| (g.mac.0, g.adi)).collect();
        assert_eq!(
            shown,
            [
                ([0x01, 0, 0x5e, 0, 0, 1], 0),
                ([0x33, 0x33, 0, 0, 0, 0xfb], 0),
                ([0x33, 0x33, 0xff, 0x41, 0x41, 0x4d], 0),
                ([0xff; 6], 177_410_365),
            ]
        );
        assert!(groups(SAMPLE, 6, []).is_empty());
        assert!(groups("", 7, []).is_empty());
    }

    #[test]
    fn duplicates_count_once() {
        let address: IpAddr = "fd00::ff41:414d".parse().unwrap();
        assert_eq!(groups(SAMPLE, 5, [address, address]).len(), 3);
    }

    proptest! {
        #[test]
        fn never_panics(table in ".{0,400}", index: u32) {
            let _ = groups(&table, index, []);
        }

        #[test]
        fn finds_what_was_written(mac in any::<[u8; 6]>(), index in 1u32..999, name in "[a-z][a-z0-9]{0,14}") {
            let hex: String = mac.iter().map(|b| format!("{b:02x}")).collect();
            let table = format!("{index:<4} {name:<15} 1     0     {hex}\n");
            prop_assert_eq!(groups(&table, index, []), vec![MulticastGroup { mac: Mac(mac), adi: 0 }]);
        }
    }
}
