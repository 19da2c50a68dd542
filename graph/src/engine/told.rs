//! What people and providers said: changes that may be a cause, and what a provider says of itself.

use serde::{Deserialize, Serialize};

use super::Engine;
use crate::{ComponentIx, Timestamp};

/// The most changes that are remembered; beyond, the oldest is forgotten.
const ACTIONS_MAX: usize = 1_000;

/// A change that somebody made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Action {
    pub(super) at: Timestamp,
    /// Ids of what it touched.
    pub(super) affects: Vec<String>,
}

/// What a provider says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ProviderWord {
    pub(super) indicator: String,
}

impl Engine {
    /// Remembers a change that has an id. Each of `affects` is an id or a range.
    pub(super) fn remember_action(&mut self, at: Timestamp, id: &str, affects: &[String]) {
        let mut touched = Vec::new();
        for entry in affects {
            match crate::topology::expand(entry) {
                Some(ids) => touched.extend(ids),
                None => touched.push(entry.clone()),
            }
        }
        touched.sort();
        touched.dedup();
        let action = Action {
            at,
            affects: touched,
        };
        self.actions.insert(id.to_owned(), action);
        while self.actions.len() > ACTIONS_MAX {
            let oldest = self
                .actions
                .iter()
                .min_by_key(|(id, action)| (action.at, (*id).clone()));
            let Some(oldest) = oldest.map(|(id, _)| id.clone()) else {
                return;
            };
            self.actions.remove(&oldest);
        }
    }

    pub(super) fn remember_provider(&mut self, ix: ComponentIx, indicator: &str) {
        let indicator = indicator.to_owned();
        self.provider.insert(ix, ProviderWord { indicator });
    }
}
