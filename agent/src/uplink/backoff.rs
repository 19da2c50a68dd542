//! How long to stay away after a break: exponential, with full jitter.
//!
//! Full jitter spreads clients best of the usual ways (M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).

use std::time::Duration;

use blackstart_proto::limits::RETURN_MAX;
use rand::RngExt;
use rand::rngs::StdRng;

/// The longest wait before the first attempt after a break.
const FIRST: Duration = Duration::from_secs(1);

/// The waits of one uplink.
#[derive(Debug)]
pub(crate) struct Backoff {
    failures: u32,
    random: StdRng,
}

impl Backoff {
    /// No failure yet.
    pub(crate) const fn new(random: StdRng) -> Self {
        Self {
            failures: 0,
            random,
        }
    }

    /// The next wait.
    pub(crate) fn next(&mut self) -> Duration {
        let ceiling = Self::ceiling(self.failures);
        self.failures = self.failures.saturating_add(1);
        ceiling.mul_f64(self.random.random_range(0.0..1.0))
    }

    /// It works again.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    fn ceiling(failures: u32) -> Duration {
        FIRST
            .saturating_mul(2_u32.saturating_pow(failures))
            .min(RETURN_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_up_to_its_bound() {
        let ceilings: Vec<u64> = [0, 1, 2, 5, 6, 40]
            .iter()
            .map(|n| Backoff::ceiling(*n).as_secs())
            .collect();
        assert_eq!(ceilings, [1, 2, 4, 20, 20, 20]);
    }
}
