//! `bench`: what Blackstart's programs cost, measured as whole processes beside the goals.
//!
//! `cargo xtask bench` builds the programs and calls it. A figure is CPU time, memory, bytes or a count of the process
//! under load; the load itself comes from this process and is not counted. Nothing here asserts: the table shows what was
//! missed, and by how much.
#![expect(
    clippy::expect_used,
    reason = "what cannot be done ends the measurement, with the reason"
)]

mod figure;
mod fleet;
mod process;
mod rows;

use std::process::ExitCode;

use clap::Parser;

use figure::{Figure, Machine};

/// Measures Blackstart's programs; without a row, all of them.
#[derive(Debug, Parser)]
#[command(name = "bench")]
struct Command {
    /// Only these rows of the table of goals
    #[arg(value_name = "ROW", value_parser = clap::value_parser!(u8).range(1..=11))]
    rows: Vec<u8>,
    /// A tenth of the load: to see that it runs
    #[arg(long)]
    short: bool,
}

/// How much load: the figures in docs are made with all of it.
#[derive(Debug, Clone, Copy)]
struct Scale {
    divisor: usize,
}

impl Scale {
    /// This many, or a tenth of it.
    fn of(self, full: usize) -> usize {
        (full / self.divisor).max(1)
    }
}

fn main() -> ExitCode {
    let command = Command::parse();
    let scale = Scale {
        divisor: if command.short { 10 } else { 1 },
    };
    rows::raise_file_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime starts");
    let wanted =
        |rows: &[u8]| command.rows.is_empty() || rows.iter().any(|row| command.rows.contains(row));
    let machine = Machine::of(runtime.block_on(rows::probes::bare_connect_us(scale)));
    println_line(&machine.to_string());
    let mut figures: Vec<Figure> = Vec::new();
    let mut take = |title: &str, measure: &mut dyn FnMut() -> Vec<Figure>| {
        println_line(&format!("-- {title}"));
        let measured = measure();
        for figure in &measured {
            println_line(&figure.line(machine));
        }
        figures.extend(measured);
    };
    if wanted(&[11]) {
        take("the agent's binary", &mut rows::binary::measure);
    }
    if wanted(&[3]) {
        take("probes", &mut || {
            runtime.block_on(rows::probes::measure(scale))
        });
    }
    if wanted(&[7]) {
        take("from probe to view", &mut || {
            runtime.block_on(rows::latency::measure(scale))
        });
    }
    if wanted(&[6, 9]) {
        take("topologies", &mut || {
            runtime.block_on(rows::tree::measure(scale))
        });
    }
    if wanted(&[4, 5, 8]) {
        take("a fleet that reports", &mut || {
            runtime.block_on(rows::ingest::measure(scale))
        });
    }
    if wanted(&[10]) {
        take("a herd that returns", &mut || {
            runtime.block_on(rows::herd::measure(scale))
        });
    }
    if wanted(&[1, 2]) {
        take("an agent on its own", &mut || {
            runtime.block_on(rows::footprint::measure(scale))
        });
    }
    println_line("");
    println_line(&figure::table(&figures, machine));
    ExitCode::SUCCESS
}

#[expect(clippy::print_stdout, reason = "figures are what this program is for")]
fn println_line(line: &str) {
    println!("{line}");
}
