#![no_main]

use flowrules::Frame;
use flowrules::describe::{Known, describe, parse};
use libfuzzer_sys::fuzz_target;

const KNOWN: Known = Known {
    ipv4: Some(std::net::Ipv4Addr::new(10, 0, 0, 1)),
    ipv6: Some(std::net::Ipv6Addr::LOCALHOST),
    mac: Some([2, 0, 0, 0, 0, 1]),
};

/// Words → packet → words.
fn again(text: &str) -> String {
    let description = parse(text).unwrap_or_else(|error| panic!("{}", error.render(text)));
    let packet = description.build(&KNOWN, &KNOWN).expect("every end is known");
    describe(&packet.frame(), packet.payload.len())
}

// Every text is a packet or refused with a place; every frame has words, which mean the same from then on.
fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        match parse(text) {
            Ok(description) => {
                let packet = description.build(&KNOWN, &KNOWN).expect("every end is known");
                let shown = describe(&packet.frame(), packet.payload.len());
                assert_eq!(again(&shown), shown);
            }
            Err(error) => drop(error.render(text)),
        }
    }
    let Some((head, payload)) = data.split_at_checked(14) else { return };
    let [dest, source] =
        [0, 6].map(|at| [head[at], head[at + 1], head[at + 2], head[at + 3], head[at + 4], head[at + 5]]);
    let ethertype = u16::from_be_bytes([head[12], head[13]]);
    let first = describe(&Frame { source, dest, ethertype, vlan: 0, payload }, payload.len());
    let second = again(&first);
    assert_eq!(again(&second), second);
});
