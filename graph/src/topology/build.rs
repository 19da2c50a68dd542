//! From drafts to a sound topology: references found, ranges expanded, containment without cycles.

use std::collections::BTreeMap;
use std::sync::Arc;

use blackstart_config::{Section, nearest};

use super::parse::{Draft, Wanted};
use super::range::expand;
use super::{Component, ComponentIx, Need, Provenance, Requirement, Topology};

/// The most unknown references that are looked up for a nearest id: each look goes over all ids.
const SUGGESTIONS_MAX: usize = 20;

pub(super) fn build(mut drafts: Vec<Draft>, root: &mut Section<'_>) -> Option<Topology> {
    drafts.sort_by(|a, b| a.id.cmp(&b.id).then(a.line.cmp(&b.line)));
    for pair in drafts.windows(2) {
        if pair[0].id == pair[1].id {
            let found = format!("component \"{}\"", pair[1].id);
            root.problem_at(
                pair[1].line,
                &found,
                &format!("is declared on line {} already", pair[0].line),
                "",
            );
        }
    }
    drafts.dedup_by(|later, first| later.id == first.id);
    let mut names = Names {
        ids: drafts.iter().map(|draft| draft.id.clone()).collect(),
        classes: BTreeMap::new(),
        suggestions_left: SUGGESTIONS_MAX,
    };
    let mut components = Vec::with_capacity(drafts.len());
    let lines: Vec<usize> = drafts.iter().map(|draft| draft.container_line).collect();
    for draft in drafts {
        components.push(names.component(draft, root));
    }
    containment_cycles(&components, &lines, root);
    Some(Topology { components })
}

struct Names {
    ids: Vec<String>,
    classes: BTreeMap<String, Arc<str>>,
    suggestions_left: usize,
}

impl Names {
    fn component(&mut self, draft: Draft, root: &mut Section<'_>) -> Component {
        let place = |key: &str| format!("component \"{}\" {key}", draft.id);
        let container = draft.container.as_ref().and_then(|id| {
            let found = self.find(id);
            if found.is_none() {
                let found = format!("{} = \"{id}\"", place("in"));
                self.unknown(draft.container_line, &found, id, root);
            }
            found
        });
        let mut requirements = |entries: Vec<Wanted>| -> Vec<Requirement> {
            entries
                .into_iter()
                .filter_map(|entry| self.requirement(&draft.id, &entry, root))
                .collect()
        };
        let reached_via = requirements(draft.reached_via);
        let backs_up = requirements(draft.backs_up)
            .iter()
            .flat_map(|copy| copy.of.to_vec())
            .collect();
        let (relations, entries): (Vec<_>, Vec<_>) = draft.needs.into_iter().unzip();
        let mut needs = Vec::new();
        for (relation, entry) in relations.into_iter().zip(entries) {
            // A range without a group means all of them: a need each.
            let all = if entry.at_least.is_none() {
                expand(&entry.of[0]).ok()
            } else {
                None
            };
            match all.filter(|expanded| expanded.ranged) {
                Some(expanded) => {
                    for (name, _) in expanded.names {
                        let one = Wanted {
                            of: vec![name],
                            ..entry.clone()
                        };
                        needs.extend(self.requirement(&draft.id, &one, root).map(|requirement| {
                            Need {
                                relation,
                                requirement,
                            }
                        }));
                    }
                }
                None => needs.extend(self.requirement(&draft.id, &entry, root).map(
                    |requirement| Need {
                        relation,
                        requirement,
                    },
                )),
            }
        }
        let class = draft
            .class
            .unwrap_or_else(|| draft.kind.default_class().to_owned());
        let class = self
            .classes
            .entry(class)
            .or_insert_with_key(|class| Arc::from(class.as_str()))
            .clone();
        Component {
            id: Arc::from(draft.id),
            kind: draft.kind,
            container,
            class,
            weight: draft.weight,
            public: draft.public.map(Arc::from),
            start_slots: draft.start_slots,
            labels: draft.labels,
            needs,
            reached_via,
            backs_up,
            provenance: Provenance::Declared,
        }
    }

    fn requirement(
        &mut self,
        id: &str,
        entry: &Wanted,
        root: &mut Section<'_>,
    ) -> Option<Requirement> {
        let place = format!("component \"{id}\" {}", entry.key);
        let mut of = Vec::new();
        let mut sound = true;
        for name in &entry.of {
            match expand(name) {
                Ok(expanded) => {
                    for (member, _) in expanded.names {
                        match self.find(&member) {
                            Some(ix) => of.push(ix),
                            None => {
                                sound = false;
                                self.unknown(
                                    entry.line,
                                    &format!("{place} \"{member}\""),
                                    &member,
                                    root,
                                );
                            }
                        }
                    }
                }
                Err(expected) => {
                    sound = false;
                    root.problem_at(entry.line, &format!("{place} \"{name}\""), &expected, "");
                }
            }
        }
        if !sound {
            return None;
        }
        of.sort_unstable();
        of.dedup();
        let Some(at_least) = entry.at_least else {
            // An id, or a range that means all of them.
            return u32::try_from(of.len()).ok().map(|at_least| Requirement {
                at_least,
                of: of.into(),
            });
        };
        if of.is_empty() {
            root.problem_at(
                entry.line,
                &format!("{place} of = []"),
                "a group must have members",
                "",
            );
            return None;
        }
        match u32::try_from(at_least) {
            Ok(k) if (k as usize) <= of.len() => Some(Requirement {
                at_least: k,
                of: of.into(),
            }),
            _ => {
                let (found, expected) = (
                    format!("{place} at_least = {at_least}"),
                    match of.len() {
                        1 => "the group has one member".to_owned(),
                        n => format!("the group has {n} different members"),
                    },
                );
                root.problem_at(
                    entry.line,
                    &found,
                    &expected,
                    "ask for at most as many as there are",
                );
                None
            }
        }
    }

    fn find(&self, id: &str) -> Option<ComponentIx> {
        let at = self
            .ids
            .binary_search_by(|known| known.as_str().cmp(id))
            .ok()?;
        u32::try_from(at).ok().map(ComponentIx)
    }

    fn unknown(&mut self, line: usize, found: &str, id: &str, root: &mut Section<'_>) {
        let near = if self.suggestions_left > 0 {
            self.suggestions_left -= 1;
            nearest(id, self.ids.iter().map(String::as_str))
        } else {
            None
        };
        let expected = match near {
            Some(near) => format!("no such component; did you mean \"{near}\"?"),
            None => "no such component".to_owned(),
        };
        root.problem_at(line, found, &expected, "");
    }
}

/// A component cannot be inside itself; `lines` are those where it says what it is in.
fn containment_cycles(components: &[Component], lines: &[usize], root: &mut Section<'_>) {
    // 0: not looked at, 1: on the present walk, 2: done.
    let mut seen = vec![0_u8; components.len()];
    for start in 0..components.len() {
        let mut walk = Vec::new();
        let mut at = Some(start);
        while let Some(here) = at {
            match seen[here] {
                0 => {
                    seen[here] = 1;
                    walk.push(here);
                    at = components[here].container.map(ComponentIx::index);
                }
                1 => {
                    let from = walk.iter().position(|step| *step == here).unwrap_or(0);
                    let chain: Vec<&str> = walk[from..]
                        .iter()
                        .chain([&here])
                        .map(|step| &*components[*step].id)
                        .collect();
                    let container = components[here].container.map(ComponentIx::index);
                    let container = container.map_or("", |at| &*components[at].id);
                    let found =
                        format!("component \"{}\" in = \"{container}\"", components[here].id);
                    root.problem_at(
                        lines[here],
                        &found,
                        &format!("is inside itself: {}", chain.join(" in ")),
                        "",
                    );
                    break;
                }
                _ => break,
            }
        }
        for step in walk {
            seen[step] = 2;
        }
    }
}
