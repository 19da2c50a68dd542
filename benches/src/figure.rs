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

/// CPU time of a bare connect of tokio, 64 in flight, on the machine that the goals come from, in microseconds.
const REFERENCE_CONNECT_US: f64 = 16.3;

/// How much slower this machine is than the one that the goals come from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Machine {
    slower: f64,
}

impl Machine {
    /// By what a bare connect costs here, in microseconds of CPU time.
    pub(crate) fn of(connect_us: f64) -> Self {
        Self {
            slower: connect_us / REFERENCE_CONNECT_US,
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a bare connect costs {} µs of CPU here, {REFERENCE_CONNECT_US} µs where the goals come from: CPU time is \
             compared after a division by {:.2}",
            number(self.slower * REFERENCE_CONNECT_US),
            self.slower
        )
    }
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

    /// The figure as it would be where the goals come from; the same for what no processor makes faster.
    fn comparable(&self, machine: Machine) -> f64 {
        if self.unit.ends_with("/CPU-s") {
            self.value * machine.slower
        } else if self.unit.contains("CPU") {
            self.value / machine.slower
        } else {
            self.value
        }
    }

    /// The goal in words, and whether it is met.
    fn verdict(&self, machine: Machine) -> (String, String) {
        let value = self.comparable(machine);
        let (goal, factor) = match self.goal {
            Goal::None => return (String::new(), String::new()),
            Goal::AtMost(goal) => (format!("≤ {}", number(goal)), value / goal),
            Goal::AtLeast(goal) => (format!("≥ {}", number(goal)), goal / value),
        };
        let verdict = if factor <= 1.0 {
            "met".to_owned()
        } else {
            format!("missed by a factor of {factor:.2}")
        };
        (goal, verdict)
    }

    /// As a line for people.
    pub(crate) fn line(&self, machine: Machine) -> String {
        let (goal, verdict) = self.verdict(machine);
        format!(
            "{:>2}  {}: {} {} {goal} {verdict}",
            self.row,
            self.what,
            number(self.value),
            self.unit
        )
    }
}

/// The figures as a table in Markdown.
pub(crate) fn table(figures: &[Figure], machine: Machine) -> String {
    let mut figures: Vec<&Figure> = figures.iter().collect();
    figures.sort_by_key(|figure| figure.row);
    let mut text =
        String::from("| # | what | measured | compared | goal | |\n|---|---|---|---|---|---|\n");
    for figure in figures {
        let (goal, verdict) = figure.verdict(machine);
        text.push_str(&format!(
            "| {} | {} | {} {} | {} | {goal} | {verdict} |\n",
            figure.row,
            figure.what,
            number(figure.value),
            figure.unit,
            number(figure.comparable(machine)),
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
