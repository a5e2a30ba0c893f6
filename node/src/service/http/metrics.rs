//! `/metrics`: Prometheus text, made when asked for.
//!
//! Specification: local service, "metrics". The names are ZeroTier One's as far as this node has the data; names of our own
//! begin with `ztnode_`.

use std::fmt::Write;

use controller::Counts;
use protocol::NetworkId;
use protocol::verbs::error::error_code;

use crate::core::info::{
    LATENCY_CLASSES, Latencies, NetworkInfo, PeerInfo, QueueCounters, RuleCounters, StatusInfo,
};
use crate::service::engine::Stopped;
use crate::service::shared::Shared;

/// Verbs by the label ZeroTier One gives them.
const LABELS: [(u8, &str); 21] = [
    (0x00, "nop"),
    (0x01, "hello"),
    (0x02, "error"),
    (0x03, "ok"),
    (0x04, "whois"),
    (0x05, "rendezvous"),
    (0x06, "frame"),
    (0x07, "ext_frame"),
    (0x08, "echo"),
    (0x09, "multicast_like"),
    (0x0a, "network_credentials"),
    (0x0b, "network_config_request"),
    (0x0c, "network_config"),
    (0x0d, "multicast_gather"),
    (0x0e, "multicast_frame"),
    (0x10, "push_direct_paths"),
    (0x12, "ack"),
    (0x13, "qos"),
    (0x14, "user_message"),
    (0x15, "remote_trace"),
    (0x16, "path_negotiation_request"),
];

/// ERRORs by the label ZeroTier One gives them.
const ERROR_LABELS: [(u8, &str); 7] = [
    (error_code::OBJECT_NOT_FOUND, "obj_not_found"),
    (error_code::UNSUPPORTED_OPERATION, "unsupported_operation"),
    (error_code::IDENTITY_COLLISION, "identity_collision"),
    (error_code::NEED_MEMBERSHIP_CERTIFICATE, "need_membership_certificate"),
    (error_code::ACCESS_DENIED, "network_access_denied"),
    (error_code::UNWANTED_MULTICAST, "unwanted_multicast"),
    (error_code::AUTHENTICATION_REQUIRED, "authentication_required"),
];

/// The whole page, as of now.
///
/// # Errors
/// The packet thread has stopped.
pub async fn text(shared: &Shared) -> Result<String, Stopped> {
    let (status, networks, rules, peers) = shared
        .engine
        .call(|core, now| {
            (
                core.view().status(),
                core.view().networks(),
                core.view().rule_counters(),
                core.view().peers(now),
            )
        })
        .await?;
    let counts = shared.controller.facts().await.map(|facts| facts.counts);
    Ok(page(&status, &networks, &rules, &peers, counts.as_ref()))
}

fn page(
    status: &StatusInfo,
    networks: &[NetworkInfo],
    rules: &[(NetworkId, RuleCounters)],
    peers: &[PeerInfo],
    controller: Option<&Counts>,
) -> String {
    let mut page = Page(String::new());
    let counters = &status.counters;

    page.head("zt_packet", "counter", "packets by type and direction");
    for (verb, label) in LABELS {
        for (direction, counts) in [("rx", &counters.packets_in), ("tx", &counters.packets_out)] {
            let count = counts.get(usize::from(verb)).copied().unwrap_or(0);
            page.sample("zt_packet", &[("packet_type", label), ("direction", direction)], count);
        }
    }
    page.head("zt_packet_error", "counter", "errors by kind and direction");
    for (code, label) in ERROR_LABELS {
        for (direction, counts) in [("rx", &counters.errors_in), ("tx", &counters.errors_out)] {
            let count = counts.get(usize::from(code)).copied().unwrap_or(0);
            page.sample("zt_packet_error", &[("error_type", label), ("direction", direction)], count);
        }
    }
    page.head("zt_data", "counter", "octets by transport and direction");
    page.sample("zt_data", &[("protocol", "udp"), ("direction", "rx")], counters.bytes_in);
    page.sample("zt_data", &[("protocol", "udp"), ("direction", "tx")], counters.bytes_out);

    page.head("zt_num_networks", "gauge", "networks joined");
    page.sample("zt_num_networks", &[], networks.len() as u64);
    page.head("zt_network_multicast_groups_subscribed", "gauge", "multicast groups subscribed, by network");
    for network in networks {
        let id = network.network.to_string();
        let groups = network.multicast_groups.len() as u64;
        page.sample("zt_network_multicast_groups_subscribed", &[("network_id", &id)], groups);
    }
    page.head("zt_network_packets", "counter", "frames by network, direction and verdict");
    for network in networks {
        let id = network.network.to_string();
        let frames = &network.frames;
        for (direction, accepted, count) in [
            ("rx", "yes", frames.in_accepted),
            ("rx", "no", frames.in_dropped),
            ("tx", "yes", frames.out_accepted),
            ("tx", "no", frames.out_dropped),
        ] {
            let labels = [("network_id", id.as_str()), ("direction", direction), ("accepted", accepted)];
            page.sample("zt_network_packets", &labels, count);
        }
    }

    rule_hits(&mut page, rules);
    page.head("zt_peer_path_count", "gauge", "physical paths by peer");
    for peer in peers {
        let id = peer.address.to_string();
        let alive = peer.paths.iter().filter(|p| p.active).count() as u64;
        page.sample("zt_peer_path_count", &[("node_id", &id), ("status", "alive")], alive);
        let dead = peer.paths.len() as u64 - alive;
        page.sample("zt_peer_path_count", &[("node_id", &id), ("status", "dead")], dead);
    }
    packets(&mut page, peers);
    latencies(&mut page, peers);
    page.head("ztnode_peer_latency_milliseconds", "gauge", "round-trip time by peer");
    for peer in peers {
        if let Some(latency) = peer.latency {
            let id = peer.address.to_string();
            page.sample(
                "ztnode_peer_latency_milliseconds",
                &[("node_id", &id)],
                latency.as_ms().cast_unsigned(),
            );
        }
    }
    if let Some(counts) = controller {
        controlling(&mut page, counts);
    }
    page.head("ztnode_relayed_total", "counter", "packets and fragments forwarded for others");
    page.sample("ztnode_relayed_total", &[], counters.relayed);
    page.head(
        "ztnode_copies_total",
        "counter",
        "copies of frames that rules asked for, by what became of them",
    );
    let copies = &counters.copies;
    for (outcome, count) in [
        ("sent", copies.sent),
        ("unreachable", copies.unreachable),
        ("too_many", copies.too_many),
        ("too_large", copies.too_large),
        ("congested", copies.congested),
    ] {
        page.sample("ztnode_copies_total", &[("outcome", outcome)], count);
    }
    queues(&mut page, &counters.queues);
    page.head("ztnode_dropped_total", "counter", "datagrams dropped");
    page.sample("ztnode_dropped_total", &[], counters.dropped);
    page.head("ztnode_online", "gauge", "whether an upstream answers");
    page.sample("ztnode_online", &[], status.online.into());
    page.0
}

/// Packets by peer.
fn packets(page: &mut Page, peers: &[PeerInfo]) {
    page.head("zt_peer_packets", "counter", "packets by peer and direction");
    for peer in peers {
        let id = peer.address.to_string();
        for (direction, count) in [("rx", peer.packets.received), ("tx", peer.packets.sent)] {
            page.sample("zt_peer_packets", &[("direction", direction), ("node_id", &id)], count);
        }
    }
    page.head("zt_peer_packet_errors", "counter", "packets in the name of a peer that were not authentic");
    for peer in peers {
        page.sample("zt_peer_packet_errors", &[("node_id", &peer.address.to_string())], peer.packets.refused);
    }
}

/// All round-trip times by peer. Each class has the shorter ones too.
fn latencies(page: &mut Page, peers: &[PeerInfo]) {
    page.head("zt_peer_latency", "histogram", "round-trip times by peer, milliseconds");
    for peer in peers.iter().filter(|peer| peer.latencies != Latencies::default()) {
        let id = peer.address.to_string();
        let Latencies { counts, sum } = &peer.latencies;
        let mut so_far = 0;
        let ends = LATENCY_CLASSES.iter().map(ToString::to_string).chain(std::iter::once("+Inf".to_owned()));
        for (end, count) in ends.zip(counts) {
            so_far += u64::from(*count);
            page.sample("zt_peer_latency_bucket", &[("node_id", &id), ("le", &end)], so_far);
        }
        page.sample("zt_peer_latency_sum", &[("node_id", &id)], sum.as_ms().cast_unsigned());
        page.sample("zt_peer_latency_count", &[("node_id", &id)], so_far);
    }
}

fn controlling(page: &mut Page, counts: &Counts) {
    for (name, kind, help, value) in [
        ("controller_network_count", "gauge", "networks of this controller", counts.networks),
        ("controller_member_count", "gauge", "members of these networks", counts.members),
        (
            "controller_network_change_count",
            "counter",
            "networks made, changed or deleted",
            counts.network_changes,
        ),
        (
            "controller_member_change_count",
            "counter",
            "members made, changed or deleted",
            counts.member_changes,
        ),
        ("controller_member_auth_count", "counter", "members let in", counts.authorizations),
        ("controller_member_deauth_count", "counter", "members put out", counts.deauthorizations),
        ("controller_network_config_request", "counter", "requests for a configuration", counts.requests),
        (
            "controller_sso_expiration_checks",
            "counter",
            "log-ins looked at because they might be over",
            counts.login_checks,
        ),
        ("controller_sso_timeouts", "counter", "log-ins that were over", counts.login_ends),
    ] {
        page.head(name, kind, help);
        page.sample(name, &[], value);
    }
}

/// What waited too long, or found no room.
fn queues(page: &mut Page, counters: &QueueCounters) {
    page.head(
        "ztnode_queue_dropped_total",
        "counter",
        "frames and datagrams dropped because they waited too long or found no room",
    );
    for (queue, reason, count) in [
        ("from_port", "late", counters.out_late),
        ("from_port", "full", counters.out_full),
        ("from_socket", "late", counters.in_late),
        ("to_socket", "full", counters.socket_full),
        ("to_port", "refused", counters.port_refused),
        ("to_lane", "full", counters.lane_full),
    ] {
        page.sample("ztnode_queue_dropped_total", &[("queue", queue), ("reason", reason)], count);
    }
    page.head("ztnode_queue_marked_total", "counter", "frames marked (ECN) instead of being dropped as late");
    for (queue, count) in [("from_port", counters.out_marked), ("from_socket", counters.in_marked)] {
        page.sample("ztnode_queue_marked_total", &[("queue", queue)], count);
    }
}

/// Hits of the entries that were ever hit: an entry that only asks never is, and a rule set may have thousands.
fn rule_hits(page: &mut Page, rules: &[(NetworkId, RuleCounters)]) {
    page.head(
        "ztnode_rule_hits_total",
        "counter",
        "frames decided or copied, by rule entry; capability \"\" = base",
    );
    for (network, counters) in rules {
        let id = network.to_string();
        let base = std::iter::once((String::new(), &counters.base));
        let lists = base.chain(counters.capabilities.iter().map(|(id, hits)| (id.to_string(), hits)));
        for (capability, hits) in lists {
            for (entry, hits) in hits.iter().enumerate().filter(|(_, hits)| **hits > 0) {
                let labels = [
                    ("network_id", id.as_str()),
                    ("capability", capability.as_str()),
                    ("entry", &entry.to_string()),
                ];
                page.sample("ztnode_rule_hits_total", &labels, *hits);
            }
        }
    }
    page.head("ztnode_rule_unmatched_total", "counter", "frames dropped because no rule entry decided");
    for (network, counters) in rules {
        let id = network.to_string();
        page.sample("ztnode_rule_unmatched_total", &[("network_id", &id)], counters.nothing_matched);
    }
}

struct Page(String);

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: u64) {
        self.0.push_str(name);
        for (index, (label, text)) in labels.iter().enumerate() {
            let open = if index == 0 { '{' } else { ',' };
            let _ = write!(self.0, "{open}{label}=\"{text}\"");
        }
        let close = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{close} {value}");
    }
}

#[cfg(test)]
mod tests {
    use protocol::verb::Verb;

    use super::*;

    #[test]
    fn every_label_belongs_to_a_verb() {
        for (verb, label) in LABELS {
            assert!(Verb::from_byte(verb).is_some(), "{label}");
        }
    }
}
