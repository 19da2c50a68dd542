//! Tables by component that cost what is written into them, not what there is: emptied and used again by each candidate.

use crate::ComponentIx;

/// A sparse table by component.
#[derive(Debug, Clone)]
pub(super) struct Board<T> {
    /// Of each component, its place in `cells` and one more; 0 for none. Zeroed pages that nobody writes to cost nothing.
    place: Vec<u32>,
    cells: Vec<(ComponentIx, T)>,
}

impl<T> Board<T> {
    /// An empty table for so many components.
    pub(super) fn new(components: usize) -> Self {
        Self {
            place: vec![0; components],
            cells: Vec::new(),
        }
    }

    pub(super) fn clear(&mut self) {
        for (ix, _) in self.cells.drain(..) {
            self.place[ix.index()] = 0;
        }
    }

    pub(super) fn get(&self, ix: &ComponentIx) -> Option<&T> {
        let place = self.place[ix.index()] as usize;
        Some(&self.cells[place.checked_sub(1)?].1)
    }

    pub(super) fn get_mut(&mut self, ix: ComponentIx) -> Option<&mut T> {
        let place = self.place[ix.index()] as usize;
        Some(&mut self.cells[place.checked_sub(1)?].1)
    }

    pub(super) fn contains_key(&self, ix: &ComponentIx) -> bool {
        self.place[ix.index()] != 0
    }

    pub(super) fn insert(&mut self, ix: ComponentIx, value: T) {
        if let Some(known) = self.get_mut(ix) {
            *known = value;
            return;
        }
        self.cells.push((ix, value));
        // No more cells than components, whose indices fit.
        self.place[ix.index()] = u32::try_from(self.cells.len()).unwrap_or(u32::MAX);
    }

    pub(super) fn len(&self) -> usize {
        self.cells.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// Everything in it, in the order of its first entry.
    pub(super) fn iter(&self) -> impl Iterator<Item = (ComponentIx, &T)> + Clone + '_ {
        self.cells.iter().map(|(ix, value)| (*ix, value))
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = ComponentIx> + Clone + '_ {
        self.cells.iter().map(|(ix, _)| *ix)
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &T> + Clone + '_ {
        self.cells.iter().map(|(_, value)| value)
    }
}

impl<T> std::ops::Index<&ComponentIx> for Board<T> {
    type Output = T;

    /// # Panics
    /// There is nothing for this component.
    fn index(&self, ix: &ComponentIx) -> &T {
        &self.cells[self.place[ix.index()] as usize - 1].1
    }
}
