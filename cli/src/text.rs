//! Text as a terminal shows it: how many columns it takes, cut and wrapped to fit, and nothing in it that drives the
//! terminal or turns the order of what stands beside it.

use unicode_width::UnicodeWidthChar;

/// A character that may be shown; a space instead of one that may not.
///
/// Ids and details come from servers and files that may be broken or worse: escape sequences (C0 and C1 controls), line
/// separators, and what reverses the direction of the text around it (Unicode Technical Report 36, 2.10).
pub(crate) fn clean(c: char) -> char {
    match c {
        '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => ' ',
        c if c.is_control() => ' ',
        c => c,
    }
}

/// Columns that a text takes on a terminal; at least, where terminals differ.
pub(crate) fn columns(text: &str) -> usize {
    text.chars().map(columns_of).sum()
}

fn columns_of(c: char) -> usize {
    match c {
        // Asks for the wide form of the character before it.
        '\u{fe0f}' => 1,
        c => c.width().unwrap_or(0),
    }
}

/// At most `room` columns, with … where something is missing.
pub(crate) fn cut(text: &str, room: usize) -> String {
    let clean: String = text.chars().map(clean).collect();
    if columns(&clean) <= room {
        return clean;
    }
    let mut cut = String::new();
    let mut used = 0;
    for c in clean.chars() {
        used += columns_of(c);
        if used >= room {
            break;
        }
        cut.push(c);
    }
    if room > 0 {
        cut.push('…');
    }
    cut
}

/// Breaks a text at spaces into lines of at most `room` columns; what is longer than a line is cut.
pub(crate) fn wrap(text: &str, room: usize) -> Vec<String> {
    let clean: String = text.chars().map(clean).collect();
    let mut lines: Vec<String> = vec![String::new()];
    for word in clean.split_whitespace() {
        let word = cut(word, room);
        if let Some(last) = lines.last_mut() {
            if last.is_empty() {
                last.push_str(&word);
                continue;
            }
            if columns(last) + 1 + columns(&word) <= room {
                last.push(' ');
                last.push_str(&word);
                continue;
            }
        }
        lines.push(word);
    }
    lines
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn long_texts_wrap_at_spaces() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("incomprehensibility", 5), ["inco…"]);
    }

    #[test]
    fn columns_are_counted_not_characters() {
        assert_eq!(columns("データ"), 6);
        assert_eq!(cut("データベース", 6), "デー…");
        assert_eq!(
            cut("e\u{301}e\u{301}", 2),
            "e\u{301}e\u{301}",
            "accents take no column"
        );
        assert_eq!(wrap("データ ベース", 8), ["データ", "ベース"]);
    }

    #[test]
    fn nothing_drives_the_terminal_or_turns_the_text_around() {
        assert_eq!(cut("a\x1b[2Jb\u{9b}31m\u{202e}c\r\n", 80), "a [2Jb 31m c  ");
    }

    proptest! {
        #[test]
        fn no_text_is_wider_than_its_room(text in "\\PC{0,60}|.{0,60}", room in 0_usize..40) {
            prop_assert!(columns(&cut(&text, room)) <= room);
            for line in wrap(&text, room) {
                prop_assert!(columns(&line) <= room, "{line:?}");
                prop_assert!(line.chars().all(|c| clean(c) == c), "{line:?}");
            }
        }
    }
}
