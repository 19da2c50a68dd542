//! Reads Blackstart's TOML files and reports every problem at once.
//!
//! A reader asks a [`Section`] for the keys that it knows; whatever is wrong with a value, and every key that nobody
//! asked for, becomes a [`Problem`] with file, line, key, value and what to do. Reading goes on behind
//! a problem, so that one look at the [`Report`] mends the whole file.
//!
//! ```
//! use std::time::Duration;
//! let report = blackstart_config::read("agent.toml".as_ref(), "timout = \"5s\"\n", |root| {
//!     let timeout = root.duration("timeout", Duration::ZERO..=Duration::from_secs(60));
//!     Some(timeout.unwrap_or(Duration::from_secs(10)))
//! })
//! .unwrap_err();
//! assert_eq!(
//!     report.to_string(),
//!     "agent.toml: configuration refused\n  line 1   timout   unknown key; did you mean `timeout`?\n1 problem"
//! );
//! ```
//!
//! Not here: what the keys mean. **Invariant:** nothing is read but the text that was handed in; a
//! secret is read from its file or variable only when it is used.

mod document;
mod nearest;
mod problem;
mod secret;
mod section;
mod units;

pub use document::read;
pub use nearest::nearest;
pub use problem::{Problem, Report};
pub use secret::{Secret, SecretError};
pub use section::{Item, Section};
pub use units::{parse_bytes, parse_duration, show_bytes, show_duration};
