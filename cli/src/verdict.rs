//! What really broke, in words: a few lines for `blackstart status`, all of it for `blackstart why`.
//!
//! Pure: every line fits into the width it is given; times are told as the rest of the picture tells them.

use blackstart_proto::v1::{CheckNext, Diagnosis, Fault, Finding, Hypothesis, Incident};

use crate::clock::{moment, when};
use crate::output::paint;
use crate::text::wrap;

/// Below this the first hypothesis is one of several, and is told so.
const LIKELY: f64 = 0.5;

/// How likely it must be that the topology lacks the cause before a few lines tell it.
const NOT_IN_MODEL_TOLD: f64 = 0.1;

/// Lines of evidence in a few lines: the strongest.
const EVIDENCE_BRIEF: usize = 3;

/// Hypotheses in a few lines, where none is likely.
const SEVERAL_BRIEF: usize = 3;

/// Sets that cannot be told apart, in a few lines.
const RIVALS_BRIEF: usize = 3;

/// The kind of a fault is told alone from this share on, otherwise with the next one.
const KIND_SURE: f64 = 0.5;

/// How much is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Much {
    Brief,
    All,
}

/// The cause in a few lines: what somebody at three in the morning needs first.
pub(crate) fn brief(diagnosis: &Diagnosis, at_us: i64, width: usize) -> String {
    let mut told = Told::new(at_us, width);
    told.verdict(diagnosis, Much::Brief);
    told.text
}

/// The causes with all that speaks for them, and what else may be.
pub(crate) fn all(diagnosis: &Diagnosis, at_us: i64, width: usize) -> String {
    let mut told = Told::new(at_us, width);
    told.verdict(diagnosis, Much::All);
    told.text
}

/// The first hypothesis on a line; nothing where there is none.
pub(crate) fn headline(diagnosis: Option<&Diagnosis>) -> Option<String> {
    let first = diagnosis?.hypotheses.first()?;
    let word = if first.probability >= LIKELY {
        "cause"
    } else {
        "most likely"
    };
    Some(format!("{word}: {}", one_line(first)))
}

/// Of which hypotheses the chain above it holds a cause.
pub(crate) fn named(hypotheses: &[Hypothesis], at_us: i64, width: usize) -> String {
    let mut told = Told::new(at_us, width);
    if !hypotheses.is_empty() {
        told.say(0, NAMED);
    }
    for hypothesis in hypotheses {
        told.say(1, &one_line(hypothesis));
    }
    told.text
}

/// The heading of [`named`].
const NAMED: &str = "Held to be the cause:";

/// Who was named when.
pub(crate) fn story(incident: &Incident, at_us: i64, width: usize) -> String {
    let mut told = Told::new(at_us, width);
    if incident.story.is_empty() {
        return told.text;
    }
    told.say(0, "Who was named when:");
    for finding in &incident.story {
        let at = moment(finding.at_us, at_us);
        told.say(1, &format!("{at}: {}", found(finding)));
    }
    told.text
}

fn found(finding: &Finding) -> String {
    let named = finding.causes.iter().map(|cause| {
        let kind = finding.kinds.get(cause);
        kind.map_or_else(|| cause.clone(), |kind| format!("{cause} ({kind})"))
    });
    let named: Vec<String> = named.collect();
    format!("{}, {}", named.join(" and "), percent(finding.probability))
}

struct Told {
    text: String,
    at_us: i64,
    width: usize,
}

impl Told {
    const fn new(at_us: i64, width: usize) -> Self {
        Self {
            text: String::new(),
            at_us,
            width,
        }
    }

    /// A line, going on below itself.
    fn say(&mut self, depth: usize, line: &str) {
        self.painted(depth, line, "");
    }

    fn painted(&mut self, depth: usize, line: &str, code: &str) {
        let indent = 2 * depth;
        for (at, line) in wrap(line, self.width.saturating_sub(indent + 2))
            .into_iter()
            .enumerate()
        {
            // What goes on stands further in than what begins.
            let indent = " ".repeat(if at == 0 { indent } else { indent + 2 });
            let line = match code {
                "" => line,
                code => paint_as(&line, code),
            };
            self.text.push_str(&format!("{indent}{line}\n"));
        }
    }

    fn verdict(&mut self, diagnosis: &Diagnosis, much: Much) {
        let Some((first, others)) = diagnosis.hypotheses.split_first() else {
            return;
        };
        let is_likely = first.probability >= LIKELY;
        if is_likely {
            self.first(first);
        } else {
            if diagnosis.not_in_model > first.probability {
                self.heading(&format!(
                    "Most likely nothing that is in the topology ({}); of what is in it:",
                    percent(diagnosis.not_in_model)
                ));
            } else {
                self.heading("Most likely, of several:");
            }
            self.say(1, &one_line(first));
        }
        let depth = if is_likely { 1 } else { 2 };
        self.grounds(first, depth, much);
        let told = match much {
            Much::Brief if is_likely => 0,
            Much::Brief => SEVERAL_BRIEF - 1,
            Much::All => others.len(),
        };
        if told > 0 && !others.is_empty() && is_likely {
            self.heading("Less likely:");
        }
        for other in others.iter().take(told) {
            self.say(1, &one_line(other));
            if much == Much::All {
                self.grounds(other, 2, much);
            }
        }
        let was_told = !is_likely && diagnosis.not_in_model > first.probability;
        if diagnosis.not_in_model >= NOT_IN_MODEL_TOLD && !was_told {
            let words = format!("not in the topology: {}", percent(diagnosis.not_in_model));
            self.say(1, &words);
        }
        if diagnosis.search == "bounded" {
            self.say(
                1,
                "not all sets of causes were tried; a better one may exist",
            );
        }
        let next = first.check_next.iter();
        for check in next.take(if much == Much::Brief { 1 } else { usize::MAX }) {
            self.say(1, &look(check));
        }
    }

    fn heading(&mut self, line: &str) {
        self.painted(0, line, BOLD);
    }

    fn first(&mut self, first: &Hypothesis) {
        let tail = format!("{}: {}", percent(first.probability), fits(first));
        match first.causes.as_slice() {
            [cause] => self.heading(&format!("Cause: {}, {tail}", with_kind(first, cause))),
            causes => {
                self.heading(&format!("Causes together, {tail}"));
                for cause in causes {
                    let since = first.faults.get(cause).map_or_else(String::new, |fault| {
                        format!(", since {}", when(fault.since_us, self.at_us))
                    });
                    self.say(1, &format!("{}{since}", with_kind(first, cause)));
                }
            }
        }
    }

    /// Why it is believed, and what it cannot be told from.
    fn grounds(&mut self, hypothesis: &Hypothesis, depth: usize, much: Much) {
        let lines = match much {
            Much::Brief => EVIDENCE_BRIEF,
            Much::All => usize::MAX,
        };
        for line in hypothesis.evidence.iter().take(lines) {
            self.say(depth, &format!("- {}", local_times(line, self.at_us)));
        }
        let rivals = &hypothesis.cannot_tell_from;
        if rivals.is_empty() {
            return;
        }
        let shown = match much {
            Much::Brief => RIVALS_BRIEF,
            Much::All => usize::MAX,
        };
        let names = rivals.iter().take(shown);
        let names: Vec<String> = names.map(|set| set.causes.join(" and ")).collect();
        let more = match rivals.len().saturating_sub(names.len()) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        self.say(
            depth,
            &format!("cannot be told from: {}{more}", names.join("; ")),
        );
    }
}

const BOLD: &str = "1";

fn paint_as(line: &str, code: &str) -> String {
    format!("\x1b[{code}m{line}\x1b[0m")
}

fn look(check: &CheckNext) -> String {
    format!(
        "check next: {} of {}: {}",
        check.check, check.component, check.why
    )
}

/// `39 %: app-09 (software or overload), explains 5`.
fn one_line(hypothesis: &Hypothesis) -> String {
    let causes = hypothesis.causes.iter();
    let causes: Vec<String> = causes.map(|cause| with_kind(hypothesis, cause)).collect();
    format!(
        "{}: {}, {}",
        percent(hypothesis.probability),
        causes.join(" and "),
        fits(hypothesis)
    )
}

/// `feed-a (power 97 %)`.
fn with_kind(hypothesis: &Hypothesis, cause: &str) -> String {
    let kind = hypothesis.faults.get(cause).map(kind).unwrap_or_default();
    if kind.is_empty() {
        cause.to_owned()
    } else {
        format!("{cause} ({kind})")
    }
}

/// `power 97 %`, or the two likeliest where none is likely: `software or configuration`.
fn kind(fault: &Fault) -> String {
    let mut kinds: Vec<(&String, f64)> = fault.kind.iter().map(|(kind, p)| (kind, *p)).collect();
    kinds.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(b.0)));
    match kinds.as_slice() {
        [] => String::new(),
        [(kind, share)] => format!("{kind} {}", percent(*share)),
        [(kind, share), ..] if *share >= KIND_SURE => format!("{kind} {}", percent(*share)),
        [(one, _), (other, _), ..] => format!("{one} or {other}"),
    }
}

/// `explains 412, 3 unexplained, 1 contradicts`; what is nothing is not told.
fn fits(hypothesis: &Hypothesis) -> String {
    let mut text = format!("explains {}", hypothesis.explains);
    if hypothesis.unexplained > 0 {
        text.push_str(&format!(", {} unexplained", hypothesis.unexplained));
    }
    if hypothesis.contradicts > 0 {
        text.push_str(&format!(", {} contradict it", hypothesis.contradicts));
    }
    text
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

/// A line of evidence with its times as the rest of the picture has them.
fn local_times(line: &str, at_us: i64) -> String {
    let word = |word: &str| {
        let bare = word.trim_end_matches([',', ';', ')']);
        match blackstart_graph::Timestamp::parse(bare) {
            Ok(at) => format!("{}{}", moment(at.as_micros(), at_us), &word[bare.len()..]),
            Err(_) => word.to_owned(),
        }
    };
    line.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

/// The line above all of it.
pub(crate) fn incident_line(incident: &Incident, at_us: i64) -> String {
    format!(
        "Incident {} since {}",
        paint(&incident.state),
        when(incident.opened_us, at_us)
    )
}

#[cfg(test)]
mod tests;
