//! Waiting for a condition, never for a time.

use std::fmt::Display;
use std::future::Future;
use std::time::{Duration, Instant};

/// Between two looks at a condition.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Looks at `condition` until it gives a value, for at most `bound`; panics with `what` and the last reason otherwise.
///
/// The bound is generous by design: it only ends a test that will never pass.
pub async fn within<T, E, F, Fut>(bound: Duration, what: &str, mut condition: F) -> T
where
    E: Display,
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    let began = Instant::now();
    let mut look = tokio::time::interval(LOOK_EVERY);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        look.tick().await;
        match condition().await {
            Ok(value) => return value,
            Err(why) if began.elapsed() > bound => panic!("waited {bound:?} in vain for {what}: {why}"),
            Err(_) => {}
        }
    }
}

/// [`within`] a minute.
pub async fn eventually<T, E, F, Fut>(what: &str, condition: F) -> T
where
    E: Display,
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    within(Duration::from_secs(60), what, condition).await
}

/// A steady beat: each `tick` comes `every` after the one before, late ones are not made up for.
pub fn beat(every: Duration) -> tokio::time::Interval {
    let mut beat = tokio::time::interval(every);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    beat
}

/// Lets `time` pass: for the rate of a client or the moment of a fault, never in place of a condition.
pub async fn pass(time: Duration) {
    let until = tokio::time::Instant::now() + time;
    tokio::time::interval_at(until, LOOK_EVERY).tick().await;
}
