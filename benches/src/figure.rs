//! One measured figure beside its goal, as a line and as a row of the table in docs/performance.md.

use std::fmt;

/// What is aimed at.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    /// Not more than this.
    AtMost(f64),
    /// Not less than this.
    AtLeast(f64),
    /// Shown for comparison.
    None,
}

/// A figure.
#[derive(Debug, Clone)]
pub(crate) struct Figure {
    /// The row of the table of goals.
    pub(crate) row: u8,
    /// What was measured.
    pub(crate) what: String,
    /// The figure.
    pub(crate) value: f64,
    /// Its unit.
    pub(crate) unit: &'static str,
    /// What is aimed at, in the same unit.
    pub(crate) goal: Goal,
}

impl Figure {
    /// A figure.
    pub(crate) fn new(
        row: u8,
        what: impl Into<String>,
        value: f64,
        unit: &'static str,
        goal: Goal,
    ) -> Self {
        Self {
            row,
            what: what.into(),
            value,
            unit,
            goal,
        }
    }

    /// The goal in words, and whether it is met.
    fn verdict(&self) -> (String, String) {
        let missed = |factor: f64| format!("missed by a factor of {factor:.2}");
        match self.goal {
            Goal::None => (String::new(), String::new()),
            Goal::AtMost(goal) if self.value <= goal => {
                (format!("≤ {}", number(goal)), "met".to_owned())
            }
            Goal::AtMost(goal) => (format!("≤ {}", number(goal)), missed(self.value / goal)),
            Goal::AtLeast(goal) if self.value >= goal => {
                (format!("≥ {}", number(goal)), "met".to_owned())
            }
            Goal::AtLeast(goal) => (format!("≥ {}", number(goal)), missed(goal / self.value)),
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (goal, verdict) = self.verdict();
        write!(
            f,
            "{:>2}  {:<58} {:>10} {:<16} {goal:<12} {verdict}",
            self.row,
            self.what,
            number(self.value),
            self.unit
        )
    }
}

/// The figures as a table in Markdown.
pub(crate) fn table(figures: &[Figure]) -> String {
    let mut figures: Vec<&Figure> = figures.iter().collect();
    figures.sort_by_key(|figure| figure.row);
    let mut text = String::from("| # | what | measured | goal | |\n|---|---|---|---|---|\n");
    for figure in figures {
        let (goal, verdict) = figure.verdict();
        text.push_str(&format!(
            "| {} | {} | {} {} | {goal} | {verdict} |\n",
            figure.row,
            figure.what,
            number(figure.value),
            figure.unit
        ));
    }
    text
}

/// Three digits that count.
fn number(value: f64) -> String {
    match value.abs() {
        v if v >= 10_000.0 => format!("{:.0} k", value / 1_000.0),
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}
