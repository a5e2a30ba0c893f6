#![no_main]

//! Requests to the controller's HTTP routes: a line each, a byte that chooses method and path, then the body. After
//! each, what is stored loads as itself, no address has two holders, and a member gets an answer. No input is our mistake.

use std::collections::BTreeSet;

use controller::{Controller, MemoryStore, Request};
use libfuzzer_sys::fuzz_target;
use protocol::{Address, Identity, NetworkId, SecretIdentity, Span, Time};

/// Throw-away identity of the golden vectors.
const IDENTITY: &str = "6ea36cee7f:0:f85eb189f665c011809adf69420644d9800191e754687ff09e04409017a345252186788bb408253b48216afc1742b82d85d55d790a3d25b6fafa1e97f152f685:2856b1efe4f205373af6b8802a6523c4e7058cd9550edf58eb3122738584e07356dfcabfe00901e23b93eac08308fc5e31c19edd13eba0b2b26d892c2d284c88";
const NETWORK: NetworkId = NetworkId(0x6ea3_6cee_7f00_0001);

fuzz_target!(|data: &[u8]| {
    let identity = SecretIdentity::parse(IDENTITY).unwrap();
    let mut controller = Controller::open_with_seed(identity, Box::new(MemoryStore::new()), [0; 32]).unwrap();
    let network = format!("/controller/network/{NETWORK}");
    for (n, line) in data.split(|b| *b == b'\n').take(16).enumerate() {
        let now = Time::from_ms(1_700_000_000_000) + Span::secs(2) * n as i64;
        let (choice, body) = line.split_first().map_or((0, line), |(choice, body)| (*choice, body));
        let who = u64::from(choice >> 3 & 3) + 1;
        let member = format!("{network}/member/{who:010x}");
        let (method, path) = match choice & 7 {
            0 | 1 => ("POST", network.clone()),
            2 => ("POST", format!("{network}/token")),
            3 | 4 => ("POST", member),
            5 => ("DELETE", member),
            6 => ("POST", "/controller/network".to_owned()),
            _ => ("GET", String::from_utf8_lossy(body).into_owned()),
        };
        let (reply, _) = controller.http(now, method, &path, body);
        assert!(matches!(reply.status, 200 | 400 | 404 | 409), "{}", reply.status);

        let asking = Identity { address: Address::from_u64(who), public: [who as u8; 64] };
        let metadata = body.to_vec();
        let request = Request { network: NETWORK, member: asking, metadata, packet_id: 1, held: None };
        // The answer, and revocations that the asking member may not know.
        assert!((1..=2).contains(&controller.request(now, request).len()));

        let (reply, _) = controller.http(now, "GET", &network, b"");
        let Some(record) = reply.body else { continue };
        let again = api::read::<api::Network>(record.as_object().unwrap()).kept_as(NETWORK);
        assert_eq!(api::json(&again), record);
        let (reply, _) = controller.http(now, "GET", &format!("/unstable{network}/member"), b"");
        let mut held = BTreeSet::new();
        // Who is out holds nothing.
        let body = reply.body.unwrap();
        for member in body["data"].as_array().unwrap().iter().filter(|member| member["authorized"] == true) {
            for ip in member["ipAssignments"].as_array().unwrap() {
                assert!(held.insert(ip.to_string()), "{ip} has two holders");
            }
        }
    }
});
