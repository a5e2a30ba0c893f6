//! What a member tells the controller with a configuration request. Specification: VL2 networks, request metadata.

use crate::dictionary::Dictionary;

/// Version of the protocol between nodes.
pub const PROTOCOL_VERSION: u8 = 12;
/// The last version whose peers do not know AES-GMAC-SIV: a node that announces it is sent Salsa20/12 and Poly1305, and
/// nothing else changes. Specification: VL1 verbs, protocol versions.
pub const PROTOCOL_VERSION_BEFORE_AES: u8 = 11;
/// Software version (major, minor, revision) announced to other nodes. Controllers and tools show it and some decide by it
/// what a node understands, so it names the release of ZeroTier One whose behaviour this node has, not a version of its own.
pub const ANNOUNCED_VERSION: (u8, u8, u16) = (1, 14, 1);
/// Version of the configuration format written, and named in requests.
pub const NETWORK_CONFIG_VERSION: u64 = 7;
/// Least version of the configuration format understood.
pub const MIN_NETWORK_CONFIG_VERSION: u64 = 6;
/// Revision of the rules engine.
pub const RULES_ENGINE_REVISION: u64 = 1;
/// The vendor code of ZeroTier.
pub const VENDOR: u64 = 1;
/// Longest metadata dictionary, in bytes without the NUL the reference implementation counts in.
pub const MAX_METADATA: usize = 1023;
/// Our own keys.
const RULE_LINES: &str = "ztnode.lines";
const RUN: &str = "ztnode.run";

/// Metadata of a configuration request. A controller reads absent numbers as 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestMetadata {
    /// `v`: configuration format understood.
    pub version: u64,
    /// `vend`: vendor code.
    pub vendor: u64,
    /// `pv`: protocol version.
    pub protocol: u64,
    /// `majv`: major software version.
    pub major: u64,
    /// `minv`: minor software version.
    pub minor: u64,
    /// `revv`: software revision.
    pub revision: u64,
    /// `mr`: most base rules.
    pub max_rules: u64,
    /// `mc`: most capabilities.
    pub max_capabilities: u64,
    /// `mcr`: most rules of a capability.
    pub max_capability_rules: u64,
    /// `mt`: most tags.
    pub max_tags: u64,
    /// `f`: flags, 0.
    pub flags: u64,
    /// `revr`: revision of the rules engine; 0 asks for a configuration without rules.
    pub rules_engine: u64,
    /// `o`: platform and architecture, see [`platform`].
    pub platform: String,
    /// `a`: what authorizes the member to join, e.g. `token:XYZ`; not sent if empty.
    pub authorization: String,
    /// `ztnode.lines`, our own: whether the member wants the source lines of the rules in its configuration
    /// ([`crate::netconf::RuleLines`]); not sent if not. The reference's controller passes it over.
    pub rule_lines: bool,
    /// `ztnode.run`, our own: says that the member acknowledges revocations, and tells one run of it from another: what an
    /// earlier run acknowledged, this one may have forgotten. 0 = it does not; not sent then. The reference's controller
    /// passes it over.
    pub run: u64,
}

impl RequestMetadata {
    /// What this node says.
    #[must_use]
    pub fn ours(authorization: &str) -> Self {
        let (major, minor, revision) = ANNOUNCED_VERSION;
        Self {
            version: NETWORK_CONFIG_VERSION,
            vendor: VENDOR,
            protocol: PROTOCOL_VERSION.into(),
            major: major.into(),
            minor: minor.into(),
            revision: revision.into(),
            max_rules: flowrules::MAX_RULES as u64,
            max_capabilities: crate::netconf::MAX_CAPABILITIES as u64,
            max_capability_rules: flowrules::MAX_CAPABILITY_RULES as u64,
            max_tags: crate::netconf::MAX_TAGS as u64,
            flags: 0,
            rules_engine: RULES_ENGINE_REVISION,
            platform: platform(),
            authorization: authorization.to_owned(),
            rule_lines: true,
            run: 0,
        }
    }

    /// The wire form, keys in the order of the reference implementation.
    #[must_use]
    pub fn to_dictionary(&self) -> Dictionary {
        let mut d = Dictionary::new();
        d.push_hex("v", self.version);
        d.push_hex("vend", self.vendor);
        d.push_hex("pv", self.protocol);
        d.push_hex("majv", self.major);
        d.push_hex("minv", self.minor);
        d.push_hex("revv", self.revision);
        d.push_hex("mr", self.max_rules);
        d.push_hex("mc", self.max_capabilities);
        d.push_hex("mcr", self.max_capability_rules);
        d.push_hex("mt", self.max_tags);
        d.push_hex("f", self.flags);
        d.push_hex("revr", self.rules_engine);
        d.push_str("o", &self.platform);
        if !self.authorization.is_empty() {
            d.push_str("a", &self.authorization);
        }
        if self.rule_lines {
            d.push_bool(RULE_LINES, true);
        }
        if self.run != 0 {
            d.push_hex(RUN, self.run);
        }
        d
    }

    /// Reads the wire form; never fails, absent keys are 0 or empty.
    #[must_use]
    pub fn from_dictionary(bytes: &[u8]) -> Self {
        let d = Dictionary::from_bytes(&bytes[..bytes.len().min(MAX_METADATA)]);
        Self {
            version: d.get_hex("v", 0),
            vendor: d.get_hex("vend", 0),
            protocol: d.get_hex("pv", 0),
            major: d.get_hex("majv", 0),
            minor: d.get_hex("minv", 0),
            revision: d.get_hex("revv", 0),
            max_rules: d.get_hex("mr", 0),
            max_capabilities: d.get_hex("mc", 0),
            max_capability_rules: d.get_hex("mcr", 0),
            max_tags: d.get_hex("mt", 0),
            flags: d.get_hex("f", 0),
            rules_engine: d.get_hex("revr", 0),
            platform: d.get_str("o"),
            authorization: d.get_str("a"),
            rule_lines: d.get_str(RULE_LINES) == "1",
            run: d.get_hex(RUN, 0),
        }
    }
}

/// Platform and architecture this was compiled for, in the words of the reference implementation, e.g. `linux/x86_64`.
#[must_use]
pub fn platform() -> String {
    let platform = match std::env::consts::OS {
        os @ ("windows" | "android" | "linux" | "aix" | "solaris") => os,
        "freebsd" | "netbsd" | "openbsd" | "dragonfly" => "bsd",
        "ios" => "ios_iphone",
        "macos" => "macos",
        _ => "unknown",
    };
    let architecture = match std::env::consts::ARCH {
        arch @ ("x86_64" | "x86" | "arm" | "mips" | "s390") => arch,
        "aarch64" => "arm64",
        "loongarch64" => "loongarch",
        "mips64" => "mips",
        "riscv32" | "riscv64" => "riscv",
        "powerpc" | "powerpc64" => "powerpc",
        "s390x" => "s390",
        _ => "unknown",
    };
    format!("{platform}/{architecture}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_keys_come_last_and_only_when_they_say_something() {
        let running = RequestMetadata { run: 0x2a, ..RequestMetadata::ours("token:x") };
        let text = running.to_dictionary().into_bytes();
        assert!(
            text.ends_with(b"\nztnode.lines=1\nztnode.run=000000000000002a"),
            "{}",
            String::from_utf8_lossy(&text)
        );
        assert_eq!(RequestMetadata::from_dictionary(&text), running);
        let ours = RequestMetadata::ours("token:x");
        let text = ours.to_dictionary().into_bytes();
        assert!(text.ends_with(b"\na=token:x\nztnode.lines=1"));
        assert!(text.len() < MAX_METADATA);
        assert_eq!(RequestMetadata::from_dictionary(&text), ours);
        let silent = RequestMetadata { rule_lines: false, ..ours };
        let text = silent.to_dictionary().into_bytes();
        assert!(text.ends_with(b"\na=token:x"));
        assert_eq!(RequestMetadata::from_dictionary(&text), silent);
    }
}
