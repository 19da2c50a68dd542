//! One table of a file while it is read: hands out values, notes what is wrong with them.

use std::collections::BTreeMap;
use std::ops::{Range, RangeInclusive};
use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use crate::document::Context;
use crate::nearest::nearest;
use crate::problem::Problem;
use crate::secret::Secret;
use crate::units::{parse_bytes, parse_duration, show_bytes, show_duration};

/// A table of a file. Every key that was asked for is known; [`Section::finish`], or dropping the section, notes the others.
pub struct Section<'a> {
    table: &'a DeTable<'a>,
    context: &'a Context<'a>,
    /// `probe "rack1/clock" ` in front of every key of this table.
    prefix: String,
    offset: usize,
    asked: Vec<&'static str>,
    finished: bool,
}

/// An entry of a list that holds texts and tables.
pub enum Item<'a> {
    /// A text and the line it stands on.
    Text(String, usize),
    /// A table.
    Table(Section<'a>),
}

impl<'a> Section<'a> {
    pub(crate) fn root(table: &'a DeTable<'a>, context: &'a Context<'a>) -> Self {
        Self::new(table, context, String::new(), 0)
    }

    fn new(
        table: &'a DeTable<'a>,
        context: &'a Context<'a>,
        prefix: String,
        offset: usize,
    ) -> Self {
        Self {
            table,
            context,
            prefix,
            offset,
            asked: Vec::new(),
            finished: false,
        }
    }

    /// The line on which the table begins, counted from 1.
    #[must_use]
    pub fn line(&self) -> usize {
        self.context.line(self.offset)
    }

    /// The line that a key stands on; that of the table where it is not there.
    #[must_use]
    pub fn line_of(&self, key: &str) -> usize {
        let found = self.table.get_key_value(key);
        self.context
            .line(found.map_or(self.offset, |(name, _)| name.span().start))
    }

    /// Whether the key is there; does not make it a known one.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// A text.
    pub fn string(&mut self, key: &'static str) -> Option<String> {
        match self.value(key)? {
            (_, DeValue::String(text)) => Some(text.as_ref().to_owned()),
            (span, _) => self.refuse(key, &span, "expected a text in quotes"),
        }
    }

    /// A text that must be there and not be empty.
    pub fn required_string(&mut self, key: &'static str) -> Option<String> {
        match self.string(key) {
            Some(text) if text.is_empty() => {
                self.problem(key, "must not be empty", "");
                None
            }
            Some(text) => Some(text),
            None => {
                if !self.has(key) {
                    self.problem(key, "is missing", "");
                }
                None
            }
        }
    }

    /// A path, relative to the folder of the file.
    pub fn path(&mut self, key: &'static str) -> Option<PathBuf> {
        let folder = self.context.folder;
        match self.string(key) {
            Some(text) if text.is_empty() => {
                self.problem(key, "must not be empty", "");
                None
            }
            text => text.map(|text| folder.join(text)),
        }
    }

    /// `true` or `false`.
    pub fn boolean(&mut self, key: &'static str) -> Option<bool> {
        match self.value(key)? {
            (_, DeValue::Boolean(value)) => Some(*value),
            (span, _) => self.refuse(key, &span, "expected true or false, without quotes"),
        }
    }

    /// A whole number within bounds.
    pub fn integer(&mut self, key: &'static str, bounds: RangeInclusive<i64>) -> Option<i64> {
        let expected = format!(
            "expected a whole number from {} to {}",
            bounds.start(),
            bounds.end()
        );
        match self.value(key)? {
            (_, DeValue::Integer(number))
                if i64::from_str_radix(number.as_str(), number.radix())
                    .is_ok_and(|number| bounds.contains(&number)) =>
            {
                i64::from_str_radix(number.as_str(), number.radix()).ok()
            }
            (span, _) => self.refuse(key, &span, &expected),
        }
    }

    /// A number within bounds; whole ones too.
    pub fn number(&mut self, key: &'static str, bounds: RangeInclusive<f64>) -> Option<f64> {
        let expected = format!(
            "expected a number from {} to {}",
            bounds.start(),
            bounds.end()
        );
        let (span, value) = self.value(key)?;
        let number = match value {
            DeValue::Integer(number) => number.as_str().parse().ok(),
            DeValue::Float(number) => number.as_str().parse().ok(),
            _ => None,
        };
        match number {
            Some(number) if bounds.contains(&number) => Some(number),
            _ => self.refuse(key, &span, &expected),
        }
    }

    /// A duration within bounds, as text with a unit.
    pub fn duration(
        &mut self,
        key: &'static str,
        bounds: RangeInclusive<Duration>,
    ) -> Option<Duration> {
        let (span, value) = self.value(key)?;
        let DeValue::String(text) = value else {
            return self.refuse(key, &span, "expected a text with a unit, like \"5s\"");
        };
        match parse_duration(text) {
            Ok(duration) if bounds.contains(&duration) => Some(duration),
            Ok(_) => {
                let (least, most) = (show_duration(*bounds.start()), show_duration(*bounds.end()));
                self.refuse(key, &span, &format!("must be from {least} to {most}"))
            }
            Err(expected) => self.refuse(key, &span, expected),
        }
    }

    /// A size in bytes within bounds, as text with a unit.
    pub fn bytes(&mut self, key: &'static str, bounds: RangeInclusive<u64>) -> Option<u64> {
        let (span, value) = self.value(key)?;
        let DeValue::String(text) = value else {
            return self.refuse(key, &span, "expected a text with a unit, like \"64 MiB\"");
        };
        match parse_bytes(text) {
            Ok(bytes) if bounds.contains(&bytes) => Some(bytes),
            Ok(_) => {
                let (least, most) = (show_bytes(*bounds.start()), show_bytes(*bounds.end()));
                self.refuse(key, &span, &format!("must be from {least} to {most}"))
            }
            Err(expected) => self.refuse(key, &span, expected),
        }
    }

    /// A list of texts.
    pub fn strings(&mut self, key: &'static str) -> Option<Vec<String>> {
        let (span, value) = self.value(key)?;
        let DeValue::Array(array) = value else {
            return self.refuse(key, &span, "expected a list of texts, like [\"a\", \"b\"]");
        };
        let mut texts = Vec::with_capacity(array.len());
        for entry in array.iter() {
            match entry.get_ref() {
                DeValue::String(text) => texts.push(text.as_ref().to_owned()),
                _ => self
                    .refuse(key, &entry.span(), "expected a text in quotes")
                    .unwrap_or(()),
            }
        }
        Some(texts)
    }

    /// A list of texts and tables; empty when it is not there.
    pub fn items(&mut self, key: &'static str) -> Vec<Item<'a>> {
        let Some((span, value)) = self.value(key) else {
            return Vec::new();
        };
        let DeValue::Array(array) = value else {
            self.refuse(key, &span, "expected a list, like [\"a\", \"b\"]")
                .unwrap_or(());
            return Vec::new();
        };
        let mut items = Vec::with_capacity(array.len());
        for entry in array.iter() {
            match entry.get_ref() {
                DeValue::String(text) => items.push(Item::Text(
                    text.as_ref().to_owned(),
                    self.context.line(entry.span().start),
                )),
                DeValue::Table(table) => items.push(Item::Table(Self::new(
                    table,
                    self.context,
                    format!("{}{key} ", self.prefix),
                    entry.span().start,
                ))),
                _ => self
                    .refuse(
                        key,
                        &entry.span(),
                        "expected a text in quotes or a table in braces",
                    )
                    .unwrap_or(()),
            }
        }
        items
    }

    /// A table of texts, like `{ rack = "r7" }`; empty when it is not there.
    pub fn labels(&mut self, key: &'static str) -> BTreeMap<String, String> {
        let mut labels = BTreeMap::new();
        let Some((span, value)) = self.value(key) else {
            return labels;
        };
        let DeValue::Table(table) = value else {
            self.refuse(
                key,
                &span,
                "expected a table of texts, like { rack = \"r7\" }",
            )
            .unwrap_or(());
            return labels;
        };
        for (name, value) in table.iter() {
            if let DeValue::String(text) = value.get_ref() {
                labels.insert(name.get_ref().as_ref().to_owned(), text.as_ref().to_owned());
            } else {
                self.refuse(key, &value.span(), "expected a text in quotes")
                    .unwrap_or(())
            }
        }
        labels
    }

    /// A table.
    pub fn section(&mut self, key: &'static str) -> Option<Self> {
        match self.value(key)? {
            (span, DeValue::Table(table)) => Some(Self::new(
                table,
                self.context,
                format!("{}{key} ", self.prefix),
                span.start,
            )),
            (span, _) => self.refuse(key, &span, &format!("expected a table, [{key}]")),
        }
    }

    /// The tables `[key.NAME]` with their names, in the order of the file.
    pub fn sections(&mut self, key: &'static str) -> Vec<(String, Self)> {
        let Some((span, value)) = self.value(key) else {
            return Vec::new();
        };
        let DeValue::Table(table) = value else {
            self.refuse(key, &span, &format!("expected tables, [{key}.NAME]"))
                .unwrap_or(());
            return Vec::new();
        };
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(name, _)| name.span().start);
        let mut sections = Vec::with_capacity(entries.len());
        for (name, value) in entries {
            let text = name.get_ref().as_ref();
            if let DeValue::Table(table) = value.get_ref() {
                let prefix = format!("{}{key} \"{text}\" ", self.prefix);
                sections.push((
                    text.to_owned(),
                    Self::new(table, self.context, prefix, name.span().start),
                ));
            } else {
                self.note(
                    name.span().start,
                    format!("{}{key}.{text}", self.prefix),
                    &format!("expected a table, [{key}.{text}]"),
                    "",
                );
            }
        }
        sections
    }

    /// A secret, as `NAME_file` or `NAME_env`; standing in the file itself it is refused. Pass all three keys:
    /// `section.secret(["password", "password_file", "password_env"])`.
    pub fn secret(&mut self, [inline, file, environment]: [&'static str; 3]) -> Option<Secret> {
        if self.has(inline) {
            self.asked.push(inline);
            let offset = self
                .table
                .get_key_value(inline)
                .map_or(self.offset, |(name, _)| name.span().start);
            // The value is a secret: it is named, never shown.
            self.note(
                offset,
                format!("{}{inline}", self.prefix),
                "a secret must not stand in this file",
                &format!("put it into a file of its own and name that with {file}, or name a variable with {environment}"),
            );
            return None;
        }
        let file_path = self.path(file);
        let variable = self.string(environment);
        match (file_path, variable) {
            (Some(_), Some(_)) => {
                self.problem(
                    environment,
                    &format!("cannot stand beside {file}"),
                    "keep one of the two",
                );
                None
            }
            (Some(path), None) => Some(Secret::File(path)),
            (None, Some(name)) => Some(Secret::Environment(name)),
            (None, None) => None,
        }
    }

    /// Notes a problem with a key of this table: shows the key with its value, what was
    /// expected, and what to do (may be empty).
    pub fn problem(&mut self, key: &'static str, expected: &str, help: &str) {
        self.asked.push(key);
        match self.table.get_key_value(key) {
            Some((name, value)) => {
                let found = format!(
                    "{}{key} = {}",
                    self.prefix,
                    self.context.excerpt(value.span())
                );
                self.note(name.span().start, found, expected, help);
            }
            None => self.note(self.offset, format!("{}{key}", self.prefix), expected, help),
        }
    }

    /// Notes a problem on a given line: with an entry of a list, say. `found` shows what stands there.
    pub fn problem_at(&mut self, line: usize, found: &str, expected: &str, help: &str) {
        self.context.note(Problem {
            line,
            found: format!("{}{found}", self.prefix).trim_end().to_owned(),
            expected: expected.to_owned(),
            help: help.to_owned(),
        });
    }

    /// Ends the section: every key that nobody asked for is a problem.
    pub fn finish(mut self) {
        self.note_unknown_keys();
    }

    /// Takes every key of the table as known, whatever it is: for a table whose reader gave up early.
    pub fn ignore_rest(&mut self) {
        self.finished = true;
    }

    fn note_unknown_keys(&mut self) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        for (name, _) in self.table.iter() {
            let key = name.get_ref().as_ref();
            if self.asked.contains(&key) {
                continue;
            }
            let expected = match nearest(key, self.asked.iter().copied()) {
                Some(near) => format!("unknown key; did you mean `{near}`?"),
                None => "unknown key".to_owned(),
            };
            let mut known: Vec<_> = self.asked.clone();
            known.sort_unstable();
            known.dedup();
            let help = if expected.ends_with('?') || known.is_empty() {
                String::new()
            } else {
                format!("known here: {}", known.join(", "))
            };
            self.note(
                name.span().start,
                format!("{}{key}", self.prefix),
                &expected,
                &help,
            );
        }
    }

    fn value(&mut self, key: &'static str) -> Option<(Range<usize>, &'a DeValue<'a>)> {
        if !self.asked.contains(&key) {
            self.asked.push(key);
        }
        let table: &'a DeTable<'a> = self.table;
        table
            .get(key)
            .map(|value: &'a Spanned<DeValue<'a>>| (value.span(), value.get_ref()))
    }

    /// Notes that the value of a key is not what was expected.
    fn refuse<T>(&self, key: &str, span: &Range<usize>, expected: &str) -> Option<T> {
        let found = format!(
            "{}{key} = {}",
            self.prefix,
            self.context.excerpt(span.clone())
        );
        self.note(span.start, found, expected, "");
        None
    }

    fn note(&self, offset: usize, found: String, expected: &str, help: &str) {
        self.context.note(Problem {
            line: self.context.line(offset),
            found,
            expected: expected.to_owned(),
            help: help.to_owned(),
        });
    }
}

impl Drop for Section<'_> {
    fn drop(&mut self) {
        self.note_unknown_keys();
    }
}

impl std::fmt::Debug for Section<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let keys: Vec<&str> = self
            .table
            .keys()
            .map(|key: &Spanned<DeString<'_>>| key.get_ref().as_ref())
            .collect();
        f.debug_struct("Section")
            .field("prefix", &self.prefix)
            .field("keys", &keys)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
