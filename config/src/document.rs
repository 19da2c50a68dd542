//! From the text of a file to its value or its report.

use std::cell::RefCell;
use std::path::Path;

use toml::de::DeTable;

use crate::problem::{Problem, Report};
use crate::section::Section;

/// What all sections of one file share while it is read.
pub(crate) struct Context<'a> {
    pub(crate) folder: &'a Path,
    text: &'a str,
    line_starts: Vec<usize>,
    problems: RefCell<Vec<Problem>>,
}

impl Context<'_> {
    /// The line that this byte is on, counted from 1.
    pub(crate) fn line(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= offset)
    }

    /// The text as it stands in the file, cut to a readable length.
    pub(crate) fn excerpt(&self, span: std::ops::Range<usize>) -> String {
        const SHOWN: usize = 60;
        let text = self.text.get(span).unwrap_or_default();
        let first_line = text.lines().next().unwrap_or_default();
        if first_line.len() == text.len() && first_line.chars().count() <= SHOWN {
            first_line.to_owned()
        } else {
            first_line.chars().take(SHOWN).chain("…".chars()).collect()
        }
    }

    pub(crate) fn note(&self, problem: Problem) {
        self.problems.borrow_mut().push(Problem {
            line: problem.line,
            found: without_controls(problem.found),
            expected: without_controls(problem.expected),
            help: without_controls(problem.help),
        });
    }
}

/// Control characters written as escapes: what stands in a file must not drive the terminal that shows its problems.
fn without_controls(text: String) -> String {
    if !text.chars().any(char::is_control) {
        return text;
    }
    let mut clean = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            clean.extend(c.escape_debug());
        } else {
            clean.push(c);
        }
    }
    clean
}

/// Reads a file's text: `build` asks the root section for what it knows and returns the value,
/// or `None` after a problem was noted. Relative paths in it are relative to the folder of `file`.
///
/// # Errors
/// Every problem of the file, in the order of its lines.
pub fn read<T>(
    file: &Path,
    text: &str,
    build: impl FnOnce(&mut Section<'_>) -> Option<T>,
) -> Result<T, Report> {
    let context = Context {
        folder: file.parent().unwrap_or(Path::new("")),
        text,
        line_starts: std::iter::once(0)
            .chain(text.match_indices('\n').map(|(at, _)| at + 1))
            .collect(),
        problems: RefCell::default(),
    };
    let (table, syntax_errors) = DeTable::parse_recoverable(text);
    for error in &syntax_errors {
        let offset = error.span().map_or(0, |span| span.start);
        context.note(Problem {
            line: context.line(offset),
            found: String::new(),
            expected: format!("not TOML: {}", error.message().replace('\n', ", ")),
            help: String::new(),
        });
    }
    // What was recovered behind a syntax error would only add problems that are not there.
    let value = if syntax_errors.is_empty() {
        let mut root = Section::root(table.get_ref(), &context);
        let value = build(&mut root);
        root.finish();
        value
    } else {
        None
    };
    let mut problems = context.problems.into_inner();
    problems.sort_by_key(|problem| problem.line);
    problems.dedup();
    match value {
        Some(value) if problems.is_empty() => Ok(value),
        _ => Err(Report {
            file: file.display().to_string(),
            problems,
        }),
    }
}
