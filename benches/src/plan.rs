//! What a run measures, in which turn, and how long that takes.

use std::time::Duration;

use crate::arguments::Underlay;
use crate::report::render;
use crate::system::Scope;

/// Echo requests of one latency measurement, and the pause between two.
pub(crate) const PINGS: usize = 200;
pub(crate) const PING_PAUSE: Duration = Duration::from_millis(10);
/// Runs of one search for a rate without loss, and how long each is.
pub(crate) const STEPS: u32 = 6;
pub(crate) const STEP: Duration = Duration::from_millis(600);
/// How long a flow at a given rate is.
pub(crate) const STEADY: Duration = Duration::from_secs(2);
/// How long a flood of small datagrams is at most.
pub(crate) const FLOOD: Duration = Duration::from_secs(2);
/// Other conditions (the plain underlay, one core a side) are measured in so many rounds.
const ROUNDS_OF_CONDITIONS: u32 = 3;
/// What iperf3 needs to begin and to end; what a flow needs.
const IPERF: Duration = Duration::from_millis(700);
const FLOW: Duration = Duration::from_millis(150);
/// Until a system runs, its ends know each other, and a first stream went through.
const START: Duration = Duration::from_secs(6);

/// A measurement of one system; each can fail by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Round trips, idle.
    Rtt,
    /// One TCP stream, and what it cost.
    Tcp1,
    /// Four of them.
    Tcp4,
    /// Small datagrams as fast as they go.
    Flood,
    /// Memory, after those.
    Memory,
    /// One stream, back.
    Tcp1Back,
    /// One each way.
    Tcp1Both,
    /// Four, back.
    Tcp4Back,
    /// Four each way.
    Tcp4Both,
    /// Round trips beside a stream.
    RttLoaded,
    /// The rate without loss, small datagrams.
    Clean64,
    /// The same, large ones.
    Clean1400,
    /// What a packet costs at a steady rate.
    Steady,
    /// The main streams and the flood over a cable without offloads.
    Plain,
    /// The same with one core a side.
    Pinned,
}

impl Part {
    /// As people read it when it fails.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rtt => "RTT idle",
            Self::Tcp1 => "TCP, 1 stream",
            Self::Tcp4 => "TCP, 4 streams",
            Self::Flood => "UDP 64 B flood",
            Self::Memory => "memory",
            Self::Tcp1Back => "TCP, 1 stream back",
            Self::Tcp1Both => "TCP, 1 stream each way",
            Self::Tcp4Back => "TCP, 4 streams back",
            Self::Tcp4Both => "TCP, 4 streams each way",
            Self::RttLoaded => "RTT beside a stream",
            Self::Clean64 => "UDP 64 B without loss",
            Self::Clean1400 => "UDP 1400 B without loss",
            Self::Steady => "UDP at 50 kpps",
            Self::Plain => "underlay without offloads",
            Self::Pinned => "one core a side",
        }
    }

    /// How long it takes when streams last `length`.
    pub(crate) fn estimate(self, length: Duration) -> Duration {
        let (tcp, flood) = (length + IPERF, length.min(FLOOD) + IPERF);
        match self {
            Self::Memory => Duration::ZERO,
            Self::Rtt => PING_PAUSE * PINGS as u32,
            Self::Flood => flood,
            Self::RttLoaded => length.max(Duration::from_secs(2)) + IPERF,
            Self::Clean64 | Self::Clean1400 => (STEP + FLOW) * (STEPS + 1),
            Self::Steady => STEADY + FLOW,
            Self::Plain | Self::Pinned => 2 * tcp + flood,
            _ => tcp,
        }
    }
}

/// Which figures are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Figures {
    /// Everything that a system's scope allows.
    All,
    /// The main figures, of every system.
    Main,
    /// Streams in both directions and what they cost, of every system: who sends matters.
    Directions,
}

/// In what circumstances, and what of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Conditions {
    /// How often.
    pub(crate) rounds: u32,
    /// Length of each stream.
    pub(crate) length: Duration,
    /// What the cable does.
    pub(crate) underlay: Underlay,
    /// One core a side.
    pub(crate) pinned: bool,
    /// What is measured.
    pub(crate) figures: Figures,
}

impl Conditions {
    /// What is measured of a system in a round (the first is 1), in order.
    pub(crate) fn parts(&self, scope: Scope, round: u32) -> Vec<Part> {
        use Part::*;
        if self.figures == Figures::Directions {
            return vec![Rtt, Tcp1, Tcp1Back, Tcp1Both, Tcp4, Tcp4Back, Flood, Memory];
        }
        let mut parts = vec![Rtt, Tcp1, Tcp4, Flood, Memory];
        if self.figures == Figures::Main || scope == Scope::Main {
            return parts;
        }
        parts.push(RttLoaded);
        if scope == Scope::All {
            parts.extend([Tcp1Back, Tcp1Both, Tcp4Back, Tcp4Both, Clean64, Clean1400, Steady]);
        }
        if round <= ROUNDS_OF_CONDITIONS {
            if self.underlay == Underlay::Offloads {
                parts.push(Plain);
            }
            if !self.pinned {
                parts.push(Pinned);
            }
        }
        parts
    }

    /// How long a system takes in a round.
    pub(crate) fn turn(&self, scope: Scope, round: u32) -> Duration {
        self.parts(scope, round).iter().map(|part| part.estimate(self.length)).sum()
    }

    /// How long a system takes in all, its start included.
    fn whole(&self, scope: Scope) -> Duration {
        START + (1..=self.rounds).map(|round| self.turn(scope, round)).sum::<Duration>()
    }

    /// How long the start of `systems` takes.
    pub(crate) fn start(systems: usize) -> Duration {
        START * systems as u32
    }

    /// How long everything takes.
    pub(crate) fn estimate(&self, scopes: &[Scope]) -> Duration {
        scopes.iter().map(|scope| self.whole(*scope)).sum()
    }

    /// What would be measured and how long it would take, as a table.
    pub(crate) fn table(&self, systems: &[(&str, Scope)]) -> String {
        let mut rows = vec![["", "rounds", "a round", "in all"].map(str::to_owned).to_vec()];
        let mut parts: Vec<(Vec<Part>, Vec<&str>)> = Vec::new();
        let seconds = |time: Duration| format!("{:.0} s", time.as_secs_f64());
        for (name, scope) in systems {
            rows.push(vec![
                (*name).to_owned(),
                self.rounds.to_string(),
                seconds(self.turn(*scope, 1)),
                seconds(self.whole(*scope)),
            ]);
            let own = self.parts(*scope, 1);
            match parts.iter_mut().find(|(parts, _)| *parts == own) {
                Some((_, names)) => names.push(name),
                None => parts.push((own, vec![name])),
            }
        }
        let mut text = render(&rows);
        for (parts, names) in parts {
            let parts: Vec<&str> = parts.into_iter().map(Part::name).collect();
            text += &format!("\n{}:\n  {}\n", names.join(", "), parts.join("; "));
        }
        let scopes: Vec<Scope> = systems.iter().map(|(_, scope)| *scope).collect();
        text + &format!(
            "\n{} and {} in the first {ROUNDS_OF_CONDITIONS} rounds only. About {:.0} minutes.",
            Part::Plain.name(),
            Part::Pinned.name(),
            self.estimate(&scopes).as_secs_f64() / 60.0
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn default() -> Conditions {
        Conditions {
            rounds: 5,
            length: Duration::from_secs(3),
            underlay: Underlay::Offloads,
            pinned: false,
            figures: Figures::All,
        }
    }

    #[test]
    fn the_default_run_with_every_peer_is_well_under_half_an_hour() {
        use Scope::*;
        // ztnode, zerotier-one, the probe; wireguard-go; nebula, tinc, n2n and the cable.
        let time = default().estimate(&[All, All, All, Conditions, Main, Main, Main, Main]);
        assert!((600..25 * 60).contains(&time.as_secs()), "{time:?}");
    }

    #[test]
    fn other_conditions_are_measured_in_the_first_rounds_and_once() {
        let conditions = default();
        assert!(conditions.parts(Scope::All, 3).contains(&Part::Pinned));
        assert!(!conditions.parts(Scope::All, 4).contains(&Part::Pinned));
        assert!(!conditions.parts(Scope::Main, 1).contains(&Part::Plain));
        let plain = super::Conditions { underlay: Underlay::Plain, ..conditions };
        assert!(!plain.parts(Scope::All, 1).contains(&Part::Plain));
    }

    #[test]
    fn the_table_names_everybody() {
        let table = default().table(&[("ztnode", Scope::All), ("other", Scope::Main)]);
        assert!(table.contains("ztnode") && table.contains("other") && table.contains("minutes"), "{table}");
    }
}
