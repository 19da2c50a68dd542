//! What readers see: an immutable picture of all components, cheap to make anew.
//!
//! Rows are in chunks; a new view shares every chunk in which nothing changed with the one before
//! it. So publishing costs what changed, and a reader holds its picture as long as it likes.

use std::collections::HashMap;
use std::sync::Arc;

use blackstart_graph::{Condition, Incident};

/// Rows in a chunk: small enough to copy for one change, large enough that a view of ten thousand
/// components is some hundred pointers.
const CHUNK_ROWS: usize = 64;

/// One component.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ComponentRow {
    pub(crate) id: Arc<str>,
    pub(crate) kind: &'static str,
    pub(crate) condition: Condition,
    pub(crate) reason: Box<str>,
    pub(crate) since_us: i64,
    pub(crate) class: Arc<str>,
    pub(crate) provenance: &'static str,
    pub(crate) container: Option<Box<str>>,
    pub(crate) progress: Option<f32>,
    /// The newest measured values by `check/name`, sorted.
    pub(crate) values: Box<[(Arc<str>, f64)]>,
    pub(crate) maintenance_until_us: Option<i64>,
    /// Destroyed: it has no condition and is not shown.
    pub(crate) is_gone: bool,
}

/// How many components have each condition.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) up: u32,
    pub(crate) degraded: u32,
    pub(crate) starting: u32,
    pub(crate) blocked: u32,
    pub(crate) down: u32,
    pub(crate) unreachable: u32,
    pub(crate) unknown: u32,
}

/// The picture at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct View {
    /// When it was made, microseconds since the Unix epoch.
    pub(crate) at_us: i64,
    pub(crate) counts: Counts,
    pub(crate) incident: Option<Arc<Incident>>,
    chunks: Vec<Arc<Vec<Arc<ComponentRow>>>>,
    index: Arc<Index>,
}

#[derive(Debug, Default)]
struct Index {
    by_id: HashMap<Arc<str>, usize>,
    /// Positions in the order of ids.
    sorted: Vec<usize>,
}

impl View {
    /// A component.
    pub(crate) fn get(&self, id: &str) -> Option<&ComponentRow> {
        let at = self.index.by_id.get(id)?;
        self.row(*at).filter(|row| !row.is_gone)
    }

    /// All components, sorted by id.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &ComponentRow> {
        let rows = self.index.sorted.iter().filter_map(|at| self.row(*at));
        rows.filter(|row| !row.is_gone)
    }

    fn row(&self, at: usize) -> Option<&ComponentRow> {
        let chunk = self.chunks.get(at / CHUNK_ROWS)?;
        chunk.get(at % CHUNK_ROWS).map(|row| &**row)
    }

    /// Replaces one row; its id stays the same.
    pub(crate) fn set(&mut self, at: usize, row: ComponentRow) {
        if let Some(chunk) = self.chunks.get_mut(at / CHUNK_ROWS)
            && let Some(slot) = Arc::make_mut(chunk).get_mut(at % CHUNK_ROWS)
        {
            *slot = Arc::new(row);
        }
    }

    /// Replaces all rows: there are other components now.
    pub(crate) fn set_all(&mut self, rows: impl IntoIterator<Item = ComponentRow>) {
        let rows: Vec<_> = rows.into_iter().map(Arc::new).collect();
        let mut sorted: Vec<_> = (0..rows.len()).collect();
        sorted.sort_unstable_by(|a, b| rows[*a].id.cmp(&rows[*b].id));
        let positions = rows.iter().enumerate();
        let by_id = positions.map(|(at, row)| (row.id.clone(), at)).collect();
        self.index = Arc::new(Index { by_id, sorted });
        self.chunks = rows
            .chunks(CHUNK_ROWS)
            .map(|chunk| Arc::new(chunk.to_vec()))
            .collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: &str, condition: Condition) -> ComponentRow {
        ComponentRow {
            id: id.into(),
            kind: "app",
            condition,
            reason: Box::default(),
            since_us: 0,
            class: "app".into(),
            provenance: "declared",
            container: None,
            progress: None,
            values: Box::default(),
            maintenance_until_us: None,
            is_gone: false,
        }
    }

    #[test]
    fn rows_come_sorted_and_are_found() {
        let mut view = View::default();
        view.set_all(["c", "a", "b"].map(|id| row(id, Condition::Up)));
        let ids: Vec<_> = view.rows().map(|row| &*row.id).collect();
        assert_eq!(ids, ["a", "b", "c"]);
        assert!(view.get("b").is_some() && view.get("d").is_none());
    }

    #[test]
    fn a_change_leaves_older_views_alone_and_shares_the_rest() {
        let mut view = View::default();
        view.set_all((0..1_000).map(|n| row(&format!("{n:04}"), Condition::Up)));
        let before = view.clone();
        view.set(500, row("0500", Condition::Down));
        assert_eq!(before.get("0500").unwrap().condition, Condition::Up);
        assert_eq!(view.get("0500").unwrap().condition, Condition::Down);
        let chunks = before.chunks.iter().zip(&view.chunks);
        assert_eq!(chunks.filter(|(a, b)| !Arc::ptr_eq(a, b)).count(), 1);
    }
}
