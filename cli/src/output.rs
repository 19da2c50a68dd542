//! The only way to standard output: survives a closed pipe, drops colours where nobody sees them.

use std::io::{IsTerminal, Write};

use blackstart_graph::Condition;

use crate::exit::Exit;

/// Lines are never longer than this unless the terminal is known to be wider.
const COLUMNS: usize = 80;

/// Writes a text. A reader that went away is no error: it has seen what it wanted.
pub(crate) fn write(text: &str) -> Exit {
    let mut out = anstream::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Exit::CannotSay,
        _ => Exit::Yes,
    }
}

/// Writes a text and ends with `exit` unless nothing could be written.
pub(crate) fn write_and(text: &str, exit: Exit) -> Exit {
    if write(text) == Exit::Yes {
        exit
    } else {
        Exit::CannotSay
    }
}

/// Draws a picture over the one before: home, every line cleared to its end, the rest of the screen cleared. At most
/// `rows` lines, so that nothing scrolls. Moving the cursor is no colour: it stays where colours are unwanted.
pub(crate) fn draw(text: &str, rows: usize) -> Exit {
    let coloured = anstream::stdout().current_choice() != anstream::ColorChoice::Never;
    let mut frame = String::from("\x1b[H");
    for line in text.lines().take(rows) {
        if coloured {
            frame.push_str(line);
        } else {
            frame.push_str(&anstream::adapter::strip_str(line).to_string());
        }
        frame.push_str("\x1b[K\r\n");
    }
    frame.push_str("\x1b[J");
    let mut out = std::io::stdout().lock();
    match out.write_all(frame.as_bytes()).and_then(|()| out.flush()) {
        Err(_) => Exit::CannotSay,
        Ok(()) => Exit::Yes,
    }
}

/// Clears the screen before the first picture, so that what was there stays in the terminal's history.
pub(crate) fn clear(rows: usize) -> Exit {
    write(&"\n".repeat(rows))
}

/// Whether somebody watches standard output.
pub(crate) fn is_terminal() -> bool {
    std::io::stdout().is_terminal()
}

/// Columns and rows of the terminal; 80 by 24 where there is none.
pub(crate) fn size() -> (usize, usize) {
    if !is_terminal() {
        return (COLUMNS, 24);
    }
    match rustix::termios::tcgetwinsize(std::io::stdout()) {
        Ok(size) if size.ws_col >= 40 && size.ws_row >= 8 => {
            (usize::from(size.ws_col), usize::from(size.ws_row))
        }
        _ => (COLUMNS, 24),
    }
}

/// The colour of a word: what needs a person red, what will pass yellow, what nobody knows magenta.
pub(crate) fn paint(word: &str) -> String {
    let code = match word.trim() {
        "up" | "ok" | "yes" | "resolved" | "there" => "32",
        "down" | "failed" | "no" | "open" | "lost" => "1;31",
        "blocked" | "degraded" | "starting" | "recovering" => "33",
        "unreachable" | "unknown" | "not known" => "35",
        _ => return word.to_owned(),
    };
    format!("\x1b[{code}m{word}\x1b[0m")
}

/// The order in which problems are read: what is broken itself first.
pub(crate) const fn urgency(condition: Condition) -> u8 {
    match condition {
        Condition::Down => 0,
        Condition::Unreachable => 1,
        Condition::Blocked => 2,
        Condition::Starting => 3,
        Condition::Degraded => 4,
        Condition::Unknown => 5,
        Condition::Up => 6,
    }
}
