//! `local.conf`: the user's settings, JSON.
//!
//! Specification: local service, "local.conf". Everything is typed and checked when it is read; an error says file, line and
//! column. Unknown keys are kept, and told of in the log; numbers may be written as strings and truth values as numbers, as in ZeroTier
//! One.

mod names;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use protocol::Address;
use protocol::crypto::gmac_siv::GmacSiv;
use protocol::inet::{Prefix, parse_endpoint};
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::clones::Policy as ClonePolicy;
use super::clouds;
use super::collision::Policy as CollisionPolicy;
use super::home::{CONTROLLER_FOLDER, Home, StartError};
use super::lanes_setting::LanesSetting;
use crate::core::event::{Cipher, CopyLimits, PhysicalNetwork, Settings as CoreSettings, VirtualPeer};

/// At most this many physical networks.
pub const MAX_PHYSICAL: usize = 32;
/// The section that requests change.
const SETTINGS: &str = "settings";
/// Limits of a datagram size set by the user, UDP payload octets.
const MTU_RANGE: std::ops::RangeInclusive<u64> = 1400..=10_324;

/// The settings as read: the JSON as it is and its meaning.
#[derive(Clone, Debug, Default)]
pub struct LocalConf {
    /// The JSON object.
    pub raw: Map<String, Value>,
    /// Its meaning.
    pub typed: Typed,
}

/// The sections of the file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Typed {
    /// How to treat physical networks.
    pub physical: BTreeMap<Text<Prefix>, Physical>,
    /// How to treat single peers.
    #[serde(rename = "virtual")]
    pub peers: BTreeMap<Text<Address>, Virtual>,
    /// Everything else.
    pub settings: Settings,
}

/// One physical network.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Physical {
    /// Never send to it nor bind in it.
    #[serde(deserialize_with = "truth")]
    pub blacklist: bool,
    /// Non-zero: traffic on it is neither encrypted nor authenticated.
    #[serde(deserialize_with = "number")]
    pub trusted_path_id: u64,
    /// UDP payload size towards it, 0 = default.
    #[serde(deserialize_with = "number")]
    pub mtu: u64,
}

/// One peer.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Virtual {
    /// Where to reach it.
    #[serde(rename = "try")]
    pub hints: Vec<Text<Endpoint>>,
    /// Physical networks never used for it.
    pub blacklist: Vec<Text<Prefix>>,
}

/// The section `settings`. What this version does not do yet is read and checked all the same.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Settings {
    /// Main UDP port and API port; 0 = random.
    #[serde(deserialize_with = "optional_port")]
    pub primary_port: Option<u16>,
    /// A second UDP port. Only when it is set to true, or a number is given.
    #[serde(deserialize_with = "optional_truth")]
    pub allow_secondary_port: Option<bool>,
    /// Its number, 0 = random.
    #[serde(deserialize_with = "optional_port")]
    pub secondary_port: Option<u16>,
    /// The port for port mapping.
    #[serde(deserialize_with = "optional_port")]
    pub tertiary_port: Option<u16>,
    /// UPnP and NAT-PMP.
    #[serde(deserialize_with = "optional_truth")]
    pub port_mapping_enabled: Option<bool>,
    /// Bind exactly these addresses.
    pub bind: Vec<Text<IpAddr>>,
    /// Interface name prefixes never used.
    pub interface_prefix_blacklist: Vec<String>,
    /// Interface name prefixes used whatever the links lead to.
    pub interface_prefix_allow: Vec<String>,
    /// Sources besides this machine that may use the control API.
    pub allow_management_from: Vec<Text<Prefix>>,
    /// Where scrapers from elsewhere may have `/metrics`, and nothing else.
    pub metrics_listen: Vec<Text<Endpoint>>,
    /// Write the metrics to a file every few seconds.
    #[serde(deserialize_with = "truth")]
    pub metrics_file: bool,
    /// A TCP relay may be used when UDP seems dead.
    #[serde(deserialize_with = "optional_truth")]
    pub allow_tcp_fallback_relay: Option<bool>,
    /// Use only the TCP relay.
    #[serde(deserialize_with = "truth")]
    pub force_tcp_relay: bool,
    /// Its address.
    pub tcp_fallback_relay: Option<Text<Endpoint>>,
    /// How kind to be to the network around: `auto`, `cloud` or `plain`.
    pub profile: clouds::Wanted,
    /// What to do when another machine runs with the same identity: `new`, `warn` or `stop`.
    pub clones: ClonePolicy,
    /// What to do when a root says that another node owns this address: `warn` or `replace-new`.
    pub collision: CollisionPolicy,
    /// Fewer keepalives.
    #[serde(deserialize_with = "truth")]
    pub low_bandwidth_mode: bool,
    /// Megabits a second that may be sent twice to a peer whose path is in doubt.
    #[serde(deserialize_with = "optional_number")]
    pub copy_limit: Option<u64>,
    /// … to all of them together by relays, …
    #[serde(deserialize_with = "optional_number")]
    pub relayed_copy_limit: Option<u64>,
    /// … and of that by roots of the public planet and of moons.
    #[serde(deserialize_with = "optional_number")]
    pub foreign_copy_limit: Option<u64>,
    /// How TAP devices are opened.
    pub tap: TapSetting,
    /// Which cipher to use and ask for.
    pub cipher: CipherSetting,
    /// How many lanes carry out what the packet thread decides.
    pub lanes: LanesSetting,
    /// ZeroTier One's several packet threads.
    #[serde(deserialize_with = "truth")]
    pub multicore_enabled: bool,
    /// How many.
    #[serde(deserialize_with = "number")]
    pub concurrency: u64,
    /// Tie them to processors.
    #[serde(deserialize_with = "truth")]
    pub cpu_pinning_enabled: bool,
    /// `apply`, `download` or `disable`.
    pub software_update: Option<String>,
    /// Update channel.
    pub software_update_channel: Option<String>,
    /// Whether to hand updates on.
    #[serde(deserialize_with = "truth")]
    pub software_update_dist: bool,
    /// Serve `/app`.
    #[serde(deserialize_with = "truth")]
    pub enable_web_server: bool,
    /// Another folder for the controller's store.
    pub controller_db_path: Option<String>,
    /// Controller: where a login ends.
    #[serde(rename = "ssoRedirectURL")]
    pub sso_redirect_url: Option<String>,
    /// Bonding policy for every peer.
    pub default_bonding_policy: Option<String>,
    /// Bonding policies of the user.
    pub policies: BTreeMap<String, Policy>,
    /// Bonding policy for single peers.
    pub peer_specific_bonds: BTreeMap<Text<Address>, String>,
}

/// How TAP devices are opened.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum TapSetting {
    /// The fastest way that the kernel grants.
    #[default]
    Auto,
    /// Whole frames only, without any offloads.
    Plain,
}

/// Which cipher to use and ask for.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum CipherSetting {
    /// The one this processor has instructions for.
    #[default]
    Auto,
    /// AES-GMAC-SIV with those who know it.
    AesGmacSiv,
    /// Salsa20/12 and Poly1305 with everybody.
    Salsa20,
}

impl CipherSetting {
    /// What it means on a processor that has instructions for AES, or has not.
    fn on(self, aes: bool) -> Cipher {
        match self {
            Self::AesGmacSiv => Cipher::AesGmacSiv,
            Self::Salsa20 => Cipher::Salsa20,
            Self::Auto if aes => Cipher::AesGmacSiv,
            Self::Auto => Cipher::Salsa20,
        }
    }
}

/// A bonding policy of the user.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Policy {
    /// The built-in policy it refines.
    pub base_policy: String,
    /// The eight limits and weights that make up a link's quality.
    #[serde(default)]
    pub link_quality: Option<BTreeMap<String, f64>>,
    /// Links by interface name.
    #[serde(default)]
    pub links: BTreeMap<String, Value>,
}

impl LocalConf {
    /// Reads the text of the file at `path` (named in errors only). Empty text means defaults.
    ///
    /// # Errors
    /// No JSON object, a value of the wrong kind, or out of range.
    pub fn parse(text: &str, path: &Path) -> Result<Self, StartError> {
        const REMEDY: &str = "correct it (an empty file means defaults)";
        // Some editors begin a file with this.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        if text.trim_matches([' ', '\t', '\r', '\n', '\u{feff}']).is_empty() {
            return Ok(LocalConf::default());
        }
        let located = |error: serde_json::Error| {
            let said = error.to_string();
            let said = said.rsplit_once(" at line ").map_or(said.as_str(), |(what, _)| what);
            let line = text.lines().nth(error.line().saturating_sub(1)).unwrap_or_default();
            let text = if is_comment_at(line, error.column()) { "JSON has no comments" } else { said };
            let place = format!("{}:{}:{}", path.display(), error.line(), error.column());
            StartError::new(format!("the settings are invalid ({text})"), place, REMEDY)
        };
        let wrong = |what: String| {
            StartError::new(format!("the settings are invalid ({what})"), path.display().to_string(), REMEDY)
        };
        let raw: Map<String, Value> = serde_json::from_str(text).map_err(located)?;
        for section in ["physical", "virtual", SETTINGS] {
            if raw.get(section).is_some_and(|s| !s.is_object()) {
                return Err(wrong(format!("`{section}` must be an object")));
            }
        }
        let typed: Typed = serde_json::from_str(text).map_err(located)?;
        if typed.physical.len() > MAX_PHYSICAL {
            return Err(wrong(format!("`physical` has more than {MAX_PHYSICAL} networks")));
        }
        Ok(LocalConf { raw, typed })
    }

    /// What is written in the file and means nothing: a line each.
    pub fn unknown_names(&self) -> Vec<String> {
        names::unknown(&self.raw)
    }

    /// The section `settings` as JSON.
    pub fn raw_settings(&self) -> Map<String, Value> {
        self.raw.get(SETTINGS).and_then(Value::as_object).cloned().unwrap_or_default()
    }

    /// The settings with `changes` merged into the section `settings`, checked, and the new text of the file.
    ///
    /// # Errors
    /// A change is not valid.
    pub fn merged(&self, changes: &Map<String, Value>, path: &Path) -> Result<(Self, String), StartError> {
        let mut raw = self.raw.clone();
        let mut settings = self.raw_settings();
        settings.extend(changes.clone());
        raw.insert(SETTINGS.into(), Value::Object(settings));
        let mut text = Vec::new();
        let indent = serde_json::ser::PrettyFormatter::with_indent(b"    ");
        let mut serializer = serde_json::Serializer::with_formatter(&mut text, indent);
        raw.serialize(&mut serializer)
            .map_err(|e| StartError::new(e.to_string(), path.display().to_string(), "report this"))?;
        let text = String::from_utf8_lossy(&text).into_owned();
        Ok((Self::parse(&text, path)?, text))
    }

    /// What concerns the core.
    pub fn core_settings(&self) -> CoreSettings {
        let physical = |p: &Physical| PhysicalNetwork {
            blacklist: p.blacklist,
            trusted_path_id: p.trusted_path_id,
            mtu: match p.mtu {
                0 => 0,
                mtu => mtu.clamp(*MTU_RANGE.start(), *MTU_RANGE.end()) as usize,
            },
        };
        let peer = |v: &Virtual| VirtualPeer {
            hints: v.hints.iter().map(|h| h.0.0).collect(),
            blacklist: v.blacklist.iter().map(|b| b.0).collect(),
        };
        let set = &self.typed.settings;
        CoreSettings {
            physical: self.typed.physical.iter().map(|(k, v)| (k.0, physical(v))).collect(),
            peers: self.typed.peers.iter().map(|(k, v)| (k.0, peer(v))).collect(),
            low_bandwidth: set.low_bandwidth_mode,
            cipher: set.cipher.on(GmacSiv::is_accelerated()),
            copies: CopyLimits::megabits(set.copy_limit, set.relayed_copy_limit, set.foreign_copy_limit),
            controller: true,
        }
    }

    /// Physical prefixes in which nothing is bound.
    pub fn blacklisted(&self) -> Vec<Prefix> {
        let listed = self.typed.physical.iter().filter(|(k, v)| v.blacklist && k.0.bits > 0);
        listed.map(|(k, _)| k.0).collect()
    }

    /// The folder of the controller's database.
    pub fn controller_folder(&self, home: &Home) -> PathBuf {
        let named = self.typed.settings.controller_db_path.as_deref().filter(|path| path.starts_with('/'));
        named.map_or_else(|| home.path(CONTROLLER_FOLDER), PathBuf::from)
    }

    /// Whether another port may be used beside one that sends into nothing: nobody named addresses or ports, or wants one alone.
    pub fn may_choose_port(&self) -> bool {
        let Settings { bind, primary_port, allow_secondary_port, secondary_port, .. } = &self.typed.settings;
        let is_named = |port: &Option<u16>| port.is_some_and(|port| port != 0);
        bind.is_empty()
            && primary_port.is_none()
            && *allow_secondary_port != Some(false)
            && !is_named(secondary_port)
    }

    /// Secondary and tertiary UDP ports asked for: 0 = a random one.
    pub fn extra_ports(&self) -> Vec<u16> {
        let settings = &self.typed.settings;
        let mut ports = Vec::new();
        match (settings.allow_secondary_port, settings.secondary_port) {
            (Some(false), _) | (None, None | Some(0)) => {}
            (_, port) => ports.push(port.unwrap_or(0)),
        }
        ports.extend(settings.tertiary_port.filter(|p| *p != 0));
        ports
    }
}

/// Whether what the parser stumbled over is a comment as other languages have them.
fn is_comment_at(line: &str, column: usize) -> bool {
    let from = line.get(column.saturating_sub(1)..).unwrap_or_default();
    from.starts_with(['/', '#']) || line.trim_start().starts_with(['/', '#'])
}

/// A value written as a JSON string (or an object's key).
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Text<T>(pub T);

/// An IP address and port, `ip/port`.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Endpoint(pub SocketAddr);

trait FromText: Sized {
    const FORM: &'static str;
    fn from_text(text: &str) -> Option<Self>;
}

impl FromText for Prefix {
    const FORM: &'static str = "an IP prefix such as \"10.0.0.0/8\" or \"fd00::/8\"";
    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl FromText for Address {
    const FORM: &'static str = "an address of 10 hex digits";
    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl FromText for IpAddr {
    const FORM: &'static str = "an IP address";
    fn from_text(text: &str) -> Option<Self> {
        // ZeroTier One reads these with an optional, unused number.
        text.split('/').next()?.parse().ok()
    }
}

impl FromText for Endpoint {
    const FORM: &'static str = "an IP address and port such as \"192.0.2.1/9993\"";
    fn from_text(text: &str) -> Option<Self> {
        parse_endpoint(text).ok().map(Endpoint)
    }
}

impl<'de, T: FromText> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Seen<T>(std::marker::PhantomData<T>);
        impl<T: FromText> Visitor<'_> for Seen<T> {
            type Value = Text<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(T::FORM)
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Text<T>, E> {
                T::from_text(text).map(Text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_str(Seen(std::marker::PhantomData))
    }
}

struct Lenient {
    form: &'static str,
}

impl Visitor<'_> for Lenient {
    type Value = Option<u64>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.form)
    }
    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Option<u64>, E> {
        Ok(Some(value.into()))
    }
    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Option<u64>, E> {
        Ok(Some(value))
    }
    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Option<u64>, E> {
        u64::try_from(value).map(Some).map_err(|_| E::invalid_value(de::Unexpected::Signed(value), &self))
    }
    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Option<u64>, E> {
        if (0.0..9e15).contains(&value) {
            Ok(Some(value as u64))
        } else {
            Err(E::invalid_value(de::Unexpected::Float(value), &self))
        }
    }
    fn visit_str<E: de::Error>(self, text: &str) -> Result<Option<u64>, E> {
        let number = match text.trim() {
            "true" | "True" | "TRUE" => Some(1),
            "false" | "False" | "FALSE" | "" => Some(0),
            digits => digits.parse().ok(),
        };
        number.map(Some).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }
    fn visit_unit<E: de::Error>(self) -> Result<Option<u64>, E> {
        Ok(None)
    }
}

fn optional_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    deserializer.deserialize_any(Lenient { form: "a number that is not negative" })
}

fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    optional_number(deserializer).map(Option::unwrap_or_default)
}

fn optional_truth<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    Ok(deserializer.deserialize_any(Lenient { form: "true or false" })?.map(|n| n > 0))
}

fn truth<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(optional_truth(deserializer)?.unwrap_or(false))
}

fn optional_port<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u16>, D::Error> {
    let form = "a port, 0 to 65535";
    let number = deserializer.deserialize_any(Lenient { form })?;
    let port =
        |n: u64| u16::try_from(n).map_err(|_| de::Error::invalid_value(de::Unexpected::Unsigned(n), &form));
    number.map(port).transpose()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<LocalConf, StartError> {
        LocalConf::parse(text, Path::new("/home/local.conf"))
    }

    #[test]
    fn everything_at_once() {
        let conf = parse(
            r#"{
            "physical": {
                "10.0.0.0/24": {"blacklist": true},
                "10.10.10.0/24": {"trustedPathId": 101, "mtu": 9000},
                "fd00::/8": {"mtu": 99}
            },
            "virtual": {"feedbeef01": {"try": ["10.10.20.1/9993", "fd00::1/9993"], "blacklist": ["192.168.0.0/24"]}},
            "settings": {
                "primaryPort": "9994", "allowSecondaryPort": 1, "secondaryPort": 0, "tertiaryPort": 9996,
                "bind": ["192.0.2.1"], "interfacePrefixBlacklist": ["docker"], "lowBandwidthMode": "true",
                "allowManagementFrom": ["192.0.2.0/24"], "defaultBondingPolicy": "mine",
                "policies": {"mine": {"basePolicy": "active-backup", "links": {"eth0": {"mode": "primary"}}}},
                "peerSpecificBonds": {"feedbeef01": "balance-xor"}, "tap": "plain", "lanes": 3, "cipher": "salsa20", "redis": {"hostname": "x"}, "unknown": [1]
            }, "extra": 1}"#,
        )
        .unwrap();
        let core = conf.core_settings();
        let physical: Vec<_> = core
            .physical
            .iter()
            .map(|(k, v)| (k.to_string(), v.blacklist, v.trusted_path_id, v.mtu))
            .collect();
        assert_eq!(
            physical,
            [
                ("10.0.0.0/24".into(), true, 0, 0),
                ("10.10.10.0/24".into(), false, 101, 9000),
                ("fd00::/8".into(), false, 0, 1400)
            ]
        );
        assert_eq!(core.peers[&"feedbeef01".parse().unwrap()].hints.len(), 2);
        assert!(core.low_bandwidth);
        let settings = &conf.typed.settings;
        assert_eq!((settings.primary_port, conf.extra_ports()), (Some(9994), vec![0, 9996]));
        assert_eq!((settings.tap, settings.lanes), (TapSetting::Plain, LanesSetting::Fixed(3)));
        assert_eq!(core.cipher, Cipher::Salsa20);
        assert_eq!(conf.blacklisted(), ["10.0.0.0/24".parse().unwrap()]);
        assert_eq!(conf.raw["extra"], 1);
    }

    #[test]
    fn one_port_unless_asked() {
        for (text, ports) in [
            ("{}", vec![]),
            (r#"{"settings":{"allowSecondaryPort":true}}"#, vec![0]),
            (r#"{"settings":{"allowSecondaryPort":false,"secondaryPort":5}}"#, vec![]),
            (r#"{"settings":{"secondaryPort":5,"portMappingEnabled":true}}"#, vec![5]),
        ] {
            assert_eq!(parse(text).unwrap().extra_ports(), ports, "{text}");
        }
    }

    #[test]
    fn errors_say_where_and_what() {
        for (text, place, what) in [
            ("{\n \"settings\": {,}}", ":2:15", "key must be a string"),
            ("[]", ":1:", "map"),
            ("{\n // our port\n \"settings\": {}}", ":2:", "JSON has no comments"),
            ("# settings\n{}", ":1:1", "JSON has no comments"),
            ("{\"settings\": {} /* none */}", ":1:", "JSON has no comments"),
            ("{\"settings\": []}", "local.conf", "`settings` must be an object"),
            ("{\"settings\":{\n\"primaryPort\": 70000}}", ":2:", "65535"),
            ("{\"settings\":{\"bind\": [\"here\"]}}", ":1:", "IP address"),
            ("{\"physical\":{\"10.0.0.0\":{}}}", ":1:", "IP prefix"),
            ("{\"virtual\":{\"xyz\":{}}}", ":1:", "10 hex digits"),
            ("{\"virtual\":{\"feedbeef01\":{\"try\":[\"1.2.3.4\"]}}}", ":1:", "192.0.2.1/9993"),
            ("{\"settings\":{\"policies\":{\"a\":{}}}}", ":1:", "basePolicy"),
            ("{\"settings\":{\"tap\":\"fast\"}}", ":1:", "`auto` or `plain`"),
            ("{\"settings\":{\"collision\":\"replace\"}}", ":1:", "`warn` or `replace-new`"),
            ("{\"settings\":{\"collision\":true}}", ":1:", "expected"),
            ("{\"settings\":{\"cipher\":\"none\"}}", ":1:", "`auto`, `aes-gmac-siv`, `salsa20`"),
            ("{\"settings\":{\"lanes\":17}}", ":1:", "`lanes` is 17, not \"auto\" or a number from 0 to 16"),
            ("{\"settings\":{\"lanes\":\"all\"}}", ":1:", "from 0 to 16"),
            ("{\"settings\":{\"lanes\":[-1]}}", ":1:", "from 0 to 16"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(
                error.contains(place) && error.contains(what) && !error.contains('\n'),
                "{text}: {error}"
            );
        }
    }

    #[test]
    fn the_cipher_follows_the_processor_unless_asked() {
        let cipher = |value: &str| {
            let conf = parse(&format!(r#"{{"settings":{{"cipher":"{value}"}}}}"#)).unwrap();
            [true, false].map(|aes| conf.typed.settings.cipher.on(aes))
        };
        let [aes, salsa] = [Cipher::AesGmacSiv, Cipher::Salsa20];
        assert_eq!(cipher("auto"), [aes, salsa]);
        assert_eq!(cipher("aes-gmac-siv"), [aes; 2]);
        assert_eq!(cipher("salsa20"), [salsa; 2]);
        assert_eq!(parse("{}").unwrap().typed.settings.cipher, CipherSetting::Auto);
    }

    #[test]
    fn merging_keeps_the_rest() {
        let conf = parse(r#"{"settings":{"primaryPort":1,"x":2},"physical":{"10.0.0.0/8":{}}}"#).unwrap();
        let changes = serde_json::json!({"primaryPort": 7, "allowManagementFrom": ["10.0.0.0/8"]});
        let (merged, text) = conf.merged(changes.as_object().unwrap(), Path::new("x")).unwrap();
        assert_eq!(merged.typed.settings.primary_port, Some(7));
        assert_eq!(merged.raw_settings()["x"], 2);
        assert_eq!(merged.typed.physical.len(), 1);
        assert!(text.starts_with("{\n    \""), "{text}");
        let bad = serde_json::json!({"primaryPort": "many"});
        assert!(conf.merged(bad.as_object().unwrap(), Path::new("x")).is_err());
    }

    #[test]
    fn a_byte_order_mark_is_no_harm() {
        let conf = parse("\u{feff}{\"settings\": {\"primaryPort\": 9994}}").unwrap();
        assert_eq!(conf.typed.settings.primary_port, Some(9994));
        assert!(parse("\u{feff}").is_ok() && parse("\u{feff}\u{feff}{").is_err());
    }

    #[test]
    fn mistyped_names_are_told() {
        let conf = parse(
            r#"{"setings": {}, "settings": {"lowBandwidthMod": true, "interfacePrefixBlackList": [], "zzzzzzzz": 1,
                "primaryPort": 1, "policies": {"mine": {"basePolicy": "active-backup"}}},
                "physical": {"10.0.0.0/8": {"blacklisted": true, "mtu": 1400}}, "virtual": {"feedbeef01": {"trie": []}}}"#,
        );
        assert_eq!(
            conf.unwrap().unknown_names(),
            [
                "physical.10.0.0.0/8.blacklisted is no setting and has no effect; did you mean blacklist?",
                "setings is no setting and has no effect; did you mean settings?",
                "settings.interfacePrefixBlackList is no setting and has no effect; did you mean interfacePrefixBlacklist?",
                "settings.lowBandwidthMod is no setting and has no effect; did you mean lowBandwidthMode?",
                "settings.zzzzzzzz is no setting and has no effect",
                "virtual.feedbeef01.trie is no setting and has no effect; did you mean try?",
            ]
        );
    }

    #[test]
    fn blank_means_defaults() {
        for text in ["", "\n \t", "{}"] {
            let conf = parse(text).unwrap();
            assert!(conf.raw.is_empty() && conf.typed.settings.tap == TapSetting::Auto);
        }
        assert!(parse("\0\0\0").is_err(), "what a power cut leaves is no settings file");
    }

    proptest! {
        #[test]
        fn never_panics(text in ".{0,200}") {
            let _ = parse(&text);
        }

        #[test]
        fn never_panics_on_json_like(key in "primaryPort|bind|policies|x", value in "[0-9a-z\"\\[\\]{}:,.]{0,20}") {
            let _ = parse(&format!("{{\"settings\":{{\"{key}\":{value}}}}}"));
        }
    }
}
