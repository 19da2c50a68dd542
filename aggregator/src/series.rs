//! What results are about, once and for all: a small number for each distinct target definition.
//!
//! Entries of the journal name a [`Series`] by its id, so no result carries a string. A definition
//! that changes (another time to live, other values) is another series; a row never changes. New
//! rows go to the disk in the same transaction as the first entry that names them, or before it.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// The most series of one vantage. Ten thousand targets with four definitions each; without a
/// bound, an agent that invents names would fill memory and disk.
const SERIES_PER_VANTAGE_MAX: u32 = 40_000;

/// What one target of one agent reports.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Series {
    /// The component that is asked.
    pub(crate) component: Box<str>,
    /// The check.
    pub(crate) check: Arc<str>,
    /// The host of the agent that asks.
    pub(crate) vantage: Arc<str>,
    /// How long a result holds, in milliseconds.
    pub(crate) ttl_ms: u32,
    /// The names of the values, in their order.
    pub(crate) value_names: Arc<[String]>,
}

/// A vantage has defined too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "more than {SERIES_PER_VANTAGE_MAX} different targets were defined by this host since the journal began"
)]
pub(crate) struct TooManySeries;

/// All series, by id.
#[derive(Debug, Default)]
pub(crate) struct SeriesTable {
    inner: RwLock<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    by_id: Vec<Arc<Series>>,
    ids: HashMap<Arc<Series>, u32>,
    per_vantage: HashMap<Arc<str>, u32>,
    /// Each check, vantage and list of names once: a fleet has many series and few of these.
    words: HashSet<Arc<str>>,
    lists: HashSet<Arc<[String]>>,
    stored: usize,
}

impl SeriesTable {
    /// The series that the journal holds, in the order of their ids.
    pub(crate) fn stored(rows: Vec<Series>) -> Self {
        let table = Self::default();
        {
            let mut inner = table.write();
            for series in rows {
                inner.push(series);
            }
            inner.stored = inner.by_id.len();
        }
        table
    }

    /// The id of a series, a new one if need be.
    pub(crate) fn intern(&self, series: Series) -> Result<u32, TooManySeries> {
        if let Some(id) = self.read().ids.get(&series) {
            return Ok(*id);
        }
        let mut inner = self.write();
        if let Some(id) = inner.ids.get(&series) {
            return Ok(*id);
        }
        let count = inner.per_vantage.get(&series.vantage).copied();
        if count.unwrap_or(0) >= SERIES_PER_VANTAGE_MAX {
            return Err(TooManySeries);
        }
        Ok(inner.push(series))
    }

    /// The series with this id.
    pub(crate) fn get(&self, id: u32) -> Option<Arc<Series>> {
        self.read().by_id.get(id as usize).cloned()
    }

    /// Whether two series are the same check of the same component, seen from the same vantage.
    pub(crate) fn are_of_one_target(&self, a: u32, b: u32) -> bool {
        let inner = self.read();
        match (inner.by_id.get(a as usize), inner.by_id.get(b as usize)) {
            (Some(a), Some(b)) => {
                a.component == b.component && a.check == b.check && a.vantage == b.vantage
            }
            _ => false,
        }
    }

    /// The series that are not on the disk yet, with the id of the first.
    pub(crate) fn unstored(&self) -> (usize, Vec<Arc<Series>>) {
        let inner = self.read();
        (inner.stored, inner.by_id[inner.stored..].to_vec())
    }

    /// Notes that the series before this id are on the disk.
    pub(crate) fn mark_stored(&self, end: usize) {
        self.write().stored = end;
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn push(&mut self, mut series: Series) -> u32 {
        series.check = shared(&mut self.words, series.check);
        series.vantage = shared(&mut self.words, series.vantage);
        series.value_names = shared(&mut self.lists, series.value_names);
        let series = Arc::new(series);
        // At most SERIES_PER_VANTAGE_MAX of each vantage: four billion need 100,000 full ones.
        let id = u32::try_from(self.by_id.len()).unwrap_or(u32::MAX);
        *self.per_vantage.entry(series.vantage.clone()).or_default() += 1;
        self.ids.insert(series.clone(), id);
        self.by_id.push(series);
        id
    }
}

/// The one of these that is equal to `new`, which becomes one of them if there is none.
fn shared<T: Eq + Hash + Clone>(known: &mut HashSet<T>, new: T) -> T {
    if let Some(known) = known.get(&new) {
        return known.clone();
    }
    known.insert(new.clone());
    new
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(component: &str, ttl_ms: u32) -> Series {
        Series {
            component: component.into(),
            check: "tcp.connect".into(),
            vantage: "web-1".into(),
            ttl_ms,
            value_names: Arc::new(["rtt_ms".to_owned()]),
        }
    }

    #[test]
    fn the_same_definition_has_the_same_id() {
        let table = SeriesTable::default();
        assert_eq!(table.intern(series("a", 1)), Ok(0));
        assert_eq!(table.intern(series("b", 1)), Ok(1));
        assert_eq!(table.intern(series("a", 1)), Ok(0));
        assert_eq!(table.intern(series("a", 2)), Ok(2));
    }

    #[test]
    fn only_what_is_new_is_to_be_stored() {
        let table = SeriesTable::stored(vec![series("a", 1)]);
        assert_eq!(table.intern(series("a", 1)), Ok(0));
        assert_eq!(table.unstored().1.len(), 0);
        assert_eq!(table.intern(series("b", 1)), Ok(1));
        let (first, rows) = table.unstored();
        assert_eq!((first, rows.len()), (1, 1));
        table.mark_stored(2);
        assert_eq!(table.unstored().1.len(), 0);
    }

    #[test]
    fn an_agent_that_invents_names_is_stopped() {
        let table = SeriesTable::default();
        for ttl_ms in 0..SERIES_PER_VANTAGE_MAX {
            table.intern(series("a", ttl_ms)).unwrap();
        }
        assert_eq!(table.intern(series("b", 1)), Err(TooManySeries));
        assert_eq!(table.intern(series("a", 7)), Ok(7));
    }
}
