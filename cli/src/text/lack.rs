//! What a network that cannot be used lacks, and the remedy: for `wait`, `join --wait` and `doctor`.

use api::{Ready, WaitingFor};

use super::printable;
use crate::failure::code;

/// What is missing, as an exit code, a stable word, what is waited for, and a remedy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Lack {
    /// Exit code of `wait`.
    pub code: u8,
    /// The same in one word.
    pub word: String,
    /// What is not as it should be.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

impl Lack {
    /// From these parts.
    pub fn new(code: u8, word: &str, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { code, word: word.to_owned(), what: what.into(), remedy: remedy.into() }
    }

    /// There is no service to ask.
    pub fn service(reason: &str) -> Self {
        let what = format!("this machine's ztnode service does not answer ({reason})");
        Self::new(code::SERVICE, "service", what, "start it: systemctl start ztnode")
    }

    /// The network was not joined.
    pub fn joined(network: &str) -> Self {
        let what = "this node has not joined the network";
        Self::new(code::JOINED, "join", what, format!("run: ztnode-cli join {network} --wait"))
    }

    /// What an answer of `/network/ID/ready` says is missing.
    pub fn of(state: &Ready) -> Self {
        let [network, address, controller] =
            [&state.network, &state.address, &state.controller].map(|text| printable(text));
        let waiting = state.waiting_for.as_ref();
        // It goes back to the service as part of a path.
        let word: String =
            waiting.map_or("", |word| word.name()).chars().filter(char::is_ascii_alphanumeric).collect();
        let problem = match state.problem.as_deref() {
            None => "see the service's log: journalctl -u ztnode".to_owned(),
            Some(problem) => printable(problem),
        };
        let (code, what, remedy) = match waiting {
            Some(WaitingFor::Online) => {
                let ports: Vec<_> = state.ports.iter().map(ToString::to_string).collect();
                let plural = if ports.len() > 1 { "s" } else { "" };
                let remedy = format!(
                    "let UDP through this machine's firewall and its cloud's security group: local port{plural} {}, and \
                     the roots' port 9993 unless they use another",
                    ports.join(", ")
                );
                (code::OFFLINE, "offline: no root answers".to_owned(), remedy)
            }
            Some(WaitingFor::Controller) => (
                code::CONTROLLER,
                format!("a root answers, but the network's controller {controller} does not"),
                format!(
                    "see that the controller {controller} runs and is online, and that {network} is the right ID"
                ),
            ),
            Some(WaitingFor::Network) => (
                code::NETWORK,
                format!("network not found: its controller {controller} does not know it"),
                "ask the network's owner for the right ID (there: ztnode-cli network list)".to_owned(),
            ),
            Some(WaitingFor::Authorization) => (
                code::AUTHORIZATION,
                format!("this node, {address}, is not authorized"),
                format!(
                    "the network's owner runs on the controller: ztnode-cli member authorize {network} {address}"
                ),
            ),
            Some(WaitingFor::Token) => (
                code::AUTHORIZATION,
                format!(
                    "this node, {address}, is not authorized: the token was not accepted (spent, expired or revoked), or the \
                     controller does not know tokens"
                ),
                format!(
                    "the controller's log has the reason; the network's owner makes a new one there: ztnode-cli token create \
                     {network}, or runs: ztnode-cli member authorize {network} {address}"
                ),
            ),
            Some(WaitingFor::Login) => (
                code::LOGIN,
                "authentication is required".to_owned(),
                format!("log in at {}", printable(state.authentication_url.as_deref().unwrap_or("-"))),
            ),
            Some(WaitingFor::Port) => {
                (code::PORT, "port error: the network interface cannot be made".to_owned(), problem)
            }
            Some(WaitingFor::Addresses) => {
                (code::PORT, "the network's addresses and routes are not in place".to_owned(), problem)
            }
            _ => (
                code::OTHER,
                format!("the network is not ready ({})", printable(state.status.name())),
                problem,
            ),
        };
        Self::new(code, &word, what, remedy)
    }
}
