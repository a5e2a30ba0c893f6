#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::{Identity, SecretIdentity};

fuzz_target!(|text: &str| {
    let secret = SecretIdentity::parse(text);
    let Ok(identity) = Identity::parse(text) else {
        assert!(secret.is_err());
        return;
    };
    assert_eq!(Identity::parse(&identity.to_string()).as_ref(), Ok(&identity));
    if let Ok(secret) = secret {
        assert_eq!(secret.identity(), &identity);
        let text = secret.to_secret_string();
        assert_eq!(*SecretIdentity::parse(&text).expect("our own form").to_secret_string(), *text);
    }
});
