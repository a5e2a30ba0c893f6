//! Flow rules in a lab: the examples below `lab/rules`, and putting them into force.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use flowrules::language::{self, Options};
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::daemon::Seat;
use crate::tap::Tap;
use crate::{tool, traffic};

/// In the examples: where the observer's address goes.
const OBSERVER: &str = "<observer>";

/// A rule program of `lab/rules`.
#[derive(Clone, Copy, Debug)]
pub struct Example {
    /// The file's name.
    pub file: &'static str,
    text: &'static str,
}

impl Example {
    /// The source, with the observer's address (ten digits) filled in.
    pub fn source(&self, observer: &str) -> String {
        self.text.replace(OBSERVER, observer)
    }
}

macro_rules! example {
    ($name:ident, $file:literal, $about:literal) => {
        #[doc = $about]
        pub const $name: Example = Example { file: $file, text: include_str!(concat!("../rules/", $file)) };
    };
}

example!(TEE, "tap-tee.ztrules", "Sender and receiver copy every frame to the observer.");
example!(WATCH, "tap-watch.ztrules", "Receivers copy every frame to the observer.");
example!(BOTH, "tap-both.ztrules", "Senders tee, receivers watch.");
example!(REDIRECT, "tap-redirect.ztrules", "Senders send echo requests to the observer instead.");
example!(
    REDIRECT_INBOUND,
    "tap-redirect-inbound.ztrules",
    "Receivers hand echo requests on to the observer."
);
example!(SEGMENTS, "segments.ztrules", "Departments by tags, and a web server for all.");
example!(CAPABILITY, "capability.ztrules", "Only who holds the capability opens web connections.");

/// The examples, all of them.
pub const EXAMPLES: [Example; 7] = [TEE, WATCH, BOTH, REDIRECT, REDIRECT_INBOUND, SEGMENTS, CAPABILITY];

/// Tag 100 of [`SEGMENTS`].
pub const DEPARTMENT: u32 = 100;
/// Tag 101 of [`SEGMENTS`].
pub const SERVICE: u32 = 101;
/// The capability of [`CAPABILITY`].
pub const WEB_CLIENT: u32 = 1000;

/// The fields that put a program into force at any controller, compiled here.
///
/// # Errors
/// What the compiler says of the source.
pub fn compiled(source: &str) -> Result<Value> {
    let program = language::compile(source, &Options::default())
        .map_err(|error| anyhow!("{}", error.render("rules", source)))?;
    Ok(program.config())
}

/// What came of one echo request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observed {
    /// Echo requests on the observer's interface.
    pub requests: usize,
    /// Answers on the observer's interface.
    pub replies: usize,
    /// Whether the sender got its answer.
    pub answered: bool,
}

impl Observed {
    /// What is expected of it.
    pub fn new(requests: usize, replies: usize, answered: bool) -> Self {
        Self { requests, replies, answered }
    }
}

impl Cluster {
    /// Has `from` ping `to` once while tshark listens on `observer`'s interface, and compares. The frames must be whole
    /// and have the MACs of `from` and `to`.
    ///
    /// # Errors
    /// When anything else is seen than expected.
    pub fn expect_observed(&self, observer: usize, from: usize, to: usize, expected: Observed) -> Result<()> {
        let listener = &self.members[observer];
        let tap = Tap::start_fields(&listener.host.namespace, &listener.device(&self.network)?, "icmp")?;
        let (source, target) = (&self.members[from], &self.members[to]);
        let ip = IpAddr::V4(self.fixed(to));
        let answered = traffic::ping(&source.host.namespace, ip, Duration::from_secs(1))?.is_some();
        let seen = tap.frames(expected.requests + expected.replies, Duration::from_secs(5))?;
        let count = |word: &str| seen.iter().filter(|frame| frame.info.contains(word)).count();
        let found = Observed::new(count("(ping) request"), count("(ping) reply"), answered);
        let what = format!("{} pings {}", source.name(), target.name());
        ensure!(found == expected, "{what}: {found:?} where it should be {expected:?}\n{seen:#?}");
        let (a, b) = (source.mac(&self.network)?, target.mac(&self.network)?);
        for frame in &seen {
            let (from, to) = if frame.info.contains("(ping) request") { (&a, &b) } else { (&b, &a) };
            ensure!(frame.source == *from && frame.destination == *to, "{what}: other MACs: {frame:?}");
            ensure!(frame.length == 98, "{what}: not the whole frame: {frame:?}");
        }
        Ok(())
    }

    /// Whether a TCP connection from one member to another's port 80 can be opened.
    ///
    /// # Errors
    /// When nothing can listen there.
    pub fn connects(&self, from: usize, to: usize) -> Result<bool> {
        let (from, address) = (&self.members[from].host.namespace, IpAddr::V4(self.fixed(to)));
        traffic::connects(from, &self.members[to].host.namespace, (address, 80).into())
    }

    /// Puts a rule program into force and waits until every member has it: ours gets the source, the reference's
    /// controller what it compiles to. Returns how long it took from the request to the last member's having it.
    ///
    /// # Errors
    /// When the controller refuses, or a member has not got it after 10 s.
    pub fn set_rules(&self, source: &str) -> Result<Duration> {
        let body = match self.controller().seat {
            Seat::Ours | Seat::Older => json!({"rulesSource": source}),
            Seat::Reference => compiled(source)?,
        };
        let start = Instant::now();
        let path = format!("/controller/network/{}", self.network);
        let revision = self.controller().post(&path, &body).context("setting the rules")?["revision"].clone();
        self.wait_revision(&revision)?;
        Ok(start.elapsed())
    }

    /// The network's record at the controller.
    ///
    /// # Errors
    /// When the controller does not answer.
    pub fn record(&self) -> Result<Value> {
        self.controller().get(&format!("/controller/network/{}", self.network))
    }

    /// Waits until every member has the network's configuration of this revision.
    ///
    /// # Errors
    /// After 10 s: who has not.
    pub fn wait_revision(&self, revision: &Value) -> Result<()> {
        for member in &self.members {
            let what = format!("revision {revision} of the network at {}", member.name());
            tool::wait_for(&what, Duration::from_secs(10), Duration::from_millis(5), || {
                let seen = member.network(&self.network)?.context("not joined")?;
                Ok((seen["netconfRevision"] == *revision).then_some(()))
            })?;
        }
        Ok(())
    }

    /// Sets tags of member `index` at the controller, over all it has.
    ///
    /// # Errors
    /// When the controller refuses.
    pub fn set_tags(&self, index: usize, tags: &[(u32, u32)]) -> Result<()> {
        self.set_member(index, &json!({"tags": tags}))
    }

    /// Sets the capabilities of member `index` at the controller.
    ///
    /// # Errors
    /// When the controller refuses.
    pub fn set_capabilities(&self, index: usize, ids: &[u32]) -> Result<()> {
        self.set_member(index, &json!({"capabilities": ids}))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_compile() {
        for example in EXAMPLES {
            let config = compiled(&example.source("0123456789")).unwrap();
            assert!(!config["rules"].as_array().unwrap().is_empty(), "{}", example.file);
            assert!(!example.source("0123456789").contains(OBSERVER), "{}", example.file);
        }
    }

    /// For instance by somebody who uses the reference's compiler.
    #[test]
    fn the_examples_are_programs_for_the_reference_too() {
        for example in EXAMPLES {
            let program = language::compile(&example.source("0123456789"), &Options { strict: true });
            assert!(program.is_ok(), "{}", example.file);
        }
    }
}
