#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::packet::header::{self, Datagram};

// Everything a node looks at before it knows the sender.
fuzz_target!(|data: &[u8]| {
    let mut datagram = data.to_vec();
    match header::classify(&datagram) {
        Datagram::Packet => {
            let before = (header::id(&datagram), header::dest(&datagram), header::source(&datagram));
            let (hops, suite) = (header::hops(&datagram), header::suite(&datagram));
            let _ =
                (header::is_fragmented(&datagram), header::verb(&datagram));
            header::increment_hops(&mut datagram);
            assert_eq!(header::hops(&datagram), (hops + 1) % 8);
            assert_eq!(header::suite(&datagram), suite);
            assert_eq!(before, (header::id(&datagram), header::dest(&datagram), header::source(&datagram)));
        }
        Datagram::Fragment => {
            let _ = (header::id(&datagram), header::dest(&datagram));
            let before = (header::fragment_total(&datagram), header::fragment_number(&datagram));
            let hops = header::fragment_hops(&datagram);
            header::increment_fragment_hops(&mut datagram);
            assert_eq!(header::fragment_hops(&datagram), (hops + 1) % 8);
            assert_eq!(before, (header::fragment_total(&datagram), header::fragment_number(&datagram)));
        }
        Datagram::Beacon | Datagram::Junk => {}
    }
});
