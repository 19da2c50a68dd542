//! What readers see: an immutable picture of all components, cheap to make anew.
//!
//! Rows are in chunks; a new view shares every chunk in which nothing changed with the one before
//! it. So publishing costs what changed, and a reader holds its picture as long as it likes.

use std::sync::Arc;

use blackstart_graph::{Condition, Diagnosis, Incident};

/// Rows in a chunk: small enough to copy for one change, large enough that a view of ten thousand
/// components is some hundred pointers.
const CHUNK_ROWS: usize = 64;

/// Rows that were added are merged into the order of all when they are more than this…
const RECENT_MIN: usize = 512;

/// …and more than one in so many of the others: merging then costs each of them a constant.
const RECENT_SHARE: usize = 8;

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
    /// What the engine concluded last; none while nothing has a symptom.
    pub(crate) diagnosis: Option<Arc<Diagnosis>>,
    chunks: Vec<Arc<Vec<Arc<ComponentRow>>>>,
    /// Positions in the order of ids, of all rows but those in `recent`.
    sorted: Arc<Vec<u32>>,
    /// The same of rows that were added lately: few, so that adding one costs little.
    recent: Arc<Vec<u32>>,
}

impl View {
    /// A component.
    pub(crate) fn get(&self, id: &str) -> Option<&ComponentRow> {
        let found = |list: &[u32]| {
            let at = list.binary_search_by(|at| self.id_at(*at).cmp(id)).ok()?;
            self.row(list[at] as usize)
        };
        found(&self.sorted)
            .or_else(|| found(&self.recent))
            .filter(|row| !row.is_gone)
    }

    /// All components, sorted by id.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &ComponentRow> {
        let (mut old, mut new) = (self.sorted.iter().peekable(), self.recent.iter().peekable());
        let positions = std::iter::from_fn(move || match (old.peek(), new.peek()) {
            (Some(a), Some(b)) if self.id_at(**b) < self.id_at(**a) => new.next(),
            (None, _) => new.next(),
            _ => old.next(),
        });
        let rows = positions.filter_map(|at| self.row(*at as usize));
        rows.filter(|row| !row.is_gone)
    }

    /// How many rows there are, those of destroyed components too.
    pub(crate) fn len(&self) -> usize {
        self.sorted.len() + self.recent.len()
    }

    /// The position of the next row that is added.
    pub(crate) fn next(&self) -> u32 {
        position(self.len())
    }

    fn row(&self, at: usize) -> Option<&ComponentRow> {
        let chunk = self.chunks.get(at / CHUNK_ROWS)?;
        chunk.get(at % CHUNK_ROWS).map(|row| &**row)
    }

    fn id_at(&self, at: u32) -> &str {
        self.row(at as usize).map_or("", |row| &row.id)
    }

    /// Replaces one row, whose id stays the same.
    pub(crate) fn set(&mut self, at: usize, row: ComponentRow) {
        if let Some(chunk) = self.chunks.get_mut(at / CHUNK_ROWS)
            && let Some(slot) = Arc::make_mut(chunk).get_mut(at % CHUNK_ROWS)
        {
            *slot = Arc::new(row);
        }
    }

    /// Adds a row behind all others.
    pub(crate) fn push(&mut self, row: ComponentRow) {
        let at = position(self.len());
        let place = self
            .recent
            .partition_point(|other| *self.id_at(*other) < *row.id);
        match self.chunks.last_mut() {
            Some(last) if last.len() < CHUNK_ROWS => Arc::make_mut(last).push(Arc::new(row)),
            _ => self.chunks.push(Arc::new(vec![Arc::new(row)])),
        }
        Arc::make_mut(&mut self.recent).insert(place, at);
        if self.recent.len() > RECENT_MIN.max(self.sorted.len() / RECENT_SHARE) {
            let mut all: Vec<u32> = self.sorted.iter().chain(&*self.recent).copied().collect();
            // Two runs that are sorted already are merged.
            all.sort_by(|a, b| self.id_at(*a).cmp(self.id_at(*b)));
            self.sorted = Arc::new(all);
            self.recent = Arc::default();
        }
    }

    /// Replaces all rows: there are other components now.
    pub(crate) fn set_all(&mut self, rows: impl IntoIterator<Item = ComponentRow>) {
        let rows: Vec<_> = rows.into_iter().map(Arc::new).collect();
        let mut sorted: Vec<u32> = (0..rows.len()).map(position).collect();
        sorted.sort_unstable_by(|a, b| rows[*a as usize].id.cmp(&rows[*b as usize].id));
        self.sorted = Arc::new(sorted);
        self.recent = Arc::default();
        self.chunks = rows
            .chunks(CHUNK_ROWS)
            .map(|chunk| Arc::new(chunk.to_vec()))
            .collect();
    }
}

/// A row's position; the engine has fewer components than that.
fn position(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
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
    fn rows_that_join_are_found_among_the_others_however_many_they_are() {
        let mut view = View::default();
        view.set_all(["m", "c"].map(|id| row(id, Condition::Up)));
        for n in 0..3 * RECENT_MIN {
            // In no order: 7 and the modulus have no common divisor.
            let id = format!("{:05}", n * 7 % (3 * RECENT_MIN));
            view.push(row(&id, Condition::Up));
            assert_eq!(&*view.get(&id).unwrap().id, id);
        }
        let ids: Vec<_> = view.rows().map(|row| row.id.clone()).collect();
        assert!(ids.is_sorted());
        assert_eq!(
            (ids.len(), view.len()),
            (3 * RECENT_MIN + 2, 3 * RECENT_MIN + 2)
        );
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
