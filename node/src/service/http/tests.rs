//! The API against a real core and controller, without sockets.

mod controller;
mod metrics;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use protocol::world::{Root, World, WorldKey, WorldKind};
use protocol::{Address, Mac, NetworkId, SecretIdentity};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tower::ServiceExt;
use zeroize::Zeroizing;

use super::auth::Caller;
use super::routes::router;
use super::server::Lasting;
use crate::core::event::Event;
use crate::core::{Core, CoreConfig};
use crate::service::clock::Clock;
use crate::service::engine::{EngineEvent, Sinks};
use crate::service::home::Home;
use crate::service::identities::IdentityChecks;
use crate::service::in_place::InPlace;
use crate::service::local_conf::LocalConf;
use crate::service::planets::NotTaken;
use crate::service::shared::{NotSet, Order, Shared, State, Tokens};
use crate::service::{controlling, engine};

const ROOT: Caller = Caller::Unix { uid: 0, gid: 0 };
const LOCAL: Caller = Caller::Tcp(IpAddr::V4(Ipv4Addr::LOCALHOST));

struct Fixture {
    router: Router,
    shared: Arc<Shared>,
    address: String,
    _folder: tempfile::TempDir,
}

/// A fixed identity: making one takes a while.
fn identity() -> SecretIdentity {
    static MADE: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    let text = MADE.get_or_init(|| SecretIdentity::generate().to_secret_string().to_string());
    SecretIdentity::parse(text).unwrap()
}

fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let mut home = Home::claim(folder.path()).unwrap();
    let identity = home.prepare(Some(identity())).unwrap();
    let root =
        Root { identity: identity.identity().clone(), endpoints: vec!["192.0.2.1:9993".parse().unwrap()] };
    let planet = World::new_signed(WorldKind::Planet, 77, 5, &WorldKey::generate(), vec![root]);
    let clock = Clock::start();
    let (controller, _) = controlling::start(identity.clone(), folder.path().to_owned(), clock).unwrap();
    let address = identity.address().to_string();
    let conf = LocalConf::parse(r#"{"settings":{"primaryPort":9993,"odd":1},"physical":{}}"#, folder.path())
        .unwrap();
    let config = CoreConfig { identity, planet, seed: [7; 32], settings: conf.core_settings() };
    let core = Core::new(config, clock.now());
    let sink = controller.clone();
    let (engine, mut events, _) = engine::start(
        core,
        clock,
        Sinks { requests: Box::new(move |r| sink.hand_over(r)), checks: IdentityChecks::default() },
        0,
    )
    .unwrap();
    controller.connect(engine.clone());
    let (orders, mut received) = mpsc::channel(4);
    let tokens = Tokens { api: Zeroizing::new("secret".into()), metrics: Zeroizing::new("numbers".into()) };
    let state = State { conf, ports: [9993, 0, 0], ..State::default() };
    let shared = Arc::new(Shared::new(home, engine, controller, tokens, orders, state));
    let weak = Arc::downgrade(&shared);
    tokio::spawn(async move {
        while let (Some(event), Some(shared)) = (events.recv().await, weak.upgrade()) {
            match event {
                EngineEvent::Core(Event::Config { config, .. }) => shared.traces.reconfigured(&config),
                EngineEvent::Core(Event::RuleTrace(trace)) => shared.traces.show(*trace),
                _ => {}
            }
        }
    });
    let weak = Arc::downgrade(&shared);
    tokio::spawn(async move {
        while let (Some(order), Some(shared)) = (received.recv().await, weak.upgrade()) {
            match order {
                Order::Join { network, changes, token, reply } => {
                    changes.apply(&mut shared.state_mut().networks.entry(network).or_default().settings);
                    let joined =
                        shared.engine.call(move |core, now| core.join_with(now, network, None, token)).await;
                    let _ = reply.send(Ok(joined.unwrap()));
                }
                Order::Leave { network, reply } => {
                    let left = shared.engine.call(move |core, _| core.leave(network)).await.unwrap();
                    let _ = reply.send(Ok(left));
                }
                Order::Planet { planet, reply } => {
                    let taken = shared.engine.call(move |core, now| core.replace_planet(now, planet)).await;
                    let _ = reply.send(taken.map(drop).map_err(|error| NotTaken::NotKept(error.to_string())));
                }
                Order::Settings { changes, reply } => {
                    let merged = shared.state().conf.merged(&changes, "local.conf".as_ref());
                    let _ = reply.send(match merged {
                        Ok((conf, _)) => {
                            shared.state_mut().conf = conf;
                            Ok(())
                        }
                        Err(error) => Err(NotSet::Wrong(error.to_string())),
                    });
                }
            }
        }
    });
    Fixture { router: router(shared.clone()), shared, address, _folder: folder }
}

impl Fixture {
    async fn raw(
        &self,
        caller: Caller,
        method: &str,
        path: &str,
        body: &str,
    ) -> (StatusCode, Option<String>, String) {
        let mut request = Request::builder().method(Method::from_bytes(method.as_bytes()).unwrap()).uri(path);
        request = request.extension(caller).extension(Lasting::default());
        let request = request.header("host", "127.0.0.1").body(Body::from(body.to_owned())).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let kind = parts.headers.get("content-type").map(|k| k.to_str().unwrap().to_owned());
        let bytes = axum::body::to_bytes(body, 1 << 24).await.unwrap();
        (parts.status, kind, String::from_utf8_lossy(&bytes).into_owned())
    }

    async fn ask(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let (status, _, text) = self.raw(ROOT, method, path, body).await;
        (status.as_u16(), serde_json::from_str(&text).unwrap_or(Value::Null))
    }
}

#[tokio::test]
async fn authentication_comes_before_routing() {
    let f = fixture();
    for path in ["/status", "/nope", "/controller/network", "/metrics"] {
        let (status, kind, body) = f.raw(LOCAL, "GET", path, "").await;
        assert_eq!(
            (status.as_u16(), kind.as_deref(), &body[..]),
            (401, Some("application/json"), "{}"),
            "{path}"
        );
    }
    assert_eq!(f.raw(LOCAL, "GET", "/health", "").await.0, 200);
    assert_eq!(f.raw(LOCAL, "GET", "/status?auth=secret", "").await.0, 200);
    assert_eq!(f.raw(LOCAL, "GET", "/metrics?auth=numbers", "").await.0, 200);
    assert_eq!(f.raw(LOCAL, "GET", "/status?auth=numbers", "").await.0, 401);
    assert_eq!(f.raw(LOCAL, "GET", "/sso", "").await.0, 404);
}

#[tokio::test]
async fn a_planet_is_shown_and_taken_as_its_file_is() {
    let f = fixture();
    let (status, shown) = f.ask("GET", "/planet", "").await;
    assert_eq!((status, &shown["id"], &shown["timestamp"]), (200, &json!("000000000000004d"), &json!(5)));
    assert_eq!((&shown["replaceable"], &shown["keptBecause"]), (&json!(false), &json!("root")));
    assert_eq!(shown["roots"][0]["stableEndpoints"], json!(["192.0.2.1/9993"]));
    let root = Root { identity: identity().identity().clone(), endpoints: Vec::new() };
    let key = WorldKey::generate();
    let made = |kind| World::new_signed(kind, 0x1234, 6, &key, vec![root.clone()]).to_bytes();
    let post = async |body: Vec<u8>| {
        let request = Request::builder().method("POST").uri("/planet").header("host", "127.0.0.1");
        let request = request.extension(ROOT).extension(Lasting::default()).body(Body::from(body)).unwrap();
        let (parts, body) = f.router.clone().oneshot(request).await.unwrap().into_parts();
        let bytes = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        (parts.status.as_u16(), serde_json::from_slice::<Value>(&bytes).unwrap_or_default())
    };
    let good = made(WorldKind::Planet);
    for bad in [Vec::new(), b"{}".to_vec(), good[..99].to_vec(), made(WorldKind::Moon), vec![1; 8481]] {
        let (status, said) = post(bad).await;
        assert!(
            status == 400 && said["description"].as_str().unwrap().contains("nothing was changed"),
            "{said}"
        );
    }
    let (_, same) = f.ask("GET", "/planet", "").await;
    assert_eq!(same, shown);
    let (status, taken) = post(good).await;
    assert_eq!((status, &taken["id"]), (200, &json!("0000000000001234")), "{taken}");
    assert_ne!(taken["sha256"], shown["sha256"]);
}

#[tokio::test]
async fn a_join_token_is_taken_and_never_shown() {
    let f = fixture();
    let path = "/network/8056c2e21c000001";
    for bad in [r#"{"token":""}"#, r#"{"token":5}"#, r#"{"token":"a b"}"#, r#"{"token":"é"}"#] {
        let (status, said) = f.ask("POST", path, bad).await;
        assert!(status == 400 && said.to_string().contains("token: "), "{bad}: {status} {said}");
    }
    assert_eq!(f.ask("GET", path, "").await.0, 404, "nothing was joined");
    let long = format!(r#"{{"token":"{}"}}"#, "x".repeat(257));
    assert_eq!(f.ask("POST", path, &long).await.0, 400);
    for good in [r#"{"token":"ztt_secret"}"#, r#"{"token":null}"#, "{}"] {
        let (status, shown) = f.ask("POST", path, good).await;
        assert!(status == 200 && !shown.to_string().contains("secret"), "{good}: {shown}");
    }
    let has_token = f.shared.engine.call(|core, _| core.view().networks()[0].has_token).await.unwrap();
    assert!(has_token, "joining again without one keeps it");
    for path in ["/network", "/network/8056c2e21c000001/ready", "/status"] {
        assert!(!f.raw(ROOT, "GET", path, "").await.2.contains("secret"), "{path}");
    }
}

#[tokio::test]
async fn unknown_paths_and_methods_are_empty_404s() {
    let f = fixture();
    for (method, path) in [
        ("GET", "/nope"),
        ("GET", "/info"),
        ("POST", "/status"),
        ("OPTIONS", "/status"),
        ("PATCH", "/network/8056c2e21c000001"),
        ("GET", "/network/8056c2e21c00001"),
        ("POST", "/network/8056c2e21c00000g"),
        ("GET", "/peer/123"),
        ("GET", "/moon/0000005aca06ff8e"),
        ("GET", "/controller/nothing"),
        ("GET", "/app/index.html"),
    ] {
        let (status, kind, body) = f.raw(ROOT, method, path, "").await;
        assert_eq!((status.as_u16(), kind, &body[..]), (404, None, ""), "{method} {path}");
    }
}

#[tokio::test]
async fn status_has_every_field_and_no_more_lines() {
    let f = fixture();
    let (status, kind, text) = f.raw(ROOT, "GET", "/status", "").await;
    assert_eq!((status.as_u16(), kind.as_deref()), (200, Some("application/json")));
    assert!(!text.contains('\n') && text.starts_with("{\"address\":"), "{text}");
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["address"], f.address);
    assert_eq!(value["planetWorldId"], 77);
    assert_eq!((&value["version"], &value["versionMinor"]), (&json!("1.14.1"), &json!(14)));
    assert_eq!(value["ztnodeVersion"], env!("CARGO_PKG_VERSION"));
    assert_eq!(value["versionBuild"], 0);
    assert_eq!(value["tcpFallbackActive"], false);
    let settings = value["config"]["settings"].as_object().unwrap();
    for key in [
        "allowTcpFallbackRelay",
        "forceTcpRelay",
        "homeDir",
        "listeningOn",
        "udpBuffers",
        "udpOffloads",
        "surfaceAddresses",
        "portMappingEnabled",
        "primaryPort",
        "secondaryPort",
        "tertiaryPort",
        "softwareUpdate",
        "softwareUpdateChannel",
        "odd",
    ] {
        assert!(settings.contains_key(key), "{key}");
    }
    let keys: Vec<_> = value.as_object().unwrap().keys().collect();
    assert!(keys.is_sorted());
}

#[tokio::test]
async fn join_set_and_leave() {
    let f = fixture();
    let path = "/network/8056c2e21c000001";
    assert_eq!(f.ask("GET", path, "").await, (404, json!({})));
    let (status, network) = f.ask("POST", path, "not json").await;
    assert_eq!(status, 200);
    assert_eq!(network["id"], "8056c2e21c000001");
    assert_eq!(network["status"], "REQUESTING_CONFIGURATION");
    assert_eq!(
        (&network["type"], &network["mtu"], &network["name"]),
        (&json!("PRIVATE"), &json!(2800), &json!(""))
    );
    assert_eq!(network["dns"], json!({"domain": "", "servers": []}));
    assert_eq!((&network["assignedAddresses"], &network["routes"]), (&json!([]), &json!([])));
    assert_eq!((&network["allowManaged"], &network["allowGlobal"]), (&json!(true), &json!(false)));
    assert!(network.get("ssoEnabled").is_none());
    let body = r#"{"allowGlobal":true,"allowManaged":"no","allowDNS":true}"#;
    let (_, network) = f.ask("PUT", "/network/8056C2E21C000001", body).await;
    assert_eq!((&network["allowManaged"], &network["allowGlobal"]), (&json!(false), &json!(true)));
    assert_eq!(network["allowDNS"], true);
    let (_, network) =
        f.ask("POST", path, r#"{"allowManaged":"10.0.0.0/8, fd00::/8","allowGlobal":0}"#).await;
    assert_eq!((&network["allowManaged"], &network["allowGlobal"]), (&json!(true), &json!(false)));
    assert_eq!(network["allowManagedWithin"], json!(["10.0.0.0/8", "fd00::/8"]));
    for body in [
        r#"{"allowGlobal":"perhaps","allowDNS":false}"#,
        r#"{"allowDNS":false,"allowManaged":"10.0.0.0/33"}"#,
        r#"{"allowDNS":false,"allowDefault":2}"#,
        r#"{"allowDNS":false,"allowManaged":[]}"#,
        r#"{"allowDNS":false,"allowGlobal":{}}"#,
        r#"{"allowDNS":false,"allowGlobal":yes}"#,
    ] {
        let (status, error) = f.ask("POST", path, body).await;
        assert_eq!(status, 400, "{body}: {error}");
        assert!(error["description"].as_str().is_some_and(|said| said.len() > 20), "{error}");
        assert_eq!(f.ask("GET", path, "").await.1, network, "{body} changed something");
    }
    assert_eq!(f.ask("GET", "/network", "").await.1.as_array().unwrap().len(), 1);
    assert_eq!(f.ask("DELETE", path, "").await, (200, json!({"result": true})));
    assert_eq!(f.ask("DELETE", path, "").await, (200, json!({})));
    assert_eq!(f.ask("GET", "/network", "").await, (200, json!([])));
}

#[tokio::test]
async fn moons_peers_bonds_and_settings() {
    let f = fixture();
    assert_eq!(f.ask("GET", "/peer/1234567890", "").await, (200, json!({})));
    assert_eq!(f.ask("GET", "/moon", "").await, (200, json!([])));
    assert_eq!(f.ask("GET", "/moon/5aca06ff8e", "").await, (200, json!({})));
    assert_eq!(f.ask("POST", "/moon/5aca06ff8e", "").await, (200, json!({})));
    let (_, moon) = f.ask("POST", "/moon/5aca06ff8e", r#"{"seed":"5aca06ff8e"}"#).await;
    assert_eq!(
        moon,
        json!({"id": "0000005aca06ff8e", "roots": [], "timestamp": 0, "signature": null, "updatesMustBeSignedBy": null, "waiting": true})
    );
    assert_eq!(f.ask("GET", "/moon", "").await, (200, json!([])));
    let (_, waiting) = f.ask("GET", "/moon?waiting=true", "").await;
    assert_eq!(waiting[0]["id"], "0000005aca06ff8e");
    assert_eq!(waiting[0]["seed"], "5aca06ff8e");
    assert_eq!(f.ask("DELETE", "/moon/5aca06ff8e", "").await, (200, json!({"result": true})));
    assert_eq!(f.ask("GET", "/bond/show/5aca06ff8e", "").await, (400, json!({})));
    assert_eq!(f.raw(ROOT, "POST", "/bond/setmtu/1500/eth0/10.0.0.1", "").await.0, 400);
    assert_eq!(f.ask("POST", "/config/settings", r#"{"lowBandwidthMode":true}"#).await, (200, json!({})));
    assert_eq!(f.ask("POST", "/config/settings", "[1]").await, (200, json!({})));
    assert_eq!(f.ask("POST", "/config/settings", r#"{"primaryPort":-1}"#).await.0, 400);
    let (_, config) = f.ask("GET", "/config", "").await;
    assert_eq!(config["settings"], json!({"primaryPort": 9993, "odd": 1, "lowBandwidthMode": true}));
}

#[tokio::test]
async fn jsonp_wraps_json() {
    let f = fixture();
    let (_, kind, body) = f.raw(ROOT, "GET", "/peer/1234567890?jsonp=cb", "").await;
    assert_eq!((kind.as_deref(), &body[..]), (Some("application/javascript"), "cb({});"));
    let (status, _, body) = f.raw(ROOT, "GET", "/controller/network/8056c2e21c000001?jsonp=cb", "").await;
    assert_eq!((status.as_u16(), &body[..]), (404, "cb(null);"));
    let (_, kind, _) = f.raw(ROOT, "GET", "/metrics?jsonp=cb", "").await;
    assert_eq!(kind.as_deref(), Some("text/plain"));
}

/// Whatever a client sends, it is not our fault: no path and no method answers 500.
#[tokio::test]
async fn a_clients_mistake_is_never_ours() {
    let f = fixture();
    let network = format!("/controller/network/{}000001", f.address);
    let member = format!("{network}/member/0102030405");
    f.ask("POST", &network, "{}").await;
    let paths = [
        "/status",
        "/network/8056c2e21c000001",
        "/peer/0102030405",
        "/moon/0102030405",
        "/config/settings",
        "/controller/network",
        &network,
        &member,
        &format!("{network}/token"),
        &format!("{network}/token/01020304"),
        &format!("{network}/lead"),
        "/controller/backup",
        "/controller/restore",
        "/controller/import",
    ];
    for path in paths {
        for body in
            ["", "{", "[]", "[1]", "null", "7", "\"x\"", "true", "{\"a\":", "\u{feff}{}", "{\"private\":{}}"]
        {
            for method in ["GET", "POST", "PUT"] {
                let (status, said) = f.ask(method, path, body).await;
                assert!(status < 500, "{method} {path} {body}: {status} {said}");
            }
        }
    }
    for path in [&network, &member] {
        let (status, said) = f.ask("POST", path, "{\"name\": oops}").await;
        assert_eq!((status, &said["error"]), (400, &json!(400)));
        assert!(said["description"].as_str().unwrap().contains("column"), "{said}");
        assert_eq!(f.ask("POST", path, "[]").await.0, 200);
    }
    // A backup that is none is the mistake of whoever sent it.
    let folder = tempfile::tempdir().unwrap();
    let wrong = folder.path().join("no-backup");
    std::fs::write(&wrong, "x".repeat(200)).unwrap();
    for path in [wrong, folder.path().join("nothing")] {
        let (status, said) = f.ask("POST", "/controller/restore", &json!({"path": path}).to_string()).await;
        assert!(status == 400 && said.to_string().contains(path.to_str().unwrap()), "{status} {said}");
    }
    assert_eq!(f.ask("GET", &network, "").await.0, 200, "and it is still there");
}

#[tokio::test]
async fn a_body_that_is_too_long_is_refused() {
    let f = fixture();
    let body = " ".repeat((1 << 20) + 1);
    assert_eq!(f.raw(ROOT, "POST", "/network/8056c2e21c000001", &body).await.0, 413);
}

#[tokio::test]
async fn rules_are_shown_counted_and_traced() {
    use http_body_util::BodyExt;

    let f = fixture();
    let path = format!("/controller/network/{}000001", f.address);
    let rules = r#"{"private":false,"rules":[
        {"type":"MATCH_ETHERTYPE","etherType":2054},{"type":"ACTION_ACCEPT"},{"type":"ACTION_DROP"}]}"#;
    assert_eq!(f.ask("POST", &path, rules).await.0, 200);
    let network = path.replace("/controller", "");
    assert_eq!(f.ask("GET", &format!("{network}/rules"), "").await, (404, json!({})));
    f.ask("POST", &network, "").await;
    let rules = loop {
        let (status, rules) = f.ask("GET", &format!("{network}/rules"), "").await;
        if status == 200 {
            break rules;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(rules["rules"][2], json!({"type": "ACTION_DROP"}));
    assert_eq!(rules["lines"]["base"], json!([null, null, null]));
    assert_eq!(rules["counters"], json!({"base": [0, 0, 0], "capabilities": {}, "nothingMatched": 0}));

    for bad in ["rate=0", "rate=x", "rate=1001"] {
        assert_eq!(f.ask("GET", &format!("{network}/trace?{bad}"), "").await.0, 400, "{bad}");
    }
    let request = Request::builder().uri(format!("{network}/trace?rate=5"));
    let request = request.extension(ROOT).extension(Lasting::default()).body(Body::empty()).unwrap();
    let response = f.router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/x-ndjson");
    let id = NetworkId(u64::from_str_radix(&network["/network/".len()..], 16).unwrap());
    for ethertype in [[8, 6], [8, 0]] {
        let own: Address = f.address.parse().unwrap();
        let mut frame = vec![0xff; 6];
        frame.extend_from_slice(&Mac::for_member(id, own).0);
        frame.extend_from_slice(&ethertype);
        frame.extend_from_slice(&[0x45; 40]);
        f.shared.engine.post(move |core, now| core.joined(id).unwrap().frame(now, &frame)).unwrap();
    }
    let mut body = response.into_body();
    let mut line = async || -> Value {
        let frame = body.frame().await.unwrap().unwrap();
        serde_json::from_slice(frame.data_ref().unwrap()).unwrap()
    };
    let (first, second) = (line().await, line().await);
    assert_eq!((&first["accept"], &first["direction"]), (&json!("accept"), &json!("out")));
    assert_eq!((&first["entry"], &first["peer"]), (&json!({"capability": null, "index": 1}), &json!(null)));
    assert_eq!((&second["accept"], &second["entry"]["index"]), (&json!("drop"), &json!(2)));
    assert_eq!((&second["length"], &second["head"]), (&json!(40), &json!("45".repeat(40))));
    let (_, rules) = f.ask("GET", &format!("{network}/rules"), "").await;
    assert_eq!(rules["counters"]["base"], json!([0, 1, 1]));
    let (_, _, metrics) = f.raw(ROOT, "GET", "/metrics", "").await;
    assert!(metrics.contains("capability=\"\",entry=\"2\"} 1\n"), "{metrics}");
}

#[tokio::test]
async fn whether_a_network_is_ready_is_told_when_it_changes() {
    use crate::service::shared::Applied;
    use crate::service::waits::MAX_WAITERS;

    let f = fixture();
    let ask =
        async |query: &str| f.ask("GET", &format!("/network/{}000001/ready{query}", f.address), "").await;
    assert_eq!(ask("").await, (404, json!({})), "not joined");
    assert_eq!(ask("?wait=x").await.0, 400);

    // This node is the planet's root, so it is online; the other network's controller never answers.
    let elsewhere = "/network/8056c2e21c000001";
    f.ask("POST", elsewhere, "").await;
    let (status, answer) = f.ask("GET", &format!("{elsewhere}/ready?wait=20"), "").await;
    assert_eq!((status, &answer["ready"], &answer["waitingFor"]), (200, &json!(false), &json!("controller")));
    assert_eq!((&answer["controller"], &answer["ports"]), (&json!("8056c2e21c"), &json!([9993])));
    let news = f.ask("GET", &format!("{elsewhere}/ready?wait=50000&seen=addresses"), "").await;
    assert_eq!(news.1["waitingFor"], "controller", "told at once: the client has seen another state");

    let path = format!("/controller/network/{}000001", f.address);
    assert_eq!(f.ask("POST", &path, r#"{"private":false}"#).await.0, 200);
    f.ask("POST", &path.replace("/controller", ""), "").await;
    let id = NetworkId(u64::from_str_radix(&path["/controller/network/".len()..], 16).unwrap());
    let config = loop {
        let find = move |core: &mut Core, _| core.view().networks().into_iter().find(|n| n.network == id);
        if let Some(config) = f.shared.engine.call(find).await.unwrap().and_then(|info| info.config) {
            break config;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(ask("").await.1["waitingFor"], "port", "this fixture makes no interfaces");
    f.shared.state_mut().networks.get_mut(&id).unwrap().device = "zt0".into();
    let (held, ()) = tokio::join!(ask("?wait=50000&seen=addresses"), async {
        tokio::task::yield_now().await;
        let addresses = vec!["10.0.0.1/16".parse().unwrap()];
        let in_place = InPlace { addresses, ..InPlace::default() };
        let applied = Applied { config, in_place, refused: Vec::new(), overlapping: Vec::new() };
        f.shared.state_mut().networks.get_mut(&id).unwrap().applied = Some(applied);
        f.shared.waits.tell();
    });
    assert_eq!((&held.1["ready"], &held.1["waitingFor"]), (&json!(true), &json!(null)));
    assert_eq!((&held.1["status"], &held.1["addresses"]), (&json!("OK"), &json!(["10.0.0.1/16"])));

    let waiters: Vec<_> = std::iter::from_fn(|| f.shared.waits.enter()).collect();
    assert_eq!((waiters.len(), ask("?wait=5").await.0, ask("").await.0), (MAX_WAITERS, 503, 200));
}
