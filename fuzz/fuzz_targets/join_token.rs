#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::join_token::{Damage, JoinToken, MAX_LENGTH, Place, Planet, Url};

fuzz_target!(|text: &str| {
    match JoinToken::parse(text) {
        Ok(token) => {
            assert_eq!(token.to_string(), text);
            let bare = token.bare();
            assert_eq!(JoinToken::parse(&bare), Ok(JoinToken { network: None, planet: None, ..token }));
            match token.planet {
                Some(Planet { sha256, place: Place::Url(url) }) => {
                    assert!(sha256.len() == 64 && url.len() < MAX_LENGTH);
                    let url = Url::parse(url).expect("the token's URL is one");
                    assert!(url.path.starts_with('/') && url.port != 0 && !url.host.is_empty());
                    assert_eq!(url.ip.is_some(), url.host.parse::<std::net::IpAddr>().is_ok());
                }
                Some(Planet { place: Place::Beside(name), .. }) => {
                    let mut parts = std::path::Path::new(name).components();
                    assert!(matches!(parts.next(), Some(std::path::Component::Normal(_))) && parts.next().is_none());
                }
                None => {}
            }
        }
        Err(Damage::Planet(why)) => assert!(!why.is_empty()),
        Err(Damage::Form) => {}
    }
    let _ = Place::parse(text);
});
