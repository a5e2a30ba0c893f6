//! How far a run is, and how long it will take.

use std::time::{Duration, Instant};

/// Below so much of measured time an estimate is not corrected by it.
const FEW: Duration = Duration::from_secs(20);
/// A run may take so many times what was estimated, and always this long.
const PATIENCE: f64 = 1.5;
const LEAST: Duration = Duration::from_secs(600);

/// Sets what was estimated against what the clock says.
pub(crate) struct Progress {
    begun: Instant,
    total: Duration,
    done: Duration,
}

impl Progress {
    /// A run that should take `total`, from now.
    pub(crate) fn new(total: Duration) -> Self {
        Self { begun: Instant::now(), total, done: Duration::ZERO }
    }

    /// Something that should have taken `estimate` is over, or will not happen.
    pub(crate) fn add(&mut self, estimate: Duration) {
        self.done += estimate;
    }

    /// Whether it has taken so much longer than estimated that no further round should begin.
    pub(crate) fn is_late(&self) -> bool {
        self.begun.elapsed() > LEAST.max(self.total.mul_f64(PATIENCE))
    }

    /// How far, and how long still: `[ 40 %, 7 min left]`.
    pub(crate) fn line(&self) -> String {
        line(self.total, self.done, self.begun.elapsed())
    }
}

fn line(total: Duration, done: Duration, taken: Duration) -> String {
    let left = total.saturating_sub(done);
    let pace = if done < FEW { 1.0 } else { taken.as_secs_f64() / done.as_secs_f64() };
    let left = left.as_secs_f64() * pace;
    let percent = 100.0 * done.as_secs_f64() / total.as_secs_f64().max(1.0);
    let left = if left < 100.0 { format!("{left:.0} s") } else { format!("{:.0} min", left / 60.0) };
    format!("[{:3.0} %, about {left} left]", percent.min(100.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_takes_as_long_in_proportion() {
        let [total, done, taken] = [1200, 300, 600].map(Duration::from_secs);
        assert_eq!(line(total, done, taken), "[ 25 %, about 30 min left]");
        assert_eq!(line(total, Duration::ZERO, Duration::from_secs(5)), "[  0 %, about 20 min left]");
        assert_eq!(line(total, 2 * total, taken), "[100 %, about 0 s left]");
    }
}
