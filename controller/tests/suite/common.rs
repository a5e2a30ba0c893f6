//! A controller and made-up members to ask it things.

use controller::{Action, Controller, HttpReply, MemoryStore, Request, Store};
use protocol::metadata::RequestMetadata;
use protocol::netconf::NetworkConfig;
use protocol::verbs::config_chunk::ConfigChunk;
use protocol::{Address, Identity, NetworkId, SecretIdentity, Time};
use serde_json::{Value, json};

/// Throw-away identity from the golden vectors.
pub(crate) const CONTROLLER: &str = "6ea36cee7f:0:f85eb189f665c011809adf69420644d9800191e754687ff09e04409017a345252186788bb408253b48216afc1742b82d85d55d790a3d25b6fafa1e97f152f685:2856b1efe4f205373af6b8802a6523c4e7058cd9550edf58eb3122738584e07356dfcabfe00901e23b93eac08308fc5e31c19edd13eba0b2b26d892c2d284c88";

pub(crate) const NETWORK: NetworkId = NetworkId(0x6ea3_6cee_7f00_0001);
/// Tests count in milliseconds, as JSON does.
pub(crate) const NOW: i64 = 1_700_000_000_000;

pub(crate) fn at(ms: i64) -> Time {
    Time::from_ms(ms)
}

/// An identity with this address. It could not have been generated, but the controller leaves that to VL1.
pub(crate) fn member(address: u64) -> Identity {
    let mut public = [0; 64];
    public[..8].copy_from_slice(&address.to_be_bytes());
    Identity { address: Address::from_u64(address), public }
}

pub(crate) struct Fixture {
    pub(crate) controller: Controller,
    store: MemoryStore,
    pub(crate) now: i64,
    /// What came with answers: revocations, the refusal behind a last configuration.
    pub(crate) brought: Vec<Action>,
    next_packet: u64,
}

/// An outcome of a request.
#[derive(Debug)]
pub(crate) enum Answer {
    Config(Box<NetworkConfig>),
    Refused(u8, Option<Vec<u8>>),
    Silence,
}

impl Answer {
    pub(crate) fn config(self) -> NetworkConfig {
        match self {
            Self::Config(config) => *config,
            other => panic!("{other:?}"),
        }
    }
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Refused(code, _) => *code,
            other => panic!("{other:?}"),
        }
    }
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let store = MemoryStore::new();
        Self { store: store.clone(), ..Self::over(Box::new(store)) }
    }

    /// Another process over what this one kept in memory.
    pub(crate) fn restarted(self) -> Self {
        let Self { store, now, next_packet, .. } = self;
        Self { store: store.clone(), now, next_packet, ..Self::over(Box::new(store)) }
    }

    /// Asks as a node that has a configuration of that age.
    pub(crate) fn ask_holding(&mut self, who: &Identity, held: i64) -> Vec<Action> {
        self.ask_raw(NETWORK, who, &RequestMetadata::ours(""), Some(at(held)))
    }

    /// Asks as a run of a node that acknowledges revocations.
    pub(crate) fn ask_as_run(&mut self, who: &Identity, run: u64) -> Vec<Action> {
        self.ask_raw(NETWORK, who, &RequestMetadata { run, ..RequestMetadata::ours("") }, None)
    }

    fn ask_raw(
        &mut self,
        network: NetworkId,
        who: &Identity,
        metadata: &RequestMetadata,
        held: Option<Time>,
    ) -> Vec<Action> {
        let packet_id = self.next_packet;
        self.next_packet += 1;
        let metadata = metadata.to_dictionary().into_bytes();
        let request = Request { network, member: who.clone(), metadata, packet_id, held };
        self.controller.request(at(self.now), request)
    }

    pub(crate) fn over(store: Box<dyn Store>) -> Self {
        let identity = SecretIdentity::parse(CONTROLLER).unwrap();
        let controller = Controller::open_with_seed(identity, store, [7; 32]).unwrap();
        Self { controller, store: MemoryStore::new(), now: NOW, brought: Vec::new(), next_packet: 1 }
    }

    /// With [`NETWORK`] made from `settings`.
    pub(crate) fn with(settings: Value) -> Self {
        let mut fixture = Self::new();
        fixture.post(&format!("/controller/network/{NETWORK}"), settings);
        fixture
    }

    pub(crate) fn http(&mut self, method: &str, path: &str, body: &str) -> (HttpReply, Vec<Action>) {
        self.controller.http(at(self.now), method, path, body.as_bytes())
    }

    pub(crate) fn get(&mut self, path: &str) -> Value {
        let (reply, _) = self.http("GET", path, "");
        assert_eq!(reply.status, 200, "GET {path}");
        reply.body.unwrap()
    }

    /// The record that comes of it.
    pub(crate) fn post(&mut self, path: &str, body: Value) -> Value {
        self.post_acting(path, body).0
    }

    /// What the answer warns of.
    pub(crate) fn warned(&mut self, path: &str, body: Value) -> Vec<String> {
        let (reply, _) = self.http("POST", path, &body.to_string());
        assert_eq!(reply.status, 200, "POST {path} {body}: {:?}", reply.body);
        let list = reply.body.unwrap().get("warnings").cloned().unwrap_or_else(|| json!([]));
        serde_json::from_value(list).unwrap()
    }

    pub(crate) fn post_acting(&mut self, path: &str, body: Value) -> (Value, Vec<Action>) {
        let (reply, actions) = self.http("POST", path, &body.to_string());
        assert_eq!(reply.status, 200, "POST {path} {body}: {:?}", reply.body);
        let mut record = reply.body.unwrap();
        record.as_object_mut().unwrap().remove("warnings");
        (record, actions)
    }

    pub(crate) fn authorize(&mut self, member: u64) -> Vec<Action> {
        self.post_acting(&member_path(member), json!({"authorized": true})).1
    }

    pub(crate) fn ask(&mut self, who: &Identity) -> Answer {
        self.ask_about(NETWORK, who, &RequestMetadata::ours(""))
    }

    pub(crate) fn ask_about(
        &mut self,
        network: NetworkId,
        who: &Identity,
        metadata: &RequestMetadata,
    ) -> Answer {
        let packet_id = self.next_packet;
        let mut actions = self.ask_raw(network, who, metadata, None).into_iter();
        let first = actions.next();
        self.brought.extend(actions);
        match first {
            None => Answer::Silence,
            Some(Action::Refuse { member, network: about, in_re, code, detail }) => {
                assert_eq!((member, about, in_re), (who.address, network, packet_id));
                Answer::Refused(code, detail)
            }
            Some(action @ Action::Config { .. }) => {
                let (to, about, in_re, config) = open(action);
                assert_eq!((to, about, in_re), (who.address, network, Some(packet_id)));
                Answer::Config(Box::new(config))
            }
            Some(other) => panic!("{other:?}"),
        }
    }
}

pub(crate) fn member_path(member: u64) -> String {
    format!("/controller/network/{NETWORK}/member/{member:010x}")
}

/// What a member makes of a configuration: reassembled from its chunks, all signatures checked.
pub(crate) fn open(action: Action) -> (Address, NetworkId, Option<u64>, NetworkConfig) {
    let Action::Config { member, network, in_re, chunks, dictionary, last: false } = action else {
        panic!("{action:?}")
    };
    let signer = SecretIdentity::parse(CONTROLLER).unwrap().identity().clone();
    let mut assembled = Vec::new();
    let mut update = None;
    for bytes in &chunks {
        let chunk = ConfigChunk::parse(bytes).unwrap();
        assert_eq!(chunk.network, network);
        assert!(chunk.verify(&signer));
        assert_ne!(chunk.update_id, 0);
        assert_eq!(*update.get_or_insert(chunk.update_id), chunk.update_id);
        assert_eq!(chunk.offset as usize, assembled.len());
        assert_eq!(chunk.total as usize, dictionary.len());
        assembled.extend_from_slice(chunk.data);
    }
    assert_eq!(assembled, dictionary);
    let config = NetworkConfig::from_dictionary(&assembled).unwrap();
    let lookup = |address| (address == signer.address).then(|| signer.clone());
    use protocol::credential::Verification::Valid;
    assert_eq!(config.com.as_ref().unwrap().verify(lookup), Valid);
    for tag in &config.tags {
        assert_eq!(tag.verify(lookup), Valid);
        assert_eq!(tag.issued_to, member);
    }
    for capability in &config.capabilities {
        assert_eq!(capability.verify(lookup), Valid);
        assert_eq!(capability.issued_to(), member);
    }
    for coo in &config.coos {
        assert_eq!(coo.verify(lookup), Valid);
        assert_eq!(coo.issued_to, member);
        for prefix in config.addresses.iter().take(16) {
            assert!(coo.owns_ip(prefix.ip));
        }
    }
    assert_eq!(config.issued_to, member);
    assert_eq!(config.to_dictionary().as_bytes(), dictionary, "round trip");
    (member, network, in_re, config)
}
