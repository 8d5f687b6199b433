//! The figures of the shipped binaries: `just bench`, which sets `SERVICES` to their folder.
//!
//! `just bench axum=DIR hyper=DIR` measures other implementations beside them, in turn: a DIR
//! holds executables of the same names, and is as seen from the project's folder.
//!
//! A round takes a minute for each implementation. Other work on the machine makes most figures worse, by
//! different amounts: the last lines say how much there was.

mod load;
mod machine;
mod quota;
mod round;
mod services;
mod start;
mod table;

use std::fs;
use std::path::{Path, PathBuf};

use application::SERVICES;
use round::Round;
use serde_json::json;
use table::{Best, Column, Figures, median};

/// How often each implementation is measured, where `--rounds=N` does not say it.
const ROUNDS: usize = 3;
const COLD_STARTS: usize = 20;
/// Above this share of other work, figures cannot be compared.
const DISTURBED: f64 = 0.05;

fn main() {
    let Some((ours, arguments)) = measure::asked() else { return };
    let mut rounds = ROUNDS;
    let mut all = vec![Implementation::new("ours", ours, true)];
    for argument in &arguments {
        match argument.split_once('=') {
            Some(("--rounds", number)) => rounds = number.parse().expect("a number of rounds"),
            Some((label, folder)) => {
                let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
                all.push(Implementation::new(label, project.join(folder), false));
            }
            None => panic!("{argument}: neither NAME=DIR nor --rounds=N"),
        }
    }
    assert!(rounds > 0, "no round, no figure");
    measure(&mut all, rounds);

    let columns: Vec<_> = all.iter().map(Implementation::column).collect();
    let of_rounds = all.iter().flat_map(|one| &one.rounds);
    let others: Vec<_> = of_rounds.flat_map(|round| round.others.clone()).collect();
    report(&columns, rounds, &others);
}

/// An implementation of all services, and its figures.
struct Implementation {
    label: String,
    folder: PathBuf,
    /// Whether its edge has a page for browsers.
    page: bool,
    cold_starts: Vec<f64>,
    rounds: Vec<Round>,
}

impl Implementation {
    fn new(label: &str, folder: PathBuf, page: bool) -> Self {
        Self { label: label.to_owned(), folder, page, cold_starts: Vec::new(), rounds: Vec::new() }
    }

    fn column(&self) -> Column {
        let mut figures = Figures::default();
        for service in SERVICES {
            let file = fs::metadata(self.folder.join(service.name)).expect("it ran");
            let kib = table::count(file.len()) / 1024.0;
            figures.add(format!("size of {}, KiB", service.name), Best::Least, kib);
        }
        let row = format!("cold start of {}, exec to first 200, ms", start::LEAF);
        figures.add(row, Best::Least, median(&self.cold_starts));
        figures.medians(self.rounds.iter().map(|round| &round.figures));
        Column { label: self.label.clone(), figures }
    }
}

/// Measures them in turn, so that other work on the machine affects all of them.
fn measure(all: &mut [Implementation], rounds: usize) {
    let mut order: Vec<_> = (0..all.len()).collect();
    for _ in 0..COLD_STARTS {
        // The last one's end slows down the next.
        fastrand::shuffle(&mut order);
        for &next in &order {
            let time = start::cold_start(&all[next].folder);
            all[next].cold_starts.push(time);
        }
    }
    order.sort_unstable();
    for number in 1..=rounds {
        for &next in &order {
            let one = &mut all[next];
            eprintln!("round {number} of {rounds}: {}", one.label);
            one.rounds.push(Round::measure(&one.folder, one.page));
        }
        order.rotate_left(1);
    }
}

/// Prints it all, and writes it as JSON. `others` is what other work took of the machine during
/// each load.
fn report(columns: &[Column], rounds: usize, others: &[f64]) {
    let (commit, date) = (machine::commit(), machine::date());
    let (cpu, cpus) = (machine::cpu(), machine::cpus());
    let (usual, most) = (median(others), others.iter().copied().fold(0.0, f64::max));
    let quiet = usual < DISTURBED;

    table::print(columns);
    println!("\nCommit {commit}, {date}; medians of {rounds} rounds.");
    println!(
        "Machine: {cpus} CPUs, {cpu}; CPU taken by other work during the runs: median {:.1}%, \
         most {:.1}% of the machine. {}",
        usual * 100.0,
        most * 100.0,
        if quiet { "Quiet." } else { "DISTURBED: do not quote ratios." },
    );
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("figures.json");
    let json = json!({
        "commit": commit, "date": date, "rounds": rounds, "cpu": cpu, "cpus": cpus,
        "other_work": { "median": usual, "most": most }, "quiet": quiet,
        "figures": table::json(columns),
    });
    fs::write(&file, format!("{json:#}\n")).expect("the folder is there");
    println!("In JSON: {}", file.display());
}
