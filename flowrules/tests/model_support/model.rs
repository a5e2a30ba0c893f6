//! A model of the rules: slow, obvious, written from the specification's tables and from nothing else.
//!
//! It reads the binary form of a rule (number and value octets) by itself and shares no code with the evaluator. What it says
//! is compared with the evaluator and with the flow cache.

/// One entry as it travels.
#[derive(Clone, Debug)]
pub struct Raw {
    pub not: bool,
    pub or: bool,
    pub number: u8,
    pub value: Vec<u8>,
    /// PRIORITY's bucket, which does not travel.
    pub bucket: u8,
}

impl Raw {
    fn number_at(&self, at: usize, octets: usize) -> u64 {
        let mut number = 0;
        for octet in &self.value[at..at + octets] {
            number = number * 256 + u64::from(*octet);
        }
        number
    }
}

/// Splits the binary form of a list.
pub fn split(mut bytes: &[u8]) -> Vec<Raw> {
    let mut list = Vec::new();
    while !bytes.is_empty() {
        let n = usize::from(bytes[1]);
        list.push(Raw {
            not: bytes[0] & 0x80 != 0,
            or: bytes[0] & 0x40 != 0,
            number: bytes[0] & 0x3f,
            value: bytes[2..2 + n].to_vec(),
            bucket: 0,
        });
        bytes = &bytes[2 + n..];
    }
    list
}

/// What one side can show.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    pub tags: Vec<(u32, u32)>,
    /// Addresses covered by certificates of ownership: 4 or 16 octets.
    pub addresses: Vec<Vec<u8>>,
    pub macs: Vec<[u8; 6]>,
}

impl Shown {
    pub fn tag(&self, id: u32) -> Option<u32> {
        self.tags.iter().find(|t| t.0 == id).map(|t| t.1)
    }
}

/// Everything there is to know about one frame at one node.
#[derive(Clone, Debug)]
pub struct Situation {
    pub inbound: bool,
    pub us: u64,
    pub source: u64,
    pub dest: u64,
    pub mac_source: [u8; 6],
    pub mac_dest: [u8; 6],
    pub ethertype: u16,
    pub vlan: u16,
    pub payload: Vec<u8>,
    pub match_unknown: bool,
    /// What every random number drawn for this frame is.
    pub random: u32,
    pub local: Shown,
    pub remote: Shown,
    /// Addresses that neighbour discovery emulation makes trustworthy (inbound).
    pub emulated: Vec<Vec<u8>>,
}

/// How a list ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    NoMatch,
    Drop,
    Redirect(u64),
    Accept,
    SuperAccept,
}

/// A copy: target, length, watch, index of its entry.
pub type Copied = (u64, usize, bool, usize);

/// What a list says: end, copy, bucket, deciding entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    pub end: End,
    pub copy: Option<Copied>,
    pub bucket: u8,
    pub by: Option<usize>,
}

/// What is done with a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// 0 drop, 1 accept, 2 super-accept.
    pub accept: u8,
    pub redirect: Option<u64>,
    /// Capability (none: the base rules), copy.
    pub copies: Vec<(Option<u32>, Copied)>,
    pub bucket: u8,
    pub by: Option<(Option<u32>, usize)>,
}

/// Section 4: filtering a frame.
pub fn filter(base: &[Raw], capabilities: &[(u32, Vec<Raw>)], s: &Situation, no_tee: bool) -> Done {
    let first = list(base, s);
    let mut done = Done {
        accept: 0,
        redirect: None,
        copies: Vec::new(),
        bucket: first.bucket,
        by: first.by.map(|index| (None, index)),
    };
    let mut accepted = None;
    match first.end {
        End::Drop => return done,
        End::Accept | End::SuperAccept | End::Redirect(_) => accepted = Some(first.end),
        End::NoMatch => {
            for (id, rules) in capabilities {
                let said = list(rules, s);
                if said.end == End::NoMatch || said.end == End::Drop {
                    continue;
                }
                if !no_tee && let Some(copy) = said.copy {
                    done.copies.push((Some(*id), copy));
                }
                done.bucket = said.bucket;
                done.by = said.by.map(|index| (Some(*id), index));
                accepted = Some(said.end);
                break;
            }
        }
    }
    let Some(accepted) = accepted else { return done };
    if !no_tee && let Some(copy) = first.copy {
        done.copies.push((None, copy));
    }
    match accepted {
        End::Redirect(to) if to != 0 => done.redirect = Some(to),
        End::SuperAccept => done.accept = 2,
        _ => done.accept = 1,
    }
    done
}

/// Section 3: one list.
pub fn list(rules: &[Raw], s: &Situation) -> Said {
    let mut set = true;
    let mut super_accept = false;
    let mut skip_drop = false;
    let mut said = Said { end: End::NoMatch, copy: None, bucket: 0, by: None };
    for (index, rule) in rules.iter().enumerate() {
        if rule.number >= 16 {
            if set || rule.or {
                let outcome = match matches(rule, s, super_accept, &mut skip_drop) {
                    Outcome::Plain(yes) => yes ^ rule.not,
                    Outcome::Forced(yes) => yes,
                };
                set = if rule.or { set | outcome } else { set & outcome };
            }
            continue;
        }
        let to =
            if matches!(rule.number, 2..=4) { Some(rule.number_at(0, 8) & 0xff_ffff_ffff) } else { None };
        if !set {
            if s.inbound && to == Some(s.us) {
                super_accept = true;
            }
            set = true;
            continue;
        }
        let mut end = None;
        match rule.number {
            0 if skip_drop => skip_drop = false,
            0 => end = Some(End::Drop),
            1 if super_accept => end = Some(End::SuperAccept),
            1 => end = Some(End::Accept),
            2..=4 => {
                let to = to.unwrap();
                if to == s.source {
                } else if to == s.us {
                    if s.inbound {
                        end = Some(End::SuperAccept);
                    }
                } else if to == s.dest {
                } else if rule.number == 4 {
                    end = Some(End::Redirect(to));
                } else {
                    let most = rule.number_at(12, 2) as usize;
                    let whole = s.payload.len();
                    let length = if most == 0 || most > whole { whole } else { most };
                    said.copy = Some((to, length, rule.number == 3, index));
                }
            }
            5 => end = Some(End::NoMatch),
            6 => {
                said.bucket = if rule.bucket <= 8 { rule.bucket } else { 4 };
                end = Some(End::Accept);
            }
            _ => {}
        }
        if let Some(end) = end {
            said.end = end;
            said.by = Some(index);
            return said;
        }
    }
    said
}

enum Outcome {
    Plain(bool),
    Forced(bool),
}
use Outcome::{Forced, Plain};

/// Section 5: one match.
fn matches(rule: &Raw, s: &Situation, super_accept: bool, skip_drop: &mut bool) -> Outcome {
    let p = &s.payload;
    let v4 = s.ethertype == 0x0800 && p.len() >= 20;
    let v6 = s.ethertype == 0x86dd && p.len() >= 40;
    let value = &rule.value;
    match rule.number {
        24 => Plain(rule.number_at(0, 5) == s.source),
        25 => Plain(rule.number_at(0, 5) == s.dest),
        26 => Plain(rule.number_at(0, 2) == u64::from(s.vlan)),
        27 | 28 => Plain(value[0] == 0),
        29 => Plain(value[..] == s.mac_source),
        30 => Plain(value[..] == s.mac_dest),
        31 | 32 => {
            if !v4 {
                return Forced(false);
            }
            let at = if rule.number == 31 { 12 } else { 16 };
            let bits = usize::from(value[4]).min(32);
            Plain((0..bits).all(|bit| bit_of(&p[at..], bit) == bit_of(value, bit)))
        }
        33 | 34 => {
            if !v6 {
                return Forced(false);
            }
            let at = if rule.number == 33 { 8 } else { 24 };
            let bits = usize::from(value[16]).min(128);
            // Beyond the prefix the frame's bits count as zero, the rule's as they are.
            Plain((0..128).all(|bit| (bit < bits && bit_of(&p[at..], bit)) == bit_of(value, bit)))
        }
        35 => {
            let tos = if v4 {
                p[1]
            } else if v6 {
                (p[0] & 15) * 16 + p[1] / 16
            } else {
                return Forced(false);
            };
            let tos = tos & value[0];
            Plain(value[1] <= tos && tos <= value[2])
        }
        36 => match inner(s) {
            Some((protocol, _)) => Plain(protocol == value[0]),
            None => Forced(false),
        },
        37 => Plain(rule.number_at(0, 2) == u64::from(s.ethertype)),
        38 => {
            let wanted = if s.ethertype == 0x0800 { 1 } else { 58 };
            let Some((protocol, at)) = inner(s) else { return Forced(false) };
            if protocol != wanted || p.len() < at + 2 || p[at] != value[0] {
                return Forced(false);
            }
            if value[2] & 1 == 0 { Forced(true) } else { Plain(p[at + 1] == value[1]) }
        }
        39 | 40 => {
            let Some((protocol, at)) = inner(s) else { return Forced(false) };
            if ![6, 17, 132, 136].contains(&protocol) || p.len() <= at + 4 {
                return Plain(false);
            }
            let at = if rule.number == 39 { at } else { at + 2 };
            let port = u64::from(p[at]) * 256 + u64::from(p[at + 1]);
            if port == 0 && s.ethertype == 0x86dd {
                return Plain(false);
            }
            Plain(rule.number_at(0, 2) <= port && port <= rule.number_at(2, 2))
        }
        41 => Plain(characteristics(s) & rule.number_at(0, 8) != 0),
        42 => {
            let length = p.len() as u64;
            Plain(rule.number_at(0, 2) <= length && length <= rule.number_at(2, 2))
        }
        43 => Plain(u64::from(s.random) <= rule.number_at(0, 4)),
        44..=48 => {
            let (id, v) = (rule.number_at(0, 4) as u32, rule.number_at(4, 4) as u32);
            let Some(l) = s.local.tag(id) else { return Forced(false) };
            let Some(r) = s.remote.tag(id) else {
                if s.inbound && !super_accept {
                    return Forced(false);
                }
                *skip_drop = true;
                return Forced(true);
            };
            Plain(match rule.number {
                44 => l.max(r) - l.min(r) <= v,
                45 => l & r == v,
                46 => l | r == v,
                47 => l ^ r == v,
                _ => l == v && r == v,
            })
        }
        49 | 50 => {
            let (id, v) = (rule.number_at(0, 4) as u32, rule.number_at(4, 4) as u32);
            if super_accept {
                *skip_drop = true;
                return Forced(true);
            }
            let sender = rule.number == 49;
            let ours = sender != s.inbound;
            match if ours { s.local.tag(id) } else { s.remote.tag(id) } {
                Some(tag) => Plain(tag == v),
                None if !ours && !s.inbound => {
                    *skip_drop = true;
                    Forced(true)
                }
                None => Forced(false),
            }
        }
        51 => {
            let integer = integer(p, rule.number_at(16, 2) as usize, value[18]);
            // The end travels as an absolute number.
            Plain(rule.number_at(0, 8) <= integer && integer <= rule.number_at(8, 8))
        }
        _ => Plain(s.match_unknown),
    }
}

fn bit_of(bytes: &[u8], bit: usize) -> bool {
    bytes[bit / 8] & (128 >> (bit % 8)) != 0
}

/// Protocol and where its header begins.
fn inner(s: &Situation) -> Option<(u8, usize)> {
    let p = &s.payload;
    if s.ethertype == 0x0800 && p.len() >= 20 {
        return Some((p[9], 4 * usize::from(p[0] & 15)));
    }
    if s.ethertype != 0x86dd || p.len() < 40 {
        return None;
    }
    let mut next = p[6];
    let mut at = 40;
    while [0, 43, 60, 135].contains(&next) {
        if at + 8 > p.len() {
            return None;
        }
        next = p[at];
        at += 8 * usize::from(p[at + 1]) + 8;
        if at > p.len() {
            return None;
        }
    }
    Some((next, at))
}

fn characteristics(s: &Situation) -> u64 {
    let p = &s.payload;
    let mut bits = 0u64;
    let mut set = |bit: u32, on: bool| bits |= u64::from(on) << bit;
    set(63, s.inbound);
    set(62, s.mac_dest[0] % 2 == 1);
    set(61, s.mac_dest == [255; 6]);
    let sender = if s.inbound { &s.remote } else { &s.local };
    set(59, sender.macs.contains(&s.mac_source));

    let mut authenticated = false;
    let address: Option<&[u8]> = match s.ethertype {
        0x0800 if p.len() >= 20 => Some(&p[12..16]),
        0x86dd if p.len() >= 64 && p[6] == 58 && p[40] == 0x87 => {
            authenticated = true;
            None
        }
        0x86dd if p.len() >= 64 && p[6] == 58 && p[40] == 0x88 => Some(&p[48..64]),
        0x86dd if p.len() >= 40 => Some(&p[8..24]),
        0x0806 if p.len() >= 28 => Some(&p[14..18]),
        _ => None,
    };
    if let Some(address) = address {
        authenticated |= sender.addresses.iter().any(|owned| owned == address);
        authenticated |= s.inbound && address.len() == 16 && s.emulated.iter().any(|a| a == address);
    }
    set(60, authenticated);

    if let Some((6, at)) = inner(s)
        && (s.ethertype == 0x0800 || p.len() > at + 14)
    {
        let octet = |at: usize| p.get(at).copied().unwrap_or(0);
        for bit in 0..8 {
            set(bit, octet(at + 13) & (1 << bit) != 0);
        }
        for bit in 0..4 {
            set(8 + bit, octet(at + 12) & (1 << bit) != 0);
        }
    }
    bits
}

fn integer(p: &[u8], index: usize, format: u8) -> u64 {
    let bits = u32::from(format % 64) + 1;
    let octets = bits.div_ceil(8) as usize;
    let little = format >= 128;
    let at = if little { index } else { index + 8 - octets };
    if at + octets > p.len() {
        return 0;
    }
    let mut field: Vec<u8> = p[at..at + octets].to_vec();
    if little {
        field.reverse();
    }
    let whole = field.iter().fold(0u128, |number, octet| number * 256 + u128::from(*octet));
    let surplus = 8 * octets as u32 - bits;
    if little { (whole >> surplus) as u64 } else { (whole % (1 << bits)) as u64 }
}
