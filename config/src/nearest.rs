//! The known word nearest to a mistyped one.

/// The candidate that is nearest to `word`, if one is near enough to be what was meant: at most
/// a third of its letters differ. The first of equally near ones wins.
#[must_use]
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (word.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .filter(|candidate| candidate.len().abs_diff(word.len()) <= allowed * 4)
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_missing_letter_is_found() {
        assert_eq!(nearest("timout", ["timeout", "interval"]), Some("timeout"));
    }

    #[test]
    fn another_word_is_not_a_mistyped_one() {
        assert_eq!(nearest("colour", ["timeout", "interval"]), None);
    }
}
