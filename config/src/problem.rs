//! What is wrong with a file: one problem, and the report of all of them.

use std::fmt;

/// One thing that is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The line, counted from 1.
    pub line: usize,
    /// Where in the file and what was found: `probe "rack1/clock" fail_above = "50ms"`.
    pub found: String,
    /// What was expected.
    pub expected: String,
    /// What to do; empty where `expected` says it.
    pub help: String,
}

/// Everything that is wrong with a file, in the order of its lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The file as the user named it.
    pub file: String,
    /// The problems; at least one.
    pub problems: Vec<Problem>,
}

impl Report {
    /// A report of one problem that concerns the whole file: it cannot be read, say.
    #[must_use]
    pub fn whole_file(file: &str, found: &str, help: &str) -> Self {
        Self {
            file: file.to_owned(),
            problems: vec![Problem {
                line: 0,
                found: found.to_owned(),
                expected: String::new(),
                help: help.to_owned(),
            }],
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: configuration refused", self.file)?;
        for problem in &self.problems {
            let place = if problem.line == 0 {
                String::new()
            } else {
                format!("line {}", problem.line)
            };
            write!(f, "  {place:<8} {}", problem.found)?;
            if !problem.found.is_empty() && !problem.expected.is_empty() {
                f.write_str("   ")?;
            }
            writeln!(f, "{}", problem.expected)?;
            if !problem.help.is_empty() {
                writeln!(f, "  {:<8} help: {}", "", problem.help)?;
            }
        }
        match self.problems.len() {
            1 => f.write_str("1 problem"),
            n => write!(f, "{n} problems"),
        }
    }
}

impl std::error::Error for Report {}
