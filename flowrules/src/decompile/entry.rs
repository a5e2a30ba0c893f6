//! One entry in words of the language.

use super::Names;
use crate::language::{CHARACTERISTICS, ETHERTYPES, IP_PROTOCOLS, as_reference};
use crate::rule::{ADDRESS_MASK, Kind};

/// Ok: words of the language. Err: a description, for what it has no words for.
pub(super) type Words = Result<String, String>;

/// An action with its operands.
pub(super) fn action(kind: &Kind) -> Words {
    let word = kind.word();
    Ok(match kind {
        Kind::Drop | Kind::Accept | Kind::Break => word.into(),
        Kind::Tee(target) | Kind::Watch(target) => {
            let length = if target.length == u16::MAX { -1 } else { i32::from(target.length) };
            format!("{word} {length} {:010x}", target.address & ADDRESS_MASK)
        }
        Kind::Redirect(target) => format!("{word} {:010x}", target.address & ADDRESS_MASK),
        Kind::Priority(bucket) => return Err(format!("<{word} {bucket}>")),
        other => return Err(format!("<{}>", other.name())),
    })
}

/// A match without its NOT and OR.
pub(super) fn matching(kind: &Kind, names: &Names) -> Words {
    let word = kind.word();
    let range = |word: &str, first: u32, last: u32| match first.cmp(&last) {
        std::cmp::Ordering::Equal => Ok(format!("{word} {first}")),
        std::cmp::Ordering::Less => Ok(format!("{word} {first}-{last}")),
        std::cmp::Ordering::Greater => Err(format!("<{word} {first}-{last}, never>")),
    };
    let prefix = |address: &dyn std::fmt::Display, bits: u8, most: u8| {
        let text = format!("{word} {address}/{bits}");
        if bits <= most { Ok(text) } else { Err(format!("<{text}>")) }
    };
    match kind {
        Kind::SourceAddress(address) | Kind::DestAddress(address) => {
            Ok(format!("{word} {:010x}", address & ADDRESS_MASK))
        }
        Kind::VlanId(id) => Ok(format!("{word} {id}")),
        Kind::VlanPcp(number) | Kind::VlanDei(number) => Ok(format!("{word} {number}")),
        Kind::MacSource(address) | Kind::MacDest(address) => {
            let bytes: Vec<String> = address.iter().map(|byte| format!("{byte:02x}")).collect();
            Ok(format!("{word} {}", bytes.join(":")))
        }
        Kind::Ipv4Source(ip, bits) | Kind::Ipv4Dest(ip, bits) => prefix(ip, *bits, 32),
        Kind::Ipv6Source(ip, bits) | Kind::Ipv6Dest(ip, bits) => prefix(ip, *bits, 128),
        Kind::IpTos { mask, start, end } => {
            range(&format!("{word} 0x{mask:02x}"), u32::from(*start), u32::from(*end))
        }
        Kind::IpProtocol(protocol) => {
            let named = IP_PROTOCOLS.iter().find(|(_, number)| number == protocol);
            Ok(named.map_or_else(|| format!("{word} {protocol}"), |(name, _)| format!("{word} {name}")))
        }
        Kind::Ethertype(ethertype) => {
            let named = ETHERTYPES.iter().find(|(_, number)| number == ethertype);
            Ok(named
                .map_or_else(|| format!("{word} 0x{ethertype:04x}"), |(name, _)| format!("{word} {name}")))
        }
        Kind::Icmp { kind, code } => Ok(format!("{word} {kind} {}", code.map_or(-1, i32::from))),
        Kind::SourcePort(first, last) | Kind::DestPort(first, last) | Kind::FrameSize(first, last) => {
            range(word, u32::from(*first), u32::from(*last))
        }
        Kind::Characteristics(mask) => characteristics(word, *mask),
        Kind::Random(probability) => Ok(format!("{word} {}", fraction(*probability))),
        // Values of differences are distances, not values of the tag.
        Kind::TagsDifference(id, value) => Ok(tag(word, *id, *value, names, false)),
        Kind::TagsAnd(id, value)
        | Kind::TagsOr(id, value)
        | Kind::TagsXor(id, value)
        | Kind::TagsEqual(id, value)
        | Kind::TagSender(id, value)
        | Kind::TagReceiver(id, value) => Ok(tag(word, *id, *value, names, true)),
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
fn characteristics(word: &str, mask: u64) -> Words {
    let named = |bit: &u8| {
        let found = CHARACTERISTICS.iter().find(|(_, number)| number == bit);
        found.map_or_else(|| bit.to_string(), |(name, _)| (*name).to_owned())
    };
    let bits: Vec<String> =
        (32..64).rev().chain(0..32).filter(|bit| mask >> bit & 1 != 0).map(|bit| named(&bit)).collect();
    let list = if bits.is_empty() { ",".to_owned() } else { bits.join(",") };
    if as_reference(mask) == mask { Ok(format!("{word} {list}")) } else { Err(format!("<{word} {list}>")) }
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

/// `by_name`: the number is a value of the tag, which may have a name.
fn tag(word: &str, id: u32, value: u32, names: &Names, by_name: bool) -> String {
    let Some(tag) = names.tags.iter().find(|tag| tag.id == id) else {
        return format!("{word} {id} {value}");
    };
    let wanted = i64::from(value);
    // A flag hides an enum of the same name.
    let flag = tag.flags.iter().find(|(_, mask)| *mask == wanted);
    let shadowed = |name: &str| tag.flags.iter().any(|(flag, _)| flag == name);
    let named = flag.or_else(|| tag.enums.iter().find(|(name, number)| *number == wanted && !shadowed(name)));
    match named {
        Some((name, _)) if by_name => format!("{word} {} {name}", tag.name),
        _ => format!("{word} {} {value}", tag.name),
    }
}
