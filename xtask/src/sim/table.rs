//! Sums over cases, and how they are shown.

use std::collections::BTreeMap;

use super::case::Moment;
use super::judge::{Outcome, SURE, Verdict};

/// Tenths of probability, for the calibration error.
const BINS: usize = 10;

/// Sums of one cell.
#[derive(Debug, Clone, Default)]
pub(super) struct Sums {
    cases: usize,
    seen: usize,
    strict: usize,
    top1: usize,
    top3: usize,
    by_moment: [(usize, usize); 4],
    kind: (usize, usize),
    kind_by_moment: [(usize, usize); 4],
    right: usize,
    named: usize,
    wanted: usize,
    doubles: [usize; 3],
    brier: f64,
    bins: [(usize, usize, f64); BINS],
    surely_wrong: usize,
    unknown_wins: usize,
    unseen: usize,
    false_alarms: usize,
    rounds: Vec<i64>,
    timed: usize,
    simple: BTreeMap<&'static str, (usize, usize)>,
    /// Places by the oracle and by the engine, kinds by both; before the return and after it, of so many.
    oracle: [[f64; 5]; 2],
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
            self.doubles[0] += verdict.right;
            self.doubles[1] += verdict.named;
            self.doubles[2] += verdict.wanted;
        }
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

    fn ece(&self) -> f64 {
        let bins = self.bins.iter().filter(|bin| bin.0 > 0);
        let gaps = bins.map(|(_, right, sure)| (sure - *right as f64).abs());
        gaps.sum::<f64>() / self.seen.max(1) as f64
    }

    fn rounds(&self, hundredth: usize) -> String {
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

/// The heads of the columns.
pub(super) const HEADS: [&str; 17] = [
    "cell",
    "cases",
    "answers",
    "where, strict",
    "where",
    "+20 s",
    "+60 s",
    "heal",
    "end",
    "top 3",
    "kind",
    "kind at the end",
    "F1",
    "F1, several",
    "Brier · ECE",
    "surely wrong",
    "rounds p50 · p90",
];

/// The row of a cell.
pub(super) fn row(cell: &str, sums: &Sums) -> Vec<String> {
    let moment = |at: usize| percent(sums.by_moment[at].0, sums.by_moment[at].1);
    vec![
        cell.to_owned(),
        sums.cases.to_string(),
        sums.seen.to_string(),
        percent(sums.strict, sums.seen),
        percent(sums.top1, sums.seen),
        moment(0),
        moment(1),
        moment(2),
        moment(3),
        percent(sums.top3, sums.seen),
        percent(sums.kind.0, sums.kind.1),
        percent(sums.kind_by_moment[3].0, sums.kind_by_moment[3].1),
        f1(sums.right, sums.named, sums.wanted),
        f1(sums.doubles[0], sums.doubles[1], sums.doubles[2]),
        format!(
            "{:.3} · {:.3}",
            sums.brier / sums.seen.max(1) as f64,
            sums.ece()
        ),
        percent(sums.surely_wrong, sums.seen),
        format!("{} · {}", sums.rounds(50), sums.rounds(90)),
    ]
}

/// The simple ways and the oracle beside the engine.
pub(super) fn beside(sums: &Sums) -> String {
    let mut text = format!("engine {}", percent(sums.top1, sums.seen));
    for (way, (right, of)) in &sums.simple {
        text.push_str(&format!("; {way} {}", percent(*right, *of)));
    }
    for (name, [best, place, best_kind, kind, of]) in
        ["before", "after"].into_iter().zip(sums.oracle)
    {
        text.push_str(&format!(
            "; single faults {name} the return: place to the letter {} (oracle {}), kind {} (oracle {})",
            share(place, of),
            share(best, of),
            share(kind, of),
            share(best_kind, of)
        ));
    }
    text
}

/// What the table does not show.
pub(super) fn aside(cell: &str, sums: &Sums) -> String {
    format!(
        "{cell}: nothing to see at {} moments, an answer at {} of them; not in the model wins {}; precision {}, recall {}",
        sums.unseen,
        sums.false_alarms,
        percent(sums.unknown_wins, sums.seen),
        percent(sums.right, sums.named),
        percent(sums.right, sums.wanted),
    )
}

fn percent(part: usize, of: usize) -> String {
    share(part as f64, of as f64)
}

fn share(part: f64, of: f64) -> String {
    if of > 0.0 {
        format!("{:.1}", part * 100.0 / of)
    } else {
        "–".into()
    }
}

fn f1(right: usize, named: usize, wanted: usize) -> String {
    if wanted == 0 {
        return "–".into();
    }
    format!("{:.3}", 2.0 * right as f64 / (named + wanted).max(1) as f64)
}

/// The table as Markdown.
pub(super) fn markdown(rows: &[Vec<String>]) -> String {
    let mut text = format!(
        "| {} |\n|{}\n",
        HEADS.join(" | "),
        " --- |".repeat(HEADS.len())
    );
    for row in rows {
        text.push_str(&format!("| {} |\n", row.join(" | ")));
    }
    text
}

/// The table for a terminal.
pub(super) fn plain(rows: &[Vec<String>]) -> String {
    let heads: Vec<String> = HEADS.map(str::to_owned).to_vec();
    let all: Vec<&Vec<String>> = std::iter::once(&heads).chain(rows).collect();
    let widths: Vec<usize> = (0..HEADS.len())
        .map(|at| {
            all.iter()
                .map(|row| row[at].chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for row in all {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}
