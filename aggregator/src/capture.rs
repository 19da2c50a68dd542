//! What happened, as the lines of a capture (`events.jsonl`): one event as JSON each, in the order in which the engine took them.
//!
//! Not here: where the entries come from (the journal: [`journal`]; a running engine: [`live`]).

pub(crate) mod journal;
pub(crate) mod live;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use blackstart_graph::{Event, EventKind, Timestamp};

use crate::entry::{EntryReader, ResultRecord};
use crate::series::SeriesTable;

/// What a detail belongs to: component, check, vantage.
type Target = (Box<str>, Box<str>, Box<str>);

/// Turns entries into events, in their order.
pub(crate) struct Events {
    series: Arc<SeriesTable>,
    /// The last detail of each series: entries leave out what did not change.
    details: HashMap<u32, String>,
    /// Those that were told before the first entry.
    before: HashMap<Target, String>,
    /// The moment of the last event; none is before it.
    last: Timestamp,
}

impl Events {
    pub(crate) fn new(series: Arc<SeriesTable>) -> Self {
        Self {
            series,
            details: HashMap::new(),
            before: HashMap::new(),
            last: Timestamp::from_micros(i64::MIN),
        }
    }

    /// Begins with a state that was told as events.
    pub(crate) fn after(&mut self, state: &[Event]) {
        for event in state {
            self.last = self.last.max(event.at);
            if let EventKind::Observation {
                agent,
                component: Some(component),
                check,
                detail,
                ..
            } = &event.kind
            {
                let target = (
                    component.as_str().into(),
                    check.as_str().into(),
                    agent.as_str().into(),
                );
                self.before.insert(target, detail.clone());
            }
        }
    }

    /// The moment of the last event.
    pub(crate) const fn last(&self) -> Timestamp {
        self.last
    }

    /// The events of an entry. What is broken in it is left out, as the engine leaves it out.
    pub(crate) fn of(&mut self, at_us: i64, bytes: &[u8]) -> impl Iterator<Item = Event> + use<> {
        self.each(at_us, bytes).into_iter().flatten()
    }

    /// The same, with the place of each result kept.
    pub(crate) fn each(&mut self, at_us: i64, bytes: &[u8]) -> Vec<Option<Event>> {
        self.last = self.last.max(Timestamp::from_micros(at_us));
        match EntryReader::new(bytes) {
            Ok(EntryReader::Event(json)) => {
                let event = serde_json::from_slice::<Event>(json).ok();
                let event = event.map(|event| {
                    self.last = self.last.max(event.at);
                    Event {
                        at: self.last,
                        ..event
                    }
                });
                vec![event]
            }
            Ok(EntryReader::Results(_, mut results)) => {
                let mut values = Vec::new();
                let mut events = Vec::new();
                while let Ok(Some(result)) = results.next(&mut values) {
                    events.push(self.result(&result, &values));
                }
                events
            }
            Err(_) => Vec::new(),
        }
    }

    fn result(&mut self, result: &ResultRecord<'_>, values: &[f64]) -> Option<Event> {
        let series = self.series.get(result.series)?;
        if let Some(detail) = result.detail {
            self.details.insert(result.series, detail.to_owned());
        }
        let known = self.details.get(&result.series);
        let detail = known.cloned().or_else(|| {
            let target = (
                series.component.clone(),
                Box::from(&*series.check),
                Box::from(&*series.vantage),
            );
            self.before.get(&target).cloned()
        });
        let measured = series.value_names.iter().cloned();
        let measured = measured.zip(values.iter().copied());
        Some(Event {
            at: self.last,
            kind: EventKind::Observation {
                agent: series.vantage.to_string(),
                component: Some(series.component.to_string()),
                check: series.check.to_string(),
                status: result.status,
                progress: result.progress,
                detail: detail.unwrap_or_default(),
                values: measured
                    .filter(|(_, value)| value.is_finite())
                    .collect::<BTreeMap<_, _>>(),
                sampled_at: Some(Timestamp::from_micros(result.sampled_us)),
                ttl_s: Some(f64::from(series.ttl_ms) / 1_000.0),
            },
        })
    }
}

/// An event as a line.
pub(crate) fn line(event: &Event) -> String {
    // An event is plain data with text keys: it always serializes.
    let mut line = serde_json::to_string(event).unwrap_or_default();
    line.push('\n');
    line
}

/// Time goes on.
pub(crate) fn tick(at: Timestamp) -> Event {
    Event {
        at,
        kind: EventKind::Tick,
    }
}
