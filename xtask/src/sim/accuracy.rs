//! Writes the tables of docs/accuracy.md, from seeds that nothing was tuned on.

use std::fs;

use super::build::Size;
use super::noise::{CELLS, Cell};
use super::{measure, print, table};
use crate::steps::StepError;

const PAGE: &str = "docs/accuracy.md";
const BEGIN: &str = "<!-- measured: cargo run --release -p xtask -- sim accuracy -->";
const END: &str = "<!-- end of what is measured -->";
/// The first seed of the report.
const FIRST: u64 = 10_000;
/// Cases of each cell: as many as some minutes on two cores allow.
const SMALL_CASES: u64 = 12;
const LARGE_CASES: u64 = 2;
/// The cells that are measured on the larger estate too.
const LARGE_CELLS: [&str; 4] = ["clean", "loss-2", "loss-20", "everything"];

/// Measures and writes.
pub(super) fn write() -> Result<(), StepError> {
    let large: Vec<Cell> = CELLS
        .into_iter()
        .filter(|cell| LARGE_CELLS.contains(&cell.name))
        .collect();
    let small = measure(Size::Xs, &(FIRST..FIRST + SMALL_CASES), &CELLS, false)?;
    let large = measure(Size::S, &(FIRST..FIRST + LARGE_CASES), &large, false)?;
    let text = format!(
        "### XS: 30 hosts, 200 components, seeds {FIRST} to {}\n\n{}\n{}\n{}\n### S: 190 hosts, 5,000 components, seeds {FIRST} to {}\n\n{}\n{}",
        FIRST + SMALL_CASES - 1,
        table::answers(&small).markdown(),
        table::beside(&small).markdown(),
        table::sorts(&small).markdown(),
        FIRST + LARGE_CASES - 1,
        table::answers(&large).markdown(),
        table::beside(&large).markdown(),
    );
    let file = crate::root().join(PAGE);
    let fails = |source| StepError::Start {
        command: format!("write {PAGE}"),
        source,
    };
    let page = fs::read_to_string(&file).map_err(fails)?;
    let page = between(&page, &text).ok_or_else(|| {
        StepError::Rule(format!("{PAGE} lacks the line {BEGIN} or, after it, {END}"))
    })?;
    fs::write(&file, page).map_err(fails)?;
    print(&text);
    Ok(())
}

/// The page with other tables.
fn between(page: &str, text: &str) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n\n{text}\n{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_the_place_for_the_tables() {
        let page = fs::read_to_string(crate::root().join(PAGE)).unwrap();
        let written = between(&page, "new").unwrap();
        assert!(written.contains(&format!("{BEGIN}\n\nnew\n{END}")));
        assert_eq!(between(&written, "new").unwrap(), written);
    }
}
