//! Tables of what was measured, for a terminal and as Markdown.

use super::sums::Sums;

/// A table: heads, then rows of as many cells.
#[derive(Debug, Clone)]
pub(super) struct Table {
    heads: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

/// How well the engine answers, a row for each cell.
pub(super) fn answers(cells: &[(&'static str, Sums)]) -> Table {
    let heads = vec![
        "cell",
        "cases",
        "answers",
        "where",
        "one cause",
        "several",
        "+20 s",
        "+60 s",
        "heal",
        "end",
        "top 3",
        "to the letter",
        "kind",
        "kind at the end",
        "F1",
        "F1, several",
        "Brier · ECE",
        "surely wrong",
        "rounds p50 · p90",
    ];
    let row = |(name, sums): &(&str, Sums)| {
        let of = |(part, of): (usize, usize)| percent(part, of);
        let brier = sums.brier / sums.seen.max(1) as f64;
        vec![
            (*name).to_owned(),
            sums.cases.to_string(),
            sums.seen.to_string(),
            percent(sums.top1, sums.seen),
            of(sums.by_count[0]),
            of(sums.by_count[1]),
            of(sums.by_moment[0]),
            of(sums.by_moment[1]),
            of(sums.by_moment[2]),
            of(sums.by_moment[3]),
            percent(sums.top3, sums.seen),
            percent(sums.strict, sums.seen),
            of(sums.kind),
            of(sums.kind_by_moment[3]),
            f1(sums.right, sums.named, sums.wanted),
            f1(sums.several[0], sums.several[1], sums.several[2]),
            format!("{brier:.3} · {:.3}", sums.ece()),
            percent(sums.surely_wrong, sums.seen),
            format!("{} · {}", sums.rounds(50), sums.rounds(90)),
        ]
    };
    Table {
        heads,
        rows: cells.iter().map(row).collect(),
    }
}

/// The engine beside simple ways and the oracle, a row for each cell.
pub(super) fn beside(cells: &[(&'static str, Sums)]) -> Table {
    let heads = vec![
        "cell",
        "engine",
        "greedy cover",
        "deepest failed",
        "lowest common container",
        "nothing to see",
        "answered nonetheless",
        "not in the model",
        "precision",
        "recall",
        "place, before",
        "oracle",
        "kind, before",
        "oracle",
        "place, after",
        "oracle",
        "kind, after",
        "oracle",
    ];
    let row = |(name, sums): &(&str, Sums)| {
        let way = |name: &str| {
            sums.simple
                .get(name)
                .map_or("–".into(), |(part, of)| percent(*part, *of))
        };
        let mut row = vec![
            (*name).to_owned(),
            percent(sums.top1, sums.seen),
            way("greedy cover"),
            way("deepest failed"),
            way("lowest common container"),
            sums.unseen.to_string(),
            sums.false_alarms.to_string(),
            percent(sums.unknown_wins, sums.seen),
            percent(sums.right, sums.named),
            percent(sums.right, sums.wanted),
        ];
        for [best, place, best_kind, kind, of] in sums.oracle {
            row.extend([
                share(place, of),
                share(best, of),
                share(kind, of),
                share(best_kind, of),
            ]);
        }
        row
    };
    Table {
        heads,
        rows: cells.iter().map(row).collect(),
    }
}

/// Cases of one fault by its sort, over all the cells.
pub(super) fn sorts(cells: &[(&'static str, Sums)]) -> Table {
    let mut all: std::collections::BTreeMap<&str, [(usize, usize); 2]> =
        std::collections::BTreeMap::new();
    for (sort, by) in cells.iter().flat_map(|(_, sums)| &sums.by_sort) {
        for (sum, (right, of)) in all.entry(sort).or_default().iter_mut().zip(by) {
            sum.0 += right;
            sum.1 += of;
        }
    }
    let row = |(sort, [before, after]): (&str, [(usize, usize); 2])| {
        vec![
            sort.to_owned(),
            (before.1 + after.1).to_string(),
            percent(before.0, before.1),
            percent(after.0, after.1),
        ]
    };
    Table {
        heads: vec![
            "one fault of this sort",
            "answers",
            "where, before the return",
            "after it",
        ],
        rows: all.into_iter().map(row).collect(),
    }
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

impl Table {
    /// As Markdown.
    pub(super) fn markdown(&self) -> String {
        let mut text = format!(
            "| {} |\n|{}\n",
            self.heads.join(" | "),
            " --- |".repeat(self.heads.len())
        );
        for row in &self.rows {
            text.push_str(&format!("| {} |\n", row.join(" | ")));
        }
        text
    }

    /// For a terminal.
    pub(super) fn plain(&self) -> String {
        let heads: Vec<String> = self.heads.iter().map(|head| (*head).to_owned()).collect();
        let all: Vec<&Vec<String>> = std::iter::once(&heads).chain(&self.rows).collect();
        let width = |at: usize| {
            all.iter()
                .map(|row| row[at].chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..heads.len()).map(width).collect();
        let mut text = String::new();
        for row in all {
            let cells = row.iter().zip(&widths);
            let cells: Vec<String> = cells
                .map(|(cell, width)| format!("{cell:<width$}"))
                .collect();
            text.push_str(cells.join("  ").trim_end());
            text.push('\n');
        }
        text
    }
}
