//! The answers as the output of a Nagios plugin (Monitoring Plugins guidelines; draft-kaestle-monitoring-plugins-interface-04).

use blackstart_agent::check::Checked;
use blackstart_agent::observation::Status;

use super::worst;
use crate::text::clean;

/// `STATUS: text | performance data`, then a line for each check that is not ok.
pub(super) fn plugin_output(answers: &[Checked]) -> String {
    let word = ["OK", "WARNING", "CRITICAL", "UNKNOWN"][usize::from(worst(answers)).min(3)];
    let wrong: Vec<&Checked> = answers
        .iter()
        .filter(|answer| answer.observation.finding.status != Status::Ok)
        .collect();
    let summary = match wrong.as_slice() {
        [] => format!("{} checks", answers.len()),
        [one] => said(one),
        [first, others @ ..] => format!(
            "{}, and {} more of {}",
            said(first),
            others.len(),
            answers.len()
        ),
    };
    let mut text = format!("{word}: {}", plain(&summary));
    let data: Vec<String> = answers.iter().flat_map(performance).collect();
    if !data.is_empty() {
        text.push_str(&format!(" | {}", data.join(" ")));
    }
    text.push('\n');
    for answer in wrong {
        text.push_str(&format!("{}\n", plain(&said(answer))));
    }
    text
}

fn said(answer: &Checked) -> String {
    let observation = &answer.observation;
    format!(
        "{} {} {}: {}",
        observation.component,
        observation.check,
        observation.finding.status.as_str(),
        observation.finding.detail
    )
}

/// A bar would begin the performance data, a line break another check.
fn plain(text: &str) -> String {
    text.chars()
        .map(clean)
        .collect::<String>()
        .replace('|', "/")
}

fn performance(answer: &Checked) -> Vec<String> {
    let observation = &answer.observation;
    observation
        .finding
        .values
        .iter()
        .filter(|(_, value)| value.is_finite())
        .map(|(name, value)| {
            let (name, value, unit) = in_plugin_units(name, *value);
            let label = format!("{}/{}/{name}", observation.component, observation.check);
            let label = plain(&label).replace('\'', "''").replace('=', "_");
            format!("'{label}'={value}{unit}")
        })
        .collect()
}

/// The unit at the end of a value's name, as plugins write it; without one there is none.
fn in_plugin_units(name: &str, value: f64) -> (&str, f64, &'static str) {
    for (suffix, unit) in [
        ("_ms", "ms"),
        ("_us", "us"),
        ("_s", "s"),
        ("_bytes", "B"),
        ("_percent", "%"),
    ] {
        if let Some(stem) = name.strip_suffix(suffix) {
            return (stem, value, unit);
        }
    }
    match name.strip_suffix("_ratio") {
        // Rounded, so that 0.07 does not become 7.000000000000001 %.
        Some(stem) => (stem, (value * 1e6).round() / 1e4, "%"),
        None => (name, value, ""),
    }
}

#[cfg(test)]
mod tests {
    use blackstart_agent::observation::Finding;

    use super::*;
    use crate::check::answer;

    #[test]
    fn one_line_with_performance_data_then_what_is_wrong() {
        let answers = [
            answer(
                "h",
                "host.load",
                Finding::ok("fine")
                    .with("used_ratio", 0.07)
                    .with("rtt_ms", 0.5),
            ),
            answer("db", "postgres.ready", Finding::failed("a | b")),
        ];
        assert_eq!(
            plugin_output(&answers),
            "CRITICAL: db postgres.ready failed: a / b | 'h/host.load/used'=7% 'h/host.load/rtt'=0.5ms\n\
             db postgres.ready failed: a / b\n"
        );
    }

    #[test]
    fn a_label_may_hold_quotes_and_never_an_equals_sign() {
        let answers = [answer("it's=x", "c", Finding::ok("").with("n", 1.0))];
        assert_eq!(plugin_output(&answers), "OK: 1 checks | 'it''s_x/c/n'=1\n");
    }
}
