//! A configuration as a dictionary.

use super::blobs;
use super::{
    DEFAULT_MTU, MAX_CAPABILITIES, MAX_COOS, MAX_MTU, MAX_NAME, MAX_RULE_LINES, MAX_TAGS, MIN_MTU,
    NetworkConfig, RuleLines, Sso,
};
use crate::credential::{Com, HeldCapability, Signed};
use crate::dictionary::Dictionary;
use crate::metadata::{MIN_NETWORK_CONFIG_VERSION, NETWORK_CONFIG_VERSION};
use crate::{Malformed, NetworkId, Reader, Result, Span, Time};

/// Our own key: the source lines of the rules.
const RULE_LINES: &str = "ztnode.lines";

impl NetworkConfig {
    /// The wire form, keys in the order of the reference implementation. What exceeds a limit is left out.
    #[must_use]
    pub fn to_dictionary(&self) -> Dictionary {
        let mut d = Dictionary::new();
        d.push_hex("v", NETWORK_CONFIG_VERSION);
        d.push_hex("nwid", self.network.0);
        d.push_hex("ts", self.timestamp.as_ms().cast_unsigned());
        d.push_hex("ctmd", self.credential_window.as_ms().cast_unsigned());
        d.push_hex("r", self.revision);
        d.push_address("id", self.issued_to);
        d.push_address("tt", self.trace_target);
        d.push_hex("tl", self.trace_level.into());
        d.push_hex("f", self.flags);
        d.push_hex("ml", self.multicast_limit.into());
        d.push_hex("t", self.public.into());
        d.push_str("n", blobs::truncated(&self.name, MAX_NAME));
        d.push_hex("mtu", self.mtu.into());

        let mut blob = |key, bytes: Vec<u8>| {
            if !bytes.is_empty() {
                d.push_bytes(key, &bytes);
            }
        };
        let mut com = Vec::new();
        if let Some(present) = self.com.as_ref().filter(|com| !com.qualifiers.is_empty()) {
            present.write(&mut com);
        }
        blob("C", com);
        blob("CAP", concatenated(&self.capabilities, MAX_CAPABILITIES, HeldCapability::write));
        blob("TAG", concatenated(&self.tags, MAX_TAGS, Signed::write));
        blob("COO", concatenated(&self.coos, MAX_COOS, Signed::write));
        blob("S", blobs::write_specialists(&self.specialists));
        blob("RT", blobs::write_routes(&self.routes));
        blob("I", blobs::write_addresses(&self.addresses));
        blob("R", flowrules::encode(&self.rules[..self.rules.len().min(flowrules::MAX_RULES)]));
        d.push_bytes("DNS", &blobs::write_dns(&self.dns));
        self.sso.write(&mut d);
        if let Some(text) = self.rule_lines.to_text().filter(|text| !text.is_empty()) {
            d.push_str(RULE_LINES, &text);
        }
        d
    }

    /// Reads the wire form.
    ///
    /// # Errors
    /// [`Malformed`] (the offset is one inside the value of the key that is named): a format older than version 6, no
    /// network, no member, or a value that ends in the middle of an object where that is not tolerated.
    pub fn from_dictionary(bytes: &[u8]) -> Result<Self> {
        let d = Dictionary::from_bytes(bytes);
        let refused = |what| Malformed { what, at: 0 };
        if d.get_hex("v", 0) < MIN_NETWORK_CONFIG_VERSION {
            return Err(refused("network configuration version"));
        }
        let network = NetworkId(d.get_hex("nwid", 0));
        if network.0 == 0 {
            return Err(refused("network ID of a network configuration"));
        }
        let issued_to = d.get_address("id");
        if issued_to.is_null() {
            return Err(refused("member of a network configuration"));
        }

        let timestamp = Time::from_ms(d.get_hex("ts", 0).cast_signed());
        let mut config = NetworkConfig::new(network, issued_to, timestamp);
        config.credential_window = Span::ms(d.get_hex("ctmd", 0).cast_signed());
        config.revision = d.get_hex("r", 0);
        config.trace_target = d.get_address("tt");
        config.trace_level = d.get_hex("tl", 0) as u32;
        config.flags = d.get_hex("f", 0);
        config.multicast_limit = d.get_hex("ml", 0) as u32;
        config.public = d.get_hex("t", 0) == 1;
        config.name = d.get_text("n", MAX_NAME);
        config.mtu = d.get_hex("mtu", DEFAULT_MTU.into()).clamp(MIN_MTU.into(), MAX_MTU.into()) as u16;

        if let Some(blob) = d.get("C") {
            config.com = Some(Signed::read(&mut Reader::new(&blob))?)
                .filter(|com: &Signed<Com>| !com.qualifiers.is_empty());
        }
        if let Some(blob) = d.get("CAP") {
            config.capabilities = blobs::read_list(&blob, MAX_CAPABILITIES, true, HeldCapability::read)?;
            config.capabilities.sort_by_key(|capability| capability.id);
        }
        if let Some(blob) = d.get("TAG") {
            config.tags = blobs::read_list(&blob, MAX_TAGS, true, Signed::read)?;
            config.tags.sort_by_key(|tag| tag.id);
        }
        if let Some(blob) = d.get("COO") {
            config.coos = blobs::read_list(&blob, MAX_COOS, false, Signed::read)?;
        }
        if let Some(blob) = d.get("S") {
            config.specialists = blobs::read_specialists(&blob);
        }
        if let Some(blob) = d.get("RT") {
            config.routes = blobs::read_routes(&blob)?;
        }
        if let Some(blob) = d.get("I") {
            config.addresses = blobs::read_addresses(&blob)?;
        }
        if let Some(blob) = d.get("R") {
            config.rules =
                flowrules::decode(&blob).map_err(|e| Malformed { what: "base rules", at: e.at })?;
        }
        if let Some(blob) = d.get("DNS") {
            config.dns = blobs::read_dns(&blob)?;
        }
        config.sso = Sso::read(&d);
        config.rule_lines = RuleLines::from_text(&d.get_text(RULE_LINES, MAX_RULE_LINES + 1));
        Ok(config)
    }
}

fn concatenated<T>(items: &[T], most: usize, write: impl Fn(&T, &mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    for item in items.iter().take(most) {
        write(item, &mut out);
    }
    out
}
