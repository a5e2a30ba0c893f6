//! One join token.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::ops::Deref;

use api::{StoredToken, Token, TokenId, TokenState};
use protocol::join_token::PREFIX;
use protocol::{NetworkId, Span, Time};
use rand::Rng;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Random bytes of a token: 160 bits. Nobody guesses them, so that a plain hash of them tells nothing.
const SECRET: usize = 20;

/// The ID in a token's text, `ztt_<ID>_<secret>`; `None` for text that has not the form of a token.
pub(crate) fn id_of_text(text: &str) -> Option<TokenId> {
    let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
    (secret.len() == 2 * SECRET && secret.bytes().all(is_digit)).then(|| id.parse().ok()).flatten()
}

/// The text of a token as people get it: `ztt_<network>_<ID>_<secret>`, so that it is all that a node needs to join.
pub(crate) fn naming(network: NetworkId, text: &str) -> Zeroizing<String> {
    Zeroizing::new(format!("{PREFIX}{network}_{}", text.strip_prefix(PREFIX).unwrap_or(text)))
}

/// The same without the network and the planet, `ztt_<ID>_<secret>`, which is what is hashed and what earlier versions made and
/// know. Tools that know these send no more. Text that names another network, or none, is left as it is.
pub(crate) fn bare(network: NetworkId, text: &str) -> Zeroizing<String> {
    let ours = protocol::join_token::JoinToken::parse(text)
        .ok()
        .filter(|token| token.network.is_some_and(|named| named == network.to_string()));
    Zeroizing::new(ours.map_or_else(|| text.to_owned(), |token| token.bare()))
}

/// Lower-case only: a token has one spelling.
fn is_digit(byte: u8) -> bool {
    byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)
}

/// What a new token gives, and for how long.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Terms {
    pub(crate) name: Option<String>,
    pub(crate) tags: BTreeMap<u32, u32>,
    pub(crate) ips: Vec<IpAddr>,
    /// 0 = any number.
    pub(crate) uses: u64,
    /// When it ends, if ever.
    pub(crate) expires: Option<Time>,
}

/// A token of a network, as the controller keeps it: all but the token itself.
#[derive(Clone, PartialEq)]
pub(crate) struct JoinToken {
    record: Token,
    /// SHA-256 of the text.
    hash: [u8; 32],
}

impl Deref for JoinToken {
    type Target = Token;

    fn deref(&self) -> &Token {
        &self.record
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinToken").field("id", &self.id).field("used", &self.used).finish_non_exhaustive()
    }
}

impl JoinToken {
    /// A new token, and its text, which is kept nowhere.
    pub(crate) fn create(
        network: NetworkId,
        id: TokenId,
        random: &mut dyn Rng,
        now: Time,
        terms: Terms,
    ) -> (Self, Zeroizing<String>) {
        let mut secret = Zeroizing::new([0; SECRET]);
        random.fill_bytes(&mut *secret);
        let text = Zeroizing::new(format!("{PREFIX}{id}_{}", *hex(&*secret)));
        let Terms { name, tags, ips, uses, expires } = terms;
        let hash = hash(&text);
        let (created, expires) = (now.as_ms(), expires.map_or(0, Time::as_ms));
        let record =
            Token { id, network, name, tags, ips, uses, used: 0, created, expires, ..Token::default() };
        let token = Self { record, hash };
        (token, text)
    }

    /// Whether this is the token with that text.
    pub(crate) fn is_text(&self, text: &str) -> bool {
        hash(text).ct_eq(&self.hash).into()
    }

    /// How it stands.
    pub(crate) fn state(&self, now: Time) -> TokenState {
        if self.revoked != 0 {
            TokenState::Revoked
        } else if self.expires != 0 && now.as_ms() >= self.expires {
            TokenState::Expired
        } else if self.uses != 0 && self.used >= self.uses {
            TokenState::Spent
        } else {
            TokenState::Good
        }
    }

    /// When it ceased to be good; `None` while it is.
    pub(crate) fn over_since(&self, now: Time) -> Option<Time> {
        let since = match self.state(now) {
            TokenState::Good => return None,
            TokenState::Spent => self.last_used,
            TokenState::Expired => self.expires,
            TokenState::Revoked | TokenState::Unknown => self.revoked,
        };
        Some(Time::from_ms(since))
    }

    /// It, with one use more.
    pub(super) fn used_at(&self, now: Time) -> Self {
        self.with(|record| (record.used, record.last_used) = (record.used.saturating_add(1), now.as_ms()))
    }

    /// It, ended.
    pub(super) fn revoked_at(&self, now: Time) -> Self {
        self.with(|record| record.revoked = now.as_ms())
    }

    /// It, when the clock it was made by was wrong by so much.
    pub(crate) fn shifted(&self, by: Span) -> Self {
        let moved = |at: &mut i64| {
            if *at > 0 {
                *at = at.saturating_add(by.as_ms()).max(1);
            }
        };
        self.with(|record| {
            moved(&mut record.created);
            moved(&mut record.expires);
            moved(&mut record.revoked);
            moved(&mut record.last_used);
        })
    }

    fn with(&self, change: impl FnOnce(&mut Token)) -> Self {
        let mut changed = self.clone();
        change(&mut changed.record);
        changed
    }

    /// A token as stored; `None` if the record is none: such a token lets nobody in.
    pub(crate) fn from_stored(network: NetworkId, id: TokenId, record: &Map<String, Value>) -> Option<Self> {
        let StoredToken { token, hash } = api::read(record);
        Some(Self { record: Token { id, network, ..token }, hash: unhex(&hash?)? })
    }

    /// What the store keeps of it.
    pub(crate) fn stored(&self) -> Value {
        api::json(&StoredToken { token: self.record.clone(), hash: Some(hex(&self.hash).to_string()) })
    }
}

fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

fn hex(bytes: &[u8]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(2 * bytes.len()));
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(digit.into(), 16).expect("four bits are a hexadecimal digit"));
        }
    }
    text
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.bytes().all(is_digit) {
        return None;
    }
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;
    use serde_json::json;

    use super::*;

    fn at(ms: i64) -> Time {
        Time::from_ms(ms)
    }

    fn token(terms: Terms) -> (JoinToken, String) {
        let (token, text) =
            JoinToken::create(NetworkId(7), TokenId(0xab), &mut StdRng::seed_from_u64(1), at(1000), terms);
        (token, text.to_string())
    }

    #[test]
    fn the_text_names_the_token_and_proves_it() {
        let (token, text) = token(Terms { uses: 1, ..Terms::default() });
        assert_eq!(text.len(), 4 + 8 + 1 + 40);
        assert!(text.starts_with("ztt_000000ab_"));
        assert_eq!(id_of_text(&text), Some(token.id));
        assert!(token.is_text(&text));
        let last = if text.ends_with('0') { "1" } else { "0" };
        assert!(!token.is_text(&format!("{}{last}", &text[..text.len() - 1])));
        for record in [api::json(&*token), token.stored()] {
            assert!(!record.to_string().contains(&text[13..]), "the secret is in {record}");
        }
        assert!(api::json(&*token).get("hash").is_none());
        assert!(!format!("{token:?}").contains("hash"));
    }

    #[test]
    fn a_token_ends_by_use_by_time_or_by_hand() {
        let (token, _) = token(Terms { uses: 2, expires: Some(at(5000)), ..Terms::default() });
        assert_eq!((token.state(at(4999)), token.state(at(5000))), (TokenState::Good, TokenState::Expired));
        assert_eq!((token.over_since(at(4999)), token.over_since(at(9000))), (None, Some(at(5000))));
        let once = token.used_at(at(1001));
        assert_eq!(once.state(at(1001)), TokenState::Good);
        assert_eq!(once.used_at(at(1002)).state(at(1002)), TokenState::Spent);
        assert_eq!(once.used_at(at(1002)).over_since(at(1003)), Some(at(1002)));
        let revoked = once.revoked_at(at(1500));
        assert_eq!(
            (revoked.state(at(1501)), revoked.over_since(at(9000))),
            (TokenState::Revoked, Some(at(1500)))
        );
        let open = once.with(|token| (token.uses, token.expires, token.used) = (0, 0, 1_000_000));
        assert_eq!(open.state(Time::LAST), TokenState::Good);
    }

    #[test]
    fn a_damaged_record_opens_nothing() {
        let (token, _) = token(Terms { uses: 0, ..Terms::default() });
        let record = token.stored();
        let record = record.as_object().unwrap();
        assert_eq!(JoinToken::from_stored(NetworkId(7), token.id, record), Some(token.clone()));
        for key in ["uses", "used", "expiryTime"] {
            let mut damaged = record.clone();
            damaged.remove(key);
            damaged.insert("uses".into(), json!(1));
            let damaged = JoinToken::from_stored(NetworkId(7), token.id, &damaged).unwrap();
            assert!(key == "uses" || damaged.state(at(2000)) != TokenState::Good, "{key}");
        }
        for hash in [json!(null), json!("ab"), json!("g".repeat(64)), json!("é".repeat(32))] {
            let mut damaged = record.clone();
            damaged.insert("hash".into(), hash);
            assert_eq!(JoinToken::from_stored(NetworkId(7), token.id, &damaged), None);
        }
    }

    proptest! {
        /// Any text is either no token or exactly one spelling of one.
        #[test]
        fn any_text_is_survived(text in prop_oneof![
            ".{0,80}", "ztt_[0-9a-f]{7,9}_[0-9a-f]{39,41}", "ztt_[0-9a-fA-F+_é]{8}_[0-9a-fA-F]{40}",
        ]) {
            if let Some(id) = id_of_text(&text) {
                prop_assert_eq!(text.len(), 53);
                prop_assert_eq!(&text[..13], format!("ztt_{id}_"));
            }
        }

        #[test]
        fn records_come_back(
            id: u32, now in 0..i64::MAX / 2, uses: u64, expires in 0..i64::MAX,
            name in prop::option::of(".{0,20}"),
            tags in prop::collection::btree_map(any::<u32>(), any::<u32>(), 0..5),
            ips in prop::collection::vec(any::<IpAddr>(), 0..5), seed: u64,
        ) {
            let expires = (expires != 0).then_some(at(expires));
            let terms = Terms { name, tags, ips, uses, expires };
            let mut random = StdRng::seed_from_u64(seed);
            let (token, text) = JoinToken::create(NetworkId(7), TokenId(id), &mut random, at(now), terms);
            prop_assert_eq!(id_of_text(&text), Some(TokenId(id)));
            let used = token.used_at(at(now + 1));
            let record = used.stored();
            let again = JoinToken::from_stored(NetworkId(7), TokenId(id), record.as_object().unwrap()).unwrap();
            prop_assert!(again.is_text(&text));
            prop_assert_eq!(again, used);
        }
    }
}
