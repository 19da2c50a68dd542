//! The engine with what is needed to feed it from the journal's bytes and to make views of it.
//!
//! No clock and no channel in here: a restart drives it with the journal's entries, the thread
//! with what comes, a test with either.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use blackstart_graph::{
    ApplyError, Changes, ComponentIx, ComponentRef, Condition, Engine, Event, NeedReport, Sample,
    SlotId, Timestamp, Topology,
};

use super::answers::{NeedAnswer, TopologyAnswer, TopologyRow, WhyAnswer, WhyStep};
use crate::entry::{EntryError, EntryReader, ResultRecord};
use crate::series::SeriesTable;
use crate::view::{ComponentRow, Counts, View};

/// Why an entry was not applied, or not all of it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OwnerError {
    #[error(transparent)]
    Entry(#[from] EntryError),
    #[error("entry names the series {0}, which is not known")]
    Series(u32),
    #[error(transparent)]
    Apply(#[from] ApplyError),
}

/// The engine and its owner's books.
pub(crate) struct Owner {
    engine: Engine,
    series: Arc<SeriesTable>,
    /// By series: where the engine keeps it.
    places: Vec<Option<Place>>,
    /// By slot: the series that defined it last.
    defined_by: Vec<u32>,
    /// The last entry applied that is in the journal.
    applied: u64,
    /// The newest time that the engine was told.
    newest_us: i64,
    changed: Changed,
    /// What one call of the engine changed; emptied into `changed` at once.
    scratch: Changes,
    view: View,
    /// Components with results since their row was made: their values are not in the view yet.
    stale: ComponentSet,
    values: Vec<f64>,
    names: ValueNames,
}

/// The names of values as views show them, `check/name`: each stands in memory once, however many components have it.
#[derive(Debug, Default)]
struct ValueNames {
    known: HashSet<Arc<str>>,
    scratch: String,
}

impl ValueNames {
    fn of(&mut self, check: &str, name: &str) -> Arc<str> {
        self.scratch.clear();
        self.scratch.extend([check, "/", name]);
        if let Some(known) = self.known.get(self.scratch.as_str()) {
            return known.clone();
        }
        let new: Arc<str> = self.scratch.as_str().into();
        self.known.insert(new.clone());
        new
    }
}

#[derive(Debug, Clone, Copy)]
struct Place {
    slot: SlotId,
    component: ComponentIx,
}

/// What the view does not show yet.
#[derive(Debug, Default)]
struct Changed {
    components: ComponentSet,
    incident: bool,
    diagnosis: bool,
    topology: bool,
}

impl Changed {
    fn take_in(&mut self, changes: &mut Changes) {
        self.diagnosis |= std::mem::take(&mut changes.diagnosis);
        for component in changes.components.drain(..) {
            self.components.add(component);
        }
        self.incident |= std::mem::take(&mut changes.incident);
        self.topology |= std::mem::take(&mut changes.topology);
    }
}

/// A set of components that costs the same however large it is.
#[derive(Debug, Default)]
struct ComponentSet {
    is_listed: Vec<bool>,
    list: Vec<ComponentIx>,
}

impl ComponentSet {
    fn add(&mut self, component: ComponentIx) {
        let at = component.index();
        if at >= self.is_listed.len() {
            self.is_listed.resize(at + 1, false);
        }
        if !std::mem::replace(&mut self.is_listed[at], true) {
            self.list.push(component);
        }
    }

    fn take(&mut self) -> Vec<ComponentIx> {
        for component in &self.list {
            self.is_listed[component.index()] = false;
        }
        std::mem::take(&mut self.list)
    }
}

impl Owner {
    /// The owner of an engine whose state holds everything up to the entry `applied`.
    pub(crate) fn new(engine: Engine, series: Arc<SeriesTable>, applied: u64) -> Self {
        Self {
            newest_us: engine.now().as_micros(),
            engine,
            series,
            places: Vec::new(),
            defined_by: Vec::new(),
            applied,
            changed: Changed {
                topology: true,
                ..Changed::default()
            },
            scratch: Changes::default(),
            view: View::default(),
            stale: ComponentSet::default(),
            values: Vec::new(),
            names: ValueNames::default(),
        }
    }

    /// Applies an entry. On an error everything before the broken result has been applied.
    pub(crate) fn apply(&mut self, index: u64, at_us: i64, bytes: &[u8]) -> Result<(), OwnerError> {
        self.applied = self.applied.max(index);
        self.newest_us = self.newest_us.max(at_us);
        match EntryReader::new(bytes)? {
            EntryReader::Results(_, mut results) => {
                let at = Timestamp::from_micros(self.newest_us);
                let mut values = std::mem::take(&mut self.values);
                let outcome = loop {
                    match results.next(&mut values) {
                        Ok(Some(result)) => {
                            if let Err(error) = self.observe(at, &result, &values) {
                                break Err(error);
                            }
                        }
                        Ok(None) => break Ok(()),
                        Err(error) => break Err(error.into()),
                    }
                };
                self.values = values;
                self.changed.take_in(&mut self.scratch);
                outcome
            }
            EntryReader::Event(json) => {
                let mut event: Event =
                    serde_json::from_slice(json).map_err(|_| EntryError::Event)?;
                event.at = event.at.max(Timestamp::from_micros(self.newest_us));
                let outcome = self.engine.apply(&event, &mut self.scratch);
                self.changed.take_in(&mut self.scratch);
                outcome.map_err(OwnerError::from)
            }
        }
    }

    fn observe(
        &mut self,
        at: Timestamp,
        result: &ResultRecord<'_>,
        values: &[f64],
    ) -> Result<(), OwnerError> {
        let known = self.places.get(result.series as usize).copied().flatten();
        let place = match known {
            Some(place) => place,
            None => self.find_place(at, result.series)?,
        };
        if self.defined_by.get(place.slot.0 as usize) != Some(&result.series) {
            self.define(place.slot, result.series)?;
        }
        let sample = Sample {
            sampled_at: Timestamp::from_micros(result.sampled_us),
            status: result.status,
            progress: result.progress,
            detail: result.detail,
            values,
        };
        self.engine
            .observe(at, place.slot, &sample, &mut self.scratch);
        self.stale.add(place.component);
        Ok(())
    }

    /// Asks the engine once where it keeps a series. What joins with it joins at that moment.
    fn find_place(&mut self, at: Timestamp, id: u32) -> Result<Place, OwnerError> {
        self.scratch.absorb(self.engine.advance(at));
        let series = self.series.get(id).ok_or(OwnerError::Series(id))?;
        let slot = self
            .engine
            .slot(&series.component, &series.check, &series.vantage)?;
        let component = self
            .engine
            .find(&series.component)
            .map_or(ComponentIx(0), |component| component.ix());
        let place = Place { slot, component };
        let at = id as usize;
        if at >= self.places.len() {
            self.places.resize(at + 1, None);
        }
        self.places[at] = Some(place);
        Ok(place)
    }

    fn define(&mut self, slot: SlotId, id: u32) -> Result<(), OwnerError> {
        let series = self.series.get(id).ok_or(OwnerError::Series(id))?;
        let ttl = Duration::from_millis(u64::from(series.ttl_ms));
        self.engine.define(slot, ttl, &series.value_names);
        let at = slot.0 as usize;
        if at >= self.defined_by.len() {
            self.defined_by.resize(at + 1, u32::MAX);
        }
        self.defined_by[at] = id;
        Ok(())
    }

    /// Lets time go on.
    pub(crate) fn advance(&mut self, at_us: i64) {
        self.newest_us = self.newest_us.max(at_us);
        let mut changes = self.engine.advance(Timestamp::from_micros(self.newest_us));
        self.changed.take_in(&mut changes);
    }

    /// The newest time that it was told.
    pub(crate) const fn newest_us(&self) -> i64 {
        self.newest_us
    }

    /// The next moment at which time alone may change something.
    pub(crate) fn next_deadline_us(&self) -> Option<i64> {
        self.engine.next_deadline().map(Timestamp::as_micros)
    }

    /// Puts another topology in force.
    pub(crate) fn replace_topology(&mut self, topology: Topology, at_us: i64) {
        self.newest_us = self.newest_us.max(at_us);
        let at = Timestamp::from_micros(self.newest_us);
        let mut changes = self.engine.replace_topology(topology, at);
        self.changed.take_in(&mut changes);
        // Every index may mean another component now.
        self.places.clear();
        self.defined_by.clear();
        self.stale = ComponentSet::default();
    }

    /// Whether there is something that the last view does not show.
    pub(crate) fn has_changed(&self) -> bool {
        let changed = &self.changed;
        changed.topology
            || changed.incident
            || changed.diagnosis
            || !changed.components.list.is_empty()
    }

    /// The state as bytes, and the last entry in it.
    pub(crate) fn save(&self) -> (u64, Vec<u8>) {
        (self.applied, self.engine.save())
    }

    /// The state as events, for a capture that begins now.
    pub(crate) fn as_events(&self) -> Vec<Event> {
        self.engine.as_events()
    }

    /// The view of now; rows that did not change are shared with the one before.
    pub(crate) fn view(&mut self, with_values: bool) -> Arc<View> {
        let components = self.changed.components.take();
        let incident = std::mem::take(&mut self.changed.incident);
        let diagnosis = std::mem::take(&mut self.changed.diagnosis);
        let topology = std::mem::take(&mut self.changed.topology);
        if topology {
            let rows = self
                .engine
                .components()
                .map(|component| row(component, &mut self.names));
            self.view.set_all(rows);
            self.stale = ComponentSet::default();
        } else {
            let stale = if with_values {
                self.stale.take()
            } else {
                Vec::new()
            };
            let shown = self.view.len();
            for ix in components.into_iter().chain(stale) {
                if ix.index() < shown
                    && let Some(component) = self.engine.component(ix)
                {
                    self.view.set(ix.index(), row(component, &mut self.names));
                }
            }
            // Those that joined come behind all others.
            while let Some(component) = self.engine.component(ComponentIx(self.view.next())) {
                self.view.push(row(component, &mut self.names));
            }
        }
        if incident || topology {
            self.view.incident = self.engine.incident().cloned().map(Arc::new);
        }
        if diagnosis || topology {
            self.view.diagnosis = self.engine.held_diagnosis().cloned();
        }
        self.view.counts = counts(&self.engine);
        self.view.at_us = self.newest_us;
        Arc::new(self.view.clone())
    }

    /// Why a component has its condition.
    pub(crate) fn why(&mut self, component: &str) -> Option<WhyAnswer> {
        let explanation = self.engine.why(component)?;
        let mut names = std::mem::take(&mut self.names);
        let steps = explanation.steps.into_iter().filter_map(|step| {
            Some(WhyStep {
                depth: step.depth,
                component: row(self.engine.component(step.component)?, &mut names),
                rule: step.rule,
                evidence: step.evidence,
                needs: self.needs(step.needs),
            })
        });
        let answer = WhyAnswer {
            steps: steps.collect(),
        };
        self.names = names;
        Some(answer)
    }

    /// The topology in force.
    pub(crate) fn topology(&self) -> TopologyAnswer {
        let entries = self.engine.topology().into_iter();
        let components = entries.filter_map(|entry| {
            let component = self.engine.component(entry.component)?;
            Some(TopologyRow {
                id: component.id().to_owned(),
                kind: component.kind().as_str(),
                container: component.container().map(str::to_owned),
                provenance: component.provenance().as_str(),
                needs: self.needs(entry.needs),
            })
        });
        TopologyAnswer {
            components: components.collect(),
        }
    }

    fn needs(&self, needs: Vec<NeedReport>) -> Vec<NeedAnswer> {
        let id = |ix: ComponentIx| Some(self.engine.component(ix)?.id().to_owned());
        needs
            .into_iter()
            .map(|need| NeedAnswer {
                need: need.need,
                relation: need.relation.as_str(),
                state: need.state.as_str(),
                components: need.components.into_iter().filter_map(id).collect(),
            })
            .collect()
    }
}

fn counts(engine: &Engine) -> Counts {
    let counts = engine.counts();
    Counts {
        up: counts.of(Condition::Up),
        degraded: counts.of(Condition::Degraded),
        starting: counts.of(Condition::Starting),
        blocked: counts.of(Condition::Blocked),
        down: counts.of(Condition::Down),
        unreachable: counts.of(Condition::Unreachable),
        unknown: counts.of(Condition::Unknown),
    }
}

fn row(component: ComponentRef<'_>, names: &mut ValueNames) -> ComponentRow {
    let mut values: Box<[_]> = component
        .values()
        .map(|(check, name, value)| (names.of(check, name), value))
        .collect();
    values.sort_by(|a, b| a.0.cmp(&b.0));
    let declared = component.declared();
    ComponentRow {
        id: declared.id.clone(),
        kind: component.kind().as_str(),
        condition: component.condition(),
        reason: component.reason().into(),
        since_us: component.since().as_micros(),
        class: declared.class.clone(),
        provenance: component.provenance().as_str(),
        container: component.container().map(Into::into),
        progress: component.progress(),
        values,
        maintenance_until_us: component.maintenance_until().map(Timestamp::as_micros),
        is_gone: component.is_gone(),
    }
}

#[cfg(test)]
mod tests;
