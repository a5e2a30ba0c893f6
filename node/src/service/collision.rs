//! What to do when a root says that another node owns our address.
//!
//! Two identities may have one address by chance; then the younger one has to go, and no root has accepted it yet. A root that
//! says so of an identity that worked before is mistaken or was tricked. Such an identity is never given up: its owner is told.

use std::time::{Duration, Instant};

pub use api::KeptBecause as Kept;
use protocol::{Address, Time};
use serde::Deserialize;

/// After a warning the next one has to wait this long.
const QUIET: Duration = Duration::from_secs(3600);

/// What this node does (`settings.collision`).
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// It says so and goes on, whatever the identity.
    Warn,
    /// It replaces an identity that it has just made and that no root accepted yet.
    #[default]
    ReplaceNew,
}

impl Policy {
    /// The word in the settings.
    pub fn name(self) -> &'static str {
        match self {
            Policy::Warn => "warn",
            Policy::ReplaceNew => "replace-new",
        }
    }
}

/// Why an identity stays as it is, for people.
fn reason(kept: Kept) -> &'static str {
    match kept {
        Kept::Accepted => "it is not a new one: a root accepted it before, or it was put here on purpose",
        Kept::Moved => "it came from another machine",
        Kept::Joined => "it has joined a network",
        Kept::Controls => "it controls a network",
        Kept::Setting => "settings.collision is \"warn\"",
        Kept::Failed => "it cannot be put away",
    }
}

/// What roots said of collisions since the start.
#[derive(Clone, Copy, Debug, Default)]
pub struct View {
    seen: Option<Seen>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    root: Address,
    first: Time,
    last: Time,
    count: u64,
    kept: Kept,
    warned: Instant,
}

impl View {
    /// A root said so, and the identity stays. Warns, but not every time.
    pub(super) fn kept(&mut self, now: Time, own: Address, root: Address, kept: Kept) {
        let at = Instant::now();
        let seen = self.seen.get_or_insert(Seen { root, first: now, last: now, count: 0, kept, warned: at });
        seen.count += 1;
        (seen.root, seen.last) = (root, now);
        let due = seen.count == 1 || seen.kept != kept || at.duration_since(seen.warned) >= QUIET;
        seen.kept = kept;
        if due {
            seen.warned = at;
            tracing::warn!(address = %own, %root, times = seen.count, "a root says that another node owns this address; the identity stays, since {}; if the node is offline, ask that root's operator which of the two to trust", reason(kept));
        }
    }

    /// Whether and how this was said, for tools. Times are milliseconds since the Unix epoch.
    pub fn seen(&self) -> Option<api::CollisionSeen> {
        self.seen.as_ref().map(|seen| api::CollisionSeen {
            root: Some(seen.root.to_string()),
            first: seen.first.as_ms(),
            last: seen.last.as_ms(),
            count: i64::try_from(seen.count).unwrap_or(i64::MAX),
            kept_because: Some(seen.kept),
        })
    }

    /// As `GET /status` shows it.
    pub fn shown(self, policy: Policy) -> api::Collision {
        api::Collision { policy: policy.name().to_owned(), seen: self.seen() }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tools_see_what_was_said_and_how_often() {
        let mut view = View::default();
        assert_eq!(api::json(&view.shown(Policy::default())), json!({"policy": "replace-new", "seen": null}));
        let [own, root] = [1, 2].map(Address::from_u64);
        view.kept(Time::from_ms(5), own, root, Kept::Joined);
        view.kept(Time::from_ms(9), own, root, Kept::Accepted);
        let seen =
            json!({"root": "0000000002", "first": 5, "last": 9, "count": 2, "keptBecause": "accepted"});
        assert_eq!(api::json(&view.shown(Policy::Warn)), json!({"policy": "warn", "seen": seen}));
    }
}
