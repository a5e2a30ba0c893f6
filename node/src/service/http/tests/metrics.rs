//! The metrics, and the listener that serves nothing else.

use protocol::Span;

use super::*;

#[tokio::test]
async fn what_the_controller_did_is_counted() {
    let f = fixture();
    let network = format!("/controller/network/{}000001", f.address);
    f.ask("POST", &network, "{}").await;
    for authorized in [true, false, false] {
        f.ask(
            "POST",
            &format!("{network}/member/0102030405"),
            &json!({"authorized": authorized}).to_string(),
        )
        .await;
    }
    let (_, _, text) = f.raw(ROOT, "GET", "/metrics", "").await;
    for line in [
        "controller_network_count 1\n",
        "controller_member_count 1\n",
        "controller_network_change_count 1\n",
        "controller_member_change_count 2\n",
        "controller_member_auth_count 1\n",
        "controller_member_deauth_count 1\n",
    ] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
}

#[tokio::test]
async fn metrics_are_well_formed() {
    let f = fixture();
    f.ask("POST", "/network/8056c2e21c000001", "").await;
    let (_, kind, text) = f.raw(ROOT, "GET", "/metrics", "").await;
    assert_eq!(kind.as_deref(), Some("text/plain"));
    for line in text.lines().filter(|l| !l.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(value.parse::<u64>().is_ok() && name.contains('_'), "{line}");
        let bare = name.split('{').next().unwrap();
        let histogram = ["_bucket", "_sum", "_count"].iter().find_map(|end| bare.strip_suffix(end));
        let histogram = histogram.filter(|name| text.contains(&format!("# TYPE {name} histogram\n")));
        assert!(histogram.is_some() || text.contains(&format!("# TYPE {bare} ")), "{line}");
    }
    assert!(text.contains("zt_num_networks 1\n"), "{text}");
    // Names and types as dashboards made for zerotier-one have them.
    for (name, kind) in [
        ("zt_packet", "counter"),
        ("zt_packet_error", "counter"),
        ("zt_data", "counter"),
        ("zt_num_networks", "gauge"),
        ("zt_network_multicast_groups_subscribed", "gauge"),
        ("zt_network_packets", "counter"),
        ("zt_peer_latency", "histogram"),
        ("zt_peer_packets", "counter"),
        ("zt_peer_packet_errors", "counter"),
        ("zt_peer_path_count", "gauge"),
        ("controller_network_count", "gauge"),
        ("controller_member_count", "gauge"),
        ("controller_network_change_count", "counter"),
        ("controller_member_change_count", "counter"),
        ("controller_member_auth_count", "counter"),
        ("controller_member_deauth_count", "counter"),
        ("controller_network_config_request", "counter"),
        ("controller_sso_expiration_checks", "counter"),
        ("controller_sso_timeouts", "counter"),
    ] {
        assert!(text.contains(&format!("# TYPE {name} {kind}\n")), "{name}");
    }
    assert!(text.contains("zt_packet_error{error_type=\"network_access_denied\",direction=\"rx\"} 0\n"));
    assert!(text.contains(
        "zt_network_packets{network_id=\"8056c2e21c000001\",direction=\"rx\",accepted=\"yes\"} 0\n"
    ));
}

/// Round-trip times of one peer, as Prometheus wants them: each class with the shorter ones.
#[test]
fn latencies_fall_into_classes() {
    use crate::core::info::Latencies;
    let mut latencies = Latencies::default();
    for rtt in [1, 2, 3, 3, 60, 1000, 1001, 60_000] {
        latencies.add(Span::ms(rtt));
    }
    assert_eq!(latencies.counts, [1, 3, 0, 0, 0, 1, 0, 0, 0, 1, 2]);
    assert_eq!(latencies.sum, Span::ms(62_070));
}

/// Scrapers come by a door of their own, with a token of their own, and see the metrics alone.
#[tokio::test]
async fn scrapers_see_the_metrics_alone() {
    let f = fixture();
    let far = Caller::Tcp("192.0.2.1".parse().unwrap());
    let door = Fixture { router: super::super::routes::metrics_router(f.shared.clone()), ..fixture() };
    for (path, status) in [
        ("/metrics", 401),
        ("/metrics?auth=secret", 401),
        ("/metrics?auth=numbers", 200),
        ("/status?auth=numbers", 404),
        ("/status?auth=secret", 401),
        ("/health", 401),
        ("/controller/network?auth=numbers", 404),
    ] {
        assert_eq!(door.raw(far, "GET", path, "").await.0, status, "{path}");
    }
    assert_eq!(door.raw(far, "POST", "/metrics?auth=numbers", "").await.0, 404);
}
