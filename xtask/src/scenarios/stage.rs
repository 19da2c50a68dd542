//! Puts lives and stories together and writes the events that an aggregator would have received.
//!
//! Every watch asks in each round of its beat, a little later than the round by an offset of its own, as a scheduler with jitter
//! does. Offsets, delays and boot ids come from a hash of the scenario's name and what they belong to: the same scenario gives
//! the same bytes, and a new watch moves no other one.

use std::collections::BTreeMap;

use serde_json::Value;

use super::life::{Arrival, Life, Stay};
use super::story::{Seen, Story};
use super::time::At;

/// The longest that a watch asks after its round began.
const OFFSET_MS_MAX: i64 = 8_000;

/// The path from an agent to the aggregator takes 20 ms and up to this much more.
const DELAY_MS_MAX: u64 = 180;

/// An agent is given up this long after its stream went silent, and up to the same again: a dead path shows by a timeout.
const LOST_AFTER_MS: u64 = 6_000;

/// A returning agent delivers what waited on its disk this much apart.
const LATE_SPACING_MS: i64 = 3;

/// An observation holds for two periods and this much more.
const TTL_SLACK_S: i64 = 20;

/// The least that an observation holds, in seconds; an event without `ttl_s` means this.
const TTL_LEAST_S: i64 = 60;

/// When the watches of a group ask.
#[derive(Debug, Clone, Default)]
pub(super) struct Beat {
    rounds: Vec<At>,
}

impl Beat {
    /// One round every so many seconds from `from` on, the last before `until`. Each call follows the one before.
    pub(super) fn every(mut self, seconds: i64, from: At, until: At) -> Self {
        let mut round = from;
        while round < until {
            self.rounds.push(round);
            round = round.plus(seconds);
        }
        self
    }
}

/// One probe of one agent that asks one component.
#[derive(Debug)]
struct Watch {
    agent: String,
    component: String,
    check: &'static str,
    beat: usize,
    story: Story,
}

/// A scenario in the making.
#[derive(Debug)]
pub(super) struct Stage {
    name: &'static str,
    lives: BTreeMap<String, Life>,
    beats: Vec<Beat>,
    watches: Vec<Watch>,
    said: Vec<(At, String)>,
}

impl Stage {
    /// An empty stage; the name seeds every offset.
    pub(super) fn new(name: &'static str) -> Self {
        Self {
            name,
            lives: BTreeMap::new(),
            beats: vec![Beat::default()],
            watches: Vec::new(),
            said: Vec::new(),
        }
    }

    /// The watches that follow ask in these rounds.
    pub(super) fn beat(&mut self, beat: Beat) {
        self.beats.push(beat);
    }

    /// An agent on this host; its own host is watched by `host.load`, with this story.
    pub(super) fn host(&mut self, host: &str, life: Life, story: Story) {
        self.agent(host, life);
        self.watch(host, host, "host.load", story);
    }

    /// An agent on this host.
    pub(super) fn agent(&mut self, host: &str, life: Life) {
        self.lives.insert(host.to_owned(), life);
    }

    /// A probe of the agent on `agent` asks `component`.
    pub(super) fn watch(
        &mut self,
        agent: &str,
        component: &str,
        check: &'static str,
        story: Story,
    ) {
        self.watches.push(Watch {
            agent: agent.to_owned(),
            component: component.to_owned(),
            check,
            beat: self.beats.len() - 1,
            story,
        });
    }

    /// The same probe on several hosts, which see the same.
    pub(super) fn watch_from(
        &mut self,
        agents: &[&str],
        component: &str,
        check: &'static str,
        story: &Story,
    ) {
        for agent in agents {
            self.watch(agent, component, check, story.clone());
        }
    }

    /// A provider says something of itself.
    pub(super) fn provider(&mut self, at: At, component: &str, indicator: &str, detail: &str) {
        let line = Line::new(at, "provider_status")
            .text("component", component)
            .text("indicator", indicator)
            .text("detail", detail);
        self.said.push((at, line.end()));
    }

    /// Somebody does something.
    pub(super) fn action(&mut self, at: At, detail: &str) {
        let line = Line::new(at, "action")
            .text("by", "operator")
            .text("detail", detail);
        self.said.push((at, line.end()));
    }

    /// A component is destroyed.
    pub(super) fn gone(&mut self, at: At, component: &str) {
        let line = Line::new(at, "gone").text("component", component);
        self.said.push((at, line.end()));
    }

    /// All events, in the order of their arrival.
    pub(super) fn events(self) -> String {
        let mut lines = self.said.clone();
        for (agent, life) in &self.lives {
            self.stream_of(agent, life, &mut lines);
        }
        // How many late samples an agent has delivered, by agent and return.
        let mut late: BTreeMap<(&str, At), i64> = BTreeMap::new();
        for watch in &self.watches {
            self.samples_of(watch, &mut late, &mut lines);
        }
        lines.sort();
        if let (Some((first, _)), Some((last, _))) = (lines.first(), lines.last()) {
            let (mut tick, end) = (first.next_minute(), last.next_minute());
            while tick <= end {
                lines.push((tick, Line::new(tick, "tick").end()));
                tick = tick.plus(60);
            }
        }
        lines.sort();
        lines.into_iter().map(|(_, line)| line).collect()
    }

    fn stream_of(&self, agent: &str, life: &Life, lines: &mut Vec<(At, String)>) {
        for (number, stay) in life.stays.iter().enumerate() {
            lines.push((stay.from, self.connected(agent, stay)));
            let Some((end, _)) = stay.end else {
                continue;
            };
            let wait = LOST_AFTER_MS + self.chance(&["lost", agent], number) % LOST_AFTER_MS;
            let lost = end.plus_ms(wait as i64);
            // An agent that is back sooner than it was given up was never lost.
            if life
                .stays
                .get(number + 1)
                .is_none_or(|next| next.from > lost)
            {
                let line = Line::new(lost, "agent_lost").text("agent", agent);
                lines.push((lost, line.end()));
            }
        }
    }

    fn connected(&self, agent: &str, stay: &Stay) -> String {
        let boot_id = self.chance(&["boot", agent], stay.boot as usize) & 0xffff_ffff_ffff;
        Line::new(stay.from, "agent_connected")
            .text("agent", agent)
            .text("boot_id", &format!("{boot_id:012x}"))
            .raw("uptime_s", &stay.uptime_s.to_string())
            .raw("clean_shutdown", &stay.clean.to_string())
            .end()
    }

    fn samples_of<'a>(
        &'a self,
        watch: &'a Watch,
        late: &mut BTreeMap<(&'a str, At), i64>,
        lines: &mut Vec<(At, String)>,
    ) {
        let Some(life) = self.lives.get(&watch.agent) else {
            return;
        };
        let rounds = &self.beats[watch.beat].rounds;
        let who = [watch.agent.as_str(), &watch.component, watch.check];
        for (number, round) in rounds.iter().enumerate() {
            let next = rounds.get(number + 1);
            let before = number.checked_sub(1).and_then(|at| rounds.get(at));
            let gap_ms = match (next, before) {
                (Some(next), _) => next.ms_since(*round),
                (None, Some(before)) => round.ms_since(*before),
                (None, None) => TTL_LEAST_S * 1_000,
            };
            let spread = OFFSET_MS_MAX.min(gap_ms * 4 / 5).max(1) as u64;
            let sampled = round.plus_ms((self.chance(&who, 0) % spread) as i64);
            let Some(seen) = watch.story.seen_at(sampled) else {
                continue;
            };
            let ttl_s = gap_ms * 2 / 1_000 + TTL_SLACK_S;
            let delay = 20 + self.chance(&who, number + 1) % DELAY_MS_MAX;
            match life.arrival(sampled) {
                Arrival::AtOnce => {
                    let at = sampled.plus_ms(delay as i64);
                    lines.push((at, observation(at, watch, &seen, ttl_s, None)));
                }
                Arrival::After(back) => {
                    let turn = late.entry((&watch.agent, back)).or_default();
                    *turn += 1;
                    let at = back.plus_ms(100 + *turn * LATE_SPACING_MS);
                    lines.push((at, observation(at, watch, &seen, ttl_s, Some(sampled))));
                }
                Arrival::Never => {}
            }
        }
    }

    /// A number that is the same for the same scenario, names and index.
    fn chance(&self, names: &[&str], index: usize) -> u64 {
        // FNV-1a, then the finisher of splitmix64: short inputs that differ in one digit must differ everywhere.
        let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
        let index = index.to_string();
        for word in [&[self.name], names, &[index.as_str()]].concat() {
            for byte in word.bytes().chain([0]) {
                hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
        hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        hash ^ (hash >> 31)
    }
}

fn observation(at: At, watch: &Watch, seen: &Seen, ttl_s: i64, sampled: Option<At>) -> String {
    let mut line = Line::new(at, "observation").text("agent", &watch.agent);
    if watch.component != watch.agent {
        line = line.text("component", &watch.component);
    }
    line = line.text("check", watch.check).text("status", seen.status);
    if let Some(progress) = seen.progress {
        line = line.raw("progress", &format!("{progress:.2}"));
    }
    if !seen.detail.is_empty() {
        line = line.text("detail", &seen.detail);
    }
    if !seen.values.is_empty() {
        let values: Vec<String> = (seen.values.iter())
            .map(|(name, value)| format!("\"{name}\":{}", (value * 10.0).round() / 10.0))
            .collect();
        line = line.raw("values", &format!("{{{}}}", values.join(",")));
    }
    if let Some(sampled) = sampled {
        line = line.text("sampled_at", &sampled.text());
    }
    if ttl_s > TTL_LEAST_S {
        line = line.raw("ttl_s", &ttl_s.to_string());
    }
    line.end()
}

/// One event as JSON, its keys in the order in which they are given.
struct Line(String);

impl Line {
    fn new(at: At, kind: &str) -> Self {
        Self(format!("{{\"at\":\"{}\",\"type\":\"{kind}\"", at.text()))
    }

    fn text(self, key: &str, value: &str) -> Self {
        let value = Value::from(value).to_string();
        self.raw(key, &value)
    }

    fn raw(mut self, key: &str, value: &str) -> Self {
        self.0.push_str(&format!(",\"{key}\":{value}"));
        self
    }

    fn end(self) -> String {
        self.0 + "}\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenarios::story::{failed, ok, story};
    use crate::scenarios::time::Day;

    const DAY: Day = Day::new(2021, 3, 10);

    fn stage() -> Stage {
        let mut stage = Stage::new("test");
        stage.beat(Beat::default().every(60, DAY.hm(0, 0), DAY.hm(0, 30)));
        let life = Life::long(DAY.hm(0, 0), 3)
            .loses_path(DAY.hm(0, 10))
            .heals(DAY.hm(0, 20));
        stage.host("a", life, story(ok()));
        stage.watch(
            "a",
            "b",
            "http.get",
            story(ok()).then(DAY.hm(0, 5), failed("\"x\"")),
        );
        stage
    }

    #[test]
    fn events_are_in_order_and_the_same_each_time() {
        let events = stage().events();
        assert_eq!(events, stage().events());
        let at =
            |line: &str| -> Value { serde_json::from_str::<Value>(line).unwrap()["at"].clone() };
        let times: Vec<String> = events.lines().map(|line| at(line).to_string()).collect();
        assert!(times.is_sorted());
        assert!(events.ends_with("\"type\":\"tick\"}\n"));
    }

    #[test]
    fn what_a_cut_agent_saw_arrives_after_its_return_with_its_own_time() {
        let events = stage().events();
        let late: Vec<&str> = (events.lines())
            .filter(|line| line.contains("sampled_at"))
            .collect();
        assert_eq!(late.len(), 20, "two watches, ten rounds");
        assert!(
            late.iter()
                .all(|line| line.contains("\"at\":\"2021-03-10T00:20:"))
        );
    }
}
