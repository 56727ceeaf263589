//! Whether the wall clock steps. Nothing is decided by it: elections, time-outs and drains go by the monotonic clock. It
//! stands in the history, in `Date` and in logs, and a person who compares those must know. The judgement is pure.

use std::time::{Duration, Instant, SystemTime};

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A difference of the two clocks between two looks from which on it is told; less is what time servers do all day.
const STEP: Duration = Duration::from_secs(2);

/// Both clocks, as they were at the last look.
#[derive(Debug, Clone, Copy)]
struct Look {
    steady: Instant,
    wall: SystemTime,
}

/// The wall clock went otherwise than time did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Forwards(Duration),
    Backwards(Duration),
}

/// Looks until the runtime ends, and tells each step in the log.
pub(crate) async fn watch() {
    let mut look = Look::now();
    let mut beat = tokio::time::interval(LOOK_EVERY);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        beat.tick().await;
        let now = Look::now();
        match look.until(now) {
            Some(Step::Forwards(by)) => tell("forwards", by),
            Some(Step::Backwards(by)) => tell("backwards", by),
            None => {}
        }
        look = now;
    }
}

fn tell(direction: &'static str, by: Duration) {
    tracing::warn!(
        direction,
        by_s = by.as_secs_f64(),
        "the wall clock stepped: traffic and the cluster go on by another clock, but times in the history, in logs and in Date jump; look after the time service of this machine"
    );
}

// === impl Look ===

impl Look {
    fn now() -> Self {
        Self {
            steady: Instant::now(),
            wall: SystemTime::now(),
        }
    }

    /// What the wall clock did between two looks that it should not have done.
    fn until(self, now: Self) -> Option<Step> {
        let passed = now.steady.saturating_duration_since(self.steady);
        let right = self.wall.checked_add(passed)?;
        let step = match now.wall.duration_since(right) {
            Ok(ahead) => Step::Forwards(ahead),
            Err(behind) => Step::Backwards(behind.duration()),
        };
        let (Step::Forwards(by) | Step::Backwards(by)) = step;
        (by >= STEP).then_some(step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(look: Look, steady: u64, wall: i64) -> Look {
        let seconds = Duration::from_secs(wall.unsigned_abs());
        Look {
            steady: look.steady + Duration::from_secs(steady),
            wall: if wall < 0 {
                look.wall - seconds
            } else {
                look.wall + seconds
            },
        }
    }

    #[test]
    fn clocks_that_go_together_are_no_step_however_long_it_took() {
        let look = Look::now();
        assert_eq!(look.until(after(look, 1, 1)), None);
        assert_eq!(look.until(after(look, 3_600, 3_601)), None);
    }

    #[test]
    fn a_step_is_told_in_its_direction_and_by_how_much() {
        let look = Look::now();
        let forwards = look.until(after(look, 1, 3_601));
        assert_eq!(forwards, Some(Step::Forwards(Duration::from_secs(3_600))));
        let backwards = look.until(after(look, 1, -99));
        assert_eq!(backwards, Some(Step::Backwards(Duration::from_secs(100))));
    }
}
