//! `network …`: the networks of this node's controller.

use api::{Network, Pool, Status, V6AssignMode};
use hyper::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Session;
use super::controller::{all_networks, network_id, print, request, warn};
use crate::args::network::{NetworkCommand, NetworkSettings};
use crate::failure::{Failure, Io, Outcome};
use crate::text;
use crate::validate;

/// Runs one of the network commands.
///
/// # Errors
/// Exit code 2 for input that cannot be right, 1 for what the service says no to.
pub fn run(session: &Session, command: NetworkCommand, io: &mut Io<'_>) -> Outcome {
    match command {
        NetworkCommand::Create { called, id, mut settings } => {
            settings.name = called.or(settings.name);
            create(session, id, &settings, io)
        }
        NetworkCommand::List => {
            let networks = all_networks(session)?;
            if session.common.json {
                return print(&Value::Array(networks), io);
            }
            Ok(write!(io.out, "{}", text::controller::networks(&api::all(&networks)))?)
        }
        NetworkCommand::Show { network } => {
            let id = network_id(session, &network)?;
            let record = request(session, Method::GET, &path(&id), None)?;
            show(session, &record, io)
        }
        NetworkCommand::Set { network, settings, no_routes, no_pools, no_dns } => {
            let id = network_id(session, &network)?;
            let current = request(session, Method::GET, &path(&id), None)?;
            let mut body = body(&settings, &api::of(&current), io)?;
            for (clear, field) in [(no_routes, "routes"), (no_pools, "ipAssignmentPools")] {
                if clear {
                    body.insert(field.to_owned(), json!([]));
                }
            }
            if no_dns {
                // The controller takes nothing but an object for a change.
                body.insert("dns".to_owned(), json!({"domain": "", "servers": []}));
            }
            if body.is_empty() {
                return Err(Failure::usage(format!(
                    "{}: nothing to set; name what to change, such as --name NAME (see ztnode-cli network set --help)",
                    session.program
                )));
            }
            let record = request(session, Method::POST, &path(&id), Some(&Value::Object(body)))?;
            warn(&record, io)?;
            show(session, &record, io)
        }
        NetworkCommand::Delete { network, sure } => {
            let id = network_id(session, &network)?;
            let record = request(session, Method::GET, &path(&id), None)?;
            let members = super::controller::all_members(session, &id)?.len();
            let name = match api::of::<Network>(&record).name.as_str() {
                "" => String::new(),
                name => format!(" ({})", text::printable(name)),
            };
            let members =
                if members == 1 { "its member".to_owned() } else { format!("its {members} members") };
            if !sure.confirm(&format!("delete network {id}{name} with {members}"), io)? {
                return Ok(());
            }
            let record = request(session, Method::DELETE, &path(&id), None)?;
            if session.common.json {
                return print(&record, io);
            }
            Ok(writeln!(io.out, "network {id} deleted with all its members")?)
        }
    }
}

fn create(session: &Session, id: Option<String>, settings: &NetworkSettings, io: &mut Io<'_>) -> Outcome {
    let body = body(settings, &Network::default(), io)?;
    let body = Value::Object(body);
    let path = match id {
        None => "/controller/network".to_owned(),
        Some(id) => {
            // The controller would create or update without a word, and serve no network of another's.
            let status = request(session, Method::GET, "/status", None)?;
            let own = text::printable(&api::of::<Status>(&status).address);
            if !id.starts_with(&own) {
                return Err(Failure::usage(format!(
                    "{}: --id {id}: the first ten digits must be this controller's address, {own}",
                    session.program
                )));
            }
            if all_networks(session)?.iter().any(|network| api::of::<Network>(network).id.to_string() == *id)
            {
                return Err(Failure::usage(format!(
                    "{}: network {id} exists; change it with ztnode-cli network set {id}",
                    session.program
                )));
            }
            path(&id)
        }
    };
    let record = request(session, Method::POST, &path, Some(&body))?;
    warn(&record, io)?;
    if session.common.json {
        return print(&record, io);
    }
    let record: Network = api::of(&record);
    let id = record.id;
    writeln!(io.out, "network {id} created\n")?;
    write!(io.out, "{}", text::controller::network(&record))?;
    writeln!(io.out, "\nOn each machine:          ztnode-cli join {id}")?;
    if record.private {
        writeln!(io.out, "Then authorize it, here:  ztnode-cli member authorize {id} ADDRESS")?;
    }
    Ok(())
}

fn show(session: &Session, record: &Value, io: &mut Io<'_>) -> Outcome {
    if session.common.json {
        return print(record, io);
    }
    Ok(write!(io.out, "{}", text::controller::network(&api::of(record)))?)
}

fn path(id: &str) -> String {
    format!("/controller/network/{id}")
}

/// The fields to post: those that were named. The IPv6 modes travel as one object, so those not named are taken
/// from `current`.
fn body(
    settings: &NetworkSettings,
    current: &Network,
    io: &mut Io<'_>,
) -> Result<Map<String, Value>, Failure> {
    let mut body = Map::new();
    let mut put = |field: &str, value: Option<Value>| {
        if let Some(value) = value {
            body.insert(field.to_owned(), value);
        }
    };
    put("name", settings.name.clone().map(Value::from));
    put("mtu", settings.mtu.map(Value::from));
    put("multicastLimit", settings.multicast_limit.map(Value::from));
    put("enableBroadcast", settings.broadcast.map(Value::from));
    put("dns", settings.dns.clone());
    let NetworkSettings { route, pool, subnet, .. } = settings;
    let of_subnets = subnet.iter().map(|subnet| json!({"target": subnet.to_string(), "via": null}));
    let routes: Vec<Value> = of_subnets.chain(route.iter().cloned()).collect();
    // Who names a pool beside the subnet wants no others.
    let pools: Vec<Value> =
        if pool.is_empty() { subnet.iter().copied().map(validate::pool_of).collect() } else { pool.clone() };
    put("routes", (!routes.is_empty()).then(|| Value::from(routes)));
    put("ipAssignmentPools", (!pools.is_empty()).then(|| Value::from(pools.clone())));
    put("private", (settings.private || settings.public).then_some(Value::from(settings.private)));
    let has_pool = |v4: bool| {
        pools.iter().any(|pool| Pool::deserialize(pool).is_ok_and(|pool| pool.start.is_ipv4() == v4))
    };
    // Whoever gives a pool wants addresses from it, unless they say otherwise.
    let v4 = settings.v4_zt.or(has_pool(true).then_some(true));
    put("v4AssignMode", v4.map(|zt| json!({"zt": zt})));
    let v6 = settings.v6_zt.or(has_pool(false).then_some(true));
    let [rfc4193, six_plane] = [settings.rfc4193, settings.six_plane];
    if v6.or(rfc4193).or(six_plane).is_some() {
        let now = current.v6_assign_mode;
        let or_as_now = |wanted: Option<bool>, now: Option<bool>| wanted.or(now).or(Some(false));
        let mode = V6AssignMode {
            zt: or_as_now(v6, now.zt),
            rfc4193: or_as_now(rfc4193, now.rfc4193),
            six_plane: or_as_now(six_plane, now.six_plane),
        };
        put("v6AssignMode", Some(api::json(&mode)));
    }
    if settings.dns.is_some() {
        writeln!(
            io.err,
            "note: nodes of this version do not set up name servers yet; zerotier-one does, where allowDNS is on"
        )?;
    }
    Ok(body)
}
