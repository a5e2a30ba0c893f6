//! Who changed what, for the log: one line a change, with the names of what changed. Values are left out where they may be
//! secrets, or long.

use serde_json::Value;
use tracing::info;

use protocol::Time;

use crate::http::Origin;
use api::Member;
use api::Network;

/// What changes with every save.
const NOISE: [&str; 6] = [
    "revision",
    "lastAuthorizedTime",
    "lastDeauthorizedTime",
    "lastAuthorizedCredential",
    "lastAuthorizedCredentialType",
    "automaticAssignments",
];

/// A network was made or changed.
pub(crate) fn network(origin: &Origin, before: Option<&Network>, after: &Network) {
    let (network, name, by) = (after.id, &after.name, &origin.by);
    match before {
        None => info!(%network, name, by, "network made"),
        Some(before) => {
            let changed = changed(&api::json(before), &api::json(after));
            info!(%network, name, changed, by, "network changed");
        }
    }
}

/// A network was deleted.
pub(crate) fn network_deleted(origin: &Origin, record: &Network, members: usize) {
    info!(network = %record.id, name = record.name, members, by = origin.by, "network deleted");
}

/// A member was let in, put out, or changed otherwise.
pub(crate) fn member(origin: &Origin, before: Option<&Member>, after: &Member) {
    let (network, member, by) = (after.network, after.address, &origin.by);
    let name = after.name.as_deref().unwrap_or_default();
    let was_in = before.is_some_and(|before| before.authorized);
    match (was_in, after.authorized) {
        (false, true) => info!(%network, %member, name, by, "member authorized"),
        (true, false) => info!(%network, %member, name, by, "member deauthorized"),
        _ => {}
    }
    let unknown = Member::new(after.network, after.address, Time::from_ms(after.creation_time));
    let before = api::json(before.unwrap_or(&unknown));
    let changed = changed(&before, &api::json(after));
    if !changed.is_empty() {
        info!(%network, %member, name, changed, by, "member changed");
    }
}

/// A member was deleted.
pub(crate) fn member_deleted(origin: &Origin, record: &Member) {
    let (network, member) = (record.network, record.address);
    let name = record.name.as_deref().unwrap_or_default();
    info!(%network, %member, name, authorized = record.authorized, by = origin.by, "member deleted");
}

/// The names of the fields that differ, but for whether the member is in, which has a line of its own.
fn changed(before: &Value, after: &Value) -> String {
    let (Value::Object(before), Value::Object(after)) = (before, after) else { return String::new() };
    let mut names: Vec<&str> = after
        .iter()
        .filter(|(key, value)| before.get(*key) != Some(value))
        .map(|(key, _)| key.as_str())
        .chain(before.keys().filter(|key| !after.contains_key(*key)).map(String::as_str))
        .filter(|key| !NOISE.contains(key) && *key != "authorized")
        .collect();
    names.sort_unstable();
    names.join(",")
}
