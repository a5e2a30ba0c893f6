//! From cases and rules to what happened.

use std::collections::BTreeMap;

use super::{By, Case, CaseError, Decider, Expected, File, Member, Said, Vocabulary};
use crate::describe::{Known, Packet};
use crate::evaluate::{Accept, Entry};
use crate::explain::{Book, Fate, Party, Rules, Scene, Side, Walk, fate, judge};

/// A case file together with the rules it is about.
pub struct Scenes<'a> {
    file: &'a File,
    rules: Rules<'a>,
    book: &'a Book,
    vocabulary: &'a Vocabulary,
    parties: BTreeMap<&'a str, Party>,
    mac: &'a dyn Fn(u64) -> [u8; 6],
}

/// What came of a case.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The packet.
    pub packet: Packet,
    /// How it went.
    pub walks: Vec<Walk>,
    /// The expectations that were not met, in words; empty = passed.
    pub unmet: Vec<String>,
}

impl<'a> Scenes<'a> {
    /// Looks up the members' tags and capabilities in the rules. `mac` tells the MAC of the node with an address, for
    /// members whose MAC the file does not say.
    ///
    /// # Errors
    /// A tag, value or capability that the rules do not have.
    pub fn new(
        file: &'a File,
        rules: Rules<'a>,
        book: &'a Book,
        vocabulary: &'a Vocabulary,
        mac: &'a dyn Fn(u64) -> [u8; 6],
    ) -> Result<Self, CaseError> {
        let mut parties = BTreeMap::new();
        for member in &file.members {
            parties.insert(member.name.as_str(), party(member, rules, vocabulary)?);
        }
        Ok(Self { file, rules, book, vocabulary, parties, mac })
    }

    /// The member of that name, as the rules see it.
    pub fn party(&self, name: &str) -> Option<&Party> {
        self.parties.get(name)
    }

    /// What fills in the ends of packets from or to a member.
    pub fn known(&self, member: &Member) -> Known {
        known(member, member.mac.unwrap_or_else(|| (self.mac)(member.address)))
    }

    /// Runs one case.
    ///
    /// # Errors
    /// The packet lacks an address, or an expectation names what there is not.
    pub fn run(&self, case: &Case) -> Result<Outcome, CaseError> {
        let end = |name: Option<&str>| name.and_then(|name| self.file.member(name));
        let (sender, receiver) = (end(Some(&case.from)), end(case.to.as_deref()));
        let facts = |member: Option<&Member>| member.map_or(Known::default(), |member| self.known(member));
        let mut fill = [facts(sender), facts(receiver)];
        let mut description = case.packet.clone();
        for (end, fill) in [&mut description.source, &mut description.dest].into_iter().zip(&mut fill) {
            if let crate::describe::Who::Name(name) = &end.who {
                let Some(member) = self.file.find(name) else {
                    let hint = "name a member of the file, or write its IP address";
                    return Err(CaseError::new(&case.packet_at, format!("there is no member {name}"), hint));
                };
                *fill = self.known(member);
            }
        }
        let [from, to] = fill;
        let packet = description.build(&from, &to).map_err(|error| {
            let hint = format!("{}; or give the member one: ip 10.0.1.1", error.hint);
            CaseError::new(&case.packet_at, error.message, hint)
        })?;
        let nobody = Party::default();
        let scene = Scene {
            base: self.rules.base,
            sender: self.party(&case.from).unwrap_or(&nobody),
            receiver: case.to.as_deref().and_then(|name| self.party(name)),
            frame: packet.frame(),
            first_contact: case.first_contact,
            match_unknown: false,
        };
        let walks = judge(&scene);
        let mut unmet = Vec::new();
        for expected in &case.expected {
            if !self.holds(expected, &walks)? {
                unmet.push(expected_words(expected));
            }
        }
        Ok(Outcome { packet, walks, unmet })
    }

    fn holds(&self, expected: &Expected, walks: &[Walk]) -> Result<bool, CaseError> {
        let fate = fate(walks);
        Ok(match expected {
            Expected::Accept(by) => {
                let mut any = false;
                for walk in walks {
                    any |= self.is_by(by, walk, walk.verdict.by)?;
                }
                fate == Fate::Accepted && any
            }
            Expected::Drop(by) => match (fate, walks.last()) {
                (Fate::Dropped(_), Some(last)) => self.is_by(by, last, last.verdict.by)?,
                _ => false,
            },
            Expected::Redirect { to, by } => {
                let target = self.address(to)?;
                match (fate, walks.last()) {
                    (Fate::Redirected(_, to), Some(last)) => {
                        to == target && self.is_by(by, last, last.verdict.by)?
                    }
                    _ => false,
                }
            }
            Expected::Copy { watch, to, by } => {
                let target = self.address(to)?;
                let mut any = false;
                for walk in walks {
                    for copy in walk.verdict.copies.iter() {
                        any |= copy.watch == *watch
                            && copy.target == target
                            && self.is_by(by, walk, Some(copy.by))?;
                    }
                }
                any
            }
            Expected::NoCopies => walks.iter().all(|walk| walk.verdict.copies.is_empty()),
        })
    }

    fn is_by(&self, by: &By, walk: &Walk, entry: Option<Entry>) -> Result<bool, CaseError> {
        let side = by.side.is_none_or(|side| (side == Side::Receiver) == (walk.side == Side::Receiver));
        // A BREAK ends the network's list without a decision; that no capability accepts is the default then.
        let decided = entry.filter(|_| {
            let undecided = walk.lists.iter().all(|list| list.outcome == crate::evaluate::Outcome::NoMatch);
            !(undecided && walk.verdict.accept == Accept::Drop && walk.verdict.redirect.is_none())
        });
        Ok(side
            && match &by.what {
                None => true,
                Some(Decider::Line(line)) => {
                    entry.and_then(|entry| self.book.statement(entry)).is_some_and(|one| one.is_at(*line))
                }
                Some(Decider::Default) => decided.is_none(),
                Some(Decider::Capability(name)) => {
                    let id = self.vocabulary.capability(&name.text).map_err(|hint| {
                        CaseError::new(&name.at, format!("there is no capability {}", name.text), hint)
                    })?;
                    entry.is_some_and(|entry| entry.capability == Some(id))
                }
            })
    }

    fn address(&self, who: &Said) -> Result<u64, CaseError> {
        let typed = super::parse::address(who.text.strip_prefix('@').unwrap_or(&who.text));
        self.file.find(&who.text).map(|member| member.address).or(typed).ok_or_else(|| {
            CaseError::new(
                &who.at,
                format!("there is no member {}", who.text),
                "name a member of the file, or write a 10-digit address",
            )
        })
    }
}

/// What is known of a member for filling in packets.
fn known(member: &Member, mac: [u8; 6]) -> Known {
    let mut known = Known { mac: Some(mac), ..Known::default() };
    for ip in &member.ips {
        match ip {
            std::net::IpAddr::V4(ip) => known.ipv4 = known.ipv4.or(Some(*ip)),
            std::net::IpAddr::V6(ip) => known.ipv6 = known.ipv6.or(Some(*ip)),
        }
    }
    known
}

fn party(member: &Member, rules: Rules<'_>, vocabulary: &Vocabulary) -> Result<Party, CaseError> {
    let mut party = Party { address: member.address, owns: member.ips.clone(), ..Party::default() };
    for words in vocabulary.tags.values() {
        if let Some(value) = words.default {
            party.tags.insert(words.id, value);
        }
    }
    for (name, value) in &member.tags {
        let wrong = |what: &str, hint| CaseError::new(&name.at, format!("there is no {what}"), hint);
        let id = vocabulary.tag(&name.text).map_err(|hint| wrong(&format!("tag {}", name.text), hint))?;
        let value = vocabulary.value(id, value).map_err(|hint| wrong(&format!("value {value}"), hint))?;
        party.tags.insert(id, value);
    }
    let mut held: Vec<u32> =
        vocabulary.capabilities.values().filter(|words| words.default).map(|words| words.id).collect();
    let id = |said: &Said| {
        vocabulary.capability(&said.text).ok().filter(|id| rules.capabilities.contains_key(id)).ok_or_else(
            || {
                let hint = vocabulary.capability("").err().unwrap_or_default();
                CaseError::new(&said.at, format!("there is no capability {}", said.text), hint)
            },
        )
    };
    for said in &member.capabilities {
        held.push(id(said)?);
    }
    for said in &member.without {
        let id = id(said)?;
        held.retain(|held| *held != id);
    }
    for id in held {
        if let Some(rules) = rules.capabilities.get(&id) {
            party.capabilities.insert(id, rules.clone());
        }
    }
    Ok(party)
}

/// An expectation as the file could say it.
pub fn expected_words(expected: &Expected) -> String {
    let (what, by) = match expected {
        Expected::Accept(by) => ("accept".to_owned(), by),
        Expected::Drop(by) => ("drop".to_owned(), by),
        Expected::Copy { watch: true, to, by } => (format!("watch {}", to.text), by),
        Expected::Copy { watch: false, to, by } => (format!("tee {}", to.text), by),
        Expected::Redirect { to, by } => (format!("redirect {}", to.text), by),
        Expected::NoCopies => return "no copies".to_owned(),
    };
    let mut words = vec![what];
    if by.side.is_some() || by.what.is_some() {
        words.push("by".to_owned());
    }
    words.extend(by.side.map(|side| side.who().to_owned()));
    match &by.what {
        None => {}
        Some(Decider::Line(line)) => words.push(format!("line {line}")),
        Some(Decider::Default) => words.push("default".to_owned()),
        Some(Decider::Capability(name)) => words.push(format!("capability {}", name.text)),
    }
    words.join(" ")
}
