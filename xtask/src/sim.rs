//! `cargo xtask sim`: a seeded generator of estates and faults, and how well the engine finds what broke.
//!
//! The truth is simulated by a world of its own ([`world`]) that shares no table with the engine; agents look at it ([`fleet`]), noise
//! is put on what they say ([`noise`]), the engine answers, and [`judge`] compares. The same seed gives the same table.
//!
//! Seeds 0 to 999 are for tuning, 10 000 to 10 999 for the report.

mod accuracy;
mod build;
mod case;
mod estate;
mod fault;
mod fleet;
mod judge;
mod noise;
mod oracle;
mod rng;
mod save;
mod simple;
mod sorts;
mod staff;
mod sums;
mod table;
mod twin;
mod world;

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use build::Size;
use case::Case;
use judge::{Outcome, Verdict};
use noise::{CELLS, Cell};
use sums::Sums;

use crate::steps::StepError;

/// More than this many threads gain nothing: the memory is what is slow.
const THREADS_MAX: usize = 4;

const USAGE: &str = "usage: cargo run --release -p xtask -- sim accuracy | sim [--size xs|s|m|l|xl] [--seeds A..B | --seed N] [--cell NAME]... [--markdown] [--failures] [--save FOLDER]";

#[derive(Debug)]
struct Options {
    size: Size,
    seeds: Range<u64>,
    cells: Vec<Cell>,
    markdown: bool,
    failures: bool,
    save: Option<PathBuf>,
    single: bool,
}

/// Measures, writes one case, or writes the page.
pub(crate) fn sim(arguments: &[&str]) -> Result<(), StepError> {
    if cfg!(debug_assertions) {
        eprintln!(
            "sim: not optimised, some ten times slower than: cargo run --release -p xtask -- sim"
        );
    }
    if arguments == ["accuracy"] {
        return accuracy::write();
    }
    let options = read(arguments)?;
    if options.single {
        return show(&options);
    }
    let measured = measure(
        options.size,
        &options.seeds,
        &options.cells,
        options.failures,
    )?;
    for table in [
        table::answers(&measured),
        table::beside(&measured),
        table::sorts(&measured),
    ] {
        print(&if options.markdown {
            table.markdown()
        } else {
            table.plain()
        });
    }
    Ok(())
}

/// The sums of each cell.
fn measure(
    size: Size,
    seeds: &Range<u64>,
    cells: &[Cell],
    shows_failures: bool,
) -> Result<Vec<(&'static str, Sums)>, StepError> {
    let mut measured = Vec::new();
    for cell in cells {
        let mut sums = Sums::default();
        for outcome in outcomes(size, seeds.clone(), cell)? {
            sums.add(&outcome);
            if shows_failures {
                failures(cell, &outcome);
            }
        }
        measured.push((cell.name, sums));
    }
    Ok(measured)
}

/// The outcomes of the seeds, in their order.
fn outcomes(size: Size, seeds: Range<u64>, cell: &Cell) -> Result<Vec<Outcome>, StepError> {
    let seeds: Vec<u64> = seeds.collect();
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(seeds.len()));
    let threads = std::thread::available_parallelism()
        .map_or(1, usize::from)
        .min(THREADS_MAX);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = judge::outcome(size, *seed, cell);
                    if let Ok(mut done) = done.lock() {
                        done.push((*seed, outcome));
                    }
                }
            });
        }
    });
    let mut done = done
        .into_inner()
        .map_err(|_| StepError::Rule("a case panicked".to_owned()))?;
    done.sort_by_key(|(seed, _)| *seed);
    done.into_iter().map(|(_, outcome)| outcome).collect()
}

fn failures(cell: &Cell, outcome: &Outcome) {
    for verdict in &outcome.verdicts {
        if verdict.top1 && verdict.kind != Some(false) {
            continue;
        }
        let what = if verdict.top1 { "KIND" } else { "WHERE" };
        let answers = verdict.answers.iter().take(3);
        let answers: Vec<String> = answers
            .map(|(ids, p)| format!("{} {p:.2}", ids.join("+")))
            .collect();
        print(&format!(
            "{what} {} seed {} {} [{}] truth {} | {} | unknown {:.2}{}{}",
            cell.name,
            outcome.seed,
            verdict.moment.name(),
            outcome.sorts.join(", "),
            verdict.truth.join("+"),
            answers.join(" ; "),
            verdict.not_in_model,
            if verdict.top3 && !verdict.top1 {
                " | in top 3"
            } else {
                ""
            },
            if verdict.called.is_empty() {
                String::new()
            } else {
                format!(" | called {}", verdict.called)
            },
        ));
    }
}

/// A verdict in words.
fn shown(verdict: &Verdict) -> String {
    let word = |right: bool| if right { "right" } else { "WRONG" };
    let mut text = format!(
        "\n{}: truth {}\n  where {}, strictly {}, in the first three {}; kind {}\n",
        verdict.moment.name(),
        verdict.truth.join(" + "),
        word(verdict.top1),
        word(verdict.strict),
        word(verdict.top3),
        verdict.kind.map_or("not judged", word),
    );
    for (causes, probability) in &verdict.answers {
        text.push_str(&format!("  {probability:.3} {}\n", causes.join(" + ")));
    }
    text.push_str(&format!("  {:.3} not in the model", verdict.not_in_model));
    if !verdict.called.is_empty() {
        text.push_str(&format!("\n  called {}", verdict.called));
    }
    for line in &verdict.evidence {
        text.push_str(&format!("\n    {line}"));
    }
    text
}

/// Shows one case in each of the cells, and writes it when asked to.
fn show(options: &Options) -> Result<(), StepError> {
    for cell in &options.cells {
        let case = Case::new(options.size, options.seeds.start, cell);
        for fault in &case.story.faults {
            print(&format!(
                "{} s to {} s: {}: {}",
                fault.from(),
                fault.until(),
                fault.sort,
                fault.causes.join(" ")
            ));
        }
        if let Some(folder) = &options.save {
            save::save(&case, folder)?;
            print(&format!("written: {}", folder.display()));
        }
        let outcome = judge::judge(&case, options.size == Size::Xs)?;
        print(&format!(
            "{} parts, {} events, end {} s, rounds {:?}",
            outcome.parts, outcome.events, case.end, outcome.rounds
        ));
        let simple: Vec<String> = (outcome.simple.iter())
            .map(|(way, right)| format!("{way}: {right}"))
            .collect();
        print(&simple.join("; "));
        for verdict in &outcome.verdicts {
            print(&shown(verdict));
        }
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "what was asked for")]
fn print(text: &str) {
    println!("{text}");
}

fn read(arguments: &[&str]) -> Result<Options, StepError> {
    let mut options = Options {
        size: Size::Xs,
        seeds: 0..100,
        cells: Vec::new(),
        markdown: false,
        failures: false,
        save: None,
        single: false,
    };
    let wrong = |what: String| StepError::Rule(format!("{what}\n{USAGE}"));
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let mut value = || {
            rest.next()
                .copied()
                .ok_or_else(|| wrong(format!("{argument} lacks a value")))
        };
        match *argument {
            "--markdown" => options.markdown = true,
            "--failures" => options.failures = true,
            "--save" => options.save = Some(PathBuf::from(value()?)),
            "--size" => {
                let name = value()?;
                let found = Size::NAMES.into_iter().find(|(known, _)| *known == name);
                options.size = found.ok_or_else(|| wrong(format!("no size {name}")))?.1;
            }
            "--cell" => {
                let name = value()?;
                let found = CELLS.into_iter().find(|cell| cell.name == name);
                let known = || CELLS.map(|cell| cell.name).join(" ");
                options.cells.push(
                    found
                        .ok_or_else(|| wrong(format!("no cell {name}; there are: {}", known())))?,
                );
            }
            "--seed" => {
                let text = value()?;
                let seed: u64 = text
                    .parse()
                    .map_err(|_| wrong(format!("not a seed: {text}")))?;
                (options.seeds, options.single) = (seed..seed + 1, true);
            }
            "--seeds" => {
                let text = value()?;
                let ends = text
                    .split_once("..")
                    .and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
                let (from, until) =
                    ends.ok_or_else(|| wrong(format!("not a range like 0..100: {text}")))?;
                if from >= until {
                    return Err(wrong(format!("no seed in {text}")));
                }
                options.seeds = from..until;
            }
            other => return Err(wrong(format!("what is {other}?"))),
        }
    }
    if options.cells.is_empty() {
        options.cells = if options.single {
            vec![CELLS[0]]
        } else {
            CELLS.to_vec()
        };
    }
    if options.save.is_some() && !(options.single && options.cells.len() == 1) {
        return Err(wrong("--save needs --seed and one --cell".to_owned()));
    }
    Ok(options)
}

#[cfg(test)]
mod tests;
