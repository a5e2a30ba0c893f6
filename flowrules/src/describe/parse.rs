//! From words to a [`Description`].

use std::net::{IpAddr, Ipv6Addr};
use std::ops::Range;

use super::{
    DescribeError, Description, End, ICMP, ICMP6, MAX_SIZE, MAX_TEXT, SCTP, TCP, UDP, UDPLITE, What, Who,
    names,
};

const KINDS: &str = "begin with tcp, udp, sctp, udplite, icmp, icmp6, ping, ip PROTOCOL, arp or ether TYPE, \
     such as: tcp 10.0.1.1:5000 > 10.0.3.1:80 syn";
const ENDS: &str =
    "write FROM > TO with a blank on either side of the sign, such as 10.0.1.1:5000 > 10.0.3.1:80";

/// A word and where it stands.
type Word<'a> = (&'a str, Range<usize>);

/// Reads a description.
///
/// # Errors
/// [`DescribeError`] says where the text is no packet and what to write instead.
pub fn parse(text: &str) -> Result<Description, DescribeError> {
    if text.len() > MAX_TEXT {
        return Err(DescribeError::new(
            0..1,
            format!("the description of the packet is longer than {MAX_TEXT} bytes"),
            "describe one packet on one line",
        ));
    }
    let mut reader = Reader { words: words(text), next: 0, end: text.len() };
    let description = reader.description()?;
    check(&description, text)?;
    Ok(description)
}

/// A number in decimal or, after `0x`, hexadecimal.
pub(super) fn number<N: TryFrom<u64>>(text: &str) -> Option<N> {
    let plain = |digits: &str| !digits.starts_with('+');
    let value = match text.strip_prefix("0x") {
        Some(hex) if plain(hex) => u64::from_str_radix(hex, 16).ok()?,
        None if plain(text) => text.parse().ok()?,
        _ => return None,
    };
    N::try_from(value).ok()
}

/// Six hexadecimal pairs joined by `:` or `-`.
pub(crate) fn mac(text: &str) -> Option<[u8; 6]> {
    let mut mac = [0; 6];
    let mut parts = text.split([':', '-']);
    for byte in &mut mac {
        let part =
            parts.next().filter(|part| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit()))?;
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    parts.next().is_none().then_some(mac)
}

/// Whether this end of a packet has a port, or is one.
fn has_port(end: &str) -> bool {
    end.parse::<IpAddr>().is_err()
        && end.rsplit_once(':').map_or(end, |(_, port)| port).parse::<u16>().is_ok()
}

fn words(text: &str) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    let mut start = None;
    for (at, c) in text.char_indices().chain([(text.len(), ' ')]) {
        match (c.is_whitespace(), start) {
            (true, Some(from)) => {
                words.push((&text[from..at], from..at));
                start = None;
            }
            (false, None) => start = Some(at),
            _ => {}
        }
    }
    words
}

struct Reader<'a> {
    words: Vec<Word<'a>>,
    next: usize,
    end: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<&'a str> {
        self.words.get(self.next).map(|(word, _)| *word)
    }

    fn take(&mut self) -> Option<Word<'a>> {
        let word = self.words.get(self.next).cloned();
        self.next += usize::from(word.is_some());
        word
    }

    /// The next word; the end of the text when there is none, so that the complaint points there.
    fn wanted(&mut self, message: &str, hint: &str) -> Result<Word<'a>, DescribeError> {
        let end = self.end;
        self.take().ok_or_else(|| DescribeError::new(end..end, message, hint))
    }

    fn value<T>(
        &mut self,
        what: &str,
        hint: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, DescribeError> {
        let (word, at) = self.wanted(&format!("{what} is missing"), hint)?;
        read(word).ok_or_else(|| DescribeError::new(at, format!("{word} is no {what}"), hint))
    }

    /// The word behind the sign between the ends.
    fn dest(&self) -> Option<&'a str> {
        let sign = self.words.iter().position(|(word, _)| *word == ">")?;
        self.words.get(sign + 1).map(|(word, _)| *word)
    }

    /// An echo request of the family of the ends.
    fn ping(&self) -> What {
        if self.dest().is_some_and(|dest| dest.parse::<Ipv6Addr>().is_ok()) {
            What::Icmp6 { message: None, target: None }
        } else {
            What::Icmp { message: None }
        }
    }

    fn description(&mut self) -> Result<Description, DescribeError> {
        let (kind, at) = self.wanted("the packet is missing", KINDS)?;
        let mut out = Description {
            what: What::Tcp { flags: 0 },
            source: End::default(),
            dest: End::default(),
            size: None,
            tos: 0,
            from_mac: None,
            to_mac: None,
            ipv6: None,
        };
        out.what = match kind {
            "tcp" => What::Tcp { flags: 0 },
            "udp" => What::Ports(UDP),
            "sctp" => What::Ports(SCTP),
            "udplite" => What::Ports(UDPLITE),
            "icmp" => What::Icmp { message: None },
            "ping" => self.ping(),
            "icmp6" => What::Icmp6 { message: None, target: None },
            "ip" => self.protocol()?,
            "arp" => return self.arp(out),
            "ether" => What::Ether(self.value(
                "ethertype",
                "write a number such as 0x88b5, or a name such as wol",
                names::ethertype,
            )?),
            // What one types first: FROM > TO:PORT is TCP, FROM > TO a ping.
            _ if self.peek() == Some(">") => {
                self.next -= 1;
                if self.dest().is_some_and(has_port) { What::Tcp { flags: 0 } } else { self.ping() }
            }
            _ => return Err(DescribeError::new(at, format!("{kind} is no kind of packet"), KINDS)),
        };
        self.ends(&mut out)?;
        self.options(&mut out)?;
        Ok(out)
    }

    /// `ip tcp …` is the same as `tcp …`; ICMP stays apart, for ICMPv4 over IPv6 is an odd packet, not ICMPv6.
    fn protocol(&mut self) -> Result<What, DescribeError> {
        let hint = "write a number from 0 to 255, or a name such as esp, ah, igmp, l2tp";
        let number = self.value("IP protocol", hint, names::protocol)?;
        Ok(match number {
            TCP => What::Tcp { flags: 0 },
            UDP | SCTP | UDPLITE => What::Ports(number),
            _ => What::Ip(number),
        })
    }

    fn ends(&mut self, out: &mut Description) -> Result<(), DescribeError> {
        let ether = matches!(out.what, What::Ether(_));
        if ether && self.peek() == Some("from") {
            self.take();
            out.source = self.end(true)?;
            if self.peek() == Some("to") {
                self.take();
                out.dest = self.end(true)?;
            }
            return Ok(());
        }
        let second = self.words.get(self.next + 1).map(|(word, _)| *word);
        if self.peek() == Some(">") {
            self.take();
            out.dest = self.end(ether)?;
        } else if second == Some(">") {
            out.source = self.end(ether)?;
            self.take();
            out.dest = self.end(ether)?;
        }
        Ok(())
    }

    fn end(&mut self, ether: bool) -> Result<End, DescribeError> {
        let (word, at) = self.wanted("the other end is missing", ENDS)?;
        end(word, ether).map(|(who, port)| End { who, port, at: at.clone() }).ok_or_else(|| {
            let hint = if ether {
                "an end of an Ethernet frame is a MAC such as 02:00:00:00:00:01, or *"
            } else {
                "an end is an IP address or the name of a member, with :PORT if there are ports: 10.0.1.1:80, \
                 [fd00::1]:80, aws:80, or a port alone; * leaves it open"
            };
            DescribeError::new(at, format!("{word} is no end of a packet"), hint)
        })
    }

    fn ip(&mut self, what: &str) -> Result<End, DescribeError> {
        let (word, at) = self.wanted(&format!("{what} is missing"), "arp who-has 10.0.2.1 tell 10.0.1.1")?;
        match end(word, false) {
            Some((who, None)) if !matches!(who, Who::Ip(IpAddr::V6(_)) | Who::Mac(_)) => {
                Ok(End { who, port: None, at })
            }
            _ => Err(DescribeError::new(
                at,
                format!("{word} is no IPv4 address"),
                "ARP is about IPv4 addresses: arp who-has 10.0.2.1 tell 10.0.1.1",
            )),
        }
    }

    fn arp(&mut self, mut out: Description) -> Result<Description, DescribeError> {
        let hint = "write arp who-has 10.0.2.1 tell 10.0.1.1, or arp reply 10.0.2.1 is-at 02:00:00:00:00:01";
        match self.take() {
            None => out.what = What::ArpRequest,
            Some(("who-has", _)) => {
                out.what = What::ArpRequest;
                out.dest = self.ip("the address that is looked for")?;
                if self.peek() == Some("tell") {
                    self.take();
                    out.source = self.ip("the address of who asks")?;
                }
            }
            Some(("reply", _)) => {
                let mut at = None;
                if !matches!(self.peek(), None | Some("is-at" | "to")) {
                    out.source = self.ip("the address of who answers")?;
                }
                if self.peek() == Some("is-at") {
                    self.take();
                    at = Some(self.mac("MAC")?);
                }
                if self.peek() == Some("to") {
                    self.take();
                    out.dest = self.ip("the address of who asked")?;
                }
                out.what = What::ArpReply { at };
            }
            Some((word, at)) => {
                return Err(DescribeError::new(at, format!("arp {word} is unknown"), hint));
            }
        }
        self.options(&mut out)?;
        Ok(out)
    }

    fn mac(&mut self, what: &str) -> Result<[u8; 6], DescribeError> {
        self.value(what, "a MAC is six pairs of hexadecimal digits: 02:00:00:00:00:01", mac)
    }

    fn options(&mut self, out: &mut Description) -> Result<(), DescribeError> {
        while let Some((word, at)) = self.take() {
            match word {
                "size" => {
                    let hint = format!("the payload of a frame has 0 to {MAX_SIZE} bytes: size 1400");
                    out.size =
                        Some(self.value("size", &hint, |text| {
                            number(text).filter(|size: &u16| *size <= MAX_SIZE)
                        })?);
                }
                "tos" => {
                    out.tos = self.value("TOS", "write a number from 0 to 255: tos 0xb8", number)?;
                }
                "from-mac" => out.from_mac = Some(self.mac("MAC")?),
                "to-mac" => out.to_mac = Some(self.mac("MAC")?),
                "broadcast" => out.to_mac = Some([0xff; 6]),
                "ipv4" => out.ipv6 = Some(false),
                "ipv6" => out.ipv6 = Some(true),
                _ => {
                    if !self.of_protocol(&mut out.what, word)? {
                        return Err(unknown_option(&out.what, word, at));
                    }
                }
            }
        }
        Ok(())
    }

    /// Options only one protocol has; `false` = none of those.
    fn of_protocol(&mut self, what: &mut What, word: &str) -> Result<bool, DescribeError> {
        match what {
            What::Tcp { flags } => {
                let Some((_, bit)) = names::TCP_FLAGS.iter().find(|(name, _)| *name == word) else {
                    return Ok(false);
                };
                *flags |= 1 << bit;
            }
            What::Icmp { message } if message.is_none() => match icmp_message(word, false) {
                Some(said) => *message = Some(said),
                None => return Ok(false),
            },
            What::Icmp6 { target, .. } if word == "target" => {
                *target =
                    Some(self.value("IPv6 address", "target fd00::1", |text| text.parse::<Ipv6Addr>().ok())?);
            }
            What::Icmp6 { message, .. } if message.is_none() => match icmp_message(word, true) {
                Some(said) => *message = Some(said),
                None => return Ok(false),
            },
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn unknown_option(what: &What, word: &str, at: Range<usize>) -> DescribeError {
    let hint = match what {
        What::Tcp { .. } => "TCP takes syn ack fin rst psh urg ece cwr ns rs0 rs1 rs2, and size N, tos N",
        What::Icmp { .. } => "ICMP takes one type: echo-request, unreachable/3, 8, 3/1; and size N, tos N",
        What::Icmp6 { .. } => {
            "ICMPv6 takes one type: echo-request, neighbor-solicitation, 128, 1/4; and size N, tos N, target IP"
        }
        _ => "what may follow: size N, tos N, from-mac MAC, to-mac MAC, broadcast, ipv4, ipv6",
    };
    let message = if word == ">" {
        "the sign > stands between two ends".to_owned()
    } else {
        format!("{word} does not belong here")
    };
    DescribeError::new(at, message, hint)
}

fn icmp_message(word: &str, v6: bool) -> Option<(u8, u8)> {
    let (kind, code) = match word.split_once('/') {
        Some((kind, code)) => (kind, number(code)?),
        None => (word, 0),
    };
    Some((names::icmp_type(kind, v6).or_else(|| number(kind))?, code))
}

/// One end as it is written; `None` = it cannot be one.
fn end(word: &str, ether: bool) -> Option<(Who, Option<u16>)> {
    if word == "*" {
        return Some((Who::Unsaid, None));
    }
    if let Some(mac) = mac(word) {
        return ether.then_some((Who::Mac(mac), None));
    }
    if let Ok(ip) = word.parse() {
        return (!ether).then_some((Who::Ip(ip), None));
    }
    if let Some(rest) = word.strip_prefix('[') {
        let (ip, after) = rest.split_once(']')?;
        let ip = Who::Ip(IpAddr::V6(ip.parse().ok()?));
        return match after.strip_prefix(':') {
            Some(port) if !ether => Some((ip, Some(number(port)?))),
            None if after.is_empty() && !ether => Some((ip, None)),
            _ => None,
        };
    }
    if let Some(port) = number(word).filter(|_| !ether) {
        return Some((Who::Unsaid, Some(port)));
    }
    let (who, port) = match word.rsplit_once(':') {
        Some((_, _)) if ether => return None,
        Some((who, port)) => (who, Some(number(port)?)),
        None => (word, None),
    };
    if who == "*" {
        return Some((Who::Unsaid, port));
    }
    if let Ok(ip) = who.parse::<std::net::Ipv4Addr>() {
        return (!ether).then_some((Who::Ip(ip.into()), port));
    }
    let letters = who.strip_prefix('@').unwrap_or(who);
    // What begins with a digit or has no letter is a number or an address gone wrong, not a name. An address of a node
    // is marked by its length.
    let named = !letters.is_empty()
        && letters.chars().all(|c| c.is_alphanumeric() || "_-.".contains(c))
        && letters.chars().any(char::is_alphabetic)
        || is_node(letters);
    let looks_like_a_number = letters.starts_with(|c: char| c.is_ascii_digit()) && !is_node(letters);
    (named && !looks_like_a_number).then(|| (Who::Name(who.to_owned()), port))
}

fn is_node(text: &str) -> bool {
    text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// What each word allows but all together do not.
fn check(description: &Description, text: &str) -> Result<(), DescribeError> {
    let all = 0..text.trim_end().len();
    let (source, dest) = (&description.source, &description.dest);
    let families = [source, dest].map(|end| match end.who {
        Who::Ip(ip) => Some(ip.is_ipv6()),
        _ => None,
    });
    if let [Some(a), Some(b)] = families
        && a != b
    {
        return Err(DescribeError::new(
            dest.at.clone(),
            "one end is IPv4 and the other IPv6",
            "both ends of a packet are of one family",
        ));
    }
    let has_ports = matches!(description.what, What::Tcp { .. } | What::Ports(_));
    if let Some(end) = [source, dest].into_iter().find(|end| end.port.is_some() && !has_ports) {
        return Err(DescribeError::new(
            end.at.clone(),
            "this kind of packet has no ports",
            "leave the port out; tcp, udp, sctp and udplite have ports",
        ));
    }
    let said = families.into_iter().flatten().next();
    let must_be = match description.what {
        What::Icmp { .. } => Some(false),
        What::Icmp6 { .. } => Some(true),
        _ => description.ipv6,
    };
    if let (Some(said), Some(must_be)) = (said, must_be)
        && said != must_be
    {
        let family = if must_be { "IPv6" } else { "IPv4" };
        let hint = format!(
            "{ICMP} is ICMP of IPv4 and {ICMP6} that of IPv6: icmp 10.0.1.1 > 10.0.2.1, icmp6 fd00::1 > fd00::2"
        );
        return Err(DescribeError::new(all, format!("this packet must be {family}"), hint));
    }
    if has_ports && dest.port.is_none() && description.size.is_none() {
        let at = if dest.at.is_empty() { all } else { dest.at.clone() };
        return Err(DescribeError::new(
            at,
            "the destination port is missing",
            "write it after the address, as in tcp 10.0.1.1 > 10.0.3.1:80; the source port may be left out",
        ));
    }
    Ok(())
}
