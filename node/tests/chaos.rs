//! Whatever happens to ways, addresses, NATs, roots and clocks, in any order: who can reach each other do so again within a time that
//! a model of it knows, and nothing arrives twice.
//!
//! `CHAOS_SEED=n` plays one schedule and tells it; `CHAOS_SCHEDULES=n` plays so many.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]
#![allow(unreachable_pub, reason = "the parts of this test are modules")]

#[path = "chaos/model.rs"]
mod model;
#[path = "chaos/play.rs"]
mod play;
#[path = "chaos/schedule.rs"]
mod schedule;
mod sim;

use play::play;
use schedule::Schedule;

/// Schedules in a regular run.
const SCHEDULES: u64 = 200;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text}: a number")))
}

#[test]
fn whoever_can_reach_each_other_does_so_again_in_time() {
    if let Some(seed) = number("CHAOS_SEED") {
        let schedule = Schedule::of(seed);
        println!("{schedule}");
        return play(&schedule).unwrap_or_else(|fault| panic!("{fault}"));
    }
    let count = number("CHAOS_SCHEDULES").unwrap_or(SCHEDULES);
    let mut faults = Vec::new();
    for schedule in (0..count).map(Schedule::of) {
        if let Err(fault) = play(&schedule) {
            faults.push(format!("{fault}\n{schedule}"));
        }
    }
    assert!(faults.is_empty(), "{} of {count} schedules failed:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn a_seed_gives_the_same_schedule_again() {
    let text = |seed| Schedule::of(seed).to_string();
    assert_eq!(text(7), text(7));
    assert_ne!(text(7), text(8));
}
