//! From text to a [`File`].

use std::net::IpAddr;

use super::{By, Case, CaseError, Decider, Expected, File, MAX_FILE, MAX_MEMBERS, Member, Said, Spot};
use crate::describe;
use crate::explain::Side;

const CASE: &str =
    "a case is: FROM -> TO PACKET : EXPECTED, such as: aws -> gcp tcp 5000 > 22 syn : drop by line 12";
const MEMBER: &str = "a member is: member NAME [ADDRESS] ip IP tag NAME=VALUE capability NAME, \
     such as: member aws 62f865ae71 ip 10.0.1.1";
const EXPECTED: &str = "write accept, drop, tee WHO, watch WHO, redirect WHO or no copies, each with \
     \"by line N\", \"by default\" or \"by capability NAME\" if it matters, joined by commas";
const WORDS_OF_MEMBERS: [&str; 5] = ["ip", "tag", "capability", "no-capability", "mac"];

/// Addresses made up for members that are given none count up from here.
const MADE_UP: u64 = 0xa0_0000_0001;

/// Reads a case file.
///
/// # Errors
/// The first place where it is none.
pub fn parse(source: &str) -> Result<File, CaseError> {
    if source.len() > MAX_FILE {
        return Err(CaseError::new(
            &Spot { line: 1, columns: 0..1 },
            format!("the file is longer than {MAX_FILE} bytes"),
            "divide it into several",
        ));
    }
    let mut file = File::default();
    for (number, line) in (1..).zip(source.lines()) {
        let continues = line.starts_with([' ', '\t']);
        let mut words = Words { words: words(number, line), next: 0, line: number, length: line.len() };
        let Some(first) = words.peek() else { continue };
        match first.text.as_str() {
            _ if continues => {
                let spot = first.at.clone();
                match file.members.last_mut().filter(|_| file.cases.is_empty()) {
                    Some(member) => attributes(&mut words, member)?,
                    None => {
                        return Err(CaseError::new(
                            &spot,
                            "there is no member to go on with",
                            "only a line after a member may begin with a blank",
                        ));
                    }
                }
            }
            "network" => {
                words.take();
                let hint = "write the 16-digit ID: network 37f2b7c94f000001";
                let id = words.wanted("the network's ID is missing", hint)?;
                file.network =
                    Some(hex(&id.text, 16).ok_or_else(|| {
                        CaseError::new(&id.at, format!("{} is no network ID", id.text), hint)
                    })?);
                words.end(hint)?;
            }
            "member" if words.words.get(1).is_none_or(|word| word.text != "->") => {
                words.take();
                let member = member(&mut words, &file)?;
                file.members.push(member);
                if let Some(member) = file.members.last_mut() {
                    attributes(&mut words, member)?;
                }
            }
            _ => {
                let case = case(line, &mut words, &file)?;
                file.cases.push(case);
            }
        }
    }
    Ok(file)
}

/// Ten hexadecimal digits.
pub(super) fn address(text: &str) -> Option<u64> {
    hex(text, 10)
}

fn hex(text: &str, digits: usize) -> Option<u64> {
    let right = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    right.then(|| u64::from_str_radix(text, 16).ok()).flatten()
}

fn words(line: u32, text: &str) -> Vec<Said> {
    let mut words = Vec::new();
    let mut start = None;
    for (at, c) in text.char_indices().chain([(text.len(), ' ')]) {
        match (c.is_whitespace(), start) {
            (true, Some(from)) => {
                words.push(Said { text: text[from..at].to_owned(), at: Spot { line, columns: from..at } });
                start = None;
            }
            (false, None) if c == '#' => return words,
            (false, None) => start = Some(at),
            _ => {}
        }
    }
    words
}

struct Words {
    words: Vec<Said>,
    next: usize,
    line: u32,
    length: usize,
}

impl Words {
    fn peek(&self) -> Option<&Said> {
        self.words.get(self.next)
    }

    fn next_is(&self, text: &str) -> bool {
        self.peek().is_some_and(|word| word.text == text)
    }

    fn take(&mut self) -> Option<Said> {
        let word = self.words.get(self.next).cloned();
        self.next += usize::from(word.is_some());
        word
    }

    fn take_if(&mut self, text: &str) -> bool {
        let is = self.next_is(text);
        self.next += usize::from(is);
        is
    }

    fn wanted(&mut self, message: &str, hint: &str) -> Result<Said, CaseError> {
        let end = Spot { line: self.line, columns: self.length..self.length };
        self.take().ok_or_else(|| CaseError::new(&end, message, hint))
    }

    fn end(&self, hint: &str) -> Result<(), CaseError> {
        match self.peek() {
            None => Ok(()),
            Some(word) => Err(CaseError::new(&word.at, format!("{} does not belong here", word.text), hint)),
        }
    }
}

fn member(words: &mut Words, file: &File) -> Result<Member, CaseError> {
    let name = words.wanted("the member's name is missing", MEMBER)?;
    let fine = name.text.chars().all(|c| c.is_alphanumeric() || "_-.".contains(c))
        && name.text.starts_with(char::is_alphabetic)
        && !WORDS_OF_MEMBERS.contains(&name.text.as_str());
    if !fine {
        let hint = "a name begins with a letter, of letters, digits, - _ and .";
        return Err(CaseError::new(&name.at, format!("{} is no name of a member", name.text), hint));
    }
    if file.member(&name.text).is_some() {
        let message = format!("there is a member {} already", name.text);
        return Err(CaseError::new(&name.at, message, "give every member a name of its own"));
    }
    if file.members.len() >= MAX_MEMBERS {
        return Err(CaseError::new(&name.at, format!("more than {MAX_MEMBERS} members"), "leave some out"));
    }
    let said = words.peek().and_then(|word| Some((address(&word.text)?, word.at.clone())));
    let address = match said {
        Some((address, at)) => {
            words.take();
            if file.members.iter().any(|member| member.address == address) {
                let message = format!("{address:010x} is another member's address");
                return Err(CaseError::new(&at, message, "every member has an address of its own"));
            }
            address
        }
        None => {
            let taken = |address: &u64| file.members.iter().any(|member| member.address == *address);
            (MADE_UP..).find(|address| !taken(address)).unwrap_or(MADE_UP)
        }
    };
    Ok(Member {
        name: name.text,
        address,
        ips: Vec::new(),
        mac: None,
        tags: Vec::new(),
        capabilities: Vec::new(),
        without: Vec::new(),
    })
}

fn attributes(words: &mut Words, member: &mut Member) -> Result<(), CaseError> {
    while let Some(word) = words.take() {
        let kind = word.text.as_str();
        if !WORDS_OF_MEMBERS.contains(&kind) {
            return Err(CaseError::new(&word.at, format!("{kind} does not belong here"), MEMBER));
        }
        let mut some = false;
        while let Some(value) = words.peek().cloned() {
            if WORDS_OF_MEMBERS.contains(&value.text.as_str()) {
                break;
            }
            words.take();
            some = true;
            attribute(kind, value, member)?;
        }
        if !some {
            return Err(CaseError::new(&word.at, format!("nothing follows {kind}"), MEMBER));
        }
    }
    Ok(())
}

fn attribute(kind: &str, value: Said, member: &mut Member) -> Result<(), CaseError> {
    let wrong = |hint: &str| Err(CaseError::new(&value.at, format!("{} is no {kind}", value.text), hint));
    match kind {
        "ip" => match value.text.parse::<IpAddr>() {
            Ok(ip) => member.ips.push(ip),
            Err(_) => return wrong("write an address without /bits: ip 10.0.1.1 fd00::1"),
        },
        "mac" => match describe::mac(&value.text) {
            Some(mac) => member.mac = Some(mac),
            None => return wrong("six pairs of hexadecimal digits: mac 02:00:00:00:00:01"),
        },
        "tag" => match value.text.split_once('=') {
            Some((name, number)) if !name.is_empty() && !number.is_empty() => {
                member.tags.push((Said { text: name.to_owned(), at: value.at.clone() }, number.to_owned()));
            }
            _ => return wrong("write NAME=VALUE without blanks: tag department=sales"),
        },
        "capability" => member.capabilities.push(value),
        _ => member.without.push(value),
    }
    Ok(())
}

fn case(line: &str, words: &mut Words, file: &File) -> Result<Case, CaseError> {
    let from = words.wanted("the sender is missing", CASE)?;
    if !words.next_is("->") {
        // Of a member the sign is missing; anything else is itself what is wrong.
        let next = words.peek().filter(|_| file.member(&from.text).is_some());
        let at = next.map_or(from.at.clone(), |word| word.at.clone());
        return Err(CaseError::new(&at, "this is neither a member nor a case", CASE));
    }
    words.take();
    let to = words.wanted("the receiver is missing", CASE)?;
    for end in [&from, &to] {
        if file.member(&end.text).is_none() && (end.text != "*" || std::ptr::eq(end, &from)) {
            let names: Vec<&str> = file.members.iter().map(|member| member.name.as_str()).collect();
            let hint = if names.is_empty() {
                MEMBER.to_owned()
            } else {
                format!("the members so far: {}; or add one: member {} …", names.join(" "), end.text)
            };
            return Err(CaseError::new(&end.at, format!("there is no member {}", end.text), hint));
        }
    }
    let first_contact = words.take_if("first-contact");
    let begin = words.next;
    let colon = words.words.iter().position(|word| word.text == ":").ok_or_else(|| {
        let end = Spot { line: words.line, columns: line.len()..line.len() };
        CaseError::new(
            &end,
            "the colon before what is expected is missing, with a blank on either side",
            CASE,
        )
    })?;
    let at = |index: usize| words.words.get(index).map(|word| word.at.columns.clone());
    let start = at(begin).map_or(line.len(), |columns| columns.start);
    let stop = at(colon).map_or(line.len(), |columns| columns.start);
    let packet_text = line.get(start..stop).unwrap_or_default().trim_end();
    let packet_at = Spot { line: words.line, columns: start..start + packet_text.len() };
    let packet = describe::parse(packet_text).map_err(|error| {
        let columns = start + error.at.start..start + error.at.end;
        CaseError { at: Spot { line: words.line, columns }, message: error.message, hint: error.hint }
    })?;
    let text: Vec<&str> = words.words[..colon.max(begin)].iter().map(|word| word.text.as_str()).collect();
    let text = text.join(" ");
    words.next = colon + 1;
    let expected = expectations(words)?;
    Ok(Case {
        line: words.line,
        text,
        from: from.text,
        to: (to.text != "*").then_some(to.text),
        first_contact,
        packet,
        packet_at,
        expected,
    })
}

fn expectations(words: &mut Words) -> Result<Vec<Expected>, CaseError> {
    split_commas(words);
    let mut all = Vec::new();
    loop {
        let what = words.wanted("what is expected is missing", EXPECTED)?;
        all.push(match what.text.as_str() {
            "accept" => Expected::Accept(by(words)?),
            "drop" => Expected::Drop(by(words)?),
            kind @ ("tee" | "watch" | "redirect") => {
                let to = words.wanted("to whom is missing", "name a member or an address: tee observer")?;
                let by = by(words)?;
                match kind {
                    "redirect" => Expected::Redirect { to, by },
                    _ => Expected::Copy { watch: kind == "watch", to, by },
                }
            }
            "no" if words.take_if("copies") => Expected::NoCopies,
            other => {
                return Err(CaseError::new(&what.at, format!("{other} is no expectation"), EXPECTED));
            }
        });
        if words.peek().is_none() {
            return Ok(all);
        }
        if !words.take_if(",") {
            words.end(EXPECTED)?;
        }
    }
}

/// A comma may stand at the end of a word.
fn split_commas(words: &mut Words) {
    let rest = words.words.split_off(words.next.min(words.words.len()));
    for word in rest {
        match word.text.strip_suffix(',') {
            Some(head) if !head.is_empty() => {
                let Spot { line, columns } = word.at;
                let cut = columns.end - 1;
                words
                    .words
                    .push(Said { text: head.to_owned(), at: Spot { line, columns: columns.start..cut } });
                words.words.push(Said { text: ",".to_owned(), at: Spot { line, columns: cut..columns.end } });
            }
            _ => words.words.push(word),
        }
    }
}

fn by(words: &mut Words) -> Result<By, CaseError> {
    let mut by = By::default();
    if !words.take_if("by") {
        return Ok(by);
    }
    const HINT: &str =
        "after \"by\": sender or receiver, then line N, default or capability NAME; at least one of them";
    by.side = match words.peek().map(|word| word.text.as_str()) {
        Some("sender") => Some(Side::Sender),
        Some("receiver") => Some(Side::Receiver),
        _ => None,
    };
    words.next += usize::from(by.side.is_some());
    by.what = match words.peek().cloned() {
        Some(word) if word.text == "line" => {
            words.take();
            let number = words.wanted("the number of the line is missing", HINT)?;
            let line = number.text.parse().ok().filter(|line| *line > 0);
            Some(Decider::Line(
                line.ok_or_else(|| CaseError::new(&number.at, format!("{} is no line", number.text), HINT))?,
            ))
        }
        Some(word) if word.text == "default" => {
            words.take();
            Some(Decider::Default)
        }
        Some(word) if word.text == "capability" => {
            words.take();
            Some(Decider::Capability(words.wanted("the name of the capability is missing", HINT)?))
        }
        Some(word) if by.side.is_none() => {
            return Err(CaseError::new(&word.at, format!("{} cannot follow \"by\"", word.text), HINT));
        }
        None if by.side.is_none() => {
            words.wanted("who or what is missing", HINT)?;
            None
        }
        _ => None,
    };
    Ok(by)
}
