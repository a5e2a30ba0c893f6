//! The flow cache: verdicts that are remembered, so that a thousand rules cost what one costs.
//!
//! A rule set is compiled to know which parts of a frame it looks at. The verdict is the same for all frames that agree in
//! those parts, in the direction and in the two nodes (whose tags, capabilities and certificates of ownership follow from
//! them until the owner of the cache says otherwise). What varies inside a flow takes part only as far as the rules ask: the
//! TCP flags some rule names, between which thresholds the frame's size lies, how the comparison of an integer in the payload
//! ends. Random matches of the base rules are drawn for every frame and their outcomes take part; a frame that gets to any
//! other random match is not remembered.
//!
//! The plain evaluator decides what is not remembered, and what it says is the truth: [`FlowCache::filter`] gives the verdict
//! that [`filter`] gives.

mod key;
mod reads;
mod table;

use std::collections::HashMap;

use crate::evaluate::{Accept, Context, Copies, Copy, Entry, Observer, Verdict, copied, filter, filter_with};
use crate::rule::{Kind, Rule};
use reads::{MAX_RANDOMS, MAX_RANGES, Reads};
use table::Table;

/// Lists with fewer entries in total are evaluated each time: looking a verdict up costs more. Measured, see the rules
/// benchmark.
const WORTHWHILE: usize = 12;
/// TCP flags that differ between the segments of one super-frame: CWR is in the first only, PSH and FIN in the last.
const VARYING_FLAGS: u64 = 0x80 | 0x08 | 0x01;
/// Different verdicts remembered; with more the cache starts again.
const MAX_VERDICTS: usize = 4_096;

/// What happens to the frames of a flow: a verdict whose copies carry the limit of their rule instead of a length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Plan {
    accept: Accept,
    redirect: Option<u64>,
    copies: [Option<CopyPlan>; 2],
    priority: u8,
    by: Option<Entry>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct CopyPlan {
    target: u64,
    limit: u16,
    watch: bool,
    by: Entry,
}

impl Plan {
    fn verdict(&self, payload: usize, no_tee: bool) -> Verdict {
        let mut copies = Copies::default();
        if !no_tee {
            for copy in self.copies.iter().flatten() {
                let CopyPlan { target, limit, watch, by } = *copy;
                copies.push(Some(Copy { target, length: copied(limit, payload), watch, by }));
            }
        }
        let Self { accept, redirect, priority, by, .. } = *self;
        Verdict { accept, redirect, copies, priority, by }
    }
}

/// Hands out numbers drawn beforehand and notes when others were needed.
struct Drawn<'a> {
    numbers: [u32; MAX_RANDOMS],
    /// Which entries of the base rules they are for.
    entries: &'a [(usize, u32)],
    in_base: bool,
    others: bool,
}

impl Observer for Drawn<'_> {
    fn list(&mut self, capability: Option<u32>) {
        self.in_base = capability.is_none();
    }

    fn draw(&mut self, index: usize, random: &mut dyn FnMut() -> u32) -> u32 {
        match self.entries.iter().position(|(entry, _)| self.in_base && *entry == index) {
            Some(at) => self.numbers[at],
            None => {
                self.others = true;
                random()
            }
        }
    }
}

/// How often a flow cache knew the verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowStatistics {
    /// Frames whose verdict was remembered.
    pub hits: u64,
    /// Frames that were evaluated and whose verdict is remembered from then on.
    pub misses: u64,
    /// Frames that were evaluated because there are few rules, or because the verdict cannot be remembered.
    pub bypassed: u64,
}

/// Remembers verdicts of one node in one network.
///
/// It must be told when anything changes that a verdict depends on and that is not in the frame: a new one for new rules or
/// a new configuration of the node itself, [`FlowCache::forget`] for changed credentials of another node.
#[derive(Debug)]
pub struct FlowCache {
    reads: Reads,
    /// Words of a key that take part, from `reads`.
    words: usize,
    /// The random matches of the base rules whose outcomes take part: index and probability.
    randoms: Vec<(usize, u32)>,
    /// Whether some entry draws a random number.
    draws: bool,
    /// The base rules begin by accepting everything, as those of most networks do: there is nothing to look at.
    accepts_all: bool,
    /// Entries of the base rules and of all capabilities seen, as far as any of them is looked at.
    entries: usize,
    /// The node and the outcome of unknown matches that what is remembered holds for.
    holds_for: (u64, bool),
    table: Table,
    plans: Vec<Plan>,
    numbers: HashMap<Plan, u32>,
    statistics: FlowStatistics,
}

impl Default for FlowCache {
    fn default() -> Self {
        Self::new(&[], std::iter::empty())
    }
}

impl FlowCache {
    /// An empty cache for these base rules and the node's own capabilities. It allocates only a little before it is used.
    pub fn new<'a>(base: &[Rule], own: impl IntoIterator<Item = &'a [Rule]>) -> Self {
        let mut reads = Reads::default();
        reads.widen(base);
        let mut entries = base.len();
        let mut draws = has_random(base);
        for rules in own {
            draws |= has_random(rules);
            reads.widen(rules);
            entries += rules.len();
        }
        let accepts_all = base.first() == Some(&Rule::new(Kind::Accept));
        let randoms = base.iter().enumerate().filter_map(|(index, rule)| match rule.kind {
            Kind::Random(probability) => Some((index, probability)),
            _ => None,
        });
        Self {
            words: reads.words(),
            reads,
            randoms: randoms.take(MAX_RANDOMS).collect(),
            draws,
            accepts_all,
            entries: if accepts_all { 0 } else { entries },
            holds_for: (0, false),
            table: Table::new(),
            plans: Vec::new(),
            numbers: HashMap::new(),
            statistics: FlowStatistics::default(),
        }
    }

    /// Prepares for a capability that another node has presented. Without that the cache finds out when the capability is first
    /// evaluated.
    pub fn presented(&mut self, rules: &[Rule]) {
        self.draws |= has_random(rules);
        if !self.accepts_all {
            self.entries = self.entries.saturating_add(rules.len());
        }
        if self.reads.widen(rules) {
            self.words = self.reads.words();
            self.clear();
        }
    }

    /// Forgets all verdicts.
    pub fn clear(&mut self) {
        self.table.clear();
        self.plans.clear();
        self.numbers.clear();
    }

    /// Forgets the verdicts about frames from or to a node, whose credentials have changed.
    pub fn forget(&mut self, node: u64) {
        self.table.remove(|k| key::source(k) == node || key::dest(k) == node);
    }

    /// Whether one verdict holds for all frames that the segments of a TCP or UDP super-frame become: they differ in size,
    /// in the flags CWR, PSH and FIN, in sequence number, checksums and data. Only for frames that leave this node, whose
    /// rules are all known.
    pub fn is_uniform(&self) -> bool {
        let Reads { tcp, sizes, ranges, too_much, .. } = &self.reads;
        tcp & VARYING_FLAGS == 0 && sizes.is_empty() && ranges.is_empty() && !too_much && !self.draws
    }

    /// Counts `frames` more that got the verdict of [`Self::filter`] without being asked about, because
    /// [`Self::is_uniform`].
    pub fn repeated(&mut self, frames: u64) {
        if self.entries < WORTHWHILE {
            self.statistics.bypassed += frames;
        } else {
            self.statistics.hits += frames;
        }
    }

    /// How often the verdict was known since the cache was made.
    pub fn statistics(&self) -> FlowStatistics {
        self.statistics
    }

    /// What [`filter`] says of the frame. `base` and `capabilities` must be those the cache was made for, as far
    /// as the latter are the node's own.
    #[inline]
    pub fn filter(
        &mut self,
        base: &[Rule],
        capabilities: &mut dyn Iterator<Item = (u32, &[Rule])>,
        ctx: &mut Context<'_>,
        no_tee: bool,
    ) -> Verdict {
        if self.entries < WORTHWHILE || self.reads.too_much {
            return self.pass_by(base, capabilities, ctx, no_tee);
        }
        if self.holds_for != (ctx.self_address, ctx.match_unknown) {
            self.clear();
            self.holds_for = (ctx.self_address, ctx.match_unknown);
        }
        let mut drawn =
            Drawn { numbers: [0; MAX_RANDOMS], entries: &self.randoms, in_base: true, others: false };
        let mut outcomes = 0;
        for (bit, (number, (_, probability))) in drawn.numbers.iter_mut().zip(&self.randoms).enumerate() {
            *number = (ctx.random)();
            outcomes |= u64::from(*number <= *probability) << (MAX_RANGES + bit);
        }
        let Some(key) = key::key(&self.reads, ctx, outcomes) else {
            self.statistics.bypassed += 1;
            return filter_with(base, capabilities, ctx, no_tee, &mut drawn);
        };
        let hashed = self.table.hash(&key, self.words);
        if let Some(plan) = self.table.get(hashed, &key).and_then(|number| self.plans.get(number as usize)) {
            self.statistics.hits += 1;
            return plan.verdict(ctx.frame.payload.len(), no_tee);
        }

        let mut wider = None;
        let mut last: &[Rule] = &[];
        let mut watched = capabilities.inspect(|(_, rules)| {
            last = rules;
            let reads = wider.get_or_insert_with(|| self.reads.clone());
            reads.widen(rules);
        });
        let mut verdict = filter_with(base, &mut watched, ctx, false, &mut drawn);
        let others = drawn.others;
        if let Some(wider) = wider.filter(|wider| *wider != self.reads) {
            // The key was made without knowing what this capability looks at.
            self.reads = wider;
            self.words = self.reads.words();
            self.clear();
            self.statistics.bypassed += 1;
        } else if others {
            self.statistics.bypassed += 1;
        } else {
            self.statistics.misses += 1;
            let number = self.number(plan(&verdict, base, last));
            self.table.insert(hashed, &key, number);
        }
        if no_tee {
            verdict.copies = Copies::default();
        }
        verdict
    }

    /// The verdict where remembering it is of no use.
    #[inline(never)]
    fn pass_by(
        &mut self,
        base: &[Rule],
        capabilities: &mut dyn Iterator<Item = (u32, &[Rule])>,
        ctx: &mut Context<'_>,
        no_tee: bool,
    ) -> Verdict {
        self.statistics.bypassed += 1;
        if self.accepts_all {
            let by = Some(Entry { capability: None, index: 0 });
            let (copies, priority) = (Copies::default(), 0);
            return Verdict { accept: Accept::Accept, redirect: None, copies, priority, by };
        }
        filter(base, capabilities, ctx, no_tee)
    }

    /// The number of a plan, which may be new.
    fn number(&mut self, plan: Plan) -> u32 {
        if let Some(number) = self.numbers.get(&plan) {
            return *number;
        }
        if self.plans.len() >= MAX_VERDICTS {
            self.clear();
        }
        let number = self.plans.len() as u32;
        self.plans.push(plan);
        self.numbers.insert(plan, number);
        number
    }
}

fn has_random(rules: &[Rule]) -> bool {
    rules.iter().any(|rule| matches!(rule.kind, Kind::Random(_)))
}

/// What a verdict means for any frame of its flow. `capability` is the list that was evaluated last: that of the capability
/// that decided, if one did.
fn plan(verdict: &Verdict, base: &[Rule], capability: &[Rule]) -> Plan {
    let mut copies = [None; 2];
    for (slot, copy) in copies.iter_mut().zip(verdict.copies.iter()) {
        let list = if copy.by.capability.is_some() { capability } else { base };
        let limit = match list.get(usize::from(copy.by.index)).map(|rule| &rule.kind) {
            Some(Kind::Tee(target) | Kind::Watch(target)) => target.length,
            _ => 0,
        };
        *slot = Some(CopyPlan { target: copy.target, limit, watch: copy.watch, by: copy.by });
    }
    let Verdict { accept, redirect, priority, by, .. } = *verdict;
    Plan { accept, redirect, copies, priority, by }
}
