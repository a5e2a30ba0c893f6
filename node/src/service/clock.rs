//! The node's time: milliseconds since the Unix epoch that never run backwards. Beside it, what the machine says it is, which
//! may be set at any moment and is asked for by those only who compare it with what others wrote.

use nix::time::{ClockId, clock_gettime};

use protocol::{Span, Time};

/// Wall time at the start plus what has passed since, sleep included. Later corrections of the wall clock do not disturb it.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    offset: Span,
}

impl Clock {
    /// A clock that starts with the system's wall time.
    pub fn start() -> Self {
        Clock { offset: read(ClockId::CLOCK_REALTIME) - read(ClockId::CLOCK_BOOTTIME) }
    }

    /// What the machine says it is: it may jump.
    pub fn wall() -> Time {
        read(ClockId::CLOCK_REALTIME)
    }

    /// Now.
    pub fn now(self) -> Time {
        read(ClockId::CLOCK_BOOTTIME) + self.offset
    }
}

fn read(id: ClockId) -> Time {
    // Linux has both clocks; without one the node would stand still, which is visible and harmless.
    clock_gettime(id).map_or(Time::EPOCH, |t| Time::from_ms(t.tv_sec() * 1000 + t.tv_nsec() / 1_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_the_wall_clock() {
        let clock = Clock::start();
        let wall = read(ClockId::CLOCK_REALTIME);
        assert!((clock.now() - wall).abs() < Span::secs(1));
        assert!(clock.now() <= clock.now());
    }
}
