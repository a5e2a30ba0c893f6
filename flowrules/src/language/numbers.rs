//! How the language reads numbers: the beginning of a word counts, the rest is ignored.
//!
//! Specification: flow rules, rule language, matches (numbers) and tag definition (numeric default).

/// What stands for "no number".
pub(super) const NOTHING: i64 = -1;

/// Reads a number: decimal or `0x` and hex digits, with an optional sign, up to the first character that does not
/// belong. [`NOTHING`] if there is none. Saturates far beyond every range.
pub(super) fn number(text: &str) -> i64 {
    let text = text.to_lowercase();
    let read = match text.strip_prefix("0x") {
        Some(hex) if !hex.is_empty() => integer(hex, 16),
        _ => integer(&text, 10),
    };
    read.map_or(NOTHING, |(negative, digits, radix)| {
        let mut value: i64 = 0;
        for digit in digits.chars().filter_map(|c| c.to_digit(radix)) {
            value = value.saturating_mul(i64::from(radix)).saturating_add(i64::from(digit));
        }
        if negative { -value } else { value }
    })
}

/// Whether all of the text is a number as [`number`] reads it: no digit was ignored.
pub(super) fn is_clean(text: &str) -> bool {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => !hex.is_empty() && hex.bytes().all(|b| b.is_ascii_hexdigit()),
        None => {
            let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
            !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
        }
    }
}

/// The value of a default that is no name: its leading integer without the sign, as a signed 32-bit integer.
pub(super) fn default_value(text: &str) -> i64 {
    let text = text.trim_start_matches(is_blank);
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let hex = unsigned.strip_prefix("0x").or_else(|| unsigned.strip_prefix("0X"));
    let (digits, radix) = hex.map_or((unsigned, 10), |hex| (hex, 16));
    let digits = &digits[..digits.find(|c: char| !c.is_digit(radix)).unwrap_or(digits.len())];
    // The reference calculates with doubles, which matters from 2^53 on.
    let value: f64 = if radix == 10 {
        digits.parse().unwrap_or(0.0)
    } else {
        // From 32 digits on, a double has no bits left below 2^32.
        let significant = digits.trim_start_matches('0');
        if significant.len() > 31 { 0.0 } else { u128::from_str_radix(significant, 16).unwrap_or(0) as f64 }
    };
    if value.is_finite() { i64::from((value % 4_294_967_296.0) as u32 as i32) } else { 0 }
}

/// `x` of `random x` as the probability of the entry: clamped to 0..=1, times 2^32 − 1, rounded down.
pub(super) fn probability(text: &str) -> u32 {
    let text = text.trim_start_matches(is_blank);
    let fraction: f64 = text[..decimal_length(text)].parse().unwrap_or(0.0);
    (fraction.clamp(0.0, 1.0) * 4_294_967_295.0).floor() as u32
}

/// How much of the beginning of a text is a decimal number with optional sign, fraction and exponent.
fn decimal_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let digits = |from: usize| bytes[from..].iter().take_while(|b| b.is_ascii_digit()).count();
    let sign = usize::from(matches!(bytes.first(), Some(b'+' | b'-')));
    if text[sign..].starts_with("Infinity") {
        return sign + "Infinity".len();
    }
    let whole = digits(sign);
    let mut length = sign + whole;
    let mut fraction = 0;
    if bytes.get(length) == Some(&b'.') {
        fraction = digits(length + 1);
        if whole + fraction > 0 {
            length += 1 + fraction;
        }
    }
    if whole + fraction == 0 {
        return 0;
    }
    if matches!(bytes.get(length), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(length + 1), Some(b'+' | b'-')));
        let exponent = digits(length + 1 + sign);
        if exponent > 0 {
            length += 1 + sign + exponent;
        }
    }
    length
}

/// Sign and digits at the beginning, after blanks. With radix 16 another `0x` may precede the digits.
fn integer(text: &str, radix: u32) -> Option<(bool, &str, u32)> {
    let text = text.trim_start_matches(is_blank);
    let negative = text.starts_with('-');
    let mut digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if radix == 16 {
        digits = digits.strip_prefix("0x").unwrap_or(digits);
    }
    let digits = &digits[..digits.find(|c: char| !c.is_digit(radix)).unwrap_or(digits.len())];
    (!digits.is_empty()).then_some((negative, digits, radix))
}

/// What counts as a blank in front of a number and does not end a word.
fn is_blank(c: char) -> bool {
    c == '\u{feff}' || c.is_whitespace() && c != '\u{85}'
}

/// A range of ports, sizes or TOS values: `a` or `a-b`, 0..=`most`, not reversed.
pub(super) fn range(text: &str, most: i64) -> Option<(i64, i64)> {
    let (first, last) = match text.find('-') {
        Some(at) if at > 0 => {
            let (first, last) = (&text[..at], &text[at + 1..]);
            if last.contains('-') {
                return None;
            }
            (number(first), number(last))
        }
        _ => (number(text), number(text)),
    };
    (0 <= first && first <= last && last <= most).then_some((first, last))
}

/// Whether a text contains something that looks like an IPv6 address, as far as the reference checks.
pub(super) fn contains_ipv6(text: &str) -> bool {
    text.contains("::")
        || text
            .match_indices("fe80:%")
            .any(|(at, found)| text[at + found.len()..].starts_with(|c: char| c.is_ascii_alphanumeric()))
        || chained(
            text,
            ':',
            8,
            |group| (1..=4).contains(&group.len()) && group.bytes().all(|b| b.is_ascii_hexdigit()),
            |b| b.is_ascii_hexdigit(),
        )
}

/// Whether a text contains something that looks like an IPv4 address, as far as the reference checks.
pub(super) fn contains_ipv4(text: &str) -> bool {
    let middle = |group: &str| match group.as_bytes() {
        [a] => a.is_ascii_digit(),
        [a, b] => a.is_ascii_digit() && b.is_ascii_digit(),
        [b'1', b, c] => b.is_ascii_digit() && c.is_ascii_digit(),
        [b'2', b'0'..=b'4', c] => c.is_ascii_digit(),
        [b'2', b'5', b'0'..=b'5'] => true,
        _ => false,
    };
    chained(text, '.', 4, middle, |b| b.is_ascii_digit())
}

/// Whether `count` groups joined by a separator occur in a text: the first and the last need one good byte next to
/// their separator (what is before and behind does not matter), those between must be good as a whole.
fn chained(
    text: &str,
    separator: char,
    count: usize,
    middle: impl Fn(&str) -> bool,
    edge: impl Fn(u8) -> bool,
) -> bool {
    let mut good_first = false;
    let mut run = 0;
    for group in text.split(separator) {
        if run + 2 >= count && good_first && group.bytes().next().is_some_and(&edge) {
            return true;
        }
        let can_be_first = group.bytes().last().is_some_and(&edge);
        if good_first && middle(group) {
            run += 1;
        } else {
            good_first = can_be_first;
            run = 0;
        }
    }
    false
}
