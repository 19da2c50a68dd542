//! Waits for a condition with a deadline.

use std::time::{Duration, Instant};

/// How often a condition is looked at: short against everything that tests wait for, long
/// against the cost of looking.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Waits until the condition holds.
///
/// # Panics
/// When it does not within the timeout; the message names what was waited for.
#[track_caller]
pub fn wait_until(what: &str, timeout: Duration, mut holds: impl FnMut() -> bool) {
    wait_for(what, timeout, || holds().then_some(()));
}

/// Waits until there is something, and gives it.
///
/// # Panics
/// When there is nothing within the timeout; the message names what was waited for.
#[track_caller]
pub fn wait_for<T>(what: &str, timeout: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + timeout;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(
            Instant::now() < deadline,
            "waited {timeout:?} in vain for: {what}"
        );
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Waits until there is something, and gives it; for conditions that have to be asked for.
///
/// # Panics
/// When there is nothing within the timeout; the message names what was waited for and what was
/// seen last.
pub async fn eventually<T, S: std::fmt::Debug>(
    what: &str,
    timeout: Duration,
    mut look: impl AsyncFnMut() -> Result<T, S>,
) -> T {
    let deadline = tokio::time::Instant::now() + timeout;
    loop {
        let seen = match look().await {
            Ok(found) => return found,
            Err(seen) => seen,
        };
        assert!(
            tokio::time::Instant::now() < deadline,
            "waited {timeout:?} in vain for: {what}; seen last: {seen:#?}"
        );
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
