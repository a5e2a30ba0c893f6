//! fragmentation.json: putting packets together again. (`send` is tested where packets are cut.)

use node::core::event::Event;
use protocol::world::{World, WorldKey, WorldKind};
use protocol::{SecretIdentity, Time};
use sha2::{Digest, Sha512};

use super::support::{hex, list, load, name, number, text, unhex};
use super::{core, drain, feed, introduce};

const NOW: Time = Time::from_ms(1_700_000_000_000);

#[test]
fn fragmentation_receive_vectors() {
    let file = load("fragmentation.json");
    let planet =
        World::new_signed(WorldKind::Planet, 1, 1, &WorldKey::from_secret([9; 64]), Vec::new()).to_bytes();
    let sender = SecretIdentity::parse(text(&file, "sender_secret")).unwrap();
    let receiver = SecretIdentity::parse(text(&file, "receiver_secret")).unwrap();
    let from = "198.18.1.1:40001".parse().unwrap();
    for case in list(&file, "receive") {
        let name = name(case);
        let mut core = core(&receiver, &planet, Default::default(), NOW);
        introduce(&mut core, NOW, sender.identity());
        let mut messages = Vec::new();
        for (index, datagram) in list(case, "datagrams").iter().enumerate() {
            feed(&mut core, NOW, from, &unhex(datagram.as_str().unwrap()));
            let output = drain(&mut core);
            assert!(output.errands.is_empty(), "{name}: {:?}", output.errands);
            for event in output.events {
                let Event::UserMessage { from, body, .. } = event else { panic!("{name}: {event:?}") };
                assert_eq!(from, sender.address(), "{name}");
                messages.push((index as u64, body));
            }
        }
        // A packet that comes once more is a replay, which the reference delivers.
        let replays = u64::from(name == "after_completion_repeated");
        assert_eq!(messages.len() as u64, number(case, "messages_delivered") - replays, "{name}");
        if !messages.is_empty() {
            let completed = number(case, "complete_after_datagram");
            let (_, body) =
                messages.iter().find(|(at, _)| *at == completed).unwrap_or_else(|| panic!("{name}"));
            assert_eq!(body.len() as u64, number(case, "message_length"), "{name}");
            assert_eq!(hex(&Sha512::digest(body)), text(case, "message_sha512"), "{name}");
        }
    }
}
