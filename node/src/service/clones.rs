//! What to do when another machine runs with our identity.
//!
//! The core notices it and says which of the two should give way: the one whose machine is not the identity's, else the one that
//! started later. Whether that one takes a new identity, stops, or only complains is the user's choice.

use std::time::Duration;

use api::GivesWay;
use protocol::Address;
use protocol::inet::format_endpoint;
use serde::Deserialize;

use super::machine::Belonging;
use crate::core::event::CloneSeen;

/// An identity that moved belongs to its new machine after this time on line without a clone.
pub const SETTLED: Duration = Duration::from_secs(3600);

/// What the one that gives way does (`settings.clones`).
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// It puts its identity away and makes a new one.
    #[default]
    New,
    /// It complains and goes on.
    Warn,
    /// It stops.
    Stop,
}

impl Policy {
    /// The word in the settings.
    pub fn name(self) -> &'static str {
        match self {
            Policy::New => "new",
            Policy::Warn => "warn",
            Policy::Stop => "stop",
        }
    }
}

/// What is known of clones.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// Whether the identity belongs to this machine.
    pub belonging: Belonging,
    /// Other machines that run with it now.
    pub seen: Vec<CloneSeen>,
    /// Addresses this node gave up for clones earlier.
    pub former: Vec<Address>,
}

impl View {
    /// As `GET /status` shows it. Times are milliseconds since the Unix epoch.
    pub fn shown(&self, policy: Policy) -> api::Clones {
        let seen = self.seen.iter().map(|clone| api::SeenClone {
            since: clone.since.as_ms(),
            last_heard: clone.last.as_ms(),
            started_at: clone.started.as_ms(),
            same_machine_id: clone.same_machine,
            gives_way: if clone.give_way { GivesWay::This } else { GivesWay::Other },
            addresses: clone.endpoints.iter().map(|e| format_endpoint(*e)).collect(),
        });
        api::Clones {
            policy: policy.name().to_owned(),
            machine: self.belonging.name().to_owned(),
            seen: seen.collect(),
            former_addresses: self.former.iter().map(ToString::to_string).collect(),
        }
    }
}

/// What follows from clones.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Verdict {
    /// Nothing.
    Stay,
    /// Take a new identity.
    Renew,
    /// Stop.
    Stop,
}

/// Says what changed and what follows.
pub(super) fn judge(policy: Policy, own: Address, before: &[CloneSeen], now: &[CloneSeen]) -> Verdict {
    let Some(clone) = now.iter().max_by_key(|c| (c.give_way, c.last)) else {
        if !before.is_empty() {
            tracing::info!(address = %own, "no other machine is heard with this identity any more");
        }
        return Verdict::Stay;
    };
    let places: Vec<String> = clone.endpoints.iter().map(|e| format_endpoint(*e)).collect();
    let places = places.join(" ");
    let machine = if clone.same_machine { "a machine with the same machine-id" } else { "another machine" };
    let consequence = match (clone.give_way, policy) {
        (false, Policy::Warn) => "both keep it: stop one of them, or remove identity.secret there",
        (false, _) => "this one keeps it; the other gives way unless its settings say otherwise",
        (true, Policy::New) => "this one gives way",
        (true, Policy::Stop) => "this one stops",
        (true, Policy::Warn) => {
            "settings.clones says to go on: stop one of them, or remove identity.secret here"
        }
    };
    tracing::warn!(address = %own, at = %places, "{machine} runs with this identity; {consequence}");
    match (clone.give_way, policy) {
        (false, _) | (true, Policy::Warn) => Verdict::Stay,
        (true, Policy::New) => Verdict::Renew,
        (true, Policy::Stop) => Verdict::Stop,
    }
}

#[cfg(test)]
mod tests {
    use protocol::Time;

    use super::*;

    fn clone(give_way: bool) -> CloneSeen {
        CloneSeen {
            since: Time::from_ms(1),
            last: Time::from_ms(2),
            started: Time::from_ms(0),
            same_machine: false,
            give_way,
            endpoints: vec!["192.0.2.1:9993".parse().unwrap()],
        }
    }

    #[test]
    fn only_who_gives_way_acts_and_only_as_told() {
        let own = Address::from_u64(1);
        for (policy, expected) in
            [(Policy::New, Verdict::Renew), (Policy::Warn, Verdict::Stay), (Policy::Stop, Verdict::Stop)]
        {
            assert_eq!(judge(policy, own, &[], &[clone(true)]), expected);
            assert_eq!(judge(policy, own, &[], &[clone(false), clone(true)]), expected, "of three");
            assert_eq!(judge(policy, own, &[], &[clone(false)]), Verdict::Stay);
            assert_eq!(judge(policy, own, &[clone(true)], &[]), Verdict::Stay);
        }
    }

    #[test]
    fn tools_see_it() {
        let view = View {
            belonging: Belonging::Moved,
            seen: vec![clone(true)],
            former: vec![Address::from_u64(0x12)],
        };
        let shown = api::json(&view.shown(Policy::New));
        assert_eq!(shown["machine"], "moved");
        assert_eq!(shown["seen"][0]["givesWay"], "this");
        assert_eq!(shown["seen"][0]["addresses"][0], "192.0.2.1/9993");
        assert_eq!(shown["formerAddresses"][0], "0000000012");
    }
}
