//! Ranges in names: `host-7-{01..20}`.

/// The most components that one range may stand for: far above any rack, far below a typing error like `{1..10000000}`.
pub(super) const RANGE_MAX: u64 = 100_000;

/// A name with its range expanded.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Expanded {
    /// The names, each with the text of its number.
    pub(super) names: Vec<(String, String)>,
    /// Whether there was a range.
    pub(super) ranged: bool,
}

/// Expands the one range that a name may hold; zero padding is kept.
///
/// # Errors
/// What was expected, as a sentence fragment.
pub(super) fn expand(name: &str) -> Result<Expanded, String> {
    let Some(open) = name.find('{') else {
        if name.contains('}') {
            return Err("a range is written {a..b}; this one has no {".to_owned());
        }
        return Ok(Expanded {
            names: vec![(name.to_owned(), String::new())],
            ranged: false,
        });
    };
    let Some(length) = name[open..].find('}') else {
        return Err("a range is written {a..b}; this one has no }".to_owned());
    };
    let (before, inside, after) = (
        &name[..open],
        &name[open + 1..open + length],
        &name[open + length + 1..],
    );
    if after.contains(['{', '}']) {
        return Err("only one range may stand in a name".to_owned());
    }
    let number = |text: &str| {
        text.parse::<u64>()
            .ok()
            .filter(|_| text.bytes().all(|b| b.is_ascii_digit()))
    };
    let (Some((first, last)), _) = (inside.split_once(".."), ()) else {
        return Err("a range is written {a..b}".to_owned());
    };
    let (Some(from), Some(to)) = (number(first), number(last)) else {
        return Err("a range is written {a..b}, with whole numbers".to_owned());
    };
    if from > to {
        return Err(format!(
            "the range goes backwards; write {{{last}..{first}}}"
        ));
    }
    if to - from >= RANGE_MAX {
        return Err(format!("the range has more than {RANGE_MAX} numbers"));
    }
    let width = if first.starts_with('0') || last.starts_with('0') {
        first.len().max(last.len())
    } else {
        1
    };
    let names = (from..=to)
        .map(|n| {
            let n = format!("{n:0width$}");
            (format!("{before}{n}{after}"), n)
        })
        .collect();
    Ok(Expanded {
        names,
        ranged: true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_keeps_its_padding() {
        let names: Vec<_> = expand("h-{08..10}-x")
            .unwrap()
            .names
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(names, ["h-08-x", "h-09-x", "h-10-x"]);
        let names: Vec<_> = expand("{9..10}")
            .unwrap()
            .names
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(names, ["9", "10"]);
    }

    #[test]
    fn a_bad_range_says_what_is_wrong() {
        for (name, expected) in [
            ("h-{3..1}", "the range goes backwards; write {1..3}"),
            ("h-{1..2", "a range is written {a..b}; this one has no }"),
            ("h-1}", "a range is written {a..b}; this one has no {"),
            ("h-{a..b}", "a range is written {a..b}, with whole numbers"),
            ("h-{1..2}-{1..2}", "only one range may stand in a name"),
            ("h-{1..200000}", "the range has more than 100000 numbers"),
            ("h-{7}", "a range is written {a..b}"),
        ] {
            assert_eq!(expand(name).unwrap_err(), expected, "{name}");
        }
    }
}
