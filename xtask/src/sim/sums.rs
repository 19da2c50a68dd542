//! Sums over the cases of a cell.

use std::collections::BTreeMap;

use super::case::Moment;
use super::judge::{Outcome, SURE, Verdict};

/// Tenths of probability, for the calibration error.
const BINS: usize = 10;

/// Sums of one cell.
#[derive(Debug, Clone, Default)]
pub(super) struct Sums {
    pub(super) cases: usize,
    pub(super) seen: usize,
    pub(super) strict: usize,
    pub(super) top1: usize,
    pub(super) top3: usize,
    pub(super) by_moment: [(usize, usize); 4],
    pub(super) kind: (usize, usize),
    pub(super) kind_by_moment: [(usize, usize); 4],
    pub(super) right: usize,
    pub(super) named: usize,
    pub(super) wanted: usize,
    /// Of truths of several causes: right, named and true ones.
    pub(super) several: [usize; 3],
    /// Whether the place is right, of truths of one cause and of several.
    pub(super) by_count: [(usize, usize); 2],
    /// Of cases of one fault, by its sort: whether the place is right before the return and after it.
    pub(super) by_sort: BTreeMap<&'static str, [(usize, usize); 2]>,
    pub(super) brier: f64,
    pub(super) bins: [(usize, usize, f64); BINS],
    pub(super) surely_wrong: usize,
    pub(super) unknown_wins: usize,
    pub(super) unseen: usize,
    pub(super) false_alarms: usize,
    pub(super) rounds: Vec<i64>,
    pub(super) timed: usize,
    pub(super) simple: BTreeMap<&'static str, (usize, usize)>,
    /// Places by the oracle and by the engine, kinds by both; before the return and after it, of so many.
    pub(super) oracle: [[f64; 5]; 2],
}

impl Sums {
    /// Adds a case.
    pub(super) fn add(&mut self, outcome: &Outcome) {
        self.cases += 1;
        self.unseen += outcome.unseen;
        self.false_alarms += outcome.false_alarms;
        self.timed += usize::from(outcome.timed);
        self.rounds.extend(outcome.rounds.filter(|_| outcome.timed));
        for verdict in &outcome.verdicts {
            self.verdict(verdict);
        }
        if let [sort] = outcome.sorts[..] {
            let by = self.by_sort.entry(sort).or_default();
            for verdict in &outcome.verdicts {
                let by = &mut by[usize::from(verdict.moment == Moment::End)];
                by.0 += usize::from(verdict.top1);
                by.1 += 1;
            }
        }
        for (way, right) in &outcome.simple {
            let sums = self.simple.entry(way).or_default();
            sums.0 += usize::from(*right);
            sums.1 += 1;
        }
        for (moment, best, place, kind) in &outcome.oracle {
            let sums = &mut self.oracle[usize::from(*moment == Moment::End)];
            let one = |hit: bool| f64::from(u8::from(hit));
            let hits = [best.place, one(*place), one(best.kind), one(*kind), 1.0];
            for (sum, hit) in sums.iter_mut().zip(hits) {
                *sum += hit;
            }
        }
    }

    fn verdict(&mut self, verdict: &Verdict) {
        let one = usize::from;
        let at = Moment::ALL
            .iter()
            .position(|moment| *moment == verdict.moment)
            .unwrap_or(0);
        self.seen += 1;
        self.strict += one(verdict.strict);
        self.top1 += one(verdict.top1);
        self.top3 += one(verdict.top3);
        self.by_moment[at].0 += one(verdict.top1);
        self.by_moment[at].1 += 1;
        if let Some(kind) = verdict.kind {
            self.kind.0 += one(kind);
            self.kind.1 += 1;
            self.kind_by_moment[at].0 += one(kind);
            self.kind_by_moment[at].1 += 1;
        }
        self.right += verdict.right;
        self.named += verdict.named;
        self.wanted += verdict.wanted;
        if verdict.wanted > 1 {
            self.several[0] += verdict.right;
            self.several[1] += verdict.named;
            self.several[2] += verdict.wanted;
        }
        let count = &mut self.by_count[one(verdict.wanted > 1)];
        count.0 += one(verdict.top1);
        count.1 += 1;
        let hit = if verdict.top1 { 1.0 } else { 0.0 };
        self.brier += (verdict.sure - hit).powi(2);
        let bin = (0..BINS)
            .rfind(|bin| verdict.sure * BINS as f64 >= *bin as f64)
            .unwrap_or(0);
        self.bins[bin].0 += 1;
        self.bins[bin].1 += one(verdict.top1);
        self.bins[bin].2 += verdict.sure;
        self.surely_wrong += one(!verdict.top1 && verdict.sure > SURE);
        let best = verdict
            .answers
            .first()
            .map_or(0.0, |(_, probability)| *probability);
        self.unknown_wins += one(verdict.not_in_model > best);
    }

    /// How far the probabilities are from what came true, on average.
    pub(super) fn ece(&self) -> f64 {
        let bins = self.bins.iter().filter(|bin| bin.0 > 0);
        let gaps = bins.map(|(_, right, sure)| (sure - *right as f64).abs());
        gaps.sum::<f64>() / self.seen.max(1) as f64
    }

    /// After how many rounds so many hundredths of the cases had the right answer for good.
    pub(super) fn rounds(&self, hundredth: usize) -> String {
        let mut rounds = self.rounds.clone();
        // Who never found it comes last.
        rounds.resize(self.timed.max(rounds.len()), i64::MAX);
        rounds.sort_unstable();
        match rounds.get(rounds.len() * hundredth / 100) {
            Some(&i64::MAX) => "never".into(),
            Some(rounds) => rounds.to_string(),
            None => "–".into(),
        }
    }
}
