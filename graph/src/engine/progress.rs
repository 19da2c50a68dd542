//! How much of what ran before works again: the plain count behind every percentage.

use std::collections::BTreeMap;

use super::Engine;
use crate::{Condition, Kind};

/// How far one class is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClassProgress {
    /// How many work, of those that worked before.
    pub done: u64,
    /// How many worked before.
    pub total: u64,
    /// How many of them are on their way up.
    pub starting: u64,
    /// How many of them wait for something that they need.
    pub blocked: u64,
}

impl Engine {
    /// How far each class is, against what worked in the last stable time. Groups and what is destroyed are not counted.
    #[must_use]
    pub fn progress(&self) -> BTreeMap<String, ClassProgress> {
        let mut classes: BTreeMap<String, ClassProgress> = BTreeMap::new();
        for node in &self.model.nodes {
            if !node.ran || node.gone || node.component.kind == Kind::Group {
                continue;
            }
            let class = match classes.get_mut(&*node.component.class) {
                Some(class) => class,
                None => classes.entry(node.component.class.to_string()).or_default(),
            };
            class.total += 1;
            class.done += u64::from(node.condition.is_there());
            class.starting += u64::from(node.condition == Condition::Starting);
            class.blocked += u64::from(node.condition == Condition::Blocked);
        }
        classes
    }
}
