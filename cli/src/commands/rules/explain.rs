//! `rules explain`: what becomes of one packet, and why.

use std::net::IpAddr;

use flowrules::Rule;
use flowrules::cases::{self, Scenes};
use flowrules::describe::{Description, End, Known, What, Who, describe, mac_text, parse};
use flowrules::explain::{Book, Fate, Party, Rules, Scene, Walk, fate, judge, step_words, tell};
use serde_json::{Value, json};

use super::enforced::Enforced;
use super::people::{People, Person};
use super::test::{fate_json, member_mac, side_json};
use super::{Compiled, Found, Source, find, read_text};
use crate::args::Common;
use crate::args::rules::Explain;
use crate::commands::Session;
use crate::commands::controller::print;
use crate::failure::{Failure, Io, Outcome};

/// Rules, who is who, and the names for both.
struct World {
    base: Vec<Rule>,
    match_unknown: bool,
    book: Book,
    people: People,
}

impl World {
    fn of(enforced: Enforced, people: People) -> Self {
        let book = enforced.book_with(people.all.iter().map(|one| &one.party.capabilities));
        Self { base: enforced.base, match_unknown: enforced.match_unknown, book, people }
    }
}

pub(super) fn run(program: &str, common: Common, wanted: &Explain, io: &mut Io<'_>) -> Outcome {
    let json = common.json;
    let (world, packet) = match (&wanted.rules, &wanted.second) {
        (Some(file), None) => (from_files(program, wanted, file)?, &wanted.first),
        (None, Some(packet)) => (from_node(&Session::open(program, common)?, &wanted.first)?, packet),
        (Some(_), Some(_)) => {
            return Err(Failure::usage(format!(
                "{program}: with --rules FILE no network is asked; give the packet alone, in quotes"
            )));
        }
        (None, None) => {
            return Err(Failure::usage(format!(
                "{program}: the packet is missing; write it in quotes after the network: \
                 ztnode-cli rules explain {} 'tcp 10.0.1.1:5000 > 10.0.3.1:80'",
                wanted.first
            )));
        }
    };
    let description =
        parse(packet).map_err(|error| Failure::usage(format!("{program}: {}", error.render(packet))))?;
    let mut notes = world.people.notes.clone();
    let sender = world.people.end(program, &description.source, wanted.from.as_deref(), true, &mut notes)?;
    // A packet to a group has many receivers, and is judged for one only if that one is named.
    let receiver = match (&wanted.to, group(&description)) {
        (None, true) => None,
        (to, _) => Some(world.people.end(program, &description.dest, to.as_deref(), false, &mut notes)?),
    };
    let known = |person: Option<&Person>| person.map_or(Known::default(), Person::known);
    let built = description
        .build(&known(Some(&sender)), &known(receiver.as_ref()))
        .map_err(|error| Failure::usage(format!("{program}: {}", error.render(packet))))?;
    let scene = Scene {
        base: &world.base,
        sender: &sender.party,
        receiver: receiver.as_ref().map(|receiver| &receiver.party),
        frame: built.frame(),
        first_contact: receiver.as_ref().is_some_and(|receiver| receiver.unmet),
        match_unknown: world.match_unknown,
    };
    if scene.first_contact {
        notes.push(
            "the sender has seen no tags of the receiver; as soon as it has, it may decide itself".to_owned(),
        );
    }
    let walks = judge(&scene);
    let shown = describe(&built.frame(), built.payload.len());
    // Only the sender's capabilities are ever looked at, on both sides.
    let all = Rules { base: &world.base, capabilities: &sender.party.capabilities };
    if json {
        return print(
            &answer_json(&world, &shown, &sender, receiver.as_ref(), &notes, &walks, all, wanted),
            io,
        );
    }
    writeln!(io.out, "packet    {shown}")?;
    writeln!(io.out, "sender    {}", world.people.line(&sender))?;
    match &receiver {
        Some(receiver) => writeln!(io.out, "receiver  {}", world.people.line(receiver))?,
        None => writeln!(io.out, "receiver  everybody in the group; name one with --to to see what it does")?,
    }
    for note in &notes {
        writeln!(io.out, "assumed   {note}")?;
    }
    let naming = |address: u64| world.people.name_of(address);
    write!(io.out, "\n{}", tell(&walks, &all, &world.book, &naming, wanted.verbose))?;
    let end = match fate(&walks) {
        Fate::Accepted if receiver.is_some() => "delivered".to_owned(),
        Fate::Accepted => "sent".to_owned(),
        Fate::Dropped(side) => format!("dropped by the {}", side.who()),
        Fate::Redirected(side, to) => format!("sent to {} instead, by the {}", naming(to), side.who()),
    };
    Ok(writeln!(io.out, "\n{end}")?)
}

/// Whether it goes to a group: its address says so, or its kind.
fn group(description: &Description) -> bool {
    let mac = description.to_mac.or(match description.dest.who {
        Who::Mac(mac) => Some(mac),
        _ => None,
    });
    match (mac, &description.dest.who) {
        (Some(mac), _) => mac[0] & 1 != 0,
        (None, Who::Ip(IpAddr::V4(ip))) if ip.is_broadcast() => true,
        (None, Who::Ip(ip)) => ip.is_multicast() || description.what == What::ArpRequest,
        (None, _) => description.what == What::ArpRequest,
    }
}

/// Rules from a file; members from a case file, or two that nothing is known of.
fn from_files(program: &str, wanted: &Explain, file: &std::path::Path) -> Result<World, Failure> {
    let compiled = Source::read(program, file)?.compile(false)?;
    let mut people = People { vocabulary: compiled.vocabulary.clone(), ..People::default() };
    match &wanted.cases {
        None => people.notes.push(
            "no members are known, so both ends are members with the default tags and capabilities; \
             --cases FILE names members"
                .to_owned(),
        ),
        Some(cases) => {
            let (name, text) = read_text(program, cases, cases::MAX_FILE)?;
            let wrong =
                |error: cases::CaseError| Failure::error(error.render(&name, &text).trim_end()).with_code(2);
            let file = cases::parse(&text).map_err(wrong)?;
            let mac = |address| member_mac(file.network, address);
            let scenes = Scenes::new(&file, compiled.rules(), &compiled.book, &compiled.vocabulary, &mac)
                .map_err(wrong)?;
            for member in &file.members {
                people.all.push(Person {
                    name: Some(member.name.clone()),
                    party: scenes.party(&member.name).cloned().unwrap_or_default(),
                    ips: member.ips.clone(),
                    mac: member.mac.unwrap_or_else(|| mac(member.address)),
                    unmet: false,
                });
            }
            people.network = file.network;
        }
    }
    people.stranger = Party {
        tags: defaults(&compiled),
        capabilities: compiled
            .program
            .capabilities
            .iter()
            .filter(|one| one.default)
            .map(|one| (one.id, one.section.rules.clone()))
            .collect(),
        ..Party::default()
    };
    Ok(World { base: compiled.program.base.rules, match_unknown: false, book: compiled.book, people })
}

fn defaults(compiled: &Compiled) -> std::collections::BTreeMap<u32, u32> {
    compiled.vocabulary.tags.values().filter_map(|tag| Some((tag.id, tag.default?))).collect()
}

fn from_node(session: &Session, network: &str) -> Result<World, Failure> {
    match find(session, network)? {
        Found::Controller(record) => {
            let people = People::of_controller(session, &record)?;
            let kept = Compiled::of_network(&record);
            match kept.filter(|compiled| super::set::in_force(&record, compiled)) {
                Some(compiled) => {
                    let Compiled { program, book, .. } = compiled;
                    Ok(World { base: program.base.rules, match_unknown: false, book, people })
                }
                None => Ok(World::of(Enforced::of_record(&record), people)),
            }
        }
        Found::Member(network) => {
            let id = crate::text::printable(&network.id);
            let enforced = Enforced::ask(session, &id)?;
            let people = People::of_member(&network, &enforced);
            Ok(World::of(enforced, people))
        }
    }
}

#[allow(clippy::too_many_arguments)] // One use, all of them needed.
fn answer_json(
    world: &World,
    shown: &str,
    sender: &Person,
    receiver: Option<&Person>,
    notes: &[String],
    walks: &[Walk],
    rules: Rules<'_>,
    wanted: &Explain,
) -> Value {
    let person = |person: &Person| {
        let tags: Vec<Value> =
            person.party.tags.iter().map(|(id, value)| json!({"id": id, "value": value})).collect();
        json!({
            "address": (person.party.address != 0).then(|| format!("{:010x}", person.party.address)),
            "name": person.name,
            "mac": mac_text(person.mac),
            "tags": tags,
            "capabilities": person.party.capabilities.keys().collect::<Vec<_>>(),
        })
    };
    let sides: Vec<Value> = walks
        .iter()
        .map(|walk| {
            let mut side = side_json(&world.book, walk);
            if wanted.verbose {
                super::put(&mut side, "steps", steps_json(&world.book, walk, rules));
            }
            side
        })
        .collect();
    json!({
        "packet": shown, "sender": person(sender), "receiver": receiver.map(person), "assumed": notes,
        "sides": sides, "fate": fate_json(walks),
    })
}

fn steps_json(book: &Book, walk: &Walk, rules: Rules<'_>) -> Value {
    let mut all = Vec::new();
    for list in &walk.lists {
        let entries = match list.capability {
            None => rules.base,
            Some(id) => rules.capabilities.get(&id).map_or(&[][..], Vec::as_slice),
        };
        let words = book.chapter(list.capability).map_or(&[][..], |chapter| &chapter.words);
        for (index, (step, rule)) in list.steps.iter().zip(entries).enumerate() {
            all.push(json!({
                "capability": list.capability, "entry": index, "words": words.get(index),
                "outcome": step_words(*step, rule),
            }));
        }
    }
    all.into()
}

impl People {
    /// Who is at an end of the packet: whom `said` names, or whom the packet names, or whose IP address it is.
    fn end(
        &self,
        program: &str,
        end: &End,
        said: Option<&str>,
        sends: bool,
        notes: &mut Vec<String>,
    ) -> Result<Person, Failure> {
        let who = if sends { "sender" } else { "receiver" };
        let named = said.or(if let Who::Name(name) = &end.who { Some(name) } else { None });
        if let Some(name) = named {
            return self.find(name).ok_or_else(|| {
                Failure::usage(format!("{program}: no member {} is known", crate::text::printable(name)))
                    .hint(self.remedy())
            });
        }
        let found = match end.who {
            Who::Ip(ip) => self.by_ip(ip),
            Who::Mac(mac) => self.by_mac(mac),
            _ => None,
        };
        Ok(found.unwrap_or_else(|| {
            let what = match end.who {
                Who::Ip(ip) => format!("nobody known here has {ip}"),
                Who::Mac(mac) => format!("nobody known here has {}", mac_text(mac)),
                _ => format!("the packet does not say who the {who} is"),
            };
            if !self.all.is_empty() {
                notes.push(format!(
                    "{what}: the {who} is taken for a member without tags and capabilities of its own"
                ));
            }
            self.a_stranger(sends)
        }))
    }
}
