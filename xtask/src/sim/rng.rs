//! Numbers that look random and are the same for the same seed.
//!
//! SplitMix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014. Two ways to ask: [`Rng`] draws one number after
//! the other; [`share`] belongs to what it is asked for, so that a world with another fault keeps every other number.

const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// A stream of numbers.
#[derive(Debug, Clone)]
pub(super) struct Rng(u64);

impl Rng {
    /// The stream of a seed for one purpose.
    pub(super) fn new(seed: u64, purpose: u64) -> Self {
        Self(mix(&[seed, purpose]))
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GAMMA);
        finish(self.0)
    }

    /// From 0 to below 1.
    pub(super) fn share(&mut self) -> f64 {
        to_share(self.next())
    }

    /// From 0 to below `end`; 0 when that is 0.
    #[expect(clippy::cast_possible_truncation, reason = "it is below a usize")]
    pub(super) fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    /// From `low` to `high`, both included.
    pub(super) fn between(&mut self, low: i64, high: i64) -> i64 {
        low + (self.next() % (high - low + 1).max(1) as u64) as i64
    }

    pub(super) fn chance(&mut self, share: f64) -> bool {
        self.share() < share
    }

    /// One of them; `None` of none.
    pub(super) fn pick<T: Copy>(&mut self, of: &[T]) -> Option<T> {
        of.get(self.below(of.len())).copied()
    }
}

fn finish(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[expect(clippy::cast_precision_loss, reason = "53 bits are kept")]
fn to_share(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

/// One number of several, each of which changes all of it.
pub(super) fn mix(of: &[u64]) -> u64 {
    of.iter().fold(GAMMA, |hash, part| {
        finish((hash ^ part).wrapping_add(GAMMA))
    })
}

/// A share that belongs to these numbers.
pub(super) fn share(of: &[u64]) -> f64 {
    to_share(mix(of))
}

/// A number from `low` to `high` that belongs to these numbers.
pub(super) fn between(low: i64, high: i64, of: &[u64]) -> i64 {
    low + (mix(of) % (high - low + 1).max(1) as u64) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_numbers_are_those_of_splitmix64() {
        // The reference implementation with seed 1234567 (prng.di.unimi.it/splitmix64.c).
        let mut rng = Rng(1_234_567);
        assert_eq!(rng.next(), 6_457_827_717_110_365_317);
        assert_eq!(rng.next(), 3_203_168_211_198_807_973);
    }
}
