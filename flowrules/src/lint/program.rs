//! Findings about the program as a whole: what gets through, and how the lists work together.

use std::collections::BTreeMap;

use super::reach::{Frame, Walk, walk};
use super::{Report, sections};
use crate::binary::{MAX_CAPABILITY_RULES, MAX_RULES};
use crate::ethernet::{ARP, IPV4, IPV6};
use crate::language::{Place, Program, Section};
use crate::rule::{Kind, Rule};

/// Most capabilities and most tags a member can hold.
const MAX_CREDENTIALS: usize = 128;

pub(super) fn check(program: &Program, report: &mut Report<'_>) {
    limits(program, report);
    tags(program, report);
    for section in sections(program) {
        unreachable(section, report);
    }
    let base = walk(&program.base.rules, Frame::Any);
    capabilities(program, &base, report);
    if !may_pass(program, Frame::Any) {
        nothing_passes(program, &base, report);
        return;
    }
    final_accept(program, &base, report);
    resolution(program, report);
}

/// The first character of the program, for what has no better place.
const START: Place = Place { line: 1, column: 1, included_at: None };

fn last_place(section: &Section) -> Place {
    section.places.last().copied().unwrap_or(START)
}

fn limits(program: &Program, report: &mut Report<'_>) {
    let mut over = |section: &Section, most: usize, whose: String| {
        if section.rules.len() > most {
            report.add(
                section.places[most],
                "too-many-rules",
                format!("{whose} have {} entries, members take {most}", section.rules.len()),
                "every match and every action is an entry; what is beyond the limit is lost or the configuration refused",
            );
        }
    };
    over(&program.base, MAX_RULES, "the base rules".into());
    for capability in &program.capabilities {
        over(
            &capability.section,
            MAX_CAPABILITY_RULES,
            format!("the rules of the capability `{}`", capability.name),
        );
    }
    if let Some(capability) = program.capabilities.get(MAX_CREDENTIALS) {
        report.add(
            capability.place,
            "too-many-capabilities",
            format!(
                "{} capabilities are defined, a member can hold {MAX_CREDENTIALS}",
                program.capabilities.len()
            ),
            "no member can be given all of them",
        );
    }
    if let Some(tag) = program.tags.get(MAX_CREDENTIALS) {
        report.add(
            tag.place,
            "too-many-tags",
            format!("{} tags are defined, a member can hold {MAX_CREDENTIALS}", program.tags.len()),
            "combine yes-or-no tags into flags of one tag",
        );
    }
}

fn tags(program: &Program, report: &mut Report<'_>) {
    let mut first: BTreeMap<u32, &str> = BTreeMap::new();
    for tag in &program.tags {
        if let Some(other) = first.get(&tag.id) {
            report.add(
                tag.place,
                "duplicate-tag-id",
                format!(
                    "the tags `{other}` and `{}` have the same id {}, so they are one tag",
                    tag.name, tag.id
                ),
                "give every tag an id of its own",
            );
        } else {
            first.insert(tag.id, &tag.name);
        }
    }
    for section in sections(program) {
        for (rule, place) in section.rules.iter().zip(&section.words) {
            if let Some(id) = rule.kind.tag()
                && !first.contains_key(&id)
            {
                first.insert(id, "");
                report.add(
                    *place,
                    "undefined-tag",
                    format!("no tag with the id {id} is defined here"),
                    format!(
                        "only members given tag {id} by hand have it, and matches on a tag fail without it: define it, \
                         with a default: `tag NAME id {id} default 0;`"
                    ),
                );
            }
        }
    }
}

fn unreachable(section: &Section, report: &mut Report<'_>) {
    let Some(end) = walk(&section.rules, Frame::Any).ends_at else { return };
    let Some(next) = section.places.get(end + 1) else { return };
    let decided = section.places[end];
    report.add(
        *next,
        "unreachable",
        format!(
            "nothing gets here: `{}` on line {} decides about every frame",
            report.quote(&decided),
            decided.line
        ),
        "the first action whose matches are met decides; put the general case last",
    );
}

fn capabilities(program: &Program, base: &Walk, report: &mut Report<'_>) {
    for capability in &program.capabilities {
        if !walk(&capability.section.rules, Frame::Any).accepts {
            report.add(
                capability.place,
                "capability-without-accept",
                format!("the capability `{}` accepts nothing, so it has no effect", capability.name),
                "a capability can only let more through: a `drop` in it merely ends it",
            );
        }
    }
    if let (Some(first), Some(end), false) = (program.capabilities.first(), base.ends_at, base.undecided) {
        let place = program.base.places[end];
        report.add(
            first.place,
            "capabilities-unused",
            format!(
                "capabilities are never asked: the base rules decide about every frame (`{}` on line {})",
                report.quote(&place),
                place.line
            ),
            "capabilities are asked only about frames the base rules leave undecided: use `break` for these, or leave a \
             final `drop` out (what nobody accepts is dropped anyway)",
        );
    }
}

/// Whether some frame of the kind may be accepted, with whatever capabilities.
pub(super) fn may_pass(program: &Program, frame: Frame) -> bool {
    let base = walk(&program.base.rules, frame);
    base.accepts
        || base.undecided && program.capabilities.iter().any(|c| walk(&c.section.rules, frame).accepts)
}

fn nothing_passes(program: &Program, base: &Walk, report: &mut Report<'_>) {
    let place = base.ends_at.map_or_else(|| last_place(&program.base), |end| program.base.places[end]);
    let message = match base.ends_at {
        _ if program.base.rules.is_empty() => "there are no rules: every frame is dropped".to_owned(),
        Some(_) => format!("every frame is dropped, at the latest by `{}`", report.quote(&place)),
        None => "no frame can ever be accepted: what nothing accepts is dropped".to_owned(),
    };
    report.add(
        place,
        "nothing-accepted",
        message,
        "end the rules with `accept;`, or accept what should get through",
    );
}

/// A list that ends with conditional drops, and drops all the rest, too.
fn final_accept(program: &Program, base: &Walk, report: &mut Report<'_>) {
    let [.., before, last] = program.base.rules.as_slice() else { return };
    if base.ends_at.is_some() || !program.capabilities.is_empty() {
        return;
    }
    if last.kind == Kind::Drop && !before.kind.is_action() {
        let place = last_place(&program.base);
        report.add(
            place,
            "no-final-accept",
            format!(
                "`{}` is the last statement and changes nothing: what no statement accepts is dropped anyway",
                report.quote(&place)
            ),
            "write `accept;` behind it if the rest should get through",
        );
    }
}

/// IP without the protocols that find out where its packets go.
fn resolution(program: &Program, report: &mut Report<'_>) {
    let mentions =
        |wanted: fn(&Rule) -> bool| sections(program).any(|section| section.rules.iter().any(wanted));
    let ipv4 = mentions(|rule| {
        matches!(
            rule.kind,
            Kind::Ethertype(IPV4 | ARP) | Kind::Ipv4Source(..) | Kind::Ipv4Dest(..) | Kind::IpProtocol(1)
        )
    });
    let ipv6 = mentions(|rule| {
        matches!(
            rule.kind,
            Kind::Ethertype(IPV6) | Kind::Ipv6Source(..) | Kind::Ipv6Dest(..) | Kind::IpProtocol(58)
        )
    });
    let stopped_at = |frame: Frame| {
        let end = walk(&program.base.rules, frame).ends_at;
        end.map_or_else(|| last_place(&program.base), |end| program.base.places[end])
    };
    if (ipv4 || !ipv6) && may_pass(program, Frame::Ipv4) && !may_pass(program, Frame::Arp) {
        report.add(
            stopped_at(Frame::Arp),
            "arp-missing",
            "IPv4 packets can get through, but ARP cannot: members do not find each other's MAC addresses"
                .into(),
            "add `accept ethertype arp;`, or `and not ethertype arp` to the `drop`",
        );
    }
    let neighbor = [135, 136].map(Frame::Neighbor);
    let missing = neighbor.into_iter().find(|frame| !may_pass(program, *frame));
    if let Some(missing) = missing
        && ipv6
        && may_pass(program, Frame::Ipv6)
    {
        report.add(
            stopped_at(missing),
            "ndp-missing",
            "IPv6 packets can get through, but neighbor discovery (ICMPv6 types 135 and 136) cannot: members do not \
             find each other's MAC addresses"
                .into(),
            "add `accept ipprotocol icmp6;` or `accept icmp 135 -1 or icmp 136 -1;` (not needed for RFC4193 and 6PLANE \
             addresses, which are found without it)",
        );
    }
}
