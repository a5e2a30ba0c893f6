//! What is taken as it was asked for, but is hardly what was meant: the answer says so in its field `warnings`, which no
//! record has.

use api::{MTU_RANGE, Member, MemberPatch, Network, NetworkPatch};
use flowrules::language::{self, Options};
use flowrules::lint::{self, Known};

use crate::state::NetworkState;

/// About a network that was made or changed by `body`; `others` have it all.
pub(crate) fn of_network<'a>(
    network: &Network,
    asked: &NetworkPatch,
    made: bool,
    others: impl IntoIterator<Item = &'a Network>,
) -> Vec<String> {
    let mut warnings = Vec::new();
    if asked.name.is_some() && !network.name.is_empty() {
        let twin = others.into_iter().find(|other| other.id != network.id && other.name == network.name);
        warnings.extend(twin.map(|twin| {
            format!(
                "network {} has the name {:?} too; commands that are given the name will not know which one is meant",
                twin.id, network.name
            )
        }));
    }
    if let Some(mtu) = asked.mtu.filter(|mtu| *mtu != network.mtu) {
        let (least, most) = (MTU_RANGE.start(), MTU_RANGE.end());
        warnings.push(format!("mtu: {mtu} is not from {least} to {most}; it is {} now", network.mtu));
    }
    warnings.extend(addressing(network, asked, made));
    if asked.rules_source.is_some() {
        warnings.extend(drops_everything(network));
    }
    warnings
}

/// Why members get no addresses, when the request had to do with that.
fn addressing(network: &Network, asked: &NetworkPatch, made: bool) -> Option<String> {
    let lists = asked.routes.is_some() || asked.pools.is_some();
    let touched = lists || asked.v4_assign_mode.is_some() || asked.v6_assign_mode.is_some();
    if !made && !touched {
        return None;
    }
    let derived =
        network.v6_assign_mode.rfc4193 == Some(true) || network.v6_assign_mode.six_plane == Some(true);
    let from_pools = network.v4_assign_mode.zt || network.v6_assign_mode.zt == Some(true);
    if network.routes.is_empty() && network.pools.is_empty() && !derived {
        return made.then(|| {
            "the network has neither routes nor address pools yet: its members get no addresses".to_owned()
        });
    }
    let stray = network.pools.iter().find(|pool| {
        !network.routes.iter().any(|r| r.target.contains(pool.start) || r.target.contains(pool.end))
    });
    if let Some(pool) = stray {
        let (start, end) = (pool.start, pool.end);
        return Some(format!(
            "ipAssignmentPools: {start} to {end} lies in no route of the network, so that no member gets an address of it"
        ));
    }
    if from_pools && network.pools.is_empty() {
        return Some("members are to get addresses from the pools, but there is no pool".to_owned());
    }
    None
}

/// What the rules do, if that is to drop everything: commenting out the last statement does it.
fn drops_everything(network: &Network) -> Option<String> {
    let source = &network.rules_source;
    if source.trim().is_empty() {
        return None;
    }
    let program = language::compile(source, &Options::default()).ok()?;
    let findings = lint::lint(&program, source, &Known::default());
    let finding = findings.into_iter().find(|finding| finding.code == "nothing-accepted")?;
    Some(format!("rulesSource: {}; {}", finding.message, finding.hint))
}

/// About a member that was made or changed by `body`.
pub(crate) fn of_member(state: &NetworkState, member: &Member, asked: &MemberPatch) -> Vec<String> {
    let mut warnings = Vec::new();
    if asked.ip_assignments.is_some() {
        let routes = &state.record.routes;
        for ip in &member.ip_assignments {
            if !routes.iter().any(|route| route.target.contains(*ip)) {
                warnings.push(format!(
                    "ipAssignments: {ip} is in no route of the network, so that the member cannot use it; its routes: {}",
                    list_routes(routes)
                ));
            }
        }
    }
    if let Some(name) = member.name.as_deref().filter(|name| !name.is_empty())
        && asked.name.is_some()
    {
        let same = |other: &&Member| other.address != member.address && other.name.as_deref() == Some(name);
        warnings.extend(state.members().values().find(same).map(|twin| {
            format!(
                "member {} has the name {name:?} too; commands that are given the name will not know which one is meant",
                twin.address
            )
        }));
    }
    warnings
}

/// The routes of a network for people.
pub(crate) fn list_routes(routes: &[api::Route]) -> String {
    if routes.is_empty() {
        return "none".to_owned();
    }
    routes.iter().map(|route| route.target.to_string()).collect::<Vec<_>>().join(", ")
}
