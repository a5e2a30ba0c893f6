//! What to say beyond the message of an error.

use super::names::{self, CHARACTERISTICS, ETHERTYPES, IP_PROTOCOLS, lookup};
use crate::kind::{Syntax, action_row, action_words, match_row, match_words};

/// Words of other languages for what this one has.
const OTHER_WORDS: [(&str, &str); 30] = [
    ("permit", "accept"),
    ("allow", "accept"),
    ("pass", "accept"),
    ("deny", "drop"),
    ("block", "drop"),
    ("reject", "drop"),
    ("discard", "drop"),
    ("mirror", "tee"),
    ("copy", "tee"),
    ("return", "break"),
    ("continue", "break"),
    ("call", "include"),
    ("capability", "cap"),
    ("proto", "ipprotocol"),
    ("protocol", "ipprotocol"),
    ("port", "dport"),
    ("dstport", "dport"),
    ("srcport", "sport"),
    ("src", "ipsrc"),
    ("source", "ipsrc"),
    ("saddr", "ipsrc"),
    ("dst", "ipdest"),
    ("dest", "ipdest"),
    ("daddr", "ipdest"),
    ("ipdst", "ipdest"),
    ("macdst", "macdest"),
    ("ztdst", "ztdest"),
    ("tos", "iptos"),
    ("dscp", "iptos"),
    ("!", "not"),
];

/// How a match is written.
pub(super) fn usage(keyword: &str) -> &'static str {
    match keyword {
        "ztsrc" => "`ztsrc ADDRESS`, the sending member's ten hex digits",
        "ztdest" => "`ztdest ADDRESS`, the receiving member's ten hex digits",
        "vlan" => "`vlan NUMBER`",
        "vlanpcp" => "`vlanpcp NUMBER`",
        "vlandei" => "`vlandei NUMBER`",
        "ethertype" => "`ethertype NAME-OR-NUMBER`, for example `ethertype ipv4` or `ethertype 0x88b5`",
        "macsrc" => "`macsrc MAC`, for example `macsrc 02:00:5e:10:00:01`",
        "macdest" => "`macdest MAC`, for example `macdest 02:00:5e:10:00:01`",
        "ipsrc" => "`ipsrc ADDRESS/BITS`, for example `ipsrc 10.0.0.0/8`; one address is /32 or /128",
        "ipdest" => "`ipdest ADDRESS/BITS`, for example `ipdest fd00::/8`; one address is /32 or /128",
        "iptos" => "`iptos MASK VALUE` or `iptos MASK FIRST-LAST`, each 0 to 255",
        "ipprotocol" => "`ipprotocol NAME-OR-NUMBER`, for example `ipprotocol tcp`",
        "icmp" => "`icmp TYPE CODE`, each 0 to 255, code -1 for any; for example `icmp 8 -1`",
        "sport" => "`sport PORT` or `sport FIRST-LAST`, each 0 to 65535",
        "dport" => "`dport PORT` or `dport FIRST-LAST`, each 0 to 65535",
        "chr" => "`chr NAME,NAME…`, for example `chr tcp_syn`",
        "framesize" => "`framesize BYTES` or `framesize LEAST-MOST`, each 0 to 65535",
        "random" => "`random FRACTION`, 0 to 1",
        "tdiff" => "`tdiff TAG VALUE`",
        "tand" => "`tand TAG VALUE`",
        "tor" => "`tor TAG VALUE`",
        "txor" => "`txor TAG VALUE`",
        "teq" => "`teq TAG VALUE`",
        "tseq" => "`tseq TAG VALUE`",
        "treq" => "`treq TAG VALUE`",
        _ => "a match and its arguments",
    }
}

/// A word where an action was expected; `previous` is the word before it.
pub(super) fn action<'a>(
    word: &str,
    previous: Option<&str>,
    macros: impl Iterator<Item = &'a str> + Clone,
) -> String {
    let lower = word.to_lowercase();
    let before = previous.unwrap_or("");
    if is_reserved_action(&lower) {
        return format!("no compiler makes anything of `{lower}`: leave the statement out");
    }
    if word.chars().all(|c| c == ';') {
        return "one `;` ends a statement; remove the others".into();
    }
    if is_comment(word) {
        return COMMENT.into();
    }
    if let Some((first, _)) = word.split_once(';') {
        return format!("a blank or line feed is needed after a `;`: `{first}; …`");
    }
    if match_row(&lower).is_some() || matches!(lower.as_str(), "not" | "and" | "or") {
        let action = before.to_lowercase();
        if action_row(&action).is_some() && action != before {
            return format!(
                "`{before}` in capitals is complete by itself; with matches it is written `{action}`"
            );
        }
        return format!(
            "`{lower}` is a match and needs an action before it, as in `accept {lower} …;` — was the statement ended \
             by a `;` too early?"
        );
    }
    if matches!(lower.as_str(), "macro" | "tag" | "cap") {
        return if word == lower {
            format!("`{lower}` is possible only outside of other definitions; is a `;` missing before it?")
        } else {
            format!("write `{lower}` in lower case")
        };
    }
    if matches!(lower.as_str(), "id" | "flag" | "enum" | "default") {
        return format!("`{lower}` belongs into a `tag` or `cap`; a `;` has ended the one before it");
    }
    let plain = lower.split('(').next().unwrap_or(&lower);
    if macros.clone().any(|name| name == plain) {
        return format!("`{plain}` is a macro: write `include {word}`");
    }
    if before.eq_ignore_ascii_case("include") {
        return "the macro's name and its arguments are one word, without blanks: `include name(a,b)`".into();
    }
    let known =
        action_words().filter(|word| !is_reserved_action(word)).chain(["include", "macro", "tag", "cap"]);
    suggest(&lower, known).unwrap_or_else(|| {
        "a statement begins with `drop`, `accept`, `break`, `tee`, `watch`, `redirect` or `include`".into()
    })
}

/// Whether no compiler makes anything of this action.
fn is_reserved_action(word: &str) -> bool {
    action_row(word).is_some_and(|row| row.syntax == Syntax::Reserved)
}

const COMMENT: &str = "a comment is a `#` with a blank (or nothing) before it, up to the end of the line";

/// Whether a word looks like the beginning of a comment in other languages, or one that is glued to something.
fn is_comment(word: &str) -> bool {
    word.contains(";#") || word.starts_with("//") || word.starts_with("/*") || word.starts_with("--")
}

/// A word where a match was expected; `bare` if it comes right after an action that needs nothing behind it.
pub(super) fn unknown_match(word: &str, action: &str, bare: bool) -> String {
    let lower = word.to_lowercase();
    if action_row(&lower).is_some() || matches!(lower.as_str(), "include" | "macro" | "tag" | "cap") {
        return if bare {
            let capital = action.to_uppercase();
            format!(
                "the reference compiler takes what follows `{action};` for its matches, so it is possible only as the \
                 last statement: write `{capital};` where it is not"
            )
        } else {
            format!("is the `;` missing that ends the `{action}` before `{lower}`?")
        };
    }
    if lookup(&IP_PROTOCOLS, &lower).is_some() {
        return format!("did you mean `ipprotocol {lower}`?");
    }
    if lookup(&ETHERTYPES, &lower).is_some() {
        return format!("did you mean `ethertype {lower}`?");
    }
    if lower.split(',').any(|name| lookup(&CHARACTERISTICS, name).is_some()) {
        return format!("did you mean `chr {lower}`?");
    }
    match lower.as_str() {
        "&&" | "&" => return "matches are joined by `and`, or simply follow each other".into(),
        "||" | "|" => return "alternatives are joined by `or`".into(),
        "xor" => return "there is no `xor`: combine `and`, `or` and `not`".into(),
        "tcp_port" | "udp_port" => return "did you mean `ipprotocol … and dport …`?".into(),
        _ => {}
    }
    if is_comment(word) {
        return COMMENT.into();
    }
    if lower.contains(';') {
        return "a blank or line feed is needed after a `;`".into();
    }
    if lower.starts_with('$') {
        return "parameters can stand only for arguments of matches".into();
    }
    let known = match_words().chain(["and", "or", "not"]);
    suggest(&lower, known).unwrap_or_else(|| {
        let known: Vec<&str> = match_words().collect();
        format!("a match begins with one of: {}", known.join(" "))
    })
}

/// A reserved word where the argument of a match was expected.
pub(super) fn reserved_argument(keyword: &str, argument: Option<&str>) -> String {
    match argument {
        Some("icmp") if keyword == "ipprotocol" => {
            "`icmp` is reserved for the match of that name; the protocol is called `icmp4` here (and `icmp6`)"
                .into()
        }
        Some(word) if names::is_inherited(word) => {
            format!("the reference compiler does not take `{word}` as an argument")
        }
        Some(word) => format!("`{word}` is a keyword, not an argument: {}", usage(keyword)),
        None => usage(keyword).into(),
    }
}

/// A parameter that is not there.
pub(super) fn variable<'a>(word: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    let lower = word.to_lowercase();
    if known.clone().any(|name| name == lower) {
        return format!("parameters are lower-cased where they are defined: write `{lower}`");
    }
    let list: Vec<_> = known.clone().take(8).map(|name| format!("`{name}`")).collect();
    if list.is_empty() {
        return "`$…` is a parameter of a macro, and there is none here".into();
    }
    suggest(&lower, known).unwrap_or_else(|| format!("the parameters here: {}", list.join(", ")))
}

/// Not a value of `ethertype` or another number.
pub(super) fn value(keyword: &str, word: &str) -> String {
    let lower = word.to_lowercase();
    let names: Vec<&str> = match keyword {
        "ethertype" => ETHERTYPES.iter().map(|(name, _)| *name).collect(),
        "ipprotocol" => IP_PROTOCOLS.iter().map(|(name, _)| *name).filter(|name| *name != "icmp").collect(),
        _ => Vec::new(),
    };
    if names.contains(&lower.as_str()) {
        return format!("names of values are written in lower case: `{lower}`");
    }
    if keyword == "ethertype" && lower == "ip" {
        return "did you mean `ipv4`?".into();
    }
    closest(&lower, names.into_iter())
        .map_or_else(|| usage(keyword).into(), |name| format!("did you mean `{name}`? — {}", usage(keyword)))
}

/// A piece of a `chr` list that is neither name nor bit.
pub(super) fn characteristic(piece: &str) -> String {
    let lower = piece.to_lowercase();
    let known = || CHARACTERISTICS.into_iter().map(|(name, _)| name);
    if lower != piece && known().any(|name| name == lower) {
        return format!("names of characteristics are written in lower case: `{lower}`");
    }
    let with_prefix = format!("tcp_{lower}");
    if known().any(|name| name == with_prefix) {
        return format!("did you mean `{with_prefix}`?");
    }
    suggest(&lower, known()).unwrap_or_else(|| {
        format!("`{piece}` is no characteristic: inbound, multicast, broadcast, ipauth, macauth, tcp_syn …")
    })
}

/// A name that is not defined, among those that are.
pub(super) fn undefined<'a>(
    what: &str,
    word: &str,
    known: impl Iterator<Item = &'a str> + Clone,
    otherwise: &str,
) -> String {
    let lower = word.to_lowercase();
    if lower != word && known.clone().any(|name| name == lower) {
        return format!(
            "names are lower-cased where they are defined and used as they are written: `{lower}`"
        );
    }
    let list: Vec<_> = known.clone().take(8).map(|name| format!("`{name}`")).collect();
    if let Some(name) = suggest(&lower, known) {
        return name;
    }
    if list.is_empty() { otherwise.into() } else { format!("{what}: {}; {otherwise}", list.join(", ")) }
}

/// Not a name.
pub(super) fn name(word: &str) -> String {
    if word.starts_with(|c: char| c.is_ascii_digit()) {
        return "a name cannot begin with a digit".into();
    }
    match word.chars().find(|c| !names::is_name_character(*c)) {
        Some(c) => format!("a name consists of letters, digits and `_`, not `{c}`"),
        None => "a name is needed here".into(),
    }
}

/// `did you mean` the closest of some words, if one is close.
pub(super) fn suggest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    let known: Vec<&str> = known.collect();
    if let Some(other) = lookup(&OTHER_WORDS, word)
        && known.contains(&other)
    {
        return Some(format!("did you mean `{other}`?"));
    }
    closest(word, known.into_iter()).map(|name| format!("did you mean `{name}`?"))
}

/// The word that needs the fewest edits, if these are few for its length.
pub fn closest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    /// Longest word worth comparing, and most words looked at: a program may define very many names.
    const LONGEST: usize = 40;
    const MOST: usize = 1000;
    if word.chars().count() > LONGEST {
        return None;
    }
    known
        .take(MOST)
        .filter(|name| name.len() <= 2 * LONGEST)
        .map(|name| (edits(word, name), name))
        .filter(|(edits, name)| *edits <= name.chars().count().max(3) / 3)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, name)| name)
}

/// Insertions, deletions, replacements and swaps of neighbours that turn one word into another.
fn edits(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_words_are_suggested() {
        assert_eq!(closest("etherytpe", match_words()), Some("ethertype"));
        assert_eq!(closest("dprot", match_words()), Some("dport"));
        assert_eq!(closest("zzzz", match_words()), None);
        assert_eq!(suggest("permit", action_words()).unwrap(), "did you mean `accept`?");
    }

    #[test]
    fn every_match_has_a_usage() {
        for name in match_words() {
            assert!(usage(name).starts_with(&format!("`{name} ")), "{name}");
        }
    }
}
