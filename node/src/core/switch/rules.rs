//! What is kept about a network's rules beside the rules: the flow cache, how often each entry decided, and the trace.

use std::collections::BTreeMap;

use flowrules::{FlowCache, Rule, Verdict, evaluate::Entry};
use protocol::netconf::NetworkConfig;
use protocol::{Address, Span, Time};

use crate::ground::info::RuleCounters;
use crate::ground::limits::{MAX_COUNTED_CAPABILITIES, MAX_TRACE_RATE};

/// A capability as it was last seen, ours or somebody's.
#[derive(Debug, Default)]
struct Capability {
    rules: Vec<Rule>,
    hits: Vec<u64>,
}

/// Frames are traced at a limited rate.
#[derive(Clone, Copy, Debug)]
struct Trace {
    per_second: u32,
    /// When the present second began.
    second: Option<Time>,
    /// Shown in it.
    shown: u32,
    /// Not shown since the last that was.
    skipped: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(in super::super) struct Rules {
    pub(super) cache: FlowCache,
    base: Vec<u64>,
    capabilities: BTreeMap<u32, Capability>,
    nothing_matched: u64,
    trace: Option<Trace>,
}

impl Rules {
    /// A new configuration is in force: every verdict may have become another. Counters of rules that are the same go on.
    pub(super) fn configure(&mut self, before: Option<&NetworkConfig>, config: &NetworkConfig) {
        if before.is_none_or(|before| before.rules != config.rules) {
            self.base = vec![0; config.rules.len()];
            self.nothing_matched = 0;
        }
        for capability in &config.capabilities {
            self.note(capability.id, &capability.rules);
        }
        let own = config.capabilities.iter().map(|c| &c.rules[..]);
        self.cache = FlowCache::new(&config.rules, own);
        let ours = |id: &u32| config.capabilities.iter().any(|c| c.id == *id);
        for (_, theirs) in self.capabilities.iter().filter(|(id, _)| !ours(id)) {
            self.cache.presented(&theirs.rules);
        }
    }

    /// What another member has presented, or what was revoked of it, has changed.
    pub(super) fn credentials_changed(&mut self, member: Address) {
        self.cache.forget(member.to_u64());
    }

    /// A member has presented this capability.
    pub(super) fn presented(&mut self, id: u32, rules: &[Rule]) {
        if self.note(id, rules) {
            self.cache.presented(rules);
        }
    }

    /// Notes a capability; its counters begin again if it is another than before. Whether it is.
    fn note(&mut self, id: u32, rules: &[Rule]) -> bool {
        if let Some(known) = self.capabilities.get_mut(&id) {
            if known.rules == rules {
                return false;
            }
            *known = Capability { rules: rules.to_vec(), hits: vec![0; rules.len()] };
        } else if self.capabilities.len() < MAX_COUNTED_CAPABILITIES {
            self.capabilities.insert(id, Capability { rules: rules.to_vec(), hits: vec![0; rules.len()] });
        }
        true
    }

    /// Counts the entries that had a part in the verdict about so many frames.
    pub(super) fn count(&mut self, verdict: &Verdict, frames: u64) {
        match verdict.by {
            Some(entry) => self.hit(entry, frames),
            None => self.nothing_matched += frames,
        }
        for copy in verdict.copies.iter() {
            self.hit(copy.by, frames);
        }
    }

    /// Whether one look at a super-frame leaving us is enough to judge all frames it becomes.
    pub(super) fn judges_at_once(&self) -> bool {
        self.trace.is_none() && self.cache.is_uniform()
    }

    fn hit(&mut self, entry: Entry, frames: u64) {
        let list = match entry.capability {
            None => Some(&mut self.base),
            Some(id) => self.capabilities.get_mut(&id).map(|c| &mut c.hits),
        };
        if let Some(hits) = list.and_then(|list| list.get_mut(usize::from(entry.index))) {
            *hits += frames;
        }
    }

    /// Whether the frame just judged is to be shown, and how many were not since the last one that was.
    #[inline]
    pub(super) fn traced(&mut self, now: Time) -> Option<u64> {
        let trace = self.trace.as_mut()?;
        if trace.second.is_none_or(|began| now - began >= Span::secs(1)) {
            (trace.second, trace.shown) = (Some(now), 0);
        }
        if trace.shown >= trace.per_second {
            trace.skipped += 1;
            return None;
        }
        trace.shown += 1;
        Some(std::mem::take(&mut trace.skipped))
    }

    /// Traces frames, up to `per_second` a second; 0 for none.
    pub(in super::super) fn set_trace(&mut self, per_second: u32) {
        let per_second = per_second.min(MAX_TRACE_RATE);
        self.trace = (per_second > 0).then_some(Trace { per_second, second: None, shown: 0, skipped: 0 });
    }

    /// How often each entry decided.
    pub(super) fn counters(&self) -> RuleCounters {
        RuleCounters {
            base: self.base.clone(),
            capabilities: self.capabilities.iter().map(|(id, c)| (*id, c.hits.clone())).collect(),
            nothing_matched: self.nothing_matched,
        }
    }
}

#[cfg(feature = "work")]
impl Rules {
    /// See `filling`.
    pub(super) fn fill(&mut self) {
        for id in 0..2 * MAX_COUNTED_CAPABILITIES as u32 {
            if self.capabilities.len() >= MAX_COUNTED_CAPABILITIES {
                break;
            }
            self.capabilities.entry(!id).or_default();
        }
    }

    /// See `filling`.
    pub(super) fn len(&self) -> usize {
        self.capabilities.len()
    }
}
