//! The controller on host 0, and what a core has done outside itself.

use controller::{Controller, MemoryStore};
use node::core::event::{Errand, Event, Object, Settings};
use protocol::NetworkId;

use super::{World, identity};

impl World {
    /// Creates a network on host 0 by its HTTP interface.
    pub fn create_network(&mut self, body: &str) -> NetworkId {
        let now = self.now;
        let controller = self.hosts[0].controller.as_mut().expect("host 0 is the controller");
        let (reply, _) = controller.http(now, "POST", "/controller/network", body.as_bytes());
        assert_eq!(reply.status, 200, "{:?}", reply.body);
        let id = reply.body.expect("the new network")["nwid"].as_str().expect("its ID").to_owned();
        id.parse().expect("a network ID")
    }

    /// Any request to the controller on host 0; what it causes is carried out.
    pub fn http(&mut self, method: &str, path: &str, body: &str) -> serde_json::Value {
        let now = self.now;
        let controller = self.hosts[0].controller.as_mut().expect("host 0 is the controller");
        let (reply, actions) = controller.http(now, method, path, body.as_bytes());
        assert_eq!(reply.status, 200, "{method} {path}: {:?}", reply.body);
        for action in actions {
            self.hosts[0].core.controller_action(now, action);
        }
        self.settle(0);
        reply.body.unwrap_or_default()
    }

    /// Starts the node with the controller anew: its store and its records of peers are all that is left of it.
    pub fn restart_controller(&mut self) {
        let records = self.peer_records(0);
        self.restart_as_stranger(0);
        self.restore_peers(0, &records);
        let controller = Controller::open_with_seed(identity(0), Box::new(self.store.clone()), [8; 32]);
        self.hosts[0].controller = Some(controller.expect("its store opens"));
    }

    /// What a node keeps of its peers on disk.
    pub fn peer_records(&mut self, host: usize) -> Vec<Vec<u8>> {
        let now = self.time(host);
        self.hosts[host].core.save_peers(now);
        let outbox = std::mem::take(self.hosts[host].core.outbox());
        let record = |event| match event {
            Event::Store { object: Object::Peer(_), bytes } => Some(bytes),
            _ => None,
        };
        outbox.events.into_iter().filter_map(record).collect()
    }

    /// Gives that to a node that has been started again.
    pub fn restore_peers(&mut self, host: usize, records: &[Vec<u8>]) {
        for record in records {
            self.hosts[host].core.restore_peer(record).expect("what was saved is good");
        }
    }

    /// Starts host 0 anew with its controller as it is: it knows no peers.
    pub fn restart_as_stranger(&mut self, host: usize) {
        self.restart(host, host);
        let settings = Settings { controller: host == 0, ..Settings::default() };
        self.hosts[host].core.set_settings(settings);
    }

    /// Puts an empty controller in place of the one on host 0, which is given back.
    pub fn forget_networks(&mut self) -> Controller {
        let empty = Controller::open_with_seed(identity(0), Box::new(MemoryStore::new()), [7; 32]);
        self.hosts[0].controller.replace(empty.expect("an empty store opens")).expect("there was one")
    }

    pub(super) fn tick_controller(&mut self, host: usize) {
        let now = self.now;
        let Some(controller) = &mut self.hosts[host].controller else { return };
        if controller.next_deadline().is_some_and(|at| at <= now) {
            for action in controller.tick(now) {
                self.hosts[host].core.controller_action(now, action);
            }
        }
    }

    pub(super) fn run_errand(&mut self, host: usize, errand: Errand) {
        let now = self.time(host);
        match errand {
            Errand::ConfigRequest(request) => {
                if let Some(controller) = &mut self.hosts[host].controller {
                    for action in controller.request(now, request) {
                        self.hosts[host].core.controller_action(now, action);
                    }
                }
            }
            Errand::CheckIdentity { identity, .. } => {
                let genuine = &mut self.genuine;
                // Hashing costs some 20 ms, and five hundred nodes ask about the same.
                let valid = genuine.contains(&identity.to_string()) || identity.locally_valid();
                if valid {
                    genuine.insert(identity.to_string());
                }
                self.hosts[host].core.identity_checked(now, &identity, valid);
            }
            Errand::Acknowledged(word) => {
                if let Some(controller) = &mut self.hosts[host].controller {
                    controller.acknowledged(now, word);
                }
            }
        }
    }
}
