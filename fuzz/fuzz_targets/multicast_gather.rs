#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::verbs::{MulticastGather, MulticastLike, OkGather, OkMulticastFrame};

// The small verbs of multicast.
fuzz_target!(|data: &[u8]| {
    let mut written = Vec::new();
    if let Ok(gather) = MulticastGather::parse(data) {
        gather.write(&mut written);
        assert_eq!(MulticastGather::parse(&written), Ok(gather));
    }
    written.clear();
    if let Ok(reply) = OkGather::parse(data) {
        reply.write(&mut written);
        assert_eq!(written, data[..written.len()]);
    }
    written.clear();
    if let Ok(reply) = OkMulticastFrame::parse(data) {
        reply.write(&mut written);
        assert_eq!(OkMulticastFrame::parse(&written), Ok(reply));
    }
    written.clear();
    if let Ok(like) = MulticastLike::parse(data) {
        for (network, group) in like.iter() {
            MulticastLike::write(network, group, &mut written);
        }
        assert_eq!(written, data[..data.len() / 18 * 18]);
    }
});
