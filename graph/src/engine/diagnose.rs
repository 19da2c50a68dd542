//! Names what really broke: from symptoms to ranked sets of root causes.
//!
//! Prepare ([`case`]: what is seen, and who could be to blame) → predict ([`reach`]: what a set of causes would do) → score
//! ([`score`]: how well that fits) → [`search`] → tell. Nothing here changes the engine.
//!
//! Costs are negative log-likelihoods in thousandths of a nat, as integers: sums do not depend on their order, so neither the order of
//! arrival nor the number of threads changes a verdict.

mod advise;
mod begin;
mod blame;
mod board;
mod case;
mod ease;
mod fault;
mod judge;
mod reach;
mod score;
mod search;
mod tell;

use super::Engine;
use crate::Diagnosis;
use blame::Cause;
pub(super) use tell::Told;

/// Thousandths of a nat.
pub(super) type Cost = i64;

impl Engine {
    /// What really broke, as far as the evidence goes at this moment.
    #[must_use]
    pub fn diagnosis(&self) -> Diagnosis {
        self.diagnose().diagnosis
    }

    /// The diagnosis with what follows from it.
    pub(super) fn diagnose(&self) -> Told {
        let case = case::Case::of(self);
        let found = search::search(&case);
        tell::tell(&case, &found)
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
