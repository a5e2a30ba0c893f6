//! One entry in words of the language.

use super::Names;
use crate::language::{CHARACTERISTICS, ETHERTYPES, IP_PROTOCOLS, as_reference};
use crate::rule::{ADDRESS_MASK, Kind};

/// Ok: words of the language. Err: a description, for what it has no words for.
pub(super) type Words = Result<String, String>;

/// An action with its operands.
pub(super) fn action(kind: &Kind) -> Words {
    Ok(match kind {
        Kind::Drop => "drop".into(),
        Kind::Accept => "accept".into(),
        Kind::Break => "break".into(),
        Kind::Tee(target) | Kind::Watch(target) => {
            let word = if matches!(kind, Kind::Tee(_)) { "tee" } else { "watch" };
            let length = if target.length == u16::MAX { -1 } else { i32::from(target.length) };
            format!("{word} {length} {:010x}", target.address & ADDRESS_MASK)
        }
        Kind::Redirect(target) => format!("redirect {:010x}", target.address & ADDRESS_MASK),
        Kind::Priority(bucket) => return Err(format!("<priority {bucket}>")),
        other => return Err(format!("<{}>", other.name())),
    })
}

/// A match without its NOT and OR.
pub(super) fn matching(kind: &Kind, names: &Names) -> Words {
    let range = |word: &str, first: u32, last: u32| match first.cmp(&last) {
        std::cmp::Ordering::Equal => Ok(format!("{word} {first}")),
        std::cmp::Ordering::Less => Ok(format!("{word} {first}-{last}")),
        std::cmp::Ordering::Greater => Err(format!("<{word} {first}-{last}, never>")),
    };
    let mac = |word: &str, mac: &[u8; 6]| {
        let bytes: Vec<String> = mac.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(format!("{word} {}", bytes.join(":")))
    };
    let prefix = |word: &str, address: &dyn std::fmt::Display, bits: u8, most: u8| {
        let text = format!("{word} {address}/{bits}");
        if bits <= most { Ok(text) } else { Err(format!("<{text}>")) }
    };
    match kind {
        Kind::SourceAddress(address) => Ok(format!("ztsrc {:010x}", address & ADDRESS_MASK)),
        Kind::DestAddress(address) => Ok(format!("ztdest {:010x}", address & ADDRESS_MASK)),
        Kind::VlanId(id) => Ok(format!("vlan {id}")),
        Kind::VlanPcp(pcp) => Ok(format!("vlanpcp {pcp}")),
        Kind::VlanDei(dei) => Ok(format!("vlandei {dei}")),
        Kind::MacSource(address) => mac("macsrc", address),
        Kind::MacDest(address) => mac("macdest", address),
        Kind::Ipv4Source(ip, bits) => prefix("ipsrc", ip, *bits, 32),
        Kind::Ipv4Dest(ip, bits) => prefix("ipdest", ip, *bits, 32),
        Kind::Ipv6Source(ip, bits) => prefix("ipsrc", ip, *bits, 128),
        Kind::Ipv6Dest(ip, bits) => prefix("ipdest", ip, *bits, 128),
        Kind::IpTos { mask, start, end } => {
            range(&format!("iptos 0x{mask:02x}"), u32::from(*start), u32::from(*end))
        }
        Kind::IpProtocol(protocol) => {
            let named = IP_PROTOCOLS.iter().find(|(_, number)| number == protocol);
            Ok(named
                .map_or_else(|| format!("ipprotocol {protocol}"), |(name, _)| format!("ipprotocol {name}")))
        }
        Kind::Ethertype(ethertype) => {
            let named = ETHERTYPES.iter().find(|(_, number)| number == ethertype);
            Ok(named.map_or_else(
                || format!("ethertype 0x{ethertype:04x}"),
                |(name, _)| format!("ethertype {name}"),
            ))
        }
        Kind::Icmp { kind, code } => Ok(format!("icmp {kind} {}", code.map_or(-1, i32::from))),
        Kind::SourcePort(first, last) => range("sport", u32::from(*first), u32::from(*last)),
        Kind::DestPort(first, last) => range("dport", u32::from(*first), u32::from(*last)),
        Kind::FrameSize(first, last) => range("framesize", u32::from(*first), u32::from(*last)),
        Kind::Characteristics(mask) => characteristics(*mask),
        Kind::Random(probability) => Ok(format!("random {}", fraction(*probability))),
        Kind::TagsDifference(id, value) => Ok(tag("tdiff", *id, *value, names)),
        Kind::TagsAnd(id, value) => Ok(tag("tand", *id, *value, names)),
        Kind::TagsOr(id, value) => Ok(tag("tor", *id, *value, names)),
        Kind::TagsXor(id, value) => Ok(tag("txor", *id, *value, names)),
        Kind::TagsEqual(id, value) => Ok(tag("teq", *id, *value, names)),
        Kind::TagSender(id, value) => Ok(tag("tseq", *id, *value, names)),
        Kind::TagReceiver(id, value) => Ok(tag("treq", *id, *value, names)),
        Kind::IntegerRange(range) => Err(format!(
            "<integer at byte {}, {} bits{}, {} to {}>",
            range.index,
            range.bits(),
            if range.little_endian() { " little-endian" } else { "" },
            range.start,
            range.end()
        )),
        other => Err(format!("<{}>", other.name())),
    }
}

/// Names joined by commas, numbers for bits without one.
fn characteristics(mask: u64) -> Words {
    let named = |bit: &u8| {
        let found = CHARACTERISTICS.iter().find(|(_, number)| number == bit);
        found.map_or_else(|| bit.to_string(), |(name, _)| (*name).to_owned())
    };
    let bits: Vec<String> =
        (32..64).rev().chain(0..32).filter(|bit| mask >> bit & 1 != 0).map(|bit| named(&bit)).collect();
    let list = if bits.is_empty() { ",".to_owned() } else { bits.join(",") };
    if as_reference(mask) == mask { Ok(format!("chr {list}")) } else { Err(format!("<chr {list}>")) }
}

/// The shortest decimal fraction that compiles to a probability.
fn fraction(probability: u32) -> String {
    const WHOLE: f64 = 4_294_967_295.0;
    let reads_as = |text: &str| text.parse().is_ok_and(|x: f64| (x * WHOLE).floor() as u32 == probability);
    let middle = (f64::from(probability) + 0.5) / WHOLE;
    let exact = (f64::from(probability) / WHOLE).to_string();
    let rounded = (0..=12).map(|digits| format!("{middle:.digits$}")).find(|text| reads_as(text));
    rounded.unwrap_or(if probability == u32::MAX { "1".into() } else { exact })
}

fn tag(word: &str, id: u32, value: u32, names: &Names) -> String {
    let Some(tag) = names.tags.iter().find(|tag| tag.id == id) else {
        return format!("{word} {id} {value}");
    };
    let wanted = i64::from(value);
    // A flag hides an enum of the same name.
    let flag = tag.flags.iter().find(|(_, mask)| *mask == wanted);
    let shadowed = |name: &str| tag.flags.iter().any(|(flag, _)| flag == name);
    let named = flag.or_else(|| tag.enums.iter().find(|(name, number)| *number == wanted && !shadowed(name)));
    match named {
        // Values of differences are distances, not values of the tag.
        Some((name, _)) if word != "tdiff" => format!("{word} {} {name}", tag.name),
        _ => format!("{word} {} {value}", tag.name),
    }
}
